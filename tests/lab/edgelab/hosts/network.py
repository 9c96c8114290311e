# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network of the hosts: a namespace a host and one for all the rest, joined by a bridge in the latter. No way leads out of it.

No interface of this machine is part of it, and none of its interfaces is ever in the root namespace.
"""

import contextlib
import ctypes
import json
import os
import typing as t
from pathlib import Path

from edgelab.hosts import guard
from edgelab.hosts.guard import ip
from edgelab.processes import LabError, stop_pid

CONTROL = "edgelab"  # databases, instances, balancer, users and whoever talks to hosts
ADDRESS = "10.77.0.1"
BRIDGE = "hosts"
_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_HERE = os.open("/proc/self/ns/net", os.O_RDONLY)  # where this process began


def namespace(host: str) -> str:
    """The name of a host's namespace."""
    return f"{CONTROL}-{host}"


def path(name: str) -> Path:
    """Where a namespace can be entered."""
    return _NAMESPACES / name


def names() -> t.List[str]:
    """Return the lab's namespaces that there are."""
    found = os.listdir(_NAMESPACES) if _NAMESPACES.is_dir() else []
    return sorted(name for name in found if name == CONTROL or name.startswith(f"{CONTROL}-"))


def make(addresses: t.Mapping[str, str]) -> None:
    """Make what is missing: the namespaces of these hosts, and what joins them.

    Raises:
        LabError: the guard does not stand, or the network is not what it must be.
    """
    guard.require()
    if not _is_control():
        _delete(CONTROL)
        ip("netns", "add", CONTROL)
        _add_bridge()
    for host, address in addresses.items():
        if not _is_joined(host, address):
            _delete(namespace(host))
            _join(host, address)
    _read_back()


def _add_bridge() -> None:
    ip("-n", CONTROL, "link", "set", "lo", "up")
    ip("-n", CONTROL, "link", "add", BRIDGE, "type", "bridge")
    ip("-n", CONTROL, "link", "set", BRIDGE, "up")
    ip("-n", CONTROL, "address", "add", f"{ADDRESS}/{guard.NETWORK.prefixlen}", "dev", BRIDGE)  # last: by it a complete one is known


def _join(host: str, address: str) -> None:
    """Make a host's namespace with an interface whose other end is a port of the bridge; neither end is ever in the root namespace."""
    ip("netns", "add", namespace(host))
    port = port_of(address)
    if port in _links(CONTROL):  # of a namespace that went a moment ago
        ip("-n", CONTROL, "link", "del", port)
    ip("-n", CONTROL, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace(host))
    ip("-n", CONTROL, "link", "set", port, "master", BRIDGE, "up")
    ip("-n", namespace(host), "link", "set", "lo", "up")
    ip("-n", namespace(host), "link", "set", "eth0", "up")
    ip("-n", namespace(host), "address", "add", f"{address}/{guard.NETWORK.prefixlen}", "dev", "eth0")


def port_of(address: str) -> str:
    """The bridge's port that leads to a host."""
    return "port" + address.rpartition(".")[2]


def cut(address: str, off: bool) -> None:
    """Take a host off the network, or put it back."""
    ip("-n", CONTROL, "link", "set", port_of(address), "down" if off else "up")


def delete(hosts: t.Iterable[str]) -> None:
    """End what still runs in the lab's namespaces, process by process, and delete them.

    Raises:
        LabError: a process does not end, or a namespace stays.
    """
    for name in [*map(namespace, hosts), CONTROL]:
        _delete(name)
    if names():
        raise LabError(f"these namespaces stay: {', '.join(names())}")


def _delete(name: str) -> None:
    if name not in names():
        return
    # A file of that name without a namespace is what a broken-off attempt leaves.
    for pid in ip("netns", "pids", name).split() if _is_namespace(name) else []:
        stop_pid(int(pid), 2)
    ip("netns", "del", name)


def refuse_inside() -> None:
    """Refuse to bring hosts up or down from one of the lab's own namespaces, which would be asked instead of this machine's, and deleted.

    Raises:
        LabError: this process lives in one.
    """
    here = os.stat("/proc/thread-self/ns/net").st_ino
    if any(path(name).stat().st_ino == here for name in names()):
        raise LabError("this process lives in a namespace of the lab; bring hosts up and down from outside")


@contextlib.contextmanager
def inside(name: str = CONTROL) -> t.Iterator[None]:
    """Let this thread, and what it starts, live in a namespace for a while; like C(ip netns exec), without another process."""
    with _entered(path(name)):
        yield


@contextlib.contextmanager
def outside() -> t.Iterator[None]:
    """Let this thread live where this process began, wherever it is now."""
    with _entered(_HERE):
        yield


@contextlib.contextmanager
def _entered(place: t.Union[Path, int]) -> t.Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"network namespace {place}: {os.strerror(ctypes.get_errno())}")

    with contextlib.ExitStack() as opened:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        opened.callback(os.close, before)
        there = place
        if isinstance(there, Path):
            there = os.open(there, os.O_RDONLY)
            opened.callback(os.close, there)
        enter(there)
        try:
            yield
        finally:
            enter(before)


def _is_namespace(name: str) -> bool:
    return path(name).stat().st_dev != _NAMESPACES.parent.stat().st_dev


def _links(name: str) -> t.Dict[str, t.Dict[str, t.Any]]:
    return {link["ifname"]: link for link in json.loads(ip("-n", name, "-json", "address", "show"))}


def _has(name: str, link: str, address: str) -> bool:
    return any(known.get("local") == address for known in _links(name).get(link, {}).get("addr_info", []))


def _is_control() -> bool:
    return CONTROL in names() and _is_namespace(CONTROL) and _has(CONTROL, BRIDGE, ADDRESS)


def _is_joined(host: str, address: str) -> bool:
    name = namespace(host)
    joined = _links(CONTROL).get(port_of(address), {}).get("master") == BRIDGE
    return joined and name in names() and _is_namespace(name) and _has(name, "eth0", address)


def _read_back() -> None:
    """Prove that nothing leads out: no interface but the lab's own, no route but to the lab's own network."""
    for name in names():
        allowed = ("lo", BRIDGE, "eth0")
        foreign = [link for link in _links(name) if link not in allowed and not link.startswith("port")]
        routes = [route["dst"] for route in json.loads(ip("-n", name, "-json", "route", "show") or "[]") if route["dst"] != str(guard.NETWORK)]
        if foreign or routes:
            raise LabError(f"the namespace {name} has a way out: {', '.join(foreign + routes)}")
