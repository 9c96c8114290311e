# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Which Edge Encryption rules and configurations an instance has, and which of them are ServiceNow's own."""

import hashlib
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import Listing, Query, Row, Table

TABLES = ("sys_encryption_rule", "sys_encryption_configuration")
# The base system brings rules signed with ServiceNow's key, but no configurations (KB0621218).
TABLES_WITH_BASE_RECORDS = ("sys_encryption_rule",)
KINDS = {"sys_encryption_rule": "rule", "sys_encryption_configuration": "configuration"}
BASE_QUERY = "sys_created_by=glide.maint"
BASE_AUTHORS = ("glide.maint", "maint", "system")
# Fields that can be changed for a moment in a record that is off. The order comes first, because it is part of what is signed.
HARMLESS = ("order", "description", "short_description", "comments")
SYSTEM_FIELDS = ("sys_mod_count", "sys_updated_on", "sys_created_by")

Key = t.Tuple[str, str]


class Undecided(EdgeError):
    """It cannot be told which records are ServiceNow's own."""


class Record(t.NamedTuple):
    """A rule or configuration as it was when it was read."""

    table: str
    sys_id: str
    name: str
    active: bool
    base: bool
    mod_count: int
    signature: t.Optional[str]  # Its digest; None: may not be read.
    harmless: t.Mapping[str, str]

    @property
    def key(self) -> Key:
        return self.table, self.sys_id

    @property
    def kind(self) -> str:
        """What the log of a proxy calls it."""
        return KINDS.get(self.table, "")

    def __str__(self) -> str:
        return "{} {} ({})".format(self.table, self.name, self.sys_id)


class Layout(t.NamedTuple):
    """The columns of a table that matter here; they are not documented, so they are looked up."""

    table: str
    columns: t.FrozenSet[str]
    signature: t.Optional[str]

    @property
    def harmless(self) -> t.List[str]:
        return [name for name in HARMLESS if name in self.columns]

    @property
    def state_fields(self) -> t.List[str]:
        return ["active", "sys_mod_count"] + ([self.signature] if self.signature else [])

    def state_of(self, row: Row) -> "State":
        signature = digest(row[self.signature]) if self.signature and self.signature in row else None
        return State(row, int(row.get("sys_mod_count") or -1), signature)


class State(t.NamedTuple):
    """What a record looks like after a write."""

    row: Row
    mod_count: int
    signature: t.Optional[str]

    def shows(self, values: t.Mapping[str, str]) -> bool:
        return all(self.row.get(name) == value for name, value in values.items())


def name_of(row: t.Mapping[str, str]) -> str:
    """Return the name of a rule, or table and column of a configuration, as the log of a proxy has it; empty when there is neither."""
    return row.get("name") or ".".join(filter(None, (row.get("table"), row.get("column") or row.get("type"))))


def digest(signature: str) -> str:
    return hashlib.sha256(signature.encode("utf-8")).hexdigest()


def layout_of(client: Client, table: str, signature_field: t.Optional[str]) -> t.Optional[Layout]:
    """Return the layout of a table, or None when it is empty."""
    listing = Table(client, table).list(limit=1)
    if not listing.rows:
        refuse_hidden(client, table, listing)
        return None
    columns = frozenset(listing.rows[0])
    found = [name for name in sorted(columns) if "signature" in name] if signature_field is None else [signature_field]
    if signature_field is not None and signature_field not in columns:
        raise EdgeError(table, "has no readable field {}.".format(signature_field), "It has {}.".format(", ".join(sorted(columns))))
    return Layout(table, columns, found[0] if len(found) == 1 else None)


def scan(client: Client, layout: Layout, base_query: str) -> t.List[Record]:
    """Return all records of a table. The base query is answered here, so that the instance cannot ignore it."""
    base = Query(base_query)
    fields = ["active"] + list(SYSTEM_FIELDS) + sorted(base.fields)
    more = ["name", "table", "column", "type"] + layout.harmless + ([layout.signature] if layout.signature else [])
    listing = Table(client, layout.table).list("", fields, optional=more)
    refuse_hidden(client, layout.table, listing)
    records = []
    for row in listing.rows:
        records.append(
            Record(
                table=layout.table,
                sys_id=row["sys_id"],
                name=name_of(row) or row["sys_id"],
                active=row["active"] == "true",
                base=base.holds(row),
                mod_count=int(row["sys_mod_count"] or 0),
                signature=digest(row[layout.signature]) if layout.signature and layout.signature in row else None,
                harmless={name: row[name] for name in layout.harmless if name in row},
            )
        )
    return records


def refuse_hidden(client: Client, table: str, listing: Listing) -> None:
    if listing.hidden:
        raise EdgeError(
            table,
            "{} of its records may not be read.".format(listing.hidden),
            "Give {} read access to all of them: a record that is not seen would be left out.".format(client.credentials.username or "the account"),
        )


def look_alikes(client: Client, layout: Layout, records: t.Iterable[Record]) -> t.List[Record]:
    """Return the records that are not base ones by the query, but were made by an account of the base system."""
    authors = Table(client, layout.table).list("sys_created_byIN" + ",".join(BASE_AUTHORS), ["sys_created_by"]).rows
    suspicious = {row["sys_id"] for row in authors}
    return [record for record in records if not record.base and record.sys_id in suspicious]


class Survey(t.NamedTuple):
    layouts: t.Dict[str, Layout]
    records: t.List[Record]


def survey(client: Client, tables: t.Iterable[str], base_query: str, signature_field: t.Optional[str] = None) -> Survey:
    """Read all tables."""
    layouts, records = {}, []  # type: t.Dict[str, Layout], t.List[Record]
    for table in tables:
        layout = layout_of(client, table, signature_field)
        if layout is not None:
            layouts[table] = layout
            records.extend(scan(client, layout, base_query))
    return Survey(layouts, records)


def refuse_undecided(client: Client, found: Survey, base_query: str, chosen: t.Optional[t.Container[Key]] = None) -> None:
    """Refuse if it cannot be told which records are ServiceNow's own; with C(chosen), only of these."""
    for table, layout in found.layouts.items():
        records = [record for record in found.records if record.table == table]
        doubtful = look_alikes(client, layout, records)
        if chosen is not None:
            doubtful = [record for record in doubtful if record.key in chosen]
        elif not doubtful and table in TABLES_WITH_BASE_RECORDS and not any(record.base for record in records):
            doubtful = records
        if doubtful:
            raise Undecided(
                table,
                "it cannot be told which of its records came with the base system: {!r} leaves out {} that look like it.".format(
                    base_query, len(doubtful)
                ),
                "Re-signing those would make them yours. Correct base_query, or set no_base_records if there are none.",
                undecided=[{"table": record.table, "sys_id": record.sys_id, "name": record.name} for record in doubtful],
            )
