# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every job template and both workflows of the pattern, with the engine that AWX uses."""

import re
import shutil
import tempfile
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, epoch, running_proxies, wait_until
from ansible_collections.edge_encryption.clone.tests.e2e.platform import Job, Platform
from edgelab.lab import Lab

pytestmark = pytest.mark.long

STEP_BY_STEP, PREPARE = "Edge Encryption / Clone with tokenization, step by step", "Edge Encryption / Prepare a clone"
CONFIRMED = {"edge_confirm_target": "acmetest"}
OTHER_WAYS = {
    f"Edge Encryption / {name}"
    for name in ("Clone without a token database", "Clone and rotate to the target's own key", "Clone without encrypted data")
}


def states(done: t.Mapping[str, t.Optional[Job]]) -> t.Dict[str, str]:
    return {node: job.status if job else "approved" for node, job in done.items()}


def all_well(*nodes: str) -> t.Dict[str, str]:
    return {node: "approved" if node == "approval" else "successful" for node in nodes}


def assert_secrets_stay_secret(platform: Platform) -> None:
    for job in platform.jobs:
        told = [what for what, secret in platform.bench.secrets().items() if secret in job.output or secret in str(job.events)]
        assert told == [], (job.template, told)


def test_a_workflow_stops_safely_and_goes_on_when_it_is_launched_again(small: Bench) -> None:
    platform = Platform(small)
    small.schedule()
    homes = small.proxies("target")

    # The agreed hours end before the tokens are exchanged.
    first = platform.run_workflow(STEP_BY_STEP, CONFIRMED, {"cut_over": {"edge_not_after": "2026-01-01 00:00:00"}})
    expected = {**all_well("plan", "approval", "snapshot", "stop", "follow", "cut_over", "make_safe", "report"), "cut_over": "failed"}
    assert states(first) == expected, {node: job.output[-3000:] for node, job in first.items() if job and job.status != "successful"}
    for node, last in (("snapshot", "t20_before_clone"), ("stop", "t35_stage"), ("follow", "t40_wait_clone")):
        job = first[node]
        assert job and job.artifacts["edge_clone"]["result"] == "paused" and job.artifacts["edge_clone"]["number"] == small.number, (node, job)
        assert f"{last} " in job.output
    cut, safe, report = first["cut_over"], first["make_safe"], first["report"]
    assert cut and cut.artifacts["edge_clone"]["result"] == "red" and "edge_not_after" in cut.output + str(cut.artifacts), cut
    assert safe and "the target proxies must be down" in safe.output and not running_proxies(homes)
    assert report and report.artifacts["edge_clone"]["number"] == small.number

    # As its message says: a clone that has ended is named by its number.
    assert f"edge_clone_number={small.number}" in cut.output
    number = dict(CONFIRMED, edge_clone_number=small.number)
    second = platform.run_workflow(STEP_BY_STEP, number)
    expected = all_well("plan", "approval", "snapshot", "stop", "follow", "cut_over", "start", "signatures", "verify", "open")
    assert states(second) == expected, {node: job.output[-3000:] for node, job in second.items() if job and job.status != "successful"}
    opened = second["open"]
    assert opened and opened.artifacts["edge_clone"]["result"] == "green" and opened.artifacts["edge_clone"]["open"] == []
    assert running_proxies(homes)

    # What is there for afterwards.
    verified = platform.run("Edge Encryption / Verify a clone")
    assert verified.status == "successful" and verified.artifacts["edge_verify"]["records"] > 0, verified.output[-3000:]
    night = platform.run("Edge Encryption / Take a snapshot of the source's tokens")
    assert night.status == "successful" and night.artifacts["edge_snapshot"]["id"], night.output[-3000:]
    resigned = platform.run("Edge Encryption / Re-sign rules and configurations", CONFIRMED)
    assert resigned.status == "successful", resigned.output[-3000:]
    restarted = platform.run("Edge Encryption / Restart proxies one after the other")
    assert restarted.status == "successful" and len(running_proxies(homes)) == len(homes), restarted.output[-3000:]
    listed = platform.run("Edge Encryption / Clean up after clones")
    assert listed.status == "successful" and "Nothing was removed" in listed.output, listed.output[-3000:]
    refused = platform.run("Edge Encryption / Rotate to the target's own key", CONFIRMED)
    assert refused.status == "failed" and "edge_old_key_aliases" in refused.output, refused.output[-3000:]
    rotated = platform.run("Edge Encryption / Rotate to the target's own key", CONFIRMED, check=True, edge_old_key_aliases=["aes128prod", "aes256prod"])
    assert rotated.status == "successful", rotated.output[-3000:]

    # Back to before.
    small.change_request(state="Rollback Requested")
    wait_until(lambda: next(row for row in small.raw("source", "clone_instance") if row["clone_id"] == small.number)["state"] == "Rolled back")
    back = platform.run("Edge Encryption / Roll back a clone", number)
    assert back.status == "successful", back.output[-3000:]
    young = platform.run("Edge Encryption / Prune a clone", number)
    assert young.status == "failed" and "7 days" in young.output, young.output[-3000:]
    pruned = platform.run("Edge Encryption / Prune a clone", number, edge_keep_for=0)
    assert pruned.status == "successful", pruned.output[-3000:]

    assert {job.template for job in platform.jobs} == set(platform.templates) - OTHER_WAYS
    assert_secrets_stay_secret(platform)


def test_the_other_ways_to_clone_as_far_as_check_mode_goes(small: Bench) -> None:
    """It waits for nothing and changes nothing. What this source has, two of them refuse."""
    platform = Platform(small)
    small.schedule()
    rotate, plain, without = (
        platform.run(f"Edge Encryption / {name}", CONFIRMED, check=True)
        for name in ("Clone and rotate to the target's own key", "Clone without a token database", "Clone without encrypted data")
    )
    assert rotate.status == "successful", rotate.output[-3000:]
    assert plain.status == "failed" and "has values whose tokens are in its token database" in plain.output, plain.output[-3000:]
    assert without.status == "failed" and "encrypted" in without.output.partition("fatal: ")[2], without.output[-3000:]
    assert {job.template for job in platform.jobs} == OTHER_WAYS
    assert_secrets_stay_secret(platform)


def test_a_prepared_clone_holds_no_worker_and_no_target(small: Bench) -> None:
    platform = Platform(small)
    small.schedule()
    done = platform.run_workflow(PREPARE, CONFIRMED)
    assert states(done) == {"plan": "successful", "approval": "approved", "snapshot": "successful"}, [job.output[-2000:] for job in platform.jobs]
    assert running_proxies(small.proxies("target"))
    assert not list((small.folder / "platform" / "state").rglob("lock.json"))
    assert_secrets_stay_secret(platform)


@pytest.fixture
def pair(tmp_path: Path) -> t.Iterator[t.List[Bench]]:
    """Two sites with targets of different names, whose runs are kept in one folder, as on one C(edge_runner)."""
    shared = tmp_path / "state"
    shared.mkdir(mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    benches: t.List[Bench] = []
    try:
        for name in ("acmetest", "acmedev"):
            keeper = Lab(folder / name / "lab", target=name)
            keeper.up()
            benches.append(Bench(folder / name, keeper))
            (folder / name / "platform").mkdir(mode=0o700)
            (folder / name / "platform" / "state").symlink_to(shared)
            benches[-1].keep_target_proxies()
            benches[-1].fill(4)
            benches[-1].schedule()
        yield benches
    finally:
        for bench in benches:
            bench.down()
        shutil.rmtree(folder, ignore_errors=True)


def test_two_targets_are_cloned_side_by_side_and_one_target_by_one_controller_only(pair: t.List[Bench]) -> None:
    clone = "Edge Encryption / Clone with tokenization"
    platforms = [Platform(bench) for bench in pair]
    names = [bench.lab["instances"]["target"]["name"] for bench in pair]
    started = [platform.start(clone, {"edge_confirm_target": name}) for platform, name in zip(platforms, names)]

    def begin(bench: Bench, process: t.Any) -> None:
        bench.start_clone_when_awaited("platform", lambda: process.poll() is not None)

    waits = [threading.Thread(target=begin, args=(bench, job.process)) for bench, job in zip(pair, started)]
    for wait in waits:
        wait.start()
    lock = pair[0].folder / "platform" / "state" / "journal" / names[0] / "lock.json"
    wait_until(lambda: lock.exists() or started[0].process.poll() is not None, seconds=300)
    refused = platforms[0].end(platforms[0].start(clone, {"edge_confirm_target": names[0]}))
    assert refused.status == "failed" and re.search(rf"target {names[0]}: is held by job-1:\d+", refused.output), refused.output[-3000:]

    jobs = [platform.end(job) for platform, job in zip(platforms, started)]
    for wait in waits:
        wait.join()
    for job, bench in zip(jobs, pair):
        assert job.status == "successful" and job.artifacts["edge_clone"]["result"] == "green", job.output[-3000:]
        assert running_proxies(bench.proxies("target"))
    times = [[epoch(event["time"]) for event in bench.journal("platform")] for bench in pair]
    assert times[0][0] < times[1][-1] and times[1][0] < times[0][-1], "one after the other proves nothing"
    assert len({bench.journal("platform")[-1]["time"] for bench in pair}) == 2
