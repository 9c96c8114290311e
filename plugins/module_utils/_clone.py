# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What the source instance knows about a clone, and following it until the target can be used."""

import re
import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, LoginRefused, RestError, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing, Listing, NotFound, Row, Table, equals, instance_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of, stamp_of

CLEANUP_JOB = "Execute Clone Cleanup Script: Execute Cleanup Scripts Sequentially"
# Documentation page "Exploring instance clone".
STAGES = (
    "Clone build configuration",
    "Preflight checks",
    "Backup",
    "Pre-Clone",
    "Provision DBI",
    "Restore",
    "Exclusions",
    "Preservers",
    "Node repoint",
    "Scheduling scripts",
    "Post Clone",
)
# The stage that puts the clone in the place of the target's data, and until which a clone can be canceled.
NODE_REPOINT = STAGES.index("Node repoint")
# How long a clone can be rolled back: the same page.
ROLL_BACK_DAYS, ROLL_BACK_DAYS_SHARDED = 7, 2
DAY = 86400
# Documentation page "Clone states", folded. Any other state is unknown: neither success nor failure.
PHASES = {
    "draft": "waiting",
    "requested": "waiting",
    "scheduled": "waiting",
    "hold": "waiting",
    "active": "running",
    "completed": "completed",
    "error": "failed",
    "rollbackrequested": "failed",
    "rollbackfailure": "failed",
    "rollingback": "failed",
    "rolledback": "failed",
    "canceled": "canceled",
    "cancelled": "canceled",
}
OPTIONS = (
    "clone_type",
    "exclude_all_from_exclusion_list",
    "exclude_large_data",
    "filter_attachment_data",
    "amount_of_data_copied_from_large_tables",
    "lock_profile_settings",
    "preserve_theme",
    "preserve_in_progress_update_sets",
    "preserve_users_and_related_tables",
)
# The wording is not documented, only that the log shows the date and time of the backup.
BACKUP_PATTERN = (
    r"(?i)\bbackup\b.*\bstarted\b\D*(?P<started>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)"
    r".*\bcompleted\b\D*(?P<completed>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d).*\b(?:UTC|GMT)\b"
)
LONGEST_LOGIN_PAUSE = 300.0


class CloneTable(t.NamedTuple):
    name: str
    number: str
    log: str
    log_clone: str


TABLES = (
    CloneTable("clone_instance", "clone_id", "clone_log", "clone"),
    CloneTable("sn_instance_clone_request", "request_id", "sn_instance_clone_log", "clone"),
)


class NoClone(EdgeError):
    """The clone that was asked for is not there."""


class Ambiguous(EdgeError):
    """More than one clone could be meant."""


class CloneFailed(EdgeError):
    """The clone ended, but not well."""


class TimedOut(EdgeError):
    """The clone did not get as far as it should in time."""


class Found(t.NamedTuple):
    table: CloneTable
    sys_id: str


class Seen(t.NamedTuple):
    """A clone in a list."""

    found: Found
    number: str
    state: str
    scheduled: t.Optional[str]
    completed: t.Optional[str]


def fold(state: str) -> str:
    return re.sub(r"[ _-]", "", state).lower()


def phase_of(state: str) -> str:
    return PHASES.get(fold(state), "unknown")


def iso(stamp: str) -> t.Optional[str]:
    """Return a time of the Table API, which is UTC, in ISO 8601."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)", stamp.strip())
    return "{}T{}Z".format(*match.groups()) if match else None


def _to(targets: t.Iterable[str]) -> str:
    """Return the query for the clones to these records of instances."""
    return "target_instanceIN" + ",".join(sorted(targets))


# Looking


class Clones:
    """The clones that a source instance knows."""

    def __init__(self, source: Client, table: str = "auto", backup_pattern: str = BACKUP_PATTERN) -> None:
        self.source = source
        self.tables = [known for known in TABLES if table in ("auto", known.name)]
        try:
            self.backup_pattern = re.compile(backup_pattern)
        except re.error as error:
            raise EdgeError("backup_pattern", "is no regular expression: {}.".format(error)) from None
        if not {"started", "completed"} <= set(self.backup_pattern.groupindex):
            raise EdgeError("backup_pattern", "has no groups named started and completed.")
        self.candidates = []  # type: t.List[t.Dict[str, t.Any]]

    def find(self, number: t.Optional[str], target: t.Optional[str]) -> Found:
        """Return the clone of that number, or else the one clone to that target that has not ended."""
        if not number and not target:
            raise EdgeError("the clone", "is named by neither a number nor a target.", "Give one of them; an empty one names none.")
        wanted = "number {}".format(number) if number else "an open clone to {}".format(target)
        targets = self._instances(target) if target else {}
        found, self.candidates, unreadable = [], [], []
        for table in self.tables:
            query = equals(**{table.number: number}) if number else _to(targets)
            try:
                rows = self._list(table, query).rows
            except (StatusError, FieldsMissing) as error:
                if isinstance(error, StatusError) and error.transient:
                    raise
                unreadable.append(str(error))
                continue
            for row in rows:
                if targets and row["target_instance"] not in targets:
                    continue
                entry = {"table": table.name, "sys_id": row["sys_id"], "number": row[table.number], "state": row["state"]}
                self.candidates.append(dict(entry, phase=phase_of(row["state"]), scheduled=iso(row.get("scheduled", ""))))
                if number or phase_of(row["state"]) in ("waiting", "running", "unknown"):
                    found.append(Found(table, row["sys_id"]))
        if len(found) == 1:
            return found[0]
        if found:
            raise Ambiguous(
                self.source.name,
                "{} clones match {}.".format(len(found), wanted),
                "Name the number and the table.",
                candidates=self.candidates,
            )
        if len(unreadable) == len(self.tables):
            raise self._no_table(unreadable)
        way_out = "Correct the number." if number else "Request it first, or correct the name of the target."
        if self.candidates and not number:
            way_out = "Request it first. Those that ended are in candidates; one of them can be named by its number."
        raise NoClone(
            self.source.name,
            "there is no clone of {}.".format(wanted) if number else "there is no open clone to {}.".format(target),
            " ".join([way_out, *unreadable]),
            candidates=self.candidates,
        )

    def all_to(self, target: str) -> t.Tuple[t.List[Seen], t.Dict[str, str]]:
        """Return every clone to that target, ended or not, and by table why not all that it holds was seen.

        Raises:
            NoClone: the target is no instance that the source knows, or no table of clones can be read.
        """
        query = _to(self._instances(target))
        found, blind, unreadable = [], {}, []  # type: t.List[Seen], t.Dict[str, str], t.List[str]
        for table in self.tables:
            try:
                listing = self._list(table, query)
            except (StatusError, FieldsMissing) as error:
                if isinstance(error, StatusError) and error.transient:
                    raise
                unreadable.append(str(error))
                blind[table.name] = str(error)
                continue
            if listing.hidden:
                blind[table.name] = "{} of its clones are hidden by access rules.".format(listing.hidden)
            for row in listing.rows:
                times = [iso(row.get(name, "")) for name in ("scheduled", "completed")]
                found.append(Seen(Found(table, row["sys_id"]), row[table.number], row["state"], *times))
        if len(unreadable) == len(self.tables):
            raise self._no_table(unreadable)
        return found, blind

    def _list(self, table: CloneTable, query: str) -> Listing:
        fields = [table.number, "state", "target_instance"]
        return Table(self.source, table.name).list(query, fields, ["scheduled", "started", "completed"])

    def _no_table(self, unreadable: t.Sequence[str]) -> NoClone:
        return NoClone(self.source.name, "no table of clones can be read: {}".format(" ".join(unreadable)), "The account needs clone_admin.")

    def _instances(self, name: str) -> t.Dict[str, Row]:
        rows = Table(self.source, "instance").list("", ["instance_name"]).rows
        found = {row["sys_id"]: row for row in rows if row["instance_name"].lower() == name.lower()}
        if not found:
            names = ", ".join(sorted(row["instance_name"] for row in rows)) or "none"
            raise NoClone(
                name, "is no instance that {} knows; it knows {}.".format(self.source.name, names), "Correct the name of the target."
            )
        return found

    def read(self, found: Found) -> t.Dict[str, t.Any]:
        """Return all there is to know about a clone."""
        table = found.table
        row = Table(self.source, table.name).get(found.sys_id)
        if "state" not in row:
            raise FieldsMissing(table.name, "its field state cannot be read.", "The account needs clone_admin.")
        target = self._instance(row.get("target_instance", ""))
        clone = {
            "number": row.get(table.number, ""),
            "sys_id": found.sys_id,
            "table": table.name,
            "state": row["state"],
            "phase": phase_of(row["state"]),
            "message": row.get("message", ""),
            "scheduled": iso(row.get("scheduled", "")),
            "started": iso(row.get("started", "")),
            "completed": iso(row.get("completed", "")),
            "source": self._instance(row.get("source_instance", "")).get("instance_name", ""),
            "target": target.get("instance_name", ""),
            "target_production": target["production"] == "true" if target.get("production") else None,
            "options": {name: {"true": True, "false": False}.get(row[name], row[name]) for name in OPTIONS if name in row},
        }  # type: t.Dict[str, t.Any]
        clone.update(self.profile(row.get("profile", "")))
        log, reason = self._log(found)
        clone.update(self._backup(log, reason), stage=row.get("stage") or _stage(log), log=log)
        never_started = row.get("started") == ""
        clone["target_data"] = target_data(clone, never_started, readable=not reason)
        clone.update(deadlines(clone))
        return clone

    def _instance(self, sys_id: str) -> Row:
        if not sys_id:
            return {}
        try:
            return Table(self.source, "instance").get(sys_id, ["instance_name"], ["production"])
        except NotFound:
            return {}

    def profile(self, sys_id: str) -> t.Dict[str, t.Any]:
        if not sys_id:
            return {"profile": None, "preservers": [], "exclusions": []}
        name = Table(self.source, "clone_profile").get(sys_id, ["name"])["name"]
        preservers = self._members("clone_profile_preservers", sys_id, "preserver", "clone_data_preserver", ["name", "table", "condition"])
        exclusions = self._members("clone_profile_exclusions", sys_id, "exclusion", "clone_data_exclude", ["name"])
        return {
            "profile": name,
            "preservers": [{"name": row["name"], "table": row["table"], "condition": row["condition"]} for row in preservers],
            "exclusions": [row["name"] for row in exclusions],
        }

    def _members(self, link: str, profile: str, reference: str, table: str, fields: t.Sequence[str]) -> t.List[Row]:
        links = Table(self.source, link).list("profile=" + profile, [reference]).rows
        rows = Table(self.source, table).by_id([row[reference] for row in links if row[reference]], fields)
        return sorted(rows.values(), key=lambda row: row["name"])

    def _log(self, found: Found) -> t.Tuple[t.List[t.Dict[str, t.Any]], str]:
        table = found.table
        try:
            rows = Table(self.source, table.log).list(equals(**{table.log_clone: found.sys_id}), ["message", "sys_created_on"]).rows
        except (StatusError, FieldsMissing) as error:
            if isinstance(error, StatusError) and error.transient:
                raise
            return [], str(error)
        rows.sort(key=lambda row: (row["sys_created_on"], row["sys_id"]))
        return [{"time": iso(row["sys_created_on"]), "message": row["message"]} for row in rows], ""

    def _backup(self, log: t.Iterable[t.Dict[str, t.Any]], reason: str) -> t.Dict[str, t.Any]:
        times = set()
        for line in log:
            match = self.backup_pattern.search(line["message"])
            if match:
                times.add((iso(match.group("started")), iso(match.group("completed"))))
        started, completed = None, None  # type: t.Tuple[t.Optional[str], t.Optional[str]]
        if len(times) == 1:
            started, completed = times.pop()
            if not started or not completed or completed < started:
                started, completed, reason = None, None, "the times in the log make no sense"
        elif times:
            reason = "the log names {} different backups".format(len(times))
        elif not reason:
            reason = "no line of the log matches backup_pattern"
        return {"backup_started": started, "backup_completed": completed, "backup_unknown_because": None if completed else reason}


def _stage(log: t.Iterable[t.Dict[str, t.Any]]) -> t.Optional[str]:
    """Return the stage that the log named last; of those of the same second, the later one by the documentation."""
    named = [(line["time"] or "", _furthest(line["message"])) for line in log]
    last = max([each for each in named if each[1] >= 0] + [("", -1)])
    return STAGES[last[1]] if last[1] >= 0 else None


def target_data(clone: t.Mapping[str, t.Any], never_started: bool, readable: bool) -> str:
    """Say what the target holds: its own data (C(untouched)), the clone (C(replaced)), its own again (C(rolled_back)), or C(unknown).

    A clone that has ended early left the target alone when nothing, neither its record nor any line of its log, names the node repoint
    or a later stage. A log that cannot be read, or that names no stage although the clone had started, proves nothing.
    """
    phase = clone["phase"]
    if phase == "waiting":
        return "untouched"
    if phase == "completed":
        return "replaced"
    if "roll" in fold(clone["state"]):
        return "rolled_back" if fold(clone["state"]) == "rolledback" else "unknown"
    reached = max([_furthest(clone["stage"] or "")] + [_furthest(line["message"]) for line in clone["log"]])
    if reached >= NODE_REPOINT:
        return "replaced" if reached > NODE_REPOINT else "unknown"
    if not readable or phase == "unknown" or clone["completed"] or (reached < 0 and not never_started):
        return "unknown"
    return "untouched"


def deadlines(clone: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Return whether the clone can still be canceled, and until when it can be rolled back, if its target is sharded or not."""
    cancelable = clone["phase"] in ("waiting", "running") and clone["target_data"] == "untouched"
    until = {"roll_back_until": ROLL_BACK_DAYS, "roll_back_until_if_sharded": ROLL_BACK_DAYS_SHARDED}
    ended = clone["completed"] if clone["phase"] == "completed" else None
    return dict({name: stamp_of(seconds_of(ended) + days * DAY) if ended else None for name, days in until.items()}, cancelable=cancelable)


def _furthest(text: str) -> int:
    """Return the number of the latest stage that a text names, or -1."""
    named = [number for number, name in enumerate(STAGES) if re.search(r"\b{}\b".format(re.escape(name)), text, re.IGNORECASE)]
    return max(named + [-1])


# Following


class Follower:
    """Looks again and again until a clone is as far as it should be."""

    def __init__(
        self,
        clones: Clones,
        target: t.Optional[Client],
        progress: Progress,
        timeout: float,
        interval: float,
        grace: float,
        lead: float = 0,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.clones = clones
        self.target = target
        self.progress = progress
        self.timeout = timeout
        self.interval = interval
        self.grace = grace
        self.lead = lead
        self.cleanup_running = None  # type: t.Optional[bool]
        self.warnings = []  # type: t.List[str]
        self._sleep = sleep
        self._completed_seen = None  # type: t.Optional[float]
        self._login_pause = interval

    def follow(self, number: t.Optional[str], name: t.Optional[str], goal: str) -> t.Dict[str, t.Any]:
        """Return the clone once it has reached the goal (scheduled, due, active, backup, completed or ready)."""
        deadline = time.monotonic() + self.timeout
        found = None  # type: t.Optional[Found]
        clone = {}  # type: t.Dict[str, t.Any]
        while True:
            pause, trouble = self.interval, ""
            try:
                found = found or self.clones.find(number, name)
                clone = self.clones.read(found)
                self._refuse_end(clone)
                trouble = self._missing(clone, goal)
                if not trouble:
                    self.progress.report(clone["state"], clone["stage"] or "")
                    return clone
            except RestError as error:
                # An instance comes and goes during a clone; only what will not change by waiting ends it.
                if not error.transient:
                    raise
                trouble = str(error)
            if self.cleanup_running is None and self._login_pause > self.interval:
                pause = self._login_pause
            self.progress.report(clone.get("state", "unknown"), clone.get("stage") or trouble)
            if time.monotonic() + pause > deadline:
                raise TimedOut(
                    "clone {}".format(clone.get("number") or number or "to {}".format(name)),
                    "it was not {} within {:g} s. State: {}. {}".format(goal, self.timeout, clone.get("state", "never seen"), trouble),
                    "Run it again to go on waiting.",
                    clone=clone,
                )
            self._sleep(pause)

    def _refuse_end(self, clone: t.Dict[str, t.Any]) -> None:
        if clone["phase"] in ("failed", "canceled"):
            raise CloneFailed(
                "clone {}".format(clone["number"]),
                "its state is {}{}.".format(clone["state"], ": " + clone["message"] if clone["message"] else ""),
                "Look at its log on {}.".format(self.clones.source.name),
                clone=clone,
            )
        if clone["phase"] == "unknown":
            warning = "The state {} of clone {} is unknown; waiting goes on.".format(clone["state"], clone["number"])
            if warning not in self.warnings:
                self.warnings.append(warning)

    def _missing(self, clone: t.Dict[str, t.Any], goal: str) -> str:
        """Return what is still missing from the goal, or nothing."""
        phase = clone["phase"]
        if goal == "scheduled" and (phase in ("running", "completed") or fold(clone["state"]) == "scheduled"):
            return ""
        if goal in ("active", "due") and phase in ("running", "completed"):
            return ""
        if goal == "due":
            return self._not_due(clone)
        if goal == "backup" and phase in ("running", "completed"):
            if not clone["backup_completed"] and phase == "completed":
                raise EdgeError("clone {}".format(clone["number"]), "it is not known which backup it used: {}".format(clone["backup_unknown_because"]),
                                "Look at its log on {} and give the end of the backup in UTC.".format(self.clones.source.name), clone=clone)
            return "" if clone["backup_completed"] else clone["backup_unknown_because"]
        if phase != "completed":
            return "It is on hold: {}".format(clone["message"]) if fold(clone["state"]) == "hold" else "It has not come so far."
        return self._not_ready(clone) if goal == "ready" else ""

    def _not_due(self, clone: t.Dict[str, t.Any]) -> str:
        if not clone["scheduled"]:
            return "It has no scheduled start."
        left = seconds_of(clone["scheduled"]) - self.lead - self._now()
        return "It is not due for another {:.0f} s.".format(left) if left > 0 else ""

    def _now(self) -> float:
        """Return the time by the clock of the source, which starts the clone."""
        return time.time() + (self.clones.source.clock_skew or 0)

    def _not_ready(self, clone: t.Dict[str, t.Any]) -> str:
        if self.target is None:
            raise EdgeError("wait_for", "ready needs target_instance.")
        self._completed_seen = self._completed_seen or time.monotonic()
        try:
            running = cleanup_runs(self.target)
            called = instance_name(self.target)
        except LoginRefused as error:
            # The source's passwords may be in place now. Tries become rare, because accounts lock.
            self._login_pause = min(LONGEST_LOGIN_PAUSE, max(self.interval, self._login_pause * 2))
            self.cleanup_running = None
            return str(error)
        self._login_pause = self.interval
        if called and clone["target"] and called.lower() != clone["target"].lower():
            return "The target calls itself {}, not {}.".format(called, clone["target"])
        seen, self.cleanup_running = bool(self.cleanup_running), running
        if running:
            return "Its cleanup scripts are still running."
        # The job may start a little after the state says Completed; who has seen it end need not wait for that.
        if seen or self._age(clone) >= self.grace:
            return ""
        return "Its cleanup scripts may still start."

    def _age(self, clone: t.Dict[str, t.Any]) -> float:
        """Return the seconds since the clone was completed, by the clock of the source."""
        seen = time.monotonic() - (self._completed_seen or 0)
        if not clone["completed"]:
            return seen
        return max(seen, self._now() - seconds_of(clone["completed"]))


def cleanup_runs(target: Client) -> bool:
    """Say whether the job that runs the cleanup scripts is there; it is deleted when it ends."""
    listing = Table(target, "sys_trigger").list("name=" + CLEANUP_JOB, ["name", "state"])
    if listing.hidden:
        raise EdgeError(target.name, "its scheduled jobs (sys_trigger) may not be read.", "Give the account read access to them.")
    return bool(listing.rows)
