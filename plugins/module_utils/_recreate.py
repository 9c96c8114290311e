# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Exports Edge Encryption rules and configurations, and makes them anew through a proxy, which signs them.

A record is told by the key of its table, because it gets another sys_id when it is made anew. What a column refers to is exported by the
key of that record for the same reason. Whatever an earlier run did is found on the instance, so nothing has to be remembered of it.
"""

import json
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _files
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._formats import check_format
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, NotTheApi, RestError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import in_parallel
from ansible_collections.edge_encryption.clone.plugins.module_utils._resign import Hands, prove_same_instance
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import BASE_QUERY, digest, name_of, refuse_hidden
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import Query, Table, equals, instance_name

# A field may have several configurations, of which one is active; equal keys are told apart by the other columns.
KEYS = {"sys_encryption_configuration": ["table", "type", "column"], "sys_encryption_rule": ["name"]}
FORMAT = 1
_TRIES = 5


class StillCloned(EdgeError):
    """A clone would not leave out what is to be made anew."""


class Lost(EdgeError):
    """Records of the base system are gone; nobody but ServiceNow can sign them."""


class NotRecreated(EdgeError):
    """The instance does not hold what was exported."""


class Reference(t.NamedTuple):
    """What a column refers to: a table, and the field that is the key of its records."""

    table: str
    field: str


class Layout(t.NamedTuple):
    """The columns of a table that make a record, as the dictionary of the instance has them."""

    columns: t.List[str]
    references: t.Dict[str, Reference]
    signature: t.Optional[str]


class Record(t.NamedTuple):
    """A record without what the platform keeps of it itself."""

    sys_id: str
    base: bool
    signature: t.Optional[str]  # its digest, empty if there is none; None: may not be read
    values: t.Dict[str, str]

    @property
    def name(self) -> str:
        return name_of(self.values) or self.sys_id


class Exported(t.NamedTuple):
    """All records of one table."""

    key: t.List[str]
    references: t.Dict[str, Reference]
    records: t.List[Record]


class Export(t.NamedTuple):
    instance: str
    tables: t.Dict[str, Exported]


class Pair(t.NamedTuple):
    """A record of the export and the record on the instance that stands for it; one of them may be missing."""

    table: str
    wanted: t.Optional[Record]
    have: t.Optional[Record]

    @property
    def name(self) -> str:
        return t.cast(Record, self.wanted or self.have).name

    @property
    def differs(self) -> t.List[str]:
        if not self.wanted or not self.have:
            return []
        return sorted(name for name, value in self.wanted.values.items() if self.have.values.get(name) != value)

    @property
    def state(self) -> str:
        if not self.wanted:
            return "extra"
        if not self.have:
            return "missing"
        return "different" if self.differs else "same"

    @property
    def todo(self) -> bool:
        return self.state in ("missing", "different") and not t.cast(Record, self.wanted).base

    @property
    def signature(self) -> t.Optional[str]:
        """What the record on the instance is signed with, as far as that shows."""
        if not self.have or self.have.signature is None:
            return None
        if not self.have.signature:
            return "none"
        return "kept" if self.wanted and self.wanted.signature == self.have.signature else "other"

    def to_result(self) -> t.Dict[str, t.Any]:
        record = t.cast(Record, self.wanted or self.have)
        return {
            "table": self.table,
            "sys_id": self.have.sys_id if self.have else None,
            "name": self.name,
            "active": record.values.get("active") == "true",
            "base": record.base,
            "state": self.state,
            "differs": self.differs,
            "signature": self.signature,
        }


# Reading an instance


def layout_of(client: Client, table: str) -> Layout:
    """Return the layout of a table. Fields of the platform and the signature are no part of a record."""
    rows = Table(client, "sys_dictionary").list(equals(name=table), ["name", "element", "internal_type", "reference"], ["active"]).rows
    rows = [row for row in rows if row["element"] and not row["element"].startswith("sys_") and row.get("active") != "false"]
    signatures = [row["element"] for row in rows if "signature" in row["element"]]
    columns = sorted(row["element"] for row in rows if row["element"] not in signatures)
    if not columns:
        raise EdgeError(
            "{} of {}".format(table, client.name),
            "its columns cannot be read from sys_dictionary.",
            "Correct the name of the table, or give {} read access to sys_dictionary.".format(client.credentials.username or "the account"),
        )
    references = {
        row["element"]: Reference(row["reference"], _display_field(client, row["reference"]))
        for row in rows
        if row["element"] in columns and row["internal_type"] == "reference" and row["reference"]
    }
    return Layout(columns, references, signatures[0] if len(signatures) == 1 else None)


def _display_field(client: Client, table: str) -> str:
    found = Table(client, "sys_dictionary").list(equals(name=table, display="true"), ["name", "element", "display"]).rows
    if len(found) != 1:
        raise EdgeError(table, "has no display field, so that nothing tells its records apart on two instances.", "Leave out what refers to it.")
    return found[0]["element"]


def read_records(client: Client, table: str, layout: Layout, key: t.Sequence[str], base_query: str) -> t.List[Record]:
    """Return all records of a table, in the order in which they take effect."""
    missing = [name for name in list(key) + ["active"] if name not in layout.columns]
    if missing:
        raise EdgeError(table, "has no column {}.".format(", ".join(missing)), "It has {}.".format(", ".join(layout.columns)))
    base = Query(base_query)
    keys = {name: "{}.{}".format(name, reference.field) for name, reference in layout.references.items()}
    listing = Table(client, table).list(
        "", sorted(set(layout.columns) | base.fields), sorted(keys.values()) + ([layout.signature] if layout.signature else [])
    )
    refuse_hidden(client, table, listing)
    records = []
    for row in listing.rows:
        values = {name: row[name] for name in layout.columns}
        for name, path in keys.items():
            if values[name] and not row.get(path):
                raise EdgeError(
                    "{} {}".format(table, row["sys_id"]),
                    "what its column {} refers to cannot be read.".format(name),
                    "Give {} read access to {}.".format(client.credentials.username or "the account", layout.references[name].table),
                )
            values[name] = row.get(path, "")
        signature = row.get(layout.signature) if layout.signature else None
        # Empty stays empty: it says that there is none.
        records.append(Record(row["sys_id"], base.holds(row), digest(signature) if signature else signature, values))
    return sorted(records, key=lambda record: _rank(record, key))


def _rank(record: Record, key: t.Sequence[str]) -> t.Tuple[t.Any, ...]:
    order = record.values.get("order", "")
    return (int(order) if order.lstrip("-").isdigit() else 0, [record.values[name] for name in key], record.sys_id)


def export_of(client: Client, keys: t.Mapping[str, t.List[str]], base_query: str = BASE_QUERY) -> Export:
    """Return all records of these tables."""
    name = instance_name(client)
    if not name:
        raise EdgeError(client.name, "its property instance_name cannot be read.", "Give the account read access to sys_properties.")
    tables = {}
    for table, key in keys.items():
        layout = layout_of(client, table)
        tables[table] = Exported(list(key), layout.references, read_records(client, table, layout, key, base_query))
    return Export(name, tables)


def refuse_cloned(
    client: Client, export: Export, exclusions: t.Sequence[str], preservers: t.Sequence[t.Mapping[str, str]], base_query: str = BASE_QUERY
) -> None:
    """Refuse a clone that would bring the source's records, or take records away that only ServiceNow can sign."""
    way_out = (
        "On the source, add {} to the exclusions of the clone's profile, and a preserver of sys_encryption_rule with the condition {}, "
        "which keeps the rules that ServiceNow signed. Or choose another way to sign.".format(" and ".join(export.tables), base_query)
    )
    cloned = [table for table in export.tables if table not in exclusions]
    if cloned:
        raise StillCloned(
            "table {}".format(", ".join(cloned)),
            "the clone does not leave it out, so it would bring the source's records with the source's signatures.",
            way_out,
            not_excluded=cloned,
        )
    kept = set()  # type: t.Set[str]
    for preserver in preservers:
        if preserver["table"] in export.tables:
            rows = Table(client, preserver["table"]).list(preserver.get("condition") or "", ["sys_id"]).rows
            kept.update(row["sys_id"] for row in rows)
    lost = [record.name for table in export.tables.values() for record in table.records if record.base and record.sys_id not in kept]
    if lost:
        raise StillCloned(
            client.name,
            "the clone would remove the records {} of the base system, which nobody but ServiceNow can sign.".format(", ".join(lost)),
            way_out,
            not_preserved=lost,
        )


# The file


def to_bytes(export: Export) -> bytes:
    """Return the export as it is kept; the same records give the same bytes."""
    content = {
        "format": FORMAT,
        "instance": export.instance,
        "tables": {
            name: {
                "key": table.key,
                "references": {column: reference._asdict() for column, reference in table.references.items()},
                "records": [record._asdict() for record in table.records],
            }
            for name, table in export.tables.items()
        },
    }
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def load(path: str) -> Export:
    """Return the export that a file holds."""
    content = _files.read(path, "export of rules and configurations")
    try:
        found = json.loads(content.decode("utf-8"))
        check_format(path, found["format"], FORMAT)
        tables = {
            name: Exported(
                table["key"],
                {column: Reference(**reference) for column, reference in table["references"].items()},
                [Record(**record) for record in table["records"]],
            )
            for name, table in found["tables"].items()
        }
        return Export(found["instance"], tables)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EdgeError(path, "this is no export of rules and configurations: {}.".format(error), "Give the file that edge_rule_export wrote.") from None


# Comparing


def pair_up(table: str, key: t.Sequence[str], wanted: t.Sequence[Record], have: t.Sequence[Record]) -> t.List[Pair]:
    """Return each record with its counterpart: of equal key, and of those the one with equal columns first."""
    pairs = []
    left = list(have)
    unmatched = []
    for record in wanted:
        twin = next((other for other in left if other.values == record.values), None)
        if twin is None:
            unmatched.append(record)
        else:
            left.remove(twin)
            pairs.append(Pair(table, record, twin))
    for record in unmatched:
        twin = next((other for other in left if all(other.values.get(name) == record.values[name] for name in key)), None)
        if twin is not None:
            left.remove(twin)
        pairs.append(Pair(table, record, twin))
    return sorted(pairs, key=lambda pair: _rank(t.cast(Record, pair.wanted), key)) + [Pair(table, None, record) for record in left]


def compare(client: Client, export: Export, base_query: str = BASE_QUERY) -> t.List[Pair]:
    """Return what the instance holds beside what was exported."""
    pairs = []
    for table, exported in export.tables.items():
        have = read_records(client, table, layout_of(client, table), exported.key, base_query)
        pairs.extend(pair_up(table, exported.key, exported.records, have))
    return pairs


def totals(pairs: t.Sequence[Pair]) -> t.Dict[str, int]:
    """Count the records of each state, and those that have no signature."""
    states = [pair.state for pair in pairs]
    counts = {state: states.count(state) for state in ("same", "missing", "different", "extra")}
    return dict(counts, records=len(pairs), unsigned=len([pair for pair in pairs if pair.signature == "none"]))


# Making anew


def recreate(
    direct: Client, edge: Client, export: Export, check: bool, base_query: str = BASE_QUERY, workers: int = 1
) -> t.Tuple[t.List[Pair], t.List[Pair]]:
    """Make the instance hold what was exported, and return what was found before and after. Extra records are left alone."""
    called = instance_name(direct)
    if called != export.instance:
        raise EdgeError(direct.name, "is the instance {}, but the export is of {}.".format(called or "(unreadable)", export.instance), "Give the right export.")
    before = compare(direct, export, base_query)
    lost = [pair.name for pair in before if pair.state == "missing" and t.cast(Record, pair.wanted).base]
    if lost:
        raise Lost(
            direct.name,
            "the records {} of the base system are gone, and nobody but ServiceNow can sign them.".format(", ".join(lost)),
            "Export them as XML on the source, import the file on the target, then run it again.",
        )
    if check or not any(pair.todo for pair in before):
        return before, before
    prove_same_instance(direct, edge)
    pairs = before
    for last_try in [False] * (_TRIES - 1) + [True]:
        try:
            _write_all(direct, edge, export, [pair for pair in pairs if pair.todo], workers)
            break
        except RestError as error:
            # It may have been carried out all the same: only the instance knows, so begin with what it has.
            if not error.ambiguous or last_try:
                raise
            pairs = compare(direct, export, base_query)
    after = compare(direct, export, base_query)
    _prove(before, after)
    return before, after


def _write_all(direct: Client, edge: Client, export: Export, pairs: t.Sequence[Pair], workers: int) -> None:
    """Write one record alone, so that a right that lacks is noticed before more is touched, then the others, table by table."""
    first = Hands(direct, edge)
    for pair in pairs[:1]:
        _write(first, export, pair)
    for table in export.tables:
        rest = [pair for pair in pairs[1:] if pair.table == table]
        # An instance serialises the requests of a session, so each worker has sessions of its own.
        hands = [first.sibling() for dummy in range(min(workers, len(rest)))]
        try:
            if hands:
                in_parallel(hands, iter(rest), lambda own, pair: _write(own, export, pair))
        finally:
            for own in hands:
                own.close()


def _write(hands: Hands, export: Export, pair: Pair) -> None:
    wanted = t.cast(Record, pair.wanted)
    names = pair.differs if pair.have else list(wanted.values)
    values = {name: wanted.values[name] for name in names}
    for name, reference in export.tables[pair.table].references.items():
        if values.get(name):
            values[name] = _referred(hands.direct, pair, reference, values[name])
    table = Table(hands.edge, pair.table)
    if pair.have:
        table.update(pair.have.sys_id, values)
        return
    answer = hands.edge.send_json("POST", table.path, values, {"sysparm_fields": "sys_id"}).get("result")
    sys_id = answer.get("sys_id") if isinstance(answer, dict) else None
    if not sys_id:
        raise NotTheApi(str(table), "the answer does not name the new record.", ambiguous=True)
    row = Table(hands.direct, pair.table).get(sys_id, sorted(values))
    lost = sorted(name for name, value in values.items() if row[name] != value)
    if lost:
        raise NotRecreated(
            "{} {}".format(pair.table, wanted.name),
            "the instance made the record, but did not store {}.".format(", ".join(lost)),
            "It leaves out silently what {} may not write.".format(hands.direct.credentials.username or "the account"),
        )


def _referred(client: Client, pair: Pair, reference: Reference, value: str) -> str:
    rows = Table(client, reference.table).list(equals(**{reference.field: value}), [reference.field]).rows
    if len(rows) != 1:
        raise EdgeError(
            "{} {}".format(pair.table, t.cast(Record, pair.wanted).name),
            "it refers to the record {} {}, of which {} exist on {}.".format(reference.table, value, len(rows), client.name),
            "Make that record first, or leave one of them.",
        )
    return rows[0]["sys_id"]


def _prove(before: t.Sequence[Pair], after: t.Sequence[Pair]) -> None:
    wrong = ["{} {} is {}".format(pair.table, pair.name, pair.state) for pair in after if pair.todo]
    if wrong:
        raise NotRecreated("export", "the instance does not hold what was exported: {}.".format("; ".join(wrong)), "Run it again.")
    known = {pair.have.sys_id for pair in before if pair.have}
    twice = [
        "{} {} ({})".format(pair.table, pair.name, pair.have.sys_id)
        for pair in after
        if pair.state == "extra" and pair.have and pair.have.sys_id not in known
    ]
    if twice:
        raise NotRecreated(
            "export",
            "a write that got no answer arrived late, so there is one record too many: {}.".format("; ".join(twice)),
            "Deactivate it in the form view through a proxy, then run it again.",
        )
