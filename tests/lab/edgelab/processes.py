# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of the lab: started apart from the terminal, known by pid and start time, stopped by exactly that."""

import json
import os
import pwd
import secrets
import signal
import socket
import subprocess
import time
import typing as t
from pathlib import Path


class LabError(Exception):
    """A part of the lab does not come up or go down; the message holds the last lines of its log."""


def wait_for(condition: t.Callable[[], t.Any], what: str = "", seconds: float = 15) -> t.Any:
    """Return what the condition returns, once that is true.

    Raises:
        LabError: the time is up.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds:.0f} s: {what or condition}")
        time.sleep(0.02)


def account() -> str:
    """The account that this process runs as, whatever the environment says."""
    return pwd.getpwuid(os.geteuid()).pw_name


# Below the range that the kernel gives to clients (32768 and up): no connection takes a port between its choice and its use.
SINGLE_PORTS = range(10000, 20000)
PORT_BLOCKS = range(20000, 32768 - 32, 32)
_single_claims: t.List[socket.socket] = []


def free_port() -> int:
    """Return a free port on the loopback that no other process that asks here gets, as long as this process lives."""
    while True:
        port = SINGLE_PORTS.start + secrets.randbelow(len(SINGLE_PORTS))
        claim = _claim([port])
        if claim:
            _single_claims.append(claim)
            return port


def free_ports() -> t.Tuple[t.List[int], socket.socket]:
    """Return 32 free ports, and a socket that keeps others who ask here off them. Close it when the ports are in use."""
    while True:
        first = PORT_BLOCKS[secrets.randbelow(len(PORT_BLOCKS))]
        ports = list(range(first, first + PORT_BLOCKS.step))
        claim = _claim(ports)
        if claim:
            return ports, claim


def _claim(ports: t.Sequence[int]) -> t.Optional[socket.socket]:
    """Take the abstract name of the first port, which goes with its process; None when it is taken or a port is in use."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0edgelab-port-{ports[0]}")
    except OSError:
        claim.close()
        return None
    if all(_is_free(port) for port in ports):
        return claim
    claim.close()
    return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """One background process, remembered in a file of its own so that a later command can stop it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / "out.log"
        self._file = folder / "process.json"

    def start(self, command: t.Sequence[str], **environment: str) -> None:
        """Start the command unless it runs already."""
        if self.pid:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # The command begins only when its pid is on record: what is killed in between leaves nothing that a later command does not know of.
        with self.log.open("ab") as log:
            process = subprocess.Popen(["sh", "-c", 'read -r go && exec "$@" </dev/null', "sh", *command], stdin=subprocess.PIPE, stdout=log, stderr=log,
                                       start_new_session=True, env=dict(os.environ, **environment))
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"pid": process.pid, "start": start_time(process.pid)}))
        new.replace(self._file)
        with t.cast(t.IO[bytes], process.stdin) as stdin:
            stdin.write(b"go\n")

    @property
    def pid(self) -> t.Optional[int]:
        """The pid while the process runs, else None."""
        try:
            known = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        return known["pid"] if known["start"] and start_time(known["pid"]) == known["start"] else None

    def wait_for(self, healthy: t.Callable[[], bool], seconds: float = 30) -> None:
        """Return once the process is healthy.

        Raises:
            LabError: it ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while not healthy():
            if self.pid is None:
                raise LabError(f"{self.name} ended at once:\n{last_lines(self.log)}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is not healthy after {seconds:.0f} s:\n{last_lines(self.log)}")
            time.sleep(0.05)

    def stop(self, seconds: float = 15) -> bool:
        """End the process, by force after some time; return whether it ran."""
        pid = self.pid
        if pid is None:
            return False
        stop_pid(pid, seconds)
        self._file.unlink()
        return True


def stop_pid(pid: int, seconds: float = 15) -> None:
    """Send SIGTERM, and SIGKILL when the same process is still there after some time."""
    start = start_time(pid)
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            _reap(pid)
            if start_time(pid) != start:
                return
            time.sleep(0.02)
    raise LabError(f"process {pid} does not end")


def start_time(pid: int) -> t.Optional[str]:
    """Field 22 of proc(5) stat; None when there is no such process, or only its corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def last_lines(path: Path, count: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-count:]) if path.exists() else "(no log)"


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # started by an earlier command
