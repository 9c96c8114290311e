# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake proxy: real scripts, a real process, a real port, a real log."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

DAEMON = r"""
import json, os, signal, socket, sys, time
home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
knobs = json.load(open(os.path.join(home, "knobs.json")))
path = os.path.join(home, "logs", "edgeencryption.log")

def log(text):
    with open(path, "a") as stream:
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        stream.write("%s,%03d %s\n" % (stamp, int(now * 1000) % 1000, text))

def end(*_unused):
    if knobs.get("ignore_term"):
        log("WARN SIGTERM is ignored")
        return
    log("INFO stopped")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
if knobs.get("child"):  # a wrapper and its JVM
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, lambda *_unused: os.kill(child, signal.SIGTERM))
        os.wait()
        os._exit(0)
log("INFO starting")
for line in knobs.get("lines", []):
    log(line)
if knobs.get("rotate"):
    log("INFO before the rotation")
    os.rename(path, path + ".1")
    for line in knobs.get("lines_after_rotation", []):
        log(line)
time.sleep(knobs.get("delay", 0))
if knobs.get("die_early"):
    log("ERROR giving up, edgeencryption.db.password = %s" % knobs.get("secret"))
    os._exit(1)
server = None
if not knobs.get("deaf"):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", knobs["port"]))
    server.listen(20)
    log("INFO listening")
if knobs.get("die_late"):
    time.sleep(0.5)
    log("ERROR out of memory")
    os._exit(1)
for line in knobs.get("late_lines", []):
    time.sleep(0.4)
    log(line)
kept = []
while True:
    if server is None:
        time.sleep(1)
        continue
    kept.append(server.accept()[0])
    if len(kept) > 50:
        kept.pop(0).close()
"""

STARTUP = """#!/bin/sh
# Like the Tanuki wrapper: returns 0 at once, whatever becomes of the start.
cd "$(dirname "$0")" || exit 1
if [ -e bin/start_fails ]; then echo "wrapper-linux-x86-32: not found" >&2; exit 127; fi
if [ -e bin/edgeencryption.pid ] && kill -0 "$(cat bin/edgeencryption.pid)" 2>/dev/null; then echo "already running" >&2; exit 1; fi
{python} -SE bin/daemon.py </dev/null >/dev/null 2>&1 &
echo $! > bin/edgeencryption.pid
echo "Starting Edge Encryption... done."
"""

SHUTDOWN = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
if [ -e bin/shutdown_hangs ]; then exec sleep 300; fi
pid="$(cat bin/edgeencryption.pid)" || exit 1
kill -TERM "$pid" 2>/dev/null
while [ -e "/proc/$pid/exe" ]; do sleep 0.05; done  # a zombie, which some init reaps late, has no exe
rm -f bin/edgeencryption.pid
"""

SECRET = "pa55-of-the-database"


class FakeHome:
    """An install directory whose proxy is a small daemon."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.port = free_port()
        self.pid_file = path / "bin" / "edgeencryption.pid"
        self.log = path / "logs" / "edgeencryption.log"
        for folder in ("bin", "conf", "logs"):
            (path / folder).mkdir(parents=True)
        (path / "conf" / "edgeencryption.properties").write_text(
            "edgeencryption.proxy.host = 127.0.0.1\nedgeencryption.proxy.https.port = {0}\nedgeencryption.db.password = {1}\n".format(
                self.port, SECRET
            )
        )
        (path / "bin" / "daemon.py").write_text(DAEMON)
        self.script("startup.sh", STARTUP.format(python=sys.executable))
        self.script("shutdown.sh", SHUTDOWN)
        self.knobs()

    def script(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o750)

    def knobs(self, **values: object) -> None:
        (self.path / "knobs.json").write_text(json.dumps(dict(values, port=self.port, secret=SECRET)))

    def args(self, **values: object) -> dict:
        return dict(dict(home=str(self.path), manager="scripts", settle=0.3, timeout=8), **values)

    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def start_by_hand(self) -> int:
        subprocess.run([str(self.path / "startup.sh")], check=True, stdout=subprocess.DEVNULL)
        wait_for(self.listens)
        return self.pid()

    def listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def processes(self) -> list:
        """Return the processes that run this home's daemon."""
        wanted = "bin/daemon.py"
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    arguments = (entry / "cmdline").read_bytes().decode().split("\0")
                    if wanted in arguments and os.path.realpath(str(entry / "cwd")) == str(self.path):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def clean(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
