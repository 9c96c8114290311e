# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the parts of a lab live. The one place that knows how a proxy's host is reached and how the proxy is started there.

C(Local) is this machine's loopback. C(edgelab.hosts.site.Hosts) has the same methods and gives each proxy a booted system.
"""

import contextlib
import subprocess
import sys
import typing as t
from pathlib import Path

from edgelab.processes import start_time, stop_pid
from edgelab.proxy_home import LAB_PATH


class LocalProxy:
    """A proxy that is a process of this machine."""

    address = "127.0.0.1"
    python, pythonpath = Path(sys.executable), LAB_PATH

    def __init__(self, name: str, files: Path) -> None:
        self.name = name
        self.files = files  # its install directory as this process finds it
        self.home = files  # and as its own host names it

    def bring(self, path: Path) -> Path:
        """Let its host have a file of the lab; return how the proxy finds it."""
        return path

    def hand_over(self) -> None:
        """Give the install directory, now complete, to who runs the proxy."""

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        subprocess.run([str(self.files / "startup.sh")], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def stop(self) -> bool:
        """Stop it; return whether it ran."""
        pid = self.pid
        if pid:
            stop_pid(pid)
        return pid is not None

    @property
    def pid(self) -> t.Optional[int]:
        """The number of its process on its host, when that process is a proxy of this home."""
        try:
            pid = int((self.files / "bin" / "edgeencryption.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid if start_time(pid) and str(self.home).encode() in command else None


class Local:
    """All on the loopback."""

    address = "127.0.0.1"  # where databases, instances and the balancer listen, and where the runner comes from
    ssh: t.Optional[t.Dict[str, str]] = None  # how a runner logs in to the proxies' hosts; None: it is on them
    prefix: t.List[str] = []  # what a command begins with that is to reach the parts

    def proxy(self, name: str, files: Path) -> LocalProxy:
        """Return the proxy of this name with this install directory."""
        return LocalProxy(name, files)

    @contextlib.contextmanager
    def up(self) -> t.Iterator[None]:
        """Bring up what proxies live on; whatever reaches them is done in this context."""
        yield

    @contextlib.contextmanager
    def inside(self) -> t.Iterator[None]:
        """Be where the parts of a lab that is up can be reached."""
        yield

    @contextlib.contextmanager
    def down(self, wipe: bool) -> t.Iterator[None]:
        """Take down what proxies live on, after this context; with C(wipe), forget it."""
        yield
