# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard: outside the lab's namespaces its addresses lead nowhere, so that nothing meant for a lab host can leave the machine.

Without it a packet to such an address would take this machine's default route. The route is put up before any namespace is made, looked up again
before any host starts, and taken away when the last namespace is gone.
"""

import errno
import ipaddress
import json
import socket
import subprocess
import typing as t

from edgelab.processes import LabError

NETWORK = ipaddress.ip_network("10.77.0.0/24")


def put_up() -> None:
    """Make the lab's addresses unreachable from here.

    Raises:
        LabError: they still lead somewhere.
    """
    if not _routes():
        ip("route", "add", "unreachable", str(NETWORK))
    require()


def require() -> None:
    """Refuse to go on when a connection to any of the lab's addresses could leave this namespace.

    Raises:
        LabError: the route is missing, or another one comes before it.
    """
    if not _routes():
        raise LabError(f"the route that makes {NETWORK} unreachable is missing, so nothing is started: packets for lab hosts would leave this machine")
    for address in NETWORK:
        if not _leads_nowhere(str(address)):
            raise LabError(f"{address} can be reached from here, so nothing is started: this machine has a network of its own in {NETWORK}")


def take_down() -> None:
    """Take the route away. To be called when nothing has an address of the lab any more."""
    if _routes():
        ip("route", "del", "unreachable", str(NETWORK))


def _routes() -> t.List[t.Dict[str, t.Any]]:
    return json.loads(ip("-json", "route", "show", "type", "unreachable", str(NETWORK)) or "[]")


def _leads_nowhere(address: str) -> bool:
    """Ask the kernel, with all its rules and tables. Connecting a datagram socket looks the route up and sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex((address, 9)) == errno.EHOSTUNREACH


def ip(*arguments: str) -> str:
    """Run ip(8) and return what it printed.

    Raises:
        LabError: it failed.
    """
    done = subprocess.run(["ip", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
