# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What is there: a server, its token database and what lies beside it, the snapshots, and what an account lacks. Only reads."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import (
    _artefact,
    _cut_over,
    _privileges,
    _replicas,
    _schema,
    _schema_journal,
    _stage,
    _tablespaces,
)
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import DatabaseError, Login, Server, Session, read_server
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema_journal import Entry
from ansible_collections.edge_encryption.clone.plugins.module_utils._sync import clock_skew, measure_all


def look(
    login: Login, database: str, snapshot_dir: t.Optional[str], checksums: bool, delta: bool, replicas: t.Sequence[t.Dict[str, t.Any]]
) -> t.Dict[str, t.Any]:
    """Return everything the info module tells."""
    with Session(login) as control:
        server = read_server(control)
        grants = _privileges.Grants.read(control)
        own = _schema_journal.own_schemas(control, database)
        beside = sorted({_schema_journal.stage_name(database), _schema_journal.previous_name(database, "")} | {name for name, dummy in own})
        found = {
            "server": server._asdict(),
            "schemas": [_schema_facts(control, database, "live", None)]
            + [_schema_facts(control, name, _kind(name, entry), entry) for name, entry in own],
            "tables": _table_facts(control, database),
            "staged": _staged_facts(own),
            "previous": [_previous_facts(name, entry) for name, entry in own if entry and entry.detail.get("keep") == name],
            "tablespaces": _tablespace_facts(control, server, grants, database),
            "missing_privileges": {
                "source": grants.missing_on_source(database) + grants.missing(["RELOAD"], "*.*", ["*"]),
                "target": grants.missing_on_target(database, beside, delta),
            },
            # Without PROCESS the server shows the connections of this account only, which would look like nobody's.
            "connections": _cut_over.connections(control, database) if grants.holds("PROCESS") else None,
            "utc_now": control.utc_now(),
            "clock_skew_s": clock_skew(control),
            "replicas": [replica._asdict() for replica in _replicas.look(control, server, replicas, 0)],
        }  # type: t.Dict[str, t.Any]
    if checksums:
        sums = {entry["name"]: entry for entry in measure_all(login, database)}
        found["tables"] = [dict(table, **sums[table["name"]]) for table in found["tables"]]
    if snapshot_dir:
        found["snapshot_dir_free_bytes"] = _artefact.free_bytes_for(snapshot_dir)
        found["snapshots"] = [snapshot.summary() for snapshot in _artefact.list_snapshots(snapshot_dir)]
    return found


def _kind(name: str, entry: t.Optional[Entry]) -> str:
    return "previous" if entry and entry.detail.get("keep") == name else "stage"


def _schema_facts(control: Session, name: str, kind: str, entry: t.Optional[Entry]) -> t.Dict[str, t.Any]:
    size = control.value("SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [name])
    return {
        "name": name,
        "kind": kind,
        "exists": _schema.schema_exists(control, name),
        "bytes": int(size),
        "run_id": entry.run_id if entry else None,
        "snapshot": entry.snapshot if entry else None,
        "phase": entry.phase if entry else None,
    }


def _table_facts(control: Session, database: str) -> t.List[t.Dict[str, t.Any]]:
    rows = control.rows(
        "SELECT TABLE_NAME, ENGINE, COALESCE(TABLE_ROWS, 0), COALESCE(DATA_LENGTH + INDEX_LENGTH, 0) FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME",
        [database],
    )
    return [{"name": name, "engine": engine, "rows": int(count), "bytes": int(size)} for name, engine, count, size in rows]


def _tablespace_facts(control: Session, server: Server, grants: _privileges.Grants, database: str) -> t.Dict[str, t.Any]:
    try:
        tables = _schema.read_schema(control, database).tables if _schema.schema_exists(control, database) else []
        source = _tablespaces.reasons_against_source(control, server, grants, database, tables)
    except (_schema.SchemaError, DatabaseError) as error:  # what no snapshot can hold, or this account may not read: a reason like the others
        source = [error.cause.rstrip(".")]
    return dict(_tablespaces.facts(control, server), source=source, target=_tablespaces.reasons_against_target(control, server))


def _staged_facts(own: t.Sequence[t.Tuple[str, t.Optional[Entry]]]) -> t.Optional[t.Dict[str, t.Any]]:
    for name, entry in own:
        if entry and _kind(name, entry) == "stage":
            complete = entry.phase == _stage.COMPLETE
            return {"schema": name, "snapshot": entry.snapshot, "run_id": entry.run_id, "complete": complete, "at": entry.at}
    return None


def _previous_facts(name: str, entry: Entry) -> t.Dict[str, t.Any]:
    return {
        "schema": name,
        "run_id": entry.run_id,
        "kind": entry.detail["kind"],
        "snapshot": entry.snapshot,
        "phase": entry.phase,
        "at": entry.at,
        "tables": entry.detail["out"],
    }
