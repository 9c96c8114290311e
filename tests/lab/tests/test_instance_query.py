# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encoded queries, on a store without a server."""

import pytest

from edgelab.instance.query import Context, compile_query, utc_now
from edgelab.instance.seed import complete
from edgelab.instance.store import Store

USERS = {"u1": ("Ann Berg", ""), "u2": ("Bob Cole", "u1")}
INCIDENTS = {
    "i1": {"number": "INC1", "priority": "1", "state": "1", "caller_id": "u1", "u_birth_date": "2001-01-01", "description": "50%_off"},
    "i2": {"number": "INC2", "priority": "2", "state": "2", "caller_id": "u2", "active": "false"},
    "i3": {"number": "INC3", "priority": "10", "state": "2", "caller_id": "", "short_description": "Alpha beta"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("query") / "instance.sqlite")
    for sys_id, (name, manager) in USERS.items():
        store.put("sys_user", complete(store, "sys_user", {"sys_id": sys_id, "user_name": sys_id, "name": name, "manager": manager}))
    for sys_id, row in INCIDENTS.items():
        store.put("incident", complete(store, "incident", {"sys_id": sys_id, **row}))
    store.put("change_request", complete(store, "change_request", {"sys_id": "c1", "number": "CHG1"}))
    return store


def run(store, text, table="incident"):
    compiled = compile_query(store.schema, table, text, Context("u1", "ann"))
    order = compiled.order or "a0.sys_id"
    return " ".join(row["sys_id"] for row in store.select(table, compiled.where, compiled.params, order=order))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "i1 i2 i3"),
        ("number=INC1", "i1"),
        ("number=inc1", "i1"),
        ("active=1", "i1 i3"),
        ("state=2^priority=2", "i2"),
        ("state=1^ORpriority=10^active=true", "i1 i3"),
        ("state=2^priority=2^NQstate=1", "i1 i2"),
        ("state=2^EQ", "i2 i3"),
        ("number!=INC1", "i2 i3"),
        ("priority>2", "i3"),
        ("priority>=2", "i2 i3"),
        ("priority<10", "i1 i2"),
        ("priorityBETWEEN2@10", "i2 i3"),
        ("sys_id>i1^ORDERBYsys_id", "i2 i3"),
        ("numberININC1,INC3", "i1 i3"),
        ("numberNOT ININC1,INC3", "i2"),
        ("numberLIKEnc2", "i2"),
        ("number*nc2", "i2"),
        ("numberCONTAINSnc2", "i2"),
        ("numberNOT LIKEnc2", "i1 i3"),
        ("number!*nc2", "i1 i3"),
        ("numberDOES NOT CONTAINnc2", "i1 i3"),
        ("descriptionLIKE%_", "i1"),
        ("numberSTARTSWITHINC", "i1 i2 i3"),
        ("numberENDSWITH3", "i3"),
        ("number%3", "i3"),
        ("caller_idISEMPTY", "i3"),
        ("caller_idISNOTEMPTY", "i1 i2"),
        ("caller_idEMPTYSTRING", "i3"),
        ("caller_id=NULL", "i3"),
        ("numberANYTHING", "i1 i2 i3"),
        ("prioritySAMEASstate", "i1 i2"),
        ("priorityNSAMEASstate", "i3"),
        ("u_birth_date>2000-01-01", "i1"),
        ("sys_created_onRELATIVEGT@hour@ago@1", "i1 i2 i3"),
        ("sys_created_onRELATIVELT@hour@ago@1", ""),
        ("sys_created_on<=javascript:gs.nowDateTime()", "i1 i2 i3"),
        ("sys_created_onONToday@javascript:gs.daysAgo(1)@javascript:gs.nowDateTime()", "i1 i2 i3"),
        ("caller_id=javascript:gs.getUserID()", "i1"),
        ("caller_id.name=Ann Berg", "i1"),
        ("caller_id.manager.name=Ann Berg", "i2"),
        ("caller_idLIKEcole", "i2"),
        ("ORDERBYDESCnumber", "i3 i2 i1"),
        ("ORDERBYstate^ORDERBYDESCnumber", "i1 i3 i2"),
        ("ORDERBYpriority", "i1 i2 i3"),
        ("ORDERBYcaller_id", "i3 i1 i2"),
        ("123TEXTQUERY321=alpha", "i3"),
        ("RLQUERYincident.caller_id,>=1^ENDRLQUERY", ""),
        ("JOINincident.caller_id=sys_user.sys_id!name=Bob Cole", "i2"),
    ],
)
def test_query_selects(store, text, expected):
    assert run(store, text) == expected


def test_related_list_query_counts_the_other_table(store):
    assert run(store, "RLQUERYincident.caller_id,>=1^active=true^ENDRLQUERY", "sys_user") == "u1"
    assert run(store, "RLQUERYincident.caller_id,=0^ENDRLQUERY^userNOSUCH=1", "sys_user") == ""


def test_a_parent_table_holds_its_childrens_records(store):
    assert run(store, "", "task") == "c1 i1 i2 i3"
    assert run(store, "sys_class_nameINSTANCEOFincident", "task") == "i1 i2 i3"
    assert run(store, "", "change_request") == "c1"


@pytest.mark.parametrize("text", ["activ=true", "number~INC1", "caller_id.nothing=1", "number.name=1", "priority>many", "garbage"])
def test_an_invalid_part_is_ignored_and_reported(store, text):
    compiled = compile_query(store.schema, "incident", text + "^state=2")
    assert compiled.invalid == [text]
    assert run(store, text + "^state=2") == "i2 i3"


def test_or_behind_an_invalid_part_does_not_bind_to_the_part_before(store):
    assert run(store, "state=2^activ=x^ORnumber=INC1^NQnumber=INC3") == "i3"


def test_the_fields_that_a_query_reads_are_known(store):
    assert compile_query(store.schema, "incident", "caller_id.name=x").fields == {("incident", "caller_id"), ("sys_user", "name")}


def test_times_compare_as_stored(store):
    assert run(store, "sys_created_on>=" + utc_now(-60)) == "i1 i2 i3"
    assert run(store, "sys_created_on>" + utc_now(60)) == ""
