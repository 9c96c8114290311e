# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long it takes to re-sign 1,000 records, against a playbook that loops over them, and against what the network allows.

The lab's knobs are set so that the round trip of a lone client lasts 50 ms, through the proxy and without one: what the lab's own
programs take of it is measured first. Both ways are called by ansible, as a user would.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time
import typing as t

from ansible_collections.edge_encryption.clone.tests.integration.sides import CONFIGURATIONS, RULES, Sides, assert_resigned, most_off
from edgelab.proxy.testing import Keystores

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "build" / "bench"
MODULE = "edge_encryption.clone.edge_rule_resign"
ROUND_TRIP_MS = 50
CONCURRENCY = 8
# Like the sessions of a browser, each PATCH of the loop goes through the proxy; first off, then on again.
LOOP = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Save each record twice",
                "ansible.builtin.uri": {
                    "url": "{{ proxy_url }}/api/now/table/{{ item.0.table }}/{{ item.0.sys_id }}",
                    "method": "PATCH",
                    "url_username": "{{ instance.username }}",
                    "url_password": "{{ instance.password }}",
                    "force_basic_auth": True,
                    "ca_path": "{{ instance.ca_path }}",
                    "body_format": "json",
                    "body": {"active": "{{ item.1 }}"},
                },
                "loop": "{{ sample | product(['false', 'true']) }}",
                "loop_control": {"label": "{{ item.0.sys_id }}"},
            }
        ],
    }
]


def set_round_trip(sides: Sides) -> t.Dict[str, float]:
    """Make a save through the proxy and a read without it last so long; return what they take by themselves."""
    key, row = next((key, row) for key, row in sides.records().items() if key[0] == RULES and row["sys_created_by"] == "security.officer")
    path = "/api/now/table/{0}/{1}".format(*key)
    client = sides.target.client("edge.automation")
    calls = {
        "proxy_ms": lambda: client.patch(sides.proxy.url + path, json={"active": row["active"]}, timeout=10),  # changes nothing
        "direct_ms": lambda: client.get(sides.target.url + path, timeout=10),
    }
    taken = {}
    for name, call in calls.items():
        times = []
        for _number in range(60):
            started = time.monotonic()
            call().raise_for_status()
            times.append((time.monotonic() - started) * 1000)
        taken[name] = round(statistics.median(times[10:]), 1)
    sides.proxy.knobs(latency_ms=max(0, ROUND_TRIP_MS - taken["proxy_ms"]))
    sides.target.knobs(direct_latency_ms=max(0, ROUND_TRIP_MS - taken["direct_ms"]))
    return taken


def connections(sides: Sides) -> int:
    return t.cast(int, sides.proxy.session.get(sides.proxy.control + "/connections", timeout=10).json()["opened"])


def ours(sides: Sides, records: int) -> t.Dict[str, t.Any]:
    """Re-sign everything; return what it took."""
    before = sides.records()
    sides.target.control("DELETE", "/requests")
    opened = connections(sides)
    state_file = FOLDER / "resign.jsonl"
    state_file.unlink(missing_ok=True)
    arguments = {
        "instance": sides.instance(sides.target),
        "proxy_url": sides.proxy.url,
        "state_file": str(state_file),
        "max_inactive": CONCURRENCY,
    }
    seconds, output = ansible("ansible", "localhost", "--connection", "local", "-m", MODULE, "-a", json.dumps(arguments))
    result = json.loads(output[output.index("{") :])
    assert result["totals"]["resigned"] == records, result["totals"]
    assert_resigned(sides, before)
    direct = {request["connection"] for request in sides.target.control("GET", "/requests")["requests"] if not request["via_proxy"]}
    return {
        "command_s": round(seconds, 2),
        "module_s": result["seconds"],
        "handshakes_with_proxy": connections(sides) - opened,
        "handshakes_with_instance": len(direct),
        "most_inactive": most_off(sides, before),
    }


def loop(sides: Sides, sample: int) -> float:
    """Return the seconds a record takes in the loop; what the playbook takes without any record does not count."""
    chosen = [{"table": key[0], "sys_id": key[1]} for key, row in sides.records().items() if row["sys_created_by"] == "security.officer"][:sample]
    playbook = FOLDER / "loop.yml"
    playbook.write_text(json.dumps(LOOP))
    taken = []
    for records in ([], chosen):
        variables = {"instance": sides.instance(sides.target), "proxy_url": sides.proxy.url, "sample": records}
        taken.append(ansible("ansible-playbook", str(playbook), "-e", json.dumps(variables))[0])
    return (taken[1] - taken[0]) / sample


def ansible(program: str, *arguments: str) -> t.Tuple[float, str]:
    binaries = pathlib.Path(sys.executable).parent
    environment = dict(os.environ, ANSIBLE_PIPELINING="true", ANSIBLE_STDOUT_CALLBACK="minimal", ANSIBLE_LOCALHOST_WARNING="false")
    environment.update(ANSIBLE_NOCOLOR="true", ANSIBLE_PYTHON_INTERPRETER=sys.executable)
    started = time.monotonic()
    # The passwords on this command line are of instances that live for this benchmark only.
    done = subprocess.run([str(binaries / program), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode()
    assert done.returncode == 0, output[-3000:]
    return time.monotonic() - started, output


def measure(records: int, sample: int) -> t.Dict[str, t.Any]:
    folder = FOLDER / "lab"
    shutil.rmtree(str(folder), ignore_errors=True)
    folder.mkdir(parents=True)
    # A real proxy polls the instance beside its work; the lab's does nothing else meanwhile, and longest where there are many records.
    sides = Sides(folder, Keystores(folder), properties={"config.poll.interval": "3600"})
    try:
        there = len([row for row in sides.records().values() if row["sys_created_by"] != "glide.maint"])
        configurations = records // 10
        sides.add_records(records - there - configurations, configurations)
        taken = set_round_trip(sides)
        found = dict(ours(sides, records), of_round_trip_by_lab=taken)
        say(json.dumps(found))
        found["loop_s"] = round(loop(sides, sample) * records, 1)
    finally:
        sides.close()
        shutil.rmtree(str(folder), ignore_errors=True)
    bound = 2 * records * ROUND_TRIP_MS / 1000 / CONCURRENCY
    found.update(
        records=records,
        tables=[RULES, CONFIGURATIONS],
        round_trip_ms=ROUND_TRIP_MS,
        concurrency=CONCURRENCY,
        loop_sample=sample,
        bound_s=bound,
        times_faster_than_loop=round(found["loop_s"] / found["command_s"], 1),
        times_the_bound=round(found["module_s"] / bound, 3),
        reconnects=found["handshakes_with_proxy"] - CONCURRENCY,
    )
    return found


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=50)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    result = measure(options.records, options.sample)
    result["targets_met"] = {
        "20 times faster than the loop": result["times_faster_than_loop"] >= 20,
        "within 1.25 of the bound": result["times_the_bound"] <= 1.25,
        "one TLS handshake a worker": result["reconnects"] == 0,
        "never more than max_inactive off": 0 < result["most_inactive"] <= CONCURRENCY,
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    (FOLDER / "resign.json").write_text(json.dumps({"machine": machine, "result": result}, indent=2) + "\n")
    say(json.dumps(result, indent=2))
    say("Written to {0}".format(FOLDER / "resign.json"))
    sys.exit(not all(result["targets_met"].values()))


if __name__ == "__main__":
    main()
