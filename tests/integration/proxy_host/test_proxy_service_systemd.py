# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""proxy_service under systemd: the real one where it runs as process 1 and this user is root, else a stand-in for systemctl."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _hold, _service

REAL = os.path.isdir("/run/systemd/system") and os.geteuid() == 0

UNIT = """[Unit]
Description=Edge Encryption
After=mysql.service
[Service]
Type=forking
ExecStart=/usr/bin/env "{home}/startup.sh"
ExecStop={home}/shutdown.sh
Restart=always
RestartSec={restart}
[Install]
WantedBy=multi-user.target
"""

# start, stop, show, cat and daemon-reload of one unit, as systemd 252 answers; the file `restarting` stands for its auto-restart.
STAND_IN = r"""#!{python} -SE
import os, re, subprocess, sys
arguments = [item for item in sys.argv[1:] if not item.startswith("--")]
action, unit = arguments[0], (arguments + [None])[1]
folder, state = "{folder}", "{state}"
path = os.path.join(folder, unit or "")
restarting = os.path.join(state, "restarting")

def main_pid():
    text = open(path).read()
    try:
        pid = int(open(os.path.join(os.path.dirname(re.search(r"ExecStop=(\S+)", text).group(1)), "bin", "edgeencryption.pid")).read())
        os.kill(pid, 0)
        return pid
    except (OSError, ValueError):
        return 0

if action == "daemon-reload":
    sys.exit(0)
if action == "show":
    if not os.path.exists(path):
        print("LoadState=not-found\nActiveState=inactive\nMainPID=0\nNeedDaemonReload=no")
    else:
        active = "activating" if os.path.exists(restarting) else "active" if main_pid() else "inactive"
        print("LoadState=loaded\nActiveState=%s\nMainPID=%d\nNeedDaemonReload=no" % (active, main_pid()))
    sys.exit(0)
text = open(path).read()
drop_ins = [os.path.join(path + ".d", name) for name in (os.listdir(path + ".d") if os.path.isdir(path + ".d") else [])]
if action == "cat":
    print("\n".join([text] + [open(name).read() for name in drop_ins]))
    sys.exit(0)
if action == "start":
    for name in drop_ins:
        found = re.search(r"AssertPathExists=!(\S+)", open(name).read())
        if found and os.path.exists(found.group(1)):
            sys.exit("Assertion failed on job for %s." % unit)
    sys.exit(subprocess.call(re.search(r'ExecStart=/usr/bin/env "(\S+)"', text).group(1)))
if action == "stop":
    if os.path.exists(restarting):
        os.unlink(restarting)
    sys.exit(subprocess.call(re.search(r"ExecStop=(\S+)", text).group(1)) if main_pid() else 0)
sys.exit("unknown " + action)
"""


class Unit:
    def __init__(self, folder: pathlib.Path, home, state: pathlib.Path) -> None:
        self.name, self._home, self._state = "edge-{0}.service".format(home.port), home, state
        self.path = folder / self.name
        self.write(1)

    def write(self, restart: int) -> None:
        self.path.write_text(UNIT.format(home=self._home.path, restart=restart))
        self.systemctl("daemon-reload")

    def systemctl(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # pylint: disable=subprocess-run-check

    def active(self) -> str:
        return _hold.unit_state(self.name)["ActiveState"]

    def break_down(self) -> None:
        """Let the process end, so that systemd waits to restart it."""
        self.write(60)
        os.kill(self._home.pid(), signal.SIGKILL)
        if not REAL:
            (self._state / "restarting").touch()
        deadline = time.monotonic() + 5
        while self.active() != "activating":
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def remove(self) -> None:
        self.systemctl("stop", self.name)
        self.path.unlink()
        self.systemctl("daemon-reload")


@pytest.fixture
def unit(home, tmp_path, monkeypatch):
    folder = pathlib.Path("/etc/systemd/system")
    if not REAL:
        folder, programs = tmp_path / "system", tmp_path / "programs"
        folder.mkdir()
        programs.mkdir()
        (programs / "systemctl").write_text(
            STAND_IN.replace("{python}", sys.executable).replace("{folder}", str(folder)).replace("{state}", str(tmp_path))
        )
        (programs / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", "{0}:{1}".format(programs, os.environ["PATH"]))
        monkeypatch.setattr(_hold, "UNIT_FOLDER", str(folder))
        monkeypatch.setattr(_service, "_SYSTEMD_RUNS", str(folder))
        monkeypatch.setattr(_service, "_UNIT_FOLDERS", (str(folder),))
    made = Unit(folder, home, tmp_path)
    yield made
    made.remove()


def service(run_module, home, state, check=False, **args):
    return run_module("proxy_service", home.args(state=state, **dict({"manager": "auto"}, **args)), check=check)


def test_the_unit_is_found_and_used(run_module, home, unit):
    started = service(run_module, home, "started")
    assert started["changed"] and started["status"]["unit"] == unit.name and started["status"]["manager"] == "systemd", started
    assert unit.active() == "active"
    assert not service(run_module, home, "started")["changed"]
    restarted = service(run_module, home, "restarted")
    assert restarted["status"]["pid"] != started["status"]["pid"] and restarted["status"]["listening"]
    stopped = service(run_module, home, "stopped")
    assert stopped["changed"] and unit.active() == "inactive" and not home.processes()
    assert not service(run_module, home, "stopped")["changed"]
    time.sleep(1.5 if REAL else 0)  # Restart=always does not bring it back
    assert not home.processes()


def test_hold_refuses_systemd_and_people(run_module, home, unit):
    service(run_module, home, "started")
    assert service(run_module, home, "stopped", check=True, hold=True)["changed"] and unit.active() == "active"
    assert service(run_module, home, "stopped", hold=True)["status"]["held"]
    assert not service(run_module, home, "stopped", hold=True)["changed"]
    refused = unit.systemctl("start", unit.name)
    assert refused.returncode != 0 and b"Assertion failed" in refused.stdout
    assert subprocess.run([str(home.path / "startup.sh")], stderr=subprocess.DEVNULL).returncode == 1  # pylint: disable=subprocess-run-check
    time.sleep(1.5 if REAL else 0)
    assert not home.processes() and unit.active() == "inactive"

    assert "held down" in service(run_module, home, "started")["msg"]
    released = service(run_module, home, "started", hold=False)
    assert released["changed"] and released["status"]["listening"] and not released["status"]["held"]
    assert not (unit.path.parent / (unit.name + ".d")).exists()


def test_a_drop_in_that_holds_for_good_is_all_that_a_hold_needs(run_module, home, unit):
    folder = unit.path.parent / (unit.name + ".d")
    folder.mkdir()
    (folder / "hold.conf").write_text("[Unit]\nAssertPathExists=!{0}/startup.sh.held\n".format(home.path))
    unit.systemctl("daemon-reload")
    try:
        service(run_module, home, "started")
        assert service(run_module, home, "stopped", hold=True)["status"]["held"]
        assert [path.name for path in folder.iterdir()] == ["hold.conf"]
        assert not service(run_module, home, "stopped", hold=True)["changed"]
        assert b"Assertion failed" in unit.systemctl("start", unit.name).stdout
        assert service(run_module, home, "started", hold=False)["status"]["listening"]
        assert [path.name for path in folder.iterdir()] == ["hold.conf"]
    finally:
        (folder / "hold.conf").unlink()
        folder.rmdir()


def test_waiting_for_a_restart_is_not_stopped(run_module, home, unit):
    service(run_module, home, "started")
    unit.break_down()
    assert service(run_module, home, "stopped", check=True)["changed"]
    assert service(run_module, home, "stopped")["changed"] and unit.active() == "inactive"
    assert not service(run_module, home, "stopped")["changed"]


def test_a_start_that_fails(run_module, home, unit):
    (home.path / "bin" / "start_fails").touch()
    result = service(run_module, home, "started")
    assert result.failed and "systemctl ended with code" in result["msg"]


def test_unknown_unit(run_module, home, unit):
    result = service(run_module, home, "started", unit="no-such-edge")
    assert result.failed and "no-such-edge.service: systemd does not know this unit" in result["msg"]


def test_no_unit_for_this_home(run_module, home, unit):
    unit.path.write_text(UNIT.format(home=str(home.path) + "2", restart=1))
    assert "no systemd unit starts this proxy" in service(run_module, home, "started", manager="systemd")["msg"]
    assert service(run_module, home, "started")["status"]["manager"] == "scripts"
    service(run_module, home, "stopped")
    unit.write(1)


def test_several_units_are_an_error(run_module, home, unit):
    second = unit.path.with_name("second-" + unit.name)
    second.write_text(UNIT.format(home=home.path, restart=1))
    try:
        result = service(run_module, home, "started")
        assert result.failed and "several systemd units" in result["msg"]
        assert service(run_module, home, "started", unit=unit.name[: -len(".service")])["status"]["unit"] == unit.name
    finally:
        second.unlink()
