# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The argument specs of the modules that talk REST, and what comes out of them."""

import json

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import FakeInstance, fake  # noqa: F401  # pylint: disable=unused-import

SALT = "0123456789abcdef"


def secretless(result):
    assert "VALUE" not in json.dumps(dict(result, invocation=None))
    assert '"pw"' not in json.dumps(result)
    return result


@pytest.fixture
def rules(fake):  # noqa: F811
    for number in range(3):
        fake.add_rule("rule{}".format(number))
    fake.add_rule("base", sys_created_by="glide.maint")
    return fake


# The instance option


def test_everything_from_the_environment(run_module, rules, monkeypatch):
    monkeypatch.setenv("SN_HOST", rules.url)
    monkeypatch.setenv("SN_USERNAME", "edge.automation")
    monkeypatch.setenv("SN_PASSWORD", "pw")
    monkeypatch.setenv("SN_TIMEOUT", "7.5")
    result = run_module("edge_rule_info", {"instance": {}})
    assert not result.failed, result
    assert result["invocation"]["module_args"]["instance"]["timeout"] == 7.5


def test_an_option_wins_over_the_environment(run_module, rules, monkeypatch):
    monkeypatch.setenv("SN_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("SN_USERNAME", "nobody")
    assert not run_module("edge_rule_info", {"instance": rules.instance}).failed


def test_oauth_from_the_environment(run_module, rules, monkeypatch):
    rules.clients["id1"] = "cs"
    for name, value in {"HOST": rules.url, "GRANT_TYPE": "client_credentials", "CLIENT_ID": "id1", "CLIENT_SECRET": "cs"}.items():
        monkeypatch.setenv("SN_" + name, value)
    assert not run_module("edge_rule_info", {"instance": {}}).failed
    assert rules.paths("POST") == [("POST", "/oauth_token.do")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": None}, "host"),
        ({"password": None}, "password"),
        ({"username": None}, "username"),
        ({"grant_type": "client_credentials"}, "client_id"),
        ({"client_id": "x"}, "client_secret"),
        ({"grant_type": "other"}, "value of grant_type must be one of"),
        ({"host": "acmetest.service-now.com"}, "is no address"),
    ],
)
def test_what_is_missing_or_wrong(run_module, rules, changes, message):
    result = run_module("edge_rule_info", {"instance": dict(rules.instance, **changes)})
    assert result.failed and message in result["msg"], result


def test_a_missing_certificate_authority(run_module, rules, tmp_path):
    result = run_module(
        "edge_rule_info", {"instance": dict(rules.instance, host="https://127.0.0.1:9", ca_path=str(tmp_path / "none.pem"))}
    )
    assert result.failed and "none.pem" in result["msg"]


# The modules


def test_edge_rule_info(run_module, rules):
    result = secretless(run_module("edge_rule_info", {"instance": rules.instance}))
    assert {(record["name"], record["base"]) for record in result["records"]} == {
        ("rule0", False),
        ("rule1", False),
        ("rule2", False),
        ("base", True),
    }
    assert not result["changed"]


def resign_arguments(rules, tmp_path, **options):
    return dict({"instance": rules.instance, "proxy_url": rules.proxy_url, "state_file": str(tmp_path / "state")}, **options)


def test_edge_rule_resign(run_module, rules, tmp_path):
    planned = run_module("edge_rule_resign", resign_arguments(rules, tmp_path), check=True, diff=True)
    assert planned["changed"] and planned["totals"]["resigned"] == 0
    result = run_module("edge_rule_resign", resign_arguments(rules, tmp_path, progress_file=str(tmp_path / "progress")), diff=True)
    assert not result.failed and result["changed"] and result["totals"]["resigned"] == 3
    assert result["diff"] == planned["diff"] and "rule1 signed by this proxy" in result["diff"]["after"]
    assert json.loads((tmp_path / "progress").read_text().splitlines()[0])["step"] == "resign"
    assert not run_module("edge_rule_resign", resign_arguments(rules, tmp_path))["changed"]


def test_edge_rule_resign_that_fails_returns_what_it_knows(run_module, rules, tmp_path):
    rules.sign_rest = rules.sign_form = False
    result = run_module("edge_rule_resign", resign_arguments(rules, tmp_path))
    assert result.failed and result["canary"]["table"] == "sys_encryption_rule"
    assert result["totals"]["failed"] == 3 and len(result["records"]) == 4
    assert run_module("edge_rule_resign", resign_arguments(rules, tmp_path, max_inactive=0)).failed


def test_edge_rule_resign_of_failing_records(run_module, rules, tmp_path):
    assert "failing" in run_module("edge_rule_resign", resign_arguments(rules, tmp_path, scope="failing"))["msg"]
    failing = [{"kind": "rule", "name": "rule1"}]
    planned = run_module("edge_rule_resign", resign_arguments(rules, tmp_path, scope="failing", failing=failing), check=True, diff=True)
    assert planned["diff"]["after"] == "sys_encryption_rule rule1 signed by this proxy\n"
    result = run_module("edge_rule_resign", resign_arguments(rules, tmp_path, scope="failing", failing=failing))
    assert [record["name"] for record in result["records"] if record["resigned"]] == ["rule1"], result


def test_instance_clone_info(run_module, fake):  # noqa: F811
    target = fake.add("instance", instance_name="acmetest", production="false")
    fake.add("clone_instance", clone_id="CLN1", state="Completed", target_instance=target)
    fake.add("clone_log", clone="none", message="", sys_created_on="")
    with FakeInstance() as other:
        other.tables["sys_trigger"] = {}
        arguments = {"instance": fake.instance, "number": "CLN1", "target_instance": other.instance}
        assert run_module("instance_clone_info", arguments)["cleanup_running"] is False
        waited = run_module("instance_clone_info", dict(arguments, wait_for="ready", cleanup_grace=0, poll_interval=1))
        assert not waited.failed and waited["clone"]["number"] == "CLN1"
        other.users["edge.automation"] = "other"
        assert run_module("instance_clone_info", arguments)["cleanup_running"] is None
    late = run_module("instance_clone_info", {"instance": fake.instance, "number": "CLN1", "wait_for": "ready"})
    assert late.failed and "target_instance" in late["msg"]
    assert run_module("instance_clone_info", {"instance": fake.instance}).failed


def test_the_target_takes_nothing_from_the_environment(run_module, fake, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SN_HOST", fake.url)
    monkeypatch.setenv("SN_PASSWORD", "pw")
    result = run_module(
        "instance_clone_info", {"instance": fake.instance, "number": "1", "target_instance": {"username": "a", "password": "b"}}
    )
    assert result.failed and "target_instance: it lacks host." in result["msg"]


def test_edge_value_info(run_module, fake):  # noqa: F811
    sys_id = fake.add("incident", description="edge:s:k:Zm9v")
    fake.clear["edge:s:k:Zm9v"] = "top secret"
    arguments = {"instance": fake.instance, "proxy_url": fake.proxy_url, "salt": SALT}
    record = {"table": "incident", "sys_id": sys_id, "fields": ["description"]}
    result = run_module("edge_value_info", dict(arguments, records=[record]))
    assert result["entries"][0]["cipher_text_without_proxy"] is True
    assert "top secret" not in json.dumps(result) and SALT not in json.dumps(result)
    assert run_module("edge_value_info", dict(arguments, records=[dict(record, query="x=1")])).failed
    assert run_module("edge_value_info", dict(arguments, records=[{"table": "incident", "fields": ["description"]}])).failed


def test_edge_proxy_record(run_module, fake):  # noqa: F811
    fake.tables["sys_encryption_proxy"] = {}
    arguments = {"instance": fake.instance, "name": "edge1", "host": "h", "port": 8443, "status": "Authenticated"}
    planned = run_module("edge_proxy_record", arguments, check=True, diff=True)
    made = run_module("edge_proxy_record", arguments, diff=True)
    assert planned["changed"] and made["changed"] and planned["diff"]["before"] == made["diff"]["before"] == {}
    assert made["record"]["port"] == "8443"
    assert not run_module("edge_proxy_record", arguments)["changed"]
    listed = run_module("edge_proxy_record_info", {"instance": fake.instance, "name": "edge1"})["records"]
    assert [record["status"] for record in listed] == ["Authenticated"]
    assert run_module("edge_proxy_record", dict(arguments, state="absent"))["record"] == {}
    assert run_module("edge_proxy_record_info", {"instance": fake.instance})["records"] == []


def test_edge_service_account(run_module, fake):  # noqa: F811
    fake.tables.update(sys_user={}, sys_user_has_role={})
    fake.add("sys_user_role", name="edge_encryption")
    arguments = {"instance": fake.instance, "username": "edge.proxy", "password": "proxy-secret"}
    made = run_module("edge_service_account", arguments, diff=True)
    assert made["changed"] and made["proven"] and "proxy-secret" not in json.dumps(made)
    again = run_module("edge_service_account", arguments, check=True)
    assert not again["changed"] and again["proven"]


def test_edge_instance_info(run_module, fake):  # noqa: F811
    fake.add("sys_properties", name="glide.buildname", value="Zurich")
    fake.add("instance", instance_name="acmetest", production="true")
    user, role = fake.add("sys_user", user_name="edge.automation"), fake.add("sys_user_role", name="clone_admin")
    fake.add("sys_user_has_role", user=user, role=role)
    fake.denied[("GET", "clone_instance")] = (403, "Insufficient rights to query records")
    result = run_module("edge_instance_info", {"instance": fake.instance, "tables": ["instance", "clone_instance"]})
    assert (result["name"], result["version"], result["release"], result["production"]) == ("acmetest", "Zurich", "zurich", True), result
    assert result["properties"]["glide.war"] is None and result["roles"] == ["clone_admin"]
    assert result["tables_readable"] == {"instance": True, "clone_instance": False}
    assert "Insufficient rights" in result["unreadable_because"]["clone_instance"]
    assert abs(result["clock_skew_s"]) < 2
    other = run_module("edge_instance_info", {"instance": fake.instance, "production_of": "acmedev"})
    assert other["production"] is None


# What is encrypted


def test_edge_encrypted_data_info(run_module, fake):  # noqa: F811
    fake.tables.update(sys_encryption_pattern={}, sys_db_object={})
    fake.add("sys_db_object", name="incident", super_class="")
    fake.add("sys_encryption_configuration", table="incident", type="column", column="description", encryption_type="standard_128", active="true")
    fake.add("sys_encryption_configuration", table="incident", type="attachment", column="", encryption_type="standard_128", active="true")
    arguments = {"instance": fake.instance}
    result = run_module("edge_encrypted_data_info", arguments)
    assert not result.failed and not result["changed"] and len(result["in_the_clone"]) == 3, result
    result = run_module("edge_encrypted_data_info", dict(arguments, exclusions=["incident"], attachments_excluded=True, audit_excluded=True))
    assert result["in_the_clone"] == result["tokens_needed"] == []
    result = run_module("edge_encrypted_data_info", dict(arguments, configuration_fields={"colour": "x"}))
    assert result.failed and "colour" in result["msg"]


def test_edge_token_job_info(run_module, fake):  # noqa: F811
    fake.tables.update(sysauto_encryption_job={}, sys_encryption_job_execution={})
    job = fake.add("sysauto_encryption_job", name="Repair", job_type="order_token_repair")
    fake.add("sys_encryption_job_execution", job=job, sys_created_on="2026-01-31 22:30:00", sys_updated_on="2026-01-31 22:31:00")
    result = run_module("edge_token_job_info", {"instance": fake.instance, "begin": "2026-01-31 22:00:00", "end": "2026-01-31 23:00:00"})
    assert not result.failed and not result["changed"] and result["unknown_because"] == "", result
    assert result["jobs"] == [{"name": "Repair", "job_type": "order_token_repair", "began": "2026-01-31 22:30:00", "last_seen": "2026-01-31 22:31:00"}]
