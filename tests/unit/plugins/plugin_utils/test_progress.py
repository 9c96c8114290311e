# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.plugin_utils import _progress


@pytest.mark.parametrize("line, expected", [
    ({"step": "clone", "state": "Active", "stage": "Restore", "done": None, "total": None, "seconds": 61.0}, "clone, Active, Restore, 1:01 so far"),
    ({"step": "token database", "state": "stage", "done": 2000, "total": 5000, "unit": "rows", "bytes": 3000000, "seconds": 2.0},
     "token database, stage, 2,000 of 5,000 rows, 3.0 MB, 1,000.0/s, 0:03 left, 0:02 so far"),
    ({"step": "resign", "state": "re-signing", "stage": "", "done": 0, "total": 7, "unit": "records", "seconds": 0.0},
     "resign, re-signing, 0 of 7 records, 0:00 so far"),
    ({"step": "clone", "state": "Active", "seconds": 7322.0}, "clone, Active, 2:02:02 so far"),
])
def test_a_line_says_how_far_the_work_is(line, expected):
    assert _progress.describe(line) == expected


LIBRARY = """
import time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec=dict(progress_file=dict(type="path")))
with open(module.params["progress_file"], "a") as stream:
    for done in (1, 2):
        stream.write('{"step": "work", "state": "slow", "done": %d, "total": 2, "unit": "things", "seconds": 1.0}\\n' % done)
        stream.flush()
        time.sleep(1)
    stream.write('{"step": "wo')  # a line that is not finished
    stream.flush()
    time.sleep(1)
module.exit_json(path=module.params["progress_file"])
"""
ACTION = """
from ansible_collections.edge_encryption.clone.plugins.plugin_utils import _progress
_progress.INTERVAL = 0.2
class ActionModule(_progress.ProgressActionBase):
    MODULE = "slow"
"""
# As a connection to another host: a command is all that it can do.
CONNECTION = """
DOCUMENTATION = "name: elsewhere\\nshort_description: Elsewhere\\ndescription: Elsewhere.\\noptions: {}"
from ansible.plugins.connection import local
class Connection(local.Connection):
    transport = "elsewhere"
"""


def slow_playbook(folder):
    """Write a playbook that runs a slow module on all hosts, and what it needs, into a folder."""
    for name, text in (("library/slow.py", LIBRARY), ("action_plugins/slow.py", ACTION), ("connection_plugins/elsewhere.py", CONNECTION)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    tasks = [{"slow": {}, "register": "slow"}, {"ansible.builtin.stat": {"path": "{{ slow.path }}"}, "register": "file"},
             {"ansible.builtin.debug": {"msg": "FILE {{ slow.path }} {{ file.stat.exists }}"}}]  # fmt: skip
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))


def assert_shown(output, host="runner"):
    shown = [line for line in output.splitlines() if f"[{host}] work" in line]
    assert shown == [f"[{host}] work, slow, {count} of 2 things, {rate}/s, 0:0{left} left, 0:01 so far" for count, rate, left in ((1, "1.0", 1), (2, "2.0", 0))]
    assert re.search(r"FILE \S*edge_clone_progress_\w+ False", output), output


@pytest.mark.parametrize("connection", ["local", "elsewhere"])
@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_lines_are_printed_while_the_module_runs(tmp_path, connection, pipelining):
    slow_playbook(tmp_path)
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(Path(_progress.__file__).parents[5]), ANSIBLE_PIPELINING=pipelining)
    variables = json.dumps({"ansible_python_interpreter": sys.executable, "ansible_connection": connection})
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "runner,", "-e", variables, "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_shown(done.stdout)


def test_a_host_that_does_not_answer_is_left_to_the_module(monkeypatch):
    ended, asked = threading.Event(), []
    monkeypatch.setattr(_progress, "INTERVAL", 0.01)
    monkeypatch.setattr(_progress.Display, "display", lambda self, text, **how: pytest.fail(text))

    def last_line():
        asked.append(1)
        if len(asked) == 3:
            ended.set()
        raise AnsibleConnectionFailure("no route to host")

    _progress._print_progress(last_line, ended, "runner")
    assert len(asked) == 3


def test_every_line_of_a_progress_file_can_be_shown(tmp_path):
    path = tmp_path / "progress"
    progress = Progress(str(path), "token database")
    progress.report("snapshot", done=0, total=10, unit="rows", size=0)
    progress.report("snapshot", done=5, total=10, unit="rows", size=50)  # within a second: left out
    progress.report("snapshot", done=10, total=10, unit="rows", size=100)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["done"] for line in lines] == [0, 10]
    assert all(_progress.describe(line).startswith("token database, snapshot, ") for line in lines)


def test_without_a_file_nothing_is_written():
    Progress(None, "clone").report("Scheduled")
