# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A clone that ends early, before and after the node repoint, and one that the run requests itself."""

import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import STOP_LEAD, Bench, Run, hashes, running_proxies, wait_until
from edgelab import demo_data


def requested(bench: Bench) -> t.Dict[str, t.Any]:
    return next(row for row in bench.raw("source", "clone_instance") if row["clone_id"] == bench.number)


def engine(bench: Bench) -> str:
    return requested(bench)["stage"]


def cancel_in(bench: Bench, stage: str) -> t.Callable[[], None]:
    """Cancel the clone by its Table API, as its owner does, when it is in a stage."""

    def act() -> None:
        wait_until(lambda: engine(bench) == stage, pause=0.02)
        source = bench.lab["instances"]["source"]
        with demo_data.session(bench.lab, "source", source["username"]) as client:
            client.patch(f"{source['url']}/api/now/table/clone_instance/{requested(bench)['sys_id']}", json={"state": "Canceled"}).raise_for_status()

    return act


def failed(run: Run, *texts: str) -> None:
    assert run.returncode != 0 and all(text in run.message for text in texts), run.message + run.output[-4000:]


@pytest.mark.long
def test_a_clone_that_is_canceled_before_the_node_repoint_leaves_all_as_it_was(small: Bench) -> None:
    homes = small.proxies("target")
    kept = {name: value for name, value in hashes(homes[0]).items() if name.startswith(("conf/", "keystore/", "cache/"))}
    before = small.tokens("target")
    small.control("source", "PUT", "/knobs", {"stage_seconds": {"Preservers": 400}})
    small.schedule()
    number = ("-e", f"edge_clone_number={small.number}")
    with small.when("t40_wait_clone", cancel_in(small, "Preservers")) as meddler:
        run = small.run()
    assert meddler.done
    failed(run, f"Clone {small.number} is Canceled and left acmetest as it was", "closed as abandoned", "Request another clone")
    assert "Gate" not in run.output
    assert small.journal()[-1] == {**small.journal()[-1], "event": "closed", "result": "abandoned"}
    assert run.step("t40_wait_clone")["status"] == "failed"
    assert running_proxies(homes) and small.tokens("target") == before
    assert small.schemas("target") == ["edgeencryption"]
    after = hashes(homes[0])
    assert {name: after.get(name) for name in kept} == kept
    assert not list(homes[0].rglob("*hold*"))

    again = small.run(*number)
    failed(again, "closed as abandoned")
    written = [change for change in again.changes if "clone_report : Write the" not in change]
    assert written == [] and running_proxies(homes)

    small.control("source", "PUT", "/knobs", {"stage_seconds": {"Preservers": 2}})
    small.schedule()
    done = small.run()
    assert done.returncode == 0, done.output[-4000:]
    assert small.tokens("target") != before


@pytest.mark.long
def test_a_clone_that_fails_from_the_node_repoint_on_is_a_matter_for_a_person(small: Bench) -> None:
    homes = small.proxies("target")
    before = small.tokens("target")
    small.control("source", "PUT", "/knobs", {"clone_error_stage": "Node repoint"})
    small.schedule()
    number = ("-e", f"edge_clone_number={small.number}")
    run = small.run()
    failed(run, "Gate clone_ended", f"clone {small.number} is Error", "It is not known whether", f"edge_untouched_by={small.number}")
    assert not running_proxies(homes) and small.tokens("target") == before
    assert small.journal()[-1]["result"] == "red"

    # Nothing changes by asking again, and another clone must wait for the person.
    failed(small.run(*number), "Gate clone_ended")
    assert not running_proxies(homes)

    # In this stage the lab fails before it does anything; a person has looked and says so.
    decided = small.run(*number, "-e", f"edge_untouched_by={small.number}")
    failed(decided, "closed as abandoned")
    assert running_proxies(homes) and small.tokens("target") == before


@pytest.mark.long
def test_the_run_requests_the_clone_itself_with_a_backup_of_its_own(small: Bench) -> None:
    request = {
        "start_in": STOP_LEAD + 150, "email": "clones@example.com",
        "options": {"preserve_users_and_related_tables": True, "filter_attachment_data": False, "backup_option": "on_demand"},
    }  # fmt: skip
    planned = small.run("--check", edge_clone_request=request)
    assert planned.returncode == 0, planned.output[-4000:]
    assert "to be requested" in planned.output and small.raw("source", "clone_instance") == []

    process = small.start(edge_clone_request=request)
    process.wait()
    run = small.result(process)
    assert run.returncode == 0, run.output[-5000:]
    (clone,) = small.raw("source", "clone_instance")
    assert (clone["state"], clone["email"], clone["backup_option"]) == ("Completed", "clones@example.com", "on_demand")
    backup = run.step("t35_stage")["evidence"]["clone"]["backup_completed"]
    assert backup > small.backup["completed"].replace(" ", "T") and run.step("t35_stage")["evidence"]["snapshot"]["began"] >= backup[:-1]
    assert {event.get("run_id", clone["clone_id"]) for event in small.journal()} == {clone["clone_id"]}

    # The same playbook again must not ask for another clone.
    process = small.start(edge_clone_request=request)
    process.wait()
    failed(small.result(process), f"clone {clone['clone_id']} (Completed)", "must be 5 days apart")
