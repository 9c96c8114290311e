# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is killed at any instant is finished by starting it again."""

import time
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, kill_group, running_proxies


def kill_at(bench: Bench, step: str, seconds: float = 0, when: t.Callable[[], bool] = lambda: True) -> None:
    """Start a run, or start it again, and kill it so many seconds after the begin of a step (of the next one, if it is done), as soon as something is so."""
    seen = len(bench.journal())
    process = bench.start("-e", f"edge_clone_number={bench.number}")
    try:
        bench.start_clone_when_awaited("run", lambda: process.poll() is not None)
        while not any(event.get("step", "") >= step and event["status"] == "started" for event in bench.journal()[seen:]):
            assert process.poll() is None, bench.result(process).output[-3000:]
            time.sleep(0.05)
        time.sleep(seconds)
        while not when():
            assert process.poll() is None, bench.result(process).output[-3000:]
            time.sleep(0.05)
        assert process.poll() is None, bench.result(process).output[-3000:]
    finally:
        if process.poll() is None:
            kill_group(process)


def ends_green(bench: Bench) -> None:
    again = bench.run("-e", f"edge_clone_number={bench.number}")
    assert again.returncode == 0, again.output[-5000:]
    assert again.report and again.report["result"] == "green" and again.report["open"] == []
    verify = again.report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 40
    active = {side: {(row["name"], row["active"]) for row in bench.raw(side, "sys_encryption_rule")} for side in ("source", "target")}
    assert active["source"] == active["target"]


def test_a_run_killed_after_a_step_that_is_done_again_and_while_a_proxy_is_down(small: Bench) -> None:
    small.schedule()
    kill_at(small, "t55_keys")
    looked = small.play("edge_encryption.clone.report_clone", "-e", f"edge_clone_number={small.number}")
    assert looked.returncode == 0 and looked.step("t50_clone_end")["status"] == "done" and looked.step("t55_keys")["status"] == "started", looked.output
    assert "t55_keys" in str(looked.report and looked.report["open"])
    kill_at(small, "t70_signatures", when=lambda: not running_proxies(small.proxies("target")))
    ends_green(small)


STEPS = ("t30_clone_start", "t35_stage", "t40_wait_clone", "t50_clone_end", "t55_keys", "t60_start_proxies", "t70_signatures")
SECONDS = (0, 1.5, 3, 5)


@pytest.mark.long
@pytest.mark.parametrize("shift", range(len(SECONDS)))
def test_a_run_killed_in_every_step(small: Bench, shift: int) -> None:
    """One clone is killed once in each step; over all shifts each step is killed after each of the seconds."""
    small.schedule()
    for number, step in enumerate(STEPS):
        kill_at(small, step, SECONDS[(number + shift) % len(SECONDS)])
    ends_green(small)
