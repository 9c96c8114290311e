# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Re-signs Edge Encryption rules and configurations by changing them through a proxy, which signs what it lets through.

The invariants, whatever dies when:

- A record is journaled as "going", on disk, before it is touched for the first time, with the values to put back.
- A worker has one record in hand, so that no more records are off than there are workers.
- After any doubt the record is driven back to what it was before anything else happens.
- At the end every record is read from the instance itself and compared with what it was.
"""

import random
import signal
import threading
import time
import typing as t
from contextlib import contextmanager

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, NotTheApi, RestError, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._resign_journal import Journal
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import (
    BASE_QUERY,
    HARMLESS,
    TABLES,
    Key,
    Layout,
    Record,
    State,
    Survey,
    refuse_undecided,
    survey,
)
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import NotFound, Row, Table, flag, instance_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._transport import TRANSPORTS, Transport

BACKOFF = 0.2  # seconds, doubled with every attempt


class NotSigned(EdgeError):
    """A write arrived, but no signature was made."""


class Unproven(NotSigned):
    """A write changed nothing: either it was not signed, or the record carried this very signature already."""


class Dropped(EdgeError):
    """A write was answered with success, and left out."""


class LeftOff(EdgeError):
    """A record could not be put back to what it was."""


class Incomplete(EdgeError):
    """Not every record was re-signed."""


class Settings(t.NamedTuple):
    scope: str = "customer"  # customer, failing or all
    failing: t.FrozenSet[t.Tuple[str, str]] = frozenset()  # kind and name, for the scope failing
    tables: t.Sequence[str] = TABLES
    base_query: str = BASE_QUERY
    no_base_records: bool = False
    signature_field: t.Optional[str] = None
    inactive: str = "touch"  # skip, touch or toggle
    max_inactive: int = 4
    transport: str = "auto"
    signature_required: bool = True
    restore_timeout: float = 600.0

    def is_failing(self, record: Record) -> bool:
        return (record.kind, record.name) in self.failing

    def named(self, records: t.Iterable[Record]) -> t.Optional[t.Set[Key]]:
        """Return which of the records the scope names; None if it names none."""
        return {record.key for record in records if self.is_failing(record)} if self.scope == "failing" else None


class Outcome(t.NamedTuple):
    """What became of one record."""

    record: Record
    resigned: bool = False
    skipped: str = ""
    error: str = ""
    state: t.Optional[State] = None

    def to_result(self) -> t.Dict[str, t.Any]:
        record = self.record
        return {
            "table": record.table,
            "sys_id": record.sys_id,
            "name": record.name,
            "active": record.active,
            "base": record.base,
            "resigned": self.resigned,
            "skipped": self.skipped or None,
            "error": self.error or None,
            "signature_before": record.signature,
            "signature_after": self.state.signature if self.state else record.signature,
        }


class Hands:
    """The two sessions of one worker: it writes through the proxy, and in doubt reads from the instance itself."""

    def __init__(self, direct: Client, edge: Client) -> None:
        self.direct = direct
        self.edge = edge

    def sibling(self) -> "Hands":
        return Hands(self.direct.sibling(), self.edge.sibling())

    def close(self) -> None:
        self.direct.close()
        self.edge.close()


class Resigner:
    """Does the work over one survey."""

    def __init__(self, direct: Client, edge: Client, journal: Journal, settings: Settings, progress: Progress) -> None:
        self.hands = Hands(direct, edge)  # of the main thread, and of the first worker while that waits
        self.journal = journal
        self.settings = settings
        self.progress = progress
        self.transport = TRANSPORTS[settings.transport][0]
        self.layouts = {}  # type: t.Dict[str, Layout]
        self.outcomes = {}  # type: t.Dict[Key, Outcome]
        self.recovered = []  # type: t.List[str]
        self.warnings = []  # type: t.List[str]
        self.trouble = None  # type: t.Optional[BaseException]
        self.stop = threading.Event()
        self._same_value_is_signed = False
        self._unproven = {}  # type: t.Dict[Key, t.Tuple[Record, State]]
        self._signatures = {}  # type: t.Dict[Key, t.Optional[str]]
        self._touched = set()  # type: t.Set[Key]

    # From beginning to end

    def recover(self, survey: Survey) -> bool:
        """Put back first what a killed run had in hand. Return whether there was anything."""
        self.layouts = survey.layouts
        known = {record.key: record for record in survey.records}
        for key, going in sorted(self.journal.in_flight.items()):
            if key not in known:
                self.warnings.append("{} {} was in hand when a run died, and is gone.".format(*key))
                self.journal.settled(key)
                continue
            record = known[key]
            state = self._put_back(self.hands, record, going.back, TRANSPORTS[going.transport][0])
            renewed = is_renewed(going.signature, state)
            # A second touch could not prove that the first one signed the record.
            self.journal.settled(key, state if renewed and going.touched else None, record.active, renewed or None)
            self.recovered.append(str(record))
        return bool(self.recovered)

    def run(self, survey: Survey) -> None:
        """Re-sign what is to be re-signed. What went wrong is in C(outcomes) and C(trouble)."""
        self.layouts = survey.layouts
        todo = self.plan(survey)
        for record in survey.records:
            if self.journal.before.get(record.key, record.active) != record.active:
                self.warnings.append(
                    "{} was changed by somebody else since this journal began; it stays {}active.".format(
                        record, "" if record.active else "in"
                    )
                )
        self.journal.remember([record for record in survey.records if self.journal.before.get(record.key) != record.active])
        try:
            canaries = choose_canaries(todo)
            self._prove(canaries)
            self._work([record for record in todo if record not in canaries])
            self._settle_unproven()
        except EdgeError as error:
            self.trouble = error
        try:
            self._sweep(survey)
        except EdgeError as error:
            self.trouble = self.trouble or error

    def plan(self, survey: Survey) -> t.List[Record]:
        """Return the records to re-sign, and note why the others are not."""
        todo = []
        for record in survey.records:
            reason = error = ""
            if record.base:
                reason = "base record, signed by ServiceNow"
                if self.settings.is_failing(record):
                    error = "a log names it, but it is ServiceNow's own: put the record of the base system back, or ask ServiceNow"
            elif self.settings.scope == "failing" and not self.settings.is_failing(record):
                reason = "not in the list of failing records"
            elif self.settings.scope == "customer" and self.journal.is_done(record):
                reason = "re-signed before, unchanged since"
            elif not record.active and self.settings.inactive == "skip":
                reason = "inactive"
            if reason:
                self.outcomes[record.key] = Outcome(record, skipped=reason, error=error)
            else:
                todo.append(record)
        for kind, name in sorted(self.settings.failing - {(record.kind, record.name) for record in survey.records}):
            self.warnings.append(
                "There is no {} {}. If it was deleted, emptying the cache of each proxy is all it needs.".format(kind, name)
            )
        return todo

    # The canaries

    def _prove(self, canaries: t.Sequence[Record]) -> None:
        """Re-sign a few records alone, and go no further unless each of them carries a new signature."""
        for record in canaries:
            if self.stop.is_set():
                return
            self.progress.report("canary", record.name, len(self.outcomes), None)
            self._prove_one(record)
        for record, _state in self._unproven.values():
            if not self._had_it_already():
                raise self._no_canary(record, [(self.transport.name, no_proof(record))])

    def _prove_one(self, record: Record) -> None:
        if record.signature is None and self.settings.signature_required:
            raise NotSigned(
                record.table,
                "its signature cannot be read, so nothing can prove that a write was signed.",
                "Name the field in signature_field or make it readable; or set canary_proof=update and prove it by a proxy's log.",
            )
        choices = TRANSPORTS[self.settings.transport]
        first = self.transport
        failures = []
        for transport in choices[choices.index(first) :]:
            self.transport = transport
            try:
                self._one(self.hands, record)
            except (NotSigned, Dropped, StatusError, NotTheApi) as error:
                failures.append((transport.name, error))
                if isinstance(error, RestError) and error.transient:
                    break
            else:
                if record.key not in self._unproven:
                    return
        if record.key not in self._unproven:
            raise self._no_canary(record, failures) from failures[0][1]
        self.transport = first

    def _no_canary(self, record: Record, failures: t.Sequence[t.Tuple[str, EdgeError]]) -> EdgeError:
        return EdgeError(
            "canary {}".format(record),
            "it could not be re-signed, so only canaries were touched. {}".format(" ".join("By {}: {}".format(*each) for each in failures)),
            _explain(failures[0][1]),
            canary={"table": record.table, "sys_id": record.sys_id, "name": record.name},
        )

    def _had_it_already(self) -> bool:
        """Say whether all that could be proven shows that the records were signed by this proxy's key before this run began."""
        return self.journal.confirmed and not self.journal.renewed

    def _settle_unproven(self) -> None:
        """Decide about the records that could not show whether they are signed: as all others are."""
        for record, state in self._unproven.values():
            if not self._had_it_already():
                self.outcomes[record.key] = Outcome(record, error=str(no_proof(record)))
                continue
            self.journal.settled(record.key, state, record.active)
            self.outcomes[record.key] = Outcome(record, skipped="signed already, as all others are", state=state)
            self.warnings.append(
                "{} is inactive, and nothing but inactive=toggle can prove that its signature is good. All others were signed by this "
                "proxy's key already, so it is taken to be so too; a proxy's log names it if it is not.".format(record)
            )

    # The workers

    def _work(self, todo: t.List[Record]) -> None:
        queue = list(reversed(todo))
        total = len(todo) + len(self.outcomes)

        def take() -> t.Optional[Record]:
            return queue.pop() if queue and not self.stop.is_set() else None

        def work(hands: Hands) -> None:
            try:
                record = take()
                while record:
                    self._one_of_many(hands, record)
                    record = take()
            except BaseException as error:  # Raised again by the main thread.
                self.trouble = self.trouble or error
                self.stop.set()
            finally:
                if hands is not self.hands:
                    hands.close()

        number = min(self.settings.max_inactive, len(todo))
        threads = [threading.Thread(target=work, args=(self.hands.sibling() if other else self.hands,)) for other in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                # With a timeout, so that a signal is heard.
                thread.join(0.2)
                self.progress.report("re-signing", "", len(self.outcomes), total)

    def _one_of_many(self, hands: Hands, record: Record) -> None:
        try:
            self._one(hands, record)
        except (StatusError, NotFound) as error:
            if isinstance(error, StatusError) and error.transient:
                raise
            # It concerns this record alone, a business rule for instance; the record is what it was.
            self.outcomes[record.key] = Outcome(record, error=str(error))

    def _one(self, hands: Hands, record: Record) -> None:
        """Re-sign one record; again, if something passing got in the way."""
        for attempt in (1, 2, 3):
            # An attempt that failed may have left another signature.
            now = record._replace(signature=self._signatures.get(record.key, record.signature))
            try:
                if record.active or self.settings.inactive == "toggle":
                    state = self._there_and_back(hands, now, {"active": flag(not record.active)}, {"active": flag(record.active)})
                else:
                    state = self._touch(hands, now)
                break
            except Unproven:
                return
            except RestError as error:
                if not error.transient or attempt == 3:
                    raise
                pause(attempt)
        self._unproven.pop(record.key, None)
        self.journal.settled(record.key, state, record.active, is_renewed(record.signature, state))
        self.outcomes[record.key] = Outcome(record, resigned=True, state=state)

    # One record

    def _touch(self, hands: Hands, record: Record) -> State:
        """Re-sign an inactive record without activating it.

        A proxy that signs a write of the values it has already makes the signature the only change. If that does nothing, a field
        that means nothing to a proxy is changed and put back.
        """
        layout = self.layouts[record.table]
        self.journal.going(record, self.transport.name, {"active": "false"}, touched=True)
        state = layout.state_of(self.transport.write(hands.edge, hands.direct, layout, record.sys_id, {"active": "false"}))
        if not state.shows({"active": "false"}):
            raise LeftOff(str(record), "it was inactive, and became active meanwhile.", "Somebody else is changing rules: run again.")
        if state.signature is not None and state.signature != record.signature:
            self._same_value_is_signed = True
            return state
        change = harmless_change(record)
        if change:
            return self._there_and_back(hands, record, *change)
        if self._same_value_is_signed:
            # The proxy did sign it: the same content gives the same signature, so this one was valid.
            return state
        self._unproven[record.key] = record, state
        self.journal.settled(record.key)
        raise no_proof(record)

    def _there_and_back(self, hands: Hands, record: Record, there: t.Mapping[str, str], back: t.Mapping[str, str]) -> State:
        layout = self.layouts[record.table]
        self.journal.going(record, self.transport.name, back)
        self._touched.add(record.key)
        try:
            away = layout.state_of(self.transport.write(hands.edge, hands.direct, layout, record.sys_id, there))
        except EdgeError:
            # It may have arrived, or arrive yet.
            state = self._put_back(hands, record, back, self.transport)
            self._signatures[record.key] = state.signature
            self.journal.settled(record.key, renewed=is_renewed(record.signature, state) or None)
            raise
        state = self._put_back(hands, record, back, self.transport)
        self._signatures[record.key] = state.signature
        self.journal.settled(record.key)
        if not away.shows(there):
            raise Dropped(str(record), "the write of {} was answered with success, but left out.".format(", ".join(there)))
        if None in (away.signature, state.signature):
            signed = away.mod_count > record.mod_count
        else:
            # The write back changes what is signed. What the signature was before all this is no guide: a run that died may have left the one of
            # the write away.
            signed = away.signature != state.signature
        if not signed:
            raise NotSigned(str(record), "the write arrived, but its signature did not change.")
        return state

    def _put_back(self, hands: Hands, record: Record, values: t.Mapping[str, str], transport: Transport) -> State:
        """Do not rest until the record shows these values."""
        layout = self.layouts[record.table]
        deadline = time.monotonic() + self.settings.restore_timeout
        attempt = 0
        while True:
            attempt += 1
            trouble = "the write was left out"  # type: t.Any
            try:
                state = layout.state_of(transport.write(hands.edge, hands.direct, layout, record.sys_id, values))
                if state.shows(values):
                    return state
            except EdgeError as error:
                trouble = error
            try:
                fields = sorted(set(layout.state_fields) | set(values))
                state = layout.state_of(Table(hands.direct, record.table).get(record.sys_id, fields))
                if state.shows(values):
                    return state
            except NotFound:
                raise
            except EdgeError as error:
                trouble = "{}; and {}".format(trouble, error)
            if time.monotonic() >= deadline:
                raise LeftOff(
                    str(record),
                    "it should be {} again, but {} s of trying did not do it: {}.".format(
                        ", ".join("{}={}".format(*item) for item in sorted(values.items())), self.settings.restore_timeout, trouble
                    ),
                    "Set it by hand through the proxy, or run again with the same state_file.",
                )
            pause(attempt)

    # The proof

    def _sweep(self, survey: Survey) -> None:
        """Compare every record with what it was, as the instance itself shows it."""
        self.progress.report("sweep", "", len(self.outcomes), len(survey.records))
        for table, layout in sorted(self.layouts.items()):
            records = [record for record in survey.records if record.table == table]
            now = {row["sys_id"]: row for row in Table(self.hands.direct, table).list("", layout.state_fields).rows}
            for record in records:
                row = now.get(record.sys_id)
                if row is not None and (row["active"] == "true") != record.active and record.key in self._touched:
                    # A write that had been given up as lost can arrive late.
                    row = self._put_back(self.hands, record, {"active": flag(record.active)}, self.transport).row
                    self._fail(record, "a late write changed it again; it is put back, but not proven to be signed")
                self._judge(record, row, layout)

    def _judge(self, record: Record, row: t.Optional[Row], layout: Layout) -> None:
        outcome = self.outcomes.get(record.key)
        if row is None:
            self._fail(record, "it is gone")
        elif (row["active"] == "true") != record.active:
            self._fail(
                record, "it was active before, and is inactive now" if record.active else "it was inactive before, and is active now"
            )
        elif outcome is None:
            self._fail(record, "not re-signed, because the run stopped before")
        elif outcome.state is not None and layout.state_of(row).mod_count != outcome.state.mod_count:
            self._fail(record, "somebody else changed it meanwhile")
        elif record.base and int(row["sys_mod_count"]) != record.mod_count:
            self._fail(record, "a base record, changed by somebody else meanwhile")

    def to_result(self, found: Survey) -> t.Dict[str, t.Any]:
        outcomes = [self.outcomes.get(record.key, Outcome(record)) for record in found.records]
        return {
            "records": [outcome.to_result() for outcome in outcomes],
            "totals": {
                "records": len(outcomes),
                "resigned": sum(outcome.resigned for outcome in outcomes),
                "skipped": sum(bool(outcome.skipped) and not outcome.record.base for outcome in outcomes),
                "base": sum(outcome.record.base for outcome in outcomes),
                "failed": sum(bool(outcome.error) for outcome in outcomes),
            },
            "recovered": self.recovered,
            "transport": self.transport.name,
            "warnings": self.warnings,
        }

    def _fail(self, record: Record, error: str) -> None:
        outcome = self.outcomes.get(record.key, Outcome(record))
        self.outcomes[record.key] = outcome._replace(resigned=False, error=outcome.error or error)


def prove_same_instance(direct: Client, edge: Client) -> str:
    """Return the name of the instance, having asked it on both ways."""
    if direct.url == edge.url:
        raise EdgeError(edge.url, "is the address of the instance itself.", "Give the address of a proxy: only a proxy signs.")
    names = [instance_name(client) for client in (direct, edge)]
    if not all(names):
        raise EdgeError(
            direct.name, "its property instance_name cannot be read on both ways.", "Give the account read access to sys_properties."
        )
    if names[0] != names[1]:
        raise EdgeError(edge.url, "is a proxy of {}, not of {}.".format(names[1], names[0]), "Correct proxy_url.")
    return names[0]


def choose_canaries(todo: t.Sequence[Record]) -> t.List[Record]:
    """Return the records to try first: of each table an inactive one, then an active one, since different rights may guard them."""
    chosen = []
    for table in sorted({record.table for record in todo}):
        for active in (False, True):
            candidates = [record for record in todo if record.table == table and record.active is active]
            if candidates:
                # One that comes late in the order of rules catches least.
                chosen.append(max(candidates, key=lambda record: int(record.harmless.get("order") or 0)))
    return sorted(chosen, key=lambda record: record.active)


def pause(attempt: int) -> None:
    """Wait a moment, longer after every attempt."""
    time.sleep(random.uniform(0, min(10, BACKOFF * 2**attempt)))


def is_renewed(before: t.Optional[str], state: State) -> t.Optional[bool]:
    """Say whether a record has another signature than before; None if it cannot be read."""
    return None if before is None or state.signature is None else before != state.signature


def no_proof(record: Record) -> Unproven:
    return Unproven(
        str(record),
        "it is inactive, its signature did not change, and it has no field that could be changed without harm.",
        "Use inactive=toggle, which activates it for a moment, or inactive=skip.",
    )


def harmless_change(record: Record) -> t.Optional[t.Tuple[t.Dict[str, str], t.Dict[str, str]]]:
    """Return values that change the record without effect, and the values that undo it."""
    for name in HARMLESS:
        value = record.harmless.get(name)
        if value is not None and (name != "order" or value.isdigit()):
            return {name: str(int(value) + 1) if name == "order" else value + "."}, {name: value}
    return None


def _explain(error: BaseException) -> str:
    if isinstance(error, NotSigned) and not isinstance(error, Unproven):
        return (
            "Writes by this transport are not signed here. Try another transport; or do it in the form view through the proxy, "
            "record by record (KB0621218)."
        )
    if isinstance(error, Dropped):
        return "The account may not write this field: it needs security_admin, which most instances grant to an elevated session only."
    if isinstance(error, StatusError) and error.status == 403:
        return (
            "The account may not write these tables: it needs security_admin, which most instances grant to an elevated session only "
            "(documentation page Edge Encryption configuration), and the address must be a proxy's."
        )
    return ""


def resign(
    direct: Client, edge: Client, settings: Settings, state_file: str, progress: Progress, check: bool
) -> t.Tuple[t.Dict[str, t.Any], t.Optional[BaseException]]:
    """Do all of it. Return the result, complete whatever went wrong, and what did."""
    began = time.monotonic()
    instance = prove_same_instance(direct, edge)
    found = survey(direct, settings.tables, settings.base_query, settings.signature_field)
    if not settings.no_base_records:
        refuse_undecided(direct, found, settings.base_query, settings.named(found.records))
    journal = Journal(state_file, instance, check)
    try:
        resigner = Resigner(direct, edge, journal, settings, progress)
        if check:
            todo = {record.key for record in resigner.plan(found)} | set(journal.in_flight)
            changed = bool(todo)
        else:
            with finishing_the_pair(resigner.stop) as heard:
                if resigner.recover(found):
                    found = survey(direct, settings.tables, settings.base_query, settings.signature_field)
                resigner.run(found)
            if heard and resigner.trouble is None:
                resigner.trouble = Incomplete(
                    "re-signing", "it was stopped by {}.".format(heard[0]), "Run it again with the same state_file."
                )
            changed = bool(resigner.recovered) or any(outcome.resigned for outcome in resigner.outcomes.values())
    finally:
        journal.close()
    result = resigner.to_result(found)
    result.update(changed=changed, instance_name=instance, seconds=round(time.monotonic() - began, 1))
    failed = [entry for entry in result["records"] if entry["error"]]
    if failed and resigner.trouble is None:
        names = ", ".join("{table} {name} ({error})".format(**entry) for entry in failed[:10])
        resigner.trouble = Incomplete(
            "re-signing", "{} records need attention: {}.".format(len(failed), names), "Run it again with the same state_file."
        )
    return result, resigner.trouble


@contextmanager
def finishing_the_pair(stop: threading.Event) -> t.Iterator[t.List[str]]:
    """Let SIGTERM and SIGINT ask for an end instead of making one."""
    heard = []  # type: t.List[str]

    def on_signal(number: int, frame: t.Any) -> None:
        heard.append(signal.Signals(number).name)
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield heard
    finally:
        for number, handler in zip(numbers, previous):
            signal.signal(number, handler)
