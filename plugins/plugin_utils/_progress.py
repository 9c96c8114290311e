# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""An action that shows the progress of a long module while it runs.

A module can only answer when it has ended. So a long one writes what it has done to the file of its option C(progress_file),
and this action looks at that file every few seconds, on whichever host the module runs, and prints a line, into the output of
an automation platform as well.
"""

import contextlib
import copy
import json
import shlex
import threading
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
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
        if self._play_context.check_mode or args.get("progress_file"):
            return self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars)
        with self._file_on_the_host() as path, _printed(lambda: self._beside().last_line(path), (task_vars or {}).get("inventory_hostname", "")):
            return self._execute_module(module_name=self.MODULE, module_args=dict(args, progress_file=path), task_vars=task_vars)

    @contextlib.contextmanager
    def _file_on_the_host(self) -> t.Iterator[str]:
        made = self._low_level_execute_command("umask 077; mktemp -t edge_clone_progress_XXXXXXXX")
        path = made["stdout"].strip()
        if made["rc"] != 0 or not path:
            raise AnsibleError("A file for the progress cannot be made on the host: {0}".format(made["stderr"].strip() or made["stdout"].strip()))
        try:
            yield path
        finally:
            self._low_level_execute_command("rm -f " + shlex.quote(path))

    def _beside(self) -> "ProgressActionBase":
        """Return a copy whose connection can be used while the module holds this one's: what belongs to one command is kept in these objects."""
        beside = copy.copy(self)
        beside._connection = copy.copy(self._connection)
        beside._connection.become = copy.copy(self._connection.become)
        return beside

    def last_line(self, path: str) -> str:
        """Return the last complete line of the file, or nothing; the module may be writing the next."""
        read = self._low_level_execute_command("tail -n 2 " + shlex.quote(path))
        lines = read["stdout"].split("\n")
        return lines[-2].strip() if read["rc"] == 0 and len(lines) > 1 else ""


@contextlib.contextmanager
def _printed(last_line: t.Callable[[], str], host: str) -> t.Iterator[None]:
    ended = threading.Event()
    printer = threading.Thread(target=_print_progress, args=(last_line, ended, host), daemon=True)
    printer.start()
    try:
        yield
    finally:
        ended.set()
        printer.join()


def _print_progress(last_line: t.Callable[[], str], ended: threading.Event, host: str) -> None:
    shown = ""
    while not ended.wait(INTERVAL):
        try:
            line = last_line()
        except AnsibleConnectionFailure:
            continue  # the module has the same connection, and says what is wrong with it
        if line and line != shown:
            Display().display(f"[{host}] {describe(json.loads(line))}", color="bright gray")
            shown = line


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
