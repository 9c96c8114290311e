# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide "The inventory" lists the variables that the playbooks read, and no others."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "docsite" / "rst" / "guide_inventory.rst").read_text()
ROW = re.compile(r"(?m)^   \* - ``(edge_\w+)``\n     - (.+)\n     - (.+)\n     - (?=\S)")
GROUPS = {"edge_runner", "edge_source_proxies", "edge_target_proxies"}
ACCOUNTS = {"edge_clone_read", "edge_clone_write"}
STATS = {"edge_clone", "edge_snapshot", "edge_verify"}  # what set_stats hands over; the first is a default folder as well


def listed():
    return {name: (kind, default) for name, kind, default in ROW.findall(GUIDE)}


def without_names(text: str) -> str:
    """Leave out what begins with edge_ and is no variable: content of the collection, folders, groups."""
    text = re.sub(r"edge_encryption\.clone(\.\w+)*", "", text)
    return re.sub(r"/[\w/]*/edge_\w+", "", text)


def words(*patterns: str):
    """Return every word that begins with edge_ in these files, comments left out."""
    found = set()
    for path in (path for pattern in patterns for path in ROOT.glob(pattern)):
        lines = [re.sub(r"(^|\s)#.*", "", line) for line in path.read_text().splitlines()]
        found |= set(re.findall(r"\bedge_[a-z_]+\b(?!\.[a-z]+_)", without_names("\n".join(lines))))
    return found - GROUPS - STATS


def expressions(value):
    """Every string of a playbook that Ansible evaluates as a whole or finds a template in."""
    if isinstance(value, dict):
        for key, content in value.items():
            if key in ("when", "that", "failed_when", "until"):
                yield from ("{{" + str(each) + "}}" for each in (content if isinstance(content, list) else [content]))
            yield from expressions(content)
    elif isinstance(value, list):
        for content in value:
            yield from expressions(content)
    elif isinstance(value, str):
        yield value


def read_by_playbooks():
    found = set()
    for path in (ROOT / "playbooks").rglob("*.yml"):
        for text in expressions(yaml.safe_load(path.read_text())):
            inside = " ".join(re.findall(r"(?s)\{[{%](.*?)[%}]\}", text))
            found |= set(re.findall(r"\bedge_[a-z_]+\b", without_names(inside)))
    return found - GROUPS - STATS


def test_every_variable_that_a_playbook_reads_is_in_the_guide_and_no_other():
    assert len(listed()) > 60
    assert read_by_playbooks() - set(listed()) == set()
    assert set(listed()) - read_by_playbooks() == set()


def test_every_variable_that_a_message_or_an_example_names_is_in_the_guide():
    own = {path.stem for path in (ROOT / "plugins").glob("*/*.py")}  # modules and the like
    assert words("playbooks/**/*.yml", "roles/*/tasks/*.yml", "roles/*/templates/*", "examples/**/*.yml") - own - ACCOUNTS - set(listed()) == set()
    for path in (ROOT / "examples").rglob("*.yml"):  # in comments, too
        named = set(re.findall(r"(?m)^#? ?(edge_[a-z_]+):", path.read_text()))
        assert named - GROUPS - set(listed()) == set(), path


def test_a_role_reads_no_variable_of_the_inventory():
    """What the playbooks hand to it is all that it knows."""
    for path in (ROOT / "roles").rglob("*.yml"):
        for text in expressions(yaml.safe_load(path.read_text())):
            inside = " ".join(re.findall(r"(?s)\{[{%](.*?)[%}]\}", text))
            inside = re.sub(r"'[^']*'", "", without_names(inside))
            assert re.findall(r"\bedge_[a-z_]+\b", inside) == [], path


def test_the_guide_names_the_defaults_of_the_playbooks():
    text = "".join(path.read_text() for path in (ROOT / "playbooks").rglob("*.yml"))
    literals = dict(re.findall(r"\b(edge_\w+) \| default\(('[^']*'|\d+|true|false|\[\]|\{\})(?:, true)?\)", text))
    assert len(literals) > 50
    for name, literal in literals.items():
        kind, said = listed()[name]
        value = literal.strip("'")
        # What is made of other variables or of the source is told in words, or by the name of the other variable.
        assert said in ("required", "empty" if value == "" else "``{}``".format(value)) or "``" not in said or said.startswith("``edge_"), name
        assert kind in ("str", "path", "int", "float", "bool", "list", "dict", "raw"), name
