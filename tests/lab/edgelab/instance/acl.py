# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may do what: callers, their roles, and the access controls in ``sys_security_acl``.

An access control names a table, ``table.field`` or ``*``; the nearest name of the table's lineage decides, and any of its
rows suffices. Empty roles mean every user. Lab's own columns: ``requires_proxy`` (the request came through an Edge
Encryption proxy), ``requires_elevation`` (the session is elevated, when the knob ``elevation_required`` is on).
"""

from __future__ import annotations

import typing as t

from .query import Context, compile_query
from .records import Records
from .sessions import Session
from .store import Row


class Caller(t.NamedTuple):
    """The user of a request, as access control sees him."""

    user_id: str
    user_name: str
    time_zone: str
    roles: frozenset[str]
    session: Session
    via_proxy: str

    @property
    def context(self) -> Context:
        return Context(self.user_id, self.user_name)


class Acl:
    """Access control over the records of one instance."""

    def __init__(self, records: Records, knobs: dict[str, t.Any]) -> None:
        self.records = records
        self.knobs = knobs
        self._generation = -1
        self._controls: dict[tuple[str, str], list[Row]] = {}
        self._roles: dict[str, frozenset[str]] = {}

    def _refresh(self) -> None:
        if self._generation == self.records.generation:
            return
        self._generation = self.records.generation
        self._roles = {}
        self._controls = {}
        for row in self.records.store.find("sys_security_acl", active="true"):
            self._controls.setdefault((row["name"], row["operation"]), []).append(row)

    def roles(self, user_id: str) -> frozenset[str]:
        """Return the names of the roles that a user has, directly or through a group."""
        self._refresh()
        if user_id not in self._roles:
            store = self.records.store
            ids = {row["role"] for row in store.find("sys_user_has_role", user=user_id)}
            for member in store.find("sys_user_grmember", user=user_id):
                ids.update(row["role"] for row in store.find("sys_group_has_role", group=member["group"]))
            found = (store.get("sys_user_role", role) for role in ids)
            self._roles[user_id] = frozenset(row["name"] for row in found if row)
        return self._roles[user_id]

    def _passes(self, control: Row, caller: Caller) -> bool:
        wanted = {role.strip() for role in control["roles"].split(",") if role.strip()}
        has_role = not wanted or bool(wanted & caller.roles) or ("admin" in caller.roles and "security_admin" not in wanted)
        proxied = control["requires_proxy"] != "true" or bool(caller.via_proxy)
        elevated = control["requires_elevation"] != "true" or not self.knobs["elevation_required"] or caller.session.elevated
        return has_role and proxied and elevated

    def _table_controls(self, table: str, operation: str) -> list[Row]:
        self._refresh()
        for name in [*self.records.store.schema.lineage(table), "*"]:
            if (name, operation) in self._controls:
                return self._controls[name, operation]
        return []

    def may(self, caller: Caller, table: str, operation: str) -> bool:
        """Tell whether the caller may ``read``, ``create``, ``write`` or ``delete`` records of the table at all."""
        return any(self._passes(control, caller) for control in self._table_controls(table, operation))

    def only_elevation_lacks(self, caller: Caller, table: str, operation: str) -> bool:
        """Tell whether an elevated session would be let in where this one is not."""
        lifted = [dict(control, requires_elevation="false") for control in self._table_controls(table, operation)]
        return not self.may(caller, table, operation) and any(self._passes(control, caller) for control in lifted)

    def may_field(self, caller: Caller, table: str, field: str, operation: str) -> bool:
        self._refresh()
        if field == "signature" and operation == "read" and not self.knobs["signature_readable"]:
            return False
        if (table, field, operation) == ("sys_encryption_proxy", "status", "write") and not self.knobs["authenticate_by_rest"]:
            return False
        for ancestor in self.records.store.schema.lineage(table):
            controls = self._controls.get(("{}.{}".format(ancestor, field), operation))
            if controls:
                return any(self._passes(control, caller) for control in controls)
        return True

    def readable_fields(self, caller: Caller, table: str) -> set[str]:
        return {name for name in self.records.store.schema[table].fields if self.may_field(caller, table, name, "read")}

    def visible(self, caller: Caller, table: str, rows: list[Row], operation: str = "read") -> list[Row]:
        """Leave out the rows that the conditions of the table's access controls hide from the caller."""
        controls = [control for control in self._table_controls(table, operation) if self._passes(control, caller)]
        if not rows or any(not control["condition"] for control in controls):
            return rows if controls else []
        seen: set[str] = set()
        ids = [row["sys_id"] for row in rows]
        for control in controls:
            compiled = compile_query(self.records.store.schema, table, control["condition"], caller.context)
            where = "({}) AND a0.sys_id IN ({})".format(compiled.where, ",".join("?" * len(ids)))
            seen.update(row["sys_id"] for row in self.records.store.select(table, where, [*compiled.params, *ids]))
        return [row for row in rows if row["sys_id"] in seen]
