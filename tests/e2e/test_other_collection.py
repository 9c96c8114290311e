# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody else's collection depends on this one and uses its roles, with nothing but what their documentation says."""

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import ANSIBLE_PLAYBOOK, COLLECTION, Bench, environment, running_proxies
from edgelab.inventory import write_inventory

pytestmark = pytest.mark.long
GALAXY = """
namespace: acme
name: nightly
version: 1.0.0
readme: README.md
authors: [Acme]
license: [GPL-3.0-or-later]
dependencies: {"edge_encryption.clone": "*"}
"""
PATCH_NIGHT = """
- name: Restart the target proxies, one after the other, at most while one is down
  hosts: edge_target_proxies
  gather_facts: false
  serial: 1
  any_errors_fatal: true
  tasks:
    - name: Take it out of service, stop it, start it, put it back
      ansible.builtin.include_role:
        name: edge_encryption.clone.proxies
        tasks_from: "{{ entry }}"
      loop: [stop, clear_cache, start, in_service]
      loop_control: {loop_var: entry}
      vars:
        proxies_home: "{{ edge_home }}"
        proxies_timeout: 90
        proxies_out_of_service_tasks: "{{ edge_out_of_service_tasks }}"
        proxies_in_service_tasks: "{{ edge_in_service_tasks }}"

- name: Snapshot the source's tokens
  hosts: edge_runner
  gather_facts: false
  tasks:
    - name: Snapshot
      ansible.builtin.include_role:
        name: edge_encryption.clone.token_db
        tasks_from: snapshot
      vars:
        token_db_source: "{{ edge_source_token_db }}"
        token_db_snapshot_dir: "{{ edge_state_dir }}/nightly"
        token_db_encryption_key: "{{ edge_secret }}"
        token_db_run_id: nightly
"""


def test_roles_work_in_another_collection(bench: Bench, tmp_path: Path) -> None:
    source, installed = tmp_path / "acme", tmp_path / "installed"
    (source / "playbooks").mkdir(parents=True)
    (source / "galaxy.yml").write_text(GALAXY)
    (source / "README.md").write_text("# acme.nightly\n")
    (source / "playbooks" / "patch_night.yml").write_text("---" + PATCH_NIGHT)
    galaxy = [str(ANSIBLE_PLAYBOOK.with_name("ansible-galaxy")), "collection"]
    for built, folder in ((COLLECTION, tmp_path / "ours"), (source, tmp_path / "theirs")):
        subprocess.run([*galaxy, "build", "--output-path", str(folder), str(built)], check=True, capture_output=True)
    (ours,), (theirs,) = (tmp_path / "ours").glob("*.tar.gz"), (tmp_path / "theirs").glob("*.tar.gz")
    # Without the dependency in the command, galaxy would have to ask a server for it.
    subprocess.run([*galaxy, "install", "--offline", "-p", str(installed), str(ours), str(theirs)], check=True, capture_output=True, env=dict(os.environ))
    before = running_proxies(bench.proxies("target"))
    inventory = write_inventory(bench.lab, bench.folder / "run")
    command = [str(ANSIBLE_PLAYBOOK), "acme.nightly.patch_night", "-i", str(inventory)]
    done = subprocess.run(command, env=environment(installed), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    after = running_proxies(bench.proxies("target"))
    assert len(after) == len(before) == 3 and not after & before
    assert list((bench.folder / "run" / "state" / "nightly").rglob("manifest.json"))
