# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instance's database: one SQLite file, one SQL table a table hierarchy, every value a string.

The store knows rows, not rules: sys fields, business rules and access control are the business of `records` and `acl`.
"""

from __future__ import annotations

import sqlite3
import time
import typing as t
from pathlib import Path

from .schema import BUILT_IN, SYSTEM_FIELDS, Schema, dictionary_rows, parse_field, quote

Row = t.Dict[str, str]

_COLUMN = "{} TEXT NOT NULL DEFAULT '' COLLATE NOCASE"
# Columns that queries and joins of the lab look up by.
_INDEXED = {"sys_attachment": ("table_sys_id",), "sys_attachment_doc": ("sys_attachment",), "sys_user_has_role": ("user",)}


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(str(path), isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    return db


class Store:
    """The rows of one instance."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = connect(path)
        if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'sys_db_object'").fetchone():
            self._bootstrap()
        self.reload_schema()

    def _bootstrap(self) -> None:
        rows = dictionary_rows()
        for table in rows:
            columns = [parse_field(text).name for text in (*SYSTEM_FIELDS, *BUILT_IN[table][2])]
            self._create(table, columns)
            for row in rows[table]:
                self._insert(table, row)

    def _create(self, physical: str, columns: t.Iterable[str]) -> None:
        spec = [_COLUMN.format(quote(name)) for name in columns if name != "sys_id"]
        self.db.execute("CREATE TABLE {} (sys_id TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, {})".format(quote(physical), ", ".join(spec)))
        for column in _INDEXED.get(physical, ()):
            self.db.execute("CREATE INDEX {} ON {} ({})".format(quote(physical + "_" + column), quote(physical), quote(column)))

    def reload_schema(self) -> None:
        """Read the dictionary again and give every table and column in it a place in SQL."""
        self.schema = Schema(self.db)
        for table in self.schema.tables.values():
            if table.physical != table.name:
                continue
            wanted = self.schema.physical_columns(table.name)
            existing = {row["name"] for row in self.db.execute("PRAGMA table_info({})".format(quote(table.name)))}
            if not existing:
                self._create(table.name, wanted)
                continue
            for column in wanted:
                if column not in existing:
                    self.db.execute("ALTER TABLE {} ADD COLUMN {}".format(quote(table.name), _COLUMN.format(quote(column))))

    # Reading

    def select(
        self, table: str, where: str = "1", params: t.Sequence[str] = (), *, order: str = "", limit: int = -1, offset: int = 0
    ) -> list[Row]:
        """Return rows of a table and its descendants with the columns of the table. The alias of the table is ``a0``."""
        definition = self.schema[table]
        classes, class_params = self.schema.class_filter(table, "a0")
        sql = "SELECT {} FROM {} a0 WHERE ({}) AND {} {} LIMIT ? OFFSET ?".format(
            ", ".join("a0." + quote(name) for name in definition.fields),
            quote(definition.physical),
            where,
            classes,
            "ORDER BY " + order if order else "",
        )
        return [dict(row) for row in self.db.execute(sql, [*params, *class_params, limit, offset])]

    def count(self, table: str, where: str = "1", params: t.Sequence[str] = ()) -> int:
        classes, class_params = self.schema.class_filter(table, "a0")
        sql = "SELECT count(*) FROM {} a0 WHERE ({}) AND {}".format(quote(self.schema[table].physical), where, classes)
        return int(self.db.execute(sql, [*params, *class_params]).fetchone()[0])

    def find(self, table_: str, **values: str) -> list[Row]:
        """Return the rows whose columns equal the values (one may be called ``table``)."""
        return self.select(table_, " AND ".join("a0.{} = ?".format(quote(name)) for name in values), list(values.values()))

    def first(self, table_: str, **values: str) -> t.Optional[Row]:
        return next(iter(self.find(table_, **values)), None)

    def get(self, table: str, sys_id: str) -> t.Optional[Row]:
        return self.first(table, sys_id=sys_id)

    def display(self, table: str, sys_id: str) -> str:
        """Return the display value of a record, or the sys_id itself where there is no such record."""
        if table not in self.schema:
            return sys_id
        field = self.schema[table].fields[self.schema[table].display]
        row = self.get(table, sys_id)
        if row is None:
            return sys_id
        return self.display(field.reference, row[field.name]) if field.reference else row[field.name]

    # Writing

    def _insert(self, physical: str, row: Row) -> None:
        sql = "INSERT OR REPLACE INTO {} ({}) VALUES ({})".format(quote(physical), ", ".join(map(quote, row)), ", ".join("?" * len(row)))
        self.db.execute(sql, list(row.values()))

    def put(self, table: str, row: Row) -> None:
        """Insert a row, or replace the one with its sys_id."""
        definition = self.schema[table]
        row = {name: value for name, value in row.items() if name in definition.fields}
        if "sys_class_name" in definition.fields:
            row["sys_class_name"] = row.get("sys_class_name") or table
        self._insert(definition.physical, row)

    def change(self, table: str, sys_id: str, values: Row) -> None:
        """Overwrite columns of a row, without touching its sys fields."""
        sets = ", ".join(quote(name) + " = ?" for name in values)
        self.db.execute("UPDATE {} SET {} WHERE sys_id = ?".format(quote(self.schema[table].physical), sets), [*values.values(), sys_id])

    def remove(self, table: str, sys_id: str) -> None:
        self.db.execute("DELETE FROM {} WHERE sys_id = ?".format(quote(self.schema[table].physical)), [sys_id])

    # The whole database

    @property
    def version(self) -> int:
        """The version of the encryption configuration that proxies poll for."""
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])

    def bump_version(self, above: int = 0) -> None:
        self.db.execute("PRAGMA user_version = {}".format(max(int(time.time()), self.version + 1, above + 1)))

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the database as of now."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        target = sqlite3.connect(str(partial))
        try:
            self.db.backup(target)
        finally:
            target.close()
        partial.replace(path)

    def close(self) -> None:
        self.db.close()
