# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One id a step: the timeline, the playbooks, their tags, the README and the report say the same."""

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS

ROOT = Path(__file__).resolve().parents[2]
TOKENS = {"t10_source_backup", "t35_stage", "t50_clone_end"}  # what only a clone with tokenization needs
ROTATION = {"t80_rotate_key"}
PLAYED = list(STEP_IDS)
PLAYBOOKS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "playbooks" / "timeline").glob("*.yml")}


def test_every_step_has_its_playbook():
    assert sorted(PLAYBOOKS) == PLAYED


@pytest.mark.parametrize("playbook", ["clone_with_tokenization", "clone_rotate_key"])
def test_the_playbooks_with_tokens_import_them_in_order(playbook):
    main = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
    assert [entry["ansible.builtin.import_playbook"] for entry in main] == [f"timeline/{step}.yml" for step in PLAYED]
    assert all(entry["name"].endswith(f"({step})") for entry, step in zip(main, PLAYED))


@pytest.mark.parametrize(("playbook", "without"), [("clone_same_key", TOKENS | ROTATION), ("clone_without_encrypted_data", TOKENS | ROTATION)])
def test_a_playbook_without_tokens_leaves_the_token_database_alone(playbook, without):
    entries = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
    assert [entry["ansible.builtin.import_playbook"] for entry in entries] == [f"timeline/{step}.yml" for step in PLAYED if step not in without]
    assert all(entry["name"].endswith(f"({Path(entry['ansible.builtin.import_playbook']).stem})") for entry in entries)
    assert all(entry["vars"] == entries[0]["vars"] and entry["vars"]["edge_tokenization"] is False for entry in entries)


def test_plays_carry_the_id_in_name_and_tag():
    for step, plays in PLAYBOOKS.items():
        for play in plays:
            assert play["name"].endswith(f"({step})"), play["name"]
            assert step in play["tags"], play["name"]
            # Without it, the other hosts of a play would go on after one has failed.
            assert play["any_errors_fatal"] is True, play["name"]


def test_plays_journal_under_their_id():
    for step, plays in PLAYBOOKS.items():
        ids = re.findall(r"clone_journal_step: (\S+)", (ROOT / "playbooks" / "timeline" / f"{step}.yml").read_text())
        assert ids and set(ids) == {step}, (step, ids, len(plays))


def test_a_step_of_several_plays_begins_once_and_ends_once():
    for step, plays in PLAYBOOKS.items():
        wrapped = [task["vars"] for play in plays for task in play["tasks"] if task.get("vars", {}).get("clone_journal_step") == step]
        if not wrapped:
            continue  # t00 and t99 call the entry points of the journal themselves
        assert [part.get("clone_journal_begin", True) for part in wrapped] == [True] + [False] * (len(wrapped) - 1), step
        assert [part.get("clone_journal_end", True) for part in wrapped] == [False] * (len(wrapped) - 1) + [True], step
        assert len({part.get("clone_journal_repeat_until") for part in wrapped}) == 1, step


def test_the_readme_lists_every_step():
    table = re.findall(r"(?m)^\| `(t\d\d_\w+)` \|", (ROOT / "README.md").read_text())
    assert table == PLAYED


def test_the_guide_lists_every_playbook_of_a_clone():
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_options.rst").read_text()
    found = dict(re.findall(r"(?m)^   \* - ``(clone_\w+)``\n(?:     - .*\n){2}     - (.*)$", guide))
    assert set(found) == {path.stem for path in (ROOT / "playbooks").glob("clone_*.yml")}
    for playbook, steps in found.items():
        entries = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
        left_out = [step[:3] for step in PLAYED if f"timeline/{step}.yml" not in [entry["ansible.builtin.import_playbook"] for entry in entries]]
        assert steps == ("all but " + ", ".join(left_out) if left_out else "all"), playbook


def test_the_guide_on_the_house_lists_every_step_and_until_when_it_is_done_again():
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_architecture.rst").read_text()
    table = re.findall(r"(?m)^   \* - ``(t\d\d_\w+)``\n     - .*\n     - (.*)$", guide)
    assert [step for step, _again in table] == PLAYED
    for step, again in table:
        found = re.findall(r"clone_journal_repeat_until: (.*)", (ROOT / "playbooks" / "timeline" / f"{step}.yml").read_text())
        steps = {part[:3] for line in found for part in re.findall(r"t\d\d_\w+", line)}
        if step == "t00_preflight":
            assert again == "always" and not found
        else:
            assert set(re.findall(r"\bt\d\d\b", again)) == steps and (again == "never") == (not steps), step
