# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No theatre: when a part of the work is left out, the run or its verification fails and says what is wrong."""

import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal
from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Run, ask, kill_group, wait_until


def failed_in(run: Run, step: str) -> str:
    """Return the error of the step in which the run failed; the report agrees with it."""
    assert run.returncode != 0, run.output[-3000:]
    assert run.report and run.report["result"] == "red"
    assert [entry["id"] for entry in run.report["steps"] if entry["status"] == "failed"] == [step], run.message
    return run.step(step)["error"]


def unreadable(bench: Bench, error: str, field: str) -> t.List[str]:
    """Return the records of which the message says that a field is unreadable."""
    return [row["sys_id"] for row in bench.canaries if f"incident {row['sys_id']} {field} is unreadable" in error]


def test_without_the_database_step_the_tokens_do_not_resolve(small: Bench) -> None:
    """First the run refuses to start proxies on the wrong tokens; then somebody claims that the step was done, and the verification finds out."""
    small.schedule()
    error = failed_in(small.run("--skip-tags", "t50_clone_end"), "t60_start_proxies")
    assert "t50_clone_end is not done" in error
    journal = Journal(str(small.folder / "run" / "state" / "journal"), "acmetest")
    journal.open(small.number, "somebody")
    journal.record(small.number, "t50_clone_end", "done")
    journal.close(small.number, "red", "somebody")
    error = failed_in(small.run("--skip-tags", "t50_clone_end", "-e", f"edge_clone_number={small.number}"), "t90_verify")
    assert len(unreadable(small, error, "u_tax_id")) == len(small.canaries)
    # What needs no token is readable all the same.
    assert unreadable(small, error, "short_description") == []


@pytest.mark.long
def test_without_the_keys_nothing_encrypted_is_readable(small: Bench) -> None:
    small.schedule()
    error = failed_in(small.run(edge_encryption_option="manual"), "t90_verify")
    for field in ("short_description", "description", "u_customer_name"):
        assert len(unreadable(small, error, field)) == len(small.canaries)


@pytest.mark.long
def test_with_re_signing_left_out_validation_stays_off_and_is_found(small: Bench) -> None:
    small.schedule()
    error = failed_in(small.run("--skip-tags", "t70_signatures"), "t90_verify")  # which does not trust that t70 was done
    assert "signature validation is off" in error and "edgeencryption.proxy.signature.verify" in error


@pytest.mark.long
def test_with_signatures_of_the_source_a_proxy_does_not_start(small: Bench) -> None:
    """Neither the source's key nor new signatures: validation was never switched off."""
    small.schedule()
    error = failed_in(small.run("--skip-tags", "t55_keys", edge_encryption_option="manual"), "t60_start_proxies")
    assert "t55_keys is not done" in error
    journal = Journal(str(small.folder / "run" / "state" / "journal"), "acmetest")
    journal.open(small.number, "somebody")
    journal.record(small.number, "t55_keys", "done")
    journal.close(small.number, "red", "somebody")
    run = small.run("--skip-tags", "t55_keys", "-e", f"edge_clone_number={small.number}", edge_encryption_option="manual")
    error = failed_in(run, "t60_start_proxies")
    assert "does not have a valid signature" in error or "failed signature validation" in error


class _OldCache(threading.Thread):
    """Puts the cache from before the clone back as soon as the run has moved it aside, which is as if it had not been emptied."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.home, self.done, self._over = home, 0, threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            aside = sorted(self.home.glob("cache.2*"))
            if len(aside) > self.done and (self.home / "cache").is_dir():
                subprocess.run(["cp", "-a", f"{aside[0]}/.", f"{self.home}/cache/"], check=True)
                self.done = len(aside)

    def __enter__(self) -> "_OldCache":
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._over.set()
        self.join()


@pytest.mark.long
def test_with_the_old_cache_a_proxy_does_not_trust_the_new_signatures(small: Bench) -> None:
    small.schedule()
    with _OldCache(small.proxies("target")[0]) as cache:
        run = small.run(edge_signature_option="copied_key")
    assert cache.done
    error = failed_in(run, "t60_start_proxies")
    assert "signature" in error


@pytest.mark.long
def test_a_proxy_that_somebody_starts_in_between_stops_the_run(small: Bench) -> None:
    """The stub refuses, so somebody has to start the program itself."""
    small.schedule()
    home = small.proxies("target")[0]

    def meddle() -> None:
        wait_until(lambda: any(event.get("step") == "t35_stage" for event in small.journal()), 300)
        held = home / "startup.sh.held"
        subprocess.run([str(held)], cwd=home, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    thread = threading.Thread(target=meddle, daemon=True)
    thread.start()
    run = small.run()
    thread.join()
    error = failed_in(run, "t50_clone_end")
    assert "edge_proxy" in error and "connected" in error


@pytest.mark.long
def test_a_preserved_table_with_tokens_of_the_target_is_refused_or_found(small: Bench) -> None:
    profile = small.raw("source", "clone_profile")[0]["sys_id"]
    preserver = {"sys_id": "1" * 32, "name": "Contracts", "table": "u_contract"}
    small.control("source", "POST", "/raw/clone_data_preserver", {"rows": [preserver]})
    small.control("source", "POST", "/raw/clone_data_exclude", {"rows": [{"sys_id": "2" * 32, "name": "u_contract"}]})
    small.control("source", "POST", "/raw/clone_profile_preservers", {"rows": [{"sys_id": "3" * 32, "profile": profile, "preserver": "1" * 32}]})
    small.control("source", "POST", "/raw/clone_profile_exclusions", {"rows": [{"sys_id": "4" * 32, "profile": profile, "exclusion": "2" * 32}]})
    small.schedule(profile=profile)
    refused = small.run(state="refused")
    assert refused.returncode != 0 and "preserves u_contract" in refused.message and "edge_allow_preserved_tables" in refused.message
    error = failed_in(small.run(edge_allow_preserved_tables=["u_contract"]), "t90_verify")
    assert "u_contract" in error and "u_notes is not on the target" in error


@pytest.mark.long
def test_a_proxy_that_does_not_stop_is_named_and_the_database_left_alone(small: Bench) -> None:
    small.schedule()
    before = small.tokens("target")
    ask("PUT", small.lab["proxies"]["target"][0]["control_url"] + "/knobs", {"ignore_shutdown": True})
    run = small.run(edge_proxy_timeout=5)
    error = failed_in(run, "t30_clone_start")
    assert "edge_target_1" in error and "kill" in error
    assert small.tokens("target") == before




@pytest.mark.parametrize("step", ["t35_stage", *(pytest.param(step, marks=pytest.mark.long) for step in (
    "t10_source_backup", "t30_clone_start", "t50_clone_end", "t55_keys", "t60_start_proxies", "t70_signatures"))])
def test_a_run_that_is_killed_and_started_again_ends_like_any_other(small: Bench, step: str) -> None:
    small.schedule()
    process = small.start()
    killed = threading.Event()

    def kill() -> None:
        wait_until(lambda: any(event.get("step") == step for event in small.journal()), 300)
        kill_group(process)
        killed.set()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    small.start_clone_when_awaited("run", lambda: process.poll() is not None)
    thread.join(300)
    assert killed.is_set()
    again = small.run("-e", f"edge_clone_number={small.number}")
    assert again.returncode == 0, again.output[-5000:]
    assert again.report and again.report["result"] == "green"
    verify = again.report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 40
