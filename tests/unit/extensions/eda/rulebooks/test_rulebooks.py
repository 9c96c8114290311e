# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be said of the rulebooks without ansible-rulebook. tests/eda plays them."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.edge_encryption.clone.plugins.module_utils import _log
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS

ROOT = Path(__file__).resolve().parents[5]
RULEBOOKS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "extensions" / "eda" / "rulebooks").glob("*.yml")}
SOURCES = {path.stem for path in (ROOT / "extensions" / "eda" / "plugins" / "event_source").glob("*.py")}
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
GUIDE = (ROOT / "docs" / "docsite" / "rst" / "guide_event_driven.rst").read_text()
COLLECTION = "edge_encryption.clone."


def rules(rulebook):
    return [rule for ruleset in RULEBOOKS[rulebook] for rule in ruleset["rules"]]


def actions(rule):
    return rule.get("actions") or [rule["action"]]


def test_there_are_rulebooks():
    assert set(RULEBOOKS) == {"clone_events", "clone_events_job_templates", "proxy_health", "proxy_log"}


@pytest.mark.parametrize("rulebook", sorted(RULEBOOKS))
def test_a_rulebook_runs_what_is_there_and_one_act_at_a_time(rulebook):
    for ruleset in RULEBOOKS[rulebook]:
        assert ruleset["execution_strategy"] == "sequential"
        for source in ruleset["sources"]:
            (name,) = set(source) - {"name"}
            assert name == "eda.builtin.webhook" or name.removeprefix(COLLECTION) in SOURCES
    for rule in rules(rulebook):
        for action in actions(rule):
            if "run_playbook" in action:
                assert action["run_playbook"]["name"].removeprefix(COLLECTION) in PLAYBOOKS
                assert action["run_playbook"].get("extra_vars", {}).get("edge_last_step", STEP_IDS[0]) in STEP_IDS


def test_every_act_on_a_clone_names_the_clone_and_what_the_operator_confirmed():
    """A rulebook that confirmed the target by the event itself would confirm whatever comes."""
    for rule in rules("clone_events"):
        for action in actions(rule):
            given = action.get("run_playbook", {}).get("extra_vars")
            if given:
                assert given["edge_clone_number"] == "{{ event.clone.number }}"
                assert given.get("edge_confirm_target", "{{ edge_confirm_target }}") == "{{ edge_confirm_target }}"
                assert ("edge_confirm_target" in given) == (action["run_playbook"]["name"] != COLLECTION + "make_safe")


def test_job_templates_are_started_by_the_same_rules_with_the_same_variables():
    left, right = rules("clone_events"), rules("clone_events_job_templates")
    assert [(rule["name"], rule["condition"]) for rule in left] == [(rule["name"], rule["condition"]) for rule in right]
    assert RULEBOOKS["clone_events"][0]["sources"] == RULEBOOKS["clone_events_job_templates"][0]["sources"]
    for one, other in zip(left, right):
        for playbook, job in zip(actions(one), actions(other)):
            if "debug" in playbook:
                assert playbook == job
            else:
                assert playbook["run_playbook"]["extra_vars"] == job["run_job_template"]["job_args"]["extra_vars"]
                safe = playbook["run_playbook"]["name"].endswith("make_safe")
                assert ("edge_events_safe_template" if safe else "edge_events_clone_template") in job["run_job_template"]["name"]


def test_job_templates_have_the_names_that_the_pattern_gives_them_and_are_asked_for_what_is_given():
    pattern = json.loads((ROOT / "extensions" / "patterns" / "clone_with_edge_encryption" / "meta" / "pattern.json").read_text())
    surveys = {template["name"]: {question["variable"] for question in template.get("survey", {}).get("spec", [])}
               for template in pattern["aap_resources"]["controller_job_templates"]}  # fmt: skip
    for rule in rules("clone_events_job_templates"):
        for job in (action["run_job_template"] for action in actions(rule) if "run_job_template" in action):
            # edge_stop_lead is in the inventory as well, and is not asked for.
            assert set(job["job_args"]["extra_vars"]) - {"edge_stop_lead"} <= surveys[re.search(r"default\('(.*)'\)", job["name"])[1]]


def test_each_thing_that_happens_to_a_clone_has_its_rules():
    documented = {"waiting", "scheduled", "started", "completed", "ended", "unknown", "due", "gone"}
    assert set(re.findall(r'event\.happened == "(\w+)"', " ".join(rule["condition"] for rule in rules("clone_events")))) == documented


# KB0621218, both spellings; the lab writes them into its proxies' logs.
SIGNATURES = [
    "2017-02-03 12:06:44,749 ERROR Error occurred during proxy startup: Failed get edge encryption configuration from the ServiceNow instance: "
    "Encryption configuration for field '\"change_request\".\"short_description\"' failed signature validation. Contact support.",
    "2017-02-03 12:06:44,749 ERROR Error occured during proxy startup",
    "2017-02-03 12:06:44,749 ERROR Edge Encryption rule : 'REST JSON' does not have a valid signature",
    "2017-02-03 12:06:44,749 ERROR Error in updating sync data manager for Edge Encryption Rules : One or more records failed signature validation.",
    "\tat com.snc.edgeencryption.EncryptedFieldsManager.verifyConfigurationSignatures(EncryptedFieldsManager.java:1)",
]
TALK = [
    "2017-02-03 12:06:44,749 WARN This Edge Encryption proxy has not yet been authenticated by the instance.",
    "2017-02-03 12:06:44,749 ERROR Received error in response for keep-alive request. Please check the connectivity between the Edge proxy and the instance.",
]
HARMLESS = ["2017-02-03 12:06:44,749 INFO Edge Encryption rule : 'REST JSON' updated", "2017-02-03 12:06:44,749 INFO every signature is valid"]


def pattern(rule):
    return re.compile("|".join(re.findall(r'event\.payload\.line is (?:regex|search)\("(.*?)"\)', rule["condition"])))


def test_the_documented_lines_of_a_log_are_known():
    signatures, *talk = (pattern(rule) for rule in rules("proxy_log"))
    assert [line for line in SIGNATURES + TALK + HARMLESS if signatures.search(line)] == SIGNATURES
    assert [[line for line in SIGNATURES + TALK + HARMLESS if one.search(line)] for one in talk] == [[line] for line in TALK]


def test_the_modules_know_the_same_lines():
    for line in SIGNATURES:
        findings = _log.Findings()
        findings.add([line])
        assert findings.failures == [line]


@pytest.mark.parametrize("rulebook", sorted(RULEBOOKS))
def test_every_variable_of_a_rulebook_is_in_the_guide(rulebook):
    text = (ROOT / "extensions" / "eda" / "rulebooks" / f"{rulebook}.yml").read_text()
    read = set(re.findall(r"\{\{ (edge_\w+)", text))
    listed = set(re.findall(r"(?m)^   \* - ``(edge_\w+)``$", GUIDE))
    assert read and read <= listed


def test_the_guide_lists_no_other_variable():
    text = "".join((ROOT / "extensions" / "eda" / "rulebooks" / f"{rulebook}.yml").read_text() for rulebook in RULEBOOKS)
    assert set(re.findall(r"(?m)^   \* - ``(edge_\w+)``$", GUIDE)) - set(re.findall(r"\{\{ (edge_\w+)", text)) == set()
