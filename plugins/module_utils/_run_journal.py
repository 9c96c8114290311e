# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The journal of a run: an append-only file that says what was intended, done and seen, and a lock for each target.

One folder a target, one folder a clone in it: C(<path>/<target>/<clone>/journal.jsonl), and C(<path>/<target>/lock.json).
Every event is one JSON line, flushed to the disk before the call returns, so a killed run leaves at most one torn last
line, which never counted and is removed by the next writer.
"""

import contextlib
import datetime
import fcntl
import json
import os
import re
import tempfile
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._files import make_private_folders
from ansible_collections.edge_encryption.clone.plugins.module_utils._formats import check_format
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import check_step

FORMAT = 1
STATUSES = ("started", "done", "failed", "waiting")
ROLLING_BACK, ROLLED_BACK = "rolling_back", "rolled_back"
OVER = ("abandoned", ROLLED_BACK)  # results of runs that leave the target free for another clone
FIRST_TOUCH = "t30_clone_start"  # the first step that changes anything on the target
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")

Run = t.Dict[str, t.Any]


class JournalError(EdgeError):
    """The journal cannot be read, or refuses what was asked."""


class Locked(JournalError):
    """Another run holds the target."""


def utc_now() -> str:
    """Return the time as C(2026-01-02T03:04:05.678Z)."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


class Journal:
    """The journal of all clones of one target.

    Args:
        path: folder of all journals; made with mode 0700 when a run is opened.
        target: name of the target instance.
    Raises:
        JournalError: the name cannot be a folder's name.
    """

    def __init__(self, path: str, target: str) -> None:
        self.folder = os.path.join(path, _checked_name("target instance", target))
        self.target = target

    # -- reading -----------------------------------------------------------------------------------------------

    def runs(self) -> t.List[Run]:
        """Return every run of this target, oldest first."""
        if not os.path.isdir(self.folder):
            return []
        clones = [name for name in os.listdir(self.folder) if _SAFE_NAME.match(name) and os.path.isfile(self._file(name))]
        return sorted((self.run(name) for name in clones), key=lambda run: run["opened"] or "")

    def run(self, clone: str) -> Run:
        """Return what the journal says of one run; a run that was never opened has C(opened) None.

        C(begun) lists the steps that were begun, which one that only waits for a person was not. C(over) tells whether the run leaves the target free.

        Raises:
            JournalError: a line in the middle of the file is not JSON, or a newer release wrote it.
        """
        run = {
            "run_id": f"{self.target}/{clone}", "target": self.target, "clone": clone, "opened": None, "closed": None,
            "result": None, "finished": False, "over": False, "begun": [], "steps": {}, "file": self._file(clone),
        }  # type: Run
        for event in self._events(clone):
            _apply(run, event)
        run["finished"] = run["result"] == "green"
        run["over"] = run["finished"] or run["result"] in OVER
        run["begun"] = [step for step, entry in run["steps"].items() if entry["started"]]
        return run

    def lock(self) -> t.Optional[t.Dict[str, t.Any]]:
        """Return who holds the target, or None."""
        try:
            with open(self._lock_file, encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise JournalError(self._lock_file, f"is not a lock file ({error}).", "Look at it and delete it by hand.") from error

    # -- writing -----------------------------------------------------------------------------------------------

    def open(self, clone: str, owner: str, force_unlock: t.Optional[str] = None, write: bool = True) -> t.Tuple[bool, Run]:
        """Begin a run or take it up again, and hold the target for it.

        Args:
            clone: number of the clone.
            owner: who asks, as C(_controller.this_controller) says; the same owner may ask again.
            force_unlock: owner whose lock is broken.
            write: False only says what would happen.
        Returns:
            Whether anything changed, and the run. A finished run stays closed and takes no lock.
        Raises:
            Locked: another owner holds the target.
            JournalError: an earlier clone of this target is still open.
        """
        run = self.run(clone)
        if run["finished"]:
            return False, run
        if run["result"] == ROLLING_BACK:
            raise JournalError(run["run_id"], "is being rolled back.", "Finish that with edge_encryption.clone.roll_back_clone.")
        if run["result"] == ROLLED_BACK:
            raise JournalError(run["run_id"], "was rolled back.", "Request a new clone; it has another number.")
        still_open = [other["run_id"] for other in self.runs() if other["clone"] != clone and not other["over"] and other["opened"]
                      and not (other["closed"] and FIRST_TOUCH not in other["begun"])]
        if still_open:
            raise JournalError(
                f"clone {clone} of {self.target}", "run {} is still open.".format(", ".join(still_open)),
                "Finish it by starting it again with its clone number, or close it with the module edge_encryption.clone.clone_journal, "
                "state=closed result=abandoned once the target is safe.")
        return self._take(run, "opened", owner, force_unlock, write)

    def roll_back(self, clone: str, owner: str, force_unlock: t.Optional[str] = None, write: bool = True) -> t.Tuple[bool, Run]:
        """Begin to go back from a run, finished or not, or go on with that, and hold the target for it.

        Returns:
            Whether anything changed, and the run. A run that was rolled back takes no lock.
        Raises:
            Locked: another owner holds the target.
            JournalError: there is no such run.
        """
        run = self.run(clone)
        if run["result"] == ROLLED_BACK:
            return False, run
        if not run["opened"]:
            raise JournalError(run["run_id"], "was never begun, so there is nothing to go back from.", "Correct the number of the clone.")
        return self._take(run, ROLLING_BACK, owner, force_unlock, write)

    def _take(self, run: Run, event: str, owner: str, force_unlock: t.Optional[str], write: bool) -> t.Tuple[bool, Run]:
        if not write:
            self._refuse_other_owner(self.lock(), owner, force_unlock)
            return True, run
        make_private_folders(os.path.dirname(run["file"]))
        with self._mutex():
            lock = self.lock()
            self._refuse_other_owner(lock, owner, force_unlock)
            under_way = run["opened"] and not run["closed"] and (event == ROLLING_BACK) == (run["result"] == ROLLING_BACK)
            if lock and lock["owner"] == owner and under_way:
                return False, run
            self._write_lock({"owner": owner, "run_id": run["run_id"], "since": utc_now()})
            entry = {"event": event, "owner": owner, "format": FORMAT}  # type: t.Dict[str, t.Any]
            if lock and lock["owner"] != owner:
                entry["took_lock_from"] = lock["owner"]
            self._append(run["clone"], entry)
        return True, self.run(run["clone"])

    def record(self, clone: str, step: str, status: str, evidence: t.Optional[t.Dict[str, t.Any]] = None,
               error: t.Optional[str] = None, write: bool = True) -> t.Tuple[bool, Run]:
        """Write down that a step was started, is done, waits for a human, or failed.

        Returns:
            Whether a line was written, and the run. What the journal already says last is not written twice.
        Raises:
            UnknownStep: C(step) is not on the timeline.
            JournalError: the run is not open.
        """
        check_step(step)
        run = self.run(clone)
        if run["finished"]:
            return False, run
        if write and (not run["opened"] or run["closed"]):
            raise JournalError(run["run_id"], "is not open.", "Open it first with M(edge_encryption.clone.clone_journal) state=opened.")
        known = run["steps"].get(step)
        said = (status, evidence or {}, error)
        if known and status != "started" and said == (known["status"], known["evidence"], known["error"]):
            return False, run
        if not write:
            return True, run
        self._append(clone, {"event": "step", "step": step, "status": status, "evidence": evidence or {}, "error": error})
        return True, self.run(clone)

    def close(self, clone: str, result: str, owner: str, write: bool = True) -> t.Tuple[bool, Run]:
        """End a run (green, red, paused, abandoned or rolled_back) and let go of the target.

        A red or paused run can be opened again; a green one is finished for good.
        """
        run = self.run(clone)
        if not run["opened"] or run["finished"] or (run["closed"] and result in (run["result"], "red")):
            return False, run
        if not write:
            return True, run
        with self._mutex():
            self._append(clone, {"event": "closed", "result": result})
            lock = self.lock()
            if lock and lock["owner"] == owner:
                os.unlink(self._lock_file)
        return True, self.run(clone)

    # -- files -------------------------------------------------------------------------------------------------

    @property
    def _lock_file(self) -> str:
        return os.path.join(self.folder, "lock.json")

    def _file(self, clone: str) -> str:
        return os.path.join(self.folder, _checked_name("clone number", clone), "journal.jsonl")

    def _events(self, clone: str) -> t.List[t.Dict[str, t.Any]]:
        try:
            with open(self._file(clone), "rb") as stream:
                lines = stream.read().split(b"\n")
        except FileNotFoundError:
            return []
        lines.pop()  # what follows the last newline: nothing, or a line torn by a crash
        events = []
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line.decode("utf-8"))
            except ValueError as error:
                raise JournalError(self._file(clone), f"line {number} is not JSON.",
                                   "The file was changed by something else; restore it from its backup.") from error
            check_format(self._file(clone), event.get("format", 1), FORMAT, JournalError)
            events.append(event)
        return events

    def _append(self, clone: str, event: t.Dict[str, t.Any]) -> None:
        line = json.dumps(dict(event, time=utc_now()), sort_keys=True).encode("utf-8") + b"\n"
        handle = os.open(self._file(clone), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, _end_of_last_line(handle))
            os.lseek(handle, 0, os.SEEK_END)
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _write_lock(self, lock: t.Dict[str, t.Any]) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".lock.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(lock, stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, self._lock_file)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextlib.contextmanager
    def _mutex(self) -> t.Iterator[None]:
        """Keep two processes on this host from taking the lock in the same instant."""
        handle = os.open(os.path.join(self.folder, ".mutex"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _refuse_other_owner(self, lock: t.Optional[t.Dict[str, t.Any]], owner: str, force_unlock: t.Optional[str]) -> None:
        if lock is None or lock["owner"] in (owner, force_unlock):
            return
        raise Locked(
            f"target {self.target}", "is held by {} for run {} since {}.".format(lock["owner"], lock["run_id"], lock["since"]),
            "Wait for it. If that process is gone for certain, name it in force_unlock={}.".format(lock["owner"]), lock=lock)


def _apply(run: Run, event: t.Dict[str, t.Any]) -> None:
    if event["event"] == "opened":
        run["opened"] = run["opened"] or event["time"]
        run["closed"] = run["result"] = None
    elif event["event"] == ROLLING_BACK:
        run["closed"], run["result"] = None, ROLLING_BACK
    elif event["event"] == "closed":
        run["closed"], run["result"] = event["time"], event["result"]
    else:
        step = run["steps"].setdefault(
            event["step"], {"status": None, "started": None, "ended": None, "evidence": {}, "error": None, "attempts": []})
        step["status"], step["error"] = event["status"], event["error"]
        if event["status"] == "started":
            step["started"], step["ended"] = step["started"] or event["time"], None
            step["attempts"].append({"status": "started", "started": event["time"], "ended": None})
        else:
            step["ended"] = event["time"]
            if not step["attempts"] or step["attempts"][-1]["ended"]:
                step["attempts"].append({"started": event["time"]})
            step["attempts"][-1].update(status=event["status"], ended=event["time"])
        step["evidence"] = event["evidence"] or step["evidence"]


def _end_of_last_line(handle: int) -> int:
    size = os.lseek(handle, 0, os.SEEK_END)
    while size:
        start = max(0, size - 4096)
        os.lseek(handle, start, os.SEEK_SET)
        newline = os.read(handle, size - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        size = start
    return 0


def _checked_name(what: str, name: str) -> str:
    if not _SAFE_NAME.match(name):
        raise JournalError(f"{what} {name!r}", "cannot be the name of a folder.", "Use letters, digits, dot, dash and underscore.")
    return name
