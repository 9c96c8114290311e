# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a token database, copied with the real mariadb-backup while the source is written to, and imported by the target."""

import os
import pathlib
import random
import shutil
import subprocess
import threading
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _hot_copy, _import, _tablespaces
from ansible_collections.edge_encryption.clone.tests.integration import conftest, mariadb
from ansible_collections.edge_encryption.clone.tests.integration.conftest import CLEAR_TEXT
from ansible_collections.edge_encryption.clone.tests.integration.test_token_db_killed import RUN, assert_same_rows, kill_at_random, orphans_end, settle, start
from ansible_collections.edge_encryption.clone.tests.integration.test_token_db_traps import AWKWARD, OWN

FULL_TEXT = ", FULLTEXT KEY words (words)"
# Everything that a database may hold and files can carry; partitions and full-text indexes are refused.
COPIED = [line.replace(FULL_TEXT, "") for line in (*AWKWARD[:2], *OWN["mariadb"], *AWKWARD[2:]) if " parts" not in line]
COPIED += [
    "CREATE TABLE grown (id INT PRIMARY KEY, a VARCHAR(20))",
    "INSERT INTO grown SELECT seq, SHA1(seq) FROM seq_1_to_500",
    "ALTER TABLE grown ADD COLUMN b INT DEFAULT 7 FIRST, DROP COLUMN a, ADD COLUMN c TEXT, ALGORITHM=INSTANT",
    "INSERT INTO grown SELECT seq, seq, SHA1(seq) FROM seq_501_to_900",
    "CREATE TABLE squeezed (id INT PRIMARY KEY, t TEXT, KEY t (t(20))) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
    "INSERT INTO squeezed SELECT seq, REPEAT(SHA1(seq), 50) FROM seq_1_to_900",
    "CREATE TABLE dense (id INT PRIMARY KEY, t TEXT) PAGE_COMPRESSED=1",
    "INSERT INTO dense SELECT seq, REPEAT(SHA1(seq), 50) FROM seq_1_to_900",
]


@pytest.fixture
def site(file_site):
    return file_site


def files(site, *names):
    return sorted(path.name for path in pathlib.Path(site.directory).rglob("*") if path.suffix in names)


def target_files(site, schema):
    return sorted(os.listdir(str(site.target.directory / "data" / schema)))


def test_a_clone_by_files(site):
    snapshot = site.snapshot()
    assert snapshot["snapshot"]["engine"] == "tablespaces" and snapshot["tablespaces_refused"] == []
    assert snapshot["timings"]["method"] == "backup_stage" and snapshot["timings"]["lock_s"] < 1
    assert len(files(site, ".piece")) > 6
    assert os.listdir(site.directory) == [snapshot["snapshot"]["id"]]
    staged = site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN, diff=True)
    assert staged["load_method"] == "import_tablespace" and staged["verified"] and staged["tables"] == snapshot["tables"]
    assert [name for name in target_files(site, "edgeencryption_stage") if name.endswith(".cfg")] == []
    assert not site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN)["changed"]
    before = site.content(site.target)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)
    assert not site.ok("target", "cut_over", run_id=RUN)["changed"]
    # The optimizer knows the tables, as it does after a load.
    assert site.target.sql("SELECT n_rows FROM mysql.innodb_table_stats WHERE database_name = 'edgeencryption' AND table_name = 'edge_token_map'")[0][0] > 800
    site.ok("target", "rolled_back", run_id=RUN)
    assert site.content(site.target) == before


def test_rows_and_files_have_the_same_checksums(site):
    by_files = site.snapshot()["tables"]
    assert site.snapshot(engine="rows")["tables"] == by_files


def test_any_schema_that_files_can_carry(site):
    site.source.sql(*COPIED)
    snapshot = site.snapshot()["snapshot"]["id"]
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)
    # Foreign keys, triggers and counters work.
    site.target.sql("GRANT UPDATE ON edgeencryption.* TO 'edge_clone_write'@'127.0.0.1'")  # for the trigger, as the documentation of the module says
    site.target.sql("USE edgeencryption", "INSERT INTO parent VALUES (3, 5)", "INSERT INTO child VALUES (9, 10)", "INSERT INTO kinds (bits) VALUES (1)")
    assert [row[0] for row in site.target.sql("SELECT code FROM edgeencryption.parent WHERE id = 3")] == [12]
    assert site.target.sql("SELECT MAX(id) FROM edgeencryption.kinds")[0][0] >= 5000


def test_what_is_written_meanwhile_is_there_whole_or_not_at_all(site):
    site.source.sql("CREATE TABLE edgeencryption.pair (id INT PRIMARY KEY)")
    over, worst = threading.Event(), []

    def write(first):
        connection = site.source.admin(database="edgeencryption")
        cursor, number, slowest = connection.cursor(), first, 0.0
        while not over.is_set():
            began = time.monotonic()
            cursor.execute("START TRANSACTION")
            cursor.execute("INSERT INTO pair VALUES (%s)", [number])
            cursor.execute("INSERT INTO edge_token_map (token, value) VALUES (CONCAT('pair-', %s), 'x')", [number])
            cursor.execute("COMMIT")
            slowest = max(slowest, time.monotonic() - began)
            number += 2
        worst.append(slowest)
        connection.close()

    writers = [threading.Thread(target=write, args=[first]) for first in (1, 2)]
    for writer in writers:
        writer.start()
    try:
        snapshot = site.snapshot()
    finally:
        over.set()
        for writer in writers:
            writer.join()
    # Nobody waited for more than that moment; generously, since this machine has other things to do.
    assert max(worst) < 5
    site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    pairs = {row[0] for row in site.target.sql("SELECT id FROM edgeencryption.pair")}
    tokens = {int(row[0][5:]) for row in site.target.sql("SELECT token FROM edgeencryption.edge_token_map WHERE token LIKE 'pair-%'")}
    written = site.source.sql("SELECT COUNT(*) FROM edgeencryption.pair")[0][0]
    assert pairs == tokens and 0 < len(pairs) < written


def test_no_clear_text_and_no_password_in_the_snapshot(site):
    site.snapshot()
    assert all(CLEAR_TEXT.encode() not in path.read_bytes() for path in pathlib.Path(site.directory).rglob("*") if path.is_file())
    assert files(site, ".cnf", ".ibd", ".cfg") == []


@pytest.mark.parametrize("password", ["#;'\"\\\\x \\n", " both ends ", "\u00e9\\"])
def test_a_password_reaches_mariadb_as_it_is(site, tmp_path, password):
    site.source.sql("SET PASSWORD FOR 'edge_clone_read'@'127.0.0.1' = PASSWORD('{0}')".format(password.replace("\\", "\\\\").replace("'", "''")))
    try:
        site.snapshot(login_password=password)
    finally:
        site.source.sql("SET PASSWORD FOR 'edge_clone_read'@'127.0.0.1' = PASSWORD('read-password')")


@pytest.mark.parametrize("damage", ["cut", "flipped", "exchanged", "absent"])
def test_a_damaged_piece_is_refused(site, damage):
    snapshot = site.snapshot(chunk_bytes=65536)["snapshot"]
    first, second = [pathlib.Path(snapshot["path"]) / "00000{0}.piece".format(number) for number in (1, 2)]
    data = first.read_bytes()
    if damage == "cut":
        first.write_bytes(data[:-1])
    elif damage == "flipped":
        first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "exchanged":
        first.write_bytes(second.read_bytes())
        second.write_bytes(data)
    else:
        first.unlink()
    before = site.content(site.target)
    message = site.refused("target", "staged", snapshot=snapshot["id"], run_id=RUN)
    assert ".piece: " in message and ("truncated or altered" in message or "cannot be read" in message)
    assert site.content(site.target) == before
    first.write_bytes(data)


def test_a_clone_by_files_over_one_that_was_cut_off(site, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]
    original, measured = _import.ImportStage._measure, []

    def measure(self, session, task, noted):
        measured.append(task.table.name)
        if len(measured) > 2:
            raise _import.StageError(task.table.name, "cut off.")
        original(self, session, task, noted)

    with monkeypatch.context() as patch:
        patch.setattr(_import.ImportStage, "_measure", measure)
        assert "cut off" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    placed = []
    with monkeypatch.context() as patch:
        patch.setattr(_import.ImportStage, "_discard", lambda self, table: placed.append(table))
        staged = site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    # What is imported stays, and what is measured is not measured again.
    assert placed == [] and staged["chunks_resumed"] == 2
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)


def test_an_imported_table_that_lost_its_file_is_imported_anew(site, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]

    def cut_off(self, session, task, noted):
        raise _import.StageError(task.table.name, "cut off.")

    with monkeypatch.context() as patch:
        patch.setattr(_import.ImportStage, "_measure", cut_off)
        assert "cut off" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    site.target.stop()
    (site.target.directory / "data" / "edgeencryption_stage" / "token_map.ibd").unlink()
    site.target.start()
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)


def test_a_row_that_is_not_the_source_s_is_found(site, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]
    original = _import.ImportStage._import

    def alter(self, session, table):
        original(self, session, table)
        if table.name == "edge_token_map":
            site.target.sql("UPDATE edgeencryption_stage.edge_token_map SET value = 'another' WHERE id = 77")

    monkeypatch.setattr(_import.ImportStage, "_import", alter)
    assert "rows or checksum on this server are not those of the snapshot" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)


# -- killed


def test_killed_while_it_imports(site):
    kill_at_random(site, "staged", 5, seed="files")


@pytest.mark.long
def test_killed_fifty_times_while_it_imports(site):
    kill_at_random(site, "staged", 50, seed=time.time())


def test_a_killed_copy_leaves_nothing(site):
    chance = random.Random("copies")
    for dummy in range(4):
        process = start(site, "source", "snapshotted", run_id=RUN)
        time.sleep(chance.uniform(0.1, 1.5))
        process.kill()
        process.communicate()
        # Nobody is kept from committing by what the dead process had started.
        site.source.sql("SET STATEMENT max_statement_time = 5 FOR INSERT INTO edgeencryption.edge_token_map (token) VALUES (UUID())")
    deadline = time.monotonic() + 10
    while site.source.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'edge_clone_read'"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    orphans_end(site.directory)
    done = site.snapshot(run_id=RUN)["snapshot"]
    assert os.listdir(site.directory) == [done["id"]]
    site.ok("target", "staged", snapshot=done["id"], run_id=RUN)


def test_the_target_dies_while_it_imports(site):
    before = site.content(site.target)
    snapshot = site.snapshot()["snapshot"]["id"]
    for delay in (0.2, 0.4, 0.6):
        process = start(site, "target", "staged", snapshot=snapshot, run_id=RUN)
        time.sleep(delay)
        site.target.stop(9)
        output = process.communicate()[0].decode()
        site.target.start()
        assert '"changed": ' in output or "the server answered" in output or "cannot connect" in output, output
        assert conftest.checksums(site.content(site.target)) == conftest.checksums(before)
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert_same_rows(site)


@pytest.mark.parametrize("secured", [True, False])
def test_what_was_imported_outlives_the_server(site, monkeypatch, secured):
    """MariaDB recovers an imported table as an empty one, once it was renamed and unless there was a checkpoint in between."""
    if not secured:
        monkeypatch.setattr(_import.ImportStage, "_make_checkpoint", lambda self: None)
    wanted = site.content(site.source)
    site.clone()
    site.target.stop(9)
    site.target.start()
    found = site.content(site.target)
    rows = site.target.sql("SELECT COUNT(*) FROM edgeencryption.edge_token_map")[0][0]
    if secured:
        assert conftest.checksums(found) == conftest.checksums(wanted) and rows == 900
        assert site.ok("target", "rolled_back", run_id=RUN)["changed"]
    else:
        # Should a release of MariaDB do better, nothing needs to be secured any more.
        assert rows == 0


@pytest.fixture
def twins(make_server, run_module, tmp_path):
    """Return a site of two servers that were set up alike, so that their tables have the same tablespace ids."""
    pair = tuple(make_server("{0}-{1}".format(tmp_path.name, side), "--skip-log-bin") for side in ("source", "target"))
    yield conftest.make_file_site(*pair, run_module, tmp_path / "snapshots")
    for server in pair:
        server.stop()


@pytest.mark.parametrize("secured", [True, False])
def test_a_server_that_dies_before_the_import_starts_again(twins, monkeypatch, secured):
    """MariaDB does not, if a file has an id of another table, that one was written to, and there was no checkpoint in between."""
    site = twins
    ids = [server.sql("SELECT NAME, SPACE FROM information_schema.INNODB_SYS_TABLES WHERE NAME LIKE 'edge%'") for server in (site.source, site.target)]
    assert ids[0] == ids[1] and len(ids[0]) >= 3
    if not secured:
        monkeypatch.setattr(_import.ImportStage, "_make_checkpoint", lambda self: None)
    snapshot = site.snapshot()["snapshot"]["id"]
    site.target.stop()  # its tables are in their files now, and are written to afterwards
    site.target.start()
    site.target.sql("INSERT INTO edgeencryption.token_map (field, order_token) VALUES ('of the target', '12345678')")
    before = site.content(site.target)
    with monkeypatch.context() as patch:
        patch.setattr(_import.ImportStage, "_import", lambda self, session, table: (self._hand_over(table), site.target.stop(9)))
        site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    assert "token_map.ibd" in target_files(site, "edgeencryption_stage")
    if not secured:
        # Should a release of MariaDB do better, nothing needs to be secured any more.
        with pytest.raises(RuntimeError, match="Attempted to open a previously opened tablespace"):
            site.target.start()
        return
    site.target.start()
    assert conftest.checksums(site.content(site.target)) == conftest.checksums(before)
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert_same_rows(site)


def test_the_source_dies_while_it_is_copied(site):
    process = start(site, "source", "snapshotted", run_id=RUN)
    time.sleep(0.5)
    site.source.stop(9)
    output = process.communicate()[0].decode()
    site.source.start()
    assert '"failed": true' in output or '"changed": true' in output
    if '"failed": true' in output:
        assert os.listdir(site.directory) == []
    site.ok("target", "staged", snapshot=site.snapshot(run_id=RUN)["snapshot"]["id"], run_id=RUN)


def test_what_is_half_imported_can_be_discarded_from_elsewhere(site):
    """The server removes files that it did not write; whoever discards a stage need not see its directory."""
    snapshot = site.snapshot()["snapshot"]["id"]
    for delay in (0.1, 0.25, 0.4):
        process = start(site, "target", "staged", snapshot=snapshot, run_id=RUN)
        time.sleep(delay)
        process.kill()
        process.communicate()
        settle(site)
        site.ok("target", "discarded", run_id=RUN)
        if site.schemas() != ["edgeencryption"]:
            # It had not got so far as to say whose the schema is.
            site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
            site.ok("target", "discarded", run_id=RUN)
        assert site.schemas() == ["edgeencryption"]
        assert not (site.target.directory / "data" / "edgeencryption_stage").exists()


def test_files_that_wait_for_their_import_are_in_nobodys_way(twins, monkeypatch, tmp_path):
    """A run is killed, and the target's nightly mariadb-backup comes before anybody has looked; it refuses two files with one tablespace id."""
    site = twins

    def cut_off(self, table):
        raise _import.StageError(table.name, "cut off.")

    with monkeypatch.context() as patch:
        patch.setattr(_import.ImportStage, "_hand_over", cut_off)
        assert "cut off" in site.refused("target", "staged", snapshot=site.snapshot()["snapshot"]["id"], run_id=RUN)
    waiting = target_files(site, "edgeencryption_stage")
    assert "token_map.cfg" in waiting and "token_map.ibd" not in waiting
    backup = [_tablespaces.find_program(), "--no-defaults", "--backup", "--user=root", "--socket=" + site.target.socket]
    backup += ["--datadir={0}/data".format(site.target.directory), "--target-dir={0}".format(tmp_path / "nightly")]
    done = subprocess.run(backup, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    site.ok("target", "discarded", run_id=RUN)
    assert not (site.target.directory / "data" / "edgeencryption_stage").exists()


# -- refused


def look(site, side="target"):
    login = site.source.login("edge_clone_read", "read-password") if side == "source" else site.target.login("edge_clone_write", "write-password")
    return site._run("mysql_token_db_info", login)["tablespaces"]


def test_auto_takes_files_when_the_target_says_that_it_can(site):
    told = look(site)
    assert told["source"] and told["target"] == [] and told["release"] == [10, 11]
    taken = site.snapshot(engine="auto", target_tablespaces=told)
    assert taken["snapshot"]["engine"] == "tablespaces"
    site.ok("target", "staged", snapshot=taken["snapshot"]["id"], run_id=RUN)


@pytest.mark.parametrize(
    "told, reason",
    [
        (None, "target_tablespaces does not say whether the target can import files"),
        ({"release": [11, 4]}, "the releases of source and target differ"),
        ({"page_size": 8192}, "the page sizes of source and target differ"),
        ({"vendor": "mysql"}, "the vendors of source and target differ"),
        ({"target": ["the server writes a binary log"]}, "the server writes a binary log"),
    ],
)
def test_auto_takes_rows_and_says_why(site, told, reason):
    told = dict(look(site), **told) if told else None
    taken = site.snapshot(engine="auto", target_tablespaces=told)
    assert taken["snapshot"]["engine"] == "rows" and taken["tablespaces_refused"] == [reason]
    assert site.sync("source", "snapshotted", check=True, engine="auto", target_tablespaces=told)["tablespaces_refused"] == [reason]
    if told:
        assert reason in site.refused("source", "snapshotted", engine="tablespaces", target_tablespaces=told)


@pytest.mark.parametrize(
    "statement, reason",
    [
        ("CREATE TABLE edgeencryption.parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2", "the table parts is partitioned"),
        ("CREATE TABLE edgeencryption.words (w TEXT, FULLTEXT KEY w (w))", "the table words has an index that its file does not hold"),
        ("REVOKE PROCESS ON *.* FROM 'edge_clone_read'@'127.0.0.1'", "the account lacks PROCESS on *.*"),
        ("SET GLOBAL innodb_file_per_table = OFF", "innodb_file_per_table=OFF"),
    ],
)
def test_what_files_cannot_carry_is_refused(site, statement, reason):
    site.source.sql(statement)
    try:
        assert reason in site.refused("source", "snapshotted")
        assert not os.path.exists(site.directory)
    finally:
        site.source.sql("SET GLOBAL innodb_file_per_table = ON")


def test_a_table_that_had_a_full_text_index_is_refused(site):
    site.source.sql("CREATE TABLE edgeencryption.words (w TEXT, FULLTEXT KEY w (w))", "ALTER TABLE edgeencryption.words DROP KEY w")
    assert "the database has or had full-text indexes" in site.refused("source", "snapshotted")


def test_without_the_program(site, monkeypatch):
    monkeypatch.setattr(_tablespaces.shutil, "which", lambda name: None)
    assert "mariadb-backup is not installed on this host" in site.refused("source", "snapshotted")


def test_a_target_that_cannot_import(site, servers):
    """A snapshot was taken without asking the target, which has a binary log."""
    snapshot = site.snapshot()["snapshot"]["id"]
    other = servers[1]
    conftest.make_site(servers[0], other, site._run, site.directory)
    site.target = other
    before = site.content(site.target)
    message = site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    assert "writes a binary log, which an import does not enter" in message and message.endswith("take a snapshot with engine=rows.")
    assert site.content(site.target) == before and "edgeencryption_stage" not in site.schemas()


def test_another_server_s_directory_is_not_taken_for_the_target_s(site, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]
    there = str(site.source.directory / "data") + "/"
    monkeypatch.setattr(_tablespaces, "data_directory", lambda server: there)
    names = sorted(os.listdir(there))
    assert "keeps this table's file" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    assert sorted(os.listdir(there)) == names


def test_only_snapshots_of_the_kind_are_chosen(site):
    taken = site.snapshot()["snapshot"]
    began = taken["began"]
    assert "holds snapshots, but none with engine=rows" in site.refused("target", "staged", backup_time=began, run_id=RUN)
    assert site.ok("target", "staged", backup_time=began, run_id=RUN, engine="auto")["snapshot"]["id"] == taken["id"]
    # A nightly snapshot of files is none of rows.
    rows = site.snapshot(engine="rows", backup_time=began)
    assert rows["changed"] and not site.snapshot(engine="rows", backup_time=began)["changed"]
    assert not site.snapshot(engine="tablespaces", backup_time=began)["changed"]


def test_too_little_space_on_the_target(site, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]
    status = list(os.statvfs("/"))
    status[4] = 1
    monkeypatch.setattr(_import.os, "statvfs", lambda path: os.statvfs_result(status))
    assert "too little space" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)


def test_a_target_that_runs_as_another_user(site, run_module, tmp_path_factory):
    root = tmp_path_factory.mktemp("nobody", numbered=True)
    mariadb.install(root / "server", root / "template")
    for path in [root / "server", *(root / "server").rglob("*")]:
        shutil.chown(str(path), "nobody", "nogroup")
    for path in [root, *root.parents]:
        if path.stat().st_uid == 0 and path != pathlib.Path("/") and "pytest" in str(path):
            path.chmod(path.stat().st_mode | 0o011)
    server = mariadb.MariaDb(root / "server")
    command = server.command()
    server.command = lambda: [part.replace("--user=root", "--user=nobody") for part in command]
    server.start()
    try:
        server.sql(*conftest.ACCOUNTS)
        made = conftest.make_file_site(site.source, server, run_module, site.directory)
        made.clone()
        assert made.content(server) == made.content(made.source)
        folder = root / "server" / "data" / "edgeencryption"
        assert {(path.owner(), path.stat().st_mode & 0o777) for path in folder.glob("*.ibd")} == {("nobody", 0o660)}
    finally:
        server.stop()


# -- a program that does not do as it should

SAYS = "echo '[00] 2026-01-01 00:00:00 {0}' >&2\n"
FAKES = {
    "hangs": ([SAYS.format("Starting BACKUP STAGE BLOCK_COMMIT"), SAYS.format("Acquired locks for BACKUP STAGE BLOCK_COMMIT"), "exec sleep 60"],
              "kept everybody from committing for more than 0.3 s, and was ended"),
    "waits": ([SAYS.format("Starting BACKUP STAGE BLOCK_COMMIT"), "exec sleep 60"], "no backup lock (BLOCK_COMMIT) within 0.3 s"),
    "waits for DDL": ([SAYS.format("Started BACKUP STAGE BLOCK_DDL"), "exec sleep 60"], "no backup lock (BLOCK_DDL) within 1 s"),
    "is too quick": (["printf 'Acquired locks for BACKUP STAGE BLOCK_COMMIT\\nExecuting BACKUP STAGE END\\n' >&2\n", SAYS.format("completed OK!")],
                     "the copy was complete before transactions had been opened"),
    "says nothing of it": ([SAYS.format("completed OK!")], "did not say when its copy was complete"),
    "fails": ([SAYS.format("Error: no."), "echo 'GRANT ... IDENTIFIED BY PASSWORD hash' >&2\n", "exit 1"], "mariadb-backup failed: Error: no."),
    "dies": (["kill -9 $$"], "mariadb-backup failed: it ended with status -9"),
    "ends without success": ([SAYS.format("Acquired locks for BACKUP STAGE BLOCK_COMMIT")], "mariadb-backup failed: it ended with status 0"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAKES)
def test_a_program_that_misbehaves(site, monkeypatch, tmp_path, fault):
    lines, words = FAKES[fault]
    program = tmp_path / "mariadb-backup"
    program.write_text("#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'MariaDB server 10.11.6'; exit; fi\n" + "".join(lines))
    program.chmod(0o755)
    monkeypatch.setattr(_tablespaces, "find_program", lambda: str(program))
    monkeypatch.setattr(_hot_copy, "_MOST_BLOCKED", 0.3)
    monkeypatch.setattr(_hot_copy, "_TICK", 0.1)
    message = site.refused("source", "snapshotted", lock_wait_timeout=1)
    assert words in message and "hash" not in message
    assert os.listdir(site.directory) == []
    assert not [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if path.exists() and str(program).encode() in path.read_bytes()]


def test_what_is_said_after_the_transactions_were_opened_is_no_reason_to_refuse(monkeypatch):
    """Each message that is read lets the program write the next one, be it the one that gives the lock back."""
    reader, writer = os.pipe()
    lines = _hot_copy._Lines(reader)
    said = [b"[00] flushing\n", b"[00] Executing BACKUP STAGE END\n"]

    def take(timeout):
        lines._rest += said.pop(0)
        return True

    monkeypatch.setattr(lines, "_take", take)
    try:
        assert not lines.has(b"Executing BACKUP STAGE END") and len(said) == 1
        assert lines.has(b"Executing BACKUP STAGE END")
    finally:
        os.close(reader)
        os.close(writer)


def test_the_password_lies_in_a_file_no_longer_than_it_must(site, monkeypatch, tmp_path):
    program, seen = tmp_path / "mariadb-backup", tmp_path / "seen"
    look = "ls \"$(dirname \"${{1#--defaults-file=}}\")\" >> {0}\n".format(seen)
    lines = ["#!/bin/sh\n", "[ \"$1\" = --version ] && echo 'MariaDB server 10.11.6' && exit\n", look, "echo Connecting >&2\n", "sleep 0.5\n", look]
    program.write_text("".join(lines))
    program.chmod(0o755)
    monkeypatch.setattr(_tablespaces, "find_program", lambda: str(program))
    assert "mariadb-backup failed" in site.refused("source", "snapshotted")
    assert seen.read_text().split() == ["databases", "login.cnf", "databases"]
