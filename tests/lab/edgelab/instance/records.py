# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records: what happens around a row when it is inserted, updated or deleted through the platform.

Sys fields, defaults, no-op updates, unique columns, business rules, and who wants to know about a change.
"""

from __future__ import annotations

import secrets
import typing as t

from . import passwords
from .query import compile_query, utc_now
from .store import Row, Store

_SYSTEM = {"sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count"}
_AUTO_NUMBERS = {
    "incident": ("number", "INC"),
    "change_request": ("number", "CHG"),
    "task": ("number", "TASK"),
    "u_contract": ("u_number", "CON"),
}
# Records that go when the record they point at goes.
_CASCADE = {
    "sys_user": (("sys_user_has_role", "user"), ("sys_user_grmember", "user")),
    "sys_attachment": (("sys_attachment_doc", "sys_attachment"),),
    "sys_encryption_key": (("sys_encryption_proxy_key", "key"),),
}


class Aborted(Exception):
    """A business rule refused the operation."""

    def __init__(self, table: str, rule: str, reason: str = "") -> None:
        super().__init__(table, rule, reason)
        self.table = table
        self.rule = rule
        self.reason = reason


class Duplicate(Exception):
    """A unique column holds the value already."""


class Change(t.NamedTuple):
    """What a business rule sees: the row before (None for an insert) and after (None for a delete)."""

    table: str
    old: t.Optional[Row]
    new: t.Optional[Row]
    user: str

    def changes(self, *fields: str) -> bool:
        return any((self.old or {}).get(name) != (self.new or {}).get(name) for name in fields)


Rule = t.Callable[["Records", Change], None]
# What roles and access controls are read from.
ACCESS_TABLES = ("sys_security_acl", "sys_user_role", "sys_user_has_role", "sys_user_grmember", "sys_group_has_role")


def as_text(value: t.Any) -> str:
    """Return a JSON value as the string that the platform stores."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return as_text(value.get("value", value.get("display_value")))
    return str(value)


class Records:
    """The business layer over a store."""

    def __init__(self, store: Store, rules: t.Sequence[Rule] = ()) -> None:
        self.store = store
        self.rules = rules
        self.listeners: list[t.Callable[[str], None]] = []
        self.generation = 0  # caches of roles and access controls compare it

    def normalise(self, table: str, values: t.Mapping[str, t.Any], *, by_display: bool = False) -> Row:
        """Return the known columns among the values as stored strings.

        With `by_display` (``sysparm_input_display_value``) labels and display values are understood, and a one-way
        password is hashed; without, a password is stored as it comes and never lets anybody in, as on the platform.
        """
        fields = self.store.schema[table].fields
        row: Row = {}
        for name, raw in values.items():
            field = fields.get(name)
            if field is None or name == "sys_id":
                continue
            value = as_text(raw)
            if field.type == "boolean":
                value = {"1": "true", "0": "false", "": "false"}.get(value, value.lower())
            elif by_display and field.type == "password" and value:
                value = passwords.hash_password(value)
            elif by_display and field.reference and value and not self.store.get(field.reference, value):
                display = self.store.schema[field.reference].display
                found = self.store.first(field.reference, **{display: value})
                value = found["sys_id"] if found else value
            elif by_display:
                for (owner, element), labels in self.store.schema.choices.items():
                    if element == name and owner in self.store.schema.lineage(table):
                        value = next((key for key, label in labels.items() if label == value), value)
            row[name] = value
        return row

    def insert(self, table: str, values: Row, user: str, *, sys_id: str = "") -> Row:
        definition = self.store.schema[table]
        row = {name: field.default for name, field in definition.fields.items()}
        row.update({name: value for name, value in values.items() if name not in _SYSTEM})
        now = utc_now()
        row.update(sys_id=sys_id or secrets.token_hex(16), sys_created_on=now, sys_updated_on=now, sys_mod_count="0")
        row.update(sys_created_by=user, sys_updated_by=user)
        if "sys_class_name" in definition.fields:
            row["sys_class_name"] = table
        if table in _AUTO_NUMBERS and not row[_AUTO_NUMBERS[table][0]]:
            field, prefix = _AUTO_NUMBERS[table]
            row[field] = "{}{:07d}".format(prefix, 10001 + self.store.count(table))
        self._check_unique(table, row, definition.fields)
        self._run_rules(Change(table, None, row, user))
        self.store.put(table, row)
        self.touched(table)
        return row

    def update(self, table: str, sys_id: str, values: Row, user: str) -> Row:
        """Change columns of a record. An update that changes nothing runs no business rule and leaves no trace.

        A signature rides on a change and is none itself: saving a record unchanged does not sign it anew.
        """
        table = self.class_of(table, sys_id)
        old = self.store.get(table, sys_id)
        assert old is not None
        changes = {name: value for name, value in values.items() if name not in _SYSTEM and old.get(name, value) != value}
        if not changes or set(changes) == {"signature"}:
            return old
        new = dict(old, **changes)
        self._check_unique(table, new, changes)
        self._run_rules(Change(table, old, new, user))
        new.update(sys_updated_on=utc_now(), sys_updated_by=user, sys_mod_count=str(int(old["sys_mod_count"] or 0) + 1))
        self.store.change(table, sys_id, {name: value for name, value in new.items() if old.get(name) != value})
        self.touched(table)
        return new

    def delete(self, table: str, sys_id: str, user: str) -> None:
        table = self.class_of(table, sys_id)
        row = self.store.get(table, sys_id)
        assert row is not None
        self._run_rules(Change(table, row, None, user))
        self.store.remove(table, sys_id)
        for attachment in self.store.find("sys_attachment", table_name=table, table_sys_id=sys_id):
            self.delete("sys_attachment", attachment["sys_id"], user)
        for child, field in _CASCADE.get(table, ()):
            for dependent in self.store.find(child, **{field: sys_id}):
                self.delete(child, dependent["sys_id"], user)
        self.touched(table)

    def class_of(self, table: str, sys_id: str) -> str:
        """Return the table that the record really is of (an incident read through task is an incident)."""
        if "sys_class_name" in self.store.schema[table].fields:
            row = self.store.get(table, sys_id)
            return row["sys_class_name"] if row and row["sys_class_name"] in self.store.schema else table
        return table

    def matching(self, table: str, query: str) -> list[Row]:
        """Return the rows that an encoded query selects."""
        compiled = compile_query(self.store.schema, table, query)
        return self.store.select(table, compiled.where, compiled.params, order=compiled.order)

    def property(self, name: str, default: str = "") -> str:
        row = self.store.first("sys_properties", name=name)
        return row["value"] if row else default

    def touched(self, table: str) -> None:
        """Tell everybody concerned that rows of the table changed."""
        if table in ACCESS_TABLES:
            self.generation += 1
        if table in ("sys_db_object", "sys_dictionary", "sys_choice"):
            self.store.reload_schema()
        if table.startswith("sys_encryption_") and table.rpartition("_")[2] in ("configuration", "rule", "pattern"):
            self.store.bump_version()
        for listener in self.listeners:
            listener(table)

    def _check_unique(self, table: str, row: Row, columns: t.Iterable[str]) -> None:
        for name in columns:
            unique = self.store.schema[table].fields[name].unique and row[name]
            if unique and any(other["sys_id"] != row["sys_id"] for other in self.store.find(table, **{name: row[name]})):
                raise Duplicate("{}.{}".format(table, name))

    def _run_rules(self, change: Change) -> None:
        for rule in self.rules:
            rule(self, change)
