# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal is the same whether a module keeps it or the controller's own process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._journal_calls import READ, WRITE
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._journal_action import answer

CALLS = [
    dict(state="opened", owner="me"),
    dict(state="recorded", step="t10_source_backup", status="started"),
    dict(state="recorded", step="t10_source_backup", status="done", evidence={"token_db": {"rows": 7, "verified": True}}),
    dict(state="recorded", step="t10_source_backup", status="done", evidence={"token_db": {"rows": 7, "verified": True}}),
    dict(state="opened", owner="you"),
    dict(state="recorded", step="t11_unknown", status="done"),
    dict(state="recorded"),
    dict(state="recorded", step="t10_source_backup", status="perhaps"),
    dict(state="closed", result="green", owner="me"),
    dict(state="rolling_back", owner="me"),
    dict(state="recorded", unknown="x", step="t10_source_backup", status="done"),
    dict(state="recorded", step="t10_source_backup", status="done", evidence="no dict"),
]


def timeless(result):
    """Return a result without what differs between two calls: times, and where and how the module was called."""
    text = json.dumps({name: value for name, value in result.items() if name != "invocation"}, default=str)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "then", text)
    return {name: strip(value) for name, value in json.loads(text).items() if name not in ("exception", "failed") or value is True}


def strip(value):
    if isinstance(value, dict):
        return {name: strip(entry) for name, entry in value.items() if name not in ("opened", "closed", "started", "ended", "since", "at", "began", "seconds")}
    return [strip(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("check", [False, True])
def test_the_answers_are_those_of_the_module(run_module, tmp_path, check):
    by_module, here = ({"path": str(tmp_path / name / "journal"), "target": "acmetest", "clone": "C1"} for name in ("one", "two"))
    for options in CALLS:
        expected = timeless(run_module("clone_journal", dict(by_module, **options), check=check))
        found = timeless(answer("basic.py", WRITE, dict(here, **options), check))
        assert json.loads(json.dumps(found).replace("/two/", "/one/")) == expected, options
    read = timeless(run_module("clone_journal_info", by_module))
    assert json.loads(json.dumps(timeless(answer("basic.py", READ, here, False))).replace("/two/", "/one/")) == read
    assert os.path.exists(here["path"]) is not check


@pytest.mark.parametrize("variables, alone", [
    ({}, True),
    ({"ansible_connection": "elsewhere"}, False),
    ({"ansible_become": True, "ansible_become_method": "nobody_else"}, False),
])
def test_a_module_runs_only_where_it_must(tmp_path, variables, alone):
    """Without a Python on the host no module runs, so whatever still works did without one."""
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "elsewhere.py").write_text(
        'DOCUMENTATION = "name: elsewhere\\nshort_description: Elsewhere\\ndescription: Elsewhere.\\noptions: {}"\n'
        "from ansible.plugins.connection import local\nclass Connection(local.Connection):\n    transport = 'elsewhere'\n"
    )
    (tmp_path / "become_plugins").mkdir()
    (tmp_path / "become_plugins" / "nobody_else.py").write_text(
        'DOCUMENTATION = "name: nobody_else\\nshort_description: Me\\ndescription: Me.\\noptions: {}"\n'
        "from ansible.plugins.become import BecomeBase\nclass BecomeModule(BecomeBase):\n    name = 'nobody_else'\n"
        "    def build_become_command(self, cmd, shell):\n        return cmd\n"
    )
    journal = {"path": str(tmp_path / "journal"), "target": "acmetest", "clone": "C1"}
    tasks = [
        {"edge_encryption.clone.clone_journal": dict(journal, state="opened", owner="me")},
        {"edge_encryption.clone.clone_journal_info": journal, "register": "read"},
        {"ansible.builtin.assert": {"that": "read.run.run_id == 'acmetest/C1' and read.lock.owner == 'me'"}},
    ]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    host = dict({"ansible_connection": "local", "ansible_python_interpreter": "/nonexistent/python"}, **variables)
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": {"runner": host}}}))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.json", "play.yml"]
    done = subprocess.run(command, cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode()
    assert (done.returncode == 0) is alone, output
    assert (tmp_path / "journal").exists() is alone
    assert alone or "/nonexistent/python" in output, output
