# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root file system of the hosts: made once from Debian's packages, then only read. Each host lays what it changes over it."""

import fcntl
import hashlib
import shutil
import subprocess
import typing as t
from pathlib import Path

from edgelab.processes import LabError, wait_for
from edgelab.proxy_home import LAB_PATH

PARTS = LAB_PATH / "hosts"
BUILT = LAB_PATH.parents[1] / "build" / "hosts"
SUITE = "bookworm"
PYTHON = "3.11"  # of that suite; the lab's libraries are made for it
# Who owns the install directory and runs the proxy, and who may log in.
PROXY_USER, PROXY_UID = "edge", 901
LOGIN_USER, LOGIN_UID = "deploy", 902


def command() -> t.List[str]:
    """What makes the root file system, up to the name of its folder."""
    return [
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join((PARTS / 'root-packages.txt').read_text().split())}",
        _hook(f"groupadd --gid {PROXY_UID} {PROXY_USER}"),
        _hook(f"useradd --uid {PROXY_UID} --gid {PROXY_UID} --home-dir /opt/edge --create-home --shell /usr/sbin/nologin {PROXY_USER}"),
        _hook(f"groupadd --gid {LOGIN_UID} {LOGIN_USER}"),
        _hook(f"useradd --uid {LOGIN_UID} --gid {LOGIN_UID} --create-home --shell /bin/bash {LOGIN_USER}"),
        _hook("systemctl mask apt-daily.timer apt-daily-upgrade.timer"),
        # What mmdebstrap takes from this machine, and keys: every host gets its own.
        _hook("sh -c 'rm -f /etc/hostname /etc/resolv.conf /etc/ssh/ssh_host_*'"),
        SUITE,
    ]  # fmt: skip


def _hook(line: str) -> str:
    return f'--customize-hook=chroot "$1" {line}'


def build(say: t.Callable[[str], None] = print) -> Path:
    """Return the root file system of the hosts (about a minute, 0.5 GB); see bootstrap."""
    return bootstrap(command(), "the hosts", say)


def bootstrap(recipe: t.Sequence[str], owner: str, say: t.Callable[[str], None] = print) -> Path:
    """Return the root file system that a command of mmdebstrap makes, made when there is none of this recipe yet.

    Raises:
        LabError: mmdebstrap failed.
    """
    root = BUILT / f"root-{hashlib.sha256(' '.join(recipe).encode()).hexdigest()[:12]}"
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            say(f"making the root file system of {owner}, once, from Debian's packages")
            part = root.with_suffix(".part")
            remove(part)  # what an attempt that was broken off has left
            done = subprocess.run([*recipe, str(part)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode:
                remove(part)
                raise LabError(f"mmdebstrap could not make the root file system of {owner}:\n{done.stderr[-2000:]}")
            part.rename(root)
    return root


def mounts(below: Path) -> t.List[Path]:
    """Return where something is mounted at or below a folder, the innermost first."""
    places = (line.split()[4].encode().decode("unicode_escape") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted((Path(place) for place in places if Path(place) == below or below in Path(place).parents), reverse=True)


def unmount(below: Path) -> None:
    """Unmount all that is mounted at or below a folder.

    Raises:
        LabError: something stays mounted.
    """

    def over() -> bool:
        for place in mounts(below):
            subprocess.run(["umount", str(place)], capture_output=True, check=False)
        return not mounts(below)

    # What has just ended may still hold on to it for a moment.
    wait_for(over, f"{below} is unmounted; something uses {', '.join(map(str, mounts(below)))}", 10)


def remove(folder: Path) -> None:
    """Delete a folder, never through a mount."""
    unmount(folder)
    if folder.exists():
        shutil.rmtree(folder)
