# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The site with hosts: what a lab asks for where its proxies live, see C(edgelab.sites)."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgelab.hosts import guard, network, root
from edgelab.hosts.host import CODE, INSTALLED, LIBRARIES, UNIT, Host, ssh_key
from edgelab.processes import LabError

ADDRESSES = {
    "edge_source_1": "10.77.0.11", "edge_source_2": "10.77.0.12",
    "edge_target_1": "10.77.0.21", "edge_target_2": "10.77.0.22", "edge_target_3": "10.77.0.23",
}  # fmt: skip
PROGRAMS = ("ip", "mmdebstrap", "mount", "nsenter", "ssh", "systemd-nspawn", "umount", "unshare")
# There is one network of this kind on a machine. The file says whose it is.
OWNER = Path("/run/lock/edgelab-hosts")


class HostProxy:
    """A proxy that systemd runs on a host of its own, under the account of the proxy."""

    python, pythonpath = LIBRARIES / "bin" / "python", CODE

    def __init__(self, host: Host, files: Path) -> None:
        self.name = host.name
        self.address = host.address
        self.files = files
        self.home = INSTALLED / host.name
        self._host = host

    def bring(self, path: Path) -> Path:
        copy = self.files / "tls" / path.name
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(path, copy)
        return self.home / "tls" / path.name

    def hand_over(self) -> None:
        for path in [self.files, *self.files.rglob("*")]:
            os.chown(path, root.PROXY_UID, root.PROXY_UID)

    def start(self) -> None:
        self._host.run("systemctl", "enable", "--quiet", "--now", UNIT)

    def stop(self) -> bool:
        ran = self.pid is not None
        if self._host.leader:
            self._host.run("systemctl", "stop", UNIT)
        return ran

    @property
    def pid(self) -> t.Optional[int]:
        if self._host.leader is None:
            return None
        return int(self._host.run("systemctl", "show", "--property=MainPID", "--value", UNIT)) or None


class Hosts:
    """A host a proxy, and the namespace in which all the rest lives."""

    address = network.ADDRESS
    prefix = ["ip", "netns", "exec", network.CONTROL]

    def __init__(self, folder: Path, say: t.Callable[[str], None] = print) -> None:
        self.folder = folder.resolve()
        self._say = say
        self._login_key = self.folder / "ssh" / "deploy"
        self._known_hosts = self.folder / "ssh" / "known_hosts"
        self.hosts = {
            name: Host(name, address, self.folder / "hosts" / name, self.folder / "proxies" / name, self._login_key, "target" in name)
            for name, address in ADDRESSES.items()
        }

    @property
    def ssh(self) -> t.Dict[str, str]:
        return {"user": root.LOGIN_USER, "key": str(self._login_key), "known_hosts": str(self._known_hosts), "proxy_user": root.PROXY_USER}

    def proxy(self, name: str, files: Path) -> HostProxy:
        return HostProxy(self.hosts[name], files)

    # -- up

    @contextlib.contextmanager
    def up(self) -> t.Iterator[None]:
        """Boot the hosts, the guard first; what is done in this context is done in the control namespace.

        Raises:
            LabError: this machine cannot do it, or another lab has hosts; what this call started is stopped again.
        """
        refuse_where_it_cannot_work(self.folder)
        with self._alone() as owner:
            if owner:
                raise LabError(f"the hosts of another lab are up: python -m edgelab.lab down --hosts --dir {owner}")
            root.build(self._say)
            try:
                guard.put_up()
                network.make(ADDRESSES)
                self._boot()
                with network.inside():
                    yield
            except BaseException:
                self._take_down()
                raise

    def _boot(self) -> None:
        ssh_key(self._login_key)  # made before any host wants it
        with ThreadPoolExecutor() as pool:
            list(pool.map(Host.start, self.hosts.values()))
            list(pool.map(Host.wait, self.hosts.values()))
        self._known_hosts.write_text("".join(host.known_host for host in self.hosts.values()))

    @contextlib.contextmanager
    def inside(self) -> t.Iterator[None]:
        with network.inside():
            yield

    @contextlib.contextmanager
    def _alone(self) -> t.Iterator[str]:
        """Be the only one at work on hosts. Gives the folder of another lab whose hosts are up; without one, they are this lab's from now on."""
        if os.geteuid() != 0:
            raise LabError("hosts are booted and shut down by root only")
        network.refuse_inside()
        OWNER.parent.mkdir(parents=True, exist_ok=True)
        with OWNER.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            owner = file.read().strip()
            if owner not in ("", str(self.folder)) and network.names():
                yield owner
                return
            file.truncate(0)
            file.write(str(self.folder))
            file.flush()
            yield ""

    # -- down

    @contextlib.contextmanager
    def down(self, wipe: bool) -> t.Iterator[None]:
        with self._alone() as owner:
            yield
            if not owner:
                self._take_down()
            if wipe:
                root.remove(self.folder / "hosts")

    def _take_down(self) -> None:
        """Undo all of it, the guard last. Each step must have succeeded before the next, so the guard stands as long as anything does."""
        with ThreadPoolExecutor() as pool:
            stopped = sum(pool.map(Host.stop, self.hosts.values()))
        network.delete(ADDRESSES)
        root.unmount(self.folder / "hosts")
        guard.take_down()
        if stopped:
            self._say(f"shut {stopped} hosts down")


def refuse_where_it_cannot_work(folder: Path) -> None:
    """Say why this machine cannot boot hosts.

    Raises:
        LabError: the reason, and what would help.
    """
    if os.geteuid() != 0:
        raise LabError("hosts are booted and shut down by root only")
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise LabError(f"{', '.join(missing)} not found: tests/install-debian-packages {root.PARTS / 'debian-packages.txt'}")
    if sys.prefix == sys.base_prefix or sys.base_prefix != "/usr" or sys.version_info[:2] != tuple(map(int, root.PYTHON.split("."))):
        raise LabError(f"the hosts run the lab's proxy with the libraries of this Python, so it must be a virtual environment of Debian {root.SUITE}'s own "
                       f"/usr/bin/python3 ({root.PYTHON}); it is {sys.executable}, of {sys.base_prefix}, {sys.version.split()[0]}")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".try-") as place:
        for part in ("lower", "own", "work", "root"):
            Path(place, part).mkdir()
        layers = f"lowerdir={place}/lower,upperdir={place}/own,workdir={place}/work"
        for what, command in (
            ("network namespaces", ["unshare", "--net", "true"]),
            ("overlays in this folder", ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", layers, f"{place}/root"]),
        ):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LabError(f"this machine has no {what}, which hosts need: {done.stderr.strip()}")
