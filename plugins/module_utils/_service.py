# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Starts and stops an Edge Encryption proxy, and proves both by the process, its port and its log."""

import contextlib
import datetime
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import typing as t

from . import _files, _hold, _process, _properties
from ._errors import EdgeError
from ._log import Findings, Log, Masker
from ._process import Process

# Utils know no AnsibleModule, and its run_command has neither a timeout nor a session of its own.
# pylint: disable=ansible-bad-function

PROPERTIES_FILE = "conf/edgeencryption.properties"
_POLL = 0.2
_TERM_GRACE = 10.0
# A pid file is written a moment after its process has started; a process that is clearly younger got the number later.
_PID_FILE_SLACK = 5.0
_SYSTEMD_RUNS = "/run/systemd/system"
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


class ServiceError(EdgeError):
    """A proxy did not start or stop, or must not be touched."""


class Location(t.NamedTuple):
    """Where a proxy is and where it listens."""

    home: str
    manager: str
    unit: t.Optional[str]
    pid_file: str
    host: str
    port: int
    log_file: str
    mask: Masker


class Limits(t.NamedTuple):
    """How long to wait, and what may be done."""

    timeout: float
    settle: float
    kill: bool
    require_authenticated: bool


def locate(params: t.Mapping[str, t.Any]) -> Location:
    """Complete the options of a module from the proxy's properties and the machine."""
    home = os.path.realpath(params["home"])
    if not os.path.isdir(home):
        raise ServiceError(params["home"], "there is no such install directory.", "Check the option home and the host that this ran on.")
    path = os.path.join(home, PROPERTIES_FILE)
    needed = params["host"] is None or params["port"] is None
    values = {}  # type: t.Dict[str, str]
    if needed or os.path.exists(path):
        values = _properties.Properties(_files.read(path, "properties file"), path).values()
    host = params["host"] or values.get("edgeencryption.proxy.host") or "127.0.0.1"
    text = str(params["port"] or values.get("edgeencryption.proxy.https.port") or values.get("edgeencryption.proxy.http.port") or "")
    if not text.strip().isdigit() or not 0 < int(text) < 65536:
        raise ServiceError(path, "it holds no usable port of the proxy ({0!r}).".format(text), "Give the option port.")
    unit = params["unit"]
    if unit is not None and "." not in unit:
        unit += ".service"
    manager = params["manager"]
    if manager != "scripts" and unit is None:
        unit = _find_unit(home)
        if unit is None and manager == "systemd":
            raise ServiceError(home, "no systemd unit starts this proxy.", "Give the option unit, or set manager=scripts.")
    if manager == "scripts":
        unit = None
    if unit is not None and _hold.unit_state(unit).get("LoadState") == "not-found":
        raise ServiceError(unit, "systemd does not know this unit.", "Correct the option unit, or set manager=scripts.")
    secrets = _properties.SecretNames()
    return Location(
        home=home,
        manager="systemd" if unit else "scripts",
        unit=unit,
        pid_file=os.path.join(home, params["pid_file"]),
        host=host,
        port=int(text),
        log_file=os.path.join(home, params["log_file"]),
        mask=Masker(value for name, value in values.items() if name in secrets),
    )


def _find_unit(home: str) -> t.Optional[str]:
    """Return the unit whose file names this proxy's startup.sh (KB0622995 gives such a unit)."""
    if not os.path.isdir(_SYSTEMD_RUNS):
        return None
    command = re.compile(r"^ExecStart=.*{0}(?![\w.])".format(re.escape(os.path.join(home, "startup.sh"))), re.MULTILINE)
    found = set()
    for folder in _UNIT_FOLDERS:
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if name.endswith(".service") and os.path.isfile(path):
                with contextlib.suppress(PermissionError), open(path, errors="replace") as stream:
                    if command.search(stream.read()):
                        found.add(name)
    if len(found) > 1:
        raise ServiceError(home, "several systemd units start this proxy: {0}.".format(", ".join(sorted(found))), "Give the option unit.")
    return found.pop() if found else None


class Service:
    """One proxy on this machine."""

    def __init__(self, location: Location) -> None:
        self._at = location
        self.log = Log(location.log_file)
        self.log_offset = str(self.log)
        self._script_hold = _hold.ScriptHold(location.home)
        self._unit_hold = _hold.UnitHold(location.unit, location.home) if location.unit else None

    # What is

    def find(self) -> t.Optional[Process]:
        """Return the proxy's process: by its pid file, else as systemd knows it, else by who listens on its port."""
        process = self._process_of_pid_file()
        if process is None and self._at.unit:
            pid = int(_hold.unit_state(self._at.unit).get("MainPID", "0"))
            process = _process.identify(pid) if pid > 0 else None
        if process is None:
            for pid in sorted(_process.owners(self._sockets())):
                if _process.belongs_to(pid, self._at.home):
                    process = _process.identify(_process.origin(pid, self._at.home))
                    break
        return process

    def status(self) -> t.Dict[str, t.Any]:
        """Return what a module tells about the proxy."""
        process = self.find()
        listening = process is not None and self._serves(process)
        authenticated = None  # type: t.Optional[bool]
        if process is not None:
            # A proxy that is not authenticated cannot be reached (documentation page "Authenticate the Edge Encryption proxy").
            authenticated = True if listening else (False if self.findings(process).unauthenticated else None)
        return dict(
            running=process is not None,
            pid=process.pid if process else None,
            started_at=_utc(_process.started_at(process)) if process else None,
            listening=listening,
            host=self._at.host,
            port=self._at.port,
            held=self.held(),
            authenticated=authenticated,
            manager=self._at.manager,
            unit=self._at.unit,
        )

    def findings(self, process: t.Optional[Process] = None, since: t.Optional[str] = None) -> Findings:
        """Return what the log says since a position, else since the start of the process, else in its last part."""
        found = Findings()
        if since is not None:
            found.add(Log(self._at.log_file, since).lines())
        elif process is not None:
            found.add(self.log.since(_process.started_at(process) - 1))
        else:
            found.add(self.log.tail(None))
        found.failures = [self._at.mask(line) for line in found.failures]
        return found

    def log_tail(self) -> t.List[str]:
        """Return the last lines of the log without secrets."""
        return [self._at.mask(line) for line in self.log.tail(20)]

    def held(self) -> bool:
        """Tell whether somebody holds the proxy down."""
        return self._script_hold.held() or self._masked()

    def can_hold(self) -> bool:
        """Tell whether this user can make sure that nothing starts the proxy."""
        return os.access(self._at.home, os.W_OK) and (self._unit_hold is None or self._unit_hold.possible())

    # What shall be

    def hold(self, check_mode: bool) -> bool:
        """Make sure that nothing can start the proxy; return whether that was a change."""
        script = not self._script_hold.complete()
        unit = self._unit_hold is not None and not (self._unit_hold.held() or self._unit_hold.standing())
        if not check_mode:
            if unit:  # first: who may not do this shall not have moved anything; it refuses nothing before the script is aside
                t.cast(_hold.UnitHold, self._unit_hold).hold()
            if script:
                self._script_hold.hold()
        return script or unit

    def release(self, check_mode: bool) -> bool:
        """Let the proxy be started again; return whether that was a change."""
        script = self._script_hold.held()
        unit = self._unit_hold is not None and self._unit_hold.held()
        masked = self._masked()
        if not check_mode:
            if script:
                self._script_hold.release()
            if unit:
                t.cast(_hold.UnitHold, self._unit_hold).release()
            if masked:
                _hold.systemctl("unmask", t.cast(str, self._at.unit))
        return script or unit or masked

    def check_startable(self, held_matters: bool = True) -> None:
        """Raise when a start is bound to fail."""
        if held_matters and (self.held() or (self._unit_hold is not None and self._unit_hold.held())):
            raise self._error("it is held down, so it was not started.", "Set hold=false if it may be started again.")
        if not self.held() and not os.path.exists(self._script_hold.script):
            raise self._error("there is no startup.sh.", "Check the option home.")
        if self.find() is None:
            self.check_port()

    def check_port(self) -> None:
        """Raise when somebody else listens on the proxy's port."""
        sockets = self._sockets()
        if sockets:
            names = [_process.describe(pid) for pid in sorted(_process.owners(sockets))]
            raise self._error(
                "port {0} is in use by {1}, which is not this proxy.".format(
                    self._at.port, ", ".join(names) or "a process of another user"
                ),
                "Stop it, or correct the options host, port and pid_file.",
            )

    def start(self, limits: Limits, check_mode: bool = False) -> t.Optional[float]:
        """Return the seconds until the proxy has proven to be up; None when it ran already."""
        process = self.find()
        if check_mode:
            return 0.0 if process is None else None
        if process is not None:
            findings = self.findings(process)
            findings.failures = []  # a running proxy may have been repaired since
            self._follow(process, None, findings, limits, None)
            return None
        began = time.monotonic()
        self.check_startable()
        self._remove_pid_file()  # with a stale one, startup.sh could take a foreign process for the proxy
        self.log = Log(self._at.log_file)
        self.log_offset = str(self.log)
        with tempfile.TemporaryFile() as output:
            self._follow(None, self._launch("start", output), Findings(), limits, output)
        return round(time.monotonic() - began, 2)

    def stop(self, limits: Limits, check_mode: bool = False) -> t.Optional[float]:
        """Return the seconds until the proxy's processes and its port were gone; None when it did not run."""
        process = self.find()
        if process is None and not self._unit_busy():
            self.check_port()
            return None
        if check_mode:
            return 0.0
        began = time.monotonic()
        self.log_offset = str(Log(self._at.log_file))
        members = set(_process.family(process)) if process else set()
        number = self._read_pid_file()[0]
        if number and self._process_of_pid_file() is None and _process.identify(number) is not None:
            self._remove_pid_file()  # shutdown.sh would stop a foreign process
        with tempfile.TemporaryFile() as output:
            launcher = self._launch("stop", output)
            gone = self._wait_gone(process, members, launcher, limits.timeout)
            if not gone:
                # A wrapper passes the signal on; without one, everything that is left gets it.
                leader = process is not None and _process.alive(process)
                self._signal([process] if process is not None and leader else members, signal.SIGTERM)
                gone = self._wait_gone(process, members, None, min(_TERM_GRACE, limits.timeout))
            if not gone and limits.kill:
                self._signal(members, signal.SIGKILL)
                gone = self._wait_gone(process, members, None, _TERM_GRACE)
            with contextlib.suppress(subprocess.TimeoutExpired):
                launcher.wait(limits.settle if gone else 0)
            if launcher.poll() is None:
                with contextlib.suppress(PermissionError):  # root's, through sudo: systemd ends it
                    launcher.kill()  # only the script that this started, which still waits for the proxy
                    launcher.wait()
            if not gone:
                raise self._error(
                    "it did not stop within {0:g} seconds, nor after SIGTERM ({1}).{2}".format(
                        limits.timeout,
                        ", ".join(_process.describe(item.pid) for item in members if _process.alive(item)),
                        self._said(output),
                    ),
                    "Look into its log; kill=true ends it with SIGKILL.",
                )
        again = self.find()
        if again is not None:
            raise self._error(
                "{0} has taken the place of the stopped one.".format(_process.describe(again.pid)),
                "Something restarts the proxy: give its systemd unit in the option unit, or set hold=true.",
            )
        self._wait_port_closed()
        return round(time.monotonic() - began, 2)

    # How

    def _follow(
        self, known: t.Optional[Process], launcher: t.Optional["subprocess.Popen[bytes]"], findings: Findings, limits: Limits, output: t.Any
    ) -> None:
        """Wait until the proxy is up and stays up; raise as soon as it cannot become so."""
        deadline = time.monotonic() + limits.timeout
        seen, good_since = known, None  # type: t.Optional[Process], t.Optional[float]
        while True:
            findings.add(self.log.lines())
            if findings.failures:
                raise self._error("it reported a failure while starting: {0}".format(findings.failures[0]), "", findings)
            if launcher is not None and launcher.poll() not in (None, 0):
                raise self._error(
                    "{0} ended with code {1}.{2}".format(self._command("start")[0], launcher.poll(), self._said(output)), "", findings
                )
            process = self.find()
            if seen is not None and not _process.alive(seen):
                raise self._error("its process {0} ended while it was starting.".format(seen.pid), "See the log.", findings)
            if process is None and self._pid_file_is_dead():
                raise self._error("its process ended while it was starting.", "See the log.", findings)
            if process != seen:
                good_since = None
            seen = process or seen
            up = process is not None and self._serves(process)
            now = time.monotonic()
            if up or (process is not None and findings.unauthenticated):
                good_since = now if good_since is None else good_since
                if now - good_since >= limits.settle:
                    if up or not limits.require_authenticated:
                        return
                    raise self._error(
                        "it runs, but it has not yet been authenticated by its instance.",
                        "On the instance open its record under Edge Encryption Configuration > Proxies and select Authenticate; "
                        "require_authenticated=false goes on without.",
                        findings,
                    )
            else:
                good_since = None
            if now >= deadline:
                what = "there is no process of it"
                if process is not None:
                    what = "it runs as process {0} but does not listen on {1}:{2}".format(process.pid, self._at.host, self._at.port)
                raise self._error(
                    "not started within {0:g} seconds: {1}.{2}".format(limits.timeout, what, self._said(output)), "See the log.", findings
                )
            time.sleep(_POLL)

    def _wait_gone(
        self, process: t.Optional[Process], members: t.Set[Process], launcher: t.Optional["subprocess.Popen[bytes]"], timeout: float
    ) -> bool:
        """Wait until all members have ended. Children that the proxy starts meanwhile are added to them."""
        deadline = time.monotonic() + timeout
        while True:
            if process is not None and _process.alive(process):
                members.update(_process.family(process))
            gone = not any(_process.alive(member) for member in members)
            # Only when systemctl has ended is the unit surely not about to restart.
            waiting = launcher is not None and launcher.poll() is None
            if gone and not (waiting and self._at.unit):
                return True
            failed = launcher is not None and launcher.poll() not in (None, 0)
            if failed or time.monotonic() >= deadline:
                return gone
            time.sleep(_POLL)

    def _wait_port_closed(self) -> None:
        deadline = time.monotonic() + _TERM_GRACE
        while self._sockets() and time.monotonic() < deadline:
            time.sleep(_POLL)
        self.check_port()

    def _signal(self, processes: t.Iterable[Process], number: int) -> None:
        for process in processes:
            if _process.alive(process):
                try:
                    os.kill(process.pid, number)
                except ProcessLookupError:
                    continue
                except PermissionError:
                    raise self._error(
                        "{0} belongs to another user and cannot be signalled.".format(_process.describe(process.pid)),
                        "Run this as the user of the proxy or as root.",
                    ) from None

    def _command(self, action: str) -> t.List[str]:
        if self._at.unit:
            return _hold.command_of(action, self._at.unit)
        return [os.path.join(self._at.home, "startup.sh" if action == "start" else "shutdown.sh")]

    def _launch(self, action: str, output: t.Any) -> "subprocess.Popen[bytes]":
        """Run the command in a session of its own; its output goes to a file, because a daemon may inherit and keep it open."""
        command = self._command(action)
        try:
            return subprocess.Popen(
                command, cwd=self._at.home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as exc:
            raise self._error("{0} cannot be run: {1}.".format(command[0], exc.strerror), "") from exc

    def _said(self, output: t.Any) -> str:
        if output is None:
            return ""
        output.seek(0)
        text = self._at.mask(output.read().decode("utf-8", "replace").strip()[-1000:])
        return " It said: {0}".format(text) if text else ""

    def _sockets(self) -> t.Set[int]:
        return _process.listening(self._at.host, self._at.port)

    def _serves(self, process: Process) -> bool:
        """Tell whether the proxy, not somebody else, listens on its port and can be reached there."""
        sockets = self._sockets()
        if not sockets:
            return False
        owners = _process.owners(sockets)
        mine = {member.pid for member in _process.family(process)}
        if owners and not owners & mine and not any(_process.belongs_to(pid, self._at.home) for pid in owners):
            return False
        return _reachable(self._at.host, self._at.port)

    def _process_of_pid_file(self) -> t.Optional[Process]:
        pid, written = self._read_pid_file()
        process = _process.identify(pid) if pid else None
        if process is None:
            return None
        if _process.started_at(process) <= written + _PID_FILE_SLACK or _process.belongs_to(process.pid, self._at.home):
            return process
        return None  # the number belongs to another process now

    def _read_pid_file(self) -> t.Tuple[int, float]:
        try:
            with open(self._at.pid_file, errors="replace") as stream:
                text, written = stream.read().strip(), os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return 0, 0.0
        except OSError as exc:
            raise self._error("its pid file {0} cannot be read: {1}.".format(self._at.pid_file, exc.strerror), "") from exc
        return (int(text) if re.match(r"[0-9]{1,9}\Z", text) else 0), written

    def _remove_pid_file(self) -> None:
        try:
            os.unlink(self._at.pid_file)
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise self._error("its stale pid file {0} cannot be removed: {1}.".format(self._at.pid_file, exc.strerror), "") from exc

    def _pid_file_is_dead(self) -> bool:
        """Tell whether the pid file (a new one: the start removed an old one) names a process that has ended."""
        pid = self._read_pid_file()[0]
        return bool(pid) and _process.identify(pid) is None

    def _unit_busy(self) -> bool:
        """Tell whether systemd has started the unit or is about to restart it."""
        return bool(self._at.unit) and _hold.unit_state(t.cast(str, self._at.unit)).get("ActiveState") not in ("inactive", "failed")

    def _masked(self) -> bool:
        return bool(self._at.unit) and _hold.unit_state(t.cast(str, self._at.unit)).get("LoadState") == "masked"

    def _error(self, cause: str, way_out: str, findings: t.Optional[Findings] = None) -> ServiceError:
        failures = [self._at.mask(line) for line in findings.failures] if findings else []
        tail = self.log_tail()
        text = self._at.mask(cause)
        if tail and findings:
            text += " The log ends with:\n{0}\n".format("\n".join(tail[-5:]))
        return ServiceError(
            self._at.home,
            text,
            way_out,
            log_failures=failures,
            log_offset=self.log_offset,
            log_tail=tail,
            validation=findings.validation if findings else [],
        )


def _reachable(host: str, port: int) -> bool:
    """Tell whether a connection is accepted and not closed at once."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            readable = select.select([connection], [], [], 0.1)[0]
            return not readable or bool(connection.recv(1))
    except OSError:
        return False


def _utc(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
