# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""How far a long module is, as lines that somebody else shows while it runs."""

import json
import time
import typing as t


class Progress:
    """Appends JSON lines to a file, for whoever shows the progress: at most one a second, and each change of state.

    Args:
        path: the file; nothing is written without one.
        step: what the work is called.
    """

    def __init__(self, path: t.Optional[str], step: str) -> None:
        self.path = path
        self.step = step
        self._began = time.monotonic()
        self._last = (0.0, "", "")

    def report(
        self, state: str, stage: str = "", done: t.Optional[int] = None, total: t.Optional[int] = None, unit: str = "records", size: t.Optional[int] = None
    ) -> None:
        """Say how far the work is.

        Args:
            state: what is being done.
            stage: the part of it.
            done: how much of C(total) is done, in C(unit).
            size: how many bytes that was.
        """
        now = time.monotonic()
        ended = done is not None and done == total
        if not self.path or (now - self._last[0] < 1 and (state, stage) == self._last[1:] and not ended):
            return
        self._last = (now, state, stage)
        line = {"step": self.step, "state": state, "stage": stage, "done": done, "total": total, "unit": unit, "bytes": size,
                "seconds": round(now - self._began, 1)}
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
