# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of ansible that the README and the guides show, typed as it stands there into the shell of the example project, in the lab.

Only the number of the clone is another. What the pages show as commands comes in check mode first, as a careful reader would do it.
"""

import json
import re
import shlex
import shutil
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.edge_encryption.clone.tests.e2e.bench import ANSIBLE_PLAYBOOK, COLLECTION, Bench, Run, environment, running_proxies, wait_until
from ansible_collections.edge_encryption.clone.tests.guard.test_examples import GUIDES, commands_of
from edgelab.inventory import write_inventory

PLAYBOOK = "ansible-playbook edge_encryption.clone."
CONFIRMED = " -e edge_confirm_target=acmetest"
NUMBER = "CLN0001234"
VAULT_PASSWORD = "a password of the vault"


class Reader:
    """Somebody who types what the pages say into a copy of the example project; of its inventory, only the lab's is there, with a secret in a vault."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.typed: t.Set[str] = set()
        self.project = bench.folder / "project"
        shutil.copytree(COLLECTION / "examples" / "project", self.project, ignore=shutil.ignore_patterns("inventory*"))
        (self.project / "inventory").mkdir(mode=0o700)
        lab = write_inventory(bench.lab, bench.folder / "run", **bench.variables)
        content = json.loads(lab.read_text())
        secret = content["all"]["vars"].pop("edge_secret")
        (self.project / "inventory" / "hosts.json").write_text(json.dumps(content))
        vault = self.project / "inventory" / "group_vars" / "all" / "vault.yml"
        vault.parent.mkdir(parents=True)
        vault.write_text(yaml.safe_dump({"edge_secret": secret}))
        self.password_file = bench.folder / "vault_password"
        self.password_file.write_text(VAULT_PASSWORD + "\n")
        self._shell(f"ansible-vault encrypt {vault}")
        assert vault.read_text().startswith("$ANSIBLE_VAULT")

    def start(self, command: str, also: str = "") -> "subprocess.Popen[bytes]":
        """Type a command of a page; with C(also) at its end, which the page names beside it."""
        self.typed.add(command)
        text = command.replace("<target instance>", "acmetest").replace(NUMBER, self.bench.number) + also
        with (self.bench.folder / "run" / "output.txt").open("wb") as output:
            # Without a terminal, a question is answered from standard input.
            process = subprocess.Popen(
                ["bash", "-c", text], cwd=self.project, env=self._environment("--ask-vault-pass" not in text), stdin=subprocess.PIPE, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        assert process.stdin
        process.stdin.write(VAULT_PASSWORD.encode() + b"\n" if "--ask-vault-pass" in text else b"")
        process.stdin.close()
        return process

    def type(self, command: str, also: str = "") -> Run:
        process = self.start(command, also)
        process.wait()
        return self.bench.result(process)

    def well(self, command: str, also: str = "", check: bool = True) -> Run:
        """Type it in check mode first, then for real; both must be fine."""
        if check and "--check" not in command:
            looked = self.type(command, also + " --check")
            assert looked.returncode == 0, f"{command}: {looked.output[-3000:]}"
        done = self.type(command, also)
        assert done.returncode == 0, f"{command}: {done.output[-3000:]}"
        return done

    def play(self, tasks: t.Any) -> None:
        """Play tasks that a page shows on the runner, in check mode and for real."""
        text = json.dumps([{"hosts": "edge_runner", "gather_facts": False, "tasks": tasks}])
        text = text.replace("/var/lib/edge_clone", str(self.bench.folder / "run" / "state")).replace(NUMBER, self.bench.number)
        (self.project / "page.yml").write_text(text)
        for check in (" --check", ""):
            self._shell("ansible-playbook page.yml" + check)

    def _shell(self, text: str) -> None:
        done = subprocess.run(shlex.split(text), cwd=self.project, env=self._environment(True), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def _environment(self, vault: bool) -> t.Dict[str, str]:
        known = environment(self.bench.collections)
        return dict(known, PATH=f"{ANSIBLE_PLAYBOOK.parent}:{known['PATH']}", **({"ANSIBLE_VAULT_PASSWORD_FILE": str(self.password_file)} if vault else {}))


def clone(reader: Reader, command: str, also: str = "") -> Run:
    """Type the command that clones; the clone begins as soon as the run waits for it."""
    process = reader.start(command, also)
    reader.bench.start_clone_when_awaited("run", lambda: process.poll() is not None)
    process.wait()
    return reader.bench.result(process)


@pytest.mark.long
def test_what_the_pages_say_works_as_it_stands_there(small: Bench) -> None:
    homes = small.proxies("target")
    reader = Reader(small)
    small.schedule()

    # Before the clone.
    for command in ("plan_clone", "plan_clone -i inventory", "plan_clone --flush-cache", "plan_clone --ask-vault-pass"):
        assert "Expected outage" in reader.well(PLAYBOOK + command, check=command == "plan_clone").output
    reader.well(PLAYBOOK + "clone_with_tokenization --check")
    reader.well("ansible-playbook clone_with_tokenization.yml --check")

    # The clone, and what can be done after it at any time.
    done = clone(reader, "ansible-playbook clone_with_tokenization.yml -e edge_confirm_target=<target instance>")
    assert done.returncode == 0 and f"Clone {small.number} to acmetest: green" in done.output, done.output[-3000:]
    again = reader.type(PLAYBOOK + "clone_with_tokenization" + CONFIRMED, f" -e edge_clone_number={small.number}")
    assert again.returncode == 0 and again.changes == [], (again.changes, again.output[-3000:])
    assert small.number in reader.well(PLAYBOOK + "report_clone").output
    assert "0 changed or deleted since" in reader.well(PLAYBOOK + "verify_clone").output
    for command in ("resign_rules --check", "resign_rules -i inventory"):
        reader.well(PLAYBOOK + command, CONFIRMED)
    before = running_proxies([*homes, *small.proxies("source")])
    reader.well(PLAYBOOK + "restart_proxies -i inventory")
    # The lab's balancer serves the proxies of the target only.
    reader.well(PLAYBOOK + "restart_proxies -i inventory -e edge_restart=edge_source_proxies", " -e edge_out_of_service_tasks= -e edge_in_service_tasks=")
    after = running_proxies([*homes, *small.proxies("source")])
    assert len(before) == len(after) and not before & after
    rotate = PLAYBOOK + """rotate_key -e '{"edge_old_key_aliases": ["aes128prod", "aes256prod"]}' -e edge_confirm_target=<target instance>"""
    reader.well(rotate)

    # Back to before, and nothing left; not before an instance cannot be rolled back any more, as the guide says.
    small.change_request(state="Rollback Requested")
    wait_until(lambda: next(row for row in small.raw("source", "clone_instance") if row["clone_id"] == small.number)["state"] == "Rolled back")
    reader.well(PLAYBOOK + f"roll_back_clone -e edge_clone_number={NUMBER}" + CONFIRMED)
    prune, clean_up = PLAYBOOK + f"prune_clone -e edge_clone_number={NUMBER}" + CONFIRMED, PLAYBOOK + "clean_up_clone"
    for command in (prune, clean_up + CONFIRMED):
        young = reader.type(command)
        assert young.returncode != 0 and re.search("7 days|691200 s", young.message), young.output[-3000:]
    reader.well(prune, " -e edge_keep_for=0")
    assert "Nothing was removed" in reader.well(clean_up).output
    reader.well(clean_up + CONFIRMED, " -e edge_keep_for=0")

    # A run that went no further than t30, whose clone is then canceled before it starts.
    small.schedule()
    small.wait_until_scheduled()
    small.stop_lead = 600
    paused = clone(reader, PLAYBOOK + "clone_with_tokenization" + CONFIRMED, " -e edge_last_step=t30_clone_start -e edge_stop_lead=600")
    assert paused.returncode == 0, paused.output[-3000:]
    assert not running_proxies(homes) and "the target proxies must be down" in reader.well(PLAYBOOK + "make_safe").output
    small.change_request(state="Canceled")
    reader.well("""ansible edge_target_proxies -m edge_encryption.clone.proxy_service -a "home={{ edge_home }} state=started hold=false\"""")
    assert len(running_proxies(homes)) == len(homes)
    recovery = (COLLECTION / "docs" / "docsite" / "rst" / "guide_recovery.rst").read_text()
    (block,) = re.findall(r"(?m)^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", recovery)
    reader.play(yaml.safe_load(block))
    assert small.journal()[-1]["result"] == "abandoned" and "No run of acmetest is open" in reader.well(PLAYBOOK + "make_safe").output

    assert {" ".join(command.split()) for page in GUIDES for command in commands_of(page)} == reader.typed
