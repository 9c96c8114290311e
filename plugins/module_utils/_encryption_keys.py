# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The list of encryption keys that an instance keeps: which proxies hold a key, which is the default of a size."""

import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._encrypted_data import ancestry
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import refuse_hidden
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import Row, Table, equals, renamed

KEYS, DEFAULTS, HELD, PROXIES = "sys_encryption_key", "sys_encryption_key_configuration", "sys_encryption_proxy_key", "sys_encryption_proxy"
AVAILABLE = "available"
# The tables are documented, their columns are not.
FIELDS = {
    "alias": "alias",
    "size": "size",
    "type": "type",
    "status": "status",
    "default_size": "size",
    "default_key": "key",
    "default_active": "active",
    "held_proxy": "proxy",
    "held_key": "key",
    "proxy_name": "name",
    "proxy_online": "online",
}


class KeyStays(EdgeError):
    """The instance does not let a key leave its list."""


class EncryptionKeys:
    """The keys of one instance."""

    def __init__(self, client: Client, fields: t.Optional[t.Mapping[str, t.Any]] = None, sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.client = client
        self.fields = renamed(FIELDS, fields)
        self._sleep = sleep

    def list(self) -> t.List[t.Dict[str, t.Any]]:
        """Return every key with C(default), C(available) and the names of the proxies that hold it or lack it; lacking counts online proxies only."""
        names = self._names("alias", "size", "type", "status")
        keys = self._rows(KEYS, names)
        defaults = {row["default_key"]: row["sys_id"] for row in self._defaults()}
        proxies = {row["sys_id"]: row for row in self._rows(PROXIES, self._names("proxy_name", "proxy_online"))}
        held = {}  # type: t.Dict[str, t.Set[str]]
        for row in self._rows(HELD, self._names("held_proxy", "held_key")):
            held.setdefault(row["held_key"], set()).add(row["held_proxy"])
        found = []
        for row in keys:
            holders = held.get(row["sys_id"], set())
            lacking = [one["proxy_name"] for sys_id, one in proxies.items() if one["proxy_online"] == "true" and sys_id not in holders]
            found.append({
                "alias": row["alias"], "size": int(row["size"] or 0), "type": row["type"], "status": row["status"], "sys_id": row["sys_id"],
                "available": row["status"].lower() == AVAILABLE, "default": row["sys_id"] in defaults,
                "held_by": sorted(proxies[sys_id]["proxy_name"] for sys_id in holders if sys_id in proxies), "lacking": sorted(lacking),
            })  # fmt: skip
        return sorted(found, key=lambda key: (key["size"], key["alias"]))

    def find(self, alias: str) -> t.Optional[t.Dict[str, t.Any]]:
        found = [key for key in self.list() if key["alias"] == alias]
        if len(found) > 1:
            raise EdgeError("key " + alias, "{} keys of the instance have this alias.".format(len(found)), "Delete the stale ones.")
        return found[0] if found else None

    def register(self, alias: str, size: int, kind: str) -> None:
        """Add a key to the list."""
        wanted = {"alias": alias, "size": str(size), "type": kind}
        require_columns(self.client, KEYS, self._names(*wanted).values())
        Table(self.client, KEYS).create({self.fields[name]: value for name, value in wanted.items()}, key=[self.fields["alias"]])

    def wait(self, alias: str, available: bool, timeout: float) -> t.Dict[str, t.Any]:
        """Return the key once its status is as wanted."""
        deadline = time.monotonic() + timeout
        while True:
            key = self.find(alias)
            if key is None:
                raise EdgeError("key " + alias, "is not in the list of the instance any more.")
            if key["available"] == available:
                return key
            if time.monotonic() >= deadline:
                where = "not held by {}".format(", ".join(key["lacking"]) or "any proxy that is online")
                if not available:
                    where = "held by {}".format(", ".join(key["held_by"]) or "nobody")
                raise EdgeError(
                    "key " + alias, "is still {} after {:.0f} s: {}.".format(key["status"], timeout, where),
                    "A proxy reads its keystore when it starts, and reports its keys then.", key=key,
                )  # fmt: skip
            self._sleep(1)

    def make_default(self, key: t.Mapping[str, t.Any]) -> None:
        """Let the proxies encrypt with a key from now on what needs a key of its size."""
        if not key["available"]:
            raise EdgeError("key " + key["alias"], "is {}, so it cannot be the default.".format(key["status"]), "Every online proxy must hold it.")
        now = [row for row in self._defaults() if int(row["default_size"] or 0) == key["size"]]
        if len(now) != 1:
            raise EdgeError(
                "key " + key["alias"], "the instance has {} default keys of {} bits, not one.".format(len(now), key["size"]),
                "Put that right in Edge Encryption > Encryption Key Configuration > Change Default Keys.",
            )  # fmt: skip
        Table(self.client, DEFAULTS).update(now[0]["sys_id"], {self.fields["default_key"]: key["sys_id"]})

    def forget(self, key: t.Mapping[str, t.Any]) -> None:
        """Delete a key from the list. The documentation says that a default, one that was a default and an Available one cannot be."""
        if key["default"] or key["available"]:
            raise KeyStays(
                "key " + key["alias"], "it is {}.".format("a default key" if key["default"] else "held by every online proxy, so it is Available"),
                "Rotate its values to another default key, then take it out of the keystores of all proxies.",
            )  # fmt: skip
        try:
            Table(self.client, KEYS).delete(key["sys_id"])
        except StatusError as error:
            if error.status != 403:
                raise
            raise KeyStays(
                "key " + key["alias"], "the instance does not let it be deleted from the list: {}".format(error.cause),
                "The documentation says that a key that was a default stays in the list; no proxy holds it any more, so it encrypts nothing.",
            ) from error  # fmt: skip

    def _defaults(self) -> t.List[Row]:
        rows = self._rows(DEFAULTS, self._names("default_size", "default_key", "default_active"))
        return [row for row in rows if row["default_active"] == "true"]

    def _names(self, *names: str) -> t.Dict[str, str]:
        return {name: self.fields[name] for name in names}

    def _rows(self, table: str, names: t.Mapping[str, str]) -> t.List[Row]:
        listing = Table(self.client, table).list("", sorted(set(names.values())))
        refuse_hidden(self.client, table, listing)
        return [dict({name: row[column] for name, column in names.items()}, sys_id=row["sys_id"]) for row in listing.rows]


def require_columns(client: Client, table: str, columns: t.Iterable[str]) -> None:
    """Refuse names that a table does not have: an instance ignores them silently when it writes."""
    dictionary = Table(client, "sys_dictionary")
    there = {row["element"] for one in ancestry(client, table) for row in dictionary.list(equals(name=one), ["name", "element"]).rows}
    missing = sorted(set(columns) - there)
    if missing:
        raise EdgeError(
            "{} of {}".format(table, client.name), "has no column {}, as far as sys_dictionary shows.".format(", ".join(missing)),
            "Name the right ones in the option fields. It has {}.".format(", ".join(sorted(name for name in there if name)) or "none that may be read"),
        )  # fmt: skip
