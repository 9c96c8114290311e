# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that talk REST, against the lab's instances and proxies."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.integration.sides import (
    CONFIGURATIONS,
    RULES,
    VALIDATION_OFF,
    Sides,
    assert_resigned,
    most_off,
)
from ansible_collections.edge_encryption.clone.tests.unit.conftest import run_module as run_module_fixture  # noqa: F401  # pylint: disable=unused-import

pytest_plugins = ("edgelab.proxy.testing",)


@pytest.fixture
def run(request):
    return request.getfixturevalue("run_module_fixture")


@pytest.fixture(scope="module")
def made(tmp_path_factory, mariadb, keystores):
    sides = Sides(tmp_path_factory.mktemp("sides"), keystores, mariadb)
    yield sides
    sides.close()


@pytest.fixture
def sides(made):
    """The two sides, with knobs, faults, and the signatures of rules and configurations put back afterwards."""
    before = made.records()
    knobs = {node: node.control("GET", "/knobs") for node in (made.source, made.target)}
    for node in knobs:
        node.control("DELETE", "/requests")
    yield made
    for node, values in knobs.items():
        node.control("PUT", "/knobs", values)
        node.control("DELETE", "/faults")
    made.proxy.knobs(sign_rest=True)
    for table in (RULES, CONFIGURATIONS):
        made.target.put(table, *(row for key, row in before.items() if key[0] == table))


def test_resign(sides, run, tmp_path):
    before = sides.records()
    assert not all(sides.valid(key[0], row) for key, row in before.items())
    planned = run("edge_rule_resign", sides.resign(tmp_path), check=True)
    assert planned["changed"] and sides.records() == before
    result = run("edge_rule_resign", sides.resign(tmp_path, max_inactive=3))
    assert not result.failed, result
    assert result["totals"] == {"records": 18, "resigned": 14, "skipped": 0, "base": 4, "failed": 0}
    assert_resigned(sides, before)
    assert 1 <= most_off(sides, before) <= 3
    again = run("edge_rule_resign", sides.resign(tmp_path))
    assert not again.failed and not again["changed"]


def test_resign_what_the_log_names(sides, run, tmp_path):
    """After a first pass three records are spoilt; a proxy that validates names them, and they alone are signed anew."""
    before = sides.records()
    assert not run("edge_rule_resign", sides.resign(tmp_path)).failed
    attachment = next(key for key, row in before.items() if row.get("type") == "attachment")
    rules = [key for key, row in before.items() if key[0] == RULES and row["sys_created_by"] != "glide.maint"][:2]
    spoilt = {attachment, *rules}
    for key in spoilt:
        sides.target.put(key[0], dict(sides.records()[key], signature=before[key]["signature"]))
    good = sides.records()
    sides.proxy.stop()
    sides.proxy.unset(*VALIDATION_OFF)
    sides.proxy.empty_cache()
    sides.proxy.start_in_vain()
    failing = run("proxy_service_info", {"home": str(sides.proxy.home)})["validation"]
    assert len(failing) == 3
    sides.proxy.set(**VALIDATION_OFF)
    sides.proxy.start()
    result = run("edge_rule_resign", sides.resign(tmp_path, scope="failing", failing=failing))
    assert not result.failed and not result.get("warnings"), result
    assert {key for key, row in sides.records().items() if row != good[key]} == spoilt
    assert_resigned(sides, before)


def test_resign_again_with_an_inactive_configuration(sides, run, tmp_path):
    """The lab's instance leaves no trace of a save without a change, so only others can show that this one is signed."""
    base = next(row for key, row in sides.records().items() if key[0] == CONFIGURATIONS)
    old = dict(base, sys_id="0" * 32, table="incident", column="u_old", active="false", signature="")
    sides.target.put(CONFIGURATIONS, old)
    try:
        before = sides.records()
        refused = run("edge_rule_resign", sides.resign(tmp_path))
        assert refused.failed and "incident.u_old" in refused["msg"] and "inactive=toggle" in refused["msg"]
        toggled = run("edge_rule_resign", sides.resign(tmp_path, inactive="toggle"))
        assert not toggled.failed, toggled
        assert_resigned(sides, before)
        again = run("edge_rule_resign", sides.resign(tmp_path, state_file=str(tmp_path / "fresh")))
        assert not again.failed and "incident.u_old" in str(again["warnings"]), again
        assert_resigned(sides, before)
    finally:
        sides.target.control("DELETE", "/raw/{}/{}".format(CONFIGURATIONS, old["sys_id"]))


def test_resign_by_form(sides, run, tmp_path):
    before = sides.records()
    sides.proxy.knobs(sign_rest=False)
    refused = run("edge_rule_resign", sides.resign(tmp_path, transport="table_api"))
    assert refused.failed and "signature did not change" in refused["msg"]
    assert {key: row["active"] for key, row in sides.records().items()} == {key: row["active"] for key, row in before.items()}
    result = run("edge_rule_resign", sides.resign(tmp_path))
    assert not result.failed, result
    assert result["transport"] == "form"
    assert_resigned(sides, before)


@pytest.mark.parametrize("refusal", ["forbidden", "silent"])
def test_resign_without_elevation(sides, run, tmp_path, refusal):
    before = sides.records()
    sides.target.knobs(elevation_required=True, elevation_refusal=refusal)
    result = run("edge_rule_resign", sides.resign(tmp_path, inactive="skip"))
    assert result.failed and "only canaries were touched" in result["msg"] and "elevated" in result["msg"]
    assert sides.records() == before


def test_resign_with_unreadable_signatures(sides, run, tmp_path):
    before = sides.records()
    sides.target.knobs(signature_readable=False)
    refused = run("edge_rule_resign", sides.resign(tmp_path))
    assert refused.failed and "canary_proof" in refused["msg"] and sides.records() == before
    result = run("edge_rule_resign", sides.resign(tmp_path, canary_proof="update", inactive="skip"))
    assert not result.failed, result


FAULTS = [
    {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": "{}"},
    {"kind": "status", "status": 500},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "html"},
    {"kind": "partial_json"},
    {"kind": "unauthorized"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "{}-{}".format(fault["kind"], fault.get("status", "")))
def test_resign_in_a_storm(sides, run, tmp_path, fault):
    before = sides.records()
    path = "/api/now/table/sys_encryption_"
    for after in (3, 9, 20):
        sides.target.control("POST", "/faults", dict({"method": "PATCH", "path": path, "after": after, "count": 1}, **fault))
    result = {}
    for _attempt in range(4):
        result = run("edge_rule_resign", sides.resign(tmp_path))
        if not result.failed:
            break
    assert not result.failed, result
    assert_resigned(sides, before)


def test_rules(sides, run):
    records = run("edge_rule_info", {"instance": sides.instance(sides.target)})["records"]
    assert len([record for record in records if record["base"]]) == 4
    assert [record["name"] for record in records if not record["active"]] == ["Retired mail gateway"]
    assert "incident.short_description" in {record["name"] for record in records}
    assert all(record["signature_digest"] for record in records)


def test_values(sides, run):
    admin = sides.target.client("demo.user")
    admin.verify = str(sides.target.config["ca"])
    clear = "Grüße an Jane"
    # A test before may have switched a configuration off, and the proxy learns at its next poll that it is on again; until then the
    # instance refuses what it sends in clear text.
    deadline = time.monotonic() + 30
    while True:
        answer = admin.post(sides.proxy.url + "/api/now/table/incident", json={"short_description": clear, "u_tax_id": "123-45-6789"}, timeout=10)
        if answer.status_code == 201:
            break
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.5)
    row = answer.json()["result"]
    answer = admin.post(
        sides.proxy.url + "/api/now/attachment/file",
        params={"table_name": "incident", "table_sys_id": row["sys_id"], "file_name": "a.txt"},
        data=b"secret file",
        headers={"Content-Type": "text/plain"},
        timeout=10,
    )
    assert answer.status_code == 201, answer.text
    attachment = answer.json()["result"]
    record = {"table": "incident", "sys_id": row["sys_id"], "fields": ["short_description", "u_tax_id", "number"], "attachments": True}
    arguments = {
        "instance": sides.instance(sides.target, "demo.user"),
        "proxy_url": sides.proxy.url,
        "salt": "0123456789abcdef",
        "records": [record],
    }
    result = run("edge_value_info", arguments)
    assert not result.failed, result
    found = {entry["field"]: entry["cipher_text_without_proxy"] for entry in result["entries"]}
    assert found == {"short_description": True, "u_tax_id": True, "number": False, "attachment/" + attachment["sys_id"]: True}
    assert clear not in json.dumps(result) and "6789" not in json.dumps(result["entries"])


def test_a_canary_proves_keys_and_is_gone_again(sides, run):
    arguments = {"instance": sides.instance(sides.target, "demo.user"), "proxy_urls": [sides.proxy.url] * 2, "table": "incident"}
    arguments.update(field="short_description", values={"number": "CANARY1"})
    before = sides.target.raw("incident")

    def requests():
        """Return all but the proxy's own, whose heartbeats come whenever they like."""
        return [request for request in sides.target.control("GET", "/requests")["requests"] if not request["path"].startswith("/edge/")]

    assert run("edge_canary", arguments, check=True)["changed"] and requests() == []
    result = run("edge_canary", arguments)
    assert not result.failed and result["changed"] and result["canary"]["sys_id"] not in before, result
    (request,) = [request for request in requests() if request["method"] == "POST"]
    assert "CANARY1" in request["body"] and "edge canary" not in request["body"]
    # A proxy with other keys gives back what the instance holds, as the instance itself does here.
    blind = run("edge_canary", dict(arguments, proxy_urls=[sides.proxy.url, sides.target.url]))
    assert blind.failed and "cannot read what" in blind["msg"] and "incident.short_description" in blind["msg"]
    clear = run("edge_canary", dict(arguments, field="number", values={}))
    assert clear.failed and "the instance holds the clear text" in clear["msg"]
    assert sides.target.raw("incident") == before
    stuck = run("edge_canary", dict(arguments, instance=sides.instance(sides.target)))
    assert stuck.failed and "403" in stuck["msg"] and sides.target.raw("incident") == before


def test_a_canary_that_cannot_be_deleted_is_named(sides, run):
    before = set(sides.target.raw("incident"))
    sides.target.control("POST", "/faults", {"kind": "status", "status": 403, "method": "DELETE", "count": 1})
    arguments = {"instance": sides.instance(sides.target, "demo.user"), "proxy_urls": [sides.proxy.url], "table": "incident", "field": "short_description"}
    result = run("edge_canary", arguments)
    (left,) = set(sides.target.raw("incident")) - before
    assert result.failed and f"incident {left}: the record cannot be deleted" in result["msg"] and "Delete it by hand" in result["msg"]


def test_a_change_request(sides, run):
    sides.source.put("change_request", {"sys_id": "c" * 32, "number": "CHG1", "state": "-2", "approval": "approved", "start_date": "2026-01-31 22:00:00"})
    result = run("change_request_info", {"instance": sides.instance(sides.source), "number": "CHG1"})
    assert not result.failed, result
    assert result["change_request"] == {
        "number": "CHG1", "state": "Scheduled", "approval": "approved", "planned_start": "2026-01-31T22:00:00Z", "planned_end": None,
    }  # fmt: skip
    result = run("change_request_info", {"instance": sides.instance(sides.source), "number": "CHG2"})
    assert result.failed and "CHG2: there is no such change request" in result["msg"]


def test_what_is_encrypted(sides, run):
    arguments = {"instance": sides.instance(sides.source)}
    result = run("edge_encrypted_data_info", arguments)
    assert not result.failed and len(result["configurations"]) == 6 and result["patterns"] == ["SSN"], result
    assert set(result["tokens_needed"]) == {
        "incident.u_account (order_preserving_128)", "incident.u_customer_name (equality_256)", "the tokenization pattern SSN",
    }  # fmt: skip
    # task is what incident extends.
    result = run("edge_encrypted_data_info", dict(arguments, exclusions=["task", "u_contract", "sys_audit"], attachments_excluded=True))
    assert result["in_the_clone"] == ["the tokenization pattern SSN"]


def test_proxy_record(sides, run):
    arguments = {"instance": sides.instance(sides.target), "name": "edge_new", "host": "h", "port": 8443, "status": "Authenticated"}
    assert run("edge_proxy_record", arguments, check=True)["changed"]
    made = run("edge_proxy_record", arguments)
    assert not made.failed and made["record"]["status"] == "Authenticated", made
    assert not run("edge_proxy_record", arguments)["changed"]
    assert "edge_new" in {row["name"] for row in run("edge_proxy_record_info", {"instance": arguments["instance"]})["records"]}
    sides.target.knobs(authenticate_by_rest=False)
    refused = run("edge_proxy_record", dict(arguments, status="Unauthenticated"))
    assert refused.failed and "click Authenticate" in refused["msg"]
    assert run("edge_proxy_record", dict(arguments, state="absent"))["changed"]
    assert not run("edge_proxy_record", dict(arguments, state="absent"))["changed"]


def inventory_of(sides, folder, *arguments, cached=False, **options):
    """Run ansible-inventory over one file a side."""
    folder.mkdir(exist_ok=True)
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(folder / "cache"), "cache_timeout": 0} if cached else {}
    for side, node in (("source", sides.source), ("target", sides.target)):
        content = {"plugin": "edge_encryption.clone.edge_proxies", "group": "edge_{}_proxies".format(side), "instance": sides.instance(node), **cache}
        content.update(options.get(side, {}))
        (folder / (side + ".edge_proxies.yml")).write_text(json.dumps(content))
    sources = [part for side in ("source", "target") for part in ("-i", str(folder / (side + ".edge_proxies.yml")))]
    collections = str(Path(__file__).resolve().parents[2] / "build" / "collections")
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=collections, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true", NO_PROXY="127.0.0.1")
    command = [sys.executable, "-m", "ansible.cli.inventory", "--list", *sources, *arguments]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def test_an_inventory_of_both_instances(sides, tmp_path):
    done = inventory_of(sides, tmp_path, cached=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value))
    assert found["edge_source_proxies"]["hosts"] == ["edge_source_1", "edge_source_2"] == found["edge_source_proxies_offline"]["hosts"]
    assert found["edge_target_proxies"]["hosts"] == ["edge_target_1", "edge_target_2", "edge_target_3"]
    assert found["edge_target_proxies_online"]["hosts"] == ["edge_target_1"]
    variables = found["_meta"]["hostvars"]["edge_target_1"]
    assert variables["edge_url"] == sides.proxy.url and variables["edge_proxy"]["last_response_on"], variables
    # As the records are, for the run that is started again when the target knows something else.
    sides.target.put("sys_encryption_proxy", {"name": "edge_target_4", "host": "h", "port": "1", "status": "Authenticated"})
    assert inventory_of(sides, tmp_path, cached=True).stdout == done.stdout
    anew = inventory_of(sides, tmp_path, "--flush-cache", cached=True)
    assert "edge_target_4" in anew.stdout and "edge_target_4" in inventory_of(sides, tmp_path, cached=True).stdout


def test_service_account(sides, run):
    arguments = {"instance": sides.instance(sides.target, "admin"), "username": "edge.second", "password": "brand-new-password"}
    made = run("edge_service_account", arguments)
    assert not made.failed and made["changed"] and made["proven"], made
    assert not run("edge_service_account", arguments)["changed"]
    changed = run("edge_service_account", dict(arguments, password="another-password"))
    assert changed["changed"] and changed["proven"]
    assert "another-password" not in json.dumps(changed)


def test_instance(sides, run):
    source = sides.instance(sides.source)
    result = run(
        "edge_instance_info",
        {"instance": source, "production_of": "acmetest", "tables": ["clone_instance", "u_nothing"], "properties": ["instance_name"]},
    )
    assert (result["name"], result["version"], result["production"]) == ("acmeprod", "Zurich", False), result
    assert result["roles"] == ["clone_admin"] and abs(result["clock_skew_s"]) < 2
    assert result["tables_readable"] == {"clone_instance": True, "u_nothing": False}
    assert run("edge_instance_info", {"instance": source})["production"] is True


# The last one, since it replaces the target and its accounts.
def test_clone(sides, run, tmp_path):
    """From the request to a target that can be used, through its downtime."""
    sides.source.knobs(clone_speed=4, stage_seconds={"Node repoint": 8})
    source, target = sides.instance(sides.source), sides.instance(sides.target)
    none = run("instance_clone_info", {"instance": source, "target": "acmetest"})
    assert none.failed and "no open clone" in none["msg"]
    admin = sides.source.client("admin")
    own = {row["instance_name"]: row["sys_id"] for row in sides.source.raw("instance").values()}
    request = {"source_instance": own["acmeprod"], "target_instance": own["acmetest"], "state": "Requested", "clone_type": "backup-based"}
    profile = sides.source.find("clone_profile", name="System Profile")[0]["sys_id"]
    sides.source.control("POST", "/backup")
    answer = admin.post(sides.source.table("clone_instance"), json=dict(request, profile=profile), timeout=10)
    assert answer.status_code == 201, answer.text
    options = {"instance": source, "target_instance": target, "poll_interval": 1, "wait_timeout": 120, "cleanup_grace": 3}
    # The source's users come along, and with them the password.
    after = dict(target, password=sides.source.password("edge.automation"))
    early = run("instance_clone_info", dict(options, target="acmetest", wait_for="active"))
    assert not early.failed, early
    number = early["clone"]["number"]
    ready = run(
        "instance_clone_info",
        dict(options, number=number, wait_for="ready", target_instance=after, progress_file=str(tmp_path / "progress")),
    )
    assert not ready.failed, ready
    clone = ready["clone"]
    assert (clone["phase"], clone["source"], clone["target"]) == ("completed", "acmeprod", "acmetest")
    assert clone["backup_completed"] and clone["backup_started"] <= clone["backup_completed"]
    assert clone["preservers"][0]["table"] == "sys_properties" and clone["exclusions"] == ["sys_audit"]
    assert ready["cleanup_running"] is False
    assert not sides.target.raw("sys_trigger")
    assert (tmp_path / "progress").read_text().count("\n") > 3
    # Until t57, the target takes the source's proxies for its own. Nobody may stop those.
    refused = inventory_of(sides, tmp_path / "inventory", target={"instance": after})
    said = " ".join(refused.stderr.split())
    assert refused.returncode != 0 and "host edge_source_1: edge_source_1 on" in said and "until t57 puts its own records back" in said, said


def test_a_job_that_rewrote_tokens(sides, run):
    sides.source.put("sysauto_encryption_job", {"sys_id": "e" * 32, "name": "Repair the tokens of incident", "job_type": "order_token_repair"})
    made = {"sys_id": "f" * 32, "job": "e" * 32, "state": "Completed", "sys_created_on": "2026-01-31 22:30:00", "sys_updated_on": "2026-01-31 22:31:00"}
    sides.source.put("sys_encryption_job_execution", made)
    arguments = {"instance": sides.instance(sides.source), "begin": "2026-01-31T22:00:00Z", "end": "2026-01-31T23:00:00.5Z"}
    result = run("edge_token_job_info", arguments)
    assert not result.failed and result["unknown_because"] == "", result
    assert [job["name"] for job in result["jobs"]] == ["Repair the tokens of incident"]
    assert run("edge_token_job_info", dict(arguments, end="2026-01-31 22:29:59"))["jobs"] == []
