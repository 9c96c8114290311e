# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Wait for replicas to apply what a server has written to its binary log.

It is done by global transaction ids, which a replica can wait for without any right: C(MASTER_GTID_WAIT) of MariaDB ("MASTER_GTID_WAIT" in its
Knowledge Base) and C(WAIT_FOR_EXECUTED_GTID_SET) of MySQL ("Functions Used with Global Transaction Identifiers (GTIDs)" in its manual).
"""

import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Server, Session, read_server
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import Progress

# Seconds of one wait, after which the progress is told.
_SLICE = 2


class ReplicaError(EdgeError):
    """A replica cannot be waited for, or is not as far as it must be."""


class Replica(t.NamedTuple):
    """What was found out about a replica; C(waited_s) is in seconds."""

    host: str
    port: int
    applied: bool
    waited_s: float


def look(
    control: Session, server: Server, places: t.Sequence[t.Dict[str, t.Any]], timeout: float, progress: t.Optional[Progress] = None
) -> t.List[Replica]:
    """Return which replicas apply, within C(timeout) seconds in all, everything that the server has written up to now.

    Args:
        control: a session on C(server), which they replicate; its login is used for them as well.
        places: C(host) and C(port) of each.
        progress: is told how many are done.
    """
    if not places:
        return []
    written = _written(control)
    deadline = time.monotonic() + timeout
    found = []  # type: t.List[Replica]
    if progress:
        progress.start("replicas", len(places))
    for place in places:
        login = control.login._replace(host=place["host"], port=place["port"])
        started = time.monotonic()
        with Session(login) as session:
            _refuse(session, server)
            applied = _applied(session, written, 0)
            while not applied and time.monotonic() < deadline:
                applied = _applied(session, written, min(_SLICE, max(deadline - time.monotonic(), 0.1)))
                if progress:
                    progress.add(0, 0)
        found.append(Replica(place["host"], place["port"], applied, round(time.monotonic() - started, 3)))
        if progress:
            progress.add(1, 0)
    return found


def require(control: Session, server: Server, places: t.Sequence[t.Dict[str, t.Any]], timeout: float, progress: Progress) -> t.List[Replica]:
    """Wait until all of them have applied everything; raise when one has not in time."""
    found = look(control, server, places, timeout, progress)
    late = ["{0}:{1}".format(replica.host, replica.port) for replica in found if not replica.applied]
    if late:
        raise ReplicaError(
            ", ".join(late),
            "not all that {0} has written was applied there within {1:g} s; nothing was exchanged.".format(control.login.name, timeout),
            "Look at the state of the replication there, or raise replica_timeout.",
        )
    return found


def _written(control: Session) -> str:
    """Return the transactions that a server has written to its binary log."""
    if control.vendor == "mariadb":
        written = control.value("SELECT @@GLOBAL.gtid_binlog_pos")
        way_out = "Set log_bin there, or leave out replicas."
    else:
        written = control.value("SELECT @@GLOBAL.gtid_executed") if control.variables("gtid_mode").get("gtid_mode") == "ON" else ""
        way_out = "Set gtid_mode there, or leave out replicas and wait for them yourself."
    if not written:
        raise ReplicaError(control.login.name, "writes no global transaction ids that replicas could be waited for with.", way_out)
    return str(written).replace("\n", "")


def _refuse(session: Session, primary: Server) -> None:
    server = read_server(session)
    if server.vendor != primary.vendor:
        raise ReplicaError(session.login.name, "is not a {0} server.".format(primary.vendor), "Correct replicas.")
    if server.identity == primary.identity:
        raise ReplicaError(session.login.name, "is the server that is written to, not a replica of it.", "Correct replicas.")


def _applied(session: Session, written: str, seconds: float) -> bool:
    function = "MASTER_GTID_WAIT" if session.vendor == "mariadb" else "WAIT_FOR_EXECUTED_GTID_SET"
    # For MySQL, a wait of 0 would have no end.
    return session.value("SELECT {0}(%s, %s)".format(function), [written, max(seconds, 0.001)]) == 0
