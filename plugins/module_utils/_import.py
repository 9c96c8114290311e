# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Load a snapshot of files: put them into the shadow schema's directory, have the server import them, and measure every row.

The server must outlive a fault, and with it what was imported. As long as the redo log that MariaDB 10.11 reads when it starts goes back to the creation of
a table that waits for its file, there are two traps. A file that lies there and is not imported still has the tablespace id that the source gave it; if
the target has a tablespace with this id, it does not start again. And a table that was imported and renamed into another database is recovered as it was
made, empty. So no file is put there before the server's last checkpoint lies behind the creation of all tables. For the sake of mariadb-backup, which
refuses two files with one id, whenever it is started, a file only gets its name when its import begins.

A table is empty until its import is complete ("InnoDB File-Per-Table Tablespaces" in MariaDB's documentation), so a table that holds rows was
imported. Whatever else is there was interrupted, and is dropped and made anew.
"""

import contextlib
import os
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _schema, _tablespaces
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import Piece, free_bytes
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import DatabaseError, Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._files import sync_folder_of
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import in_parallel, timed
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import Table
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema_journal import REDO
from ansible_collections.edge_encryption.clone.plugins.module_utils._stage import Stage, StageError, Task, missing_counter

# Errors of a table without a file that the server can read: ER_GET_ERRNO, ER_TABLESPACE_MISSING, ER_TABLESPACE_DISCARDED, ER_NO_SUCH_TABLE_IN_ENGINE.
_WITHOUT_FILE = frozenset([1030, 1812, 1814, 1932])
# A file that waits for its import has the name that its description gets then: server and mariadb-backup take no notice of it, and it goes with the
# table, should somebody drop that.
_WAITING = _tablespaces.DESCRIPTION
# Bytes of a value that fills the redo log, unless the server takes none of this size.
_FILLER = 2097152
# What a server gives its files: only its own user may read them.
_MODE = 0o660


class Place(t.NamedTuple):
    """Where a piece goes in a file that is open."""

    handle: int
    offset: int
    table: str
    kind: str
    piece: Piece


class ImportStage(Stage):
    """Loads one snapshot of files. The process must see the server's data directory, as root or as its owner."""

    @property
    def load_method(self) -> str:
        return "import_tablespace"

    def _create_statement(self, table: Table) -> str:
        return _schema.create_statement_with_indexes(self._schema, table)

    def _bring_rows(self, sessions: t.Sequence[Session], resumed: t.Set[int], timings: t.Dict[str, float]) -> None:
        wanted = [table for table in self._tables if not self._is_imported(table)]
        for table in self._tables:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(table, _tablespaces.DESCRIPTION))
        self._refuse_too_little_space(wanted)
        for table in wanted:
            self._discard(table)
        if wanted:
            with timed(timings, "checkpoint_s"):
                self._make_checkpoint()
        with timed(timings, "copy_s"):
            self._place(wanted, len(sessions))
        with timed(timings, "import_s"):
            self._progress.start("import", len(wanted))
            in_parallel(sessions, iter(wanted), self._import)
        # A table that had to be imported anew is measured anew, whatever was noted of it.
        noted = {chunk.number for table in wanted for chunk in self._snapshot.chunks(table.name)} & resumed
        with timed(timings, "verify_s"):
            in_parallel(sessions, iter(self._tasks(resumed - noted)), lambda session, task: self._measure(session, task, noted))
        for table in self._tables:
            self._advance_counter(table)

    def _is_imported(self, table: Table) -> bool:
        """Tell whether an import has brought the table's rows; one that has none in the snapshot needs no import."""
        if not sum(chunk.rows for chunk in self._snapshot.chunks(table.name)):
            return True
        try:
            return bool(self._control.rows("SELECT 1 FROM {0} LIMIT 1".format(quote_name(self._schema, table.name))))
        except DatabaseError as error:
            if error.code in _WITHOUT_FILE:
                return False
            raise

    def _refuse_too_little_space(self, tables: t.Sequence[Table]) -> None:
        directory = _tablespaces.data_directory(self._server)
        needed = sum(piece.bytes for table in tables for kind in _tablespaces.KINDS for piece in self._snapshot.pieces(table.name, kind))
        needed += 2 * _tablespaces.redo_log_bytes(self._control)  # see _make_checkpoint
        free = free_bytes(directory)
        if free < needed:
            raise StageError(
                directory,
                "too little space: {0} MiB are free, the tables need {1} MiB.".format(free >> 20, needed >> 20),
                "Free space on the target server.",
            )

    def _place(self, tables: t.Sequence[Table], workers: int) -> None:
        """Write the pages of tables that have none, as their server would have written them."""
        with contextlib.ExitStack() as stack:
            places = []  # type: t.List[Place]
            for table in tables:
                places += self._places(stack.enter_context(self._new_file(table, _WAITING)), table, _tablespaces.PAGES)
            self._progress.start("copy", sum(place.piece.bytes for place in places))

            def work(dummy: int, place: Place) -> None:
                self._write(place)
                self._progress.add(place.piece.bytes, place.piece.size)

            in_parallel(list(range(workers)), iter(places), work)

    def _places(self, handle: int, table: Table, kind: str) -> t.Iterator[Place]:
        offset = 0
        for piece in self._snapshot.pieces(table.name, kind):
            yield Place(handle, offset, table.name, kind, piece)
            offset += piece.bytes

    def _discard(self, table: Table) -> None:
        """Make a table that waits for its file; its empty file, as it comes and goes, proves that this host sees the files of this very server."""
        name, path = quote_name(self._schema, table.name), self._path(table, _tablespaces.PAGES)
        self._control.execute("SET SESSION foreign_key_checks = 0")
        for statement, there in (
            ("DROP TABLE IF EXISTS " + name, False),
            (self._create_statement(table), True),
            ("ALTER TABLE {0} DISCARD TABLESPACE".format(name), False),
        ):
            self._control.execute(statement)
            if os.path.exists(path) != there:
                raise StageError(
                    path,
                    "is not where {0} keeps this table's file.".format(self._login.name),
                    "Run this on the host of that server, or take a snapshot with engine=rows.",
                )
        self._control.execute("SET SESSION foreign_key_checks = 1")

    def _make_checkpoint(self) -> None:
        """Write to the redo log until the server has to make a checkpoint: it makes none while it has nothing to do, and none at an account's request."""
        name = quote_name(self._schema, REDO)
        wanted, size = self._lsn("current"), _tablespaces.redo_log_bytes(self._control)
        filler, written = min(_FILLER, self._server.max_allowed_packet // 2), 0
        self._progress.start("checkpoint", size)
        while self._lsn("last_checkpoint") < wanted:
            if written > 2 * size:
                raise StageError(self._schema, "the server makes no checkpoint, so it might not outlive an import.", "Take a snapshot with engine=rows.")
            self._control.execute("CREATE TABLE IF NOT EXISTS {0} (filler LONGBLOB) ENGINE=InnoDB".format(name))
            self._control.execute("INSERT INTO {0} SELECT REPEAT('x', {1}) UNION ALL SELECT REPEAT('y', {1})".format(name, filler))
            written += 2 * filler
            self._progress.add(2 * filler, 2 * filler)
        self._control.execute("DROP TABLE IF EXISTS " + name)

    @contextlib.contextmanager
    def _new_file(self, table: Table, kind: str) -> t.Iterator[int]:
        path = self._path(table, kind)
        owner = os.stat(os.path.dirname(path))
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, _MODE)
        try:
            os.fchmod(handle, _MODE)
            if (os.geteuid(), os.getegid()) != (owner.st_uid, owner.st_gid):
                os.fchown(handle, owner.st_uid, owner.st_gid)
            yield handle
            os.fsync(handle)
        finally:
            os.close(handle)

    def _write(self, place: Place) -> None:
        data = memoryview(self._snapshot.read_piece(place.table, place.kind, place.piece, self._cipher))
        done = 0
        while done < len(data):
            done += os.pwrite(place.handle, data[done:], place.offset + done)

    def _import(self, session: Session, table: Table) -> None:
        name = quote_name(self._schema, table.name)
        self._hand_over(table)
        session.execute("ALTER TABLE {0} IMPORT TABLESPACE".format(name))
        codes = session.warning_codes()
        if codes:
            raise StageError(table.name, "its import raised the warnings {0}.".format(codes), "Take a snapshot with engine=rows.")
        # The statistics are still those of the empty table.
        session.execute("ANALYZE TABLE " + name)
        os.unlink(self._path(table, _tablespaces.DESCRIPTION))
        self._progress.add(1, 0)

    def _hand_over(self, table: Table) -> None:
        """Give the files of a table their names."""
        os.rename(self._path(table, _WAITING), self._path(table, _tablespaces.PAGES))
        with self._new_file(table, _tablespaces.DESCRIPTION) as handle:
            for place in self._places(handle, table, _tablespaces.DESCRIPTION):
                self._write(place)
        sync_folder_of(self._path(table, _tablespaces.PAGES))

    def _advance_counter(self, table: Table) -> None:
        """The file knows the largest value that was used, not those which the source had set aside; and the server forgets these when it dies."""
        name = quote_name(self._schema, table.name)
        for change in missing_counter(self._control.rows("SHOW CREATE TABLE " + name)[0][1], table):
            self._control.execute("ALTER TABLE {0} {1}".format(name, change))

    def _lsn(self, name: str) -> int:
        return int(self._control.rows("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_{0}'".format(name))[0][1])

    def _measure(self, session: Session, task: Task, noted: t.Set[int]) -> None:
        if not task.chunks:
            return
        if task.table.key:
            chunk = task.chunks[0]
            header = self._snapshot.read_index(task.table.name, chunk, self._cipher)[0]
            self._verify(session, task.table, [chunk], _schema.key_range(task.table, header["after"], header["upto"]))
        else:
            self._verify(session, task.table, task.chunks, "TRUE")
        for chunk in task.chunks:
            if chunk.number not in noted:
                self._note(session, chunk)
        self._progress.add(sum(chunk.rows for chunk in task.chunks), 0)

    def _path(self, table: Table, kind: str) -> str:
        return _tablespaces.path_of(_tablespaces.data_directory(self._server), self._schema, table.name, kind)
