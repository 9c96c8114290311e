# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that becomes unreachable while a run is under way. Ansible then goes on with the plays of other hosts, and the run must not."""

import json
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Run, running_proxies

pytestmark = pytest.mark.long
REFUSED_PORT = 9  # nobody listens there
NAME = "edge_target_1"


class Network:
    """Lets target proxies be reached as everybody else, or not at all."""

    def __init__(self, bench: Bench) -> None:
        self._connection = bench.folder / "connection"
        self.mend()
        variables = bench.folder / "run" / "group_vars" / "edge_target_proxies.json"
        variables.parent.mkdir(parents=True)
        connection = "{{ lookup('ansible.builtin.file', '" + str(self._connection) + "') }}"
        variables.write_text(json.dumps({"ansible_connection": connection, "ansible_host": "127.0.0.1", "ansible_port": REFUSED_PORT}))

    def cut(self) -> None:
        self._connection.write_text("ssh")

    def mend(self) -> None:
        self._connection.write_text("local")


def journaled(bench: Bench) -> t.List[t.Tuple[str, str]]:
    return [(event["step"], event["status"]) for event in bench.journal() if event["event"] == "step"]


def stops_at(bench: Bench, network: Network, step: str, *arguments: str) -> Run:
    """Start the run, lose the target proxy as soon as a step has begun, and look at what stops it."""
    network.mend()
    seen = len(bench.journal())
    meddler = bench.when(step, network.cut)
    moment = meddler.moment
    meddler.moment = lambda: len(bench.journal()) > seen and moment() and any(event.get("step") == step for event in bench.journal()[seen:])
    with meddler:
        run = bench.run(*arguments)
    assert meddler.done and run.returncode != 0, run.output[-3000:]
    assert run.recap[NAME]["unreachable"] == 1
    assert f"{step} failed. " in run.output and f"{NAME} could not be reached any more" in run.output
    assert journaled(bench)[-1] == (step, "failed")
    assert run.report and run.report["result"] == "red"
    assert run.step(step)["status"] == "failed" and NAME in run.step(step)["error"]
    return run


def test_a_run_stops_in_the_step_in_which_the_only_target_proxy_is_lost(small: Bench) -> None:
    """In t30, where it would go on to a clone with a proxy that runs, and in t70, where it would end green with signatures that nobody verifies."""
    network = Network(small)
    small.schedule()
    number = ("-e", f"edge_clone_number={small.number}")
    stops_at(small, network, "t30_clone_start")
    assert running_proxies(small.proxies("target")) and not [step for step, status in journaled(small) if step > "t30_clone_start"]
    stops_at(small, network, "t70_signatures", *number)
    properties = Path(small.lab["proxies"]["target"][0]["home"], "conf", "edgeencryption.properties").read_text()
    assert "edgeencryption.proxy.signature.verify" in properties and ("t70_signatures", "done") not in journaled(small)
    network.mend()
    done = small.run(*number)
    assert done.returncode == 0 and done.report and done.report["result"] == "green", done.output[-3000:]


def test_a_run_stops_where_a_disk_is_full_and_goes_on_once_there_is_room(small: Bench) -> None:
    """On the target proxy's host, in t30, before the proxy goes down."""
    small.schedule()
    kept = Path(small.lab["proxies"]["target"][0]["home"], "before_clone")
    kept.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(kept)], check=True)
    try:
        run = small.run()
    finally:
        subprocess.run(["umount", str(kept)], check=True)
    assert run.returncode != 0 and "t30_clone_start failed" in run.output and f"{NAME}: " in run.message, run.output[-3000:]
    assert "No space left on device" in run.message and str(kept) in run.output, run.message
    assert journaled(small)[-1] == ("t30_clone_start", "failed")
    done = small.run("-e", f"edge_clone_number={small.number}")
    assert done.returncode == 0 and done.report and done.report["result"] == "green", done.output[-3000:]
    assert len([path for path in kept.rglob("*") if path.is_file()]) >= 2


def test_a_run_does_not_begin_without_a_proxy_that_cannot_be_reached(small: Bench) -> None:
    network = Network(small)
    small.schedule()
    network.cut()
    refused = small.run()
    assert refused.returncode != 0 and f"{NAME} cannot be reached by Ansible" in refused.message, refused.output[-3000:]
    assert small.journal() == [] and running_proxies(small.proxies("target"))
