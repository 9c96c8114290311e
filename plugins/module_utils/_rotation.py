# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Moves values from one encryption key to another with the rotation jobs of the instance, which its proxies carry out.

A job is one record of C(sysauto_encryption_job), found by its name. Executed again it goes on where it was interrupted, so starting, attaching and resuming
are one thing here. An execution counts as done only in a state that is known to mean that, and when a scan finds nothing under an old key.
"""

import datetime
import re
import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._encryption_keys import EncryptionKeys, require_columns
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client
from ansible_collections.edge_encryption.clone.plugins.module_utils._key_usage import Reader, Scope, Usage, scan
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import refuse_hidden
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import Row, Table, equals, renamed

JOBS, EXECUTIONS, CHUNKS = "sysauto_encryption_job", "sys_encryption_job_execution", "sys_encryption_job_execution_chunk"
# The documentation names tables, jobs and buttons, but neither columns nor values.
JOB_TYPES = {"single": "single_key_rotation", "mass": "mass_key_rotation", "attachment": "attachment_key_rotation"}
FIELDS = {
    "job_name": "name",
    "job_type": "job_type",
    "job_key": "key",
    "job_table": "table",
    "job_active": "active",
    "job_run_type": "run_type",
    "job_run_start": "run_start",
    "execution_job": "job",
    "execution_state": "state",
    "execution_done": "processed",
    "execution_total": "total",
    "failure_execution": "execution",
    "failure_state": "state",
    "failure_table": "table",
    "failure_record": "record",
    "failure_reason": "error",
}
STATES = {
    "running": ["pending", "ready", "requested", "queued", "scheduled", "started", "running", "active", "processing", "in progress", "work in progress"],
    "interrupted": ["interrupted", "stopped", "paused", "suspended", "canceled", "cancelled", "incomplete", "failed", "error"],
    "done": ["complete", "completed", "complete with errors", "completed with errors", "finished", "done", "successful"],
    "failure": ["failed", "error"],
}
_TIME = "%Y-%m-%d %H:%M:%S"
_LONG_WORD = re.compile(r"\S{40,}")


class NotRotated(EdgeError):
    """Values are left under the old key, or nobody knows."""


class Settings(t.NamedTuple):
    """What is to be rotated, and how."""

    job_type: str
    alias: t.Optional[str]
    table: t.Optional[str]
    name: str
    start: bool
    scan_limit: int
    audit: bool
    alias_pattern: t.Optional[str]
    allow_unknown: bool
    timeout: float
    start_timeout: float
    poll_interval: float
    restarts: int
    fields: t.Mapping[str, str]
    states: t.Mapping[str, t.Sequence[str]]
    job_types: t.Mapping[str, str]
    key_fields: t.Mapping[str, str]
    configuration_fields: t.Mapping[str, str]


class Rotation:
    """One rotation job of one instance."""

    def __init__(self, client: Client, settings: Settings, progress: Progress, sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.client = client
        self.settings = settings
        self.progress = progress
        self.fields = renamed(FIELDS, settings.fields)
        self.keys = EncryptionKeys(client, settings.key_fields, sleep)
        self._types = renamed(JOB_TYPES, settings.job_types, "job_types")
        self._states = _states(settings.states)
        self._sleep = sleep
        self._restarts = settings.restarts
        self._began = time.monotonic()

    def run(self, check: bool) -> t.Dict[str, t.Any]:
        """Rotate, and return what was done.

        Raises:
            NotRotated: records failed, or values are left under an old key. Its context has C(failed_records).
            EdgeError: the job is in a state that is not known, cannot be started, or takes too long.
        """
        keys = self.keys.list()
        old = self._old(keys)
        before = self._scan(keys)
        execution = self._latest()
        self._refuse_unknown(before)
        left = before.under(old)
        result = {"changed": False, "old_aliases": sorted(old), "before": left, "remaining": left, "job": self.settings.name,
                  "state": execution and execution["state"], "done": 0, "total": 0, "seconds": 0.0,
                  "failed_records": [], "usage": before.as_dict()}  # type: t.Dict[str, t.Any]
        under_way = execution if execution is not None and self._kind(execution) == "running" else None
        settled = before.complete or (execution is not None and self._kind(execution) == "done" and not self._failures(execution))
        if left == 0 and settled and under_way is None:
            return result
        self._refuse_missing(keys, before, old)
        if check:
            return dict(result, changed=True)
        execution = self._follow(under_way or self._execute())
        after, failures = self._scan(keys), self._failures(execution)
        # A proxy learns of a new default some seconds later. What it encrypted until then is under the old key.
        while after.under(old) and not failures and self._may_restart():
            execution = self._follow(self._execute())
            after, failures = self._scan(keys), self._failures(execution)
        result.update(changed=True, state=execution["state"], done=_number(execution["done"]), total=_number(execution["total"]),
                      seconds=round(time.monotonic() - self._began, 1), remaining=after.under(old), failed_records=failures, usage=after.as_dict())
        self._refuse_unknown(after)
        if failures or after.under(old):
            raise NotRotated(
                self.settings.name,
                "{} records failed, and {} values are left under {}.".format(len(failures), after.under(old), ", ".join(sorted(old))),
                "Keep the old keys. Correct the records and run the rotation again, which takes what is left.", **result
            )
        return result

    # What is rotated

    def _old(self, keys: t.Sequence[t.Mapping[str, t.Any]]) -> t.Set[str]:
        defaults = {key["alias"] for key in keys if key["default"]}
        if not defaults:
            raise EdgeError(self.client.name, "it has no default encryption key to rotate to.", "Make a key the default first.")
        if self.settings.job_type != "single":
            return {key["alias"] for key in keys} - defaults
        alias = self.settings.alias or ""
        if alias in defaults:
            raise EdgeError("key " + alias, "is a default key, so nothing can be rotated away from it.", "Make another key of its size the default first.")
        if alias not in {key["alias"] for key in keys}:
            raise EdgeError("key " + alias, "is not in the list of the instance, so no rotation job can name it.")
        return {alias}

    def _scan(self, keys: t.Sequence[t.Mapping[str, t.Any]]) -> Usage:
        attachments = self.settings.job_type == "attachment"
        scope = Scope(not attachments, self.settings.audit, attachments, (self.settings.table,) if self.settings.table else (), self.settings.scan_limit)
        reader = Reader({key["alias"] for key in keys}, self.settings.alias_pattern)
        return scan(self.client, reader, scope, self.settings.configuration_fields, self.progress)

    def _refuse_unknown(self, usage: Usage) -> None:
        if usage.unknowns and not self.settings.allow_unknown:
            places = ", ".join("{}.{} ({})".format(table, field, number) for (table, field), number in sorted(usage.unknown.items()))
            raise NotRotated(
                self.client.name, "{} values name no key that the instance lists, so it cannot be told what would be left: {}.".format(usage.unknowns, places),
                "Say with alias_pattern how a value names its key, or accept them with allow_unknown if they are clear text from before the encryption.",
                usage=usage.as_dict(),
            )  # fmt: skip

    def _refuse_missing(self, keys: t.Sequence[t.Mapping[str, t.Any]], usage: Usage, old: t.Set[str]) -> None:
        """A proxy decrypts with the old key and encrypts with the new one, so it needs both."""
        needed = [key for key in keys if key["default"] or (key["alias"] in old and usage.under({key["alias"]}))]
        for key in needed:
            if not key["available"]:
                raise EdgeError(
                    "key " + key["alias"], "is {}, but every proxy needs it for the rotation.".format(key["status"] or "without a status"),
                    "It is not on {}.".format(", ".join(key["lacking"]) or "any proxy that is online"), key=key,
                )  # fmt: skip

    # The job

    def _execute(self) -> Row:
        """Execute the job now, and return its execution once the instance has begun it."""
        job = self._job()
        before = {(row["sys_id"], row["state"]) for row in self._executions(job["sys_id"])}
        if self.settings.start:
            start = _after(job.get(self.fields["job_run_start"], ""))
            Table(self.client, JOBS).update(job["sys_id"], {self.fields["job_active"]: "true", self.fields["job_run_start"]: start})
        deadline = time.monotonic() + self.settings.start_timeout
        while True:
            rows = self._executions(job["sys_id"])
            if {(row["sys_id"], row["state"]) for row in rows} != before:
                return rows[-1]
            if time.monotonic() >= deadline:
                raise EdgeError(
                    self.settings.name, "the instance did not begin the job within {:.0f} s.".format(self.settings.start_timeout),
                    "Open it in Edge Encryption > Maintenance and press Execute Now, then run this again: it takes up what it finds.",
                )  # fmt: skip
            self.progress.report("waiting until the job begins", self.settings.name)
            self._sleep(self.settings.poll_interval)

    def _job(self) -> Row:
        table, fields = Table(self.client, JOBS), self.fields
        wanted = {fields["job_name"]: self.settings.name, fields["job_type"]: self._types[self.settings.job_type], fields["job_run_type"]: "once"}
        if self.settings.job_type == "single":
            wanted[fields["job_key"]] = (self.keys.find(self.settings.alias or "") or {}).get("sys_id", "")
        if self.settings.job_type == "attachment":
            wanted[fields["job_table"]] = self.settings.table or ""
        found = table.one(equals(**{fields["job_name"]: self.settings.name}), sorted(wanted), [fields["job_run_start"]])
        if found is not None:
            other = sorted(name for name, value in wanted.items() if found[name] != value and name != fields["job_run_type"])
            if other:
                raise EdgeError(self.settings.name, "the instance has a job of this name with other {}.".format(", ".join(other)), "Choose another name.")
            return found
        if not self.settings.start:
            raise EdgeError(self.settings.name, "there is no such job.", "Make it in Edge Encryption > Maintenance, or let this module do it with start.")
        require_columns(self.client, JOBS, list(wanted) + [fields["job_active"], fields["job_run_start"]])
        # Made inactive, so that it runs when it is told to and not before.
        return table.create(dict(wanted, **{fields["job_active"]: "false"}), key=[fields["job_name"]])

    def _latest(self) -> t.Optional[Row]:
        job = Table(self.client, JOBS).one(equals(**{self.fields["job_name"]: self.settings.name}), [self.fields["job_name"]])
        rows = self._executions(job["sys_id"]) if job else []
        return rows[-1] if rows else None

    def _executions(self, job: str) -> t.List[Row]:
        names = {"state": self.fields["execution_state"], "done": self.fields["execution_done"], "total": self.fields["execution_total"]}
        listing = Table(self.client, EXECUTIONS).list(equals(**{self.fields["execution_job"]: job}), sorted(names.values()) + ["sys_created_on"])
        refuse_hidden(self.client, EXECUTIONS, listing)
        rows = [dict({name: row[column] for name, column in names.items()}, sys_id=row["sys_id"], made=row["sys_created_on"], job=job) for row in listing.rows]
        return sorted(rows, key=lambda row: row["made"])

    def _follow(self, execution: Row) -> Row:
        """Return the execution when it is done; one that is interrupted is executed again."""
        deadline = time.monotonic() + self.settings.timeout
        while True:
            kind = self._kind(execution)
            self.progress.report("rotating", execution["state"], _number(execution["done"]), _number(execution["total"]) or None)
            if kind == "done":
                return execution
            if kind == "interrupted":
                if not self._may_restart():
                    raise EdgeError(
                        self.settings.name, "the job is {} after {} of {} records.".format(execution["state"], execution["done"], execution["total"]),
                        "See that a proxy with both keys is online, then run this again: the job goes on where it stopped.",
                        failed_records=self._failures(execution),
                    )  # fmt: skip
                execution = self._execute()
                continue
            if time.monotonic() >= deadline:
                raise EdgeError(
                    self.settings.name, "the job is still {} after {:.0f} s, {} of {} records are done.".format(
                        execution["state"], self.settings.timeout, execution["done"], execution["total"]),
                    "It goes on by itself. Run this again to follow it further.",
                )  # fmt: skip
            self._sleep(self.settings.poll_interval)
            execution = next(row for row in self._executions(execution["job"]) if row["sys_id"] == execution["sys_id"])

    def _may_restart(self) -> bool:
        self._restarts -= 1
        return self._restarts >= 0

    def _kind(self, execution: Row) -> str:
        state = _folded(execution["state"])
        for kind in ("running", "interrupted", "done"):
            if state in self._states[kind]:
                return kind
        raise EdgeError(
            self.settings.name, "the state of its execution is {!r}, which is not known, so nothing is concluded from it.".format(execution["state"]),
            "Look at the job in Edge Encryption > Maintenance. Say what the state means with the option states.", state=execution["state"],
        )  # fmt: skip

    def _failures(self, execution: Row) -> t.List[t.Dict[str, str]]:
        names = {"table": self.fields["failure_table"], "sys_id": self.fields["failure_record"], "reason": self.fields["failure_reason"]}
        state, parent = self.fields["failure_state"], self.fields["failure_execution"]
        listing = Table(self.client, CHUNKS).list(equals(**{parent: execution["sys_id"]}), sorted(set(names.values()) | {state}))
        refuse_hidden(self.client, CHUNKS, listing)
        rows = [row for row in listing.rows if _folded(row[state]) in self._states["failure"]]
        # A reason may quote a value; what looks like one does not get into the result.
        return [{name: _LONG_WORD.sub("...", row[column]) for name, column in names.items()} for row in rows]


def _states(given: t.Mapping[str, t.Sequence[str]]) -> t.Dict[str, t.Set[str]]:
    unknown = sorted(set(given) - set(STATES))
    if unknown:
        raise EdgeError("states", "has {}, which is not known.".format(", ".join(unknown)), "Use {}.".format(", ".join(sorted(STATES))))
    found = {kind: {_folded(state) for state in list(given.get(kind) or ()) + STATES[kind]} for kind in STATES}
    for kind, states in given.items():
        # What somebody says of a state replaces what is assumed of it.
        for other in ("running", "interrupted", "done"):
            if kind in ("running", "interrupted", "done") and other != kind:
                found[other] -= {_folded(state) for state in states}
    return found


def _folded(state: str) -> str:
    return " ".join(state.lower().replace("_", " ").replace("-", " ").split())


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _after(previous: str) -> str:
    """Return now in UTC, or a second later where that is when the job ran last: an update that changes nothing starts nothing."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, tzinfo=None)
    if now.strftime(_TIME) <= previous:
        now = datetime.datetime.strptime(previous, _TIME) + datetime.timedelta(seconds=1)
    return now.strftime(_TIME)
