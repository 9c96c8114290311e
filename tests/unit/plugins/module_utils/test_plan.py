# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._plan import build_plan
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS, TOKEN_STEPS, seconds_of, stamp_of
from ansible_collections.edge_encryption.clone.tests.unit.report_runs import START, facts, run

SAME = {"encryption": "same_key", "signatures": "resigned", "tokenization": True}


def steps(plan):
    return {step["id"]: step for step in plan["steps"]}


def fingerprints(proxy, key="aa", signature="cc"):
    keys = [{"alias": "aes128prod", "size": 128, "fingerprint": key * 32}] if key else []
    return {"name": proxy, "keys": keys, "signature_key": {"alias": "x", "fingerprint": signature * 32} if signature else {}}


# Times


def test_steps_follow_each_other_and_hang_on_what_they_wait_for():
    plan = build_plan(facts())
    assert tuple(steps(plan)) == tuple(step for step in STEP_IDS if step != "t80_rotate_key")
    start = seconds_of(START) + 3600
    assert steps(plan)["t30_clone_start"]["planned_start"] == plan["outage"]["began"] == stamp_of(start - 600)
    assert steps(plan)["t35_stage"]["planned_start"] == plan["clone_start"] == stamp_of(start)
    times = [seconds_of(step["planned_start"]) for step in plan["steps"] if step["planned_start"]]
    assert times == sorted(times) and len(times) == 6
    after = [step for step in plan["steps"] if step["anchor"] == "clone_end"]
    assert [step["offset_s"] for step in after] == sorted(step["offset_s"] for step in after) and after[0]["id"] == "t50_clone_end"
    assert {step["planned_start"] for step in after} == {None}


def test_a_plan_says_its_format_first():
    assert next(iter(build_plan(facts()).items())) == ("format", 1)


def test_where_each_step_runs():
    plan = steps(build_plan(facts()))
    assert plan["t10_source_backup"]["hosts"] == ["runner"]
    assert plan["t55_keys"]["hosts"] == ["edge_source_1", "edge_target_1", "edge_target_2"]
    assert plan["t95_open"]["hosts"] == ["edge_target_1", "edge_target_2"]


def test_without_a_clone_it_is_missing_and_a_planned_start_takes_its_place():
    plan = build_plan(facts(clone={}))
    assert plan["clone"] == {} and plan["clone_start"] is None and any("No clone to acmetest" in point for point in plan["missing"])
    assert steps(plan)["t30_clone_start"]["planned_start"] is None and steps(plan)["t30_clone_start"]["offset_s"] == -600
    assert steps(plan)["t00_preflight"]["planned_start"] == START
    assert build_plan(facts(clone={}, planned_start="2026-01-03 03:00:00"))["outage"]["began"] == "2026-01-03T02:50:00Z"


def test_the_snapshot_waits_for_the_end_of_the_backup():
    assert steps(build_plan(facts(backup_time="2026-01-02 21:30:00")))["t10_source_backup"]["planned_start"] == "2026-01-02T21:30:00Z"
    # A backup that is over already delays nothing.
    assert steps(build_plan(facts(backup_time="2026-01-02 03:00:00")))["t10_source_backup"] == steps(build_plan(facts()))["t10_source_backup"]


def test_without_tokens_three_steps_are_left_out_and_the_rest_hangs_on_the_clones_end():
    plan = build_plan(facts(options=dict(SAME, tokenization=False)))
    assert not set(TOKEN_STEPS) & set(steps(plan))
    assert steps(plan)["t40_wait_clone"]["anchor"] == "clone_start" and steps(plan)["t55_keys"]["anchor"] == "clone_end"


def test_the_rotation_is_planned_when_the_target_gets_its_own_key():
    plan = build_plan(facts(options=dict(SAME, encryption="rotated_key")))
    assert tuple(steps(plan)) == STEP_IDS and plan["recommended"]["encryption"]["option"] == "rotated_key"
    assert plan["recommended"]["playbook"]["name"] == "edge_encryption.clone.clone_rotate_key"


# Durations


def test_without_an_earlier_run_the_defaults_are_stated_and_the_clones_length_is_not_guessed():
    plan = build_plan(facts())
    assert plan["database"]["stage_s"] == 10.0 and plan["database"]["snapshot_s"] == 3.6 and "stated default" in plan["database"]["from"]
    assert {step["duration_from"] for step in plan["steps"]} == {"stated default", plan["database"]["from"]}
    assert plan["clone_s"] is None and plan["outage"]["seconds"] is None and plan["outage"]["ended"] is None
    assert "which no earlier run tells" in plan["outage"]["text"]


def test_earlier_runs_give_rates_durations_and_the_clones_length():
    plan = build_plan(facts(runs=[run(clone_s=3600, step_s=40), run(clone_s=7200, step_s=20)], database={"rows": 3600000, "tables": 3}))
    assert plan["database"] == dict(plan["database"], stage_s=20.0, snapshot_s=8.0, swap_s=0.02) and plan["database"]["from"] == "measured in 2 earlier runs"
    assert steps(plan)["t57_registration"]["duration_s"] == 30 and steps(plan)["t57_registration"]["duration_from"] == "measured in 2 earlier runs"
    assert plan["clone_s"] == 5400 and plan["outage"]["seconds"] == plan["outage"]["without_clone_s"] + 5400
    assert seconds_of(plan["outage"]["ended"]) - seconds_of(plan["outage"]["began"]) == pytest.approx(plan["outage"]["seconds"], abs=1)
    assert all(step["planned_end"] for step in plan["steps"])


@pytest.mark.parametrize("earlier", [
    run(stop_at="t90_verify", error="no"), run(rows=100),
])  # fmt: skip
def test_a_run_that_failed_or_moved_few_rows_says_nothing_about_the_rate(earlier):
    assert "stated default" in build_plan(facts(runs=[earlier]))["database"]["from"]


def test_a_step_that_took_several_attempts_or_other_options_is_no_measure():
    assert steps(build_plan(facts(runs=[run(attempts=3)])))["t55_keys"]["duration_from"] == "stated default"
    other = build_plan(facts(runs=[run()], options=dict(SAME, signatures="copied_key")))
    assert steps(other)["t70_signatures"] == dict(steps(other)["t70_signatures"], duration_s=5.0, duration_from="stated default")


# Keys, and what follows from them


def test_keys_are_held_against_each_target_proxy_by_fingerprint():
    plan = build_plan(facts(target_proxies=[fingerprints("t1"), fingerprints("t2", key="dd", signature="bb"), fingerprints("t3", key=None, signature=None)]))
    assert plan["keys"][0]["targets"] == {"t1": "same", "t2": "different", "t3": "missing"}
    assert plan["signature_keys"]["targets"] == {"t1": "different", "t2": "same", "t3": "missing"}


@pytest.mark.parametrize(("targets", "option", "reason"), [
    ([fingerprints("t1"), fingerprints("t2")], "same_key", "nothing has to be copied"),
    ([fingerprints("t1"), fingerprints("t2", key=None)], "same_key", "missing on a target proxy"),
    ([fingerprints("t1"), fingerprints("t2", key="dd")], "same_key", "first rename the target's own key aes128prod"),
])  # fmt: skip
def test_the_recommended_encryption_option(targets, option, reason):
    recommended = build_plan(facts(target_proxies=targets))["recommended"]["encryption"]
    assert recommended["option"] == option and reason in recommended["reason"]


def test_keys_that_are_in_no_keystore_are_brought_by_hand():
    assert build_plan(facts(source_proxy=dict(fingerprints("s", key=None))))["recommended"]["encryption"]["option"] == "manual"
    chosen = build_plan(facts(options=dict(SAME, encryption="preserved_key", tokenization=False)))["recommended"]
    assert chosen["encryption"]["option"] == "preserved_key" and chosen["playbook"]["name"].endswith("clone_without_encrypted_data")


@pytest.mark.parametrize(("signature", "chosen", "exclusions", "option"), [
    ("bb", "resigned", [], "copied_key"),  # it is the source's key already
    ("cc", "resigned", ["sys_encryption_rule", "sys_encryption_configuration"], "recreated"),
    ("cc", "resigned", ["sys_encryption_rule"], "resigned"),
    ("cc", "recreated", [], "resigned"),
    ("cc", "copied_key", [], "copied_key"),
])  # fmt: skip
def test_the_recommended_signature_option(signature, chosen, exclusions, option):
    plan = build_plan(facts(target_proxies=[fingerprints("t1", signature=signature)], options=dict(SAME, signatures=chosen),
                            clone={"number": "C1", "scheduled": START, "exclusions": exclusions}))  # fmt: skip
    assert plan["recommended"]["signatures"]["option"] == option


@pytest.mark.parametrize(("needed", "playbook"), [(["SSN"], "clone_with_tokenization"), ([], "clone_same_key"), (None, "clone_with_tokenization")])
def test_the_recommended_playbook(needed, playbook):
    assert build_plan(facts(tokens_needed=needed))["recommended"]["playbook"]["name"] == "edge_encryption.clone." + playbook


def test_what_is_missing_is_all_listed():
    assert build_plan(facts(missing=["a", "b"]))["missing"] == ["a", "b"]
