# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Which process a controller is, and whether such a process is still there."""

import hashlib
import os
import re
import socket
import typing as t

INITIAL_NAMESPACE = "4026531836"  # PROC_PID_INIT_INO of Linux: the process numbers of the machine itself, not of a container
_OWNER = re.compile(r"(?P<host>[^:@]+):(?P<pid>\d+):(?P<start>\d+)@(?P<machine>[^.]+)\.(?P<boot>[^.]+)\.(?P<namespace>[^.]+)\Z")


class Place(t.NamedTuple):
    """Where a process number means something."""

    host: str
    machine: str  # tells machines of the same name apart; "-" in a container without a machine id
    boot: str
    namespace: str  # of process numbers: containers have their own


def this_controller() -> str:
    """Return C(host:pid:start@machine.boot.namespace) of the ansible-playbook process that forked this worker.

    The start time in clock ticks (proc(5), field 22 of stat) tells a process from a later one with the same number.
    """
    pid = os.getppid()
    return _owner(_here(), pid, _start_time(pid))


def is_gone(owner: str) -> bool:
    """Return True only when it is proven that the owner has ended: its process is no more, or its machine, this one, was started anew since.

    Nothing is known of a process in a container other than this one, even when both have the same host name.
    """
    found = _OWNER.match(owner)
    if not found:
        return False
    here, there = _here(), Place(**{name: found.group(name) for name in Place._fields})
    if there == here:
        return _start_time(int(found.group("pid"))) != found.group("start")
    this_machine = there.machine != "-" and there._replace(boot=here.boot) == here
    return this_machine and there.namespace == INITIAL_NAMESPACE


def _owner(place: Place, pid: int, start: t.Optional[str]) -> str:
    return f"{place.host}:{pid}:{start}@{place.machine}.{place.boot}.{place.namespace}"


def _here() -> Place:
    machine = _read("/etc/machine-id")  # which is confidential by machine-id(5)
    return Place(
        host=socket.gethostname(),
        machine=hashlib.sha256(b"edge_encryption.clone" + machine.encode("ascii")).hexdigest()[:8] if machine else "-",
        boot=_read("/proc/sys/kernel/random/boot_id")[:8],
        namespace=os.readlink("/proc/self/ns/pid").strip("pid:[]"),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return ""


def _start_time(pid: int) -> t.Optional[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            # The name in parentheses may hold blanks and parentheses; fields are counted after its end.
            return stream.read().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None
