# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""One consistent snapshot of a database, written as chunks: its rows over several connections, or its files and the hashes of the rows in them."""

import concurrent.futures
import contextlib
import os
import shutil
import threading
import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _artefact, _hot_copy, _privileges, _schema, _tablespaces
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import (
    LOCK_WAIT_TIMEOUT,
    STATEMENT_TIMEOUT,
    DatabaseError,
    Login,
    Server,
    Session,
    quote_name,
    read_server,
)
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import Progress, in_parallel, timed
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import Literals, Table

# A statement that runs longer than this many seconds would make the global lock, and everybody behind it, wait.
_LONG_QUERY = 2
# Seconds that one attempt may wait for the lock; on MySQL the smallest bound is a whole second.
_LOCK_ATTEMPT = 0.2
_MAX_ROWS = 50000
# GROUP_CONCAT cut its result; a function's result was larger than max_allowed_packet.
_TOO_LONG = {1260, 1301}
_ALTERED = (1146, 1412)


class SnapshotError(EdgeError):
    """The snapshot could not be taken."""


class Range(t.NamedTuple):
    """Rows of a table behind one key, up to and with another; both None for a table that no key splits."""

    table: Table
    after: Literals
    upto: Literals


class Freeze(t.NamedTuple):
    """How the connections came to see the same instant: its time and what it cost others."""

    began: str
    method: str
    lock_wait_s: float
    lock_s: float


class Source(t.NamedTuple):
    """What was found out about the source before anything is read; C(file_bytes) count the indexes too."""

    server: Server
    grants: _privileges.Grants
    schema: _schema.Schema
    data_bytes: int
    file_bytes: int


def inspect(control: Session, database: str) -> Source:
    """Refuse a source that cannot be copied."""
    server = read_server(control)
    if server.replica:
        raise SnapshotError(
            control.login.name,
            "is a replica, so its clock does not tell how new its rows are.",
            "Take the snapshot from the primary server.",
        )
    grants = _privileges.Grants.read(control)
    _privileges.require(control.login.name, grants.missing_on_source(database))
    schema = _schema.read_schema(control, database)
    index_bytes = control.value("SELECT COALESCE(SUM(INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [database])
    data_bytes = sum(table.data_bytes for table in schema.tables)
    return Source(server, grants, schema, data_bytes, data_bytes + int(index_bytes))


def take(
    login: Login,
    database: str,
    directory: str,
    secret: t.Optional[bytes],
    workers: int,
    chunk_bytes: int,
    lock_wait_timeout: float,
    run_id: t.Optional[str],
    engine: str,
    progress: Progress,
) -> t.Tuple[_artefact.Snapshot, t.Dict[str, t.Any]]:
    """Take a snapshot and return it with what it cost."""
    timings = {}  # type: t.Dict[str, t.Any]
    with timed(timings, "total_s"), contextlib.ExitStack() as stack:
        control = stack.enter_context(Session(login))
        source = inspect(control, database)
        way = (_Files if engine == _artefact.TABLESPACES else _Rows)(control, source, database, lock_wait_timeout)
        _artefact.prepare_directory(directory, way.space_needed)
        # Without a lock only one connection can see one instant.
        sessions = [stack.enter_context(Session(login, binary=True)) for dummy in range(workers + 1 if way.locks else 1)]
        limit = min(source.server.max_allowed_packet, 4 * chunk_bytes)
        for session in sessions:
            session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            session.execute("SET SESSION group_concat_max_len = {0}".format(limit))
        cipher = _artefact.Cipher.new(secret) if secret else None
        writer = stack.enter_context(_artefact.Writer(directory, _artefact.new_id(control.utc_now()), cipher))
        with timed(timings, "freeze_s"):
            freeze = way.freeze(sessions, writer, progress)
        binlog = _binlog_position(sessions[0])
        for table in source.schema.tables:
            _schema.refuse_inexact_json(sessions[0], database, table)
        tables = sorted(source.schema.tables, key=lambda table: -table.data_bytes)
        export = way.EXPORT(database, writer, chunk_bytes, progress)
        try:
            with timed(timings, "read_s"), way.meanwhile():
                progress.start("snapshot", sum(table.row_estimate for table in tables))
                in_parallel(sessions[1:] or sessions, export.ranges(sessions[0], tables), export.copy)
        except DatabaseError as error:
            if error.code in _ALTERED:
                raise _altered(database) from None
            raise
        with timed(timings, "seal_s"):
            way.seal(tables, writer, workers, chunk_bytes, progress)
        after = _schema.read_schema(control, database)
        if after.definitions() != source.schema.definitions():
            raise _altered(database)
        manifest = {
            "database": database,
            "run_id": run_id,
            "began": freeze.began,
            "ended": control.utc_now(),
            "method": freeze.method,
            "engine": engine,
            # The server's own account of itself, without the account that asked.
            "server": {name: value for name, value in source.server._asdict().items() if name != "account"},
            "charset": after.charset,
            "collation": after.collation,
            "binlog": binlog,
            # Read at the end: a next AUTO_INCREMENT value may be too high, never too low.
            "tables": [table.to_json() for table in after.tables],
            "views": after.views,
            "triggers": [list(trigger) for trigger in after.triggers],
            "left_out": after.left_out,
            "chunks": {table.name: sorted(export.chunks.get(table.name, [])) for table in after.tables},
            "spaces": way.pieces,
            "page_size": _tablespaces.page_size(control),
        }
        snapshot = writer.finish(manifest)
    timings.update({name: value for name, value in freeze._asdict().items() if name != "began"})
    return snapshot, timings


class _Export:
    """Reads ranges and writes them as chunks; shared by all workers.

    Attributes:
        EXPRESSION: makes the SQL expression for what is read of a row.
        SEPARATOR: what stands between two rows, here and in SQL.
    """

    EXPRESSION = staticmethod(_schema.row_text)
    SEPARATOR = _schema.ROW_SEPARATOR
    SEPARATOR_SQL = _schema.SEPARATOR_SQL

    def __init__(self, database: str, writer: _artefact.Writer, chunk_bytes: int, progress: Progress) -> None:
        self.chunks = {}  # type: t.Dict[str, t.List[_artefact.Chunk]]
        self._database = database
        self._writer = writer
        self._chunk_bytes = chunk_bytes
        self._progress = progress
        self._lock = threading.Lock()
        self._number = 0
        self._row_bytes = {}  # type: t.Dict[str, float]

    def ranges(self, walk: Session, tables: t.Sequence[Table]) -> t.Iterator[Range]:
        """Walk along each table's key and cut it into ranges of about equal size."""
        for table in tables:
            self._row_bytes[table.name] = table.data_bytes / table.row_estimate if table.row_estimate else 256.0
            if not table.key:
                yield Range(table, None, None)
                continue
            after = None  # type: Literals
            while True:
                rows = min(max(int(self._chunk_bytes / max(self._row_bytes[table.name], 1.0)), 1), _MAX_ROWS)
                upto = self._key_at(walk, Range(table, after, None), rows)
                yield Range(table, after, upto)
                if upto is None:
                    break
                after = upto

    def copy(self, session: Session, part: Range) -> None:
        if part.table.key:
            self._copy_range(session, part)
        else:
            self._copy_whole(session, part.table)

    def _copy_range(self, session: Session, part: Range) -> None:
        table = part.table
        condition = _schema.key_range(table, part.after, part.upto)
        # The server builds the text of the whole chunk, so that Python does little more than moving bytes.
        count, text = session.rows(
            "SELECT COUNT(*), GROUP_CONCAT({0} SEPARATOR {1}) FROM {2} WHERE {3}".format(
                self.EXPRESSION(table), self.SEPARATOR_SQL, quote_name(self._database, table.name), condition
            )
        )[0]
        codes = set(session.warning_codes())
        if codes and not codes <= _TOO_LONG:
            raise _warned(table, codes)
        if codes and count == 1:
            self._copy_whole(session, table, condition, {"after": part.after, "upto": part.upto})
        elif codes:
            middle = self._key_at(session, part, count // 2)
            self._copy_range(session, part._replace(upto=middle))
            self._copy_range(session, part._replace(after=middle))
        else:
            if count:
                self._row_bytes[table.name] = len(text) / count
            # An empty range is written as well: the chunks of a table cover its whole key.
            self._write(table, {"after": part.after, "upto": part.upto}, count, text or b"")

    def _copy_whole(self, session: Session, table: Table, condition: str = "TRUE", header: t.Optional[t.Dict[str, Literals]] = None) -> None:
        """Copy row by row: a table without a key to split it, or a row too large for GROUP_CONCAT."""
        texts, size = [], 0  # type: t.List[bytes], int
        query = "SELECT {0} FROM {1} WHERE {2}".format(self.EXPRESSION(table), quote_name(self._database, table.name), condition)
        for (text,) in session.stream(query):
            if texts and size + len(text) > self._chunk_bytes:
                self._write(table, header or {}, len(texts), self.SEPARATOR.join(texts))
                texts, size = [], 0
            texts.append(text)
            size += len(text) + 1
        # A value that is too large is missing from the text, with a warning only.
        codes = set(session.warning_codes())
        if codes <= _TOO_LONG and codes:
            raise SnapshotError(table.name, "one of its rows is larger than max_allowed_packet.", "Raise it on the source and the target.")
        if codes:
            raise _warned(table, codes)
        if texts:
            self._write(table, header or {}, len(texts), self.SEPARATOR.join(texts))

    def _content(self, rows: int, text: bytes) -> t.Tuple[bytes, bytes]:
        """Return the hashes and the text of rows."""
        return _schema.row_hashes(text.split(self.SEPARATOR) if rows else []), text

    def _write(self, table: Table, header: t.Dict[str, Literals], rows: int, text: bytes) -> None:
        hashes, text = self._content(rows, text)
        if len(hashes) != rows * _artefact.HASH:
            raise SnapshotError(table.name, "the server counts {0} rows and sends others.".format(rows), "Check the table.")
        with self._lock:
            self._number += 1
            number = self._number
        chunk = self._writer.write(table.name, number, _artefact.Content(header, hashes, text))
        with self._lock:
            self.chunks.setdefault(table.name, []).append(chunk)
        self._progress.add(rows, chunk.size)

    def _key_at(self, session: Session, part: Range, place: int) -> Literals:
        """Return the key of the so-manieth row of a range."""
        table = part.table
        found = session.rows(
            "SELECT {0} FROM {1} FORCE INDEX ({2}) WHERE {3} ORDER BY {4} LIMIT 1 OFFSET {5}".format(
                _schema.key_as_hex(table),
                quote_name(self._database, table.name),
                quote_name(table.key),
                _schema.key_range(table, part.after, part.upto),
                _schema.key_list(table),
                place - 1,
            )
        )
        return _schema.key_literals(table, found[0]) if found else None


class _Hashes(_Export):
    """Reads the hashes of the rows only."""

    EXPRESSION = staticmethod(_schema.row_checksum)
    SEPARATOR = b""
    SEPARATOR_SQL = "''"

    def _content(self, rows: int, text: bytes) -> t.Tuple[bytes, bytes]:
        return _schema.from_digits(text), b""


class _Rows:
    """Takes the rows as text.

    Attributes:
        EXPORT: what reads them.
        pieces: the parts of each table's files.
        locks: several connections can see the same instant.
        space_needed: bytes that the folder of the snapshots must have left.
    """

    EXPORT = _Export

    def __init__(self, control: Session, source: Source, database: str, patience: float) -> None:
        self.pieces = {}  # type: t.Dict[str, t.Dict[str, t.List[_artefact.Piece]]]
        self._control = control
        self._source = source
        self._database = database
        self._patience = patience
        self._lock = _lock_statement(control, source, database)

    @property
    def locks(self) -> bool:
        return bool(self._lock)

    @property
    def space_needed(self) -> int:
        return self._source.data_bytes

    def freeze(self, sessions: t.Sequence[Session], writer: _artefact.Writer, progress: Progress) -> Freeze:
        """Open one transaction a session, all at the same instant."""
        return _freeze(self._control, sessions, self._lock, self._source, self._patience)

    @contextlib.contextmanager
    def meanwhile(self) -> t.Iterator[None]:
        """Do what can be done while the caller reads rows."""
        yield

    def seal(self, tables: t.Sequence[Table], writer: _artefact.Writer, workers: int, size: int, progress: Progress) -> None:
        """Write what the chunks do not hold, as pieces of so many bytes."""


class _Files(_Rows):
    """Copies the files of the tables, and reads the hashes of the rows in them."""

    EXPORT = _Hashes
    locks = True

    @property
    def space_needed(self) -> int:
        # The files are there twice until they are sealed.
        return 2 * self._source.file_bytes + _tablespaces.system_bytes(_tablespaces.data_directory(self._source.server))

    def freeze(self, sessions: t.Sequence[Session], writer: _artefact.Writer, progress: Progress) -> Freeze:
        """Copy the files, and open the transactions at the moment that the copy is of."""
        began = []  # type: t.List[str]

        def open_transactions() -> None:
            # The time first: nothing that was committed before it is missing.
            began.append(self._control.utc_now())
            for session in sessions:
                session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

        self._folder = os.path.join(writer.part, "files")
        os.mkdir(self._folder, 0o700)
        directory = _tablespaces.data_directory(self._source.server)
        self._copy = _hot_copy.HotCopy(self._control.login, directory, self._database, self._folder, [writer.lock_file], self._patience)
        moment = self._copy.run(open_transactions, len(sessions) - 1, progress, self._source.file_bytes)
        if not began:
            raise SnapshotError(self._control.login.name, "mariadb-backup did not say when its copy was complete.", "Take the snapshot with engine=rows.")
        return Freeze(began[0], "backup_stage", moment.lock_wait_s, moment.lock_s)

    @contextlib.contextmanager
    def meanwhile(self) -> t.Iterator[None]:
        """Recover the copied files."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            recovery = pool.submit(self._copy.prepare)
            yield
            recovery.result()

    def seal(self, tables: t.Sequence[Table], writer: _artefact.Writer, workers: int, size: int, progress: Progress) -> None:
        """Write the files as pieces, and remove the copy that is in clear text."""
        paths = [(table.name, kind, self._copy.path(table.name, kind)) for table in tables for kind in _tablespaces.KINDS]
        progress.start("seal", sum(os.path.getsize(path) for dummy, dummy2, path in paths))
        places = [(table, kind, path, offset) for table, kind, path in paths for offset in range(0, os.path.getsize(path), size)]
        lock = threading.Lock()

        def work(worker: int, task: t.Tuple[int, t.Tuple[str, str, str, int]]) -> None:
            number, (table, kind, path, offset) = task
            with open(path, "rb") as file:
                file.seek(offset)
                piece = writer.write_piece(table, kind, number, file.read(size))
            with lock:
                self.pieces.setdefault(table, {}).setdefault(kind, []).append(piece)
            progress.add(piece.bytes, piece.size)

        in_parallel(list(range(workers)), iter(enumerate(places, 1)), work)
        for kinds in self.pieces.values():
            for pieces in kinds.values():
                pieces.sort()
        shutil.rmtree(self._folder)


def _lock_statement(control: Session, source: Source, database: str) -> t.Optional[str]:
    if source.grants.holds("RELOAD") or source.grants.holds("FLUSH_TABLES"):
        return "FLUSH TABLES WITH READ LOCK"
    if source.grants.holds("LOCK TABLES", database) and source.schema.tables:
        return "LOCK TABLES " + ", ".join(quote_name(database, table.name) + " READ" for table in source.schema.tables)
    return None


def _freeze(control: Session, sessions: t.Sequence[Session], lock: t.Optional[str], source: Source, patience: float) -> Freeze:
    """Open one transaction a session, all at the same instant, with the lock held as shortly as can be."""
    if not lock:
        began = control.utc_now()
        sessions[0].execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return Freeze(began, "one_connection", 0.0, 0.0)
    # Should this process vanish without a word, the server ends the session and with it the lock.
    control.execute("SET SESSION wait_timeout = 5")
    waited = _acquire(control, lock, source, patience)
    locked = time.monotonic()
    # What was committed before the lock is in the snapshot; so this time is never too late.
    began = control.utc_now()
    for session in sessions:
        session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    control.execute("UNLOCK TABLES")
    held = time.monotonic() - locked
    control.execute("SET SESSION wait_timeout = 28800")
    method = "global_read_lock" if lock.startswith("FLUSH") else "table_read_lock"
    return Freeze(began, method, round(waited, 3), round(held, 3))


def _acquire(control: Session, lock: str, source: Source, patience: float) -> float:
    """Try for the lock in short attempts, since everybody queues behind one that waits."""
    deadline = time.monotonic() + patience
    if control.vendor == "mariadb":
        lock = "SET STATEMENT max_statement_time = {0} FOR {1}".format(_LOCK_ATTEMPT, lock)
    control.execute("SET SESSION lock_wait_timeout = 1")
    while True:
        blockers = long_queries(control) if source.grants.holds("PROCESS") else []
        if not blockers:
            started = time.monotonic()
            try:
                control.execute(lock)
                return time.monotonic() - started
            except DatabaseError as error:
                if error.code not in (LOCK_WAIT_TIMEOUT, STATEMENT_TIMEOUT):
                    raise
        if time.monotonic() > deadline:
            raise SnapshotError(
                control.login.name,
                "no read lock within {0:g} s{1}.".format(patience, "; long statements: " + ", ".join(blockers) if blockers else ""),
                "Wait for long statements and DDL to end, or raise lock_wait_timeout.",
                blocked_by=blockers,
            )
        time.sleep(0.5)


def long_queries(control: Session) -> t.List[str]:
    rows = control.rows(
        "SELECT USER, HOST, ID, TIME FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query' AND TIME >= %s AND ID <> CONNECTION_ID()",
        [_LONG_QUERY],
    )
    return ["{0}@{1} (id {2}, {3} s)".format(*row) for row in rows]


def _binlog_position(session: Session) -> t.Optional[t.Dict[str, str]]:
    """Return the position that belongs to the snapshot, which MariaDB tells anybody; for information only."""
    found = {}
    for name, value in session.rows("SHOW STATUS LIKE 'binlog_snapshot_%'"):
        key, text = [part.decode("utf-8") if isinstance(part, bytes) else part for part in (name, value)]
        found[key.lower().replace("binlog_snapshot_", "")] = text
    return found if found.get("file") else None


def _warned(table: Table, codes: t.Set[int]) -> SnapshotError:
    return SnapshotError(table.name, "reading its rows raised the warnings {0}.".format(sorted(codes)), "Check the table.")


def _altered(database: str) -> SnapshotError:
    return SnapshotError(database, "a table was altered while it was read.", "Take the snapshot again when no upgrade or ALTER TABLE runs.")
