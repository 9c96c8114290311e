# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What 2, 8 and 32 proxies cost to stop, configure and start, against the playbook that one would write by hand; and what a whole clone costs beside its waits.

The proxies are small daemons on this machine with the scripts and the layout of real ones, so that what is measured is Ansible and this collection.
The playbook by hand does the same with command, wait_for and lineinfile. It proves less: no hold, no log, no look at what runs a moment later.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.edge_encryption.clone.tests.e2e.bench import ANSIBLE_PLAYBOOK, COLLECTION, Bench, environment
from ansible_collections.edge_encryption.clone.tests.integration.proxy_host.fake_home import FakeHome

VARIABLES = [str(COLLECTION / "playbooks" / "timeline" / "vars" / name) for name in ("clone.yml", "proxies.yml")]
FOLDER = COLLECTION / "build" / "bench"
FORKS = 5  # Ansible's default
SETTLE = 3  # seconds; for so long a started proxy must stay up, the default of proxy_service
ACTS = ("stop", "configure", "start")
PROPERTY = "edgeencryption.proxy.skip.config.validate"
# A run waits for the clone and for proxies, and moves data; the rest is what it costs.
WAITS = ("instance_clone_info", "proxy_service")
DATA = ("mysql_token_db_sync", "edge_rule_resign", "edge_value_info")


def role(entry: str) -> t.Dict[str, t.Any]:
    return {"name": f"Take part {entry}", "ansible.builtin.include_role": {"name": "edge_encryption.clone.proxies", "tasks_from": entry}}


OURS = {
    "stop": [role("stop")],
    "configure": [{"name": "Set", "edge_encryption.clone.edge_property": {"home": "{{ edge_home }}", "properties": {PROPERTY: "{{ value }}"}}}],
    "start": [role("start")],
}
BY_HAND = {
    "stop": [
        {"name": "Stop", "ansible.builtin.command": "{{ edge_home }}/shutdown.sh"},
        {"name": "Wait", "ansible.builtin.wait_for": {"port": "{{ edge_port }}", "state": "stopped", "timeout": 60}},
    ],
    "configure": [
        {
            "name": "Set",
            "ansible.builtin.lineinfile": {
                "path": "{{ edge_home }}/conf/edgeencryption.properties", "regexp": "^" + PROPERTY, "line": PROPERTY + " = {{ value }}",
            },
        }
    ],
    "start": [
        {"name": "Start", "ansible.builtin.command": "{{ edge_home }}/startup.sh"},
        {"name": "Wait", "ansible.builtin.wait_for": {"port": "{{ edge_port }}", "timeout": 60}},
    ],
}  # fmt: skip


class Measured(t.NamedTuple):
    """What a playbook took: seconds on the clock, seconds of the processors, and tasks of each host."""

    seconds: float
    cpu: float
    tasks: float


def play(inventory: pathlib.Path, tasks: t.Sequence[t.Any], value: str = "false") -> Measured:
    plays = [{"hosts": "edge_target_proxies", "gather_facts": False, "vars_files": VARIABLES, "tasks": list(tasks)}]
    playbook = inventory.with_name("play.yml")
    playbook.write_text(json.dumps(plays))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [str(ANSIBLE_PLAYBOOK), "-i", str(inventory), "--forks", str(FORKS), "-e", "value=" + value, str(playbook)]
    done = subprocess.run(command, env=environment(COLLECTION / "build" / "collections"), capture_output=True, text=True, check=False)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    hosts = re.findall(r"(?m)^\S+ +: ok=(\d+) .*skipped=(\d+)", done.stdout)
    each = sum(int(ok) + int(skipped) for ok, skipped in hosts) / max(1, len(hosts))
    return Measured(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, each)


def inventory_of(folder: pathlib.Path, homes: t.Sequence[FakeHome]) -> pathlib.Path:
    hosts = {home.path.name: {"edge_home": str(home.path), "edge_port": home.port} for home in homes}
    path = folder / "inventory.json"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "edge_proxy_manager": "scripts"}
    groups = {"edge_runner": {"hosts": {"runner": {}}}, "edge_target_proxies": {"hosts": hosts}}
    path.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))
    return path


def measure(count: int, rounds: int) -> t.Dict[str, t.Any]:
    """Stop, configure and start so many proxies, ours and by hand in turn; return medians for a host."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="edgebench"))
    homes: t.List[FakeHome] = []
    taken: t.Dict[str, t.Dict[str, t.List[Measured]]] = {name: {act: [] for act in ACTS} for name in ("ours", "by_hand")}
    try:
        for number in range(1, count + 1):
            homes.append(FakeHome(folder / f"edge_target_{number}"))
            homes[-1].start_by_hand()
        inventory = inventory_of(folder, homes)
        nothing = [play(inventory, []) for _round in range(rounds)]
        for number in range(rounds):
            for name, acts in (("ours", OURS), ("by_hand", BY_HAND)):
                for act in ACTS:
                    taken[name][act].append(play(inventory, acts[act], value=f"{name} {number}"))
                    assert [home.listens() for home in homes] == [act == "start"] * count, (name, act)
    finally:
        for home in homes:
            home.clean()
        shutil.rmtree(folder)

    def median(of: t.Sequence[Measured], what: str) -> float:
        return statistics.median(getattr(one, what) for one in of)

    settled = {"start": math.ceil(count / FORKS) * SETTLE}
    return {
        "proxies": count,
        "playbook_without_a_task_s": round(median(nothing, "seconds"), 2),
        **{
            name: {
                act: {
                    "s": round(median(runs, "seconds"), 2),
                    "s_a_host": round((median(runs, "seconds") - median(nothing, "seconds") - (settled.get(act, 0) if name == "ours" else 0)) / count, 3),
                    "cpu_s_a_host": round((median(runs, "cpu") - median(nothing, "cpu")) / count, 3),
                    "tasks_a_host": median(runs, "tasks"),
                }
                for act, runs in acts.items()
            }
            for name, acts in taken.items()
        },
    }


def clone(rounds: int) -> t.Dict[str, t.Any]:
    """Clone a lab with three target proxies; return what its run takes beside its waits and the data."""
    found = []
    for _round in range(rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
        bench = None
        try:
            bench = Bench(folder)
            bench.fill()
            bench.schedule()
            durations = folder / "durations.json"
            os.environ.update(ANSIBLE_CALLBACK_PLUGINS=str(COLLECTION / "tests" / "bench" / "callbacks"), ANSIBLE_CALLBACKS_ENABLED="durations")
            os.environ["DURATIONS"] = str(durations)
            run = bench.run()
            assert run.returncode == 0, run.output[-3000:]
            found.append(json.loads(durations.read_text()))
        finally:
            if bench:
                bench.down()
            shutil.rmtree(folder)

    def seconds(one: t.Dict[str, t.Any], names: t.Sequence[str]) -> float:
        return sum(taken for action, taken in one["seconds"].items() if action.rpartition(".")[2] in names)

    def median(of: t.Callable[[t.Dict[str, t.Any]], float]) -> float:
        return round(statistics.median(map(of, found)), 1)

    return {
        "target_proxies": 3,
        "tasks": found[0]["tasks"],
        "s": median(lambda one: sum(one["seconds"].values())),
        "waits_s": median(lambda one: seconds(one, WAITS)),
        "data_s": median(lambda one: seconds(one, DATA)),
        "rest_s": median(lambda one: sum(one["seconds"].values()) - seconds(one, WAITS) - seconds(one, DATA)),
    }


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxies", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clones", type=int, default=3)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    sites = []
    for count in options.proxies:
        sites.append(measure(count, options.rounds))
        say(json.dumps(sites[-1]))
    result: t.Dict[str, t.Any] = {"forks": FORKS, "settle_s": SETTLE, "rounds": options.rounds, "sites": sites}
    if options.clones:
        result["clone"] = clone(options.clones)
    few, many = sites[min(1, len(sites) - 1)]["ours"], sites[-1]["ours"]
    result["targets_met"] = {
        "a host of the largest site costs no more than 1.2 times one of a small site": all(
            many[act]["cpu_s_a_host"] <= 1.2 * few[act]["cpu_s_a_host"] for act in ACTS
        ),
        **({"a whole clone costs less than 60 s beside waits and data": result["clone"]["rest_s"] < 60} if options.clones else {}),
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    (FOLDER / "hosts.json").write_text(json.dumps({"machine": machine, "result": result}, indent=2) + "\n")
    say(json.dumps(result, indent=2))
    say(f"Written to {FOLDER / 'hosts.json'}")
    sys.exit(not all(result["targets_met"].values()))


if __name__ == "__main__":
    main()
