# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clone engine: runs on the source, from a request to the target's cleanup job, and back again.

A clone is one row in ``clone_instance``, in ``sn_instance_clone_request``, or in both under one sys_id (knob ``clone_ui``).
What a restart must not lose is in that row and in ``clones/<sys_id>.json``; a stage that was interrupted begins again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import typing as t
from pathlib import Path

import aiohttp

from . import rotation
from .backups import ON_DEMAND, Backups
from .cleanup import Cleanup
from .edge import sweep
from .knobs import STAGES
from .query import utc_now
from .records import Change, Records
from .rules import CLONE_TABLES, NUMBER_FIELD
from .schema import quote
from .store import Row, Store

if t.TYPE_CHECKING:
    from .instance import Instance

LOG_TABLE = {"clone_instance": "clone_log", "sn_instance_clone_request": "sn_instance_clone_log"}
_UI = {"legacy": CLONE_TABLES[:1], "console": CLONE_TABLES[1:], "both": CLONE_TABLES}
_TICK = 0.02
_USER_TABLES = ("sys_user", "sys_user_role", "sys_user_has_role", "sys_user_group", "sys_user_grmember", "sys_group_has_role")
_LARGE_TABLES = ("sys_audit", "syslog")
# Rows of these tables are the target's whatever the clone brings: its own history of clones.
_OWN_TABLES = (*CLONE_TABLES, *LOG_TABLE.values())
_OWN_PROPERTIES = ("instance_name", "glide.db.clone.allow_clone_target")


class Failed(Exception):
    """The clone ends in the state Error."""


class Canceled(Exception):
    """Somebody canceled the clone."""


class Engine:
    """The engine of one instance; clones whose source is another instance are not its business."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.backups = Backups(instance)
        self.cleanup = Cleanup(instance)
        self.directory = instance.directory / "clones"
        self.directory.mkdir(exist_ok=True)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        instance.extra_rules.append(self._prepare)
        instance.records.rules = (*instance.records.rules, self._prepare)

    # The request and its row

    @property
    def tables(self) -> tuple[str, ...]:
        return _UI[self.instance.knobs["clone_ui"]]

    def _prepare(self, records: Records, change: Change) -> None:
        """Business rule: number a new request, fill in its source, and mirror what users write to the other table."""
        table, new = change.table, change.new
        if table not in CLONE_TABLES or new is None:
            return
        if change.old is None:
            number = new[NUMBER_FIELD[table]] or "CLONE{:07d}".format(1001 + max(records.store.count(name) for name in CLONE_TABLES))
            new[NUMBER_FIELD[table]] = number
            own = records.store.first("instance", instance_name=self.instance.name)
            new["source_instance"] = new["source_instance"] or (own["sys_id"] if own else "")
        if self.instance.knobs["clone_ui"] == "both":
            other = CLONE_TABLES[1 - CLONE_TABLES.index(table)]
            records.store.put(other, {**new, NUMBER_FIELD[other]: new[NUMBER_FIELD[table]]})

    def request(self, body: t.Mapping[str, t.Any]) -> Row:
        """Insert a request: ``target`` is an instance name, everything else goes into the row."""
        values = {name: str(value) for name, value in body.items() if name != "target"}
        target = self.instance.store.first("instance", instance_name=str(body.get("target", "")))
        values.setdefault("target_instance", target["sys_id"] if target else str(body.get("target", "")))
        values = self.instance.records.normalise(self.tables[0], {"state": "Requested", **values})
        return self.instance.records.insert(self.tables[0], values, "admin")

    def _row(self, sys_id: str) -> Row:
        row = self.instance.store.get(self.tables[0], sys_id)
        if row is None:
            raise Canceled("the request was deleted")
        return row

    def _set(self, sys_id: str, **values: str) -> None:
        for table in self.tables:
            if self.instance.store.get(table, sys_id):
                self.instance.records.update(table, sys_id, values, "system")

    def _log(self, sys_id: str, message: str, level: str = "info") -> None:
        for table in self.tables:
            self.instance.put_raw(LOG_TABLE[table], {"clone": sys_id, "message": message, "level": level})

    def _load(self, sys_id: str) -> dict[str, t.Any]:
        path = self.directory / (sys_id + ".json")
        return json.loads(path.read_text()) if path.exists() else {}

    def _save(self, sys_id: str, state: dict[str, t.Any]) -> None:
        partial = self.directory / (sys_id + ".partial")
        partial.write_text(json.dumps(state, indent=2))
        partial.replace(self.directory / (sys_id + ".json"))

    def listing(self) -> list[dict[str, t.Any]]:
        rows = self.instance.store.select(self.tables[0], order="a0.rowid")
        number = NUMBER_FIELD[self.tables[0]]
        return [{**row, "number": row[number], "engine": self._load(row["sys_id"])} for row in rows]

    # The clock

    async def run(self) -> None:
        """Look for work for ever."""
        while True:
            await self.tick()
            await asyncio.sleep(_TICK)

    async def tick(self) -> None:
        sweep(self.instance)
        rotation.tick(self.instance)
        self._spawn("cleanup", self.cleanup.tick)
        own = self.instance.store.first("instance", instance_name=self.instance.name)
        for row in self.instance.store.select(self.tables[0], "a0.source_instance = ?", [own["sys_id"] if own else ""]):
            sys_id, state = row["sys_id"], row["state"].lower()
            if state == "requested":
                self._spawn(sys_id, lambda sys_id=sys_id: self._validate(sys_id))  # type: ignore[misc]
            elif state == "scheduled" and row["scheduled"] <= utc_now() and not self._busy(row):
                self._set(sys_id, state="Active", started=utc_now())
                self._log(sys_id, "Clone started")
            elif state == "active":
                self._spawn(sys_id, lambda sys_id=sys_id: self._clone(sys_id))  # type: ignore[misc]
            elif state == "completed" and self._load(sys_id).get("cleanup") == "waiting":
                self._spawn(sys_id, lambda sys_id=sys_id: self._release_cleanup(sys_id))  # type: ignore[misc]
            elif state in ("rollback requested", "rolling back"):
                self._spawn(sys_id, lambda sys_id=sys_id: self._roll_back(sys_id))  # type: ignore[misc]

    def _spawn(self, name: str, work: t.Callable[[], t.Coroutine[t.Any, t.Any, None]]) -> None:
        task = self._tasks.get(name)
        if task is not None and task.done():
            task.result()  # an error of the lab itself must not pass unnoticed
            task = None
        if task is None:
            self._tasks[name] = asyncio.ensure_future(self._unless_deleted(work))

    @staticmethod
    async def _unless_deleted(work: t.Callable[[], t.Coroutine[t.Any, t.Any, None]]) -> None:
        with contextlib.suppress(Canceled):  # somebody deleted the request meanwhile
            await work()

    def _busy(self, row: Row) -> bool:
        """Tell whether another clone to the same target is under way."""
        others = self.instance.store.find(self.tables[0], target_instance=row["target_instance"])
        return any(other["state"].lower() in ("active", "rolling back") for other in others)

    # Request -> Scheduled or Hold

    async def _validate(self, sys_id: str) -> None:
        row = self._row(sys_id)
        store = self.instance.store
        target = store.get("instance", row["target_instance"]) or store.first("instance", instance_name=row["target_instance"])
        reason = await self._objection(row, target)
        if self._row(sys_id)["state"].lower() != "requested":
            return
        if reason or target is None:
            self._set(sys_id, state="Hold", message=reason)
            self._log(sys_id, reason, "error")
            return
        self._set(sys_id, state="Scheduled", message="", target_instance=target["sys_id"], scheduled=row["scheduled"] or utc_now())
        self._log(sys_id, "Clone scheduled for {} (UTC)".format(row["scheduled"] or utc_now()))

    async def _objection(self, row: Row, target: Row | None) -> str:
        """Return why the request cannot be scheduled, or nothing."""
        knobs = self.instance.knobs
        if target is None:
            return "The target instance is not known"
        name = target["instance_name"]
        if target["production"] == "true" or name == self.instance.name:
            return "The target {} is a production instance".format(name)
        if knobs["require_security_token"] and not row["security_token"]:
            return "The target {} has not been authenticated".format(name)
        if knobs["clone_min_days"]:
            recent = self.instance.records.matching(
                self.tables[0],
                "sys_id!={}^target_instance={}^stateINScheduled,Active,Completed^scheduledRELATIVEGT@day@ago@{}".format(
                    row["sys_id"], target["sys_id"], knobs["clone_min_days"]
                ),
            )
            if recent:
                return "Clones to {} must be {} days apart".format(name, knobs["clone_min_days"])
        try:
            facts = await self._ask(target, "GET", "/target")
        except Failed as error:
            return str(error)
        if facts["production"]:
            return "The target {} is a production instance".format(name)
        if not facts["allow_clone_target"]:
            return "glide.db.clone.allow_clone_target is not true on {}".format(name)
        return ""

    async def _ask(self, target: Row, method: str, path: str, body: t.Any = None) -> t.Any:
        """Call the control port of the target."""
        name = target["instance_name"]
        peer = self.instance.peers.get(name)
        if peer is None:
            raise Failed("The target {} cannot be reached: no peer of that name".format(name))
        try:
            timeout = aiohttp.ClientTimeout(total=None, connect=5)
            url = peer["control_url"] + path
            async with aiohttp.ClientSession(timeout=timeout) as session, session.request(method, url, json=body) as answer:
                if answer.status >= 400:
                    raise Failed("The target {} refused: {}".format(name, await answer.text()))
                return await answer.json()
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise Failed("The target {} cannot be reached: {}".format(name, error)) from None

    # Active -> Completed, Error or Canceled

    def _seconds(self, stage: str) -> float:
        return float(self.instance.knobs["stage_seconds"].get(stage, 0)) / float(self.instance.knobs["clone_speed"])

    async def _clone(self, sys_id: str) -> None:
        state = self._load(sys_id) or {"stage": STAGES[0], "cleanup": "none"}
        try:
            for stage in STAGES[STAGES.index(state["stage"]) :]:
                self._check(sys_id)
                state["stage"] = stage
                self._save(sys_id, state)
                self._set(sys_id, stage=stage)
                self._log(sys_id, "Stage started: {}".format(stage))
                if self.instance.knobs["clone_error_stage"] == stage:
                    raise Failed("Stage {} failed".format(stage))
                await self._stage(sys_id, stage, state)
                self._save(sys_id, state)
        except Canceled:
            self._log(sys_id, "Clone canceled")
        except (Failed, OSError, sqlite3.Error) as error:
            self._log(sys_id, str(error), "error")
            self._set(sys_id, state="Error", message=str(error))
        else:
            self._log(sys_id, "Clone completed")
            self._set(sys_id, state="Completed", completed=utc_now(), stage="")
        # Not in a finally: an engine that is stopped in the middle goes on with the build.
        self._build(sys_id).unlink(missing_ok=True)

    def _check(self, sys_id: str) -> None:
        if self._row(sys_id)["state"].lower() == "canceled":
            raise Canceled()

    async def _wait(self, sys_id: str, stage: str) -> None:
        """Let the stage take its time, in ten steps; a step notices that the clone was canceled."""
        for step in range(1, 11):
            await asyncio.sleep(self._seconds(stage) / 10)
            self._check(sys_id)
            if stage == "Restore" and step < 10 and step % 3 == 0:
                self._log(sys_id, "Restore: {} % complete".format(step * 10))

    def _build(self, sys_id: str) -> Path:
        """The database that the target is going to have."""
        return self.directory / (sys_id + ".sqlite")

    async def _stage(self, sys_id: str, stage: str, state: dict[str, t.Any]) -> None:
        row = self._row(sys_id)
        target = self.instance.store.get("instance", row["target_instance"])
        if target is None:
            raise Failed("The target instance is not known")
        if stage == "Backup" and "backup" not in state:
            await self._backup(sys_id, row, state)
        elif stage == "Node repoint":
            # The build is gone when the target took it before the engine was interrupted.
            if self._build(sys_id).exists():
                keep = Path(self.instance.peers[target["instance_name"]]["dir"]) / "rollback" / (sys_id + ".sqlite")
                order = {"path": str(self._build(sys_id)), "keep": str(keep), "seconds": self._seconds(stage)}
                await self._ask(target, "POST", "/target/repoint", order)
        else:
            await self._wait(sys_id, stage)
        if stage == "Clone build configuration":
            state["plan"] = self._plan(row)
        elif stage == "Preflight checks":
            reason = await self._objection_now(target)
            if reason:
                raise Failed(reason)
        elif stage == "Restore":
            self._restore(sys_id, state["backup"]["id"])
        elif stage == "Exclusions":
            self._exclude(sys_id, row, state["plan"])
        elif stage == "Preservers":
            await self._preserve(sys_id, row, target, state["plan"])
        elif stage == "Scheduling scripts":
            await self._order_cleanup(target, state, ready=False)
            state["cleanup"] = "waiting"

    async def _objection_now(self, target: Row) -> str:
        facts = await self._ask(target, "GET", "/target")
        return "" if facts["allow_clone_target"] else "{} is no clone target".format(target["instance_name"])

    def _plan(self, row: Row) -> dict[str, list[t.Any]]:
        """Return the preservers, exclusions and scripts of the request's profile (or the default one), else all that are defined."""
        store = self.instance.store
        profile = store.get("clone_profile", row["profile"]) or store.first("clone_profile", default_profile="true")

        def of(link_table: str, field: str, table: str, active: bool = False) -> list[Row]:
            links = store.find(link_table, profile=profile["sys_id"]) if profile else []
            if active:
                links = sorted((link for link in links if link["active"] == "true"), key=lambda link: int(link["order"] or 0))
            linked = [store.get(table, link[field]) for link in links]
            return [found for found in linked if found] if links or profile else store.select(table)

        preservers = of("clone_profile_preservers", "preserver", "clone_data_preserver")
        exclusions = of("clone_profile_exclusions", "exclusion", "clone_data_exclude")
        scripts = of("clone_profile_cleanup_scripts", "cleanup_script", "clone_cleanup_script", active=True)
        if profile and not preservers and not exclusions:
            preservers, exclusions = store.select("clone_data_preserver"), store.select("clone_data_exclude")
        return {
            "preservers": [{"table": item["table"], "condition": item["condition"]} for item in preservers],
            "exclusions": [item["name"] for item in exclusions],
            "scripts": [item["script"] for item in scripts if item["active"] == "true"],
        }

    async def _backup(self, sys_id: str, row: Row, state: dict[str, t.Any]) -> None:
        backup = None if row["backup_option"] == ON_DEMAND else self.backups.newest()
        if backup is None:
            self._log(sys_id, "On-demand backup started")
            backup = await self.backups.take(self._seconds("Backup"), ON_DEMAND)
        else:
            await self._wait(sys_id, "Backup")
        state["backup"] = backup
        self._log(
            sys_id,
            "Backup {} of {}: started {}, completed {} (UTC)".format(
                backup["id"], self.instance.name, backup["started"], backup["completed"]
            ),
        )

    def _restore(self, sys_id: str, backup: str) -> None:
        source = sqlite3.connect(str(self.backups.path(backup)))
        target = sqlite3.connect(str(self._build(sys_id)))
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()

    def _exclude(self, sys_id: str, row: Row, plan: dict[str, t.Any]) -> None:
        """Empty the excluded tables, with their children, in the database that the target is going to have."""
        build = Store(self._build(sys_id))
        names = list(plan["exclusions"])
        if row["exclude_large_data"] == "true":
            names += _LARGE_TABLES
        if row["filter_attachment_data"] == "true":
            names.append("sys_attachment_doc")
        for name in names:
            if name in build.schema:
                _empty(build, name)
        build.close()

    async def _preserve(self, sys_id: str, row: Row, target: Row, plan: dict[str, t.Any]) -> None:
        """Bring the target's rows over that are to stay, and what makes the target itself."""
        snapshot = self.directory / (sys_id + ".target.sqlite")
        await self._ask(target, "POST", "/target/snapshot", {"path": str(snapshot)})
        build, old = Store(self._build(sys_id)), Store(snapshot)
        kept = list(_OWN_TABLES)
        if row["preserve_users_and_related_tables"] == "true":
            kept += _USER_TABLES
        for table in kept:
            _empty(build, table)
            for kept_row in old.select(table):
                build.put(table, kept_row)
        old_records = Records(old)
        for preserver in plan["preservers"]:
            table = preserver["table"]
            if table not in old.schema or table not in build.schema:
                continue
            for kept_row in old_records.matching(table, preserver["condition"]):
                if kept_row.get("sys_class_name", table) == table:  # preserving a table does not preserve its children
                    build.put(table, kept_row)
        for name in _OWN_PROPERTIES:
            for foreign in build.find("sys_properties", name=name):
                build.remove("sys_properties", foreign["sys_id"])
            for own in old.find("sys_properties", name=name):
                build.put("sys_properties", own)
        build.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        build.close()
        old.close()
        for leftover in self.directory.glob(sys_id + ".target.sqlite*"):
            leftover.unlink()

    async def _order_cleanup(self, target: Row, state: dict[str, t.Any], *, ready: bool) -> None:
        order = {
            "scripts": state["plan"]["scripts"],
            "seconds": self._seconds("Cleanup scripts"),
            "fails": bool(self.instance.knobs["cleanup_fails"]),
            "ready": ready,
        }
        await self._ask(target, "POST", "/target/cleanup", order)

    async def _release_cleanup(self, sys_id: str) -> None:
        """Start the target's cleanup job, once the clone is Completed."""
        state = self._load(sys_id)
        target = self.instance.store.get("instance", self._row(sys_id)["target_instance"])
        if target is None:
            return
        try:
            await self._order_cleanup(target, state, ready=True)
        except Failed:
            return  # the next tick tries again
        state["cleanup"] = "released"
        self._save(sys_id, state)

    # Completed -> Rolled back

    async def _roll_back(self, sys_id: str) -> None:
        self._set(sys_id, state="Rolling back")
        self._log(sys_id, "Rollback started")
        await asyncio.sleep(self._seconds("Rollback"))
        target = self.instance.store.get("instance", self._row(sys_id)["target_instance"])
        try:
            if target is None or self.instance.knobs["clone_error_stage"] == "Rollback":
                raise Failed("Stage Rollback failed")
            folder = Path(self.instance.peers[target["instance_name"]]["dir"]) / "rollback"
            before, cloned = folder / (sys_id + ".sqlite"), folder / (sys_id + ".cloned.sqlite")
            if not before.exists():
                raise Failed("The data of the target before the clone are gone")
            order = {"path": str(before), "keep": str(cloned), "seconds": self._seconds("Node repoint")}
            await self._ask(target, "POST", "/target/repoint", order)
        except Failed as error:
            self._log(sys_id, str(error), "error")
            self._set(sys_id, state="Rollback failure", message=str(error))
            return
        self._log(sys_id, "Rollback completed")
        self._set(sys_id, state="Rolled back")


def _empty(store: Store, table: str) -> None:
    classes, params = store.schema.class_filter(table)
    store.db.execute("DELETE FROM {} WHERE {}".format(quote(store.schema[table].physical), classes), params)
