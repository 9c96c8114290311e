# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""An action that shows the progress of a long module while it runs.

A module can only answer when it has ended. So a long one writes what it has done to the file of its option C(progress_file),
and this action reads that file on the controller and prints a line every few seconds, into the output of an automation
platform as well. It can do so only where the module runs on the controller itself; elsewhere the module runs without lines.
"""

import json
import os
import tempfile
import threading
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

INTERVAL = 10.0  # seconds between two lines


class ProgressActionBase(ActionBase):
    """Run the module of the same name and print its progress.

    Attributes:
        MODULE: fully qualified name of the module.
    """

    MODULE = ""

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict] = None) -> t.Dict[str, t.Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        if self._connection.transport != "local" or self._play_context.check_mode or args.get("progress_file"):
            return self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars)
        handle, path = tempfile.mkstemp(prefix="edge_clone_progress_")
        os.close(handle)
        ended = threading.Event()
        printer = threading.Thread(target=_print_progress, args=(path, ended, self._task_host(task_vars)), daemon=True)
        printer.start()
        try:
            return self._execute_module(module_name=self.MODULE, module_args=dict(args, progress_file=path), task_vars=task_vars)
        finally:
            ended.set()
            printer.join()
            os.unlink(path)

    @staticmethod
    def _task_host(task_vars: t.Optional[dict]) -> str:
        return (task_vars or {}).get("inventory_hostname", "")


def _print_progress(path: str, ended: threading.Event, host: str) -> None:
    shown = None
    while not ended.wait(INTERVAL):
        line = _last_line(path)
        if line and line != shown:
            Display().display(f"[{host}] {describe(json.loads(line))}", color="bright gray")
            shown = line


def _last_line(path: str) -> str:
    """Return the last complete line; the module may be writing the next."""
    with open(path, encoding="utf-8") as stream:
        lines = stream.read().split("\n")
    return lines[-2] if len(lines) > 1 else ""


def describe(progress: t.Dict[str, t.Any]) -> str:
    """Say in one line how far the work is.

    Args:
        progress: a line of a progress file: C(step) and C(seconds) always; C(state) and C(stage), C(done) and C(total), C(unit) and C(bytes) where
            they are known.
    """
    words = [progress[name] for name in ("step", "state", "stage") if progress.get(name)]
    done, total, seconds = progress.get("done"), progress.get("total"), progress["seconds"]
    if done is not None:
        words.append(" ".join([f"{done:,} of", "?" if total is None else f"{total:,}", progress.get("unit") or ""]).strip())
        if progress.get("bytes"):
            words.append(f"{progress['bytes'] / 1e6:,.1f} MB")
        if done and seconds:
            rate = done / seconds
            words.append(f"{rate:,.1f}/s")
            if total:
                words.append(f"{_duration((total - done) / rate)} left")
    words.append(f"{_duration(seconds)} so far")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
