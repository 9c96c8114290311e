# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each option of the encryption keys with each option of the signatures, without a token database; with one, the other files of this folder have them."""

import base64
import itertools
import os
import subprocess
import typing as t

import jks
import pytest
import requests

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, ask, hashes, running_proxies, wait_until
from ansible_collections.edge_encryption.clone.tests.e2e.test_killed import kill_at
from edgelab import demo_data, proxy_home

pytestmark = pytest.mark.long
SAME_KEY, PRESERVED_KEY, ROTATED_KEY = (f"edge_encryption.clone.{name}" for name in ("clone_same_key", "clone_without_encrypted_data", "clone_rotate_key"))
SIGNATURES = ("copied_key", "resigned", "recreated")
RULES = ("sys_encryption_rule", "sys_encryption_configuration")
KEYS = ("sys_encryption_key", "sys_encryption_key_configuration", "sys_encryption_proxy_key")
TOKENS = ("t10_source_backup", "t35_stage", "t50_clone_end")


@pytest.fixture
def plain(bench: Bench) -> Bench:
    """A small lab whose values need no token."""
    bench.keep_target_proxies()
    bench.encrypt_without_tokens()
    bench.fill(6)
    bench.variables["edge_verify_records"] = [dict(record, attachments=False) for record in demo_data.verify_records(6)]
    bench.variables["edge_canaries"] = [{"table": "incident", "field": "short_description", "values": {"number": "CANARY"}}]
    target = bench.lab["instances"]["target"]
    login = {"username": "demo.user", "password": target["users"]["demo.user"]}
    bench.variables["edge_canary_instance"] = dict(login, host=target["url"], ca_path=bench.lab["ca"])
    return bench


def schedule(bench: Bench, encryption: str, signatures: str, without: t.Sequence[str] = ()) -> None:
    """Request a clone that fits the options; C(without) names tables that its profile forgets."""
    excluded: t.List[str] = []
    preserved: t.Dict[str, str] = {}
    options = {}
    if encryption == PRESERVED_KEY:
        excluded += ["incident", "u_contract", "sys_audit", *KEYS]
        preserved.update({table: "" for table in (*KEYS, "incident", "u_contract")})
        options["filter_attachment_data"] = "true"
    if signatures == "recreated":
        excluded += RULES
        preserved["sys_encryption_rule"] = "sys_created_by=glide.maint"
    excluded = [table for table in excluded if table not in without]
    if excluded:
        options["profile"] = bench.profile(excluded, {table: condition for table, condition in preserved.items() if table not in without})
    bench.variables["edge_signature_option"] = signatures
    bench.schedule(**options)


def keys(bench: Bench) -> t.Dict[str, t.List[Row]]:
    return {table: sorted(bench.raw("target", table), key=lambda row: row["sys_id"]) for table in KEYS[:2]}


@pytest.mark.parametrize(("encryption", "signatures"), list(itertools.product((SAME_KEY, PRESERVED_KEY, ROTATED_KEY), SIGNATURES)))
def test_without_a_token_database(plain: Bench, encryption: str, signatures: str) -> None:
    home = plain.proxies("target")[0]
    before = {"tokens": plain.tokens("target"), "schemas": plain.schemas("target"), "keys": keys(plain), "incidents": len(plain.raw("target", "incident"))}
    keystore = hashes(home)["keystore/keystore.jceks"]
    # Neither database can be reached by this user: none is needed.
    plain.variables.update(edge_source_token_db={}, edge_target_token_db={})
    schedule(plain, encryption, signatures)
    run = plain.run(playbook=encryption, edge_tokenization=False, edge_rotation_poll_interval=1)
    assert run.returncode == 0, run.output[-5000:]
    assert run.report["result"] == "green" and run.report["open"] == []
    assert {step["id"] for step in run.report["steps"] if step["status"] != "done"} == {*TOKENS} | ({"t80_rotate_key"} if encryption != ROTATED_KEY else set())
    assert (plain.tokens("target"), plain.schemas("target")) == (before["tokens"], before["schemas"])
    verify = run.report["verify"]
    assert verify["failures"] == [] and verify["readable_through_proxy"] == verify["records"] > 10 and verify["canaries"] == ["incident"]
    assert not [row for row in plain.raw("target", "incident") if row["number"] == "CANARY"]
    state = ask("GET", plain.lab["proxies"]["target"][0]["control_url"] + "/state")
    assert state["verify"] == {"configurations": True, "rules": True} and not state["locked"]
    if encryption == PRESERVED_KEY:
        assert keys(plain) == before["keys"] and len(plain.raw("target", "incident")) == before["incidents"]
        if signatures != "copied_key":
            assert hashes(home)["keystore/keystore.jceks"] == keystore


def test_keys_of_a_file_store_go_to_the_target(bench: Bench) -> None:
    """The source's keys are files and in no keystore, the target has had its own in a keystore only."""
    source, password = bench.proxies("source"), bench.lab["keystore_password"]["source"]
    for home in source:
        keystore = home / "keystore" / "keystore.jceks"
        store = jks.KeyStore.load(str(keystore), password)
        files = {alias: bytes(entry.key) for alias, entry in store.secret_keys.items()}
        subprocess.run([home / "shutdown.sh"], check=True, stdout=subprocess.DEVNULL)
        for alias, key in files.items():
            (home / "keys" / alias).write_bytes(key)
            (home / "keys" / alias).chmod(0o600)
            arguments = ["-delete", "-alias", alias, "-keystore", str(keystore), "-storetype", "jceks", "-storepass:env", "STORE_PASSWORD"]
            subprocess.run(["keytool", *arguments], check=True, env=dict(os.environ, STORE_PASSWORD=password), stdout=subprocess.DEVNULL)
        conf = home / "conf" / "edgeencryption.properties"
        conf.write_text(proxy_home.set_property(conf.read_text(), "edgeencryption.keyfile.directory", "keys"))
        subprocess.run([home / "startup.sh"], check=True, stdout=subprocess.DEVNULL)
    for proxy in bench.lab["proxies"]["source"]:
        wait_until(lambda proxy=proxy: up(proxy))
    bench.keep_target_proxies()
    bench.encrypt_without_tokens()
    bench.fill(4)
    bench.variables["edge_verify_records"] = [dict(record, attachments=False) for record in demo_data.verify_records(4)]
    schedule(bench, SAME_KEY, "copied_key")
    run = bench.run(playbook=SAME_KEY)
    assert run.returncode == 0, run.output[-5000:]
    assert run.report["verify"]["failures"] == [] and run.report["verify"]["readable_through_proxy"] == run.report["verify"]["records"] > 5
    (home,) = bench.proxies("target")
    assert {file.name: file.read_bytes() for file in (home / "keys").iterdir()} == files
    assert {oct(file.stat().st_mode & 0o777) for file in (home / "keys").iterdir()} == {"0o600"}
    assert not [alias for alias, key in files.items() if base64.b64encode(key).decode() in run.output]
    again = bench.run("-e", f"edge_clone_number={bench.number}", playbook=SAME_KEY, keep_report=True)
    assert again.returncode == 0 and again.changes == []


def up(proxy: Row) -> bool:
    try:
        return ask("GET", proxy["control_url"] + "/state")["status"] == "Authenticated"
    except requests.ConnectionError:
        return False


def test_encrypted_data_in_the_clone_is_refused_and_named(plain: Bench) -> None:
    schedule(plain, PRESERVED_KEY, "copied_key", without=["u_contract"])
    plain.wait_until_scheduled()
    before = plain.world()
    refused = plain.run(playbook=PRESERVED_KEY)
    assert refused.returncode != 0
    assert "would bring encrypted data" in refused.message and "u_contract.u_notes: the table u_contract is not excluded." in refused.message
    assert "incident" not in refused.message and plain.world() == before


def test_keys_that_the_clone_replaced_all_the_same_are_noticed_before_a_proxy_starts(plain: Bench) -> None:
    schedule(plain, PRESERVED_KEY, "copied_key", without=["sys_encryption_key", "sys_encryption_key_configuration"])
    failed = plain.run("-e", "edge_support_case=CS0001", playbook=PRESERVED_KEY)
    assert failed.returncode != 0 and failed.step("t57_registration")["status"] == "failed", failed.output[-3000:]
    assert "did not keep the keys of the target" in failed.message and "aes128prod" in failed.message and "aes128test" in failed.message
    assert not running_proxies(plain.proxies("target"))


def test_customer_support_must_have_confirmed_what_the_profile_does_not_keep(plain: Bench) -> None:
    schedule(plain, PRESERVED_KEY, "copied_key", without=["sys_encryption_proxy_key"])
    waits = plain.run(playbook=PRESERVED_KEY)
    assert waits.returncode != 0 and "does not keep sys_encryption_proxy_key" in waits.message and "edge_support_case" in waits.message
    assert "Subject: Preserve the Edge Encryption keys of acmetest" in waits.output
    assert plain.journal() == []
    process = plain.start("-e", "edge_support_case=CS0001", playbook=PRESERVED_KEY)
    try:
        plain.start_clone_when_awaited("run", lambda: process.poll() is not None)
        assert process.wait() == 0, plain.result(process).output[-3000:]
    finally:
        process.kill()
    assert plain.result(process).step("t00_preflight")["evidence"]["support_case"] == "CS0001"


def test_a_clone_that_needs_tokens_is_refused_without_them(small: Bench) -> None:
    small.schedule()
    small.wait_until_scheduled()
    before = small.world()
    for playbook, said in ((SAME_KEY, "Take the playbook edge_encryption.clone.clone_with_tokenization"), (PRESERVED_KEY, "the tokenization pattern SSN")):
        small.variables["edge_canaries"] = [{"table": "incident", "field": "short_description"}]
        refused = small.run(playbook=playbook, edge_verify_records=[dict(record, attachments=False) for record in demo_data.verify_records(4)])
        assert refused.returncode != 0 and said in refused.message, refused.message
    refused = small.run(edge_encryption_option="preserved_key")
    assert refused.returncode != 0 and "clone_without_encrypted_data" in refused.message
    assert small.world() == before


def test_another_playbook_cannot_go_on_with_a_run(small: Bench) -> None:
    """A run with tokens that goes on without them would start proxies on the wrong token database."""
    small.schedule()
    kill_at(small, "t35_stage")
    other = small.run("-e", f"edge_clone_number={small.number}", playbook=SAME_KEY)
    assert other.returncode != 0 and "cannot go on with" in other.message, other.message


def test_tokens_that_a_job_rewrote_after_the_backup_are_refused(small: Bench) -> None:
    job = {"sys_id": "e" * 32, "name": "Repair the tokens of incident", "job_type": "order_token_repair"}
    small.control("source", "POST", "/raw/sysauto_encryption_job", {"rows": [job]})
    small.control("source", "POST", "/raw/sys_encryption_job_execution", {"rows": [{"sys_id": "f" * 32, "job": job["sys_id"], "state": "Completed"}]})
    (made,) = small.raw("source", "sys_encryption_job_execution")
    assert made["sys_updated_on"] >= small.backup["started"], (made, small.backup)
    small.schedule()
    refused = small.run()
    looked = refused.output.partition("Look for jobs that rewrote tokens")[2][:1500]
    assert refused.returncode != 0 and refused.step("t35_stage")["status"] == "failed", looked
    assert "Repair the tokens of incident ran on the source between the begin of its backup" in refused.message
    assert not running_proxies(small.proxies("target")) and "edgeencryption_stage" not in small.schemas("target")


@pytest.mark.parametrize("answer", ["approved", "not"])
def test_a_step_waits_for_a_person_and_keeps_to_the_agreed_hours(small: Bench, answer: str) -> None:
    small.schedule()
    number = ("-e", f"edge_clone_number={small.number}")
    waits = small.run(edge_gates=["t30_clone_start"])
    assert waits.returncode != 0 and "t30_clone_start was not begun" in waits.output and '"edge_approved": ["t30_clone_start"]' in waits.message
    assert waits.report["open"] and "t30_clone_start waits for a person" in waits.report["open"][0]
    assert waits.report["safety"] == "The target was not touched; its proxies were not touched either." and waits.report["safety"] in waits.output
    safe = small.play("edge_encryption.clone.make_safe")
    assert safe.returncode == 0 and "has left the target proxies alone" in safe.output and running_proxies(small.proxies("target"))
    proxies = small.proxies("target")
    if answer == "not":
        change = {"sys_id": "c" * 32, "number": "CHG1", "state": "-1", "approval": "requested"}
        small.control("source", "POST", "/raw/change_request", {"rows": [change]})
        refused = small.run(*number, edge_change_request="CHG1")
        assert refused.returncode != 0 and "Change request CHG1 is not approved (requested)" in refused.message
        small.control("source", "POST", "/raw/change_request", {"rows": [dict(change, approval="approved", start_date="2099-01-01 00:00:00")]})
        refused = small.run(*number, edge_change_request="CHG1")
        assert refused.returncode != 0 and "begins only at 2099-01-01T00:00:00Z" in refused.message
        late = small.run(*number, edge_not_after="2026-01-31T22:00:00Z")
        assert late.returncode != 0 and "may not begin after 2026-01-31T22:00:00Z" in late.message
        assert all((home / "bin" / "edgeencryption.pid").exists() for home in proxies)
    done = small.run(*number, edge_gates=["t30_clone_start"], edge_approved=["t30_clone_start"])
    assert done.returncode == 0, done.output[-3000:]


def test_hours_and_gates_do_not_hold_up_what_is_done_again(small: Bench) -> None:
    """The proxies are down and the tokens exchanged: a run that is killed then must be able to end at any hour, without asking again."""
    small.schedule()
    kill_at(small, "t55_keys")
    late = {"edge_not_after": "2026-01-31T22:00:00Z", "edge_gates": ["t30_clone_start", "t50_clone_end"]}
    done = small.run("-e", f"edge_clone_number={small.number}", **late)
    assert done.returncode == 0, done.output[-3000:]
