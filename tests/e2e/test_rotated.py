# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The encryption option rotated_key: the source's key in the beginning, the target's own in the end, and the source's key gone."""

import json
import typing as t

import jks
import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Run, kill_group

pytestmark = pytest.mark.long
PLAYBOOK = "edge_encryption.clone.clone_rotate_key"
OLD, OWN = {"aes128prod", "aes256prod"}, {"aes128test", "aes256test"}
COLUMNS = ("short_description", "description", "u_customer_name", "u_account")


@pytest.fixture
def rotated(bench: Bench) -> Bench:
    bench.fill()
    bench.variables["edge_rotation_poll_interval"] = 0.5
    bench.schedule()
    return bench


def keys_of(bench: Bench) -> t.List[t.Set[str]]:
    """Return the aliases of the AES keys of each target proxy."""
    password = bench.lab["keystore_password"]["target"]
    return [set(jks.KeyStore.load(str(home / "keystore" / "keystore.jceks"), password).secret_keys) for home in bench.proxies("target")]


def under(bench: Bench, aliases: t.Set[str]) -> int:
    return sum(f":{alias}:" in row[column] for row in bench.raw("target", "incident") for column in COLUMNS for alias in aliases)


def assert_rotated(bench: Bench, run: Run) -> None:
    assert run.returncode == 0, run.output[-5000:]
    assert run.report and run.report["result"] == "green" and run.report["open"] == []
    verify = run.report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 40
    assert keys_of(bench) == [OWN] * len(bench.proxies("target"))
    assert {row["alias"] for row in bench.raw("target", "sys_encryption_key")} == OWN
    assert under(bench, OLD) == 0 and under(bench, OWN) >= 40
    (event,) = [event for event in bench.journal() if event.get("step") == "t80_rotate_key" and event["status"] == "done"]
    rotation = event["evidence"]["rotation"]
    assert rotation["old_key_removed"] is True and set(rotation["old_aliases"]) == OLD and rotation["still_listed"] == []
    assert set(rotation["values"]) == OWN and rotation["complete"]
    kept = [path for paths in rotation["copies"].values() for path in paths if "keystore" in path]
    assert len(kept) >= len(bench.proxies("target"))


def test_killed_while_rotating_and_while_a_proxy_is_down(rotated: Bench) -> None:
    before = rotated.tokens("source")
    rotated.control("target", "PUT", "/knobs", {"rotation_chunk_size": 1, "rotation_chunk_seconds": 0.6})
    clear = {"edge_token_map of the source": before}

    def kill_when(due: t.Callable[[], bool]) -> None:
        process = rotated.start("-e", f"edge_clone_number={rotated.number}", playbook=PLAYBOOK)
        try:
            rotated.start_clone_when_awaited("run", lambda: process.poll() is not None or due())
            while not due():
                assert process.poll() is None, rotated.result(process).output[-5000:]
        finally:
            kill_group(process)

    def rotating() -> bool:
        return any(0 < int(row["processed"]) < int(row["total"]) for row in rotated.raw("target", "sys_encryption_job_execution"))

    kill_when(rotating)
    assert under(rotated, OLD) > 0 and keys_of(rotated)[0] == OLD | OWN
    rotated.control("target", "PUT", "/knobs", {"rotation_chunk_seconds": 0})
    kill_when(lambda: keys_of(rotated)[0] == OWN)
    noted = [event["evidence"] for event in rotated.journal() if event.get("step") == "t80_rotate_key" and event.get("evidence")]
    assert noted[-1]["rotation"]["old_key_removed"] is True  # known although the step has not ended
    assert_rotated(rotated, rotated.run("-e", f"edge_clone_number={rotated.number}", playbook=PLAYBOOK))
    assert clear["edge_token_map of the source"] <= rotated.tokens("target")
    again = rotated.run("-e", f"edge_clone_number={rotated.number}", playbook=PLAYBOOK, keep_report=True)
    assert again.returncode == 0 and again.changes == [], again.changes


@pytest.mark.parametrize("signatures", ["copied_key", "recreated"])
def test_with_the_other_signature_options(rotated: Bench, signatures: str) -> None:
    if signatures == "recreated":
        rotated.change_request(profile=rotated.leave_rules_out())
    assert_rotated(rotated, rotated.run(playbook=PLAYBOOK, edge_signature_option=signatures))


def test_a_key_that_was_kept_is_removed_later_without_a_clone(rotated: Bench) -> None:
    """Each old key has a job of its own; the source's key stays until somebody rotates with the playbook of its own."""
    run = rotated.run(playbook=PLAYBOOK, edge_remove_old_key=False, edge_rotation_job="single")
    assert run.returncode == 0, run.output[-5000:]
    assert run.report["result"] == "green" and run.report["open"] == []
    assert under(rotated, OLD) == 0 and keys_of(rotated) == [OLD | OWN] * len(rotated.proxies("target"))
    jobs = {row["job_type"] for row in rotated.raw("target", "sysauto_encryption_job")}
    assert "single_key_rotation" in jobs and "mass_key_rotation" not in jobs, jobs
    old = ("-e", json.dumps({"edge_old_key_aliases": sorted(OLD)}))
    unconfirmed = rotated.play("edge_encryption.clone.rotate_key", *old)
    assert unconfirmed.returncode != 0 and "-e edge_confirm_target=acmetest" in unconfirmed.message
    assert keys_of(rotated) == [OLD | OWN] * len(rotated.proxies("target"))
    confirmed = (*old, "-e", "edge_confirm_target=acmetest")
    rotated.play("edge_encryption.clone.rotate_key", *confirmed, kill_when=lambda: keys_of(rotated)[0] == OWN)
    assert keys_of(rotated)[-1] == OLD | OWN
    done = rotated.play("edge_encryption.clone.rotate_key", *confirmed)
    assert done.returncode == 0, done.output[-5000:]
    assert keys_of(rotated) == [OWN] * len(rotated.proxies("target"))
    assert {row["alias"] for row in rotated.raw("target", "sys_encryption_key")} == OWN
    looked = rotated.play("edge_encryption.clone.verify_clone", "-e", f"edge_clone_number={rotated.number}")
    assert looked.returncode == 0, looked.output[-3000:]
    again = rotated.play("edge_encryption.clone.rotate_key", *confirmed)
    assert again.returncode == 0 and again.changes == [], again.changes


def test_records_that_fail_are_named_and_the_old_key_stays(rotated: Bench) -> None:
    bad: t.List[str] = []

    def spoil() -> None:
        bad.append(next(row["sys_id"] for row in rotated.raw("target", "incident") if row["number"] == "DEMO0000001"))
        rotated.control("target", "PUT", "/knobs", {"rotation_failures": bad})

    with rotated.when("t70_signatures", spoil, status="done"):
        failed = rotated.run(playbook=PLAYBOOK)
    assert failed.returncode != 0 and failed.step("t80_rotate_key")["status"] == "failed", failed.output[-3000:]
    assert "1 records failed" in failed.message and bad[0] in failed.output and keys_of(rotated)[0] == OLD | OWN
    assert not [event for event in rotated.journal() if event.get("evidence", {}).get("rotation")]
    rotated.control("target", "PUT", "/knobs", {"rotation_failures": []})
    assert_rotated(rotated, rotated.run("-e", f"edge_clone_number={rotated.number}", playbook=PLAYBOOK))


def test_a_proxy_without_a_key_of_its_own_is_refused_before_anything_is_touched(rotated: Bench) -> None:
    before = rotated.world()
    refused = rotated.run("-e", '{"edge_own_key_aliases": ["aes128test", "aes256prod"]}', playbook=PLAYBOOK)
    assert refused.returncode != 0 and "rotation needs one AES key of its own" in refused.message
    assert rotated.world() == before
