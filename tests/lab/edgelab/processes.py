# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of the lab: started apart from the terminal, known by pid and start time, stopped by exactly that."""

import json
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path


class LabError(Exception):
    """A part of the lab does not come up or go down; the message holds the last lines of its log."""


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
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                       env=dict(os.environ, **environment))
        self._file.write_text(json.dumps({"pid": process.pid, "start": start_time(process.pid)}))

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
