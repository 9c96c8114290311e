# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook restart_proxies: proxies are restarted one after the other, and users notice nothing."""

import re
import subprocess
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal
from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Run, Watch, ask, wait_until
from edgelab import demo_data

PLAYBOOK = "edge_encryption.clone.restart_proxies"
NAMES = ["edge_target_1", "edge_target_2", "edge_target_3"]


def pids(bench: Bench, side: str = "target") -> t.List[int]:
    return [int((home / "bin" / "edgeencryption.pid").read_text()) for home in bench.proxies(side)]


def in_service(bench: Bench) -> t.List[str]:
    state = ask("GET", bench.lab["balancer"]["control_url"] + "/state")
    return [backend["name"] for backend in state["backends"] if backend["enabled"]]


def downtimes(watch: Watch) -> t.List[t.Tuple[str, ...]]:
    """Return which target proxies were down at the same time, in order."""
    down = [tuple(name for name in NAMES if name not in running) for _moment, running in watch.seen]
    return [names for names, before in zip(down, [None, *down]) if names and names != before]


@pytest.mark.long
def test_users_notice_nothing(shared: Bench) -> None:
    before = pids(shared)
    demo_data.start_traffic(shared.lab)
    with Watch(shared.proxies("target"), shared.secrets()) as watch:
        run = shared.play(PLAYBOOK)
    users = demo_data.stop_traffic(shared.lab)
    assert run.returncode == 0, run.output[-5000:]
    assert users["sent"] == users["ok"] > 20, users
    assert demo_data.clear_text_requests(shared.lab) == [] and watch.leaks == set()
    assert not set(before) & set(pids(shared)) and in_service(shared) == NAMES
    assert downtimes(watch) == [(name,) for name in NAMES]
    assert run.changes == [f"edge_encryption.clone.proxies : Restart the proxy: {name}" for name in NAMES]


@pytest.mark.long
def test_it_stops_at_the_first_that_does_not_come_back_and_goes_on_from_there(shared: Bench) -> None:
    before, home = pids(shared), shared.proxies("target")[1]
    settings = home / "conf" / "edgeencryption.properties"
    good = settings.read_text()
    settings.write_text(re.sub(r"(?m)^(edgeencryption\.target\.host\s*=).*$", r"\1 127.0.0.9", good))
    demo_data.start_traffic(shared.lab)
    try:
        run = shared.play(PLAYBOOK, edge_proxy_timeout=20)
        users = demo_data.stop_traffic(shared.lab)
        assert run.returncode != 0
        assert "edge_target_2: " in run.message and "It stays out of service. Not restarted: edge_target_2, edge_target_3." in run.message, run.message
        assert users["sent"] == users["ok"] > 20, users
        assert in_service(shared) == ["edge_target_1", "edge_target_3"]
        assert pids(shared)[0] != before[0] and pids(shared)[2] == before[2]
    finally:
        settings.write_text(good)
    limit = re.search(r"go on with (--limit) (\S+)", run.message)
    assert limit
    first = pids(shared)[0]
    run = shared.play(PLAYBOOK, *limit.groups())
    assert run.returncode == 0, run.output[-5000:]
    assert in_service(shared) == NAMES and pids(shared)[0] == first and not set(before) & set(pids(shared))


@pytest.mark.long
def test_it_leaves_a_proxy_alone_that_is_needed(shared: Bench) -> None:
    def refused(**variables: t.Any) -> str:
        before = pids(shared)
        run: Run = shared.play(PLAYBOOK, **variables)
        assert run.returncode != 0 and pids(shared) == before and in_service(shared) == NAMES, run.output[-5000:]
        return run.message

    assert "There are not that many others." in refused(edge_min_healthy=3)
    last = shared.proxies("target")[2]
    subprocess.run([last / "shutdown.sh"], check=True, stdout=subprocess.DEVNULL)
    try:
        (last / "bin" / "edgeencryption.pid").write_text("1\n")  # as a crash leaves it
        message = refused(edge_min_healthy=2)
        assert "Without edge_target_1, edge_target_2 would serve, and 2 must (edge_min_healthy)" in message and "Look at edge_target_3 first." in message
        tried = shared.play(PLAYBOOK, "--check")  # one that serves is enough
        assert tried.returncode == 0 and len(tried.changes) == 3, tried.output[-3000:]
    finally:
        (last / "bin" / "edgeencryption.pid").unlink()
        subprocess.run([last / "startup.sh"], check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: shared.play("edge_encryption.clone.restart_proxies", "--check", edge_min_healthy=2).returncode == 0, pause=1)


@pytest.mark.long
def test_target_proxies_stay_down_during_a_clone_and_those_of_the_source_can_be_restarted(shared: Bench) -> None:
    shared.command(state="cloning")
    journal = Journal(str(shared.folder / "cloning" / "state" / "journal"), "acmetest")
    journal.open("CLN0000001", "test:1:1")
    journal.record("CLN0000001", "t30_clone_start", "started")
    target, source = pids(shared), pids(shared, "source")
    run = shared.play(PLAYBOOK, state="cloning")
    assert run.returncode != 0 and "acmetest/CLN0000001 is not finished" in run.message and pids(shared) == target
    run = shared.play(PLAYBOOK, "-e", "edge_restart=edge_source_proxies", "-e", "edge_restart_serial=2", state="cloning")
    assert run.returncode != 0 and "There are not that many others." in run.message and pids(shared, "source") == source
    run = shared.play(PLAYBOOK, "-e", "edge_restart=edge_source_proxies", state="cloning", edge_out_of_service_tasks=None, edge_in_service_tasks=None)
    assert run.returncode == 0 and pids(shared) == target and not set(source) & set(pids(shared, "source")), run.output[-5000:]
