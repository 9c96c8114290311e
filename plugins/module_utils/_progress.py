# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""How far a long module is, as lines that somebody else shows while it runs."""

import json
import time
import typing as t


class Progress:
    """Appends JSON lines to a file, at most one a second, and each change of state."""

    def __init__(self, path: t.Optional[str], step: str) -> None:
        self.path = path
        self.step = step
        self._began = time.monotonic()
        self._last = (0.0, "", "")

    def report(self, state: str, stage: str = "", done: t.Optional[int] = None, total: t.Optional[int] = None) -> None:
        now = time.monotonic()
        if not self.path or (now - self._last[0] < 1 and (state, stage) == self._last[1:]):
            return
        self._last = (now, state, stage)
        line = {"step": self.step, "state": state, "stage": stage, "done": done, "total": total, "seconds": round(now - self._began, 1)}
        with open(self.path, "a") as out:
            out.write(json.dumps(line) + "\n")
