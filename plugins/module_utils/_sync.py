# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The states of a token database, each reached by one call that first looks whether it is already so."""

import datetime
import os
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import (
    _artefact,
    _cut_over,
    _delta,
    _import,
    _replicas,
    _schema,
    _schema_journal,
    _snapshot,
    _stage,
    _tablespaces,
)
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import ROWS, TABLESPACES, ArtefactError, Snapshot, TimeRule
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Login, Server, Session
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import Progress

Result = t.Dict[str, t.Any]
AUTO = "auto"


class Request(t.NamedTuple):
    """What a state needs to know; the names are those of the module's options."""

    login: Login
    database: str
    snapshot_dir: t.Optional[str] = None
    snapshot: t.Optional[str] = None
    engine: str = ROWS
    target_tablespaces: t.Optional[t.Dict[str, t.Any]] = None
    source_server: t.Optional[t.Dict[str, str]] = None
    backup_time: t.Optional[str] = None
    margin: float = 0
    max_lag: float = 14400
    run_id: t.Optional[str] = None
    encryption_key: t.Optional[str] = None
    encryption_key_file: t.Optional[str] = None
    unencrypted: bool = False
    stage_schema: t.Optional[str] = None
    previous_schema: t.Optional[str] = None
    keep_tables: t.Sequence[str] = ()
    delta: bool = False
    allow_connected: bool = False
    allow_same_server: bool = False
    instance_rolled_back: bool = False
    force_mismatch: t.Optional[str] = None
    workers: int = 2
    chunk_bytes: int = 4194304
    lock_wait_timeout: int = 10
    replicas: t.Sequence[t.Dict[str, t.Any]] = ()
    replica_timeout: float = 600
    keep_snapshots: t.Optional[int] = None
    keep_for: float = 691200

    @property
    def stage(self) -> str:
        return self.stage_schema or _schema_journal.stage_name(self.database)

    @property
    def previous(self) -> str:
        return self.previous_schema or _schema_journal.previous_name(self.database, self.run_id or "")

    @property
    def undone(self) -> str:
        return _schema_journal.undone_name(self.database, self.run_id or "")

    @property
    def rule(self) -> t.Optional[TimeRule]:
        if not self.backup_time:
            return None
        return TimeRule(_artefact.parse_time("backup_time", self.backup_time), self.margin, self.max_lag)

    @property
    def secret(self) -> t.Optional[bytes]:
        return _artefact.read_secret(self.encryption_key, self.encryption_key_file)


def snapshotted(request: Request, check: bool, diff: bool, progress: Progress) -> Result:
    """Have a snapshot of the database that the time rule allows, or that was taken for this run."""
    secret, directory = request.secret, str(request.snapshot_dir)
    if bool(secret) == request.unencrypted:
        cause = "an encryption key was given, although unencrypted is set." if secret else "no encryption key was given."
        raise ArtefactError("snapshot", cause, "Give encryption_key or encryption_key_file, or set unencrypted.")
    with Session(request.login) as control:
        source = _snapshot.inspect(control, request.database)
        own = [found for found in _artefact.list_snapshots(directory) if found.is_of(source.server.identity, request.database)]
        engine, refused = _choose_engine(control, source, request)
        found = _qualified([found for found in own if found.engine in (engine, request.engine.replace(AUTO, ROWS))], request)
        if found:
            return _snapshot_result(found, False, diff)
        now = _artefact.parse_time("clock", control.utc_now())
        if request.rule:
            request.rule.require(now, "a snapshot taken now")
        if check:
            return {"changed": True, "tablespaces_refused": refused, "diff": _diff("snapshot", [], None) if diff else {}}
    snapshot, timings = _snapshot.take(
        request.login,
        request.database,
        directory,
        secret,
        request.workers,
        request.chunk_bytes,
        request.lock_wait_timeout,
        request.run_id,
        engine,
        progress,
    )
    removed = []
    if request.keep_snapshots is not None:
        for old in _artefact.superfluous(own + [snapshot], request.keep_snapshots, request.keep_for, now):
            _artefact.remove(old)
            removed.append(old.id)
    return dict(_snapshot_result(snapshot, True, diff), timings=timings, removed_snapshots=removed, tablespaces_refused=refused)


def _choose_engine(control: Session, source: _snapshot.Source, request: Request) -> t.Tuple[str, t.List[str]]:
    """Return what to copy, and why it is not files although they were asked for."""
    if request.engine == ROWS:
        return ROWS, []
    target = request.target_tablespaces
    refused = _tablespaces.reasons_against_source(control, source.server, source.grants, request.database, source.schema.tables)
    if target:
        refused += _tablespaces.reasons_against_pair(_tablespaces.facts(control, source.server), target) + list(target["target"])
    elif request.engine != TABLESPACES:
        refused.append("target_tablespaces does not say whether the target can import files")
    if refused and request.engine == TABLESPACES:
        raise EdgeError(
            control.login.name, "cannot copy the files of {0}: {1}.".format(request.database, "; ".join(refused)), "Correct that, or take engine=rows."
        )
    return ROWS if refused else TABLESPACES, refused


def staged(request: Request, check: bool, diff: bool, progress: Progress) -> Result:
    """Have the chosen snapshot loaded and verified in the shadow schema."""
    with Session(request.login) as control:
        snapshot = choose(request, _stage.read_server(control).identity)
        cipher = snapshot.unlock(request.secret)
        server = _stage.inspect_target(control, snapshot, request.database, request.stage, request.keep_tables, request.allow_same_server, request.delta)
        _schema_journal.exclusive(control, request.database)
        result = {"changed": False, "verified": True, "snapshot": snapshot.summary(), "tables": snapshot.totals(), "stage_schema": request.stage}
        _replicas.look(control, server, request.replicas, 0)
        own = [entry[0] for entry in snapshot.data["views"] + snapshot.data["triggers"]]
        if own:
            result["warnings"] = ["These views and triggers will run as {0}: {1}.".format(server.account, ", ".join(own))]
        if _under_way(control, request, snapshot):
            return result
        entry = _stage.staged(control, request.stage, snapshot.id, server)
        if entry and entry.run_id == (request.run_id or entry.run_id):
            return result
        result["changed"] = True
        if diff:
            result["diff"] = _diff(request.stage, entry.detail["tables"] if entry else [], snapshot.totals())
        if check:
            return dict(result, verified=bool(entry))
        if entry:
            _schema_journal.Journal(control, request.stage).write(_stage.COMPLETE, snapshot.id, str(request.run_id), entry.detail)
            return result
        run_id = request.run_id or ""

        def find_base() -> t.Optional[_delta.Base]:
            if not request.delta or snapshot.engine != ROWS:
                return None
            return _delta.find_base(control, request.database, snapshot, run_id, request.keep_for)

        kind = _stage.Stage if snapshot.engine == ROWS else _import.ImportStage
        stage = kind(request.login, control, server, snapshot, cipher, request.stage, run_id, progress, find_base)
        return dict(result, **stage.run(request.workers))


def cut_over(request: Request, check: bool, diff: bool, progress: Progress) -> Result:
    """Have the staged tables live and the replaced ones kept."""
    run_id = str(request.run_id)

    def plan(control: Session, server: Server) -> t.Tuple[_cut_over.Swap, bool]:
        return _cut_over.cut_over(
            control,
            server,
            request.database,
            request.stage,
            request.previous,
            request.undone,
            run_id,
            request.keep_tables,
            request.snapshot,
            request.rule,
        )

    return _swap(request, plan, [request.stage, request.previous], check, diff, progress)


def rolled_back(request: Request, check: bool, diff: bool, progress: Progress) -> Result:
    """Have the tables live again that the run's cut-over replaced."""
    if not request.instance_rolled_back and request.force_mismatch != request.database:
        raise EdgeError(
            request.database,
            "the instance was not rolled back, so its values need the tokens that are live now.",
            "Roll the instance back first and set instance_rolled_back, or name this database in force_mismatch.",
        )
    run_id = str(request.run_id)

    def plan(control: Session, server: Server) -> t.Tuple[_cut_over.Swap, bool]:
        return _cut_over.roll_back(control, request.database, request.previous, request.undone, run_id)

    return _swap(request, plan, [request.previous, request.undone], check, diff, progress)


def pruned(request: Request, check: bool, diff: bool, progress: Progress) -> Result:
    """Have a schema with replaced tables gone, once it is old enough."""
    with Session(request.login) as control:
        _stage.inspect_server(control, request.database, [request.previous])
        _schema_journal.exclusive(control, request.database)
        changed = _cut_over.prune(control, request.database, request.previous, request.keep_for)
        if changed and not check:
            _schema_journal.Journal(control, request.previous).drop()
    return {"changed": changed, "previous_schema": request.previous}


def discarded(request: Request, check: bool, diff: bool, progress: Progress) -> Result:
    """Have the shadow schema of a run gone that will never be put live."""
    with Session(request.login) as control:
        _stage.inspect_server(control, request.database, [request.stage])
        _schema_journal.exclusive(control, request.database)
        journal = _schema_journal.Journal(control, request.stage)
        entry = journal.read()
        changed = False
        if entry and entry.run_id == request.run_id:  # what another run staged is none of this run's business
            changed = True
            for schema, line in _schema_journal.own_schemas(control, request.database):
                if line and line.phase == _cut_over.PLANNED:
                    raise EdgeError(schema, "the exchange of tables of the run {0} was interrupted.".format(line.run_id), "Complete it first.")
            if not check:
                journal.drop()
    return {"changed": changed, "stage_schema": request.stage}


def choose(request: Request, identity: t.Dict[str, str]) -> Snapshot:
    """Return the snapshot that is named, or the oldest one that the time rule allows; never one by default."""
    directory = str(request.snapshot_dir)
    if request.snapshot:
        if os.sep in request.snapshot:
            raise ArtefactError(request.snapshot, "is a path, not the id of a snapshot.", "Give snapshot_dir and the id.")
        found = _artefact.load(os.path.join(directory, request.snapshot))
        if request.rule:
            request.rule.require(_artefact.parse_time("began", found.began), "the snapshot " + found.id)
        return found
    if not request.rule:
        raise ArtefactError("backup_time", "is not given, so no snapshot can be chosen.", "Give the end of the instance's backup in UTC, or a snapshot.")
    others = [found for found in _artefact.list_snapshots(directory) if request.allow_same_server or not found.is_of(identity, request.database)]
    of_the_kind = [found for found in others if request.engine in (AUTO, found.engine)]
    if others and not of_the_kind:
        cause = "holds snapshots, but none with engine={0}.".format(request.engine)
        raise ArtefactError(directory, cause, "Take one with state=snapshotted, or set engine=auto.")
    others = of_the_kind
    sources = {_place(found.data["server"]["identity"]) for found in others}
    if request.source_server:
        others = [found for found in others if found.data["server"]["identity"] == request.source_server]
        if sources and not others:
            cause = "holds snapshots of {0}, and none of {1}.".format(", ".join(sorted(sources)), _place(request.source_server))
            raise ArtefactError(directory, cause, "Take one with state=snapshotted. If one of them is of the same database, name it with snapshot.")
    elif len(sources) > 1:
        way_out = "Name one with snapshot, or its server with source_server."
        raise ArtefactError(directory, "holds snapshots of several servers: {0}.".format(", ".join(sorted(sources))), way_out)
    chosen = request.rule.choose(others)
    if chosen:
        return chosen
    if not others:
        raise ArtefactError(directory, "holds no complete snapshot of another database.", "Take one with state=snapshotted.")
    later = [found for found in others if _artefact.parse_time("began", found.began) > request.rule.latest]
    nearest = later[0] if later else others[-1]
    request.rule.require(_artefact.parse_time("began", nearest.began), "the nearest snapshot, {0},".format(nearest.id))
    raise AssertionError("the rule allows what it did not choose")


def _place(identity: t.Dict[str, str]) -> str:
    return "{0}:{1} {2}".format(*(identity.get(name) for name in ("hostname", "port", "datadir")))


def measure_all(login: Login, schema: str, names: t.Optional[t.Sequence[str]] = None) -> t.List[Result]:
    """Return rows and checksum of tables, in the manner of a snapshot's; every row is read."""
    with Session(login) as control, Session(login, binary=True) as session:
        if not _schema.schema_exists(control, schema):
            return []
        tables = [table for table in _schema.read_schema(control, schema).tables if names is None or table.name in names]
        totals = [(table.name, _schema.measure(session, schema, table)) for table in tables]
    return [{"name": name, "rows": rows, "checksum": _artefact.format_checksum(total)} for name, (rows, total) in totals]


def _swap(
    request: Request,
    plan: t.Callable[[Session, Server], t.Tuple[_cut_over.Swap, bool]],
    schemas: t.Sequence[str],
    check: bool,
    diff: bool,
    progress: Progress,
) -> Result:
    with Session(request.login) as control:
        server = _stage.inspect_server(control, request.database, schemas)
        _schema_journal.exclusive(control, request.database)
        swap, done = plan(control, server)
        result = {
            "changed": not done,
            "verified": done or not check,
            "snapshot": {"id": swap.snapshot, "began": swap.plan["began"]},
            "tables": swap.plan["tables"],
            "previous_schema": swap.plan["keep"],
        }
        if done:
            if not check:
                swap.clean_up()
            return result
        if not request.allow_connected:
            _cut_over.refuse_connected(control, request.database)
        if diff:
            before = measure_all(request.login, request.database, swap.plan["out"])
            after = swap.plan["tables"] or measure_all(request.login, swap.plan["source"], swap.plan["in"])
            result["diff"] = _diff(request.database, before, after)
        if check:
            found = _replicas.look(control, server, request.replicas, 0)
        else:
            found = _replicas.require(control, server, request.replicas, request.replica_timeout, progress)
            result["timings"] = swap.run(request.lock_wait_timeout)
        return dict(result, replicas=[replica._asdict() for replica in found])


def _under_way(control: Session, request: Request, snapshot: Snapshot) -> bool:
    """Tell whether the run's cut-over has begun or is done with this snapshot; refuse while another one is half way."""
    for schema, entry in _schema_journal.own_schemas(control, request.database):
        if not entry or entry.detail.get("keep") != schema:
            continue
        mine = entry.run_id == request.run_id and entry.snapshot == snapshot.id and entry.detail["kind"] == "cut_over"
        if entry.phase == _cut_over.PLANNED and not mine:
            raise EdgeError(schema, "the exchange of tables of the run {0} was interrupted.".format(entry.run_id), "Complete it first.")
        if mine and (entry.phase == _cut_over.PLANNED or _cut_over.Swap(control, entry.run_id, entry.snapshot, entry.detail, True).is_live()):
            return True
    return False


def _qualified(own: t.Sequence[Snapshot], request: Request) -> t.Optional[Snapshot]:
    if request.rule:
        return request.rule.choose(own)
    matching = [found for found in own if request.run_id and found.data["run_id"] == request.run_id]
    return matching[0] if matching else None


def _snapshot_result(snapshot: Snapshot, changed: bool, diff: bool) -> Result:
    result = {"changed": changed, "snapshot": snapshot.summary(), "tables": snapshot.totals(), "left_out": snapshot.data["left_out"]}
    if diff and changed:
        result["diff"] = _diff("snapshot", [], snapshot.totals())
    return result


def _diff(thing: str, before: t.Sequence[Result], after: t.Optional[t.Sequence[Result]]) -> Result:
    """Return rows and checksum a table before and after; V(after=None) stands for numbers that only the change itself brings."""

    def text(tables: t.Sequence[Result]) -> str:
        return "".join("{name} {rows} rows {checksum}\n".format(**table) for table in tables)

    return {"before_header": thing, "after_header": thing, "before": text(before), "after": "a new snapshot\n" if after is None else text(after)}


def clock_skew(session: Session) -> float:
    """Return by how many seconds the server's clock is ahead of this host's, to half a round trip."""
    asked = datetime.datetime.now(datetime.timezone.utc)
    server = _artefact.parse_time("clock", session.utc_now()).replace(tzinfo=datetime.timezone.utc)
    answered = datetime.datetime.now(datetime.timezone.utc)
    return round((server - asked - (answered - asked) / 2).total_seconds(), 3)
