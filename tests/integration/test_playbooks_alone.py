# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks that decide by the journal and the inventory alone: no instance, no database and no proxy is there, and none may be asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"host": "http://127.0.0.1:9", "username": "edge.automation", "password": "pw", "timeout": 1}


class Site:
    """An inventory without anything behind it, and the journal of its runs."""

    def __init__(self, folder):
        self.folder = folder
        self.journal = Journal(str(folder / "state" / "journal"), "acmetest")

    def begin(self, *hosts):
        """Journal a run that has gone as far as t30 with these target proxies."""
        self.journal.open("C1", "me")
        plan = {"steps": [{"id": "t20_before_clone", "hosts": ["runner"]}, {"id": "t30_clone_start", "hosts": list(hosts)}]}
        self.journal.record("C1", "t00_preflight", "done", {"plan": plan})
        self.journal.record("C1", "t30_clone_start", "started")

    def play(self, playbook, *arguments, target=("edge_target_1", "edge_target_2"), **variables):
        nobody = {name: {"edge_url": "https://127.0.0.1:9", "edge_home": str(self.folder / name)} for name in target}
        everything = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "edge_target_name": "acmetest",
            "edge_state_dir": str(self.folder / "state"), "edge_secret": "0123456789abcdef", "edge_source_instance": NOWHERE, "edge_target_instance": NOWHERE,
            "edge_keystore_password": "changeit", "edge_service_account": {"username": "edge.proxy", "password": "pw"},
            "edge_source_token_db": {}, "edge_target_token_db": {}, **variables,
        }  # fmt: skip
        groups = {"edge_runner": {"hosts": {"runner": {}}}, "edge_source_proxies": {"hosts": {"edge_source_1": {}}}, "edge_target_proxies": {"hosts": nobody}}
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"vars": everything, "children": groups}}))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", str(inventory), *arguments]
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"), ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="false")
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        done.output = " ".join((done.stdout + done.stderr).replace("\\n", " ").split())
        return done


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


BEGUN = ("edge_target_1", "edge_target_2")


@pytest.mark.parametrize(("playbook", "target"), [("make_safe", ("edge_source_1", "edge_source_2")), ("roll_back_clone", ("edge_target_1",))])
def test_other_proxies_than_the_run_was_begun_with_are_left_alone(site, playbook, target):
    """Those of the source are what an inventory names that asks the target between the clone and t57."""
    site.begin(*BEGUN)
    done = site.play("edge_encryption.clone." + playbook, "-e", "edge_clone_number=C1", "-e", "edge_confirm_target=acmetest", target=target)
    assert done.returncode != 0 and "was begun with the target proxies edge_target_1, edge_target_2, and edge_target_proxies holds " in done.output, done.output
    assert "Target proxies down" not in done.output and "Keep the target proxies as they must be" not in done.output


@pytest.mark.parametrize(("target", "begun", "fine"), [
    (BEGUN[::-1], True, True),
    ((*BEGUN, "edge_target_3"), True, False),
    ((*BEGUN, "edge_target_3"), False, True),  # before t30, the target itself is asked
])  # fmt: skip
def test_a_run_goes_on_with_the_proxies_that_it_was_begun_with(site, target, begun, fine):
    if begun:
        site.begin(*BEGUN)
    else:
        site.journal.open("C1", "me")
    role = {"name": "edge_encryption.clone.preflight", "tasks_from": "same_proxies"}
    variables = {"preflight_run": site.journal.run("C1"), "preflight_target_hosts": "{{ groups['edge_target_proxies'] }}"}
    play = {"hosts": "edge_runner", "gather_facts": False, "vars": variables, "tasks": [{"ansible.builtin.include_role": role}]}
    playbook = site.folder / "play.yml"
    playbook.write_text(json.dumps([play]))
    done = site.play(str(playbook), target=target)
    refused = "was begun with the target proxies" in done.output
    assert (done.returncode != 0) == refused == (not fine), done.output
