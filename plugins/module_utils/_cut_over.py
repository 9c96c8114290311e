# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Exchange all tables of the live database at once, keep what was replaced, and be able to go back.

A swap moves tables out of the live database into a schema that keeps them, and others in from the schema that holds them, by one
RENAME TABLE. What will be done is written into the journal of the keeping schema first, and each step looks at what is already done;
so a swap that was interrupted is completed by starting it again. A roll-back is a swap too.
"""

import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _schema, _stage
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import TimeRule, parse_time
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import LOCK_WAIT_TIMEOUT, DatabaseError, Server, Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import Trigger
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema_journal import COMPLETE, OWN_TABLES, PLANNED, UNDONE, Entry, Journal, age


class CutOverError(EdgeError):
    """The tables were not exchanged."""


class Swap:
    """One exchange of tables, planned or under way.

    Args:
        control: a session on the target, in UTF-8.
        run_id: the run that it belongs to.
        snapshot: id of the snapshot whose tables come in or, on the way back, go out.
        plan: JSON data, as it lies in the journal.
        begun: the plan already lies in the journal.
    """

    def __init__(self, control: Session, run_id: str, snapshot: str, plan: t.Dict[str, t.Any], begun: bool) -> None:
        self.plan = plan
        self.snapshot = snapshot
        self.begun = begun
        self._control = control
        self._run_id = run_id
        self._live, self._source, self._keep = plan["live"], plan["source"], plan["keep"]
        self._journal = Journal(control, self._keep)

    def run(self, lock_wait_timeout: int) -> t.Dict[str, float]:
        """Do what of the plan is not done yet and return how long it took."""
        plan = self.plan
        started = time.monotonic()
        if not self.begun:
            self._journal.create(plan["charset"], plan["collation"])
            self._journal.write(PLANNED, self.snapshot, self._run_id, plan)
        self._control.execute(
            "CREATE DATABASE IF NOT EXISTS {0} CHARACTER SET {1} COLLATE {2}".format(quote_name(self._live), plan["charset"], plan["collation"])
        )
        locked = time.monotonic()
        self._control.execute("SET SESSION lock_wait_timeout = {0:d}".format(lock_wait_timeout))
        try:
            # Triggers and views cannot be renamed into another database.
            _schema.drop_views_and_triggers(self._control, self._live, plan["out"] + plan["in"])
            self._rename()
        except DatabaseError as error:
            self._give_up(error)
        self._verify()
        self._create("new")
        swapped = time.monotonic()
        if plan["kind"] == "rolled_back":
            # Before the roll-back counts as complete: what the run had cut over is live no more.
            Journal(self._control, self._source).write(UNDONE, self.snapshot, self._run_id, {})
        self._journal.write(COMPLETE, self.snapshot, self._run_id, plan)
        self.clean_up()
        return {"swap_s": round(swapped - locked, 3), "total_s": round(time.monotonic() - started, 3)}

    def clean_up(self) -> None:
        """Drop the schema that the tables came from, when nothing but our own tables and those not wanted is left in it."""
        left = set(_schema.table_names(self._control, self._source))
        if left and left <= OWN_TABLES | set(self.plan["kept"]):
            Journal(self._control, self._source).drop()

    def is_live(self) -> bool:
        """Tell whether the very tables that the plan brought in are live."""
        present = _schema.table_ids(self._control, self._live)
        return all(present.get(name) == number for name, number in self.plan["ids"].items())

    def _moves(self) -> t.List[str]:
        live, source, keep = (set(_schema.table_names(self._control, name)) for name in (self._live, self._source, self._keep))
        out = [(self._live, self._keep, name) for name in self.plan["out"] if name not in keep and name in live]
        inside = [(self._source, self._live, name) for name in self.plan["in"] if name in source]
        return ["{0} TO {1}".format(quote_name(old, name), quote_name(new, name)) for old, new, name in out + inside]

    def _rename(self) -> None:
        moves = self._moves()
        if moves:
            self._control.execute("RENAME TABLE " + ", ".join(moves))

    def _give_up(self, error: DatabaseError) -> None:
        """After a refused RENAME, which moves nothing, or a DROP before it: put back what had to go for it, and name who was in the way."""
        blockers = lock_holders(self._control, [self._live, self._source, self._keep]) if error.code == LOCK_WAIT_TIMEOUT else []
        if set(self.plan["in"]) <= set(_schema.table_names(self._control, self._source)):
            self._create("old")
        if not self.begun:
            self._journal.drop()
        if not blockers:
            raise error
        raise CutOverError(
            "{0} on {1}".format(self._live, self._control.login.name),
            "other connections hold its tables: {0}.".format(", ".join(blockers)),
            "End them and start again; nothing has been changed.",
            blocked_by=blockers,
        ) from None

    def _verify(self) -> None:
        missing = set(self.plan["in"]) - set(_schema.table_names(self._control, self._live))
        missing |= {name for name in self.plan["out"] if name not in _schema.table_names(self._control, self._keep)}
        if missing or not self.is_live():
            raise CutOverError(
                self._live,
                "after the exchange these tables are not where they should be: {0}.".format(", ".join(sorted(missing)) or "(other tables of the same names)"),
                "Look into the journal of {0} before anything else is done.".format(self._keep),
            )

    def _create(self, side: str) -> None:
        present = set(_schema.table_names(self._control, self._live))
        triggers = [Trigger(*entry) for entry in self.plan[side]["triggers"]]
        _schema.create_triggers(self._control, self._live, [trigger for trigger in triggers if trigger.table in present])
        _schema.create_views(self._control, self._live, self.plan[side]["views"])


def cut_over(
    control: Session,
    server: Server,
    database: str,
    stage_schema: str,
    previous: str,
    undone: str,
    run_id: str,
    keep: t.Sequence[str],
    snapshot: t.Optional[str],
    rule: t.Optional[TimeRule],
) -> t.Tuple[Swap, bool]:
    """Return the swap that puts the staged tables live, and whether it is already done; refuse what must not be done."""
    entry = _entry_of(control, previous, run_id)
    back = _entry_of(control, undone, run_id)
    if back and back.phase == PLANNED:
        raise CutOverError(undone, "a roll-back of this run was interrupted.", "Complete it with state=rolled_back first.")
    if entry and entry.phase in (PLANNED, COMPLETE):
        swap = Swap(control, run_id, entry.snapshot, entry.detail, True)
        _check_snapshot(entry.snapshot, entry.detail["began"], snapshot, rule)
        if entry.phase == COMPLETE and not swap.is_live():
            raise CutOverError(
                database,
                "its tables are no longer those that this run put in place at {0}.".format(entry.at),
                "Find out what replaced or rebuilt them; another cut-over needs another run_id.",
            )
        return swap, entry.phase == COMPLETE
    ready = Journal(control, stage_schema).read()
    if not ready or ready.phase != _stage.COMPLETE:
        raise CutOverError(stage_schema, "no completely staged snapshot is there.", "Run state=staged first.")
    if not _stage.staged(control, stage_schema, ready.snapshot, server):
        raise CutOverError(
            stage_schema, "was staged on another server than {0} is now, or tables of it are gone.".format(control.login.name), "Run state=staged again."
        )
    if ready.run_id and ready.run_id != run_id:
        raise CutOverError(stage_schema, "was staged for the run {0}.".format(ready.run_id), "Stage the snapshot for this run.")
    _check_snapshot(ready.snapshot, ready.detail["began"], snapshot, rule)
    names = [table["name"] for table in ready.detail["tables"]]
    _stage.refuse_strangers(control, database, names, keep)
    live = _schema.table_names(control, database)
    incoming = [name for name in names if name not in keep]
    ids = _schema.table_ids(control, stage_schema)
    plan = {
        "kind": "cut_over",
        "live": database,
        "source": stage_schema,
        "keep": previous,
        "out": [name for name in live if name not in keep],
        "in": incoming,
        "kept": list(keep),
        "ids": {name: ids[name] for name in incoming if name in ids},
        "old": _extras(control, database),
        "new": {"views": ready.detail["views"], "triggers": [entry for entry in ready.detail["triggers"] if entry[3] not in keep]},
        "began": ready.detail["began"],
        "charset": ready.detail["charset"],
        "collation": ready.detail["collation"],
        "tables": [table for table in ready.detail["tables"] if table["name"] not in keep],
    }
    return Swap(control, run_id, ready.snapshot, plan, False), False


def roll_back(control: Session, database: str, previous: str, undone: str, run_id: str) -> t.Tuple[Swap, bool]:
    """Return the swap that puts the previous tables back, and whether it is already done."""
    entry = _entry_of(control, previous, run_id)
    back = _entry_of(control, undone, run_id)
    if back and (back.phase == PLANNED or not entry or entry.phase == UNDONE):
        swap = Swap(control, run_id, back.snapshot, back.detail, True)
        if back.phase == COMPLETE and not swap.is_live():
            raise CutOverError(
                database, "its tables are no longer those that the roll-back of {0} put in place.".format(back.at), "Find out what replaced them."
            )
        return swap, back.phase == COMPLETE
    if not entry or entry.phase == UNDONE:
        raise CutOverError(previous, "there is no such previous schema, so nothing to go back to.", "Check run_id and previous_schema.")
    if entry.phase == PLANNED:
        raise CutOverError(previous, "the cut-over of this run was interrupted.", "Complete it with state=cut_over first.")
    if back:
        raise CutOverError(undone, "keeps what an earlier roll-back of this run replaced.", "Prune it first, once nobody needs it.")
    kept = entry.detail["kept"]
    ids = _schema.table_ids(control, previous)
    plan = {
        "kind": "rolled_back",
        "live": database,
        "source": previous,
        "keep": undone,
        "out": [name for name in _schema.table_names(control, database) if name not in kept],
        "in": entry.detail["out"],
        "kept": [],
        "ids": {name: ids[name] for name in entry.detail["out"] if name in ids},
        "old": _extras(control, database),
        "new": entry.detail["old"],
        "began": entry.detail["began"],
        "charset": entry.detail["charset"],
        "collation": entry.detail["collation"],
        "tables": [],
    }
    return Swap(control, run_id, entry.snapshot, plan, False), False


def prune(control: Session, database: str, schema: str, keep_for: float) -> bool:
    """Tell whether a schema that keeps replaced tables may be dropped; False when it is gone already."""
    journal = Journal(control, schema)
    entry = journal.read()
    if not entry:
        if journal.exists():
            raise CutOverError(schema, "is not a schema that this collection keeps replaced tables in.", "Check previous_schema.")
        return False
    if schema == database or entry.detail.get("live") != database or entry.detail.get("keep") != schema:
        raise CutOverError(schema, "does not keep replaced tables of {0}.".format(database), "Check database and previous_schema.")
    if entry.phase == PLANNED:
        raise CutOverError(schema, "the exchange that it belongs to was interrupted.", "Complete it first.")
    seconds = age(control, entry)
    if seconds < keep_for:
        raise CutOverError(
            schema,
            "keeps what was replaced at {0}, {1:.0f} s ago; keep_for is {2:g} s.".format(entry.at, seconds, keep_for),
            "Wait, since an instance can be rolled back for days; these tokens are the only copy.",
        )
    return True


def refuse_connected(control: Session, database: str) -> None:
    """Refuse while anybody else is connected to a database."""
    others = connections(control, database)
    if others:
        names = ["{user}@{host} (id {id})".format(**other) for other in others]
        raise CutOverError(
            "{0} on {1}".format(database, control.login.name),
            "{0} other connections are open: {1}.".format(len(others), ", ".join(names[:10])),
            "Stop the proxies first, or set allow_connected.",
            connections=others,
        )


def connections(control: Session, database: str) -> t.List[t.Dict[str, t.Any]]:
    """Return who else is connected to a database; without PROCESS the server shows the own account only."""
    rows = control.rows(
        "SELECT ID, USER, HOST, COMMAND, TIME FROM information_schema.PROCESSLIST WHERE DB = %s AND ID <> CONNECTION_ID() ORDER BY ID", [database]
    )
    return [{"id": int(row[0]), "user": row[1], "host": row[2], "command": row[3], "seconds": int(row[4] or 0)} for row in rows]


def lock_holders(control: Session, schemas: t.Sequence[str]) -> t.List[str]:
    """Return connections that may hold a lock on tables of these schemas: those inside them, and those with an open transaction."""
    rows = control.rows(
        "SELECT DISTINCT p.USER, p.HOST, p.ID, p.TIME FROM information_schema.PROCESSLIST AS p LEFT JOIN information_schema.INNODB_TRX AS x"
        " ON x.trx_mysql_thread_id = p.ID WHERE p.ID <> CONNECTION_ID() AND (p.DB IN ({0}) OR x.trx_id IS NOT NULL)".format(
            ", ".join(["%s"] * len(schemas))
        ),
        schemas,
    )
    return ["{0}@{1} (id {2}, {3} s)".format(*row) for row in rows]


def _entry_of(control: Session, schema: str, run_id: str) -> t.Optional[Entry]:
    entry = Journal(control, schema).read()
    if entry and entry.run_id != run_id:
        raise CutOverError(schema, "belongs to the run {0}.".format(entry.run_id), "Give another previous_schema.")
    return entry


def _check_snapshot(found: str, began: str, wanted: t.Optional[str], rule: t.Optional[TimeRule]) -> None:
    if wanted and wanted != found:
        raise CutOverError("snapshot " + wanted, "is not the one that is staged, which is {0}.".format(found), "Stage it first.")
    if rule:
        rule.require(parse_time("began", began), "the staged snapshot " + found)


def _extras(control: Session, database: str) -> t.Dict[str, t.Any]:
    if not _schema.schema_exists(control, database):
        return {"views": [], "triggers": []}
    return {
        "views": _schema.read_views(control, database),
        "triggers": [list(trigger) for trigger in _schema.read_triggers(control, database)],
    }
