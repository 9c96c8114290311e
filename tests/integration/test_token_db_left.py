# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clones leave beside a token database is listed and dropped by the role, and nothing else is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def play(site, folder, *entries, **variables):
    login = site.target.login("edge_clone_write", "write-password")
    values = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "token_db_target": login, "token_db_target_name": "acmetest",
        "token_db_snapshot_dir": site.directory, "token_db_encryption_key": "0123456789abcdef", **variables,
    }  # fmt: skip
    tasks = [{"ansible.builtin.include_role": {"name": "edge_encryption.clone.token_db", "tasks_from": entry}} for entry in entries]
    said = "{{ token_db_left | map(attribute='name') | join(' ') }} BUT {{ token_db_left_alone | map(attribute='name') | join(' ') }} END"
    tasks.append({"ansible.builtin.debug": {"msg": "LEFT " + said}})
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "vars": values, "tasks": tasks}]))
    return ansible_playbook("-i", "runner,", str(folder / "play.yml"))


def ansible_playbook(*arguments):
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments]
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"), ANSIBLE_NOCOLOR="1")
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def left(done):
    own, _but, others = done.stdout.partition("LEFT ")[2].partition(" END")[0].partition(" BUT ")
    return own.split(), others.split()


def test_what_clones_of_the_target_left_is_dropped(site, tmp_path):
    snapshot = site.clone("acmetest/C-1") and site.snapshot()["snapshot"]["id"]
    site.ok("target", "rolled_back", run_id="acmetest/C-1")
    site.ok("target", "staged", snapshot=snapshot, run_id="acmetest/C-2")
    live = site.content(site.target)
    own = [name for name in site.schemas() if name != "edgeencryption"]
    # That of another target, whose database has a name that begins in the same way.
    site.target.sql("CREATE DATABASE edgeencryption_dev_stage", "CREATE TABLE edgeencryption_dev_stage.edge_clone_journal"
                    " AS SELECT seq, at, phase, snapshot, 'acmedev/C-1' AS run_id, detail FROM edgeencryption_stage.edge_clone_journal")
    listed = play(site, tmp_path, "list_left")
    assert listed.returncode == 0 and left(listed) == (sorted(own), ["edgeencryption_dev_stage"]), listed.stdout
    assert len(own) >= 2 and "edgeencryption_stage" in own and site.schemas() == sorted([*own, "edgeencryption", "edgeencryption_dev_stage"])

    young = play(site, tmp_path, "list_left", "forget")
    assert young.returncode != 0 and "keep_for is 691200 s" in young.stdout, young.stdout
    done = play(site, tmp_path, "list_left", "forget", "list_left", token_db_keep_for=0)
    assert done.returncode == 0 and left(done) == ([], ["edgeencryption_dev_stage"]), done.stdout
    assert site.schemas() == ["edgeencryption", "edgeencryption_dev_stage"] and site.content(site.target) == live


@pytest.mark.long
def test_the_playbook_cleans_up_beside_the_token_database(site, tmp_path):
    """Of a target whose proxies are gone already."""
    site.clone("acmetest/C-1")
    login = site.target.login("edge_clone_write", "write-password")
    values = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "edge_target_name": "acmetest", "edge_target_token_db": login,
        "edge_state_dir": str(tmp_path / "state"), "edge_secret": "0123456789abcdef",
    }  # fmt: skip
    groups = {"edge_runner": {"hosts": {"runner": {}}}, "edge_source_proxies": {}, "edge_target_proxies": {}}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"vars": values, "children": groups}}))
    command = ("edge_encryption.clone.clean_up_clone", "-i", str(inventory))
    before = site.schemas()
    (previous,) = set(before) - {"edgeencryption"}
    listed = ansible_playbook(*command)
    assert listed.returncode == 0 and f"Beside the token database: {previous}." in listed.stdout and site.schemas() == before, listed.stdout
    young = ansible_playbook(*command, "-e", "edge_confirm_target=acmetest")
    assert young.returncode != 0 and "keep_for is 691200 s" in young.stdout and site.schemas() == before, young.stdout
    done = ansible_playbook(*command, "-e", "edge_confirm_target=acmetest", "-e", "edge_keep_for=0")
    assert done.returncode == 0 and site.schemas() == ["edgeencryption"], done.stdout
