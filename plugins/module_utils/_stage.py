# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Load a snapshot into a shadow schema beside the live database, and prove that it arrived.

A chunk is loaded, measured and noted in one transaction. So whatever kills a run, a chunk is there and verified or not there at all,
and the next run goes on with the chunks that are not noted.
"""

import contextlib
import os
import re
import threading
import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _delta, _privileges, _schema, _tablespaces
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import TABLESPACES, Chunk, Cipher, Content, Snapshot, numbers
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Login, Server, Session, quote_name, read_release, read_server
from ansible_collections.edge_encryption.clone.plugins.module_utils._delta import Base
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import Progress, in_parallel, timed
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import Table, Trigger
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema_journal import CHUNKS, Entry, Journal

LOADING, COMPLETE = "loading", "complete"
# Room for the head of an INSERT statement within max_allowed_packet.
_HEAD = 65536
_COUNTER = re.compile(r"^\).*? AUTO_INCREMENT=(\d+)", re.MULTILINE)


class StageError(EdgeError):
    """The snapshot could not be loaded, or what was loaded is not what was snapshotted."""


class Task(t.NamedTuple):
    """Chunks that are loaded in one transaction: one, or all of a table that has no key to tell them apart."""

    table: Table
    chunks: t.List[Chunk]


def inspect_server(control: Session, database: str, others: t.Sequence[str], delta: bool = False) -> Server:
    """Refuse a target that must not or cannot be written; C(others) are the schemas to be made beside the database."""
    server = read_server(control)
    _privileges.require(control.login.name, _privileges.Grants.read(control).missing_on_target(database, others, delta))
    if server.read_only:
        raise StageError(control.login.name, "the server is read-only.", "Use the primary server, or turn read_only off.")
    return server


def inspect_target(
    control: Session, snapshot: Snapshot, database: str, stage_schema: str, keep: t.Sequence[str], same_server: bool, delta: bool
) -> Server:
    """Refuse a target that a snapshot must not or cannot be loaded into."""
    server = inspect_server(control, database, [stage_schema], delta)
    source = snapshot.data["server"]
    if snapshot.is_of(server.identity, database) and not same_server:
        raise StageError(
            "{0} on {1}".format(database, control.login.name),
            "is the database that the snapshot was taken from.",
            "Log in to the target's server; to put a safety snapshot back, set allow_same_server.",
        )
    if server.vendor != source["vendor"]:
        raise StageError(
            control.login.name,
            "the snapshot is from {0} {1}, this server is {2} {3}.".format(source["vendor"], source["version"], server.vendor, server.version),
            "Use a target server of the same vendor.",
        )
    tables = [Table.from_json(entry) for entry in snapshot.data["tables"]]
    known = {str(value) for row in control.rows("SELECT * FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY") for value in row}
    unknown = sorted({column.collation for table in tables for column in table.columns if column.collation} - known)
    if unknown:
        raise StageError(control.login.name, "does not know the collations {0}.".format(", ".join(unknown)), "Use a server at least as new as the source.")
    if snapshot.engine == TABLESPACES:
        _refuse_files(control, server, snapshot)
    refuse_strangers(control, database, [table.name for table in tables], keep)
    return server


def _refuse_files(control: Session, server: Server, snapshot: Snapshot) -> None:
    source = snapshot.data["server"]
    there = {"vendor": source["vendor"], "release": list(read_release(source["version"])), "page_size": snapshot.data["page_size"]}
    reasons = _tablespaces.reasons_against_pair(there, _tablespaces.facts(control, server)) + _tablespaces.reasons_against_target(control, server)
    if reasons:
        raise StageError(
            control.login.name,
            "cannot import the files of the snapshot {0}: {1}.".format(snapshot.id, "; ".join(reasons)),
            "Correct that, or take a snapshot with engine=rows.",
        )


def refuse_strangers(control: Session, database: str, expected: t.Sequence[str], keep: t.Sequence[str]) -> None:
    """Refuse a live database with tables that nobody accounts for, or that other databases hold on to by foreign keys."""
    present = _schema.table_names(control, database)
    strange = sorted(set(present) - set(expected) - set(keep))
    if strange:
        raise StageError(
            database,
            "holds tables that the snapshot does not know: {0}.".format(", ".join(strange)),
            "Name them in keep_tables to leave them in place, or move them away.",
        )
    missing = sorted(set(keep) - set(present))
    if missing:
        raise StageError(database, "has no tables {0} to keep.".format(", ".join(missing)), "Correct keep_tables.")
    rows = _schema.references(control, database)
    outside = sorted({child.replace("/", ".") for child, parent in rows if child.split("/")[0] != parent.split("/")[0]})
    if outside:
        raise StageError(
            database,
            "foreign keys of other databases point to it and would follow the old tables: {0}.".format(", ".join(outside)),
            "Drop these foreign keys.",
        )
    bound = sorted({name for pair in rows for name in (item.split("/")[1] for item in pair) if name in keep})
    if bound:
        raise StageError(database, "these kept tables are bound by foreign keys: {0}.".format(", ".join(bound)), "Keep all of them or none.")


def staged(control: Session, stage_schema: str, snapshot_id: str, server: Server) -> t.Optional[Entry]:
    """Return the journal's line when this snapshot was completely staged on this very server and all its tables are still there.

    A replica that has become the primary holds the stage as well, but nobody has verified it there.
    """
    entry = Journal(control, stage_schema).read()
    if not entry or entry.phase != COMPLETE or entry.snapshot != snapshot_id or entry.detail.get("identity") != server.identity:
        return None
    names = {table["name"] for table in entry.detail["tables"]}
    return entry if names <= set(_schema.table_names(control, stage_schema)) else None


class Stage:
    """Loads one snapshot.

    Args:
        login: the target server.
        control: a session there, in UTF-8.
        snapshot: what to load, with its cipher.
        schema: the shadow schema.
        run_id: recorded with what was staged.
        find_base: returns tables to begin with, instead of empty ones; a stage that goes on has begun with some or none.
    """

    def __init__(
        self,
        login: Login,
        control: Session,
        server: Server,
        snapshot: Snapshot,
        cipher: t.Optional[Cipher],
        schema: str,
        run_id: str,
        progress: Progress,
        find_base: t.Callable[[], t.Optional[Base]] = lambda: None,
    ) -> None:
        self._login = login
        self._control = control
        self._server = server
        self._snapshot = snapshot
        self._cipher = cipher
        self._schema = schema
        self._run_id = run_id
        self._progress = progress
        self._lock = threading.Lock()
        self._tables = [Table.from_json(entry) for entry in snapshot.data["tables"]]
        self._left = {}  # type: t.Dict[str, int]
        self._find_base = find_base
        self._base = None  # type: t.Optional[Base]
        # By chunk that a base holds in part: the places of the rows to load.
        self._missing = {}  # type: t.Dict[int, t.Optional[t.Sequence[int]]]
        self._loaded = 0
        self._delta = {"rows_kept": 0, "rows_added": 0, "rows_removed": 0}

    @property
    def load_method(self) -> str:
        return "load_data" if self._server.local_infile else "insert"

    def run(self, workers: int) -> t.Dict[str, t.Any]:
        """Load what is missing, verify it, and return what was done."""
        began = time.monotonic()
        journal = Journal(self._control, self._schema)
        entry = journal.read()
        if entry and (entry.snapshot != self._snapshot.id or entry.detail.get("identity") != self._server.identity):
            journal.drop()
            entry = None
        journal.create(self._snapshot.data["charset"], self._snapshot.data["collation"])
        if not entry or entry.phase != LOADING:
            self._base = self._find_base()
            detail = {"identity": self._server.identity, "base": self._base._asdict() if self._base else None}
            journal.write(LOADING, self._snapshot.id, self._run_id, detail)
        else:
            self._base = Base(**entry.detail["base"]) if entry.detail.get("base") else None
        if self._base:
            _delta.adopt(self._control, self._base, self._schema)
        resumed = self._create_tables()
        self._prove_views_and_triggers()
        timings = {}  # type: t.Dict[str, float]
        with contextlib.ExitStack() as stack:
            sessions = [stack.enter_context(self._load_session()) for dummy in range(workers)]
            self._bring_rows(sessions, resumed, timings)
            with timed(timings, "check_s"):
                self._add_foreign_keys()
                for table in self._tables:
                    self._compare_definition(table)
        journal.write(COMPLETE, self._snapshot.id, self._run_id, self._detail())
        timings["total_s"] = round(time.monotonic() - began, 3)
        result = {"load_method": self.load_method, "chunks_resumed": len(resumed), "timings": timings}  # type: t.Dict[str, t.Any]
        result["binary_log_bytes"] = self._loaded if self._server.binary_log else 0
        return dict(result, delta=dict(self._delta, schema=self._base.schema)) if self._base else result

    def _bring_rows(self, sessions: t.Sequence[Session], resumed: t.Set[int], timings: t.Dict[str, float]) -> None:
        """Bring all rows but those of the chunks that are there already, and verify them."""
        if self._base:
            with timed(timings, "compare_s"):
                resumed = self._compare_base(sessions, resumed)
        with timed(timings, "load_s"):
            in_parallel(sessions, iter(self._tasks(resumed)), self._load)

    def _detail(self) -> t.Dict[str, t.Any]:
        """Return all that the cut-over needs, so that it does without the artefact."""
        data = self._snapshot.data
        return dict(
            {name: data[name] for name in ("began", "charset", "collation", "views", "triggers")},
            identity=self._server.identity,
            tables=self._snapshot.totals(),
            load_method=self.load_method,
        )

    def _create_tables(self) -> t.Set[int]:
        """Create the tables that are missing and return the numbers of the chunks that are already there."""
        self._control.execute("SET SESSION foreign_key_checks = 0")
        self._control.execute(
            "CREATE TABLE IF NOT EXISTS {0} (number INT PRIMARY KEY) ENGINE=InnoDB".format(quote_name(self._schema, CHUNKS))
        )
        present = _schema.table_names(self._control, self._schema)
        for table in self._tables:
            if table.name not in present:
                self._control.execute(self._create_statement(table))
        self._control.execute("SET SESSION foreign_key_checks = 1")
        return {int(row[0]) for row in self._control.rows("SELECT number FROM " + quote_name(self._schema, CHUNKS))}

    def _create_statement(self, table: Table) -> str:
        return _schema.create_statement(self._schema, table)

    def _compare_base(self, sessions: t.Sequence[Session], resumed: t.Set[int]) -> t.Set[int]:
        """Remove from the base what the snapshot lacks, and return the numbers of the chunks that need no loading any more.

        All removals come before the first row is added, so that no unique key is in the way.
        """
        tables = [table for table in self._tables if self._base and table.name in self._base.tables]
        tasks = [(table, chunk) for table in tables for chunk in self._snapshot.chunks(table.name) if chunk.number not in resumed]
        self._progress.start("compare", sum(chunk.rows for dummy, chunk in tasks))
        equal = set()  # type: t.Set[int]

        def work(session: Session, task: t.Tuple[Table, Chunk]) -> None:
            table, chunk = task
            if self._compare_chunk(session, table, chunk):
                equal.add(chunk.number)
            self._progress.add(chunk.rows, chunk.size)

        in_parallel(sessions, iter(tasks), work)
        return resumed | equal

    def _compare_chunk(self, session: Session, table: Table, chunk: Chunk) -> bool:
        """Tell whether the chunk's rows are there already and nothing else; otherwise remember which are missing."""
        header, hashes = self._snapshot.read_index(table.name, chunk, self._cipher)
        condition = _schema.key_range(table, header["after"], header["upto"])

        def work() -> t.Tuple[_delta.Difference, int]:
            difference = _delta.compare(session, self._schema, table, condition, hashes)
            if difference.equal:
                self._note(session, chunk)
                return difference, 0
            texts = _delta.pick(self._snapshot.read(table.name, chunk, self._cipher).rows, difference.missing) if difference.extra else []
            return difference, _delta.remove_extra(session, self._schema, table, condition, difference, texts)

        difference, removed = session.transaction(work)
        added = 0 if difference.equal else chunk.rows if difference.missing is None else len(difference.missing)
        with self._lock:
            if not difference.equal:
                self._missing[chunk.number] = difference.missing
            self._delta["rows_kept"] += chunk.rows - added
            self._delta["rows_added"] += added
            self._delta["rows_removed"] += removed
        return difference.equal

    def _note(self, session: Session, chunk: Chunk) -> None:
        """Note that a chunk is there and verified; part of the transaction that made it so."""
        session.execute("INSERT INTO {0} VALUES (%s)".format(quote_name(self._schema, CHUNKS)), [chunk.number])

    def _tasks(self, resumed: t.Set[int]) -> t.List[Task]:
        """Return what is to be loaded, largest table first; a table without chunks still gets its indexes."""
        tasks = []
        self._progress.start("stage", sum(total["rows"] for total in self._snapshot.totals()))
        for table in self._tables:
            chunks = self._snapshot.chunks(table.name)
            missing = [chunk for chunk in chunks if chunk.number not in resumed]
            self._progress.add(sum(chunk.rows for chunk in chunks if chunk.number in resumed), 0)
            parts = [[chunk] for chunk in missing] if table.key else [missing] if missing else []
            tasks += [Task(table, part) for part in parts or [[]]]
            self._left[table.name] = len(parts or [[]])
        return sorted(tasks, key=lambda task: -sum(chunk.bytes for chunk in self._snapshot.chunks(task.table.name)))

    def _load_session(self) -> Session:
        session = Session(self._login, binary=True, local_infile=self._server.local_infile)
        # The rows come with their parents or without; foreign keys are checked when all are there.
        session.execute("SET SESSION foreign_key_checks = 0, unique_checks = 1")
        # As long as a value may be: on MySQL it is 1,024 by default, the hashes of 64 rows.
        session.execute("SET SESSION group_concat_max_len = {0}".format(self._server.max_allowed_packet))
        if session.vendor == "mariadb":
            session.execute("SET SESSION check_constraint_checks = 0")
        return session

    def _load(self, session: Session, task: Task) -> None:
        if task.chunks:
            size = session.transaction(lambda: self._load_chunks(session, task))
            with self._lock:
                self._loaded += size
            self._progress.add(sum(chunk.rows for chunk in task.chunks), sum(chunk.size for chunk in task.chunks))
        with self._lock:
            self._left[task.table.name] -= 1
            last = self._left[task.table.name] == 0
        if last:
            self._finish_table(session, task.table)

    def _load_chunks(self, session: Session, task: Task) -> int:
        """Load and verify chunks, and return the bytes of the text that was loaded."""
        loaded = 0
        for chunk in task.chunks:
            content = self._snapshot.read(task.table.name, chunk, self._cipher)
            missing = self._missing.get(chunk.number)
            if missing is not None:
                loaded += self._complete(session, task.table, chunk, content, missing)
            else:
                loaded += len(content.rows)
                if chunk.rows:
                    self._insert(session, task.table, chunk, chunk.rows, content.rows)
                if task.table.key:
                    self._verify(session, task.table, [chunk], _schema.key_range(task.table, content.header["after"], content.header["upto"]))
            self._note(session, chunk)
        if not task.table.key:
            self._verify(session, task.table, task.chunks, "TRUE")
        return loaded

    def _complete(self, session: Session, table: Table, chunk: Chunk, content: Content, missing: t.Sequence[int]) -> int:
        """Add the rows that the comparison found missing, and verify these; all others it has verified, and it has removed what was too much."""
        texts = _delta.pick(content.rows, missing)
        if texts:
            self._insert(session, table, chunk, len(texts), _schema.ROW_SEPARATOR.join(texts))
        condition = _schema.key_range(table, content.header["after"], content.header["upto"])
        found = _delta.measure_rows(session, self._schema, table, texts)
        if found is None:
            self._verify(session, table, [chunk], condition)
        else:
            hashes = numbers(content.hashes)
            rows = session.value("SELECT COUNT(*) FROM {0} WHERE {1}".format(quote_name(self._schema, table.name), condition))
            if found != (len(texts), sum(hashes[place] for place in missing)) or rows != chunk.rows:
                raise self._differs(table, chunk)
        return sum(map(len, texts))

    def _insert(self, session: Session, table: Table, chunk: Chunk, rows: int, text: bytes) -> None:
        target = quote_name(self._schema, table.name)
        if self.load_method == "load_data":
            counts = [_load_data(session, target, _schema.load_list(table), text)]
            codes = session.warning_codes()
        else:
            counts, codes = [], []
            head = "INSERT INTO {0} ({1}) VALUES ".format(target, _schema.column_list(table)).encode("utf-8")
            for part in split_rows(table.name, _schema.insert_values(table, text), self._server.max_allowed_packet - _HEAD):
                counts.append(session.execute(head + part))
                codes += session.warning_codes()
        if codes or sum(counts) != rows:
            raise StageError(
                table.name,
                "chunk {0}: {1} of {2} rows arrived, warnings {3}.".format(chunk.number, sum(counts), rows, codes),
                "Compare the settings of this server with those of the source.",
            )

    def _verify(self, session: Session, table: Table, chunks: t.Sequence[Chunk], condition: str) -> None:
        expected = (sum(chunk.rows for chunk in chunks), sum(chunk.checksum for chunk in chunks))
        measure = _schema.measure_range if table.key else _schema.measure
        if measure(session, self._schema, table, condition) != expected:
            raise self._differs(table, chunks[0])

    @staticmethod
    def _differs(table: Table, chunk: Chunk) -> StageError:
        return StageError(
            table.name,
            "chunk {0}: rows or checksum on this server are not those of the snapshot.".format(chunk.number),
            "Take a new snapshot; compare versions and settings of both servers.",
        )

    def _finish_table(self, session: Session, table: Table) -> None:
        """Add the indexes that are missing, which proves uniqueness too, and count the rows of the table that this made anew."""
        # Definitions are UTF-8.
        session.execute("SET NAMES utf8mb4")
        name = quote_name(self._schema, table.name)
        create = session.rows("SHOW CREATE TABLE " + name)[0][1]
        present = _schema.index_names(create)
        missing = ["ADD " + line for line in _schema.split_create(table)[1] if not set(_schema.index_names("  " + line)) <= set(present)]
        missing += missing_counter(create, table)
        if missing:
            session.execute("ALTER TABLE {0} {1}".format(name, ", ".join(missing)))
            rows, expected = session.value("SELECT COUNT(*) FROM " + name), sum(chunk.rows for chunk in self._snapshot.chunks(table.name))
            if rows != expected:
                raise StageError(table.name, "holds {0} rows instead of {1}.".format(rows, expected), "Stage the snapshot again.")
        session.execute("SET NAMES binary")

    def _add_foreign_keys(self) -> None:
        self._control.execute("SET SESSION foreign_key_checks = 0")
        for table in self._tables:
            name = quote_name(self._schema, table.name)
            present = _schema.foreign_names(self._control.rows("SHOW CREATE TABLE " + name)[0][1])
            keys = _schema.foreign_keys(table)
            missing = [line for key, line in zip(keys, _schema.split_create(table)[2]) if key[0] not in present]
            if missing:
                self._control.execute("ALTER TABLE {0} {1}".format(name, ", ".join("ADD " + line for line in missing)))
            for key, columns, parent, parent_columns in keys:
                self._refuse_orphans(table.name, key, columns, parent, parent_columns)
        self._control.execute("SET SESSION foreign_key_checks = 1")

    def _refuse_orphans(self, child: str, key: str, columns: t.List[str], parent: str, parent_columns: t.List[str]) -> None:
        """The server does not check keys that are added with the checks off, as they are for speed."""
        pairs = ["c.{0} = p.{1}".format(quote_name(one), quote_name(other)) for one, other in zip(columns, parent_columns)]
        whole = ["c.{0} IS NOT NULL".format(quote_name(column)) for column in columns]
        orphans = self._control.value(
            "SELECT COUNT(*) FROM {0} AS c LEFT JOIN {1} AS p ON {2} WHERE {3} AND p.{4} IS NULL".format(
                quote_name(self._schema, child),
                quote_name(self._schema, parent),
                " AND ".join(pairs),
                " AND ".join(whole),
                quote_name(parent_columns[0]),
            )
        )
        if orphans:
            raise StageError(child, "{0} rows break the foreign key {1}.".format(orphans, key), "Repair these rows on the source.")

    def _compare_definition(self, table: Table) -> None:
        """Compare what the server made of the definition; servers of another release may write the same one differently."""
        create = self._control.rows("SHOW CREATE TABLE " + quote_name(self._schema, table.name))[0][1]
        same_release = self._server.release == read_release(self._snapshot.data["server"]["version"])
        if same_release and _schema.comparable(create) != _schema.comparable(table.create):
            raise StageError(table.name, "its definition on this server is not that of the snapshot.", "Compare the settings of both servers.")
        if missing_counter(create, table):
            raise StageError(table.name, "its AUTO_INCREMENT counter is behind the snapshot's.", "Stage the snapshot again.")

    def _prove_views_and_triggers(self) -> None:
        """Create views and triggers and drop them before anything is loaded, so that the cut-over does not meet their errors."""
        _schema.create_triggers(self._control, self._schema, [Trigger(*entry) for entry in self._snapshot.data["triggers"]])
        _schema.create_views(self._control, self._schema, self._snapshot.data["views"])
        _schema.drop_views_and_triggers(self._control, self._schema)


def split_rows(table: str, text: bytes, limit: int) -> t.Iterator[bytes]:
    """Return the rows of a chunk as parts for INSERT, of at most C(limit) bytes each."""
    part, size = [], 0  # type: t.List[bytes], int
    for row in text.split(_schema.ROW_SEPARATOR):
        if len(row) > limit:
            raise StageError(table, "one of its rows is larger than max_allowed_packet.", "Raise it on the target server.")
        if size + len(row) > limit:
            yield b",".join(part)
            part, size = [], 0
        part.append(row)
        size += len(row) + 1
    yield b",".join(part)


def _load_data(session: Session, target: str, columns: str, text: bytes) -> int:
    """Load the text from a pipe; the rows of an INSERT are fields in quotes between brackets, which LOAD DATA reads as well."""
    reader, writer = os.pipe()

    def feed() -> None:
        # When the server refuses the statement, nobody reads on; its error is the one to tell.
        with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as file:
            file.write(text)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        return session.execute(
            "LOAD DATA LOCAL INFILE '/dev/fd/{0}' INTO TABLE {1} CHARACTER SET binary FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\''"
            " ESCAPED BY '\\\\' LINES STARTING BY '(' TERMINATED BY ')' {2}".format(reader, target, columns)
        )
    finally:
        os.close(reader)
        thread.join()


def missing_counter(create: str, table: Table) -> t.List[str]:
    """Return the part of ALTER TABLE that brings the next AUTO_INCREMENT value up to the snapshot's; nothing when it is there."""
    present, wanted = (int(found.group(1)) if found else 0 for found in map(_COUNTER.search, (create, table.create)))
    return ["AUTO_INCREMENT = {0}".format(wanted)] if present < wanted else []
