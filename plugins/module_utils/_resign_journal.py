# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What a run of re-signing has in hand and what it has done, so that the next one can put back and go on."""

import errno
import fcntl
import json
import os
import threading
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._files import sync_folder_of
from ansible_collections.edge_encryption.clone.plugins.module_utils._formats import check_format
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import Key, Record, State

FORMAT = 1


class Going(t.NamedTuple):
    """What to put back in a record that is in hand, and what its signature was."""

    back: t.Dict[str, str]
    transport: str
    signature: t.Optional[str]
    touched: bool  # Only C(back) is written, so that any new signature is a good one.


class Journal:
    """The write-ahead journal of a run: JSON lines, each on disk before what it announces happens."""

    def __init__(self, path: str, instance: str, check: bool = False) -> None:
        self.path = path
        self._check = check
        self.in_flight = {}  # type: t.Dict[Key, Going]
        self.done = {}  # type: t.Dict[Key, t.Dict[str, t.Any]]
        self.before = {}  # type: t.Dict[Key, bool]
        # Whether a record got another signature than it had, and whether one got the same: then it had this proxy's already.
        self.renewed = self.confirmed = False
        self._lock = threading.Lock()
        self._file = None  # type: t.Any
        if check and not os.path.exists(path):
            return
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
        try:
            self._claim()
            self._load(instance)
        except BaseException:
            self._file.close()
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise EdgeError(self.path, "another run is using it.", "Wait until that one has ended.") from None
        if not self._check:
            os.fchmod(self._file.fileno(), 0o600)

    def _load(self, instance: str) -> None:
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data) and not self._check:
            # A line that the crash cut off announced something that had not begun.
            self._file.truncate(whole)
        lines = data[:whole].splitlines()
        for number, line in enumerate(lines, 1):
            try:
                self._replay(json.loads(line.decode("utf-8")), instance)
            except (ValueError, KeyError, TypeError):
                raise EdgeError(self.path, "line {} is none of this journal.".format(number), "Give another state_file.") from None
        if not lines and not self._check:
            self._append({"instance": instance, "format": FORMAT})
            sync_folder_of(self.path)

    def _replay(self, line: t.Dict[str, t.Any], instance: str) -> None:
        if "format" in line:
            check_format(self.path, line["format"], FORMAT)
            if line["instance"] != instance:
                raise EdgeError(
                    self.path, "is of the instance {}, not of {}.".format(line["instance"], instance), "Give another state_file."
                )
            return
        key = (line["table"], line["sys_id"])
        if "before" in line:
            self.before[key] = line["before"]
        elif "going" in line:
            self.in_flight[key] = Going(line["going"], line["transport"], line["signature"], line["touched"])
        else:
            self._settle(key, line["done"], line["renewed"])

    def _settle(self, key: Key, done: t.Optional[t.Dict[str, t.Any]], renewed: t.Optional[bool]) -> None:
        self.in_flight.pop(key, None)
        self.renewed = self.renewed or renewed is True
        self.confirmed = self.confirmed or renewed is False
        if done is not None:
            self.done[key] = done

    def _append(self, *lines: t.Dict[str, t.Any], **options: bool) -> None:
        data = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode("utf-8")
        with self._lock:
            self._file.write(data)
        if options.get("durable", True):
            os.fsync(self._file.fileno())

    def remember(self, records: t.Iterable[Record]) -> None:
        """Note what the records are before anything is changed."""
        self._append(*({"table": r.table, "sys_id": r.sys_id, "name": r.name, "before": r.active} for r in records))
        self.before.update((record.key, record.active) for record in records)

    def going(self, record: Record, transport: str, back: t.Mapping[str, str], touched: bool = False) -> None:
        """Announce that the record will be changed; C(back) are the values to put back. C(touched): that they alone will be written."""
        going = Going(dict(back), transport, record.signature, touched)
        self._append(
            {
                "table": record.table,
                "sys_id": record.sys_id,
                "name": record.name,
                "going": going.back,
                "transport": going.transport,
                "signature": going.signature,
                "touched": going.touched,
            }
        )
        self.in_flight[record.key] = going

    def settled(self, key: Key, state: t.Optional[State] = None, active: bool = False, renewed: t.Optional[bool] = None) -> None:
        """Note that the record is what it was; with a state: and newly signed. C(renewed) says whether its signature is another one now."""
        done = None if state is None else {"mod_count": state.mod_count, "signature": state.signature, "active": active}
        # If a crash loses this line, the record is merely done again.
        self._append({"table": key[0], "sys_id": key[1], "done": done, "renewed": renewed}, durable=False)
        self._settle(key, done, renewed)

    def is_done(self, record: Record) -> bool:
        """Say whether the record was re-signed, and nobody has changed it since."""
        return self.done.get(record.key) == {"mod_count": record.mod_count, "signature": record.signature, "active": record.active}

    def close(self) -> None:
        if self._file:
            self._file.close()
