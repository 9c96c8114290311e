# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Processes by identity (number and start), and who listens on a port, out of Linux's /proc."""

import binascii
import functools
import os
import socket
import struct
import sys
import typing as t


class Process(t.NamedTuple):
    """One process. Its number alone may belong to another one later."""

    pid: int
    started: int  # clock ticks since the machine's start


def identify(pid: int) -> t.Optional[Process]:
    """Return the process with this number, if there is one that still runs."""
    fields = _stat(pid)
    return None if fields is None else Process(pid, int(fields[19]))


def alive(process: Process) -> bool:
    """Tell whether this very process still runs."""
    return identify(process.pid) == process


def started_at(process: Process) -> float:
    """Return the time of its start in seconds since the epoch, exact to about a second."""
    with open("/proc/stat") as stream:
        boot = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
    return boot + process.started / float(os.sysconf("SC_CLK_TCK"))


def describe(pid: int) -> str:
    """Return number and short name, never the arguments, which could hold a secret."""
    try:
        with open("/proc/{0}/comm".format(pid)) as stream:
            return "process {0} ({1})".format(pid, stream.read().strip())
    except OSError:
        return "process {0}".format(pid)


def family(process: Process) -> t.List[Process]:
    """Return the process and its descendants."""
    children = {}  # type: t.Dict[int, t.List[int]]
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(pid)
    found, queue = [], [process.pid]
    while queue:
        pid = queue.pop()
        member = identify(pid)
        if member is not None:
            found.append(member)
        queue.extend(children.get(pid, []))
    return found


def origin(pid: int, folder: str) -> int:
    """Return the number of the topmost ancestor that was started from the same folder, such as the wrapper of a JVM."""
    while True:
        fields = _stat(pid)
        parent = int(fields[1]) if fields else 0
        if parent <= 1 or not belongs_to(parent, folder):
            return pid
        pid = parent


def belongs_to(pid: int, folder: str) -> bool:
    """Tell whether a process was started from a folder: by its program, its working directory or an argument."""
    inside = folder.rstrip("/") + "/"
    for link in ("exe", "cwd"):
        try:
            if (os.readlink("/proc/{0}/{1}".format(pid, link)) + "/").startswith(inside):
                return True
        except OSError:
            continue
    try:
        with open("/proc/{0}/cmdline".format(pid), "rb") as stream:
            arguments = stream.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return False
    return any(inside in argument + "/" for argument in arguments)


def listening(host: str, port: int) -> t.Set[int]:
    """Return the inodes of sockets that listen on the port, on an address of the host or on all addresses."""
    addresses = _resolve(host)
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as stream:
                rows = [line.split() for line in stream][1:]
        except FileNotFoundError:
            continue  # no IPv6
        for row in rows:
            address, _unused, number = row[1].partition(":")
            if row[3] == "0A" and int(number, 16) == port:
                text = _address(address)
                if not addresses or text in addresses or text in ("0.0.0.0", "::"):
                    found.add(int(row[9]))
    return found


@functools.lru_cache(maxsize=None)
def _resolve(host: str) -> t.FrozenSet[str]:
    try:
        return frozenset(str(item[4][0]) for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except socket.gaierror:
        return frozenset()  # nobody can connect to that name, but the port may still be taken


def owners(inodes: t.Set[int]) -> t.Set[int]:
    """Return the numbers of the processes that hold these sockets, as far as this user may see them."""
    wanted = {"socket:[{0}]".format(inode) for inode in inodes}
    found = set()
    for pid in _pids() if wanted else []:
        folder = "/proc/{0}/fd".format(pid)
        try:
            names = os.listdir(folder)
        except OSError:
            continue  # gone, or another user's
        for name in names:
            try:
                if os.readlink(os.path.join(folder, name)) in wanted:
                    found.add(pid)
                    break
            except OSError:
                continue
    return found


def _pids() -> t.List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> t.Optional[t.List[str]]:
    """Return the fields of /proc/PID/stat from the state on, or None when the process has ended."""
    try:
        with open("/proc/{0}/stat".format(pid), errors="replace") as stream:
            text = stream.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, even a parenthesis.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields


def _address(text: str) -> str:
    """Return an address of /proc/net/tcp, which prints words of 32 bits in the byte order of the machine."""
    raw = binascii.unhexlify(text)
    order = "<" if sys.byteorder == "little" else ">"
    raw = b"".join(struct.pack(">I", word) for word in struct.unpack(order + "{0}I".format(len(raw) // 4), raw))
    if len(raw) == 16 and raw[:12] == b"\x00" * 10 + b"\xff\xff":
        raw = raw[12:]  # an IPv4 address on an IPv6 socket
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
