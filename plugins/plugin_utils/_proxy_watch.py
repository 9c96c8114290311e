# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The proxies that an instance knows as events: which one it hears of no more, or again, and whose status changed."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import ProxyRecords
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of, stamp_of
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._events import Entry, Event, Step, Watch, never_template

FIELDS = ("name", "host", "port", "status", "online", "last_response_on", "sys_id")


class ProxyWatch(Watch):
    """Compares the proxy records of an instance with what was told before.

    Args:
        records: the proxy records of the instance.
        silent_after: seconds after its last response at which a proxy counts as not heard of; 0 goes by its field C(online) alone.
    """

    def __init__(self, records: ProxyRecords, silent_after: float) -> None:
        super().__init__(records.table.client)
        self.records = records
        self.silent_after = silent_after

    def look(self) -> t.List[Step]:
        steps = []  # type: t.List[Step]
        seen = {record["sys_id"]: self._entry(record) for record in self.records.list()}
        for key, new in seen.items():
            old = (self.memory or {}).get(key)
            happened = self._happened(old, new)
            if happened:
                steps.append(Step(key, new, self._event(happened, old, new)))
            elif old is None or _lasting(old) != _lasting(new):
                steps.append(Step(key, new, None))
        gone = [(key, old) for key, old in (self.memory or {}).items() if key not in seen]
        return steps + [Step(key, None, self._event("gone", old, old)) for key, old in gone]

    def _entry(self, record: t.Mapping[str, str]) -> Entry:
        proxy = never_template({name: record.get(name, "") for name in FIELDS})
        return {"heard": self._is_heard(record), "proxy": proxy}

    def _is_heard(self, record: t.Mapping[str, str]) -> bool:
        if "online" not in record and not (self.silent_after and record.get("last_response_on")):
            raise EdgeError(
                "proxy " + record["name"], "its record does not say whether the instance hears of it.", "Set field_names.online, or silent_after."
            )
        if self.silent_after and record.get("last_response_on") and self.now() - seconds_of(record["last_response_on"]) > self.silent_after:
            return False
        return record.get("online", "true").lower() in ("true", "1")

    def _happened(self, old: t.Optional[Entry], new: Entry) -> t.Optional[str]:
        if old is None:
            if self.memory is None:  # the first look of all: only what is wrong is worth telling
                return None if new["heard"] else "lost"
            return "new"
        if old["heard"] != new["heard"]:
            return "back" if new["heard"] else "lost"
        return "status" if old["proxy"]["status"] != new["proxy"]["status"] else None

    def _event(self, happened: str, old: t.Optional[Entry], new: Entry) -> Event:
        proxy = dict(new["proxy"], heard=new["heard"])
        previous = {"status": old["proxy"]["status"], "heard": old["heard"]} if old else None
        return {
            "id": "{0}/{1}/{2}/{3}".format(proxy["name"], happened, proxy["status"], proxy["last_response_on"]),
            "happened": happened,
            "seen": stamp_of(self.now()),
            "instance": self.client.url,
            "previous": previous,
            "proxy": proxy,
        }


def _lasting(entry: Entry) -> t.Dict[str, t.Any]:
    """Return what does not change with each heartbeat."""
    return {name: value for name, value in entry["proxy"].items() if name not in ("online", "last_response_on")}
