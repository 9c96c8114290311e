# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of every kind at random instants of every state. SOAK_ROUNDS says how many, SOAK_SEED which."""

import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from ansible_collections.edge_encryption.clone.tests.integration import conftest
from ansible_collections.edge_encryption.clone.tests.integration.test_token_db_killed import orphans_end, settle, start

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "8"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
# The other tests do without syncs to be fast; a server that is killed needs them, as every real one has them.
DURABLE = ["--innodb-flush-method=O_DIRECT", "--innodb-flush-log-at-trx-commit=1", "--sync-frm=ON"]
FAULTS = {
    "snapshotted": ("kill module", "kill source", "cut connections", "disk full"),
    "staged": ("kill module", "kill target", "cut connections"),
    "cut_over": ("kill module", "kill target", "cut connections"),
    "rolled_back": ("kill module", "kill target", "cut connections"),
}


class Soak:
    """One site, clone after clone; each run is hit once and must then be finished by starting the same thing again."""

    def __init__(self, site, disk, slack):
        self.site, self.disk, self.slack = site, disk, slack
        self.chance = random.Random(SEED)
        self.counts = collections.Counter()
        self.durations = dict.fromkeys(FAULTS, 0.3)
        site.directory = str(disk / "snapshots")

    def rows(self, server):
        return conftest.checksums(self.site.content(server))

    def round(self, number):
        site, run_id = self.site, "soak-{0}".format(number)
        site.source.sql(
            "USE edgeencryption",
            "DELETE FROM edge_token_map WHERE id % 13 = {0}".format(number % 13),
            "INSERT INTO edge_token_map (token, value) SELECT CONCAT('{0}-', seq), REPEAT(UUID(), 3) FROM seq_1_to_100".format(run_id),
        )
        # The target is in use until the clone.
        site.target.sql("INSERT INTO edgeencryption.edge_token_map (token, value) VALUES ('of the target, {0}', 'its own')".format(run_id))
        state, delta = self.chance.choice(sorted(FAULTS)), self.chance.random() < 0.5
        fault = self.chance.choice(FAULTS[state])
        old, new = self.rows(site.target), self.rows(site.source)
        arguments = {
            "snapshotted": {"run_id": run_id, "keep_snapshots": 2, "keep_for": 0},
            "staged": {"run_id": run_id, "delta": delta, "keep_for": 0},
            "cut_over": {"run_id": run_id},
            "rolled_back": {"run_id": run_id},
        }
        snapshot = ""
        for step in FAULTS:
            if step == "rolled_back" and state != "rolled_back":
                break
            if step == "staged":
                arguments["staged"]["snapshot"] = snapshot
            if step == state:
                survived = self.hit(step, fault, arguments[step])
                self.counts["{0}: {1}{2}".format(step, fault, " (already done)" if survived else "")] += 1
                content = self.rows(site.target)
                before, after = {"cut_over": (old, new), "rolled_back": (new, old)}.get(step, (old, old))
                assert content in (before, after), (number, step, fault)
                self.counts["target was old" if content == old else "target was new"] += 1
            result = site.ok("source" if step == "snapshotted" else "target", step, **arguments[step])
            if step == "snapshotted":
                snapshot = result["snapshot"]["id"]
                assert not list((self.disk / "snapshots").glob("*.part"))
        assert self.rows(site.target) == (old if state == "rolled_back" else new), (number, state, fault)
        self.nothing_is_left()

    def hit(self, state, fault, arguments):
        """Start a state, let the fault strike somewhere in it, and tell whether the call succeeded all the same."""
        site = self.site
        side = "source" if state == "snapshotted" else "target"
        server = site.source if side == "source" else site.target
        filler = self.disk / "filler"
        if fault == "disk full":
            free = os.statvfs(str(self.disk)).f_bavail * os.statvfs(str(self.disk)).f_frsize
            filler.write_bytes(b"x" * max(free - self.chance.randint(0, self.slack), 0))
        process = start(site, side, state, **arguments)
        if fault != "disk full":
            time.sleep(self.chance.uniform(0, self.durations[state]))
        if fault == "kill module":
            process.kill()
        elif fault.startswith("kill "):
            server.stop(9)
        elif fault == "cut connections":
            account = "edge_clone_read" if side == "source" else "edge_clone_write"
            for (number,) in server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{0}'".format(account)):
                self.kill_connection(server, number)
        output = process.communicate(timeout=120)[0].decode()
        filler.unlink(missing_ok=True)
        if fault in ("kill source", "kill target"):
            server.start()
        settle(site)  # the server may still be at the last statement
        orphans_end(self.disk)
        survived = process.returncode == 0
        # Aim so that about every second fault strikes before the end.
        self.durations[state] *= 0.9 if survived else 1.1
        if not survived and fault != "kill module":
            message = json.loads(output.splitlines()[-1])["msg"]
            # An operator reads one line that names what failed, and no traceback.
            assert "\n" not in message and ("127.0.0.1" in message or str(self.disk) in message or "edgeencryption" in message), message
        return survived

    @staticmethod
    def kill_connection(server, number):
        import pymysql

        try:
            server.sql("KILL {0}".format(number))
        except pymysql.err.OperationalError as error:
            assert error.args[0] == 1094  # it is gone by itself

    def nothing_is_left(self):
        """Only the live tables and what was replaced are there; the replaced ones of earlier rounds go as an operator would have it."""
        names = self.site.schemas()
        assert "edgeencryption_stage" not in names
        kept = sorted(name for name in names if name != "edgeencryption")
        assert all(name.startswith(("edgeencryption_prev_", "edgeencryption_undone_")) for name in kept), kept
        for name in kept[:-2]:
            self.site.target.sql("SET foreign_key_checks = 0", "DROP DATABASE `{0}`".format(name))
        # Playbooks of tests that run at the same time have files of progress.
        assert not [path for path in pathlib.Path("/tmp").glob("edge_clone*") if not path.name.startswith("edge_clone_progress_")]


def restart(server, options):
    server.stop()
    server.options = options
    server.start()


# Size of the disk in MiB, and the bytes of it that a fault leaves at most. A copy of files brings the system tablespace of 12 MiB along.
SPACE = {"rows": (8, 60000), "tablespaces": (128, 30000000)}


@pytest.mark.parametrize("engine", sorted(SPACE))
def test_faults_at_random_instants(engine, request, tmp_path):
    site = request.getfixturevalue("site" if engine == "rows" else "file_site")
    size, slack = SPACE[engine]
    disk = tmp_path / "disk"
    disk.mkdir()
    # A disk that can be full without harm to others.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size={0}m".format(size), "tmpfs", str(disk)], check=True)
    servers = (site.source, site.target)
    try:
        for server in servers:
            restart(server, [*server.options, *DURABLE])
        site.target.sql("GRANT DELETE ON `edgeencryption\\_%`.* TO 'edge_clone_write'@'127.0.0.1'")
        soak = Soak(site, disk, slack)
        for number in range(ROUNDS):
            soak.round(number)
            if ROUNDS > 20 and number % 10 == 9:
                sys.__stdout__.write("{0} of {1} faults survived\n".format(number + 1, ROUNDS))
                sys.__stdout__.flush()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        for server in servers:
            restart(server, [option for option in server.options if option not in DURABLE])
    if "SOAK_REPORT" in os.environ:
        path = pathlib.Path(os.environ["SOAK_REPORT"])
        report = json.loads(path.read_text()) if path.exists() else {}
        report[engine] = {"rounds": ROUNDS, "seed": SEED, "counts": dict(sorted(soak.counts.items()))}
        path.write_text(json.dumps(report, indent=2) + "\n")
    assert sum(number for name, number in soak.counts.items() if name.startswith("target was")) == ROUNDS
