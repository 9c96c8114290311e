# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clone engine, between two running instances."""

import json
import re
import signal
import time

import pytest
import requests

from edgelab.instance.cleanup import JOB
from edgelab.instance.knobs import STAGES
from edgelab.instance.query import utc_now
from edgelab.instance.rules import CLONE_TABLES, NUMBER_FIELD
from edgelab.instance.schema import stable_id
from edgelab.processes import wait_for

pytest_plugins = ("edgelab.instance.testing",)

BUSY = ("Requested", "Scheduled", "Active", "Rollback Requested", "Rolling back")


class Lab:
    """Both instances, and how a clone is requested and followed."""

    def __init__(self, source, target):
        self.source, self.target = source, target

    def row(self, sys_id, table="clone_instance"):
        return self.source.raw(table)[sys_id]

    def request(self, **values):
        return self.source.control("POST", "/clones", {"target": "acmetest", **values})["sys_id"]

    def wait(self, sys_id, *states, table="clone_instance"):
        row = wait_for(lambda: self.row(sys_id, table)["state"] not in BUSY and self.row(sys_id, table), "the clone ends")
        assert row["state"] in (states or ("Completed",)), row["message"]
        return row

    def clone(self, **values):
        """Clone, wait for the cleanup job, return the sys_id."""
        sys_id = self.request(**values)
        self.wait(sys_id)
        wait_for(lambda: not self.target.find("sys_trigger", name=JOB), "the cleanup job ends")
        return sys_id

    def stage(self, sys_id, stage):
        wait_for(lambda: self.row(sys_id)["stage"] == stage, "stage " + stage)

    def log(self, sys_id, table="clone_log"):
        return [row["message"] for row in self.source.find(table, clone=sys_id)]

    def patch(self, sys_id, table="clone_instance", **values):
        return self.source.client("edge.automation").patch(self.source.table("{}/{}".format(table, sys_id)), json=values)

    def names(self, node, table="u_contract"):
        return sorted(row["u_name"] for row in node.raw(table).values())


@pytest.fixture
def lab(source, target):
    source.knobs(clone_speed=200)
    for path in (source.directory / "backups").iterdir():
        path.unlink()
    for node in (source, target):
        for table in ("u_contract", "incident", "change_request", "sys_attachment", "sys_attachment_doc"):
            for sys_id in node.raw(table):
                node.control("DELETE", "/raw/{}/{}".format(table, sys_id))
    source.put("u_contract", {"sys_id": "1" * 32, "u_name": "source"})
    target.put("u_contract", {"sys_id": "2" * 32, "u_name": "target"})
    before = {table: set(source.raw(table)) for table in ("clone_data_preserver", "clone_data_exclude", "clone_cleanup_script")}
    for link in ("clone_profile_preservers", "clone_profile_exclusions", "clone_profile_cleanup_scripts"):
        before[link] = set(source.raw(link))
    yield Lab(source, target)
    for table, known in before.items():
        for sys_id in set(source.raw(table)) - known:
            source.control("DELETE", "/raw/{}/{}".format(table, sys_id))


def add(node, table, link_table, field, row):
    """Define an exclusion, preserver or script and hang it on the default profile."""
    sys_id = node.put(table, row)[0]["sys_id"]
    node.put(link_table, {"profile": stable_id("profile", "System Profile"), field: sys_id})


def exclude(node, table):
    add(node, "clone_data_exclude", "clone_profile_exclusions", "exclusion", {"name": table})


def preserve(node, table, condition=""):
    row = {"name": table, "table": table, "condition": condition}
    add(node, "clone_data_preserver", "clone_profile_preservers", "preserver", row)


def script(node, order, text):
    row = {"name": "script", "script": text}
    sys_id = node.put("clone_cleanup_script", row)[0]["sys_id"]
    link = {"profile": stable_id("profile", "System Profile"), "cleanup_script": sys_id, "order": order, "active": "true"}
    node.put("clone_profile_cleanup_scripts", link)


# The way of a clone


def test_a_request_by_rest_runs_through_the_documented_stages(lab):
    automation = lab.source.client("edge.automation")
    body = {"target_instance": stable_id("instance", "acmetest"), "state": "Requested"}
    answer = automation.post(lab.source.table("clone_instance"), json=body)
    assert answer.status_code == 201
    row = answer.json()["result"]
    assert (row["state"], row["source_instance"]["value"]) == ("Requested", stable_id("instance", "acmeprod"))
    assert re.match(r"^CLONE\d{7}$", row["clone_id"])
    done = lab.wait(row["sys_id"])
    assert done["scheduled"] <= done["started"] <= done["completed"]
    stages = [message.partition(": ")[2] for message in lab.log(row["sys_id"]) if message.startswith("Stage started")]
    assert stages == list(STAGES)
    assert lab.names(lab.target) == ["source"]


def test_a_clone_waits_for_its_time(lab):
    sys_id = lab.request(scheduled=utc_now(2))
    wait_for(lambda: lab.row(sys_id)["state"] == "Scheduled", "scheduled")
    time.sleep(0.3)
    assert lab.row(sys_id)["state"] == "Scheduled"
    done = lab.wait(sys_id)
    assert done["started"] >= done["scheduled"]


def test_a_draft_is_left_alone_and_states_of_the_engine_cannot_be_written(lab):
    automation = lab.source.client("edge.automation")
    body = {"target_instance": stable_id("instance", "acmetest")}
    draft = automation.post(lab.source.table("clone_instance"), json=body).json()["result"]
    assert draft["state"] == "Draft"
    assert lab.patch(draft["sys_id"], state="Active").status_code == 403
    assert automation.post(lab.source.table("clone_instance"), json={**body, "state": "Completed"}).status_code == 403
    time.sleep(0.2)
    assert lab.row(draft["sys_id"])["state"] == "Draft"
    assert lab.patch(draft["sys_id"], state="Requested").status_code == 200
    lab.wait(draft["sys_id"])


def test_two_clones_to_one_target_run_one_after_the_other(lab):
    first, second = lab.request(), lab.request()
    one, two = lab.wait(first), lab.wait(second)
    assert one["completed"] <= two["started"]


# Backups


def parse_backup(messages, name="acmeprod"):
    pattern = r"^Backup (\S+) of {}: started ([\d-]{{10}} [\d:]{{8}}), completed ([\d-]{{10}} [\d:]{{8}}) \(UTC\)$".format(name)
    found = [match for match in (re.match(pattern, message) for message in messages) if match]
    assert len(found) == 1
    return found[0].groups()


def test_the_newest_nightly_backup_is_used_and_logged(lab):
    lab.source.control("POST", "/backup")
    lab.source.put("u_contract", {"u_name": "between"})
    backup = lab.source.control("POST", "/backup")
    lab.source.put("u_contract", {"u_name": "after the backup"})
    sys_id = lab.clone()
    assert parse_backup(lab.log(sys_id)) == (backup["id"], backup["started"], backup["completed"])
    assert lab.names(lab.target) == ["between", "source"]
    assert backup in lab.source.control("GET", "/backups")["backups"]


def test_an_old_backup_is_not_used(lab):
    for path in (lab.source.directory / "backups").glob("*.json"):
        backup = json.loads(path.read_text())
        path.write_text(json.dumps({**backup, "completed": utc_now(-36 * 3600 - 60)}))
    lab.source.put("u_contract", {"u_name": "recent"})
    lab.clone()
    assert lab.names(lab.target) == ["recent", "source"]


def test_an_on_demand_backup_takes_its_time_after_the_start_and_holds_the_data_of_its_end(lab):
    lab.source.control("POST", "/backup")
    lab.source.knobs(stage_seconds={"Backup": 200})
    sys_id = lab.request(backup_option="on_demand")
    wait_for(lambda: "On-demand backup started" in lab.log(sys_id), "the backup runs")
    lab.source.put("u_contract", {"u_name": "during the backup"})
    done = lab.wait(sys_id)
    dummy, started, completed = parse_backup(lab.log(sys_id))
    assert done["started"] <= started < completed
    assert lab.names(lab.target) == ["during the backup", "source"]


def test_a_nightly_backup_can_take_time(lab):
    lab.source.knobs(backup_seconds=1.2)
    backup = lab.source.control("POST", "/backup")
    assert backup["started"] < backup["completed"]


# What the target holds afterwards


def test_the_target_gets_users_passwords_tokens_and_encryption_records(lab):
    source, target = lab.source, lab.target
    target.put("oauth_credential", {"sys_id": "7" * 32, "token": "of the target"})
    source.put("oauth_credential", {"sys_id": "8" * 32, "token": "of the source"})
    rule = stable_id("rule", "Chat transcript")
    source.put("sys_encryption_rule", {"sys_id": rule, "signature": "by the source's key"})
    source.put("incident", {"sys_id": "9" * 32, "description": "edge:s:aes256prod:AAAA"})
    proxy_client = target.client("edge.proxy")
    proxy_client.auth = ("edge.proxy", "edge.proxy-" + ("acmeprod" if "aes128prod" in aliases(target) else "acmetest"))
    target.put("sys_encryption_proxy", {"name": "edge_target_9", "status": "Authenticated"})
    beat = {"name": "edge_target_9", "db_id": "x"}
    before = proxy_client.post(target.url + "/edge/heartbeat", json=beat).json()["config_version"]

    lab.clone()

    assert {"7" * 32, "8" * 32} & set(target.raw("oauth_credential")) == {"8" * 32}
    assert target.raw("sys_encryption_rule")[rule]["signature"] == "by the source's key"
    assert target.raw("incident")["9" * 32]["description"] == "edge:s:aes256prod:AAAA"
    assert "aes128prod" in aliases(target)
    assert "edge_target_9" not in [row["name"] for row in target.raw("sys_encryption_proxy").values()]
    # The session from before is over, the password from before too, the source's works.
    proxy_client.auth = None
    assert proxy_client.post(target.url + "/edge/heartbeat", json=beat).status_code == 401
    status = {
        name: requests.get(target.table("sys_user"), auth=("admin", "admin-" + name), verify=target.config["ca"], timeout=10).status_code
        for name in ("acmeprod", "acmetest")
    }
    assert status == {"acmeprod": 200, "acmetest": 401}
    service = target.client("edge.proxy")
    service.auth = ("edge.proxy", "edge.proxy-acmeprod")
    assert service.post(target.url + "/edge/register", json={"name": "edge_source_1"}).json()["status"] == "Authenticated"
    after = service.post(target.url + "/edge/heartbeat", json=dict(beat, name="edge_source_1"))
    assert after.json()["config_version"] > before


def aliases(node):
    return {row["alias"] for row in node.raw("sys_encryption_key").values()}


def test_the_target_stays_itself(lab):
    target = lab.target
    target.put("clone_instance", {"sys_id": "6" * 32, "clone_id": "OWN", "state": "Completed"})
    lab.clone()
    properties = {row["name"]: row["value"] for row in target.raw("sys_properties").values()}
    assert properties["instance_name"] == "acmetest"
    assert properties["glide.db.clone.allow_clone_target"] == "true"
    assert properties["glide.email.smtp.active"] == "false"
    assert [row["clone_id"] for row in target.raw("clone_instance").values()] == ["OWN"]


@pytest.mark.parametrize(
    ("excluded", "preserved", "expected"),
    [
        (False, False, ["source"]),
        (True, False, []),
        (False, True, ["source", "target"]),
        (True, True, ["target"]),
    ],
)
def test_exclusions_and_preservers(lab, excluded, preserved, expected):
    if excluded:
        exclude(lab.source, "u_contract")
    if preserved:
        preserve(lab.source, "u_contract")
    lab.clone()
    assert lab.names(lab.target) == expected


def test_a_preserver_has_a_condition_and_the_targets_row_wins(lab):
    lab.target.put("u_contract", {"sys_id": "1" * 32, "u_name": "kept"}, {"u_name": "dropped"})
    preserve(lab.source, "u_contract", "u_name=kept")
    lab.clone()
    assert lab.names(lab.target) == ["kept"]


def test_definitions_on_the_target_count_for_nothing(lab):
    exclude(lab.target, "u_contract")
    lab.clone()
    assert lab.names(lab.target) == ["source"]


def test_excluding_a_parent_empties_its_children(lab):
    lab.source.put("incident", {"number": "I"})
    lab.source.put("change_request", {"number": "C"})
    exclude(lab.source, "task")
    lab.clone()
    assert (lab.target.raw("incident"), lab.target.raw("change_request")) == ({}, {})


def test_preserving_a_parent_does_not_preserve_its_children(lab):
    lab.target.put("incident", {"number": "I"})
    lab.target.put("task", {"sys_id": "5" * 32, "number": "T"})
    preserve(lab.source, "task")
    lab.clone()
    assert [row["number"] for row in lab.target.raw("task").values()] == ["T"]


def test_without_links_in_the_profile_the_definitions_count(lab):
    lab.source.put("clone_data_exclude", {"name": "u_contract"})
    links = [(table, row) for table in ("clone_profile_preservers", "clone_profile_exclusions") for row in lab.source.raw(table).values()]
    for table, row in links:
        lab.source.control("DELETE", "/raw/{}/{}".format(table, row["sys_id"]))
    lab.clone()
    for table, row in links:
        lab.source.put(table, row)
    assert lab.names(lab.target) == []


def test_users_can_be_preserved(lab):
    target = lab.target
    user = target.put("sys_user", {"user_name": "only.on.target", "user_password": "pw"})[0]
    target.put("sys_user_has_role", {"user": user["sys_id"], "role": stable_id("role", "itil")})
    lab.source.put("sys_user", {"sys_id": "4" * 32, "user_name": "only.on.source"})
    lab.clone(preserve_users_and_related_tables="true")
    names = {row["user_name"] for row in target.raw("sys_user").values()}
    assert "only.on.target" in names
    assert "only.on.source" not in names
    answer = requests.get(target.table("incident"), auth=("only.on.target", "pw"), verify=target.config["ca"], timeout=10)
    assert answer.status_code == 200
    lab.source.control("DELETE", "/raw/sys_user/" + "4" * 32)


@pytest.mark.parametrize(("filtered", "documents"), [("true", 0), ("false", 1)])
def test_attachment_data_and_large_tables_can_be_left_out(lab, filtered, documents):
    lab.source.put("sys_attachment", {"sys_id": "3" * 32, "file_name": "a"})
    lab.source.put("sys_attachment_doc", {"sys_attachment": "3" * 32, "data": ""})
    lab.source.put("syslog", {"message": "noise"})
    lab.clone(filter_attachment_data=filtered, exclude_large_data=filtered)
    assert list(lab.target.raw("sys_attachment")) == ["3" * 32]
    assert len(lab.target.raw("sys_attachment_doc")) == documents
    assert bool(lab.target.find("syslog", message="noise")) is bool(documents)


# The node repoint


def test_the_target_is_away_for_a_while(lab):
    lab.source.knobs(stage_seconds={"Node repoint": 160})
    lab.target.knobs(down_style="status")
    seen = set()
    sys_id = lab.request()
    while lab.row(sys_id)["state"] in BUSY:
        try:
            answer = requests.get(lab.target.table("sys_user"), verify=lab.target.config["ca"], timeout=10)
            seen.add((answer.status_code, answer.headers["Content-Type"].partition(";")[0]))
        except requests.ConnectionError:
            seen.add("cut")
    assert (503, "text/html") in seen
    lab.wait(sys_id)


def test_connections_are_reset_while_the_target_is_away(lab):
    lab.source.knobs(stage_seconds={"Node repoint": 160})
    lab.target.knobs(down_style="reset")
    sys_id = lab.request()
    lab.stage(sys_id, "Node repoint")
    wait_for(lambda: lab.target.control("GET", "/health")["down"], "the node goes away")
    with pytest.raises(requests.ConnectionError):
        requests.get(lab.target.table("sys_user"), verify=lab.target.config["ca"], timeout=10)
    lab.wait(sys_id)


# Cleanup scripts


def test_cleanup_runs_after_the_clone_is_completed(lab):
    lab.source.knobs(stage_seconds={"Cleanup scripts": 160})
    script(lab.source, 200, '{"table": "u_contract", "query": "u_name=source", "set": {"u_name": "cleaned"}}')
    sys_id = lab.request()
    lab.wait(sys_id)
    job = wait_for(lambda: [row for row in lab.target.find("sys_trigger", name=JOB) if row["state"] == "1"], "the job runs")
    assert job[0]["name"] == "Execute Clone Cleanup Script: Execute Cleanup Scripts Sequentially"
    assert lab.names(lab.target) == ["source"]
    wait_for(lambda: not lab.target.find("sys_trigger", name=JOB), "the job ends")
    assert lab.names(lab.target) == ["cleaned"]


def test_the_cleanup_job_is_there_before_the_clone_is_completed(lab):
    lab.source.knobs(stage_seconds={"Post Clone": 100})
    sys_id = lab.request()
    lab.stage(sys_id, "Post Clone")
    assert [row["state"] for row in lab.target.find("sys_trigger", name=JOB)] == ["0"]
    assert lab.row(sys_id)["state"] == "Active"
    lab.wait(sys_id)
    wait_for(lambda: not lab.target.find("sys_trigger", name=JOB), "the job ends")


def test_an_erroring_cleanup_script_stops_the_rest(lab):
    script(lab.source, 1, "throw 'no';")
    script(lab.source, 200, '{"table": "u_contract", "query": "", "delete": true}')
    lab.clone()
    assert lab.names(lab.target) == ["source"]
    assert any("throw" in row["message"] for row in lab.target.raw("syslog").values())


# Refusals, cancel, errors, rollback


def hold(lab, **values):
    sys_id = lab.request(**values)
    row = lab.wait(sys_id, "Hold")
    assert row["message"] in lab.log(sys_id)
    return row["message"]


def test_unfit_targets_put_the_request_on_hold(lab):
    source, target = lab.source, lab.target
    assert "not known" in hold(lab, target="elsewhere")
    assert "production" in hold(lab, target="acmeprod")
    source.put("instance", {"sys_id": "b" * 32, "instance_name": "acmelive", "production": "true"})
    source.put("instance", {"sys_id": "c" * 32, "instance_name": "acmegone"})
    assert "production" in hold(lab, target="acmelive")
    assert "cannot be reached" in hold(lab, target="acmegone")
    row = target.find("sys_properties", name="glide.db.clone.allow_clone_target")[0]
    target.put("sys_properties", {"sys_id": row["sys_id"], "value": "false"})
    assert "allow_clone_target" in hold(lab)
    target.put("sys_properties", {"sys_id": row["sys_id"], "value": "true"})
    assert lab.names(target) == ["target"]


def test_a_held_request_can_be_requested_again(lab):
    lab.source.knobs(require_security_token=True)
    sys_id = lab.request()
    lab.wait(sys_id, "Hold")
    assert lab.patch(sys_id, state="Requested", security_token="token").status_code == 200
    lab.wait(sys_id)


def test_clones_of_one_target_must_be_days_apart_by_knob(lab):
    lab.clone()
    lab.source.knobs(clone_min_days=5)
    assert "5 days apart" in hold(lab)


def test_cancel_leaves_the_target_alone(lab):
    lab.source.knobs(stage_seconds={"Restore": 400})
    sys_id = lab.request()
    lab.stage(sys_id, "Restore")
    answer = lab.patch(sys_id, state="Canceled")
    assert answer.json()["result"]["canceled"]
    wait_for(lambda: "Clone canceled" in lab.log(sys_id), "the engine notices")
    assert lab.row(sys_id)["state"] == "Canceled"
    assert lab.names(lab.target) == ["target"]


def test_cancel_before_the_start(lab):
    sys_id = lab.request(scheduled=utc_now(3600))
    wait_for(lambda: lab.row(sys_id)["state"] == "Scheduled", "scheduled")
    assert lab.patch(sys_id, state="Canceled").status_code == 200
    assert lab.row(sys_id)["state"] == "Canceled"


def test_no_cancel_from_the_node_repoint_on(lab):
    lab.source.knobs(stage_seconds={"Node repoint": 100})
    sys_id = lab.request()
    lab.stage(sys_id, "Node repoint")
    answer = lab.patch(sys_id, state="Canceled")
    assert answer.status_code == 403
    assert "aborted by Business Rule" in answer.json()["error"]["detail"]
    lab.wait(sys_id)


def slow_but(*fast):
    """Return every stage; only some of them belong to the fast tier."""
    return [stage if stage in fast else pytest.param(stage, marks=pytest.mark.long) for stage in STAGES]


@pytest.mark.parametrize("stage", slow_but("Node repoint", "Post Clone"))
def test_an_error_before_the_node_repoint_leaves_the_target_alone(lab, stage):
    lab.source.knobs(clone_error_stage=stage)
    sys_id = lab.request()
    row = lab.wait(sys_id, "Error")
    assert row["message"] == "Stage {} failed".format(stage)
    replaced = STAGES.index(stage) > STAGES.index("Node repoint")
    assert lab.names(lab.target) == (["source"] if replaced else ["target"])


@pytest.mark.long
def test_a_target_that_is_down_ends_the_clone_in_an_error(lab):
    lab.source.knobs(stage_seconds={"Clone build configuration": 100})
    sys_id = lab.request()
    lab.stage(sys_id, "Clone build configuration")
    lab.target.stop()
    try:
        assert "cannot be reached" in lab.wait(sys_id, "Error")["message"]
    finally:
        lab.target.start()


def test_rollback_brings_the_targets_data_back(lab):
    first = lab.clone()
    lab.target.put("u_contract", {"u_name": "worked with"})
    users = lab.target.raw("sys_user")
    second = lab.clone()
    assert lab.names(lab.target) == ["source"]
    assert lab.patch(first, state="Rollback Requested").status_code == 403  # not the last one
    assert lab.patch(second, state="Rollback Requested").status_code == 200
    wait_for(lambda: lab.row(second)["state"] == "Rolled back", "rolled back")
    assert lab.names(lab.target) == ["source", "worked with"]
    assert lab.target.raw("sys_user") == users
    assert {"Rollback started", "Rollback completed"} <= set(lab.log(second))


@pytest.mark.long
def test_a_rollback_can_fail(lab):
    sys_id = lab.clone()
    lab.source.knobs(clone_error_stage="Rollback")
    lab.patch(sys_id, state="Rollback Requested")
    wait_for(lambda: lab.row(sys_id)["state"] == "Rollback failure", "it fails")
    assert lab.names(lab.target) == ["source"]


def test_no_rollback_after_seven_days_or_of_an_unfinished_clone(lab):
    sys_id = lab.clone()
    lab.source.put("clone_instance", {"sys_id": sys_id, "completed": utc_now(-8 * 86400)})
    assert lab.patch(sys_id, state="Rollback Requested").status_code == 403
    waiting = lab.request(scheduled=utc_now(3600))
    wait_for(lambda: lab.row(waiting)["state"] == "Scheduled", "scheduled")
    assert lab.patch(waiting, state="Rollback Requested").status_code == 403
    lab.patch(waiting, state="Canceled")


# The two tables


def test_the_console_writes_the_other_table(lab):
    lab.source.knobs(clone_ui="console")
    legacy = lab.source.put("clone_instance", {"state": "Requested", "target_instance": stable_id("instance", "acmetest")})[0]
    body = {"target_instance": stable_id("instance", "acmetest"), "state": "Requested"}
    answer = lab.source.client("edge.automation").post(lab.source.table("sn_instance_clone_request"), json=body).json()["result"]
    assert answer["request_id"].startswith("CLONE")
    lab.wait(answer["sys_id"], table="sn_instance_clone_request")
    parse_backup(lab.log(answer["sys_id"], "sn_instance_clone_log"))
    assert answer["sys_id"] not in lab.source.raw("clone_instance")
    assert lab.source.raw("clone_instance")[legacy["sys_id"]]["state"] == "Requested"  # nobody deploys it
    lab.source.control("DELETE", "/raw/clone_instance/" + legacy["sys_id"])


@pytest.mark.parametrize(("table", "other"), [CLONE_TABLES, CLONE_TABLES[::-1]])
def test_both_mirrors_each_into_the_other(lab, table, other):
    lab.source.knobs(clone_ui="both")
    body = {"target_instance": stable_id("instance", "acmetest"), "state": "Requested", "scheduled": utc_now(3600)}
    row = lab.source.client("edge.automation").post(lab.source.table(table), json=body).json()["result"]
    wait_for(lambda: lab.row(row["sys_id"], other)["state"] == "Scheduled", "scheduled in the other table")
    assert lab.row(row["sys_id"], other)[NUMBER_FIELD[other]] == row[NUMBER_FIELD[table]]
    lab.patch(row["sys_id"], table, state="Canceled")
    assert lab.row(row["sys_id"], other)["state"] == "Canceled"
    assert lab.row(row["sys_id"], table)["state"] == "Canceled"


# Restarts


@pytest.mark.parametrize("stage", slow_but("Node repoint"))
@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_restarted_source_goes_on_with_the_clone(lab, stage, how):
    lab.source.knobs(stage_seconds={stage: 100})
    sys_id = lab.request()
    lab.stage(sys_id, stage)
    lab.source.stop(how)
    lab.source.start()
    lab.wait(sys_id)
    wait_for(lambda: not lab.target.find("sys_trigger", name=JOB), "the cleanup job ends")
    assert lab.names(lab.target) == ["source"]


def test_a_restarted_target_goes_on_with_the_cleanup(lab):
    lab.source.knobs(stage_seconds={"Cleanup scripts": 200})
    script(lab.source, 200, '{"table": "u_contract", "query": "", "delete": true}')
    sys_id = lab.request()
    lab.wait(sys_id)
    wait_for(lambda: [row for row in lab.target.find("sys_trigger", name=JOB) if row["state"] == "1"], "the job runs")
    lab.target.stop(signal.SIGKILL)
    lab.target.start()
    wait_for(lambda: not lab.target.find("sys_trigger", name=JOB), "the cleanup job ends")
    assert lab.names(lab.target) == []


def test_the_state_of_the_engine_can_be_read(lab):
    sys_id = lab.clone()
    entry = [entry for entry in lab.source.control("GET", "/clones")["clones"] if entry["sys_id"] == sys_id][0]
    assert (entry["state"], entry["number"], entry["engine"]["cleanup"]) == ("Completed", entry["clone_id"], "released")
    assert entry["engine"]["backup"]["id"]
