# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _resign, _rules
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._resign import Settings, resign
from ansible_collections.edge_encryption.clone.plugins.module_utils._resign_journal import Journal
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import Undecided
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import SIGNED, Fault, fake  # noqa: F401  # pylint: disable=unused-import


@pytest.fixture
def rules(fake, monkeypatch):  # noqa: F811
    """Five active rules, an inactive one, two base rules; two configurations, one of them inactive."""
    for number in range(5):
        fake.add_rule("rule{}".format(number), order=str(100 + number))
    fake.add_rule("off", active=False)
    fake.add_rule("base1", sys_created_by="glide.maint")
    fake.add_rule("base2", sys_created_by="glide.maint", active=False)
    fake.add_configuration("incident", "description")
    fake.add_configuration("incident", "u_old", active=False)
    fake.before = snapshot(fake)
    monkeypatch.setattr(_resign, "BACKOFF", 0.005)
    return fake


def snapshot(fake):  # noqa: F811
    return {(table, sys_id): dict(row) for table in SIGNED for sys_id, row in fake.tables[table].items()}


def key_of(rules, name):
    return next(key for key, row in rules.before.items() if row.get("name") == name)


def do(fake, state_file, check=False, **settings):  # noqa: F811
    settings = dict({"restore_timeout": 5.0}, **settings)
    settings["failing"] = frozenset((entry["kind"], entry["name"]) for entry in settings.get("failing", ()))
    client = Client(fake.url, Credentials("edge.automation", "pw"), timeout=2, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))
    edge = client.sibling(fake.proxy_url)
    result, trouble = resign(client, edge, Settings(**settings), str(state_file), Progress(None, "resign"), check)
    return result, trouble


def assert_as_before(fake, resigned=True):  # noqa: F811
    """Every record is what it was, but for its signature; base records are untouched."""
    for key, row in snapshot(fake).items():
        before = fake.before[key]
        for name in row:
            if name not in ("signature", "sys_mod_count", "sys_updated_on"):
                assert row[name] == before[name], (row, name)
        if before["sys_created_by"] == "glide.maint":
            assert row == before
        elif resigned:
            assert row["signature"] == fake.signature_of(key[0], row), row
    assert not [key for key in fake.off if fake.before.get(("sys_encryption_rule", key), {}).get("active") == "true"]


def test_everything_is_resigned(rules, tmp_path):
    result, trouble = do(rules, tmp_path / "state", max_inactive=3)
    assert trouble is None
    assert result["totals"] == {"records": 10, "resigned": 8, "skipped": 0, "base": 2, "failed": 0}
    assert result["changed"]
    assert result["transport"] == "table_api"
    assert result["instance_name"] == "acmetest"
    assert_as_before(rules)
    assert 1 <= rules.most_off <= 3
    # Six active records there and back, and two inactive ones as they are.
    assert len(rules.paths("PATCH")) == 6 * 2 + 2


def test_inactive_records_are_never_activated(rules, tmp_path):
    do(rules, tmp_path / "state")
    assert not [key for key, row in rules.before.items() if row["active"] == "false" and key[1] in rules.ever_active]


def test_nothing_is_written_but_through_the_proxy_and_never_in_batches(rules, tmp_path):
    do(rules, tmp_path / "state")
    assert all(entry["via_proxy"] for entry in rules.requests if entry["method"] != "GET")
    assert not [path for _method, path in rules.paths() if "batch" in path]


def test_one_connection_a_worker(rules, tmp_path):
    for number in range(60):
        rules.add_rule("more{}".format(number))
    rules.before = snapshot(rules)
    do(rules, tmp_path / "state", max_inactive=4)
    # Each worker through the proxy, and one for all that is read from the instance itself.
    assert rules.connections == 4 + 1


def test_the_journal_is_private(rules, tmp_path):
    do(rules, tmp_path / "state")
    assert stat.S_IMODE(os.stat(str(tmp_path / "state")).st_mode) == 0o600


def test_again_with_the_same_journal_does_nothing(rules, tmp_path):
    do(rules, tmp_path / "state")
    before = snapshot(rules)
    result, trouble = do(rules, tmp_path / "state")
    assert trouble is None
    assert not result["changed"]
    assert result["totals"]["resigned"] == 0
    assert snapshot(rules) == before


def test_again_after_somebody_changed_a_rule_does_that_one(rules, tmp_path):
    do(rules, tmp_path / "state")
    key = key_of(rules, "rule2")
    rules.write("sys_encryption_rule", rules.row(*key), {"script": "other"}, signed=False)
    rules.before = snapshot(rules)
    result, trouble = do(rules, tmp_path / "state")
    assert trouble is None
    assert [entry["name"] for entry in result["records"] if entry["resigned"]] == ["rule2"]
    assert_as_before(rules)


def test_again_without_the_journal_resigns_what_is_signed_already(rules, tmp_path):
    """The inactive configuration has no field that could prove anything now; all others show that they had this proxy's signature."""
    do(rules, tmp_path / "one")
    result, trouble = do(rules, tmp_path / "two")
    assert trouble is None
    assert result["totals"] == {"records": 10, "resigned": 7, "skipped": 1, "base": 2, "failed": 0}
    assert [entry["name"] for entry in result["records"] if entry["skipped"] and not entry["base"]] == ["incident.u_old"]
    assert len(result["warnings"]) == 1 and "incident.u_old" in result["warnings"][0] and "inactive=toggle" in result["warnings"][0]
    assert_as_before(rules)
    again, trouble = do(rules, tmp_path / "two")
    assert trouble is None and not again["changed"] and not again["warnings"]


def only_changes_are_signed(fake, monkeypatch):  # noqa: F811
    write = fake.write

    def signs_changes(table, row, values, signed):
        write(table, row, values, signed and any(row.get(name) != value for name, value in values.items()))

    monkeypatch.setattr(fake, "write", signs_changes)


def test_an_inactive_record_that_cannot_be_proven_is_no_success_where_others_were_not_signed(rules, tmp_path, monkeypatch):
    """A run that died long ago left some signatures of another key; nobody knows whose this one is."""
    only_changes_are_signed(rules, monkeypatch)
    assert do(rules, tmp_path / "one", inactive="toggle")[1] is None
    # No canary: those come late in the order of rules.
    rules.row(*key_of(rules, "rule0"))["signature"] = "old"
    result, trouble = do(rules, tmp_path / "two", max_inactive=1)
    assert "incident.u_old" in str(trouble) and "inactive=toggle" in str(trouble)
    assert result["totals"]["failed"] == 1
    assert_as_before(rules, resigned=False)
    # With the same journal it stays so, until it is toggled.
    assert "incident.u_old" in str(do(rules, tmp_path / "two")[1])
    assert do(rules, tmp_path / "two", inactive="toggle")[1] is None
    assert_as_before(rules, resigned=False)


def test_every_inactive_record_that_cannot_be_proven_is_judged(rules, tmp_path, monkeypatch):
    rules.add_configuration("incident", "u_aged", active=False)
    rules.before = snapshot(rules)
    only_changes_are_signed(rules, monkeypatch)
    assert do(rules, tmp_path / "one", inactive="toggle")[1] is None
    rules.row(*key_of(rules, "rule0"))["signature"] = "old"
    result, _trouble = do(rules, tmp_path / "two", max_inactive=1)
    errors = {entry["name"]: entry["error"] for entry in result["records"] if entry["error"]}
    assert sorted(errors) == ["incident.u_aged", "incident.u_old"]
    assert all("its signature did not change" in error for error in errors.values())


def test_a_signature_that_a_failed_run_renewed_is_not_forgotten(rules, tmp_path, monkeypatch):
    """As above, but the run whose writes showed it ends before its record is signed; so the next one must not take the inactive one to be signed."""
    only_changes_are_signed(rules, monkeypatch)
    assert do(rules, tmp_path / "one", inactive="toggle")[1] is None
    rules.row(*key_of(rules, "rule0"))["signature"] = "old"
    write = _resign.TRANSPORTS["table_api"][0].write

    def without_answer(edge, direct, layout, sys_id, values):
        row = write(edge, direct, layout, sys_id, values)
        if sys_id == key_of(rules, "rule0")[1] and values == {"active": "false"}:
            raise StatusError("rule0", 503, "not now", "")
        return row

    with monkeypatch.context() as patch:
        patch.setattr(type(_resign.TRANSPORTS["table_api"][0]), "write", staticmethod(without_answer))
        assert "not now" in str(do(rules, tmp_path / "two", max_inactive=1, transport="table_api")[1])
    _result, trouble = do(rules, tmp_path / "two", max_inactive=1)
    assert "incident.u_old" in str(trouble) and "inactive=toggle" in str(trouble)


def test_the_same_content_with_the_same_signature_is_proof_where_a_proxy_signs_what_it_is_given(rules, tmp_path):
    rules.add_configuration("incident", "u_aged", active=False)
    rules.before = snapshot(rules)
    result, trouble = do(rules, tmp_path / "one")
    assert trouble is None
    canary, other = [entry for entry in result["records"] if entry["table"] == "sys_encryption_configuration" and not entry["active"]]
    rules.row(canary["table"], canary["sys_id"])["signature"] = "old"
    result, trouble = do(rules, tmp_path / "two")
    assert trouble is None and not result["warnings"]
    assert [entry["resigned"] for entry in result["records"] if entry["sys_id"] == other["sys_id"]] == [True]


def test_check_mode_lists_the_work_and_leaves_no_file(rules, tmp_path):
    result, trouble = do(rules, tmp_path / "state", check=True)
    assert trouble is None
    assert result["changed"]
    assert not [entry for entry in rules.requests if entry["method"] != "GET"]
    assert sorted(entry["name"] for entry in result["records"] if entry["skipped"]) == ["base1", "base2"]
    assert not (tmp_path / "state").exists()
    do(rules, tmp_path / "state")
    assert not do(rules, tmp_path / "state", check=True)[0]["changed"]


def test_skip_reports_inactive_records(rules, tmp_path):
    result, trouble = do(rules, tmp_path / "state", inactive="skip")
    assert trouble is None
    assert sorted(entry["name"] for entry in result["records"] if entry["skipped"] == "inactive") == ["incident.u_old", "off"]


def test_toggle_activates_inactive_records_for_a_moment(rules, tmp_path):
    result, trouble = do(rules, tmp_path / "state", inactive="toggle")
    assert trouble is None
    assert result["totals"]["resigned"] == 8
    assert_as_before(rules)
    assert any(row["active"] == "false" and key[1] in rules.ever_active for key, row in rules.before.items())


def test_touch_changes_the_order_when_writing_the_same_values_does_nothing(rules, tmp_path, monkeypatch):
    only_changes_are_signed(rules, monkeypatch)
    result, trouble = do(rules, tmp_path / "state", tables=["sys_encryption_rule"])
    assert trouble is None
    assert result["totals"]["resigned"] == 6
    assert_as_before(rules, resigned=False)
    before = snapshot(rules)
    _result, trouble = do(rules, tmp_path / "other", tables=["sys_encryption_configuration"])
    assert "u_old" in str(trouble) and "inactive=toggle" in str(trouble) and "only canaries" in str(trouble)
    assert "KB0621218" not in str(trouble)
    # But for the canaries, nothing was touched.
    assert [key for key, row in snapshot(rules).items() if row != before[key]] == [
        key for key, row in before.items() if row.get("column") == "description"
    ]
    assert_as_before(rules, resigned=False)


# The scope


def names_of(result, **what):
    return sorted(entry["name"] for entry in result["records"] if all(entry[name] == value for name, value in what.items()))


def test_failing_resigns_what_the_logs_name(rules, tmp_path):
    failing = [
        {"kind": "rule", "name": "rule3"},
        {"kind": "rule", "name": "off"},
        {"kind": "configuration", "name": "incident.description"},
        {"kind": "configuration", "name": "incident.rule3"},
    ]
    rules.add_rule("rule3", order="200")
    rules.before = snapshot(rules)
    checked, trouble = do(rules, tmp_path / "state", check=True, scope="failing", failing=failing)
    assert trouble is None and checked["changed"]
    assert names_of(checked, skipped=None) == ["incident.description", "off", "rule3", "rule3"]
    result, trouble = do(rules, tmp_path / "state", scope="failing", failing=failing)
    assert trouble is None
    # Several rules may share a name, and the log tells no more than that.
    assert names_of(result, resigned=True) == ["incident.description", "off", "rule3", "rule3"]
    assert len(result["warnings"]) == 1 and "incident.rule3" in result["warnings"][0] and "cache" in result["warnings"][0]
    assert {row["name"] for key, row in rules.before.items() if key[0] == "sys_encryption_rule" and row != rules.row(*key)} == {"rule3", "off"}
    assert_as_before(rules, resigned=False)


def test_a_configuration_of_attachments_is_known_by_its_type(rules, tmp_path):
    rules.add("sys_encryption_configuration", table="incident", column="", type="attachment", active="true", signature="old")
    rules.before = snapshot(rules)
    result, _trouble = do(rules, tmp_path / "state", scope="failing", failing=[{"kind": "configuration", "name": "incident.attachment"}])
    assert names_of(result, resigned=True) == ["incident.attachment"]


def test_failing_with_an_empty_list_does_nothing(rules, tmp_path):
    result, trouble = do(rules, tmp_path / "state", scope="failing", failing=[])
    assert trouble is None and not result["changed"] and rules.paths("PATCH") == []


def test_a_base_record_that_fails_is_named_and_left_alone(rules, tmp_path):
    result, trouble = do(rules, tmp_path / "state", scope="failing", failing=[{"kind": "rule", "name": "base1"}, {"kind": "rule", "name": "rule3"}])
    assert "base1" in str(trouble) and "ServiceNow" in str(trouble)
    assert names_of(result, resigned=True) == ["rule3"]
    assert_as_before(rules, resigned=False)


def test_failing_asks_only_about_the_records_it_would_touch(rules, tmp_path):
    options = {"base_query": "sys_created_by=nobody", "scope": "failing"}
    assert do(rules, tmp_path / "state", failing=[{"kind": "rule", "name": "rule3"}], **options)[1] is None
    with pytest.raises(Undecided) as caught:
        do(rules, tmp_path / "state", failing=[{"kind": "rule", "name": "base1"}], **options)
    assert [entry["name"] for entry in caught.value.context["undecided"]] == ["base1"]
    assert_as_before(rules, resigned=False)


def test_all_resigns_what_the_journal_calls_done_but_no_base_record(rules, tmp_path):
    do(rules, tmp_path / "state")
    rules.signing_key = "newer"
    assert not do(rules, tmp_path / "state")[0]["changed"]
    result, trouble = do(rules, tmp_path / "state", scope="all")
    assert trouble is None
    assert result["totals"] == {"records": 10, "resigned": 8, "skipped": 0, "base": 2, "failed": 0}
    assert_as_before(rules)


# Refusals


def test_unsigned_rest_stops_at_the_canary(rules, tmp_path):
    rules.sign_rest = False
    result, trouble = do(rules, tmp_path / "state", transport="table_api", inactive="skip")
    assert "its signature did not change" in str(trouble) and "KB0621218" in str(trouble)
    assert len({path for _method, path in rules.paths("PATCH")}) == 1
    assert result["totals"]["failed"] == 8 - 2
    assert_as_before(rules, resigned=False)


def test_auto_takes_the_form_when_rest_is_not_signed(rules, tmp_path):
    rules.sign_rest = False
    result, trouble = do(rules, tmp_path / "state", max_inactive=2)
    assert trouble is None
    assert result["transport"] == "form"
    assert_as_before(rules)
    assert rules.most_off <= 2


def test_neither_is_signed(rules, tmp_path):
    rules.sign_rest = rules.sign_form = False
    _result, trouble = do(rules, tmp_path / "state", inactive="skip")
    assert "By table_api" in str(trouble) and "By form" in str(trouble)
    assert_as_before(rules, resigned=False)


def test_no_right_to_write(rules, tmp_path):
    rules.denied[("PATCH", "sys_encryption_rule")] = (403, "Operation Failed")
    rules.denied[("PATCH", "sys_encryption_configuration")] = (403, "Operation Failed")
    _result, trouble = do(rules, tmp_path / "state", transport="table_api")
    assert "security_admin" in str(trouble)
    assert_as_before(rules, resigned=False)


def test_a_write_that_is_silently_left_out(rules, tmp_path):
    rules.drop |= {(table, "active") for table in SIGNED}
    _result, trouble = do(rules, tmp_path / "state", transport="table_api", inactive="skip")
    assert "left out" in str(trouble) and "elevated" in str(trouble)
    assert_as_before(rules, resigned=False)


def test_an_unreadable_signature(rules, tmp_path):
    rules.unreadable |= {(table, "signature") for table in SIGNED}
    _result, trouble = do(rules, tmp_path / "state")
    assert "canary_proof=update" in str(trouble)
    assert rules.paths("PATCH") == []
    result, trouble = do(rules, tmp_path / "state", signature_required=False, inactive="skip")
    assert trouble is None
    assert result["totals"]["resigned"] == 6


def test_the_proxy_of_another_instance(rules, tmp_path):
    with type(rules)("acmeprod") as other:
        rules.proxy_url = other.proxy_url
        with pytest.raises(EdgeError, match="a proxy of acmeprod, not of acmetest"):
            do(rules, tmp_path / "state")


def test_the_instance_itself_is_no_proxy(rules, tmp_path):
    rules.proxy_url = rules.url
    with pytest.raises(EdgeError, match="the address of the instance itself"):
        do(rules, tmp_path / "state")


def test_no_base_record_in_sight(rules, tmp_path):
    with pytest.raises(Undecided) as caught:
        do(rules, tmp_path / "state", base_query="sys_created_by=nobody")
    assert {entry["name"] for entry in caught.value.context["undecided"]} == {"base1", "base2"}
    for key in [key for key, row in rules.before.items() if row["sys_created_by"] == "glide.maint"]:
        del rules.tables[key[0]][key[1]]
    rules.before = snapshot(rules)
    with pytest.raises(Undecided) as caught:
        do(rules, tmp_path / "state")
    assert len(caught.value.context["undecided"]) == 6
    _result, trouble = do(rules, tmp_path / "state", no_base_records=True)
    assert trouble is None
    assert_as_before(rules)


def test_a_base_query_the_instance_does_not_understand(rules, tmp_path):
    with pytest.raises(EdgeError, match="u_origin"):
        do(rules, tmp_path / "state", base_query="u_origin=snc")
    assert rules.paths("PATCH") == []


def test_records_that_may_not_be_read(rules, tmp_path):
    rules.hidden.add(next(iter(rules.tables["sys_encryption_rule"])))
    with pytest.raises(EdgeError, match="1 of its records may not be read"):
        do(rules, tmp_path / "state")


def test_a_journal_of_another_instance(rules, tmp_path):
    Journal(str(tmp_path / "state"), "acmeprod").close()
    with pytest.raises(EdgeError, match="acmeprod"):
        do(rules, tmp_path / "state")


def test_a_journal_of_a_newer_release(rules, tmp_path):
    Journal(str(tmp_path / "state"), "acmetest").close()
    (tmp_path / "state").write_text((tmp_path / "state").read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(EdgeError, match="has format 2, and this release of edge_encryption.clone knows none above 1"):
        do(rules, tmp_path / "state")


def test_something_else_is_no_journal(rules, tmp_path):
    (tmp_path / "state").write_text("precious\n")
    with pytest.raises(EdgeError, match="line 1"):
        do(rules, tmp_path / "state")
    assert (tmp_path / "state").read_text() == "precious\n"


def test_two_runs_with_one_journal(rules, tmp_path):
    journal = Journal(str(tmp_path / "state"), "acmetest")
    with pytest.raises(EdgeError, match="another run"):
        do(rules, tmp_path / "state")
    journal.close()
    assert do(rules, tmp_path / "state")[1] is None


# Trouble on the way


def test_a_business_rule_refuses_one_record(rules, tmp_path):
    refused = key_of(rules, "rule1")
    rules.refuse[refused[1]] = "aborted by Business Rule 'One active configuration'"
    result, trouble = do(rules, tmp_path / "state")
    assert "rule1" in str(trouble) and "Business Rule" in str(trouble)
    assert result["totals"] == {"records": 10, "resigned": 7, "skipped": 0, "base": 2, "failed": 1}
    assert_as_before(rules, resigned=False)
    rules.refuse.clear()
    result, trouble = do(rules, tmp_path / "state")
    assert trouble is None
    assert result["totals"]["resigned"] == 1
    assert_as_before(rules)


def test_ten_of_the_records_that_failed_are_named(rules, tmp_path):
    for number in range(12):
        rules.refuse[rules.add_rule("refused{:02}".format(number))] = "no"
    result, trouble = do(rules, tmp_path / "state")
    assert result["totals"]["failed"] == 12 and "12 records need attention" in str(trouble)
    assert str(trouble).count("sys_encryption_rule refused") == 10


@pytest.mark.parametrize("failures", [2, 3])
def test_three_attempts(rules, tmp_path, monkeypatch, failures):
    original, left = _resign.Resigner._there_and_back, [failures]

    def flaky(self, hands, record, there, back):
        if record.name == "rule1" and left[0]:
            left[0] -= 1
            raise StatusError("rule1", 503, "not now", "")
        return original(self, hands, record, there, back)

    monkeypatch.setattr(_resign.Resigner, "_there_and_back", flaky)
    _result, trouble = do(rules, tmp_path / "state", max_inactive=1)
    assert left == [0]
    if failures == 2:
        assert trouble is None
        assert_as_before(rules)
    else:
        assert "not now" in str(trouble)


def test_a_fault_that_passes_is_no_reason_for_the_form(rules, tmp_path):
    rules.faults = [Fault("status", method="PATCH", status=503, count=None, headers={"Retry-After": "0"})]
    _result, trouble = do(rules, tmp_path / "state", inactive="skip", restore_timeout=0.0)
    assert "By table_api" in str(trouble) and "By form" not in str(trouble)
    assert not [path for _method, path in rules.paths() if path.endswith(".do")]


def test_the_first_failure_is_explained():
    record = _rules.Record("sys_encryption_rule", "a" * 32, "r", True, False, 0, None, {})
    failures = [("table_api", _resign.NotSigned("r", "not signed.")), ("form", _resign.Dropped("r", "left out."))]
    error = _resign.Resigner._no_canary(None, record, failures)
    assert "By table_api" in str(error) and "By form" in str(error) and "KB0621218" in str(error) and "elevated" not in str(error)


class Stubborn:
    """A transport whose first writes are left out or refused."""

    name = "table_api"

    def __init__(self, *answers):
        self.answers = list(answers)

    def write(self, edge, direct, layout, sys_id, values):
        answer = self.answers.pop(0) if self.answers else "done"
        if answer == "refused":
            raise StatusError("rule1", 403, "not you", "")
        if answer == "left out":
            return dict(active="false", sys_mod_count="1", sys_updated_on="", signature="s")
        return _resign.TRANSPORTS["table_api"][0].write(edge, direct, layout, sys_id, values)


@pytest.fixture
def drive_back(rules, tmp_path):
    """Return a function that puts rule1, which is off, back over a transport."""
    row = rules.row(*key_of(rules, "rule1"))
    row["active"] = "false"
    client = Client(rules.url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None)
    found = _rules.survey(client, _rules.TABLES, _rules.BASE_QUERY, None)
    (record,) = [record for record in found.records if record.name == "rule1"]
    journal = Journal(str(tmp_path / "state"), "acmetest")

    def drive(transport, timeout=5.0, **values):
        resigner = _resign.Resigner(client, client.sibling(rules.proxy_url), journal, Settings(restore_timeout=timeout), Progress(None, "resign"))
        resigner.layouts = found.layouts
        return resigner._put_back(resigner.hands, record, values, transport)

    yield drive
    journal.close()


def gets(rules, name):
    return [path for path in rules.paths("GET") if path[1].endswith(key_of(rules, name)[1])]


def test_what_the_answer_shows_is_not_read_again(rules, drive_back):
    assert drive_back(Stubborn(), active="true").shows({"active": "true"})
    assert gets(rules, "rule1") == []


@pytest.mark.parametrize("answers", [["left out"], ["refused"], ["refused", "left out", "refused"]])
def test_a_record_is_driven_back_until_it_shows_it(rules, drive_back, answers):
    transport = Stubborn(*answers)
    assert drive_back(transport, active="true").shows({"active": "true"})
    assert rules.row(*key_of(rules, "rule1"))["active"] == "true" and transport.answers == []
    assert len(gets(rules, "rule1")) == len(answers)


@pytest.mark.parametrize("values", [{"active": "true"}, {"order": "100"}], ids=str)
def test_a_write_that_arrived_without_an_answer_is_seen(rules, drive_back, values):
    rules.row(*key_of(rules, "rule1")).update(values, sys_mod_count="7")
    state = drive_back(Stubborn("refused"), **values)
    assert state.shows(values) and state.signature == _rules.digest("old-rule1") and state.mod_count == 7
    assert rules.paths("PATCH") == []


def test_a_record_that_cannot_be_read_meanwhile_is_driven_back_too(rules, drive_back):
    sys_id = key_of(rules, "rule1")[1]
    rules.faults = [Fault("status", method="GET", path=sys_id, status=403)]
    assert drive_back(Stubborn("refused"), active="true").shows({"active": "true"})
    assert rules.row(*key_of(rules, "rule1"))["active"] == "true"


def test_a_record_that_cannot_be_put_back_is_named_with_both_reasons(rules, drive_back):
    sys_id = key_of(rules, "rule1")[1]
    rules.faults = [Fault("status", method="GET", path=sys_id, status=403, count=None, body=b"{}")]
    with pytest.raises(_resign.LeftOff) as caught:
        drive_back(Stubborn(*["refused"] * 1000), timeout=0.1, active="true")
    assert "it should be active=true again, but 0.1 s of trying" in str(caught.value)
    assert "not you" in str(caught.value) and "; and " in str(caught.value)
    assert len(gets(rules, "rule1")) > 1


def test_a_record_that_is_gone_is_not_waited_for(rules, drive_back):
    key = key_of(rules, "rule1")
    del rules.tables[key[0]][key[1]]
    with pytest.raises(_resign.NotFound):
        drive_back(Stubborn("refused"), active="true")


@pytest.mark.parametrize("before", [None, EdgeError("rule1", "an earlier one.")])
def test_what_cannot_be_compared_in_the_end_is_no_success(rules, tmp_path, monkeypatch, before):
    def fail(error):
        raise error

    monkeypatch.setattr(_resign.Resigner, "_sweep", lambda self, survey: fail(EdgeError("acmetest", "the sweep.")))
    if before:
        monkeypatch.setattr(_resign.Resigner, "_work", lambda self, todo: fail(before))
    result, trouble = do(rules, tmp_path / "state")
    assert ("an earlier one" if before else "the sweep") in str(trouble)
    assert result["totals"]["records"] == 10


KINDS = [
    ("reset_before", 500),
    ("reset_after", 500),
    ("status_after", 500),
    ("status", 500),
    ("status", 502),
    ("status", 401),
    ("status", 429),
    ("html", 200),
    ("html", 503),
    ("partial_json", 200),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "{}-{}".format(*kind))
def test_faults_at_every_step(rules, tmp_path, kind):
    """One fault at each of the first writes in turn; the run ends green, or says so and the next one does."""
    for after in range(0, 7):
        rules.faults = [Fault(kind[0], method="PATCH", status=kind[1], after=after, headers={"Retry-After": "0"})]
        state = tmp_path / "state{}".format(after)
        rules.signing_key = "key{}".format(after)
        _result, trouble = do(rules, state, max_inactive=2)
        assert_as_before(rules, resigned=False)
        if trouble is not None:
            assert do(rules, state, max_inactive=2)[1] is None
        assert rules.most_off <= 2
        assert_as_before(rules)


@pytest.mark.parametrize("seed", range(6))
def test_a_storm_of_faults(rules, tmp_path, seed):
    chance = random.Random(seed)
    for number in range(12):
        rules.add_rule("more{}".format(number))
    rules.before = snapshot(rules)
    for _number in range(10):
        kind, status = chance.choice(KINDS)
        method = chance.choice(["PATCH", "PATCH", "GET", None])
        rules.faults.append(Fault(kind, method=method, status=status, after=chance.randrange(60), headers={"Retry-After": "0"}))
    for _attempt in range(12):
        try:
            _result, trouble = do(rules, tmp_path / "state", max_inactive=3)
        except EdgeError as error:
            trouble = error
        assert rules.most_off <= 3
        if trouble is None:
            break
    assert trouble is None
    assert_as_before(rules)


@pytest.mark.parametrize("transport", ["table_api", "auto"])
def test_the_signature_of_a_failed_attempt_is_not_taken_for_a_good_one(rules, tmp_path, monkeypatch, transport):
    """The inactive canary: written as it is, then away, whose answer is lost, then back, which is let through unsigned."""
    only_changes_are_signed(rules, monkeypatch)
    write, writes = rules.write, []

    def third_unsigned(table, row, values, signed):
        writes.append(values)
        write(table, row, values, signed and len(writes) != 3)

    monkeypatch.setattr(rules, "write", third_unsigned)
    if transport == "table_api":
        rules.faults = [Fault("status_after", method="PATCH", status=500, after=1)]
    _result, trouble = do(rules, tmp_path / "state", transport=transport, tables=["sys_encryption_rule"])
    assert writes[2] == {"order": "100"} and trouble is None
    rules.before = {key: row for key, row in rules.before.items() if key[0] == "sys_encryption_rule"}
    rules.tables["sys_encryption_configuration"].clear()
    assert_as_before(rules)


def test_the_proxy_dies_for_good_while_a_record_is_off(rules, tmp_path):
    rules.faults = [Fault("reset_before", method="PATCH", proxy=True, after=6, count=None)]
    result, trouble = do(rules, tmp_path / "state", max_inactive=2, restore_timeout=0.5)
    assert trouble is not None
    assert rules.most_off <= 2
    off = [
        row["name"] for row in rules.tables["sys_encryption_rule"].values() if row["sys_id"] in rules.off and row["name"].startswith("rule")
    ]
    reported = {entry["name"] for entry in result["records"] if entry["error"] and "inactive now" in entry["error"]}
    assert set(off) <= reported
    rules.faults = []
    result, trouble = do(rules, tmp_path / "state", max_inactive=2)
    assert trouble is None
    assert [name for name in result["recovered"] if any(each in name for each in off)] or not off
    assert_as_before(rules)


def test_a_record_is_put_back_before_an_error_ends_the_run(rules, tmp_path):
    """The write arrives, but its answer is a refused login that nothing can mend."""
    rules.faults = [Fault("status_after", method="PATCH", status=401, after=6, count=2)]
    result, trouble = do(rules, tmp_path / "state", max_inactive=1, inactive="skip")
    assert "login was refused" in str(trouble)
    assert not [entry for entry in result["records"] if "late write" in (entry["error"] or "")]
    assert_as_before(rules, resigned=False)


def test_signing_that_ends_in_mid_run_stops_it(rules, tmp_path, monkeypatch):
    write = rules.write
    seen = []

    def forgetful(table, row, values, signed):
        seen.append(row["sys_id"])
        write(table, row, values, signed and len(seen) <= 8)

    monkeypatch.setattr(rules, "write", forgetful)
    _result, trouble = do(rules, tmp_path / "state", max_inactive=1)
    assert "its signature did not change" in str(trouble)
    assert_as_before(rules, resigned=False)


def test_a_lost_write_that_arrives_late_is_found_by_the_sweep(rules, tmp_path, monkeypatch):
    victim = key_of(rules, "rule1")
    answer = rules._list

    def late(table, params, via_proxy):
        if rules.paths("PATCH") and table == "sys_encryption_rule" and not late.done:
            late.done = True
            rules.write(*victim[:1], rules.row(*victim), {"active": "false"}, signed=True)
        return answer(table, params, via_proxy)

    late.done = False
    monkeypatch.setattr(rules, "_list", late)
    _result, trouble = do(rules, tmp_path / "state")
    assert "rule1" in str(trouble) and "late write" in str(trouble)
    assert_as_before(rules, resigned=False)
    assert do(rules, tmp_path / "state")[1] is None


def test_what_somebody_else_switches_meanwhile_is_found_by_the_sweep(rules, tmp_path, monkeypatch):
    """Neither is touched by the run, so neither is put back."""
    answer, switched = rules._list, []

    def switch(table, params, via_proxy):
        if rules.paths("PATCH") and not switched:
            for name, active in (("base1", "false"), ("off", "true")):
                switched.append(key_of(rules, name))
                rules.row(*switched[-1])["active"] = active
        return answer(table, params, via_proxy)

    monkeypatch.setattr(rules, "_list", switch)
    result, trouble = do(rules, tmp_path / "state", inactive="skip")
    assert "2 records need attention" in str(trouble)
    errors = {entry["name"]: entry["error"] for entry in result["records"] if entry["error"]}
    assert errors == {"base1": "it was active before, and is inactive now", "off": "it was inactive before, and is active now"}


def test_what_somebody_else_switched_between_two_runs_stays_so(rules, tmp_path):
    assert do(rules, tmp_path / "state")[1] is None
    rules.row(*key_of(rules, "rule1"))["active"] = "false"
    rules.row(*key_of(rules, "off"))["active"] = "true"
    rules.before = snapshot(rules)
    result, trouble = do(rules, tmp_path / "state")
    assert trouble is None
    said = sorted(warning for warning in result["warnings"] if "since this journal began" in warning)
    assert len(said) == 2 and "off" in said[0] and said[0].endswith("it stays active.") and "rule1" in said[1] and said[1].endswith("it stays inactive.")
    assert_as_before(rules, resigned=False)
    # It is said once.
    assert not do(rules, tmp_path / "state")[0]["warnings"]


def test_sigterm_ends_the_run_after_the_pair_in_hand(rules, tmp_path, monkeypatch):
    for number in range(30):
        rules.add_rule("more{}".format(number))
    rules.before = snapshot(rules)
    write = rules.write

    def slow(*args):
        time.sleep(0.02)
        write(*args)

    monkeypatch.setattr(rules, "write", slow)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    result, trouble = do(rules, tmp_path / "state", max_inactive=2)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert "SIGTERM" in str(trouble)
    assert 0 < result["totals"]["resigned"] < 38
    assert_as_before(rules, resigned=False)
    assert do(rules, tmp_path / "state")[1] is None
    assert_as_before(rules)


# Death

CHILD = """
import os, sys
sys.path.insert(0, {path!r})
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._resign import Settings, resign
client = Client({url!r}, Credentials("edge.automation", "pw"))
resign(client, client.sibling({proxy!r}), Settings(max_inactive=2), {state!r}, Progress(None, "resign"), False)
"""


def killed_run(fake, state, when):  # noqa: F811
    """Run in a process of its own, and SIGKILL it in the middle of its write number C(when)."""
    import ansible_collections.edge_encryption.clone.plugins.module_utils._resign as module

    root = module.__file__.split("ansible_collections", maxsplit=1)[0]
    code = CHILD.format(path=root, url=fake.url, proxy=fake.proxy_url, state=str(state))
    child = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    write, writes = fake.write, []

    def deadly(*args):
        writes.append(args)
        if len(writes) == when:
            child.kill()
            child.wait()
        write(*args)

    fake.write = deadly
    try:
        child.wait(30)
    finally:
        fake.write = write
    return child.returncode


@pytest.mark.parametrize("when", [1, 2, 3, 5, 6, 8, 11])
def test_killed_then_resumed(rules, tmp_path, when):
    assert killed_run(rules, tmp_path / "state", when) == -signal.SIGKILL
    assert len(rules.off - {key[1] for key, row in rules.before.items() if row["active"] == "false"}) <= 2
    rules.requests.clear()
    result, trouble = do(rules, tmp_path / "state", max_inactive=2)
    assert trouble is None
    assert rules.most_off <= 2
    assert_as_before(rules)
    if result["recovered"]:
        # What was in hand is put back before anything else is written.
        first = next(json.loads(entry["body"].decode()) for entry in rules.requests if entry["method"] == "PATCH")
        assert first in ({"active": "true"}, {"active": "false"}) or "order" in first


@pytest.mark.parametrize("inactive", ["touch", "toggle"])
def test_a_record_in_hand_that_is_put_back_without_a_signature_is_signed_again(rules, tmp_path, monkeypatch, inactive):
    """The run died after the write away, whose signature is new, and the write back was let through unsigned."""
    row = next(row for row in rules.tables["sys_encryption_rule"].values() if row["name"] == "off")
    away = {"order": "101"} if inactive == "touch" else {"active": "true"}
    journal = Journal(str(tmp_path / "state"), "acmetest")
    record = _rules.Record("sys_encryption_rule", row["sys_id"], "off", False, False, 0, _rules.digest(row["signature"]), {})
    journal.going(record, "table_api", {name: row[name] for name in away})
    journal.close()
    rules.write("sys_encryption_rule", row, away, signed=True)
    write, writes = rules.write, []

    def first_unsigned(table, row, values, signed):
        writes.append(values)
        write(table, row, values, signed and len(writes) > 1)

    monkeypatch.setattr(rules, "write", first_unsigned)
    _result, trouble = do(rules, tmp_path / "state", inactive=inactive)
    assert trouble is None
    assert_as_before(rules)


def test_a_record_in_hand_that_is_gone_keeps_no_other_from_being_put_back(rules, tmp_path):
    first, second = sorted(key_of(rules, name) for name in ("rule1", "rule3"))
    journal = Journal(str(tmp_path / "state"), "acmetest")
    for table, sys_id in (first, second):
        row = rules.row(table, sys_id)
        record = _rules.Record(table, sys_id, row["name"], True, False, 0, _rules.digest(row["signature"]), {})
        journal.going(record, "table_api", {"active": "true"})
        rules.write(table, row, {"active": "false"}, signed=True)
    journal.close()
    del rules.tables[first[0]][first[1]], rules.before[first]
    result, trouble = do(rules, tmp_path / "state")
    assert trouble is None
    assert result["warnings"] == ["sys_encryption_rule {} was in hand when a run died, and is gone.".format(first[1])]
    assert [rules.row(*second)["name"] in name for name in result["recovered"]] == [True]
    assert_as_before(rules)


@pytest.mark.parametrize(
    "harmless, change",
    [
        ({"order": "0"}, ({"order": "1"}, {"order": "0"})),
        ({"order": "", "description": "d"}, ({"description": "d."}, {"description": "d"})),
        ({"order": "-1"}, None),
        ({}, None),
    ],
)
def test_a_change_without_effect(harmless, change):
    record = _rules.Record("sys_encryption_rule", "a" * 32, "off", False, False, 0, None, harmless)
    assert _resign.harmless_change(record) == change


def test_it_waits_longer_after_every_attempt_and_never_long(monkeypatch):
    spans = []
    monkeypatch.setattr(_resign.random, "uniform", lambda low, high: spans.append((low, high)) or 0)
    for attempt in (1, 2, 3, 9):
        _resign.pause(attempt)
    assert spans == [(0, 0.4), (0, 0.8), (0, 1.6), (0, 10)]


@pytest.mark.parametrize("before, after, renewed", [("a", "b", True), ("a", "a", False), (None, "b", None), ("a", None, None)])
def test_a_signature_that_cannot_be_read_is_neither_new_nor_old(before, after, renewed):
    assert _resign.is_renewed(before, _rules.State({}, 1, after)) is renewed


@pytest.mark.long
def test_killed_again_and_again(rules, tmp_path):
    for number in range(30):
        rules.add_rule("more{}".format(number))
    rules.before = snapshot(rules)
    chance = random.Random(4)
    for _round in range(100):
        killed_run(rules, tmp_path / "state", chance.randrange(1, 12))
        assert rules.most_off <= 2
    assert do(rules, tmp_path / "state", max_inactive=2)[1] is None
    assert_as_before(rules)


def test_a_line_cut_off_by_a_crash_is_dropped(rules, tmp_path):
    do(rules, tmp_path / "state")
    with open(str(tmp_path / "state"), "a") as out:
        out.write('{"table": "sys_encr')
    result, trouble = do(rules, tmp_path / "state")
    assert trouble is None
    assert not result["changed"]
    # Lines written after it do not stick to it.
    key = key_of(rules, "rule2")
    rules.write("sys_encryption_rule", rules.row(*key), {"script": "other"}, signed=False)
    assert do(rules, tmp_path / "state")[0]["totals"]["resigned"] == 1
    assert not do(rules, tmp_path / "state")[0]["changed"]
