# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The schemas this collection makes beside the token database, their names, and the journal table that says what each one holds.

The journal only grows (no right to change or delete rows is needed); its last line counts.
"""

import hashlib
import json
import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import parse_time
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._formats import check_format
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import schema_exists, table_names

# Phases of an exchange of tables; the last one says that what was kept, or put live, is no more.
PLANNED, COMPLETE, UNDONE = "planned", "complete", "undone"
FORMAT = 1  # of a line
JOURNAL = "edge_clone_journal"
CHUNKS = "edge_clone_chunks"
REDO = "edge_clone_redo"
OWN_TABLES = frozenset([JOURNAL, CHUNKS, REDO])
# Seconds in which a server notices that a killed run is gone, and ends its sessions.
LOCK_PATIENCE = 15
_MAX_NAME = 64
_DIGITS = 8


class OwnerError(EdgeError):
    """A schema is not what this collection would have made."""


def stage_name(database: str) -> str:
    return _bounded(database, "stage", "")


def previous_name(database: str, run_id: str) -> str:
    """Return the name of the schema that keeps what a run's cut-over replaced."""
    return _bounded(database, "prev", run_id)


def undone_name(database: str, run_id: str) -> str:
    """Return the name of the schema that keeps what a run's roll-back replaced."""
    return _bounded(database, "undone", run_id)


def _bounded(database: str, kind: str, run_id: str) -> str:
    """Build a name that every server takes: lower case, no special characters, 64 characters, and still one a run."""
    plain = re.sub(r"[^a-z0-9]+", "_", run_id.lower()).strip("_")
    name = "_".join(part for part in (database, kind, plain) if part)
    if plain != run_id or len(name) > _MAX_NAME:
        digest = hashlib.sha256("{0}/{1}".format(database, run_id).encode("utf-8")).hexdigest()[:_DIGITS]
        name = "{0}_{1}".format(name[: _MAX_NAME - _DIGITS - 1].rstrip("_"), digest)
    return name


class Entry(t.NamedTuple):
    """One line of a journal."""

    phase: str
    snapshot: str
    run_id: str
    at: str
    detail: t.Dict[str, t.Any]


class Journal:
    """The journal of one schema."""

    def __init__(self, session: Session, schema: str) -> None:
        self.schema = schema
        self._session = session
        self._table = quote_name(schema, JOURNAL)

    def create(self, charset: str, collation: str) -> None:
        """Make the schema and its journal; a schema that holds something else is not ours."""
        self.read()
        self._session.execute(
            "CREATE DATABASE IF NOT EXISTS {0} CHARACTER SET {1} COLLATE {2}".format(quote_name(self.schema), charset, collation)
        )
        self._session.execute(
            "CREATE TABLE IF NOT EXISTS {0} (seq INT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6) NOT NULL, phase VARCHAR(16) NOT NULL,"
            " snapshot VARCHAR(64) NOT NULL, run_id VARCHAR(255) NOT NULL, detail LONGTEXT NOT NULL)"
            " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4".format(self._table)
        )

    def write(self, phase: str, snapshot: str, run_id: str, detail: t.Dict[str, t.Any]) -> None:
        self._session.execute(
            "INSERT INTO {0} (at, phase, snapshot, run_id, detail) VALUES (UTC_TIMESTAMP(6), %s, %s, %s, %s)".format(self._table),
            [phase, snapshot, run_id, json.dumps(dict(detail, format=FORMAT))],
        )

    def read(self) -> t.Optional[Entry]:
        """Return the last line, or None for a schema that does not exist or holds nothing; refuse a foreign schema."""
        tables = table_names(self._session, self.schema) + table_names(self._session, self.schema, "VIEW")
        if JOURNAL not in tables:
            if tables:
                raise OwnerError(
                    self.schema,
                    "this database was not made by this collection: it holds {0}.".format(", ".join(tables[:5])),
                    "Choose another name, or remove it yourself.",
                )
            return None
        rows = self._session.rows(
            "SELECT phase, snapshot, run_id, DATE_FORMAT(at, '%Y-%m-%dT%H:%i:%s.%fZ'), detail FROM {0} ORDER BY seq DESC LIMIT 1".format(self._table)
        )
        if not rows:
            return None
        phase, snapshot, run_id, at, text = rows[0]
        detail = json.loads(text)
        check_format("{0}.{1}".format(self.schema, JOURNAL), detail.pop("format", 1), FORMAT, OwnerError)
        return Entry(phase, snapshot, run_id, at, detail)

    def exists(self) -> bool:
        return schema_exists(self._session, self.schema)

    def drop(self) -> None:
        """Drop the schema, the journal last, so that an interrupted drop is still known as ours."""
        self._session.execute("SET SESSION foreign_key_checks = 0")
        for name in table_names(self._session, self.schema, "VIEW"):
            self._session.execute("DROP VIEW " + quote_name(self.schema, name))
        for name in table_names(self._session, self.schema):
            if name != JOURNAL:
                self._session.execute("DROP TABLE " + quote_name(self.schema, name))
        self._session.execute("SET SESSION foreign_key_checks = 1")
        self._session.execute("DROP DATABASE IF EXISTS " + quote_name(self.schema))


def age(session: Session, entry: Entry) -> float:
    """Return the seconds since a line was written, by the server's clock."""
    return (parse_time("now", session.utc_now()) - parse_time("at", entry.at)).total_seconds()


def own_schemas(session: Session, database: str) -> t.List[t.Tuple[str, t.Optional[Entry]]]:
    """Return the schemas that were made beside a database, each with the last line of its journal."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = %s AND LEFT(TABLE_SCHEMA, %s) = %s ORDER BY TABLE_SCHEMA",
        [JOURNAL, len(database) + 1, database + "_"],
    )
    return [(row[0], Journal(session, row[0]).read()) for row in rows]


def exclusive(session: Session, database: str) -> None:
    """Let one session at a time work on a database; the server ends the claim with the session."""
    name = "edge_clone:" + hashlib.sha256(database.encode("utf-8")).hexdigest()[:32]
    if session.value("SELECT GET_LOCK(%s, %s)", [name, LOCK_PATIENCE]) != 1:
        raise OwnerError(
            "{0} on {1}".format(database, session.login.name),
            "another run is working on this database (connection {0}).".format(session.value("SELECT IS_USED_LOCK(%s)", [name])),
            "Wait for it, or end that connection once you know that its run is dead.",
        )
