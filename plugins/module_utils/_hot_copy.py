# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Copy the files of a database from a server that is being written to, with mariadb-backup.

mariadb-backup follows the server's redo log while it copies, and ends with a moment in which it lets nobody commit ("BACKUP STAGE" in MariaDB's
documentation: C(BLOCK_COMMIT)). Its copy is the database of that moment. It says on its standard error when it has that lock, and before it gives the
lock back; so whoever opens transactions in between sees exactly what was copied. The moment may last 3 ms, or a fifth of a second for which
mariadb-backup waits for a thread of its own. It cannot be over too soon: its standard error is a pipe that takes one message, and so it waits
before the next but one until the first was read.
"""

import contextlib
import fcntl
import os
import re
import selectors
import subprocess
import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _tablespaces
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import free_bytes
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Login
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import Progress

# Utils know no AnsibleModule, and its run_command cannot be read from while the program runs.
# pylint: disable=ansible-bad-function

# Milliseconds between two looks at the log. By default it is a second, and in the end all commits wait for the last look.
_LOG_INTERVAL = 10
# F_SETPIPE_SZ of Linux, which Python names from 3.10 on; and the smallest pipe.
_SET_PIPE_SIZE, _PAGE = 1031, 4096
# Bytes of memory to recover the copy with; the standard of 100 MB reads a long log several times.
_RECOVERY_MEMORY = 268435456
# Seconds that mariadb-backup may keep everybody from committing before it is killed.
_MOST_BLOCKED = 5
# Seconds between two looks at the size of the copy.
_TICK = 1.0
_WAITS = re.compile(rb"(?:Starting|Started) BACKUP STAGE (\w+)")
_HOLDS = re.compile(rb"Acquired locks for BACKUP STAGE (\w+)")
_RELEASES = b"Executing BACKUP STAGE END"
_NO_MORE_COMMITS = b"BLOCK_COMMIT"
_SUCCESS = b"completed OK!"
# Not an option such as --log-error=.
_ERROR = re.compile(rb"(?<!-)\berror\b(?!=)", re.IGNORECASE)
_LITTLE_SPACE = 67108864


class HotCopyError(EdgeError):
    """mariadb-backup made no usable copy."""


class Moment(t.NamedTuple):
    """What the moment that a copy is of cost others, in seconds."""

    lock_wait_s: float
    lock_s: float


class HotCopy:
    """One copy, in a folder of its own.

    Args:
        login: the server; its account needs C(RELOAD) and C(PROCESS).
        data_directory: where its files are on this host.
        database: what to copy. The system tablespace, which recovery needs, comes along.
        folder: a private folder that nothing else is in.
        inherited: file descriptors that the program shall hold as long as it runs.
        patience: seconds that it may wait for a lock that does not keep others from writing.
    """

    def __init__(self, login: Login, data_directory: str, database: str, folder: str, inherited: t.Sequence[int], patience: float) -> None:
        self._login = login
        self._data_directory = data_directory
        self._database = database
        self._folder = folder
        self._copy = os.path.join(folder, "copy")
        self._login_file = os.path.join(folder, "login.cnf")
        self._inherited = inherited
        self._patience = patience
        self._program = str(_tablespaces.find_program())
        self._last_words, self._error = b"", b""

    def run(self, at_the_moment: t.Callable[[], None], workers: int, progress: Progress, data_bytes: int) -> Moment:
        """Copy, and call C(at_the_moment) while nobody can commit.

        Raises:
            HotCopyError: the copy failed, or the moment was over before the call had returned.
        """
        databases = os.path.join(self._folder, "databases")
        _tablespaces.make_login_file(self._login_file, self._login)
        with open(databases, "w", encoding="utf-8") as file:
            file.write(self._database + "\n")
        command = [self._program, "--defaults-file=" + self._login_file, "--backup", "--target-dir=" + self._copy, "--datadir=" + self._data_directory]
        command += ["--databases-file=" + databases, "--parallel={0}".format(workers), "--log-copy-interval={0}".format(_LOG_INTERVAL)]
        command += ["--binlog-info=off"]
        progress.start("copy", data_bytes)
        try:
            with self._started(command) as lines:
                return self._follow(lines, at_the_moment, progress)
        finally:
            self._forget_login()
            os.unlink(databases)

    def prepare(self) -> None:
        """Recover the copy, as after a crash, and have InnoDB describe its tables for an import."""
        command = [self._program, "--no-defaults", "--prepare", "--export", "--use-memory={0}".format(_RECOVERY_MEMORY), "--target-dir=" + self._copy]
        with self._started(command) as lines:
            for line in lines:
                self._listen(line)

    def path(self, table: str, kind: str) -> str:
        """Return where a file of a table is, once the copy is prepared."""
        path = _tablespaces.path_of(self._copy, self._database, table, kind)
        if not os.path.exists(path):
            raise HotCopyError(path, "mariadb-backup did not copy it.", "Take the snapshot with engine=rows.")
        return path

    @contextlib.contextmanager
    def _started(self, command: t.Sequence[str]) -> t.Iterator["_Lines"]:
        """Run the program and yield what it says; kill it when the caller fails, and refuse what it did not call a success."""
        self._last_words, self._error = b"", b""
        # "pipe(2)": with O_DIRECT each write is a message, and a pipe of one page takes one.
        reader, writer = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        fcntl.fcntl(writer, _SET_PIPE_SIZE, _PAGE)
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer, pass_fds=self._inherited)
        finally:
            os.close(writer)
        try:
            yield _Lines(reader)
        except BaseException:
            process.kill()
            raise
        finally:
            os.close(reader)
            status = process.wait()
        if status or _SUCCESS not in self._last_words:
            # The line that names an error, since others may show the account's grants with the hash of its password.
            said = self._error or b"it ended with status %d" % status
            free = free_bytes(self._folder)
            way_out = "Correct that, or take the snapshot with engine=rows."
            if free < _LITTLE_SPACE:
                way_out = "Only {0} MiB are free in {1}. ".format(free >> 20, self._folder) + way_out
            words = re.sub(r"^\[\d+\] (?:FATAL ERROR: )?[\d-]+ [\d:]+ ", "", said.decode("utf-8", "replace")).strip().rstrip(".")
            raise HotCopyError(self._login.name, "mariadb-backup failed: {0}.".format(words), way_out)

    def _forget_login(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._login_file)

    def _listen(self, line: bytes) -> None:
        self._last_words = line or self._last_words
        self._error = line if _ERROR.search(line) else self._error

    def _follow(self, lines: "_Lines", at_the_moment: t.Callable[[], None], progress: Progress) -> Moment:
        """Read what the program says, and act at the moment."""
        waiting, holding = None, b""  # type: t.Optional[t.Tuple[bytes, float]], bytes
        waited, began, ended = 0.0, 0.0, 0.0
        for line in lines:
            now = time.monotonic()
            waits, holds = _WAITS.search(line), _HOLDS.search(line)
            if waits:
                waiting = (waits.group(1), now)
            elif holds:
                holding = holds.group(1)
                if holding == _NO_MORE_COMMITS:
                    began, waited = now, now - waiting[1] if waiting else 0.0
                    at_the_moment()
                    # It says so before it gives the lock back; so as long as it has not, nobody has committed anything.
                    if lines.has(_RELEASES):
                        raise HotCopyError(self._login.name, "the copy was complete before transactions had been opened.", "Take the snapshot again.")
                waiting = None
            elif _RELEASES in line:
                holding, ended = b"", now
            self._listen(line)
            if line:
                self._forget_login()  # it has read that before it says anything
            self._refuse_to_wait(waiting, began if holding == _NO_MORE_COMMITS else None)
            if not line:
                progress.at(_size(self._copy))
        return Moment(round(waited, 3), round(ended - began, 3))

    def _refuse_to_wait(self, waiting: t.Optional[t.Tuple[bytes, float]], blocked_since: t.Optional[float]) -> None:
        now = time.monotonic()
        if blocked_since is not None and now - blocked_since > _MOST_BLOCKED:
            raise HotCopyError(
                self._login.name,
                "mariadb-backup kept everybody from committing for more than {0} s, and was ended.".format(_MOST_BLOCKED),
                "Find out what holds it up, or take the snapshot with engine=rows.",
            )
        patience = _MOST_BLOCKED if waiting and waiting[0] == _NO_MORE_COMMITS else self._patience
        if waiting and now - waiting[1] > patience:
            raise HotCopyError(
                self._login.name,
                "no backup lock ({0}) within {1:g} s.".format(waiting[0].decode("ascii"), patience),
                "Wait for long statements and DDL to end, or raise lock_wait_timeout.",
            )


class _Lines:
    """What a program says into a pipe, line by line; an empty line when it has been silent for a while."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self._selector = selectors.DefaultSelector()
        self._selector.register(reader, selectors.EVENT_READ)
        self._rest = b""
        self._over = False

    def __iter__(self) -> t.Iterator[bytes]:
        while not self._over or self._rest:
            if b"\n" not in self._rest and not self._over and not self._take(_TICK):
                yield b""
            elif b"\n" in self._rest or (self._over and self._rest):
                line, dummy, self._rest = self._rest.partition(b"\n")
                yield line

    def has(self, words: bytes) -> bool:
        """Tell whether these words have been said but not read yet. One message is all there can be, and reading it lets the program go on to the next."""
        if not self._over:
            self._take(0)
        return words in self._rest

    def _take(self, timeout: float) -> bool:
        """Take what is said within so many seconds; tell whether there was something, be it the end."""
        if not self._selector.select(timeout):
            return False
        data = os.read(self._reader, 65536)
        self._rest += data
        self._over = not data
        return True


def _size(folder: str) -> int:
    return sum(entry.stat().st_size for root, dummy, dummy2 in os.walk(folder) for entry in os.scandir(root) if entry.is_file())
