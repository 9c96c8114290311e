# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups of an instance: real copies of its database, with the times that the clone log tells."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import secrets
import time
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from .instance import Instance

MAX_AGE = 36 * 3600
Backup = t.Dict[str, str]


def _stamp(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


class Backups:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.directory = instance.directory / "backups"
        self.directory.mkdir(exist_ok=True)

    async def take(self, seconds: float) -> Backup:
        """Make a backup that takes some seconds; it holds the data as of its end. Times are rounded to whole seconds, outwards."""
        started = time.time()
        await asyncio.sleep(seconds)
        name = "{}-{}".format(_stamp(started).translate({ord(c): None for c in "-: "}), secrets.token_hex(3))
        self.instance.store.copy_to(self.path(name))
        backup = {"id": name, "started": _stamp(started), "completed": _stamp(math.ceil(time.time()))}
        self.path(name).with_suffix(".json").write_text(json.dumps(backup))
        return backup

    def path(self, name: str) -> Path:
        return self.directory / (name + ".sqlite")

    def listing(self) -> list[Backup]:
        found = [json.loads(path.read_text()) for path in self.directory.glob("*.json")]
        return sorted(found, key=lambda backup: (backup["completed"], backup["id"]))

    def newest(self) -> Backup | None:
        """Return the most recent backup that is young enough for a clone."""
        oldest = _stamp(time.time() - MAX_AGE)
        young = [backup for backup in self.listing() if backup["completed"] >= oldest]
        return young[-1] if young else None
