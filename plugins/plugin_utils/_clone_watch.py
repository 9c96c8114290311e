# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The clones to a target as events: each change of a state once, and the moment at which its proxies must go down."""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import Clones, Seen, fold, phase_of
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import NotFound
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of, stamp_of
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._events import Entry, Event, Step, Watch, never_template

# What of a clone goes into an event. Its log and profile stay out: they are long, and a playbook asks for them itself.
FIELDS = (
    "number", "table", "sys_id", "state", "phase", "message", "stage", "scheduled", "started", "completed", "source", "target", "target_production",
    "target_data", "cancelable",
)  # fmt: skip
HAPPENED = {"running": "started", "completed": "completed", "canceled": "ended", "failed": "ended", "unknown": "unknown"}
ENDED = ("completed", "ended")
# An event is on its way for a while; a stop that is later than this was not told in time.
LATE_AFTER = 60.0
# The number becomes a variable of a playbook and the name of a folder of the journal.
NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")

Clone = t.Dict[str, t.Any]


class CloneWatch(Watch):
    """Compares what the source says of the clones to a target with what was told before.

    Args:
        clones: the clones that the source knows.
        target: name of the target.
        stop_lead: seconds before its start at which the target proxies must be down.
        notice: seconds before that moment at which it is told.
        repeat_for: seconds for which the last event of a clone that has ended is told again after a restart.
    """

    def __init__(self, clones: Clones, target: str, stop_lead: float, notice: float, repeat_for: float) -> None:
        super().__init__(clones.source)
        self.clones = clones
        self.target = target
        self.stop_lead = stop_lead
        self.notice = notice
        self.repeat_for = repeat_for
        self._repeated = False  # whether the last event of each clone was told since the start

    # -- what changed ------------------------------------------------------------------------------------------

    def look(self) -> t.List[Step]:
        seen, blind = self.clones.all_to(self.target)
        self.notes = sorted(blind.values())
        steps = []  # type: t.List[Step]
        for each in seen:
            steps += self._changes(each)
        keys = {_key(each) for each in seen}
        for key, entry in (self.memory or {}).items():
            # Where not all can be seen, nothing is proven to be gone.
            if key not in keys and key.partition("/")[0] not in blind:
                steps.append(Step(key, None, None if entry["happened"] in ENDED else self._gone(entry)))
        self._repeated = True
        return steps

    def _changes(self, seen: Seen) -> t.List[Step]:
        key, entry = _key(seen), (self.memory or {}).get(_key(seen))
        if self.memory is None and _has_ended(seen) and not self._is_young(seen.completed):
            return [Step(key, _entry(seen.state, seen.scheduled), None)]
        if entry and (fold(entry["state"]), entry["scheduled"]) == (fold(seen.state), seen.scheduled):
            return self._again(key, entry) + self._due(key, entry)
        try:
            clone = self._read(seen)
        except NotFound:
            return []
        new = _entry(clone["state"], clone["scheduled"])
        # Who was told once goes on by himself with a start that changed, as long as it stays near.
        new["due_told"] = bool(entry and entry["due_told"] and self._is_due(new))
        new["event"] = self._event(new["happened"], clone, new, previous=_told(entry) if entry else None, known=bool(entry and entry["event"]))
        return [Step(key, new, new["event"])] + self._due(key, new)

    def _read(self, seen: Seen) -> Clone:
        clone = self.clones.read(seen.found)
        if not NUMBER.match(clone["number"]):
            raise EdgeError("clone " + seen.found.sys_id, "its number, {0!r}, is none.".format(clone["number"]), "Somebody should look at that record.")
        return never_template({name: clone[name] for name in FIELDS})

    def _again(self, key: str, entry: Entry) -> t.List[Step]:
        """Tell the last event once more after a start: what it had begun may have been cut off by what ended the process before."""
        event = entry["event"]
        if self._repeated or not event or (entry["happened"] in ENDED and not self._is_young(event["seen"])):
            return []
        return [Step(key, entry, dict(event, again=True, due=self._is_due(entry)))]

    def _gone(self, entry: Entry) -> t.Optional[Event]:
        clone = (entry["event"] or {}).get("clone")
        return self._event("gone", clone, entry, previous=_told(entry), known=True) if clone else None

    # -- what is due -------------------------------------------------------------------------------------------

    def by_clock(self) -> t.List[Step]:
        return [step for key, entry in sorted((self.memory or {}).items()) for step in self._due(key, entry)]

    def seconds_left(self) -> t.Optional[float]:
        moments = [self._moment(entry) for entry in (self.memory or {}).values() if self._is_armed(entry)]
        return min(moments) - self.now() if moments else None

    def _due(self, key: str, entry: Entry) -> t.List[Step]:
        """Tell that the target proxies must go down; once, and again if it was put off meanwhile. What is known is enough, if the source does not answer."""
        if entry["due_told"] or not self._is_due(entry):
            return []
        new = dict(entry, due_told=True)
        new["event"] = self._event("due", entry["event"]["clone"], entry, previous=None, known=True)
        return [Step(key, new, new["event"])]

    def _is_due(self, entry: Entry) -> bool:
        return entry["happened"] == "started" or (entry["happened"] == "scheduled" and self.now() >= self._moment(entry))

    def _is_armed(self, entry: Entry) -> bool:
        return entry["happened"] == "scheduled" and not entry["due_told"]

    def _moment(self, entry: Entry) -> float:
        return seconds_of(entry["scheduled"]) - self.stop_lead - self.notice

    # -- events ------------------------------------------------------------------------------------------------

    def _event(self, happened: str, clone: Clone, entry: Entry, previous: t.Optional[t.Dict[str, t.Any]], known: bool) -> Event:
        now, stop = self.now(), seconds_of(clone["scheduled"]) - self.stop_lead if clone["scheduled"] else None
        if stop is None and clone["started"]:
            stop = seconds_of(clone["started"]) - self.stop_lead
        due = happened != "gone" and self._is_due(entry)
        passed = max(0.0, now - stop) if stop is not None and due else 0.0
        late = due and not entry["due_told"] and (entry["happened"] == "started" or passed > LATE_AFTER)
        return {
            "id": "{0}/{1}/{2}/{3}".format(clone["number"], happened, clone["state"], clone["scheduled"] or "not scheduled"),
            "happened": happened,
            "again": False,
            "known": known,
            "seen": stamp_of(now),
            "previous": previous,
            "stop_at": stamp_of(stop) if stop is not None else None,
            "due": due,
            "late": late,
            "late_s": int(passed) if late else 0,
            "clone": clone,
        }

    def _is_young(self, stamp: t.Optional[str]) -> bool:
        # Stamps are rounded, so what has just happened can lie ahead.
        return stamp is not None and max(0.0, self.now() - seconds_of(stamp)) < self.repeat_for


def _key(seen: Seen) -> str:
    return "{0}/{1}".format(seen.found.table.name, seen.found.sys_id)


def _happened(state: str, scheduled: t.Optional[str]) -> str:
    phase = phase_of(state)
    if phase == "waiting":
        return "scheduled" if fold(state) == "scheduled" and scheduled else "waiting"
    return HAPPENED[phase]


def _entry(state: str, scheduled: t.Optional[str]) -> Entry:
    return {"happened": _happened(state, scheduled), "state": state, "scheduled": scheduled, "due_told": False, "event": None}


def _told(entry: Entry) -> t.Dict[str, t.Any]:
    return {"state": entry["state"], "scheduled": entry["scheduled"]}


def _has_ended(seen: Seen) -> bool:
    return _happened(seen.state, seen.scheduled) in ENDED
