# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups of an instance: real copies of its database, with the times that the clone log tells."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import time
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from .instance import Instance

MAX_AGE = 36 * 3600
NIGHTLY, ON_DEMAND = "nightly", "on_demand"
Backup = t.Dict[str, str]


def _stamp(moment: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime(form)


class Backups:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.directory = instance.directory / "backups"
        self.directory.mkdir(exist_ok=True)

    async def take(self, seconds: float, kind: str) -> Backup:
        """Make a backup that takes some seconds; it holds the data as of its end. Times are rounded to whole seconds, outwards."""
        started = time.time()
        await asyncio.sleep(seconds)
        name = _stamp(time.time(), "%Y%m%d%H%M%S%f")
        self.instance.store.copy_to(self.path(name))
        backup = {"id": name, "started": _stamp(started), "completed": _stamp(math.ceil(time.time())), "kind": kind}
        self.path(name).with_suffix(".json").write_text(json.dumps(backup))
        return backup

    def path(self, name: str) -> Path:
        return self.directory / (name + ".sqlite")

    def listing(self) -> list[Backup]:
        """Return all backups, oldest first: an id is the time at which the backup ended."""
        return [json.loads(path.read_text()) for path in sorted(self.directory.glob("*.json"))]

    def newest(self) -> Backup | None:
        """Return the most recent nightly backup that is young enough for a clone."""
        oldest = _stamp(time.time() - MAX_AGE)
        young = [backup for backup in self.listing() if backup["kind"] == NIGHTLY and backup["completed"] >= oldest]
        return young[-1] if young else None
