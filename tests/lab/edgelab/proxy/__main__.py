# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""C(python -m edgelab.proxy --home HOME [start|stop|run]): what startup.sh and shutdown.sh call."""

import argparse
import asyncio
import os
import pathlib
import signal
import sys
import time

from . import VERSION
from .logs import open_logs
from .service import Proxy
from .settings import Settings

LONG_NAME = "Edge Encryption"
STOP_SECONDS = 15  # how long shutdown.sh waits


class PidFile:
    """bin/edgeencryption.pid, as the service wrapper keeps it."""

    def __init__(self, home):
        self.path = home / "bin" / "edgeencryption.pid"
        self._home = home

    def running(self):
        """Return the pid of the living proxy of this home, or None."""
        try:
            pid = int(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if self.alive(pid) else None

    def alive(self, pid):
        """Tell whether C(pid) is a proxy of this home: the number may be another process's by now."""
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except OSError:
            return False
        return b"edgelab.proxy" in command and str(self._home).encode() in command and state != "Z"

    def write(self, pid):
        self.path.parent.mkdir(exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(f"{pid}\n", encoding="ascii")
        os.replace(new, self.path)

    def remove(self):
        self.path.unlink(missing_ok=True)


def start(home):
    """Leave a daemon behind and return at once, whatever becomes of it."""
    pid_file = PidFile(home)
    print(f"Starting {LONG_NAME}...")
    if pid_file.running():
        print(f"{LONG_NAME} is already running.")
        return 1
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return 0
    os.setsid()
    daemon = os.fork()
    if daemon:
        pid_file.write(daemon)
        os._exit(0)
    os.chdir("/")
    (home / "logs").mkdir(exist_ok=True)
    devnull = os.open(os.devnull, os.O_RDONLY)
    output = os.open(home / "logs" / "wrapper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((devnull, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    while not pid_file.path.exists():
        time.sleep(0.01)
    return run(home)


def run(home):
    log, wrapper = open_logs(home)
    pid_file = PidFile(home)
    wrapper.info("--> Wrapper Started as Daemon")
    wrapper.info("Launching Edge Encryption proxy %s", VERSION)

    async def main():
        return await Proxy(Settings.load(home), log, wrapper).run()

    try:
        code = asyncio.run(main())
    except Exception:
        log.exception("Edge Encryption proxy died")
        code = 1
    if code:
        wrapper.info("JVM exited with code %s", code)
    wrapper.info("<-- Wrapper Stopped")
    pid_file.remove()
    return code


def stop(home):
    pid_file = PidFile(home)
    print(f"Stopping {LONG_NAME}...")
    pid = pid_file.running()
    if pid is None:
        pid_file.remove()
        print(f"{LONG_NAME} was not running.")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + Settings.load(home).lab.get("stop_seconds", STOP_SECONDS)
    while pid_file.alive(pid):
        if time.monotonic() > deadline:
            print(f"Failed to stop {LONG_NAME}.")
            return 1
        time.sleep(0.05)
    print(f"Stopped {LONG_NAME}.")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="edgelab.proxy", description="The lab's Edge Encryption proxy")
    parser.add_argument("--home", type=pathlib.Path, required=True)
    parser.add_argument("action", nargs="?", choices=("start", "stop", "run"), default="start")
    arguments = parser.parse_args()
    home = arguments.home.resolve()
    if arguments.action == "run":
        PidFile(home).write(os.getpid())
    return {"start": start, "stop": stop, "run": run}[arguments.action](home)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.exit(code)
