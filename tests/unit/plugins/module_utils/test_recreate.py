# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _recreate
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials, RestError
from ansible_collections.edge_encryption.clone.plugins.module_utils._recreate import KEYS, Record
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import Fault, fake  # noqa: F401  # pylint: disable=unused-import

RULES, CONFIGURATIONS = "sys_encryption_rule", "sys_encryption_configuration"
EXCLUDED = [RULES, CONFIGURATIONS]
BASE = {"table": RULES, "condition": "sys_created_by=glide.maint"}


class Sides:
    """A fake instance with rules, and clients for it and its proxy."""

    def __init__(self, fake):  # noqa: F811
        self.fake = fake
        self.direct, self.edge = (
            Client(url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None) for url in (fake.url, fake.proxy_url)
        )
        self.describe(RULES, "name", "order", "condition", "script", "active", "signature", "sys_id")
        self.describe(CONFIGURATIONS, "table", "type", "column", "encryption_type", "active", "signature")

    def describe(self, table, *columns, **references):
        self.fake.tables.setdefault(table, {})
        for column in columns:
            self.fake.add("sys_dictionary", name=table, element=column, internal_type="string", reference="", active="true", display="false")
        for column, reference in references.items():
            self.fake.add("sys_dictionary", name=table, element=column, internal_type="reference", reference=reference, active="true", display="false")

    def export(self, **options):
        return _recreate.export_of(self.direct, KEYS, **options)

    def recreate(self, export, check=False, workers=1):
        return _recreate.recreate(self.direct, self.edge, export, check, workers=workers)

    def empty(self, *kept):
        for table in (RULES, CONFIGURATIONS):
            rows = self.fake.tables[table]
            self.fake.tables[table] = {sys_id: row for sys_id, row in rows.items() if row.get("name") in kept}

    def states(self, export):
        return sorted((pair.to_result()["name"], pair.state) for pair in _recreate.compare(self.direct, export))


@pytest.fixture
def sides(fake):  # noqa: F811
    fake.add_rule("base", order="100", sys_created_by="glide.maint")
    fake.add_rule("late", order="900")
    fake.add_rule("early", active=False, order="20")
    fake.add_configuration("incident", "description")
    made = Sides(fake)
    yield made
    made.direct.close()
    made.edge.close()


def test_an_export_has_all_columns_in_order(sides):
    export = sides.export()
    assert export.instance == "acmetest"
    assert [record.name for record in export.tables[RULES].records] == ["early", "base", "late"]
    early = export.tables[RULES].records[0]
    assert early.values == {"name": "early", "order": "20", "condition": "", "script": "x", "active": "false"}
    assert [record.base for record in export.tables[RULES].records] == [False, True, False]
    assert export.tables[CONFIGURATIONS].records[0].name == "incident.description"
    assert early.signature and early.signature != "old-early"


def test_the_file_gives_back_the_same_export(sides, tmp_path):
    export = sides.export()
    path = tmp_path / "export.json"
    path.write_bytes(_recreate.to_bytes(export))
    assert _recreate.load(str(path)) == export and _recreate.to_bytes(sides.export()) == path.read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "instance": "a", "tables": {"x": {}}}', "\xff"])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "export.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(EdgeError, match="no export of rules"):
        _recreate.load(str(path))


def test_an_export_of_a_newer_release_is_refused(tmp_path):
    path = tmp_path / "export.json"
    path.write_text('{"format": 2}')
    with pytest.raises(EdgeError, match="has format 2, and this release of edge_encryption.clone knows none above 1"):
        _recreate.load(str(path))


def test_records_and_columns_that_may_not_be_read_are_no_export(sides):
    sides.fake.unreadable.add((RULES, "script"))
    with pytest.raises(FieldsMissing, match="script"):
        sides.export()
    sides.fake.unreadable.clear()
    sides.fake.hidden = set(list(sides.fake.tables[RULES])[:1])
    with pytest.raises(EdgeError, match="1 of its records may not be read"):
        sides.export()


def test_a_dictionary_that_says_nothing(sides):
    sides.fake.tables["sys_dictionary"] = {}
    with pytest.raises(EdgeError, match="sys_dictionary"):
        sides.export()


def test_a_key_that_is_no_column(sides):
    with pytest.raises(EdgeError, match="has no column label"):
        _recreate.export_of(sides.direct, {RULES: ["label"]})


# What the clone must leave out


def test_a_clone_that_leaves_all_out_and_keeps_the_base_records(sides):
    _recreate.refuse_cloned(sides.direct, sides.export(), EXCLUDED, [BASE])
    _recreate.refuse_cloned(sides.direct, sides.export(), EXCLUDED, [{"table": RULES, "condition": ""}])


@pytest.mark.parametrize(
    "exclusions, preservers, named",
    [
        ([], [BASE], "{}, {}".format(CONFIGURATIONS, RULES)),
        ([RULES], [BASE], CONFIGURATIONS),
        (EXCLUDED, [], "records base of the base system"),
        (EXCLUDED, [{"table": RULES, "condition": "name=late"}], "records base of the base system"),
        (EXCLUDED, [{"table": CONFIGURATIONS, "condition": ""}], "records base of the base system"),
    ],
)
def test_a_clone_that_does_not(sides, exclusions, preservers, named):
    with pytest.raises(_recreate.StillCloned, match=named) as refused:
        _recreate.refuse_cloned(sides.direct, sides.export(), exclusions, preservers)
    assert "preserver of sys_encryption_rule with the condition sys_created_by=glide.maint" in str(refused.value)


def test_a_preserver_that_cannot_be_understood(sides):
    with pytest.raises(EdgeError, match="cannot be checked"):
        _recreate.refuse_cloned(sides.direct, sides.export(), EXCLUDED, [{"table": RULES, "condition": "nameBETWEENa@b"}])


# Comparing


def record(sys_id, **values):
    return Record(sys_id, False, "s", values)


def pairs(wanted, have):
    return [(pair.wanted and pair.wanted.sys_id, pair.have and pair.have.sys_id, pair.state) for pair in _recreate.pair_up("t", ["k"], wanted, have)]


def test_equal_keys_are_told_apart_by_the_other_columns():
    wanted = [record("1", k="a", v="x"), record("2", k="a", v="y"), record("3", k="b", v="z")]
    have = [record("12", k="a", v="y"), record("11", k="a", v="other"), record("14", k="c", v="z")]
    assert pairs(wanted, have) == [("1", "11", "different"), ("2", "12", "same"), ("3", None, "missing"), (None, "14", "extra")]


def test_what_is_signed_with_what():
    def signature(wanted, have):
        return _recreate.Pair("t", record("1", k="a")._replace(signature=wanted), record("2", k="a")._replace(signature=have)).signature

    assert [signature("a", "a"), signature("a", "b"), signature("a", ""), signature("a", None)] == ["kept", "other", "none", None]
    assert _recreate.Pair("t", record("1"), None).signature is None


# Making anew


def test_only_what_is_missing_or_different_is_written_and_only_through_the_proxy(sides):
    export = sides.export()
    sides.empty("base", "early")
    early = next(row for row in sides.fake.tables[RULES].values() if row["name"] == "early")
    early["script"] = "changed"
    sides.fake.add_rule("stranger")
    before, after = sides.recreate(export)
    assert [pair.state for pair in before] == ["missing", "different", "same", "missing", "extra"]
    assert [pair.state for pair in after] == ["same"] * 4 + ["extra"]
    assert next(pair for pair in before if pair.state == "different").differs == ["script"]
    writes = [entry for entry in sides.fake.requests if entry["method"] != "GET"]
    assert [entry["method"] for entry in writes] == ["POST", "PATCH", "POST"] and all(entry["via_proxy"] for entry in writes)
    assert json.loads(writes[1]["body"].decode()) == {"script": "x"}
    assert "signature" not in json.loads(writes[0]["body"].decode())
    sides.fake.requests.clear()
    assert sides.recreate(export)[0] == after
    assert not [entry for entry in sides.fake.requests if entry["method"] != "GET"]


def test_nothing_is_written_in_check_mode(sides):
    export = sides.export()
    sides.empty("base")
    before, after = sides.recreate(export, check=True)
    assert before == after and [pair.todo for pair in before].count(True) == 3
    assert not [entry for entry in sides.fake.requests if entry["method"] != "GET" or entry["via_proxy"]]


def test_base_records_cannot_be_made_anew_and_are_never_changed(sides):
    export = sides.export()
    base = next(row for row in sides.fake.tables[RULES].values() if row["name"] == "base")
    base["script"] = "upgraded"
    sides.empty("base")
    assert [pair.state for pair in sides.recreate(export)[1] if pair.wanted.base] == ["different"]
    assert base["script"] == "upgraded"
    sides.empty()
    with pytest.raises(_recreate.Lost, match="records base of the base system are gone"):
        sides.recreate(export)
    assert sides.fake.tables[RULES] == {}


def test_an_export_of_another_instance_is_refused(sides):
    with pytest.raises(EdgeError, match="is the instance acmetest, but the export is of acmedev"):
        sides.recreate(sides.export()._replace(instance="acmedev"))


def test_an_address_that_is_no_proxy_is_refused(sides):
    export = sides.export()
    sides.empty("base")
    with pytest.raises(EdgeError, match="address of the instance itself"):
        _recreate.recreate(sides.direct, sides.direct, export, False)
    assert len(sides.fake.tables[RULES]) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "status", "status_after", "partial_json", "html"])
def test_a_write_without_an_answer_is_looked_for_before_it_is_repeated(sides, method, kind):
    export = sides.export()
    sides.empty("base", "early")
    next(row for row in sides.fake.tables[RULES].values() if row["name"] == "early")["script"] = "changed"
    sides.fake.faults.append(Fault(kind, method=method))
    sides.recreate(export)
    assert {state for _name, state in sides.states(export)} == {"same"}


def test_it_gives_up_in_the_end_and_goes_on_where_it_was(sides):
    export = sides.export()
    sides.empty("base")
    sides.fake.faults.append(Fault("status", method="POST", after=1, count=None))
    with pytest.raises(RestError, match="500"):
        sides.recreate(export)
    assert len(sides.fake.tables[CONFIGURATIONS]) == 1 and len(sides.fake.tables[RULES]) == 1
    sides.fake.faults.clear()
    sides.recreate(export)
    assert {state for _name, state in sides.states(export)} == {"same"}


@pytest.mark.parametrize("kind", ["reset_after", "status"])
def test_several_at_once(sides, kind):
    for number in range(30):
        sides.fake.add_rule("rule{}".format(number), order=str(number))
    export = sides.export()
    sides.empty("base")
    sides.fake.faults.append(Fault(kind, method="POST", after=10, count=2))
    sides.recreate(export, workers=4)
    assert {state for _name, state in sides.states(export)} == {"same"} and len(sides.fake.tables[RULES]) == 33


def test_a_refusal_among_several_is_told(sides):
    for number in range(30):
        sides.fake.add_rule("rule{}".format(number))
    export = sides.export()
    sides.empty("base")
    sides.fake.faults.append(Fault("status", method="POST", status=403, after=10, count=None))
    with pytest.raises(RestError, match="403"):
        sides.recreate(export, workers=4)
    assert len([entry for entry in sides.fake.requests if entry["method"] == "POST"]) < 18


def test_a_refusal_stops_at_the_first_record(sides):
    export = sides.export()
    sides.empty("base")
    sides.fake.denied[("POST", CONFIGURATIONS)] = (403, "Operation Failed", "ACL Exception Insert Failed due to security constraints")
    with pytest.raises(RestError, match="403"):
        sides.recreate(export)
    assert [entry["path"] for entry in sides.fake.requests if entry["method"] == "POST"] == ["/api/now/table/" + CONFIGURATIONS]


def test_a_column_that_is_silently_dropped_is_noticed_at_the_first_record(sides):
    export = sides.export()
    sides.empty("base")
    sides.fake.drop.add((CONFIGURATIONS, "encryption_type"))
    with pytest.raises((_recreate.NotRecreated, FieldsMissing), match="encryption_type"):
        sides.recreate(export)
    assert len([entry for entry in sides.fake.requests if entry["method"] == "POST"]) == 1


def test_a_write_that_arrives_late_is_told(sides):
    export = sides.export()
    sides.empty("base")
    add = sides.fake.add

    def twice(into, **fields):
        if into == CONFIGURATIONS:
            add(into, **fields)
        return add(into, **fields)

    sides.fake.add = twice
    with pytest.raises(_recreate.NotRecreated, match="one record too many: sys_encryption_configuration incident.description"):
        sides.recreate(export)


# References


@pytest.fixture
def referring(sides):
    sides.describe("sys_proxy_encryption_type", "label")
    sides.fake.add("sys_dictionary", name="sys_proxy_encryption_type", element="name", internal_type="string", reference="", active="true", display="true")
    kind = sides.fake.add("sys_proxy_encryption_type", name="standard_128")
    sides.describe(CONFIGURATIONS, kind="sys_proxy_encryption_type")
    for row in sides.fake.tables[CONFIGURATIONS].values():
        row.update({"kind": kind, "kind.name": "standard_128"})
    return sides


def test_a_reference_is_exported_by_key_and_made_to_what_has_that_key_now(referring):
    export = referring.export()
    assert export.tables[CONFIGURATIONS].records[0].values["kind"] == "standard_128"
    assert export.tables[CONFIGURATIONS].references["kind"] == ("sys_proxy_encryption_type", "name")
    referring.empty("base")
    referring.fake.tables["sys_proxy_encryption_type"] = {}
    with pytest.raises(EdgeError, match="refers to the record sys_proxy_encryption_type standard_128, of which 0 exist"):
        referring.recreate(export)
    new = referring.fake.add("sys_proxy_encryption_type", sys_id="f" * 32, name="standard_128")
    with pytest.raises(EdgeError, match="kind refers to cannot be read"):
        referring.recreate(export)  # this fake does not walk references
    made = list(referring.fake.tables[CONFIGURATIONS].values())
    assert [row["kind"] for row in made] == [new]


def test_a_reference_to_what_has_no_display_field(referring):
    for row in referring.fake.tables["sys_dictionary"].values():
        row["display"] = "false"
    with pytest.raises(EdgeError, match="has no display field"):
        referring.export()
