# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Requesting a clone and canceling it: the only writes to a source instance.

A request is made as a draft first. Columns that an instance does not know are left out of a write without a word, so the draft is read
back, and only a draft that shows every setting becomes a request.
"""

import time
import typing as t
from datetime import datetime, timedelta, timezone

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import (
    DAY,
    TABLES,
    Ambiguous,
    Clones,
    Found,
    NoClone,
    fold,
    iso,
    phase_of,
)
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing, Row, Table, equals
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of

Clone = t.Dict[str, t.Any]


class RequestRefused(EdgeError):
    """A clone that must not be requested or canceled."""


class Wanted(t.NamedTuple):
    """What is asked for; what is None or missing is left to the instance."""

    target: str
    scheduled: t.Optional[str] = None  # UTC, as the Table API writes it
    start_in: t.Optional[int] = None  # seconds, only for a request that is made now
    profile: t.Optional[str] = None
    email: t.Optional[str] = None
    options: t.Mapping[str, str] = {}  # by column


class Requests:
    """Requests of clones on a source instance.

    Args:
        table: where a new request goes.
        columns: names of the columns where they differ from those of C(clone_instance).
        min_days: days that must lie between two clones to one target.
    """

    def __init__(
        self,
        source: Client,
        table: str = "clone_instance",
        columns: t.Optional[t.Mapping[str, str]] = None,
        min_days: float = 5,
        timeout: float = 300,
        interval: float = 5,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.source = source
        self.clones = Clones(source)
        self.kind = next(known for known in TABLES if known.name == table)
        self.table = Table(source, table)
        self.columns = dict(columns or {})
        self.min_days = min_days
        self.timeout = timeout
        self.interval = interval
        self._sleep = sleep

    def request(self, wanted: Wanted, check: bool = False) -> t.Tuple[bool, Clone, t.Dict[str, str]]:
        """Have exactly one open clone with these settings; returns whether one was requested, the clone, and the columns that were set.

        Raises:
            RequestRefused: the target is or may be production, another clone is too near, or an open one has other settings.
        """
        target = self._target(wanted.target)
        values = self._values(wanted, target)
        found = self._open_clone(wanted.target)
        if found:
            self._refuse_other_settings(found, values, wanted)
            clone = self.clones.read(found)
            if fold(clone["state"]) != "draft":
                return False, self._settled(found, check), {}
            if not check:  # an earlier call was interrupted between its two writes
                Table(self.source, found.table.name).update(found.sys_id, {self._column("state"): "Requested"}, unreadable=[self._column("state")])
            return True, self._settled(found, check), {self._column("state"): "Requested"}
        self._refuse_too_near(wanted.target, values[self._column("scheduled")], target["sys_id"])
        if check:
            return True, self._planned(wanted, target, values), values
        draft = dict(values, **{self._column("state"): "Draft"})
        row = self.source.send_json("POST", self.table.path, draft, {"sysparm_exclude_reference_link": "true"}).get("result") or {}
        sys_id = str(row.get("sys_id", ""))
        stored = self.table.get(sys_id)
        missing = [name for name, value in sorted(draft.items()) if not _same(stored.get(name), value)]
        if missing:
            self.table.delete(sys_id)
            raise RequestRefused(
                str(self.table),
                "the columns {} were not stored as asked, so the draft was deleted and nothing is requested.".format(", ".join(missing)),
                "Correct their names by columns or options, or what the account may write.",
                columns=missing,
            )
        # The instance sets the state on from there, so that it need not read Requested.
        self.table.update(sys_id, {self._column("state"): "Requested"}, unreadable=[self._column("state")])
        return True, self._settled(Found(self.kind, sys_id), check=False), values

    def cancel(self, number: str, check: bool = False) -> t.Tuple[bool, Clone]:
        """Have a clone canceled, which is possible until the node repoint.

        Raises:
            RequestRefused: it is too late, or that is not known.
        """
        found = self.clones.find(number, None)
        clone = self.clones.read(found)
        if clone["phase"] == "canceled":
            return False, clone
        if not clone["cancelable"]:
            raise RequestRefused(
                "clone {}".format(number),
                "it is {}, last stage {}, and a clone can be canceled until the stage Node repoint only.".format(
                    clone["state"], clone["stage"] or "unknown"
                ),
                "Let it end. Then it can be rolled back on the instance.",
                clone=clone,
            )
        if not check:
            Table(self.source, found.table.name).update(found.sys_id, {"state": "Canceled"})
            clone = self.clones.read(found)
        return True, clone

    # Inside

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)

    def _target(self, name: str) -> Row:
        rows = Table(self.source, "instance").list("", ["instance_name"], ["production"]).rows
        found = [row for row in rows if row["instance_name"].lower() == name.lower()]
        if len(found) != 1:
            names = ", ".join(sorted(row["instance_name"] for row in rows)) or "none"
            raise NoClone(name, "is {} instance that {} knows; it knows {}.".format("no" if not found else "more than one", self.source.name, names))
        if found[0].get("production") != "false":
            said = "is down as a production instance on {}." if found[0].get("production") == "true" else "is not down as a non-production instance on {}."
            raise RequestRefused(name, said.format(self.source.name), "A clone over production is never requested.")
        own = Table(self.source, "sys_properties").one("name=instance_name", ["name", "value"])
        if own and own["value"].lower() == name.lower():
            raise RequestRefused(name, "is the source itself.", "Correct the name of the target.")
        return found[0]

    def _values(self, wanted: Wanted, target: Row) -> t.Dict[str, str]:
        scheduled = wanted.scheduled
        if not scheduled:
            now = datetime.fromtimestamp(time.time() + (self.source.clock_skew or 0), timezone.utc)
            scheduled = (now + timedelta(seconds=wanted.start_in or 0)).strftime("%Y-%m-%d %H:%M:%S")
        values = {"target_instance": target["sys_id"], "scheduled": scheduled}
        if wanted.profile:
            profiles = Table(self.source, "clone_profile").list(equals(name=wanted.profile), ["name"]).rows
            if len(profiles) != 1:
                raise RequestRefused(
                    "profile " + wanted.profile, "{} clone profiles of {} have this name.".format(len(profiles), self.source.name), "Name one that is unique."
                )
            values["profile"] = profiles[0]["sys_id"]
        if wanted.email:
            values["email"] = wanted.email
        return dict({self._column(name): value for name, value in values.items()}, **wanted.options)

    def _open_clone(self, target: str) -> t.Optional[Found]:
        try:
            return self.clones.find(None, target)
        except NoClone:
            return None
        except Ambiguous as error:
            raise RequestRefused(target, "more than one clone to it is open.", "Cancel all but one.", **error.context) from None

    def _refuse_other_settings(self, found: Found, values: t.Mapping[str, str], wanted: Wanted) -> None:
        row = Table(self.source, found.table.name).get(found.sys_id)
        ignored = set() if wanted.scheduled else {self._column("scheduled")}  # any time is right for who asks for none
        other = ["{} is {!r}, not {!r}".format(name, row.get(name), value) for name, value in sorted(values.items())
                 if name not in ignored and not _same(row.get(name), value)]  # fmt: skip
        if other:
            raise RequestRefused(
                "clone {}".format(row.get(found.table.number, found.sys_id)),
                "it is open with other settings: {}.".format("; ".join(other)),
                "Cancel it, or ask for what it has.",
            )

    def _refuse_too_near(self, target: str, scheduled: str, sys_id: str) -> None:
        start = seconds_of(scheduled)
        for kind in self.clones.tables:
            try:
                rows = Table(self.source, kind.name).list(
                    equals(target_instance=sys_id), [kind.number, "state", "target_instance"], ["scheduled", "started", "completed"]
                ).rows
            except (StatusError, FieldsMissing) as error:
                if isinstance(error, StatusError) and error.transient:
                    raise
                continue  # the other table may be the one of this release; _open_clone has seen that one can be read
            for row in rows:
                when = row.get("started") or row.get("scheduled")
                if phase_of(row["state"]) == "canceled" or fold(row["state"]) in ("draft", "error") or not when or not iso(when):
                    continue
                days = abs(start - seconds_of(when)) / DAY
                if days < self.min_days:
                    raise RequestRefused(
                        "a clone to {}".format(target),
                        "clone {} ({}) began or begins at {} UTC, {:.1f} days apart; clones to one target must be {:g} days apart.".format(
                            row[kind.number], row["state"], when, days, self.min_days
                        ),
                        "Schedule it later.",
                    )

    def _planned(self, wanted: Wanted, target: Row, values: t.Mapping[str, str]) -> Clone:
        options = {name: {"true": True, "false": False}.get(value, value) for name, value in wanted.options.items()}
        clone = {"number": "", "table": self.kind.name, "state": "Draft", "phase": "waiting", "target": target["instance_name"],
                 "target_production": False, "scheduled": iso(values[self._column("scheduled")]), "options": options}  # type: Clone
        clone.update(self.clones.profile(values.get(self._column("profile"), "")))
        return clone

    def _settled(self, found: Found, check: bool) -> Clone:
        """Wait until the instance has looked at the request; refuse one that it holds back."""
        deadline = time.monotonic() + self.timeout
        while True:
            clone = self.clones.read(found)
            state = fold(clone["state"])
            if state == "hold":
                raise RequestRefused(
                    "clone {}".format(clone["number"]),
                    "the instance holds it back: {}.".format((clone["message"] or "it does not say why").rstrip(".")),
                    "Authenticate the target or change the request in the form of the clone, then start again; or cancel it.",
                    clone=clone,
                )
            late = time.monotonic() > deadline
            if late and state == "draft":
                raise RequestRefused("clone {}".format(clone["number"]), "it stays a draft.", "The account may not write its state.", clone=clone)
            if check or late or state not in ("draft", "requested"):
                return clone
            self._sleep(self.interval)


def _same(have: t.Optional[str], want: str) -> bool:
    return have is not None and have.strip().lower() == want.strip().lower()
