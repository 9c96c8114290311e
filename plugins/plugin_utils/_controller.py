# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Which process a controller is, and whether such a process is still there."""

import os
import socket
import typing as t


def this_controller() -> str:
    """Return C(host:pid:start) of the ansible-playbook process that forked this worker.

    The start time in clock ticks (proc(5), field 22 of stat) tells a process from a later one with the same number.
    """
    pid = os.getppid()
    return f"{socket.gethostname()}:{pid}:{_start_time(pid)}"


def is_gone(owner: str) -> bool:
    """Return True only when it is proven that the owner has ended: it ran on this host and its process is no more."""
    host, _colon, process = owner.partition(":")
    pid, _colon, start = process.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _start_time(int(pid)) != start


def _start_time(pid: int) -> t.Optional[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            # The name in parentheses may hold blanks and parentheses; fields are counted after its end.
            return stream.read().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None
