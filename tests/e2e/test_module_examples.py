# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of every module, as they stand in its documentation, played in the lab: in check mode, then for real.

Only names and addresses are those of the lab. They are played in the order of a story, since some need what others have done.
"""

import base64
import importlib
import json
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, Run, wait_until
from edgelab import demo_data

NAMESPACE = "edge_encryption.clone."
MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
# The parts of the story; between them the lab goes on as well.
REQUESTED = ("instance_clone",)
SCHEDULED = (
    "edge_instance_info", "edge_property_info", "edge_property", "edge_keystore_info", "edge_key_file", "edge_key_file_info", "proxy_service_info",
    "change_request_info", "edge_service_account", "edge_proxy_record", "edge_proxy_record_info", "edge_canary", "edge_value_info", "edge_rule_info",
    "edge_encryption_key_info", "edge_encryption_key", "edge_key_rotation", "edge_key_usage_info", "edge_keystore_entry", "edge_token_job_info",
    "clone_journal", "clone_journal_info", "edge_rule_export", "clone_plan_info", "mysql_token_db_info", "proxy_service",
)  # fmt: skip
EXPORTED = ("edge_rule_export_info", "edge_rule_recreate", "edge_rule_resign")
PROXIES_DOWN = ("mysql_token_db_sync", "edge_settings_copy", "edge_settings_copy_info", "edge_cache")
STARTED = ("instance_clone_info",)
WITHOUT_PATTERNS = ("edge_encrypted_data_info",)
ELSEWHERE = {
    "Restart a proxy that systemd runs": "tests/integration/proxy_host/test_proxy_service_systemd.py, and on booted hosts test_hosts.py",
    "Put it live on a server that two others replicate, once they hold it as well": "tests/integration/test_token_db_replicas.py",
}
# What another task would have had to do for real.
NOT_IN_CHECK_MODE = ("Cancel it", "Load it beside the live database of the target", "Put it live while the proxies are down")


def examples(module: str) -> t.List[Row]:
    return t.cast(t.List[Row], yaml.safe_load(importlib.import_module(f"ansible_collections.edge_encryption.clone.plugins.modules.{module}").EXAMPLES))


def played(module: str, check: bool) -> t.List[Row]:
    return [task for task in examples(module) if task.get("name") not in (*ELSEWHERE, *(NOT_IN_CHECK_MODE if check else ()))]


class Story:
    """A lab with two target proxies, and the examples as plays on it."""

    def __init__(self, bench: Bench) -> None:
        bench.keep_target_proxies(2)
        bench.fill(10)
        self.bench, self.lab = bench, bench.lab
        self.state = bench.folder / "examples" / "state"
        self.state.mkdir(mode=0o700, parents=True)
        self.key_file = bench.folder / "examples" / "snapshot.key"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text("a key of the lab that encrypts snapshots\n")
        change = {"sys_id": "c" * 32, "number": "CHG0030001", "state": "-1", "approval": "approved"}
        bench.control("source", "POST", "/raw/change_request", {"rows": [change]})
        self.profile = bench.leave_rules_out()
        bench.control("source", "POST", "/raw/clone_profile", {"rows": [{"sys_id": self.profile, "name": "Edge"}]})

    def run(self, modules: t.Sequence[str], check: bool) -> Run:
        """Play all examples of the modules, one play a module."""
        playbook = self.bench.folder / "examples" / "examples.yml"
        tasks = {module: [self._here(task) for task in played(module, check)] for module in modules}
        plays = [{"name": module, "hosts": "edge-prod-1", "gather_facts": False, "tasks": tasks[module]} for module in modules]
        playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
        inventory = self.bench.folder / "examples" / "inventory.json"
        inventory.touch(mode=0o600)
        inventory.write_text(json.dumps(self._inventory()))
        return self.bench.play(str(playbook), "-i", str(inventory), *(["--check"] if check else []), state="examples-run")

    def _here(self, task: Row) -> Row:
        """Put the lab's names and addresses into a task."""
        instances, proxies = self.lab["instances"], self.lab["proxies"]["target"]
        side = "source" if task.get("delegate_to") == "source-proxy-1" else "target"
        places = {
            "/opt/EdgeProxy_443": self.lab["proxies"][side][0]["home"],
            "/usr/local/bin/check_edge_properties": "/usr/bin/test -s",
            "/var/lib/edge_clone": str(self.state),
            "/etc/edge_clone/snapshot.key": str(self.key_file),
            "/etc/pki/tokens.pem": self.lab["token_db"]["target"]["ca"],
            "https://acmeprod.service-now.com": instances["source"]["url"],
            "https://acmetest.service-now.com": instances["target"]["url"],
            "https://edge1.test.example.com:8443": proxies[0]["url"],
            "https://edge1.example.com:8443": proxies[0]["url"],
            "https://edge2.example.com:8443": proxies[1]["url"],
            "edge1.test.example.com": proxies[0]["url"].split("/")[2].split(":")[0],
            '"port": 8443': '"port": ' + proxies[0]["url"].split(":")[2],
            "edge.canary": "demo.user",
            "CLN0001234": self.bench.number or "CLN0001234",
            "2026-01-31 22:00:00": "{{ tonight }}",
            "2026-01-31 23:10:00": "{{ later }}",
        }
        for known, place in (("source", "tokens.prod.example.com"), ("target", "tokens.test.example.com")):
            database = self.lab["token_db"][known]
            places[f'"login_host": "{place}"'] = json.dumps({"login_host": database["host"], "login_port": database["port"]})[1:-1]
        text = json.dumps(task)
        for there, here in places.items():
            text = text.replace(there, here)
        task = json.loads(text)
        for name, arguments in task.items():
            if not name.startswith(NAMESPACE):
                continue
            # The lab has a certificate authority of its own.
            if isinstance(arguments.get("instance"), dict):
                arguments["instance"]["ca_path"] = self.lab["ca"]
            if {"proxy_url", "proxy_urls"} & set(arguments):
                arguments["proxy_ca_path"] = self.lab["ca"]
        return task

    def _inventory(self) -> Row:
        store = {"exported": {"aes128": base64.b64encode(b"sixteen byte key").decode()}}
        return {"all": {"vars": self._variables(), "hosts": {"edge-prod-1": {"store": store}, "source-proxy-1": {}}}}

    def _variables(self) -> Row:
        """Everything that an example takes from somewhere else."""
        lab, instances = self.lab, self.lab["instances"]
        login = {
            side: {"host": instances[side]["url"], "username": "edge.automation", "password": instances[side]["users"]["edge.automation"], "ca_path": lab["ca"]}
            for side in instances
        }
        encrypted = sorted({row["table"] for row in self.bench.raw("source", "sys_encryption_configuration")})
        return {
            "acmeprod": login["source"], "acmetest": login["target"],
            "acmeprod_password": login["source"]["password"], "acmetest_password": login["target"]["password"],
            "acmetest_canary_password": instances["target"]["users"]["demo.user"], "edge_proxy_password": instances["target"]["users"]["edge.proxy"],
            "store_password": lab["keystore_password"]["target"], "target_store_password": lab["keystore_password"]["target"],
            "source_store_password": lab["keystore_password"]["source"], "transfer_password": "a password for the way",
            "run_salt": "a salt of the lab, long enough",
            "comparison_salt": "another salt of the lab", "source_static_iv": "0011223344556677", "source_password": lab["token_db"]["source"]["password"],
            "target_password": lab["token_db"]["target"]["password"], "clone": {"backup_completed": self.bench.backup["completed"]},
            "due": {"clone": {"exclusions": [*encrypted, "sys_audit"], "options": {"filter_attachment_data": True}}},
            "source_keystore": {"entries": []}, "target_keystore": {"entries": []}, "target_keys": {"entries": [{"alias": "aes256test", "default": True}]},
            "tonight": "{{ '%Y-%m-%d 22:00:00' | ansible.builtin.strftime(now().timestamp() + 86400) }}",
            "later": "{{ '%Y-%m-%d 23:10:00' | ansible.builtin.strftime(now().timestamp() + 86400) }}",
        }  # fmt: skip


def test_no_module_is_left_out() -> None:
    assert sorted([*REQUESTED, *SCHEDULED, *EXPORTED, *PROXIES_DOWN, *STARTED, *WITHOUT_PATTERNS]) == sorted(path.stem for path in MODULES.glob("*.py"))
    assert set(ELSEWHERE) <= {task.get("name") for path in MODULES.glob("*.py") for task in examples(path.stem)}


@pytest.mark.long
def test_examples_do_what_they_say(shared: Bench) -> None:
    story = Story(shared)

    def play(*modules: str, check: bool) -> None:
        run = story.run(modules, check)
        assert run.returncode == 0, run.message + run.output[-6000:]
        (numbers,) = run.recap.values()
        assert numbers["ok"] == sum(len(played(module, check)) for module in modules) and numbers["skipped"] == 0, run.output[-6000:]

    def check_and_play(*modules: str) -> None:
        untouched = shared.world()
        play(*modules, check=True)
        assert shared.world() == untouched
        play(*modules, check=False)

    check_and_play(*REQUESTED)
    shared.schedule(profile=story.profile)
    check_and_play(*SCHEDULED)
    check_and_play(*EXPORTED)
    for home in shared.proxies("target"):
        subprocess.run([home / "shutdown.sh"], check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: "true" not in [row["online"] for row in shared.raw("target", "sys_encryption_proxy")])
    check_and_play(*PROXIES_DOWN)
    demo_data.bring_forward(shared.lab, shared.number, 3)
    # What follows only reads, and the lab itself changes the world meanwhile.
    play(*STARTED, check=False)
    for row in shared.raw("source", "sys_encryption_pattern"):
        shared.control("source", "DELETE", "/raw/sys_encryption_pattern/" + row["sys_id"])
    for check in (True, False):
        play(*WITHOUT_PATTERNS, check=check)
