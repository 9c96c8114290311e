# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Re-signing while everything goes wrong at random instants. SOAK_ROUNDS says how often, SOAK_SEED how.

What must never happen is looked up in the instance's own record of requests, which knows what was carried out, whatever the client was told.
"""

import collections
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from urllib.parse import parse_qs

import pytest

from ansible_collections.edge_encryption.clone.tests.integration.sides import CONFIGURATIONS, RULES, Sides, assert_resigned
from edgelab.proxy.testing import Keystores

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "2"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
MAX_INACTIVE = 3
ATTEMPTS = 8
# The module as Ansible runs it, with its arguments on the standard input; the line tells that the imports are done.
RUNNER = """
import sys
from ansible.module_utils import basic
from ansible_collections.edge_encryption.clone.plugins.modules import edge_rule_resign
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.stdin.buffer.read(), "legacy"
print("ready", flush=True)
edge_rule_resign.main()
"""
TABLES = r"sys_encryption_(rule|configuration)"
FAULTS = {
    "429 with Retry-After": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    "401": {"kind": "unauthorized"},
    "500": {"kind": "status", "status": 500},
    "500 that had committed": {"kind": "status", "status": 500, "committed": True},
    "200 with HTML": {"kind": "html"},
    "200 with HTML that had committed": {"kind": "html", "committed": True},
    "200 with half JSON": {"kind": "partial_json"},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "ignored query": {"kind": "ignore_query", "method": "GET"},
}
AT_PROXY = ("429 with Retry-After", "401", "500", "200 with HTML", "200 with half JSON", "reset before", "reset after")
DEATHS = ("module killed", "module terminated", "proxy killed", None)


class Soak:
    """Round after round, all records are spoilt, re-signed, and something goes wrong meanwhile."""

    def __init__(self, sides, folder):
        self.sides, self.folder = sides, folder
        self.chance = random.Random(SEED)
        self.before = sides.records()
        self.ordered = {"instance": [], "proxy": []}
        self.struck, self.counts = collections.Counter(), collections.Counter()
        self.most_off = 0
        self.duration = 1.5

    def round(self, number):
        for table in (RULES, CONFIGURATIONS):
            self.sides.target.put(table, *(row for key, row in self.before.items() if key[0] == table))
        self.sides.target.control("DELETE", "/requests")
        self.active = {key: row["active"] for key, row in self.before.items()}
        self.seen = 0
        by_form = self.chance.random() < 0.25
        self.sides.proxy.knobs(sign_rest=not by_form)
        self.counts["rounds by form" if by_form else "rounds by table_api"] += 1
        deaths = ["module killed", self.chance.choice(DEATHS)]
        for attempt in range(ATTEMPTS):
            if attempt < 2:
                self.order_faults()
            green = self.attempt(self.folder / "state-{}".format(number), deaths.pop(0) if deaths else None)
            self.count_faults()
            if green:
                break
        self.counts["green at attempt {}".format(attempt + 1)] += 1
        assert green, (number, "not green after {} attempts".format(ATTEMPTS))
        assert_resigned(self.sides, self.before)
        assert self.active == {key: row["active"] for key, row in self.before.items()}

    def order_faults(self):
        """Let some of the next requests go wrong, each of them once."""
        for _number in range(self.chance.randint(1, 4)):
            place = "proxy" if self.chance.random() < 0.3 else "instance"
            name = self.chance.choice(AT_PROXY if place == "proxy" else tuple(FAULTS))
            order = dict(path=TABLES, after=self.chance.randint(0, 60), count=1, **FAULTS[name])
            method = self.chance.choice(["PATCH", "POST", "GET", None])
            if method:
                order.setdefault("method", method)
            self.faults(place, "POST", order)
            self.ordered[place].append(name)

    def count_faults(self):
        for place, names in self.ordered.items():
            for name, order in zip(names, self.faults(place, "GET")["faults"]):
                self.struck["{} ({})".format(name, place)] += order["count"] == 0
            self.faults(place, "DELETE")
            names.clear()

    def faults(self, place, method, body=None):
        if place == "instance":
            return self.sides.target.control(method, "/faults", body)
        answer = self.sides.proxy.session.request(method, self.sides.proxy.control + "/faults", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def attempt(self, state_file, death):
        """Run the module once, let something die in the middle, and tell whether it ended green."""
        was_off = self.off()
        arguments = {
            "instance": dict(self.sides.instance(self.sides.target), timeout=5),
            "proxy_url": self.sides.proxy.url,
            "state_file": str(state_file),
            "max_inactive": MAX_INACTIVE,
            "restore_timeout": 30,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        )
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        process.stdin.close()
        process.stdin = None
        assert process.stdout.readline() == b"ready\n"
        began = time.monotonic()
        if death:
            time.sleep(self.chance.uniform(0, self.duration))
            early = process.poll() is None
            # Aim so that most of them strike before the end.
            self.duration = max(0.2, self.duration * (1.05 if early else 0.8))
            self.strike(death, process)
            if early:
                self.struck[death] += 1
        output, errors = process.communicate(timeout=180)
        self.counts["attempts"] += 1
        if process.returncode == -signal.SIGKILL:
            time.sleep(0.3)  # what it had sent may still arrive
            self.look()
            self.counts["killed while records were off" if self.off() else "killed while none was off"] += 1
            return False
        if process.returncode == -signal.SIGTERM:  # while it only read yet
            self.look()
            assert self.off() == was_off
            self.counts["terminated before it began"] += 1
            return False
        result = json.loads(output.splitlines()[-1])
        self.look()
        assert "Traceback" not in output.decode() + errors.decode(), (output, errors)
        if not result.get("failed"):
            assert not self.off()
            if not death:
                self.duration = 0.7 * self.duration + 0.3 * (time.monotonic() - began)
            return True
        assert "\n" not in result["msg"] and re.search(r"127\.0\.0\.1|sys_encryption_|re-signing|state-\d", result["msg"]), result["msg"]
        named = {(record["table"], record["sys_id"]) for record in result.get("records", ()) if record["error"]}
        # What is left off is named by a run that came so far; one that did not has left everything as it was.
        assert self.off() <= (named if "records" in result else was_off), result["msg"]
        self.counts["red, with records off that it names" if self.off() else "red, with everything on"] += 1
        return False

    def strike(self, death, process):
        if death == "module killed":
            process.kill()
        elif death == "module terminated":
            process.terminate()
        else:
            self.sides.proxy.kill()
            time.sleep(self.chance.uniform(0, 1.5))
            self.sides.proxy.start()

    def off(self):
        """Return the records that are off now and were not at first."""
        return {key for key, row in self.before.items() if row["active"] == "true" and self.active[key] == "false"}

    def look(self):
        """Follow what was carried out since the last look."""
        for request in self.sides.target.control("GET", "/requests?since={}".format(self.seen))["requests"]:
            self.seen = request["n"]
            if request["method"] not in ("PATCH", "POST", "PUT", "DELETE") or not re.search(TABLES, request["path"]):
                continue
            assert request["via_proxy"] == "edge_target_1" and request["method"] in ("PATCH", "POST"), request
            key, active = change_of(request)
            assert self.before[key]["sys_created_by"] != "glide.maint", request
            if request["done"] in (200, 302) and active is not None:
                assert active == "false" or self.before[key]["active"] == "true", ("an inactive record was activated", request)
                self.active[key] = active
                self.most_off = max(self.most_off, len(self.off()))
                assert self.most_off <= MAX_INACTIVE, request


def change_of(request):
    """Return which record a write is of, and what it sets the field active to."""
    parts = request["path"].split("/")
    if request["method"] == "PATCH":
        return (parts[-2], parts[-1]), json.loads(request["body"]).get("active")
    form = {name: values[0] for name, values in parse_qs(request["body"], keep_blank_values=True).items()}
    table = parts[-1][: -len(".do")]
    return (table, form["sys_uniqueValue"]), form.get(table + ".active")


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    made = Sides(folder, Keystores(folder))
    made.add_records(20, 5)
    yield made
    made.close()


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(30, marks=pytest.mark.long)])
def test_faults_at_random_instants(sides, tmp_path, rounds):
    soak = Soak(sides, tmp_path)
    for number in range(rounds):
        soak.round(number)
        if rounds > 20 and number % 10 == 9:
            sys.__stdout__.write("{} rounds survived\n".format(number + 1))
            sys.__stdout__.flush()
    if "SOAK_REPORT" in os.environ:
        report = {"rounds": rounds, "seed": SEED, "records": len(soak.before), "max_inactive": MAX_INACTIVE, "most_inactive": soak.most_off}
        report.update(struck=dict(sorted(soak.struck.items())), struck_in_all=sum(soak.struck.values()), counts=dict(sorted(soak.counts.items())))
        pathlib.Path(os.environ["SOAK_REPORT"]).write_text(json.dumps(report, indent=2) + "\n")
    assert soak.struck and 0 < soak.most_off <= MAX_INACTIVE
