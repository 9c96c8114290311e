# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Fingerprints of values as they are with and without a proxy. No value leaves this util."""

import hashlib
import hmac
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import NotFound, Row, Table, equals

# A shorter clear text can occur in a cipher text by chance.
SHORTEST_TELLING = 4
# Ansible masks a secret wherever it occurs, so a short one would also mask field names.
SHORTEST_SALT = 16


class Wanted(t.NamedTuple):
    """The values that somebody asks for."""

    table: str
    sys_id: t.Optional[str]
    query: t.Optional[str]
    fields: t.Sequence[str]
    attachments: bool
    limit: int


class Values:
    """Reads the same values on both ways."""

    def __init__(self, direct: Client, edge: Client, salt: str) -> None:
        self.direct = direct
        self.edge = edge
        if len(salt) < SHORTEST_SALT:
            raise EdgeError("salt", "it must have at least {} characters.".format(SHORTEST_SALT), "Use a random one.")
        self._salt = salt.encode("utf-8")

    def read(self, wanted: Wanted) -> t.List[t.Dict[str, t.Any]]:
        table = Table(self.direct, wanted.table)
        if wanted.sys_id:
            ids = [wanted.sys_id]
        else:
            ids = [row["sys_id"] for row in table.list(wanted.query or "", ["sys_id"], limit=wanted.limit).rows]
        found = []  # type: t.List[t.Dict[str, t.Any]]
        for sys_id in ids:
            found.extend(self._fields(wanted, sys_id))
            if wanted.attachments:
                found.extend(self._attachments(wanted.table, sys_id))
        return found

    def _fields(self, wanted: Wanted, sys_id: str) -> t.Iterator[t.Dict[str, t.Any]]:
        if not wanted.fields:
            return
        clear, raw = (self._row(client, wanted, sys_id) for client in (self.edge, self.direct))
        for field in wanted.fields:
            if clear is None or raw is None:
                yield self._entry(wanted.table, sys_id, field, None, None)
            else:
                entry = self._entry(wanted.table, sys_id, field, clear[field].encode("utf-8"), raw[field].encode("utf-8"))
                yield dict(entry, sys_mod_count=int(raw["sys_mod_count"] or 0))

    def _row(self, client: Client, wanted: Wanted, sys_id: str) -> t.Optional[Row]:
        try:
            return Table(client, wanted.table).get(sys_id, [*wanted.fields, "sys_mod_count"])
        except NotFound:
            return None

    def _attachments(self, table: str, sys_id: str) -> t.Iterator[t.Dict[str, t.Any]]:
        query = equals(table_name=table, table_sys_id=sys_id)
        for row in Table(self.direct, "sys_attachment").list(query, ["table_name", "table_sys_id"]).rows:
            path = "/api/now/attachment/{}/file".format(row["sys_id"])
            clear, raw = (client.request("GET", path, headers={"Accept": "*/*"}).body for client in (self.edge, self.direct))
            yield self._entry(table, sys_id, "attachment/" + row["sys_id"], clear, raw)

    def _entry(self, table: str, sys_id: str, field: str, clear: t.Optional[bytes], raw: t.Optional[bytes]) -> t.Dict[str, t.Any]:
        entry = {"table": table, "sys_id": sys_id, "field": field, "missing": clear is None, "digest": None}  # type: t.Dict[str, t.Any]
        entry.update(empty=None, cipher_text_without_proxy=None, sys_mod_count=None)
        if clear is not None and raw is not None:
            entry["empty"] = not clear
            if clear:
                entry["digest"] = hmac.new(self._salt, clear, hashlib.sha256).hexdigest()
                shows = clear == raw or (len(clear) >= SHORTEST_TELLING and clear in raw)
                entry["cipher_text_without_proxy"] = bool(raw) and not shows
        return entry


def wanted_of(record: t.Mapping[str, t.Any]) -> Wanted:
    """Return what one entry of the option asks for."""
    if not record["fields"] and not record["attachments"]:
        raise EdgeError(record["table"], "neither fields nor attachments are asked for.")
    return Wanted(record["table"], record["sys_id"], record["query"], record["fields"], record["attachments"], record["limit"])
