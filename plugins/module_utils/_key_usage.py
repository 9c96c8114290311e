# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""How many stored values are under which encryption key. It reads cipher text from the instance itself; no value leaves this util.

The documentation says that the alias of its key is stored with each encrypted value, but not how. So an alias that the instance knows is looked for in the
value. What holds none is counted as unknown, and never taken for a value under another key.
"""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._encrypted_data import AUDIT, Left, survey
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import refuse_hidden
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import PAGE, Table, equals

ATTACHMENTS = "sys_attachment"
# The key of an attachment is told at its beginning.
HEAD = 512


class Scope(t.NamedTuple):
    """What is read."""

    columns: bool = True
    audit: bool = True
    attachments: bool = True
    tables: t.Tuple[str, ...] = ()  # all if empty
    limit: int = 0  # records of each table, attachments of each table; 0 reads all


class Usage:
    """Counts by alias."""

    def __init__(self) -> None:
        self.places = {}  # type: t.Dict[t.Tuple[str, str], t.Dict[str, int]]
        self.unknown = {}  # type: t.Dict[t.Tuple[str, str], int]
        self.complete = True

    def add(self, table: str, field: str, alias: t.Optional[str]) -> None:
        place = self.places.setdefault((table, field), {})
        if alias is None:
            self.unknown[table, field] = self.unknown.get((table, field), 0) + 1
        else:
            place[alias] = place.get(alias, 0) + 1

    def under(self, aliases: t.Collection[str]) -> int:
        return sum(number for place in self.places.values() for alias, number in place.items() if alias in aliases)

    @property
    def unknowns(self) -> int:
        return sum(self.unknown.values())

    def as_dict(self) -> t.Dict[str, t.Any]:
        totals = {}  # type: t.Dict[str, int]
        for place in self.places.values():
            for alias, number in place.items():
                totals[alias] = totals.get(alias, 0) + number
        return {
            "places": [
                {"table": table, "field": field, "aliases": place, "unknown": self.unknown.get((table, field), 0)}
                for (table, field), place in sorted(self.places.items())
            ],
            "totals": totals,
            "unknown": self.unknowns,
            "complete": self.complete,
        }


class Reader:
    """Tells the alias of a value."""

    def __init__(self, aliases: t.Collection[str], pattern: t.Optional[str]) -> None:
        longest_first = "|".join(re.escape(alias) for alias in sorted(aliases, key=len, reverse=True))
        if pattern is None and not aliases:
            raise EdgeError("aliases", "the instance lists no encryption key, so no alias can be looked for.", "Name the aliases.")
        try:
            self._text = re.compile(pattern or "(?<![A-Za-z0-9])(?P<alias>{})(?![A-Za-z0-9])".format(longest_first))
            # What follows the alias in an attachment may be any byte.
            self._head = re.compile(pattern or "(?P<alias>{})".format(longest_first))
        except re.error as error:
            raise EdgeError("alias_pattern", "is no regular expression: {}.".format(error)) from None
        if "alias" not in self._text.groupindex:
            raise EdgeError("alias_pattern", "has no group named alias.", "Write (?P<alias>...) around what matches the alias.")

    def of_text(self, value: str) -> t.Optional[str]:
        found = self._text.search(value)
        return found.group("alias") if found else None

    def of_attachment(self, content: bytes) -> t.Optional[str]:
        found = self._head.search(content[:HEAD].decode("latin-1"))
        return found.group("alias") if found else None


def scan(
    client: Client,
    reader: Reader,
    scope: Scope,
    configuration_fields: t.Optional[t.Mapping[str, str]] = None,
    progress: t.Optional[Progress] = None,
) -> Usage:
    """Return what the instance has under which key.

    Args:
        client: the instance, without a proxy.
        configuration_fields: as for C(_encrypted_data.survey).
    """
    usage = Usage()
    configurations = survey(client, Left(frozenset(), False, False), configuration_fields)["configurations"]
    columns = {}  # type: t.Dict[str, t.List[str]]
    for each in configurations:
        if each["kind"] == "column" and each["column"] not in columns.setdefault(each["table"], []):
            columns[each["table"]].append(each["column"])
    wanted = scope.tables or sorted({each["table"] for each in configurations})
    report = progress or Progress(None, "scan")
    if scope.columns:
        for table in sorted(set(columns).intersection(wanted)):
            _read(client, reader, scope, usage, report, table, "", columns[table], table, columns[table])
            if scope.audit:
                for column in columns[table]:
                    query = equals(tablename=table, fieldname=column)
                    _read(client, reader, scope, usage, report, AUDIT, query, ["oldvalue", "newvalue"], AUDIT, [table + "." + column] * 2)
    if scope.attachments:
        for table in sorted({each["table"] for each in configurations if each["kind"] == "attachment"}.intersection(wanted)):
            _read_attachments(client, reader, scope, usage, report, table)
    return usage


def _read(
    client: Client, reader: Reader, scope: Scope, usage: Usage, report: Progress,
    table: str, query: str, fields: t.Sequence[str], place: str, names: t.Sequence[str],
) -> None:  # fmt: skip
    for name in names:
        usage.places.setdefault((place, name), {})
    filled = "^OR".join(field + "ISNOTEMPTY" for field in fields)
    last, seen = "", 0
    while not scope.limit or seen < scope.limit:
        parts = [query, "sys_id>" + last if last else "", filled]
        size = min(PAGE, scope.limit - seen) if scope.limit else PAGE
        listing = Table(client, table).list("^".join(part for part in parts if part), list(fields), limit=size)
        refuse_hidden(client, table, listing)
        if not listing.rows:
            return
        for row in listing.rows:
            for field, name in zip(fields, names):
                if row[field]:
                    usage.add(place, name, reader.of_text(row[field]))
        last, seen = listing.rows[-1]["sys_id"], seen + len(listing.rows)
        report.report("looking at stored values", table, seen)
    usage.complete = False


def _read_attachments(client: Client, reader: Reader, scope: Scope, usage: Usage, report: Progress, table: str) -> None:
    usage.places.setdefault((ATTACHMENTS, table), {})
    listing = Table(client, ATTACHMENTS).list(equals(table_name=table), ["table_name"], limit=scope.limit or None)
    refuse_hidden(client, ATTACHMENTS, listing)
    if scope.limit and len(listing.rows) == scope.limit:
        usage.complete = False
    for number, row in enumerate(listing.rows, 1):
        body = client.request("GET", "/api/now/attachment/{}/file".format(row["sys_id"]), headers={"Accept": "*/*"}).body
        if body:
            usage.add(ATTACHMENTS, table, reader.of_attachment(body))
        report.report("looking at attachments", table, number, len(listing.rows))
