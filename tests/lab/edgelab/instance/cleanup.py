# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The target's job that runs the cleanup scripts of a clone, one after the other, after the clone is Completed.

A script is, in the lab, JSON ``{"table", "query", "set": {...}}`` or ``{"table", "query", "delete": true}``; one that
contains ``throw`` ends in an error, which stops those behind it; anything else takes its time and does nothing.
"""

from __future__ import annotations

import asyncio
import json
import typing as t

from .query import utc_now
from .records import Aborted

if t.TYPE_CHECKING:
    from .instance import Instance

JOB = "Execute Clone Cleanup Script: Execute Cleanup Scripts Sequentially"


class ScriptError(Exception):
    """A cleanup script ended in an error."""


class Cleanup:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._running = False

    def order(self, scripts: list[str], seconds: float, *, ready: bool, fails: bool) -> None:
        """Put the job into ``sys_trigger``; it waits there until it is ordered again as ready."""
        store = self.instance.store
        row = store.first("sys_trigger", name=JOB)
        context = json.dumps({"scripts": scripts, "seconds": seconds, "ready": ready, "fails": fails})
        values = {"name": JOB, "state": "0", "next_action": utc_now(), "job_context": context}
        self.instance.put_raw("sys_trigger", {**values, **({"sys_id": row["sys_id"]} if row else {})})

    async def tick(self) -> None:
        row = self.instance.store.first("sys_trigger", name=JOB)
        if row is None or self._running:
            return
        context = json.loads(row["job_context"] or "{}")
        if context.get("ready"):
            self._running = True
            try:
                await self._run(row["sys_id"], context)
            finally:
                self._running = False

    async def _run(self, sys_id: str, context: dict[str, t.Any]) -> None:
        store = self.instance.store
        store.change("sys_trigger", sys_id, {"state": "1"})
        scripts = context["scripts"]
        pause = context["seconds"] / max(1, len(scripts))
        for script in scripts or [""]:
            await asyncio.sleep(pause)
            if store is not self.instance.store:  # cloned over or rolled back meanwhile: the job is gone with the data
                return
            try:
                if context["fails"]:
                    raise ScriptError("by order of the knob")
                self._execute(script)
            except (ScriptError, Aborted) as error:
                message = "Cleanup script failed: {}: {}".format(error, script[:200])
                self.instance.put_raw("syslog", {"level": "2", "source": JOB, "message": message})
                break
        store.remove("sys_trigger", sys_id)

    def _execute(self, script: str) -> None:
        if "throw" in script:
            raise ScriptError("uncaught exception")
        try:
            action = json.loads(script)
        except ValueError:
            return
        records = self.instance.records
        if not isinstance(action, dict) or action.get("table", "") not in records.store.schema:
            raise ScriptError("no such table")
        for row in records.matching(action["table"], action.get("query", "")):
            if action.get("delete"):
                records.delete(action["table"], row["sys_id"], "system")
            else:
                records.update(action["table"], row["sys_id"], action.get("set", {}), "system")
