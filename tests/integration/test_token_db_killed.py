# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever instant a run dies at: the target is entirely old or entirely new, and starting it again finishes."""

import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _db
from ansible_collections.edge_encryption.clone.tests.integration import conftest, mariadb
from ansible_collections.edge_encryption.clone.tests.integration.conftest import SECRET

RUN = "acmetest/C-1"
pytestmark = pytest.mark.mysql
# The module as Ansible runs it, with its arguments on the standard input; the line tells that the imports are done.
RUNNER = """
import sys
from ansible.module_utils import basic
from ansible_collections.edge_encryption.clone.plugins.modules import mysql_token_db_sync
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.stdin.buffer.read(), "legacy"
print("ready", flush=True)
mysql_token_db_sync.main()
"""
VIEWS_AND_TRIGGERS = (
    "CREATE DEFINER = 'edge_proxy'@'127.0.0.1' VIEW edgeencryption.v AS SELECT id FROM edgeencryption.db_id",
    "CREATE DEFINER = 'edge_proxy'@'127.0.0.1' TRIGGER edgeencryption.t BEFORE INSERT ON edgeencryption.db_id FOR EACH ROW SET NEW.created = '{0}-01-01'",
    "CREATE DEFINER = 'edge_proxy'@'127.0.0.1' TRIGGER edgeencryption.u BEFORE INSERT ON edgeencryption.token_map FOR EACH ROW"
    " SET NEW.created_on = '{0}-01-01'",
)


class Died(BaseException):
    """Stands for the death of the process: nothing in the code under test catches it."""


def start(site, side, state, **options):
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": site.options(side, state, **options)}).encode()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    process.stdin.write(arguments)
    process.stdin.close()
    process.stdin = None
    assert process.stdout.readline() == b"ready\n"
    return process


def settle(site):
    """Wait until the server has ended the sessions of a killed process: it completes the statement that it is at, such as the RENAME."""
    deadline = time.monotonic() + 10
    while site.target.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'edge_clone_write'"):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def orphans_end(folder):
    """Wait for the programs that a killed module had started; they end by themselves, and what they worked on is the next call's to remove."""
    deadline = time.monotonic() + 30
    while any(str(folder).encode() in line for line in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command_lines():
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def extras(site):
    views = site.target.sql("SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'edgeencryption'")
    triggers = site.target.sql("SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'edgeencryption' ORDER BY TRIGGER_NAME")
    return views, triggers


def prepare(site):
    """Give both sides views and triggers of their own, and return the content before and after the cut-over."""
    for server, year in ((site.source, 2020), (site.target, 2010)):
        server.sql(*[statement.format(year) for statement in VIEWS_AND_TRIGGERS])
    return (site.content(site.target), extras(site)), site.content(site.source)


def kill_at_random(site, state, kills, seed, **options):
    """Kill the state at random instants of its usual duration; check the target each time, and that it can be finished."""
    (old, old_extras), new = prepare(site)
    snapshot = site.snapshot()["snapshot"]["id"]
    chance, seen = random.Random(seed), []
    duration = None
    while len(seen) < kills or duration is None:
        if state == "cut_over" or duration is None:
            site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
        if state == "staged":
            if duration is None:
                site.target.sql("DROP DATABASE edgeencryption_stage")
            options["snapshot"] = snapshot
        process = start(site, "target", state, run_id=RUN, **options)
        started = time.monotonic()
        if duration is None:
            assert process.wait(60) == 0, process.stdout.read()
            duration = time.monotonic() - started
        else:
            time.sleep(chance.uniform(0, duration))
            process.kill()
            process.wait()
            settle(site)
            content = site.content(site.target)
            assert content in (old, new) if state == "cut_over" else content == old
            seen.append(content == new)
        process.stdout.close()
        process.stderr.close()
        if state == "cut_over":
            site.ok("target", "cut_over", run_id=RUN)
            assert site.content(site.target) == new
            assert "2020" in str(extras(site)) and "2010" not in str(extras(site))
            undone = site.ok("target", "rolled_back", run_id=RUN)["previous_schema"]
            assert (site.content(site.target), extras(site)) == (old, old_extras)
            assert site.schemas() == ["edgeencryption", undone]
            site.ok("target", "pruned", previous_schema=undone, keep_for=0)
        elif chance.random() < 0.3:
            site.target.sql("DROP DATABASE IF EXISTS edgeencryption_stage")
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == new
    return seen


@contextlib.contextmanager
def dying_at(monkeypatch, instant):
    """Let the process die before or, at every second instant, after its n-th statement; yields the statements that it died at."""
    original = _db.Session._run
    calls, died = [], []

    def run(session, sql, args):
        calls.append(sql)
        if len(calls) > instant:
            if len(calls) == instant + 1 and instant % 2:
                original(session, sql, args)
            died.append(sql)
            session.connection._force_close()
            raise Died
        return original(session, sql, args)

    with monkeypatch.context() as patch, contextlib.suppress(Died):
        patch.setattr(_db.Session, "_run", run)
        patch.setattr(_db.Session, "close", lambda session: session.connection._force_close())
        yield died


def die_at_each_statement(site, monkeypatch, state, step):
    """Let the process die before or after each n-th of its statements; return how many instants were tried."""
    (old, old_extras), new = prepare(site)
    snapshot = site.snapshot()["snapshot"]["id"]
    instant = 0
    while True:
        site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
        if state == "rolled_back":
            site.ok("target", "cut_over", run_id=RUN)
        with dying_at(monkeypatch, instant) as died:
            assert not site.sync("target", state, run_id=RUN).failed
        content = site.content(site.target)
        assert content in (old, new), died
        site.ok("target", state, run_id=RUN)
        if state == "cut_over":
            assert site.content(site.target) == new
            assert "2020" in str(extras(site)) and "2010" not in str(extras(site))
            site.ok("target", "rolled_back", run_id=RUN)
        assert (site.content(site.target), extras(site)) == (old, old_extras)
        undone = [name for name in site.schemas() if "undone" in name]
        assert site.schemas() == ["edgeencryption"] + undone
        site.ok("target", "pruned", previous_schema=undone[0], keep_for=0)
        if not died:
            return instant // step
        instant += step


@pytest.mark.parametrize("state", ["staged", "cut_over"])
def test_killed_at_random_instants(site, state):
    kill_at_random(site, state, 5, seed=state)


@pytest.mark.long
@pytest.mark.parametrize("state", ["staged", "cut_over"])
def test_killed_at_fifty_random_instants(site, state):
    kill_at_random(site, state, 50, seed=time.time())


@pytest.mark.parametrize("state", ["cut_over", "rolled_back"])
def test_dead_at_some_statements(site, monkeypatch, state):
    assert die_at_each_statement(site, monkeypatch, state, 15) > 3


@pytest.mark.long
@pytest.mark.parametrize("state", ["cut_over", "rolled_back"])
def test_dead_at_each_statement(site, monkeypatch, state):
    assert die_at_each_statement(site, monkeypatch, state, 1) > 30


def test_a_killed_snapshot_is_absent_and_taken_again(site, tmp_path):
    for delay in (0.05, 0.1, 0.2):
        process = start(site, "source", "snapshotted", run_id=RUN)
        time.sleep(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
        complete = [path for path in (tmp_path / "snapshots").glob("*") if not path.name.endswith(".part")]
        assert all((path / "manifest.json").exists() for path in complete)
        # The server has let go of its lock: a writer is not held up.
        site.source.sql("SET lock_wait_timeout = 2", "INSERT INTO edgeencryption.edge_token_map (token) VALUES (UUID())")
    done = site.snapshot(run_id=RUN)["snapshot"]
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == [done["id"]]


def test_staging_goes_on_where_it_was_cut_off(site, monkeypatch):
    from ansible_collections.edge_encryption.clone.plugins.module_utils import _stage

    snapshot = site.snapshot(chunk_bytes=4096)["snapshot"]
    original, loaded = _stage.Stage._insert, []

    def insert(self, session, table, chunk, rows, text):
        loaded.append(chunk.number)
        if len(loaded) > 4:
            raise _stage.StageError(table.name, "cut off.")
        return original(self, session, table, chunk, rows, text)

    with monkeypatch.context() as patch:
        patch.setattr(_stage.Stage, "_insert", insert)
        assert "cut off" in site.refused("target", "staged", snapshot=snapshot["id"])
    done = {row[0] for row in site.target.sql("SELECT number FROM edgeencryption_stage.edge_clone_chunks")}
    assert 3 <= len(done) <= 4
    again = []
    with monkeypatch.context() as patch:
        patch.setattr(_stage.Stage, "_insert", lambda self, session, table, chunk, rows, text: (
            again.append(chunk.number) or original(self, session, table, chunk, rows, text)))
        assert site.ok("target", "staged", snapshot=snapshot["id"], run_id=RUN)["chunks_resumed"] == len(done)
    assert not done & set(again)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)


def test_the_server_dies_while_it_is_loaded(site):
    snapshot = site.snapshot()["snapshot"]["id"]
    content = site.content(site.target)
    process = start(site, "target", "staged", snapshot=snapshot, run_id=RUN)
    time.sleep(0.15)
    site.target.stop(9)
    output = process.communicate()[0].decode()
    site.target.start()
    assert '"changed": true' in output or "the server answered" in output or "cannot connect" in output
    # A crash may set the next AUTO_INCREMENT value of a table back to its rows; that is the server's affair.
    assert conftest.checksums(site.content(site.target)) == conftest.checksums(content)
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)


def assert_same_rows(site):
    source, target = (conftest.checksums(site.content(server)) for server in (site.source, site.target))
    assert source == target


@pytest.mark.mysql(False)
def test_the_disk_of_the_target_is_full(site, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    # A disk that can be full without harm to others.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk)], check=True)
    try:
        mariadb.install(disk / "server", tmp_path / "template")
        site.target = mariadb.MariaDb(disk / "server")
        site.target.start()
        try:
            site.target.sql(*conftest.ACCOUNTS, *conftest.SCHEMA, *conftest.fill("test", 300))
            site.target.sql(*[conftest.RIGHTS.format(name) for name in ("`edgeencryption`", "`edgeencryption\\_%`")])
            site.target.sql("GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'")
            big = "INSERT INTO edge_token_map (token, value) SELECT CONCAT('big-', seq), REPEAT(SHA2(seq, 512), 16) FROM seq_1_to_20000"
            site.source.sql("USE edgeencryption", big)
            snapshot = site.snapshot(chunk_bytes=1048576)["snapshot"]["id"]
            live = site.content(site.target)
            free = os.statvfs(str(disk))
            with open(str(disk / "filler"), "wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize - 16 * 1048576)
            message = site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
            assert "is full" in message or "error 28" in message, message
            assert site.content(site.target) == live
            (disk / "filler").unlink()
            assert site.ok("target", "staged", snapshot=snapshot, run_id=RUN)["chunks_resumed"] > 0
            site.ok("target", "cut_over", run_id=RUN)
            assert_same_rows(site)
        finally:
            site.target.stop()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_no_secret_on_any_command_line(site):
    process = start(site, "source", "snapshotted")
    lines = []
    while process.poll() is None:
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(path.read_bytes())
            except OSError:
                continue
    output = process.communicate()
    assert lines and not any(secret.encode() in line for line in lines for secret in (SECRET, "read-password"))
    assert SECRET.encode() not in output[0] + output[1] and b"read-password" not in output[0] + output[1]
