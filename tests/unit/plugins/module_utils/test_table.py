# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _table
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials, NotTheApi, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import (
    FieldsMissing,
    NotFound,
    NotStored,
    Query,
    QueryIgnored,
    Table,
    equals,
)
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import Fault, fake  # noqa: F401  # pylint: disable=unused-import


@pytest.fixture
def table(fake, monkeypatch):  # noqa: F811
    monkeypatch.setattr(_table, "PAGE", 3)
    for number in range(8):
        fake.add("u_thing", name="n{}".format(number), state="open" if number % 2 else "closed", sys_id="{:032x}".format(number + 1))
    with Client(fake.url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None) as client:
        yield Table(client, "u_thing")


def names(listing):
    return [row["name"] for row in listing.rows]


@pytest.mark.parametrize("counted", [True, False])
def test_all_pages(fake, table, counted):  # noqa: F811
    fake.count_header = counted
    assert names(table.list("", ["name"])) == ["n{}".format(number) for number in range(8)]
    assert not any("sysparm_offset" in entry["params"] for entry in fake.requests)


@pytest.mark.parametrize("hidden", [{2}, {1, 2, 3}, {3}, {7, 8}, {1, 2, 3, 4, 5, 6}, set(range(1, 9))])
def test_pages_shortened_by_access_rules_do_not_end_the_list(fake, table, hidden):  # noqa: F811
    fake.hidden = {"{:032x}".format(number) for number in hidden}
    listing = table.list("", ["name"])
    assert names(listing) == ["n{}".format(number - 1) for number in range(1, 9) if number not in hidden]
    assert listing.hidden == len(hidden)


def test_rows_written_meanwhile_do_not_shift_the_pages(fake, table):  # noqa: F811
    fake.add("u_thing", name="first", sys_id="0" * 32)
    first_page = table._page

    def page(params):
        value = first_page(params)
        fake.tables["u_thing"].pop("0" * 32, None)
        return value

    table._page = page
    assert names(table.list("", ["name"])) == ["first"] + ["n{}".format(number) for number in range(8)]


def test_limit(fake, table):  # noqa: F811
    assert len(table.list("", ["name"], limit=4).rows) == 4


def test_a_query_with_alternatives_keeps_its_meaning_on_every_page(table):
    assert names(table.list("state=open^NQname=n0^ORname=n2", ["name"])) == ["n0", "n1", "n2", "n3", "n5", "n7"]


def test_an_ignored_condition_is_noticed(fake, table):  # noqa: F811
    fake.ignored_fields.add("state")
    with pytest.raises(QueryIgnored):
        table.list("state=open", ["name"])


def test_an_ignored_page_limit_is_noticed(fake, table):  # noqa: F811
    fake.ignored_fields.add("sys_id")
    with pytest.raises(QueryIgnored):
        table.list("", ["name"])


def test_an_unknown_field_of_the_query_is_noticed(table):
    with pytest.raises(FieldsMissing, match="stat"):
        table.list("stat=open", ["name"])


def test_optional_fields_may_be_missing(table):
    assert "signature" not in table.list("", ["name"], optional=["signature"]).rows[0]


def test_a_condition_that_cannot_be_checked_is_refused(table):
    with pytest.raises(EdgeError, match="DATEPART"):
        table.list("sys_created_onDATEPARTx", ["name"])


@pytest.mark.parametrize(
    ("query", "row", "holds"),
    [
        ("a=1", {"a": "1"}, True),
        ("a=X", {"a": "x"}, True),
        ("a!=1", {"a": "1"}, False),
        ("aIN1,2", {"a": "2"}, True),
        ("aNOT IN1,2", {"a": "3"}, True),
        ("aSTARTSWITHfo", {"a": "foo"}, True),
        ("aENDSWITHfo", {"a": "foo"}, False),
        ("aLIKEoo", {"a": "food"}, True),
        ("aNOT LIKEoo", {"a": "food"}, False),
        ("aISEMPTY", {"a": ""}, True),
        ("aISNOTEMPTY^b=2", {"a": "1", "b": "3"}, False),
        ("a=1^ORb=2^c=3", {"a": "0", "b": "2", "c": "3"}, True),
        ("a=1^ORb=2^c=3", {"a": "1", "b": "0", "c": "0"}, False),
        ("a=1^NQb=2^EQ", {"a": "0", "b": "2"}, True),
        ("", {}, True),
        ("order=5", {"order": "5"}, True),
    ],
)
def test_queries_are_understood(query, row, holds):
    assert Query(query).holds(row) is holds


def test_a_value_that_is_a_query_is_refused():
    with pytest.raises(EdgeError):
        equals(name="x^ORactive=true")


def test_an_empty_value_is_refused_which_would_find_records_that_have_none():
    with pytest.raises(EdgeError, match="name: is empty"):
        equals(name="")


def test_get_of_nothing(table):
    with pytest.raises(NotFound):
        table.get("f" * 32)


def test_an_unknown_table(table):
    with pytest.raises(StatusError, match="Invalid table"):
        Table(table.client, "u_nothing").list()


def test_update_is_read_back(fake, table):  # noqa: F811
    sys_id = "{:032x}".format(1)
    assert table.update(sys_id, {"state": "open"})["state"] == "open"
    fake.drop.add(("u_thing", "name"))
    with pytest.raises(NotStored, match="name") as caught:
        table.update(sys_id, {"state": "closed", "name": "other"})
    assert caught.value.context["fields"] == ["name"]


@pytest.mark.parametrize("kind", ["status_after", "reset_after", "reset_before", "partial_json", "html"])
def test_update_whose_answer_is_lost_is_repeated(fake, table, kind):  # noqa: F811
    fake.faults.append(Fault(kind, method="PATCH", status=200 if kind == "html" else 500))
    table.update("{:032x}".format(1), {"state": "open"})
    assert fake.row("u_thing", "{:032x}".format(1))["state"] == "open"


@pytest.mark.parametrize("kind", ["status_after", "reset_after", "partial_json"])
def test_create_whose_answer_is_lost_does_not_create_twice(fake, table, kind):  # noqa: F811
    fake.faults.append(Fault(kind, method="POST"))
    table.create({"name": "new"}, key=["name"])
    assert len([row for row in fake.tables["u_thing"].values() if row["name"] == "new"]) == 1


def test_create_that_did_not_happen_fails(fake, table):  # noqa: F811
    fake.faults.append(Fault("reset_before", method="POST"))
    with pytest.raises(EdgeError):
        table.create({"name": "new"}, key=["name"])


def test_delete(fake, table):  # noqa: F811
    table.delete("{:032x}".format(1))
    assert "{:032x}".format(1) not in fake.tables["u_thing"]
    table.delete("{:032x}".format(1))


def test_one_that_is_two(table):
    with pytest.raises(EdgeError, match="more than one"):
        table.one("state=open", ["name"])


def test_an_answer_without_records(fake, table):  # noqa: F811
    fake.faults.append(Fault("status", status=200, body='{"result":{"x":"y"}}'))
    with pytest.raises(NotTheApi):
        table.list()


def test_references_and_nothing_become_text(fake, table):  # noqa: F811
    fake.faults.append(Fault("status", status=200, body='{"result":{"sys_id":"1","a":{"link":"l","value":"v"},"b":null,"c":""}}'))
    assert table.get("1") == {"sys_id": "1", "a": "v", "b": "", "c": ""}
