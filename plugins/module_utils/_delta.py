# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Begin a stage with the tables that an earlier run replaced, and change in them only the rows that differ from the snapshot.

Most rows of a token database live for years, and their indexes are what costs time to build. Tables that nobody needs any longer, because
they are older than an instance can be rolled back, become the shadow schema. Nothing about them is trusted: every row of every range is
compared by its hash.
"""

import array
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _schema
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import Snapshot, numbers
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import ROW_SEPARATOR, Table
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema_journal import COMPLETE, UNDONE, Entry, Journal, age, own_schemas

# Rows that one statement names.
_BATCH = 200


class Base(t.NamedTuple):
    """Where the rows come from: a schema, and those of its tables that fit the snapshot."""

    schema: str
    tables: t.List[str]


class Difference(t.NamedTuple):
    """How a range of a table differs from its chunk.

    C(missing) holds the places of the chunk's rows that the table lacks, C(extra) the hashes of rows that the chunk lacks. V(None) stands
    for all of the chunk, or for everything within the range.
    """

    equal: bool
    missing: t.Optional[t.Sequence[int]]
    extra: t.Optional[t.FrozenSet[int]]


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


def compare(session: Session, schema: str, table: Table, condition: str, wanted: bytes) -> Difference:
    """Compare a range with the hashes of the rows that should be in it."""
    listed = _schema.read_hashes(session, schema, table, condition)
    if listed is None:
        return Difference(False, None, None)  # nothing is known about these rows
    if listed == wanted:
        return Difference(True, array.array("L"), frozenset())
    there, rows = numbers(listed), numbers(wanted)
    present, known = set(there), set(rows)
    missing = array.array("L", (place for place, row in enumerate(rows) if row not in present))
    extra = frozenset(present - known)
    if len(there) - len(extra) + len(missing) != len(rows):
        # Two rows with the same 64 bits; not worth being clever about.
        return Difference(False, None, None)
    return Difference(not missing and not extra, missing, extra)


def remove_extra(session: Session, schema: str, table: Table, condition: str, difference: Difference, texts: t.Sequence[bytes]) -> int:
    """Delete the rows that the chunk lacks and return their number; C(texts) are the rows that the table lacks."""
    if difference.extra is None:
        return session.execute("DELETE FROM {0} WHERE ({1})".format(quote_name(schema, table.name), condition))
    if not difference.extra:
        return 0
    # Most are earlier values of rows that are missing, with the same key.
    removed = _delete(session, schema, table, [key for key in (_schema.key_in_text(table, text) for text in texts) if key])
    if removed < len(difference.extra):
        query = "SELECT {0}, {1} FROM {2} WHERE {3}".format(
            _schema.row_checksum(table), _schema.key_as_hex(table), quote_name(schema, table.name), condition
        )
        removed += _delete(session, schema, table, [row[1:] for row in session.rows(query) if int(row[0], 16) in difference.extra])
    return removed


def _delete(session: Session, schema: str, table: Table, keys: t.Sequence[t.Sequence[t.Any]]) -> int:
    delete = "DELETE FROM {0} WHERE ".format(quote_name(schema, table.name))
    return sum(session.execute(delete + _schema.key_is_one_of(table, batch)) for batch in _batches(keys))


def measure_rows(session: Session, schema: str, table: Table, texts: t.Sequence[bytes]) -> t.Optional[t.Tuple[int, int]]:
    """Return number and checksum of the rows that have the keys of these; None when the texts do not tell their keys."""
    keys = [_schema.key_in_text(table, text) for text in texts]
    if not all(keys):
        return None
    found = [_schema.measure_range(session, schema, table, _schema.key_is_one_of(table, batch)) for batch in _batches(t.cast(t.List[t.List[str]], keys))]
    return sum(rows for rows, dummy in found), sum(checksum for dummy, checksum in found)


def _batches(keys: t.Sequence[t.Any]) -> t.Iterator[t.Sequence[t.Any]]:
    return (keys[first : first + _BATCH] for first in range(0, len(keys), _BATCH))


def pick(text: bytes, missing: t.Optional[t.Sequence[int]]) -> t.List[bytes]:
    """Return the rows of a chunk that are missing."""
    rows = text.split(ROW_SEPARATOR) if text else []
    return rows if missing is None else [rows[place] for place in missing]


def _is_spare(database: str, schema: str, entry: Entry) -> bool:
    """Tell whether a schema only keeps what some exchange replaced."""
    if entry.detail.get("live") != database or entry.detail.get("keep") != schema:
        return False
    return entry.phase in (COMPLETE, UNDONE)


def _same_definition(control: Session, schema: str, table: Table) -> bool:
    create = control.rows("SHOW CREATE TABLE " + quote_name(schema, table.name))[0][1]
    return _schema.comparable(create) == _schema.comparable(table.create)
