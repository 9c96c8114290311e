# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No theatre: when a part of the work is left out, the run or its verification fails and says what is wrong."""

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Run, ask, running_proxies
from edgelab import demo_data


def failed_in(run: Run, step: str) -> str:
    """Return the error of the step in which the run failed; the report agrees with it, and users are kept away."""
    assert run.returncode != 0, run.output[-3000:]
    assert run.report and run.report["result"] == "red"
    assert [entry["id"] for entry in run.report["steps"] if entry["status"] == "failed"] == [step], run.message
    assert run.step("t95_open")["status"] == "not_run"
    assert run.step(step)["error"] in run.message
    return run.step(step)["error"]


def unreadable(rows: t.Iterable[t.Dict[str, str]], error: str, field: str) -> int:
    """Return of how many of these records the message says that a field is unreadable."""
    return len([row for row in rows if f"incident {row['sys_id']} {field} is unreadable" in error])


@pytest.mark.long
def test_with_tokens_lost_the_values_are_named(small: Bench) -> None:
    """As if the database step had done nothing: what it put in place is gone again."""
    small.schedule()
    with small.when("t55_keys", lambda: small.token_db("target").query("DELETE FROM edgeencryption.edge_token_map")) as lost:
        run = small.run()
    assert lost.done
    error = failed_in(run, "t90_verify")
    assert unreadable(small.canaries, error, "u_tax_id") == len(small.canaries)
    # What needs no token is readable all the same.
    assert unreadable(small.canaries, error, "short_description") == 0


@pytest.mark.long
def test_with_the_database_step_left_out_no_proxy_starts(small: Bench) -> None:
    small.schedule()
    run = small.run("--skip-tags", "t50_clone_end")
    assert "t50_clone_end is not done" in failed_in(run, "t60_start_proxies")
    assert not running_proxies(small.proxies("target"))


@pytest.mark.long
def test_without_the_keys_nothing_encrypted_is_readable(small: Bench) -> None:
    small.schedule()
    error = failed_in(small.run(edge_encryption_option="manual"), "t90_verify")
    for field in ("short_description", "description", "u_customer_name", "u_account"):
        assert unreadable(small.canaries, error, field) == len(small.canaries)
    assert unreadable(small.canaries, error, "u_tax_id") == 0  # tokens need no key


@pytest.mark.long
def test_with_re_signing_left_out_validation_stays_off_and_is_found(small: Bench) -> None:
    small.schedule()
    run = small.run("--skip-tags", "t70_signatures")
    error = failed_in(run, "t90_verify")
    assert "signature validation is off" in error and "edgeencryption.proxy.signature.verify" in error


@pytest.mark.long
def test_with_signatures_of_the_source_a_proxy_does_not_start(small: Bench) -> None:
    """Neither the source's key nor new signatures: validation was never switched off."""
    small.schedule()
    small.leave_out("roles/signature_resigned/tasks/validation_off.yml")
    error = failed_in(small.run(), "t60_start_proxies")
    assert "valid signature" in error or "signature validation" in error


@pytest.mark.long
def test_with_the_cache_not_emptied_a_proxy_does_not_start_validating(small: Bench) -> None:
    small.schedule()
    small.leave_out("roles/proxies/tasks/clear_cache.yml")
    error = failed_in(small.run(), "t70_signatures")
    assert "edge_target_1" in error and "signature" in error


@pytest.mark.long
@pytest.mark.parametrize("proxy", ["held", "forgotten"])
def test_a_proxy_that_somebody_starts_in_between_stops_the_run(bench: Bench, proxy: str) -> None:
    """One that is held is started by the program behind its script; the other one was down when the run looked and is in no inventory."""
    forgotten = Path(bench.lab["proxies"]["target"][1]["home"])
    bench.keep_target_proxies()
    bench.fill()
    bench.schedule()
    home = bench.proxies("target")[0] if proxy == "held" else forgotten
    before = bench.tokens("target")

    def start() -> None:
        subprocess.run([home / ("startup.sh.held" if proxy == "held" else "startup.sh")], cwd=home, check=True, stdout=subprocess.DEVNULL)

    with bench.when("t30_clone_start", start, "done") as meddler:
        run = bench.run()
    assert meddler.done
    error = failed_in(run, "t50_clone_end")
    assert "edge_proxy@127.0.0.1" in error and "Stop the proxies" in error
    assert bench.tokens("target") == before


@pytest.mark.long
def test_preserved_rows_with_tokens_of_the_target_are_refused_or_named(small: Bench) -> None:
    profile = small.raw("source", "clone_profile")[0]["sys_id"]
    preserver = {"sys_id": "1" * 32, "name": "Test cases", "table": "incident", "condition": "numberSTARTSWITHDEMO"}
    small.control("source", "POST", "/raw/clone_data_preserver", {"rows": [preserver]})
    small.control("source", "POST", "/raw/clone_profile_preservers", {"rows": [{"sys_id": "2" * 32, "profile": profile, "preserver": "1" * 32}]})
    small.schedule(profile=profile)
    refused = small.run(state="refused")
    assert refused.returncode != 0 and "preserves incident" in refused.message and "edge_allow_preserved_tables" in refused.message
    preserved = [row for row in small.raw("target", "incident") if row["number"].startswith("DEMO")]
    assert len(preserved) == 4
    error = failed_in(small.run(edge_allow_preserved_tables=["incident"], edge_verify_records=demo_data.verify_records(30)), "t90_verify")
    assert unreadable(preserved, error, "u_tax_id") == 4 and "that the target read before the clone" in error
    assert unreadable(small.canaries, error, "u_tax_id") == 0


@pytest.mark.long
def test_a_proxy_that_does_not_stop_is_named_and_the_database_left_alone(small: Bench) -> None:
    small.schedule()
    before, running = small.tokens("target"), running_proxies(small.proxies("target"))
    knobs = small.lab["proxies"]["target"][0]["control_url"] + "/knobs"
    ask("PUT", knobs, {"ignore_shutdown": True})
    run = small.run(edge_proxy_timeout=5)
    error = failed_in(run, "t30_clone_start")
    assert "edge_target_1" in error and "did not stop within 5 seconds" in error and "kill" in error
    assert small.tokens("target") == before and running_proxies(small.proxies("target")) == running
    ask("PUT", knobs, {"ignore_shutdown": False})
    assert small.run("-e", f"edge_clone_number={small.number}").returncode == 0
