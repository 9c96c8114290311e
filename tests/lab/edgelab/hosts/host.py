# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host: an overlay on the root file system, booted by systemd-nspawn in a network namespace of its own, and the proxy that it is for."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgelab.hosts import guard, network, root
from edgelab.processes import LabError, Process, last_lines, wait_for
from edgelab.proxy_home import LAB_PATH

UNIT = "edge.service"
INSTALLED = Path("/opt/edge")  # where the install directory of a proxy lies on its host
# The lab's code and libraries, which only the stand-in proxy uses; both can only be read.
CODE = Path("/usr/share/edgelab/lab")
LIBRARIES = Path("/usr/share/edgelab/python")
PROPAGATED = Path("/run/systemd/nspawn/propagate")  # nspawn's, a folder a machine


class Host:
    """A system with systemd as its process 1, sshd, Java, and an address of its own."""

    def __init__(self, name: str, address: str, folder: Path, files: Path, login_key: Path, held_by_run: bool) -> None:
        """Describe it.

        Args:
            name: name of its proxy.
            address: its address.
            folder: where what makes it this host is kept.
            files: the folder that becomes the proxy's install directory on the host.
            login_key: the file with the key of who may log in.
            held_by_run: whether a run stops and holds the proxy, as a target's; a source's is only read.
        """
        self.name = name
        self.address = address
        self.folder = folder
        self._files = files
        self._login_key = login_key
        self.root = folder / "root"
        self.process = Process(f"host {name}", folder)
        self._held_by_run = held_by_run
        self._key_file = folder / "ssh_host_ed25519_key"

    # -- up and down

    def start(self) -> None:
        """Boot it unless it runs already.

        Raises:
            LabError: the guard does not stand, or it does not boot.
        """
        if self.process.pid:
            return
        guard.require()
        self._mount(root.build())
        self._furnish()
        groups = cgroups(self.name)
        for group in groups:
            group.mkdir(parents=True, exist_ok=True)
        self.process.start([
            "sh", "-c", 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"', "sh", *map(str, groups), "--",
            "systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={self._hostname}", f"--hostname={self._hostname}", "--boot",
            "--register=no", "--keep-unit", f"--network-namespace-path={network.path(network.namespace(self.name))}", "--console=pipe",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", f"--bind={self._files}:{INSTALLED / self.name}",
            f"--bind-ro={LAB_PATH}:{CODE}", f"--bind-ro={sys.prefix}:{LIBRARIES}",
        ])  # fmt: skip

    def wait(self) -> None:
        """Return once it has booted.

        Raises:
            LabError: it ended, or the time is up.
        """
        self.process.wait_for(self.booted, 60)

    def booted(self) -> bool:
        """Tell whether its systemd has reached what a server is booted to."""
        leader = self.leader
        return leader is not None and _enter(leader, "systemctl", "is-active", "--quiet", "ssh.service", "multi-user.target").returncode == 0

    def stop(self) -> bool:
        """Shut it down in order, by force after some time; return whether it ran."""
        ran = self.process.stop(30 if self.booted() else 1)  # a system that is booting does not listen to who asks it to shut down
        for group in cgroups(self.name):
            _empty(group)
        root.unmount(self.root)
        root.remove(PROPAGATED / self._hostname)  # nspawn itself does so only where this is no file system of a disk
        return ran

    # -- from outside, as who stands before the machine

    def run(self, *command: str) -> str:
        """Run a command on it as root and return what it printed.

        Raises:
            LabError: it failed.
        """
        done = self.attempt(*command)
        if done.returncode:
            raise LabError(f"{self.name}: {' '.join(command)}: {done.stdout.strip()}")
        return done.stdout

    def attempt(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on it as root that may fail."""
        leader = self.leader
        if leader is None:
            raise LabError(f"{self.name} does not run:\n{last_lines(self.process.log)}")
        return _enter(leader, *command)

    @property
    def leader(self) -> t.Optional[int]:
        """The number, here, of its process 1."""
        parent = self.process.pid
        for status in Path("/proc").glob("[0-9]*/status") if parent else []:
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(lines["PPid"]) == parent and lines["NSpid"].split()[-1] == "1":
                return int(lines["Pid"])
        return None

    def reboot(self) -> None:
        """Let it reboot itself, and return once it has booted again. nspawn leaves the second half to who started it."""
        self.run("systemctl", "reboot")
        wait_for(lambda: self.process.pid is None, f"{self.name} goes down", 60)
        with network.outside():
            self.stop()
            self.start()
        self.wait()

    # -- what makes it this host

    @property
    def known_host(self) -> str:
        """Its line of a known_hosts file."""
        return f"{self.address} {_public(self._key())}\n"

    @property
    def _hostname(self) -> str:
        return self.name.replace("_", "-")

    def _mount(self, base: Path) -> None:
        """Lay the host's own files over the root file system; those that were made over another one are thrown away."""
        root.unmount(self.root)  # what a host that was killed has left
        made_over = self.folder / "made_over"
        if not made_over.exists() or made_over.read_text() != base.name:
            for part in ("own", "work"):
                shutil.rmtree(self.folder / part, ignore_errors=True)
        for folder in (self.root, self.folder / "own", self.folder / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        made_over.write_text(base.name)
        layers = f"lowerdir={base},upperdir={self.folder / 'own'},workdir={self.folder / 'work'}"
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{self.name}: no overlay can be mounted: {done.stderr.strip()}")

    def _furnish(self) -> None:
        """Write what the administrator of such a host would have set up; see the guide "Least privilege"."""
        home = str(INSTALLED / self.name)
        self._files.mkdir(parents=True, exist_ok=True)
        os.chown(self._files, root.PROXY_UID, root.PROXY_UID)
        self._write("etc/machine-id", _once(self.folder / "machine-id", lambda: secrets.token_hex(16)) + "\n")
        self._write("etc/hostname", self._hostname + "\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n{self.address} {self._hostname}\n")
        self._write("etc/ssh/ssh_host_ed25519_key", _private(self._key()), 0o600)
        self._write("etc/ssh/sshd_config.d/lab.conf", (root.PARTS / "sshd.conf").read_text())
        keys = self._write(f"home/{root.LOGIN_USER}/.ssh/authorized_keys", _public(ssh_key(self._login_key)) + "\n", 0o600)
        for path in (keys, keys.parent):
            os.chown(path, root.LOGIN_UID, root.LOGIN_UID)
        self._write("etc/sudoers.d/edge-login", (root.PARTS / "sudoers-login").read_text(), 0o440)
        self._write(f"etc/systemd/system/{UNIT}", (root.PARTS / UNIT).read_text().replace("{home}", home))
        if self._held_by_run:
            self._write("etc/sudoers.d/edge-service", (root.PARTS / "sudoers-service").read_text(), 0o440)
            self._write(f"etc/systemd/system/{UNIT}.d/hold.conf", (root.PARTS / "hold.conf").read_text().replace("{home}", home))

    def _write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.root / name
        path.parent.mkdir(mode=0o700 if name.startswith("home/") else 0o755, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=mode)
        path.write_text(text)
        return path

    def _key(self) -> Ed25519PrivateKey:
        return ssh_key(self._key_file)


def cgroups(name: str) -> t.List[Path]:
    """A host's control groups in those hierarchies that its systemd manages. In one group, hosts would take each other's processes for their own."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _separator, kind = line.partition(" - ")
        type_, _source, options = kind.split(" ", 2)
        place = Path(fields.split()[4])
        if place.parts[:4] == ("/", "sys", "fs", "cgroup") and (type_ == "cgroup2" or "name=systemd" in options.split(",")):
            found.append(place / network.CONTROL / name)
    return found


def _enter(leader: int, *command: str) -> "subprocess.CompletedProcess[str]":
    enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--"]
    return subprocess.run([*enter, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _empty(group: Path) -> None:
    """End what a host that is shut down has left in its control group, process by process, and delete the group."""

    def over() -> bool:
        pids = [int(pid) for procs in group.rglob("cgroup.procs") for pid in _read(procs).split()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_for(over, f"{group} is empty", 10)
    for folder in sorted(group.rglob("*/"), reverse=True) + [group] if group.exists() else []:
        folder.rmdir()
    if group.parent.exists() and not any(group.parent.glob("*/")):
        group.parent.rmdir()


def _read(path: Path) -> str:
    """Return what a file of a control group says, nothing when it has gone meanwhile."""
    try:
        return path.read_text()
    except OSError:  # ENOENT, or ENODEV while it goes
        return ""


def ssh_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a file, made on first use."""
    text = _once(path, lambda: _private(Ed25519PrivateKey.generate()))
    key = serialization.load_ssh_private_key(text.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _private(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()


def _once(path: Path, make: t.Callable[[], str]) -> str:
    """Return what a private file holds, made on first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(make())
        new.rename(path)
    return path.read_text()
