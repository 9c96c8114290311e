# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A playbook gives a role all that the entry point requires; otherwise it would fail only where it is played, and some are played in an emergency only."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "edge_encryption.clone."
WRAPPED = re.compile(r"'role': 'edge_encryption\.clone\.(\w+)', 'tasks_from': '(\w+)'")
VARS = sorted((ROOT / "playbooks" / "timeline" / "vars").glob("*.yml"))


def loaded(path):
    return yaml.safe_load(path.read_text()) or {}


OWNER = {name: path.name for path in VARS for name in loaded(path)}  # the file that makes a variable out of the inventory


def shared(play):
    """Return the names of the files of variables that a play loads. Ansible reads them anew for each task of each host, so a play takes what it needs."""
    return {Path(name).name for name in play.get("vars_files", [])}


def required(role, entry):
    """Return the options without which the entry point refuses to begin, and that the role has no value for."""
    folder = ROOT / "roles" / role
    own = set()
    for kind in ("defaults", "vars"):
        path = folder / kind / "main.yml"
        own |= set(loaded(path)) if path.exists() else set()
    options = loaded(folder / "meta" / "argument_specs.yml")["argument_specs"][entry]["options"]
    return {name for name, option in options.items() if option.get("required")} - own


def facts(value):
    """Every name that a task sets or registers."""
    if isinstance(value, list):
        return set().union(*map(facts, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = set(value.get("ansible.builtin.set_fact") or {}) | ({value["register"]} if "register" in value else set())
    return found.union(*(facts(content) for content in value.values()))


def calls(value, given):
    """Each call of a role by its name, with the names of the variables that it can see."""
    for task in value if isinstance(value, list) else []:
        if not isinstance(task, dict):
            continue
        seen = given | set(task.get("vars") or {}) | {(task.get("loop_control") or {}).get("loop_var", "item")}
        role = task.get("ansible.builtin.include_role") or {}
        loop = task.get("loop") if isinstance(task.get("loop"), list) else []
        if role and "{{" not in role["name"]:
            entry = role.get("tasks_from", "main")
            entries = loop if entry.startswith("{{") else [] if "{" in entry else [entry]
            yield from ((role["name"].removeprefix(PREFIX), each, seen, task["name"]) for each in entries)
        elif role:
            yield from ((each["role"], each["tasks_from"], seen, task["name"]) for each in loop)
        wrapped = str((task.get("vars") or {}).get("clone_journal_roles", ""))
        yield from ((name, entry, seen, task["name"]) for name, entry in WRAPPED.findall(wrapped))
        for part in ("block", "rescue", "always"):
            yield from calls(task.get(part), seen)


PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml")) + sorted((ROOT / "playbooks" / "timeline").glob("*.yml"))
SET = set().union(*(facts(loaded(path)) for path in [*PLAYBOOKS, *(ROOT / "roles").glob("*/tasks/*.yml")]))


@pytest.mark.parametrize("playbook", [path.stem for path in PLAYBOOKS])
def test_a_playbook_gives_each_role_what_it_requires(playbook):
    (path,) = [path for path in PLAYBOOKS if path.stem == playbook]
    for play in loaded(path):
        given = set(play.get("vars") or {}) | {name for name, owner in OWNER.items() if owner in shared(play)} | SET
        for role, entry, seen, task in calls(play.get("tasks"), given):
            assert required(role, entry) - seen == set(), (play["name"], task)


def reached(text, known=frozenset()):
    """Return the roles that a text names, and those that they name."""
    found = set(re.findall(r"\bedge_encryption\.clone\.(\w+)", text)) & ROLES.keys() - known
    known = known | found
    return known.union(*(reached(ROLES[role], known) for role in found))


ROLES = {path.name: "".join(each.read_text() for each in sorted((path / "tasks").glob("*.yml"))) for path in sorted((ROOT / "roles").iterdir())}
PLAYS = [(path.stem, play) for path in PLAYBOOKS for play in loaded(path) if "vars_files" in play]


@pytest.mark.parametrize(("playbook", "play"), PLAYS, ids=[f"{playbook}-{play['name']}" for playbook, play in PLAYS])
def test_a_play_has_what_it_and_its_roles_can_ask_for_and_no_more(playbook, play):
    """An option that has a default would take that silently."""
    text = yaml.safe_dump({key: value for key, value in play.items() if key != "vars_files"}, width=10**6)
    files = {path.name: path.read_text() for path in VARS}
    asked = set(re.findall(r"\w+", text)).union(*(re.findall(r"\w+", files[name]) for name in shared(play))) & OWNER.keys()
    asked |= {name for name in OWNER for role in reached(text) if name.startswith(role + "_")}
    assert {OWNER[name] for name in asked} == shared(play), playbook


def test_the_guard_sees_calls():
    found = [(role, entry) for path in PLAYBOOKS for play in loaded(path) for role, entry, _seen, _task in calls(play.get("tasks"), set())]
    some = {("token_db", "cut_over"), ("proxies", "clear_cache"), ("clone_journal", "find"), ("clone_verify", "rules_as_before")}
    assert len(found) > 60 and some <= set(found)
