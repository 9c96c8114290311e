# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The signature option recreated: the clone leaves rules and configurations out, and the run makes the target's own anew."""

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, ask, wait_until
from ansible_collections.edge_encryption.clone.tests.e2e.test_killed import kill_at
from edgelab import demo_data, proxy_home, signing

pytestmark = pytest.mark.long
TABLES = ("sys_encryption_rule", "sys_encryption_configuration")


@pytest.fixture
def own(small: Bench) -> Bench:
    """A small lab whose target has rules of its own, and a clone of which they are left out."""
    target = small.lab["instances"]["target"]
    proxy = small.lab["proxies"]["target"][0]
    path = f"{proxy['url']}/api/now/table/sys_encryption_rule"
    with demo_data.session(small.lab, "target", target["username"]) as client:
        rules = {row["name"]: row["sys_id"] for row in small.raw("target", "sys_encryption_rule")}
        answers = [
            client.post(path, json={"name": "Target only", "order": "300", "condition": "true", "script": "// ours", "active": "true"}),
            client.patch(f"{path}/{rules['CRM account lookup']}", json={"active": "false"}),
            client.patch(f"{path}/{rules['ERP contract import']}", json={"script": "// changed on the target"}),
        ]
        assert [answer.status_code for answer in answers] == [201, 200, 200]
    cached = Path(proxy["home"]) / "cache" / "rules" / (rules["ERP contract import"] + ".json")
    wait_until(lambda: "// changed on the target" in cached.read_text())  # the last of them: the proxy knows them all
    small.before = contents(small)
    small.variables["edge_signature_option"] = "recreated"
    small.schedule(profile=small.leave_rules_out())
    return small


def contents(bench: Bench) -> t.List[t.Any]:
    """Return what the rules and configurations of the target say, without what the platform keeps of them."""
    return sorted(
        (table, sorted((name, value) for name, value in row.items() if not name.startswith("sys_") and name != "signature"))
        for table in TABLES for row in bench.raw("target", table)
    )  # fmt: skip


def badly_signed(bench: Bench) -> t.List[str]:
    """Return what is signed neither with the target's own key nor with ServiceNow's."""
    keystore = Path(bench.lab["proxies"]["target"][0]["home"]) / "keystore" / "keystore.jceks"
    own_key = proxy_home.signature_private_key(keystore, bench.lab["keystore_password"]["target"]).public_key()
    rows = [(table, row) for table in TABLES for row in bench.raw("target", table)]
    return [row["sys_id"] for table, row in rows if not signing.is_base(row) and not signing.verify(own_key, table, row)]


def assert_green(bench: Bench, report: t.Optional[Row]) -> None:
    assert report and report["result"] == "green" and report["open"] == []
    verify = report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 40
    assert contents(bench) == bench.before and badly_signed(bench) == []
    for proxy in bench.lab["proxies"]["target"]:
        state = ask("GET", proxy["control_url"] + "/state")
        assert state["verify"] == {"configurations": True, "rules": True} and not state["locked"]
    exported = list((bench.folder / "run" / "state").rglob("rules.json"))
    assert [oct(path.stat().st_mode & 0o777) for path in exported] == ["0o600"]


def test_the_target_keeps_its_own_rules_signed_with_its_own_key(own: Bench) -> None:
    validated = []
    with own.when("t60_start_proxies", lambda: validated.append(contents(own)), status="done"):
        run = own.run()
    assert run.returncode == 0, run.output[-5000:]
    assert_green(own, run.report)
    # The proxies validated from their start on, when there was nothing but ServiceNow's rules.
    assert [len(found) for found in validated] == [4]
    signatures = run.report["signatures"]
    assert (signatures["option"], signatures["records"], signatures["recreated"], signatures["resigned"]) == ("recreated", 19, 15, 0)
    assert signatures["differs_from_export"] == []
    assert signatures["differs_from_source"] == [
        "sys_encryption_rule ERP contract import (different, script)", "sys_encryption_rule CRM account lookup (different, active)",
        "sys_encryption_rule Target only (missing)",
    ]  # fmt: skip
    again = own.run("-e", f"edge_clone_number={own.number}", keep_report=True)
    assert again.returncode == 0 and again.changes == [], again.changes


def test_a_clone_that_preserves_all_of_them_leaves_nothing_to_do(own: Bench) -> None:
    own.change_request(profile=own.leave_rules_out(preserved=dict.fromkeys(TABLES, "")))
    before = {table: own.raw("target", table) for table in TABLES}
    run = own.run()
    assert run.returncode == 0, run.output[-5000:]
    assert_green(own, run.report)
    assert (run.report["signatures"]["records"], run.report["signatures"]["recreated"]) == (19, 0)
    assert {table: sorted(own.raw("target", table), key=lambda row: row["sys_id"]) for table in TABLES} == {
        table: sorted(rows, key=lambda row: row["sys_id"]) for table, rows in before.items()
    }


def test_check_mode_passes_before_the_clone(own: Bench) -> None:
    before = own.world()
    checked = own.run("--check")
    assert checked.returncode == 0, checked.output[-3000:]
    assert "What is made anew cannot be known before t20_before_clone" in checked.output
    assert own.world() == before and not (own.folder / "run" / "state").exists()


def test_a_proxy_that_signs_the_form_only(own: Bench) -> None:
    for proxy in own.lab["proxies"]["target"]:
        ask("PUT", proxy["control_url"] + "/knobs", {"sign_rest": False})
    run = own.run()
    assert run.returncode == 0, run.output[-5000:]
    assert_green(own, run.report)


def test_a_clone_that_brings_the_rules_all_the_same(own: Bench) -> None:
    """Somebody changes the profile after the run has looked at it. The run stops while the proxies are down, and can go on by signing."""

    def change() -> None:
        for row in own.raw("source", "clone_profile_exclusions"):
            own.control("source", "DELETE", f"/raw/clone_profile_exclusions/{row['sys_id']}")

    with own.when("t20_before_clone", change, status="done"):
        stopped = own.run()
    assert stopped.returncode != 0 and stopped.step("t57_registration")["status"] == "failed"
    assert "although it was to leave them out" in stopped.message and "edge_signature_option=resigned" in stopped.message
    run = own.run("-e", f"edge_clone_number={own.number}", "-e", "edge_signature_option=resigned")
    assert run.returncode == 0, run.output[-5000:]
    assert run.report["result"] == "green" and badly_signed(own) == []
    states = {side: {(row["name"], row["active"]) for row in own.raw(side, "sys_encryption_rule")} for side in ("source", "target")}
    assert states["target"] == states["source"]


def test_a_run_that_was_begun_with_another_option_or_too_late_is_refused(own: Bench) -> None:
    own.control("source", "PUT", "/knobs", {"clone_speed": 0.1})  # the target is as it was for a while after the clone has begun
    kill_at(own, "t30_clone_start")
    (journal,) = (own.folder / "run" / "state").rglob("journal.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in lines:
        event.get("evidence", {}).pop("rules_of_target", None)
        if "evidence" in event and event.get("step") == "t20_before_clone":
            event["evidence"]["rules_of_target"] = []
    journal.write_text("".join(json.dumps(event) + "\n" for event in lines))
    other = own.run("-e", f"edge_clone_number={own.number}")
    assert other.returncode != 0 and "begun with another edge_signature_option" in other.message
    wait_until(lambda: own.raw("source", "clone_instance")[0]["state"] != "Scheduled", seconds=90)
    late = own.run("-e", f"edge_clone_number={own.number}", state="late")
    assert late.returncode != 0 and "nobody knows any more what the rules of the target were" in late.message


@pytest.mark.parametrize("seconds", [(0, 0.7, 1.5), (0.7, 1.5, 3), (1.5, 3, 0), (3, 0, 0.7)])
def test_a_run_killed_in_every_step_that_it_changes(own: Bench, seconds: t.Sequence[float]) -> None:
    for step, after in zip(("t20_before_clone", "t57_registration", "t70_signatures"), seconds):
        kill_at(own, step, after)
    run = own.run("-e", f"edge_clone_number={own.number}")
    assert run.returncode == 0, run.output[-5000:]
    assert_green(own, run.report)
