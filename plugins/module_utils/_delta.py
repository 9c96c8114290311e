# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Begin a stage with the tables that an earlier run replaced, and change in them only the rows that differ from the snapshot.

Most rows of a token database live for years, and their indexes are what costs time to build. Tables that nobody needs any longer, because
they are older than an instance can be rolled back, become the shadow schema. Nothing about them is trusted: every row of every range is
compared by its checksum.
"""

import array
import hashlib
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _schema
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import Snapshot
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import ROW_SEPARATOR, Table
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema_journal import COMPLETE, UNDONE, Entry, Journal, age, own_schemas

# Rows that one DELETE names.
_BATCH = 200


class Base(t.NamedTuple):
    """Where the rows come from: a schema, and those of its tables that fit the snapshot."""

    schema: str
    tables: t.List[str]


class Difference(t.NamedTuple):
    """How a range of a table differs from its chunk.

    C(missing) holds the places of the chunk's rows that the table lacks, C(extra) the keys of rows that the chunk lacks. V(None) stands for
    all of the chunk, or for everything within the range.
    """

    equal: bool
    missing: t.Optional[t.Sequence[int]]
    extra: t.Optional[t.List[t.List[str]]]


def find_base(control: Session, database: str, snapshot: Snapshot, run_id: str, keep_for: float) -> t.Optional[Base]:
    """Return the tables that were replaced last, of those that may be given up; None when there are none that fit."""
    kept = [(name, entry) for name, entry in own_schemas(control, database) if entry and entry.run_id != run_id and _is_spare(database, name, entry)]
    old = [(name, entry) for name, entry in kept if age(control, entry) >= keep_for]
    if not old:
        return None
    schema = max(old, key=lambda pair: pair[1].at)[0]
    tables = [Table.from_json(entry) for entry in snapshot.data["tables"]]
    present = _schema.table_names(control, schema)
    fitting = {table.name for table in tables if table.key and table.name in present and _same_definition(control, schema, table)}
    # A foreign key follows its parent through a rename, so these tables come together or not at all.
    bound = {name for table in tables for dummy, dummy2, parent, dummy3 in _schema.foreign_keys(table) for name in (table.name, parent)}
    fitting -= bound if not bound <= fitting else set()
    return Base(schema, sorted(fitting)) if fitting else None


def adopt(control: Session, base: Base, stage_schema: str) -> None:
    """Move the tables into the stage and drop what is left of their schema; started again, it goes on where it stopped."""
    journal = Journal(control, base.schema)
    entry = journal.read()
    if not entry:
        return
    if entry.phase != UNDONE:
        # From here on there is nothing to roll back to.
        journal.write(UNDONE, entry.snapshot, entry.run_id, entry.detail)
    present = _schema.table_names(control, base.schema)
    moves = [name for name in base.tables if name in present]
    if moves:
        pairs = ["{0} TO {1}".format(quote_name(base.schema, name), quote_name(stage_schema, name)) for name in moves]
        control.execute("RENAME TABLE " + ", ".join(pairs))
    journal.drop()


def compare(session: Session, schema: str, table: Table, condition: str, rows: int, checksum: int, read: t.Callable[[], bytes]) -> Difference:
    """Compare a range with the chunk that should be in it; C(read) fetches the chunk's text, and is called only when they differ."""
    found, listed = session.rows(
        "SELECT COUNT(*), GROUP_CONCAT({0},':',{1}) FROM {2} WHERE {3}".format(
            _schema.row_checksum(table), _schema.key_as_text(table), quote_name(schema, table.name), condition
        )
    )[0]
    if session.warning_codes():
        # Longer than the server may put into one value: nothing is known about these rows.
        return Difference(False, None, None)
    entries = listed.split(b",") if found else []
    there = {entry[:16] for entry in entries}
    if int(found) == rows and sum(int(entry, 16) for entry in there) == checksum:
        return Difference(True, [], [])
    texts = read().split(ROW_SEPARATOR) if rows else []
    wanted = [hashlib.sha256(text).hexdigest()[:16].encode("ascii") for text in texts]
    missing = array.array("L", (place for place, entry in enumerate(wanted) if entry not in there))
    known = set(wanted)
    extra = [entry[17:].split(b":") for entry in entries if entry[:16] not in known]
    if int(found) - len(extra) + len(missing) != rows:
        # Two rows with the same 64 bits, or a range without a key; not worth being clever about.
        return Difference(False, None, None)
    return Difference(False, missing, [_schema.key_literals(table, key) for key in extra])


def remove_extra(session: Session, schema: str, table: Table, condition: str, difference: Difference) -> int:
    """Delete the rows that the chunk lacks and return their number."""
    delete = "DELETE FROM {0} WHERE ".format(quote_name(schema, table.name))
    if difference.extra is None:
        return session.execute(delete + "(" + condition + ")")
    removed = 0
    for first in range(0, len(difference.extra), _BATCH):
        batch = difference.extra[first : first + _BATCH]
        removed += session.execute(delete + " OR ".join("(" + _schema.key_equals(table, key) + ")" for key in batch))
    return removed


def pick(text: bytes, missing: t.Optional[t.Sequence[int]]) -> t.Tuple[int, bytes]:
    """Return number and text of the rows of a chunk that are missing."""
    if not text:
        return 0, text
    rows = text.split(ROW_SEPARATOR)
    if missing is None:
        return len(rows), text
    return len(missing), ROW_SEPARATOR.join(rows[place] for place in missing)


def _is_spare(database: str, schema: str, entry: Entry) -> bool:
    """Tell whether a schema only keeps what some exchange replaced."""
    if entry.detail.get("live") != database or entry.detail.get("keep") != schema:
        return False
    return entry.phase in (COMPLETE, UNDONE)


def _same_definition(control: Session, schema: str, table: Table) -> bool:
    create = control.rows("SHOW CREATE TABLE " + quote_name(schema, table.name))[0][1]
    return _schema.comparable(create) == _schema.comparable(table.create)
