# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clones whose controller is killed again and again at random instants, while users write. SOAK_ROUNDS says how many clones, SOAK_SEED when.

Every clone must end green when it is started again, in the same state each time, and what must never happen is looked up in the lab's own records:
processes, requests, tables.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import re
import subprocess
import time
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, Watch, ask, checksums, epoch, hashes, kill_group, running_proxies
from ansible_collections.edge_encryption.clone.tests.e2e.conftest import private_bench
from edgelab import demo_data

pytestmark = pytest.mark.long
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "1"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
REPORT = os.environ.get("SOAK_REPORT")
KILLS = 5  # a clone, at most: one that is finished by then is not killed
MAX_EVENTS = 14  # of the about 50 that a run journals, and MAX_SECONDS more: so kills come upon every step, however fast the machine
MAX_SECONDS = 8
MAX_INACTIVE = 4
STARTS = KILLS + 1
RULES = ("sys_encryption_rule", "sys_encryption_configuration")


def test_a_clone_whose_controller_is_killed_again_and_again() -> None:
    chance = random.Random(SEED)
    kills: t.Counter[str] = collections.Counter()
    ends = []
    began = time.monotonic()
    for number in range(1, ROUNDS + 1):
        with private_bench() as bench:
            clone = Clone(bench, chance)
            ends.append(clone.until_green())
            kills.update(clone.kills)
        seconds, count = round(time.monotonic() - began), sum(kills.values())
        print(f"soak: clone {number}/{ROUNDS} green after {clone.starts} starts, {count} kills so far, {seconds} s", flush=True)
        if REPORT:
            report = {"seed": SEED, "clones": number, "kills": count, "killed_in": dict(sorted(kills.items())), "seconds": seconds}
            pathlib.Path(REPORT).write_text(json.dumps(report, indent=2) + "\n")
    assert kills
    assert all(end == ends[0] for end in ends), ends


class Clone:
    """One clone, and what is watched meanwhile."""

    def __init__(self, bench: Bench, chance: random.Random) -> None:
        self.bench, self.chance = bench, chance
        self.kills: t.List[str] = []
        self.starts = 0
        bench.keep_target_proxies()
        bench.fill(6)
        bench.schedule()
        self.rules = {row["sys_id"]: row["active"] for table in RULES for row in bench.raw("target", table)}
        self.source_rules = {row["sys_id"]: row["active"] for table in RULES for row in bench.raw("source", table)}
        self.source = self._source()
        self.own_tokens = bench.tokens("target")
        bench.control("source", "DELETE", "/requests")
        demo_data.start_traffic(bench.lab)

    def _source(self) -> Row:
        bench = self.bench
        return {
            "homes": {home.name: hashes(home) for home in bench.proxies("source")}, "proxies": running_proxies(bench.proxies("source")),
            "database": checksums(bench.token_db("source")), "schemas": bench.schemas("source"),
        }  # fmt: skip

    def until_green(self) -> Row:
        bench = self.bench
        with Watch(bench.proxies("target"), bench.secrets()) as watch, bench.when("t30_clone_start", self._bring_forward):
            while not self._start_and_kill():
                self._assert_tokens_are_whole()
        demo_data.stop_traffic(bench.lab)
        report = json.loads((bench.folder / "run" / "report.json").read_text())
        assert report["result"] == "green" and report["open"] == []
        self._assert_what_must_never_happen(watch, report)
        return self._end(report)

    def _bring_forward(self) -> None:
        self.bench.change_request(scheduled=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + self.bench.stop_lead)))

    def _start_and_kill(self) -> bool:
        """Start the run, again perhaps, and say whether it ended green; otherwise it was killed."""
        self.starts += 1
        assert self.starts <= STARTS
        bench = self.bench
        events = len(bench.journal()) + self.chance.randint(0, MAX_EVENTS)
        seconds = self.chance.uniform(0, MAX_SECONDS)
        process = bench.start("-e", f"edge_clone_number={bench.number}")
        try:
            while process.poll() is None and (self.starts == STARTS or len(bench.journal()) < events):
                time.sleep(0.1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.returncode is not None:
                assert process.returncode == 0, bench.result(process).output[-5000:]
                return True
        finally:
            if process.poll() is None:
                kill_group(process)
        steps = [event["step"] for event in bench.journal() if event["event"] == "step"]
        self.kills.append(steps[-1] if steps else "before the journal")
        return False

    # What must never happen, by the numbers of the architecture

    def _assert_tokens_are_whole(self) -> None:
        """2: entirely old or entirely new."""
        live = self.bench.tokens("target")
        assert self.own_tokens <= live or self.bench.tokens("source") <= live

    def _assert_what_must_never_happen(self, watch: Watch, report: Row) -> None:
        bench = self.bench
        first: t.Dict[t.Tuple[str, str], float] = {}
        for event in bench.journal():
            if event["event"] == "step":
                first.setdefault((event["step"], event["status"]), epoch(event["time"]))
        stopped, exchanged, opened = first["t30_clone_start", "done"], first["t50_clone_end", "done"], first["t95_open", "started"]
        # 1: no target proxy runs between t30 and the verified cut-over.
        assert {names for moment, names in watch.seen if stopped <= moment <= exchanged} == {()}
        # 3: few rules inactive at a time, none left so.
        assert self._most_inactive(exchanged) <= MAX_INACTIVE
        assert {row["sys_id"]: row["active"] for table in RULES for row in bench.raw("target", table)} == self.source_rules
        # 5: no secret in argv, output, journal or report.
        assert watch.leaks == set()
        files = [path for path in (bench.folder / "run").rglob("*") if path.is_file() and path.name != "inventory.json"]
        assert [(path.name, what) for path in files for what, secret in bench.secrets().items() if secret.encode() in path.read_bytes()] == []
        # 6: the source is only read.
        writes = [request for request in bench.requests("source") if request["method"] not in ("GET", "HEAD") and not request["path"].startswith("/edge/")]
        assert writes == [] and self._source() == self.source
        # 7: the snapshot began after the backup had ended.
        staged = next(step for step in report["steps"] if step["id"] == "t35_stage")["evidence"]
        assert epoch(staged["snapshot"]["began"]) >= epoch(staged["clone"]["backup_completed"])
        # 9: no user reaches a target proxy before t90 is green, and no clear text the instance, ever.
        users = [epoch(request["time"]) for request in bench.requests("target") if request["user"] == "demo.user"]
        assert not [moment for moment in users if stopped <= moment <= opened] and [moment for moment in users if moment < stopped]
        assert demo_data.clear_text_requests(bench.lab) == []

    def _most_inactive(self, since: float) -> int:
        active, most = dict(self.source_rules), 0
        for request in self.bench.requests("target"):
            match = re.fullmatch(r"/api/now/table/(?:{})/(\w+)".format("|".join(RULES)), request["path"])
            if match and request["status"] == 200 and request["method"] in ("PATCH", "PUT", "POST") and epoch(request["time"]) >= since:
                active[match[1]] = json.loads(request["body"]).get("active", active[match[1]])
                most = max(most, len([sys_id for sys_id, state in active.items() if state == "false" and self.source_rules[sys_id] == "true"]))
        return most

    def _end(self, report: Row) -> Row:
        """What must be the same after every clone."""
        bench = self.bench
        (home,) = bench.proxies("target")
        state = ask("GET", bench.lab["proxies"]["target"][0]["control_url"] + "/state")
        names = re.findall(r"(?m)^\s*(edgeencryption[\w.]+)", (home / "conf" / "edgeencryption.properties").read_text())
        verify = report["verify"]
        assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"]
        # 8: nobody holds the target any more.
        assert not list((bench.folder / "run" / "state").rglob("lock.json"))
        return {
            "properties": names, "validates": state["verify"], "locked": state["locked"], "status": state["status"], "verify": verify,
            "steps": {step["id"]: step["status"] for step in report["steps"]}, "tokens": bench.tokens("source") <= bench.tokens("target"),
            "rules": len(self.rules), "running": len(running_proxies([home])), "token_db": {key: report["token_db"][key] for key in ("tables", "verified")},
        }  # fmt: skip
