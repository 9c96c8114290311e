# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole clones of a lab that nobody starts: the real ansible-rulebook, our rulebook and source, and the playbooks by their full names."""

import json
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, Watch, epoch, running_proxies, wait_until
from ansible_collections.edge_encryption.clone.tests.eda.rulebook import Rulebook
from edgelab import demo_data
from edgelab.inventory import write_inventory

LEAD = 40  # seconds before its start at which the proxies must be down
NOTICE = 3000  # a clone that is brought forward is due at once
PATIENCE = 900  # seconds for what one run does, on a machine that has other things to do


def events(bench: Bench) -> t.List[Row]:
    """What the journal has of the present clone."""
    files = (bench.folder / "run" / "state").rglob(f"{bench.number}/journal.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def step(bench: Bench, name: str) -> t.List[str]:
    """Every status that the journal has of a step of the present clone."""
    return [event["status"] for event in events(bench) if event.get("step") == name]


def closed(bench: Bench) -> t.List[str]:
    """How each start for the present clone was closed."""
    return [event["result"] for event in events(bench) if event["event"] == "closed"]


def report(bench: Bench) -> Row:
    """The report of the last run, which is replaced in one step."""
    path = bench.folder / "run" / "report.json"
    return json.loads(path.read_text()) if path.exists() else {}


def record(bench: Bench) -> Row:
    return next(row for row in bench.raw("source", "clone_instance") if row["clone_id"] == bench.number)


@pytest.mark.long
def test_a_clone_that_is_canceled_and_one_that_is_not(small: Bench) -> None:
    homes = small.proxies("target")
    before = small.tokens("target")
    lab = small.lab["instances"]
    inventory = write_inventory(small.lab, small.folder / "run", **{**small.variables, "edge_stop_lead": LEAD})
    source = {"host": lab["source"]["url"], "username": lab["source"]["username"], "password": lab["source"]["password"], "ca_path": small.lab["ca"]}
    given = {"edge_source_instance": source, "edge_target_name": lab["target"]["name"], "edge_confirm_target": lab["target"]["name"], "edge_stop_lead": LEAD,
             "edge_events_notice": NOTICE, "edge_events_interval": 1, "edge_events_cursor": str(small.folder / "cursor.json")}  # fmt: skip
    environment = {"ANSIBLE_PIPELINING": "true", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false"}
    with Rulebook("clone_events", small.folder / "rulebook", small.collections, inventory, given, environment) as rulebook:
        # The first one is prepared; then its owner thinks better of it.
        small.schedule(2 * NOTICE)
        rulebook.wait_until(lambda: closed(small) == ["paused"], PATIENCE)
        assert step(small, "t20_before_clone")[-1] == "done" and step(small, "t30_clone_start") == [] and running_proxies(homes)
        with demo_data.session(small.lab, "source", lab["source"]["username"]) as client:
            client.patch(f"{lab['source']['url']}/api/now/table/clone_instance/{record(small)['sys_id']}", json={"state": "Canceled"}).raise_for_status()
        rulebook.wait_until(lambda: closed(small)[-1] == "abandoned", PATIENCE)
        assert running_proxies(homes) and small.tokens("target") == before

        # The second one goes through, though the rulebook is killed while it is prepared.
        small.schedule(2 * NOTICE)
        rulebook.wait_until(lambda: "started" in step(small, "t00_preflight") or step(small, "t10_source_backup"), PATIENCE)
        rulebook.kill()
        rulebook.start()
        # The end of the first one is told again, too, which does no harm.
        rulebook.wait_until(lambda: closed(small) == ["paused"], 2 * PATIENCE)
        assert step(small, "t30_clone_start") == [] and running_proxies(homes)
        with Watch(homes, small.secrets()) as watch:
            demo_data.bring_forward(small.lab, small.number, NOTICE - 600)
            rulebook.wait_until(lambda: step(small, "t30_clone_start") == ["started"], PATIENCE)
            demo_data.bring_forward(small.lab, small.number, LEAD + 5)  # the run, which waits for it, sees that
            rulebook.wait_until(lambda: step(small, "t35_stage")[-1:] == ["done"], PATIENCE)
            rulebook.wait_until(lambda: report(small).get("result") == "green", 4 * PATIENCE)
        output = rulebook.output
    assert "LATE" not in output
    started = epoch(record(small)["started"].replace(" ", "T") + "Z")
    down = [seen for seen in watch.seen if started <= seen[0]]
    # No target proxy runs between the start of the clone and the moment at which the source's tokens are in place.
    cut_over = next(epoch(event["time"]) for event in events(small) if event.get("step") == "t50_clone_end" and event["status"] == "started")
    assert down and {names for moment, names in down if moment < cut_over} == {()}
    assert small.tokens("source") <= small.tokens("target") and running_proxies(homes)
    wait_until(lambda: [row["online"] for row in small.raw("target", "sys_encryption_proxy")].count("true") == 1)
    assert closed(small)[-1] == "green" and report(small)["run_id"] == f"acmetest/{small.number}" and report(small)["verify"]["failures"] == []
    assert watch.leaks == set()
    leaked = [what for what, secret in small.secrets().items() if secret in output or secret in (small.folder / "cursor.json").read_text()]
    assert leaked == []
