# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks that decide by the journal and the inventory alone: no instance, no database and no proxy is there, and none may be asked."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS

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
        self.journal.record("C1", "t00_preflight", "done", {"target_proxies": list(hosts)})
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
    pytest.param((*BEGUN, "edge_target_3"), False, True, marks=pytest.mark.long),  # before t30, the target itself is asked
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


@pytest.mark.parametrize("playbook", ["clone_with_tokenization", "roll_back_clone", "rotate_key", "resign_rules"])
def test_nothing_is_done_without_the_runner_that_looks_first(site, playbook):
    site.begin(*BEGUN)
    done = site.play(
        "edge_encryption.clone." + playbook, "--limit", "edge_target_proxies", "-e", "edge_clone_number=C1", "-e", "edge_confirm_target=acmetest",
        edge_old_key_aliases=["old"], edge_users_kept_away=True,
    )  # fmt: skip
    assert done.returncode != 0 and changes(done) == 0, done.output
    assert "runner, the host of edge_runner, takes no part" in done.output, done.output


@pytest.fixture
def steps(site):
    """Return a function that takes steps and t99 of a run, with nothing to do in them, and returns what became of the run.

    The files of C(later) are the timeline's own.
    """

    def take(*steps, later=("t99_report",), arguments=(), **variables):
        role = {
            "ansible.builtin.include_role": {"name": "edge_encryption.clone.clone_journal", "tasks_from": "{{ entry.role }}"},
            "loop": [{"role": "open"}, *({"role": "step", "step": step} for step in steps)],
            "loop_control": {"loop_var": "entry"},
            "vars": {"clone_journal_step": "{{ entry.step | default('') }}", "clone_journal_roles": []},
        }
        current = {"ansible.builtin.set_fact": {"instance_clone_current": {"number": "C1"}}}
        timeline = ROOT / "build" / "collections" / "ansible_collections" / "edge_encryption" / "clone" / "playbooks" / "timeline"
        play = {"hosts": "edge_runner", "gather_facts": False, "vars_files": [str(timeline / "vars" / "clone.yml")], "tasks": [current, role]}
        end = [{"ansible.builtin.import_playbook": str(timeline / (name + ".yml"))} for name in later]
        (site.folder / "steps.yml").write_text(json.dumps([play, *end]))
        done = site.play(str(site.folder / "steps.yml"), *arguments, **variables)
        return done, site.journal.run("C1"), site.journal.lock()

    return take


def test_a_run_pauses_after_a_step_and_the_next_start_goes_on(steps):
    done, run, lock = steps("t90_verify", "t95_open", edge_last_step="t90_verify")
    assert done.returncode == 0 and run["result"] == "paused" and lock is None, done.output
    assert list(run["steps"]) == ["t90_verify"] and "Clone C1 to acmetest: paused" in done.output
    done, run, lock = steps("t90_verify", "t95_open")
    assert done.returncode == 0 and run["finished"] and lock is None, done.output
    assert list(run["steps"]) == ["t90_verify", "t95_open", "t99_report"]


@pytest.mark.parametrize(("arguments", "signatures"), [
    ((), "resigned"),
    pytest.param(("--check",), "resigned", marks=pytest.mark.long),
    pytest.param(("--check",), "recreated", marks=pytest.mark.long),
])  # fmt: skip
def test_a_start_that_ends_early_passes_every_later_step_by(steps, arguments, signatures):
    done, run, _lock = steps(
        "t00_preflight", later=STEP_IDS[1:], arguments=arguments, target=("edge_target_1",), edge_last_step="t00_preflight", edge_signature_option=signatures,
    )  # fmt: skip
    assert done.returncode == 0, done.output
    assert (run["result"], list(run["steps"])) == ((None, []) if arguments else ("paused", ["t00_preflight"])), run


def test_a_run_is_not_green_before_its_proxies_are_back_in_service(steps):
    done, run, lock = steps("t90_verify")
    assert done.returncode != 0 and "t95_open is not done" in done.output and run["result"] == "red" and lock is None, done.output


class Leftovers(Site):
    """What clones leave, made by hand: on the runner, and on one proxy."""

    def __init__(self, folder):
        super().__init__(folder)
        self.home = folder / "edge_target_1"
        settings = {"keystore.path": "keystore/keystore.jceks", "proxy.host": "127.0.0.1", "proxy.https.port": 9}
        text = "".join("edgeencryption.{} = {}\n".format(*setting) for setting in settings.items())
        self.kept = [self.write(self.home, "conf/edgeencryption.properties", text)]
        self.kept += [self.write(self.home, name) for name in ("startup.sh", "shutdown.sh", "keystore/keystore.jceks", "keys/a128", "cache/c", "conf/old.bak")]
        self.left = [self.write(self.home, name) for name in (
            "before_clone/acmetest/C1/opt/keystore.jceks", "before_roll_back/acmetest/C1/x", "cache.20260131T235959.123456Z/c",
            "conf/edgeencryption.properties.20260131T235959Z.bak", "keystore/keystore.jceks.20260131T235959Z.1.bak", "keys/a128.20260131T235959Z.bak",
            "conf/.edgeencryption.properties.x1y2.tmp", ".cache.x1y2.tmp/c",
        )]  # fmt: skip
        state = folder / "state"
        self.left += [self.write(state, name) for name in (
            "snapshots/safety/acmetest/C1/20260131T235959Z-1a2b3c/manifest.json", "resign/acmetest.jsonl", "plan.json",
        )]  # fmt: skip
        self.shared = self.write(state, "snapshots/20260131T235959Z-4d5e6f/manifest.json")
        self.kept.append(self.write(state, "snapshots/notes.txt"))

    def write(self, root, name, text="x"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def end(self, result, clone="C1"):
        self.journal.open(clone, "me")
        self.journal.record(clone, "t30_clone_start", "done")
        self.journal.close(clone, result, "me")
        self.left.append(Path(self.journal.run(clone)["file"]))

    def clean_up(self, *arguments, **variables):
        return self.play("edge_encryption.clone.clean_up_clone", *arguments, target=("edge_target_1",), **variables)

    def files(self):
        return {path for path in self.folder.rglob("*") if path.is_file() and path.name != "inventory.json"}


@pytest.fixture
def leftovers(tmp_path):
    return Leftovers(tmp_path)


def changes(done):
    return sum(map(int, re.findall(r"changed=(\d+)", done.output)))


def test_clones_are_cleaned_up_once_the_target_is_confirmed(leftovers):
    leftovers.end("green")
    before = leftovers.files()
    listed = leftovers.clean_up()
    assert listed.returncode == 0 and changes(listed) == 0 and leftovers.files() == before, listed.output
    named = [leftovers.folder / "state" / name for name in ("journal/acmetest", "snapshots/safety/acmetest", "resign/acmetest.jsonl", "plan.json")]
    named += [path for path in leftovers.left if path.suffix in (".bak", ".tmp")] + [leftovers.home / "before_clone", leftovers.shared.parent]
    assert [path for path in named if str(path) not in listed.output] == []
    assert "Nothing was removed. To remove it: -e edge_confirm_target=acmetest" in listed.output
    assert "Needed while the instance can be rolled back: what belongs to acmetest/C1" in listed.output

    other = leftovers.clean_up("-e", "edge_confirm_target=acmeprod", edge_keep_for=0)
    assert other.returncode != 0 and "you confirmed acmeprod" in other.output
    young = leftovers.clean_up("-e", "edge_confirm_target=acmetest")
    assert young.returncode != 0 and "acmetest/C1 ended less than 691200 s ago" in young.output and leftovers.files() == before
    tried = leftovers.clean_up("-e", "edge_confirm_target=acmetest", "--check", edge_keep_for=0)
    assert tried.returncode == 0 and changes(tried) > 0 and leftovers.files() == before, tried.output

    done = leftovers.clean_up("-e", "edge_confirm_target=acmetest", edge_keep_for=0)
    assert done.returncode == 0, done.output
    assert leftovers.files() == set(leftovers.kept), leftovers.files() ^ set(leftovers.kept)
    assert not (leftovers.folder / "state" / "journal").exists() and not (leftovers.home / "before_clone").exists()


@pytest.mark.parametrize("playbook", ["clean_up_clone", "prune_clone"])
def test_copies_of_keys_stay_as_long_as_nobody_has_looked_who_needs_them(leftovers, playbook):
    leftovers.begin("edge_target_1")
    before = leftovers.files()
    done = leftovers.play(
        "edge_encryption.clone." + playbook, "--limit", "edge_target_proxies", "-e", "edge_clone_number=C1", "-e", "edge_confirm_target=acmetest",
        target=("edge_target_1",), edge_keep_for=0,
    )  # fmt: skip
    assert done.returncode != 0 and leftovers.files() == before, done.output
    assert "runner, the host of edge_runner, takes no part" in done.output, done.output


@pytest.mark.long
def test_journals_stay_until_every_proxy_is_cleaned_up(leftovers):
    """The host of the proxy is lost after it was looked at; Ansible goes on to the runner."""
    leftovers.end("green")
    journal = Path(leftovers.journal.run("C1")["file"])
    lost = "{{ 'ssh' if proxies_halves is defined and inventory_hostname != 'runner' else 'local' }}"
    done = leftovers.clean_up("-e", "edge_confirm_target=acmetest", edge_keep_for=0, ansible_connection=lost, ansible_host="127.0.0.1", ansible_port=9)
    assert done.returncode != 0 and journal.exists(), done.output
    assert "edge_target_1 could not be reached, and what lies there is not removed" in done.output, done.output
    done = leftovers.clean_up("-e", "edge_confirm_target=acmetest", edge_keep_for=0)
    assert done.returncode == 0 and not journal.exists(), done.output


@pytest.mark.long
def test_what_other_targets_use_is_kept(leftovers):
    leftovers.end("rolled_back")  # needs no wait
    Journal(str(leftovers.folder / "state" / "journal"), "acmedev").open("C7", "me")
    done = leftovers.clean_up("-e", "edge_confirm_target=acmetest")
    assert done.returncode == 0 and "stay, because acmedev may use them" in done.output, done.output
    assert leftovers.files() == {*leftovers.kept, leftovers.shared, *(leftovers.folder / "state" / "journal" / "acmedev").rglob("*.*")}


@pytest.mark.parametrize("result", [None, pytest.param("red", marks=pytest.mark.long)])
def test_nothing_is_removed_while_a_run_is_open(leftovers, result):
    leftovers.begin("edge_target_1")
    if result:
        leftovers.journal.close("C1", result, "me")
    before = leftovers.files()
    done = leftovers.clean_up("-e", "edge_confirm_target=acmetest", edge_keep_for=0)
    assert done.returncode != 0 and "The clone acmetest/C1 is not finished" in done.output and leftovers.files() == before, done.output


@pytest.mark.long
def test_a_proxy_that_is_held_keeps_what_it_needs_to_be_let_go(leftovers):
    leftovers.end("abandoned")
    (leftovers.home / "startup.sh").rename(leftovers.home / "startup.sh.held")
    before = leftovers.files()
    done = leftovers.clean_up("-e", "edge_confirm_target=acmetest")
    assert done.returncode != 0 and "edge_target_1 is held down" in done.output and leftovers.files() == before, done.output
