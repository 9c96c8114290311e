# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known to go wrong when a database is copied, each tried on real servers."""

import contextlib
import threading
import time

import pymysql
import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _db, _parallel, _snapshot, _stage
from ansible_collections.edge_encryption.clone.tests.integration.conftest import CLEAR_TEXT

RUN = "acmetest/C-1"
pytestmark = pytest.mark.mysql
# No strict mode, so that zero and impossible dates get in as they once did; another time zone than that of the copy.
LAX = "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+02:00'"
KINDS = (
    "bits BIT(10), choice ENUM('a', '1', ''), choices SET('x', 'y'), place POINT, f FLOAT, d DOUBLE, n DECIMAL(30, 10), moment DATETIME(6),"
    " stamp TIMESTAMP(3) NULL, lapse TIME(2), y YEAR, js JSON, lat VARCHAR(20) CHARACTER SET latin1, wide VARCHAR(20) CHARACTER SET utf16,"
    " fixed BINARY(4), bytes VARBINARY(99), big LONGBLOB, padded INT(5) ZEROFILL, words TEXT CHARACTER SET utf8mb4, KEY lat (lat), FULLTEXT KEY words (words)"
)
VALUES = (
    "b'1100100111', 'a', 'x,y', POINT(1, 2), 0.1, 1/3e10, 1.5, '0000-00-00', '2020-01-01 00:00:00.123', '-12:13:14.5', 1999, '{\"a\": \"\u00e9\"}',"
    " '\u00e9\\'\\\\', '\\0\u00e9\U0001f600', 'a\\0b', 0x00271A5C0D0A, 0x2829272C, 5, 'a\nb),(\'\'x\'\' NULL'"
)
# What only one of the vendors has, or says in another way.
OWN = {
    "mariadb": (
        "CREATE TABLE kinds (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, u UUID, ip INET6, {0}) AUTO_INCREMENT = 5000".format(KINDS),
        "INSERT INTO kinds VALUES (0, '123e4567-e89b-12d3-a456-426655440000', '::1', {0})".format(VALUES),
        "CREATE TABLE `odd ``na-me` (`k\u00eby` INT PRIMARY KEY COMMENT 'it''s\n\u00e4', `select` VARCHAR(9) DEFAULT 'x,\\'y', CHECK (`k\u00eby` > 0))",
        "SET check_constraint_checks = 0",
        "INSERT INTO `odd ``na-me` VALUES (1, 'v'), (-1, NULL)",
    ),
    "mysql": (
        "CREATE TABLE kinds (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, v VECTOR(3), hidden INT DEFAULT 5 INVISIBLE, {0})"
        " AUTO_INCREMENT = 5000".format(KINDS),
        "INSERT INTO kinds VALUES (0, STRING_TO_VECTOR('[1,-2.5,0]'), {0})".format(VALUES),
        "INSERT INTO kinds (id, js) VALUES (20, '{\"a\": [1.5, 1e3, -0.0, 12345678901234567890, \"\\\\u0000\u00e9\\\\n\", null, true, {}]}'),"
        " (21, '\"\\'\\\\\\\\),(\"'), (22, 'null'), (23, NULL)",
        "CREATE TABLE `odd ``na-me` (`k\u00eby` INT PRIMARY KEY COMMENT 'it''s\n\u00e4', `select` VARCHAR(9) DEFAULT 'x,\\'y', CHECK (`k\u00eby` > 0),"
        " CHECK (`select` <> 'w') NOT ENFORCED)",
        "INSERT INTO `odd ``na-me` VALUES (1, 'v'), (2, 'w')",
        "CREATE TABLE newer (w VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, n INT NOT NULL AUTO_INCREMENT, x INT AS (LENGTH(w) * 2) VIRTUAL,"
        " d CHAR(36) DEFAULT (UUID()), js JSON,"
        " PRIMARY KEY (w), KEY ((LOWER(w)), n), KEY n (n DESC), KEY ((LENGTH(w) + 1)), KEY many ((CAST(js->'$.a' AS UNSIGNED ARRAY))),"
        " UNIQUE KEY unseen (n, w) INVISIBLE)",
        "INSERT INTO newer (w, js) SELECT CONCAT(ELT(seq % 4 + 1, 'b', '\u00df', '\u00e9', 'C d'), seq), JSON_OBJECT('a', JSON_ARRAY(seq)) FROM seq_1_to_900",
        "CREATE TABLE unseen (id INT, n INT NOT NULL, v TEXT, UNIQUE KEY id (id), UNIQUE KEY n (n, id) INVISIBLE)",
        "INSERT INTO unseen VALUES (1, 1, 'a'), (2, 2, 'b')",
        "CREATE TABLE before_mb4 (w VARCHAR(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci PRIMARY KEY, v TEXT)",
        "INSERT INTO before_mb4 SELECT CONCAT('\u00e9', seq), REPEAT('v', 90) FROM seq_1_to_900",
    ),
}
AWKWARD = (
    LAX,
    "USE edgeencryption",
    "INSERT INTO kinds (id, moment, words, bytes, fixed, f) VALUES (7, '2023-02-31 10:00:00', 'NULL', '', '', -1.17549e-38),"
    " (8, NULL, '', 0x5C, 0x00000000, 16777217), (9, NULL, '\\\\N', 0x5C27, NULL, 3.4028234e38)",
    "CREATE TABLE keyless (a VARCHAR(10), b VARCHAR(10), c VARCHAR(10))",
    "INSERT INTO keyless VALUES ('a', NULL, 'b'), ('a', 'b', NULL), ('a', 'b', NULL), ('a,b', '', NULL), ('same', 'same', 'same'), ('same', 'same', 'same')",
    "INSERT INTO keyless SELECT 'many', seq, NULL FROM seq_1_to_2000",
    "CREATE TABLE composite (word VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, n DECIMAL(5, 2), day DATE, v TEXT, PRIMARY KEY (word, n, day))",
    "INSERT INTO composite SELECT CONCAT(ELT(seq % 4 + 1, 'b', 'A', '\u00e9', 'C d'), seq DIV 40), seq / 4, '2020-02-02' + INTERVAL seq DAY, REPEAT('v', 90)"
    " FROM seq_1_to_1500",
    "CREATE TABLE old (name VARCHAR(20) CHARACTER SET latin1 NOT NULL, v VARCHAR(200), UNIQUE KEY name (name), KEY v (v))",
    "INSERT INTO old SELECT CONCAT('n\u00e4me', seq), REPEAT('x', 100) FROM seq_1_to_1200",
    "CREATE TABLE raw (k BINARY(4) PRIMARY KEY, v INT AS (LENGTH(k)) STORED, w INT AS (v + 1) VIRTUAL, x VARCHAR(300), KEY v (v))",
    "INSERT INTO raw (k, x) SELECT UNHEX(LPAD(HEX(seq * 5), 8, '0')), REPEAT('y', 200) FROM seq_1_to_500",
    "CREATE TABLE pick (e ENUM('z', 'a') PRIMARY KEY, t INT)",
    "INSERT INTO pick VALUES ('a', 1), ('z', 2)",
    "CREATE TABLE counted (a INT NOT NULL, n INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (a), KEY n (n), KEY other (n, a)) AUTO_INCREMENT = 77",
    "INSERT INTO counted VALUES (1, 0), (2, 5)",
    "CREATE TABLE parts (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parts SELECT seq, seq FROM seq_1_to_30",
    "CREATE TABLE parent (id INT PRIMARY KEY, code INT, UNIQUE KEY code (code))",
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT `to parent` FOREIGN KEY (p) REFERENCES parent (code) ON DELETE CASCADE)",
    "INSERT INTO parent VALUES (1, 10), (2, 20)",
    "INSERT INTO child VALUES (1, 10), (2, NULL), (3, 20)",
    "CREATE TABLE nothing (id INT PRIMARY KEY, KEY id (id, id)) AUTO_INCREMENT = 3".replace(", KEY id (id, id)", ""),
    "DROP USER IF EXISTS 'ghost'@'nowhere'",
    "CREATE USER 'ghost'@'nowhere'",
    "GRANT ALL ON edgeencryption.* TO 'ghost'@'nowhere'",
    "CREATE DEFINER = 'ghost'@'nowhere' TRIGGER first_one BEFORE INSERT ON parent FOR EACH ROW SET NEW.code = NEW.code + 1",
    "CREATE TRIGGER second_one BEFORE INSERT ON parent FOR EACH ROW FOLLOWS first_one SET NEW.code = NEW.code * 2",
    "CREATE DEFINER = 'ghost'@'nowhere' VIEW a_view AS SELECT id, code FROM parent",
    "CREATE SQL SECURITY INVOKER VIEW `0 view on a view` AS SELECT id FROM a_view WHERE code > 5",
    "DROP USER 'ghost'@'nowhere'",
)


@pytest.fixture
def awkward(site, vendor):
    site.source.sql(*AWKWARD[:2], *OWN[vendor], *AWKWARD[2:])
    return site


@pytest.mark.parametrize("local_infile", ["ON", "OFF"])
def test_any_schema_arrives_exactly(awkward, local_infile):
    site = awkward
    site.target.sql("SET GLOBAL local_infile = {0}".format(local_infile))
    try:
        snapshot = site.snapshot()
        staged = site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN)
        assert staged["load_method"] == ("load_data" if local_infile == "ON" else "insert")
    finally:
        site.target.sql("SET GLOBAL local_infile = ON")
    site.ok("target", "cut_over", run_id=RUN)
    source, target = site.content(site.source), site.content(site.target)
    assert len(source) > 14
    for name in source:
        assert target[name] == source[name], name
    assert set(target) == set(source)
    assert site.target.sql("SELECT id FROM edgeencryption.`0 view on a view`") == [(1,), (2,)]
    # The triggers now run with the rights of the account that created them, which the result says.
    assert "run as edge_clone_write@127.0.0.1: 0 view on a view, a_view, first_one, second_one." in str(staged["warnings"])
    site.target.sql("GRANT UPDATE ON edgeencryption.* TO 'edge_clone_write'@'127.0.0.1'")
    assert site.target.sql("INSERT INTO edgeencryption.parent VALUES (3, 1)", "SELECT code FROM edgeencryption.parent WHERE id = 3") == [(4,)]
    site.target.sql("DELETE FROM edgeencryption.parent WHERE id = 1")
    assert site.target.sql("SELECT COUNT(*) FROM edgeencryption.child") == [(2,)]
    # A second clone replaces tables, triggers and views by the same; going back brings the first ones again.
    before = site.content(site.target)
    site.clone("second")
    assert site.content(site.target) == source
    site.ok("target", "rolled_back", run_id="second")
    assert site.content(site.target) == before
    assert site.target.sql("SELECT id FROM edgeencryption.`0 view on a view`") == [(2,)]
    assert len(site.target.sql("SHOW TRIGGERS FROM edgeencryption")) == 2


def test_what_is_left_out_is_named(site):
    site.source.sql("CREATE PROCEDURE edgeencryption.routine() SELECT 1", "GRANT EXECUTE ON edgeencryption.* TO 'edge_clone_read'@'127.0.0.1'")
    assert site.snapshot()["left_out"] == ["procedure routine"]


def test_a_chunk_that_group_concat_cuts_is_halved(site):
    # The average row is small, so the ranges are wide; then a few rows are as large as many chunks.
    site.source.sql("UPDATE edgeencryption.edge_token_map SET value = REPEAT('w', 60000) WHERE id IN (11, 12, 13, 500)")
    snapshot = site.snapshot(chunk_bytes=8192)
    site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN)
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)


def test_a_row_near_max_allowed_packet_is_copied_and_a_larger_one_refused(site):
    site.source.sql("ALTER TABLE edgeencryption.edge_token_map MODIFY value LONGTEXT")
    site.source.sql("UPDATE edgeencryption.edge_token_map SET value = REPEAT('w', 7000000) WHERE id = 3")
    site.clone()
    assert site.content(site.target) == site.content(site.source)
    site.source.sql("UPDATE edgeencryption.edge_token_map SET value = REPEAT('\\'', 9000000) WHERE id = 3")
    assert "max_allowed_packet" in site.refused("source", "snapshotted")


def test_insert_parts_fit_the_packet_of_the_target(site):
    site.target.sql("SET GLOBAL max_allowed_packet = 1048576, GLOBAL local_infile = OFF")
    try:
        site.source.sql("UPDATE edgeencryption.edge_token_map SET value = REPEAT('(\\',\\'),', 500)")
        snapshot = site.snapshot(chunk_bytes=4194304)["snapshot"]["id"]
        site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
        site.source.sql("ALTER TABLE edgeencryption.edge_token_map MODIFY value LONGTEXT")
        site.source.sql("UPDATE edgeencryption.edge_token_map SET value = REPEAT('w', 1100000) WHERE id = 3")
        assert "max_allowed_packet" in site.refused("target", "staged", snapshot=site.snapshot()["snapshot"]["id"])
    finally:
        site.target.sql("SET GLOBAL max_allowed_packet = 16777216, GLOBAL local_infile = ON")


def test_rows_that_the_target_would_alter_are_an_error_not_a_warning(site, monkeypatch):
    # As a target would that has less room in a column than the source: LOAD DATA LOCAL cuts the value, with a warning only.
    original = _stage._schema.create_statement

    def narrower(schema, table):
        return original(schema, table).replace("varchar(255)", "varchar(5)")

    snapshot = site.snapshot()["snapshot"]["id"]
    for local_infile in ("ON", "OFF"):
        site.target.sql("SET GLOBAL local_infile = " + local_infile)
        with monkeypatch.context() as patch:
            patch.setattr(_stage._schema, "create_statement", narrower)
            assert "warnings [1265]" in site.refused("target", "staged", snapshot=snapshot)
        site.target.sql("DROP DATABASE edgeencryption_stage", "SET GLOBAL local_infile = ON")


def test_a_chunk_that_arrives_altered_is_found(site, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]
    original = _stage._load_data
    with monkeypatch.context() as patch:
        patch.setattr(_stage, "_load_data", lambda session, target, columns, text: original(session, target, columns, text.replace(b"-77'", b"-78'")))
        # The unique index is added later, so nothing but the checksum can tell.
        assert "not those of the snapshot" in site.refused("target", "staged", snapshot=snapshot)
    site.ok("target", "staged", snapshot=snapshot)


def test_a_duplicate_that_only_the_index_shows_is_an_error(site):
    snapshot = site.snapshot()["snapshot"]["id"]
    site.ok("target", "staged", snapshot=snapshot)
    # The state of a run that was killed before it added the index, with a duplicate that should not be there.
    site.target.sql(
        "ALTER TABLE edgeencryption_stage.edge_token_map DROP INDEX token",
        "UPDATE edgeencryption_stage.edge_token_map SET token = 'twice' WHERE id < 3",
        "INSERT INTO edgeencryption_stage.edge_clone_journal (at, phase, snapshot, run_id, detail) SELECT at, 'loading', snapshot, run_id, detail"
        " FROM edgeencryption_stage.edge_clone_journal LIMIT 1",
    )
    message = site.refused("target", "staged", snapshot=snapshot)
    assert "1062" in message and "twice" not in message


def test_orphans_are_found_although_the_server_does_not_look(site):
    site.source.sql(
        "USE edgeencryption",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT lost FOREIGN KEY (p) REFERENCES parent (id))",
        "SET foreign_key_checks = 0",
        "INSERT INTO child VALUES (1, 5)",
    )
    message = site.refused("target", "staged", snapshot=site.snapshot()["snapshot"]["id"])
    assert "1 rows break the foreign key lost" in message


def test_foreign_keys_across_databases_are_refused(site):
    site.target.sql(
        "CREATE DATABASE edge_other",
        "CREATE TABLE edge_other.c (id CHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci,"
        " FOREIGN KEY (id) REFERENCES edgeencryption.db_id (id))",
    )
    snapshot = site.snapshot()["snapshot"]["id"]
    message = site.refused("target", "staged", snapshot=snapshot)
    assert "edge_other.c" in message
    site.target.sql("DROP DATABASE edge_other")
    site.source.sql(
        "CREATE DATABASE edge_other",
        "CREATE TABLE edge_other.p (id INT PRIMARY KEY)",
        "CREATE TABLE edgeencryption.c (id INT, FOREIGN KEY (id) REFERENCES edge_other.p (id))",
    )
    assert "edge_other" in site.refused("source", "snapshotted")


@pytest.mark.parametrize("engine", ["MyISAM", "Aria", "MEMORY"])
def test_tables_without_a_snapshot_are_refused(site, vendor, engine):
    if (vendor, engine) == ("mysql", "Aria"):
        engine = "CSV"
    site.source.sql("CREATE TABLE edgeencryption.flat (id INT NOT NULL) ENGINE = " + engine)
    assert "flat ({0})".format(engine) in site.refused("source", "snapshotted")


@pytest.mark.mysql(False)
def test_sequences_and_versioned_tables_are_refused(site):
    site.source.sql("CREATE SEQUENCE edgeencryption.s", "CREATE TABLE edgeencryption.v (id INT) WITH SYSTEM VERSIONING")
    message = site.refused("source", "snapshotted")
    assert "s (sequence)" in message and "v (system versioned)" in message


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE edgeencryption.{0} ADD COLUMN late INT DEFAULT 5, ALGORITHM = INSTANT",
        "ALTER TABLE edgeencryption.{0} ENGINE = InnoDB, COMMENT 'rebuilt'",
        "DROP TABLE edgeencryption.{0}",
        "CREATE TABLE edgeencryption.late (id INT PRIMARY KEY)",
    ],
)
def test_ddl_during_the_snapshot_is_found(site, monkeypatch, statement, tmp_path):
    original = _snapshot._freeze

    def freeze_then_alter(*args):
        frozen = original(*args)
        site.source.sql(statement.format("token_map"))
        return frozen

    monkeypatch.setattr(_snapshot, "_freeze", freeze_then_alter)
    assert "altered" in site.refused("source", "snapshotted")
    assert list((tmp_path / "snapshots").iterdir()) == []


@pytest.mark.parametrize("rights, method", [((), "one_connection"), (("LOCK TABLES",), "table_read_lock"), (("RELOAD",), "global_read_lock")])
def test_writers_go_on_and_the_snapshot_is_of_one_instant(site, rights, method):
    """Each transaction adds to both tables; in a snapshot of one instant both have grown by the same number of rows."""
    site.source.sql("REVOKE RELOAD ON *.* FROM 'edge_clone_read'@'127.0.0.1'")
    for right in rights:
        place = "*.*" if right == "RELOAD" else "edgeencryption.*"
        site.source.sql("GRANT {0} ON {1} TO 'edge_clone_read'@'127.0.0.1'".format(right, place))
    stop, waits = threading.Event(), []

    def write():
        with contextlib.closing(site.source.admin(database="edgeencryption")) as connection, connection.cursor() as cursor:
            number = 0
            while not stop.is_set():
                number += 1
                started = time.monotonic()
                cursor.execute("BEGIN")
                cursor.execute("INSERT INTO edge_token_map (token, value) VALUES ('w{0}', '{1}')".format(number, CLEAR_TEXT))
                cursor.execute("INSERT INTO token_map (field, order_token) VALUES ('w', LPAD({0}, 8, '0'))".format(number))
                cursor.execute("COMMIT")
                waits.append(time.monotonic() - started)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        results = [site.snapshot() for dummy in range(3)]
    finally:
        stop.set()
        writer.join()
    assert {result["timings"]["method"] for result in results} == {method}
    grown = [{table["name"]: table["rows"] for table in result["tables"]} for result in results]
    assert all(rows["edge_token_map"] - 900 == rows["token_map"] - 450 for rows in grown)
    assert grown[0]["token_map"] < grown[2]["token_map"]
    assert max(waits) < 1.5
    site.ok("target", "staged", snapshot=results[-1]["snapshot"]["id"])


def test_the_read_lock_is_not_waited_for_behind_a_long_statement(site):
    site.source.sql("GRANT PROCESS ON *.* TO 'edge_clone_read'@'127.0.0.1'")
    with contextlib.closing(site.source.admin(database="edgeencryption")) as connection:

        def sleep():
            with contextlib.suppress(pymysql.err.OperationalError):
                connection.cursor().execute("SELECT SLEEP(6) FROM db_id")

        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        time.sleep(2.5)
        message = site.refused("source", "snapshotted", lock_wait_timeout=1)
        assert "root@localhost" in message
        site.source.sql("KILL QUERY {0}".format(connection.thread_id()))
        sleeper.join()


def test_a_lock_that_cannot_be_had_lets_others_go_on(site, vendor):
    """Somebody holds a table lock that the global one must wait for; writers to other tables must not queue up for long."""
    with contextlib.closing(site.source.admin(database="edgeencryption")) as holder, contextlib.closing(site.source.admin()) as writer:
        holder.cursor().execute("LOCK TABLES db_id WRITE")
        results = []
        attempt = threading.Thread(target=lambda: results.append(site.refused("source", "snapshotted", lock_wait_timeout=2)))
        attempt.start()
        longest, end = 0.0, time.monotonic() + 1.5
        while time.monotonic() < end:
            started = time.monotonic()
            writer.cursor().execute("INSERT INTO edgeencryption.edge_token_map (token) VALUES (UUID())")
            longest = max(longest, time.monotonic() - started)
        attempt.join()
    assert "no read lock within 2 s" in results[0]
    # MySQL can be told whole seconds only.
    assert longest < (1.5 if vendor == "mysql" else 0.5)


def test_the_times_in_every_session_are_utc(site):
    with _db.Session(_db.Login("127.0.0.1", site.source.port, "edge_clone_read", "read-password", str(site.source.directory / "ca.pem"))) as session:
        assert session.value("SELECT @@session.time_zone") == "+00:00"
        assert session.value("SELECT @@session.sql_mode") == "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"


def test_progress_counts_rows_and_nothing_else(site, tmp_path):
    seen = []
    site.snapshot()
    login = _db.Login("127.0.0.1", site.source.port, "edge_clone_read", "read-password", str(site.source.directory / "ca.pem"))
    progress = _parallel.Progress(lambda *counts: seen.append(counts))
    _snapshot.take(login, "edgeencryption", str(tmp_path / "other"), None, 2, 16384, 5, None, "rows", progress)
    assert seen[0][:2] == ("snapshot", 0) and seen[-1][1] == 1351
    path = tmp_path / "progress"
    snapshot = site.snapshot(progress_file=str(path))["snapshot"]["id"]
    site.ok("target", "staged", snapshot=snapshot, progress_file=str(path))
    text = path.read_text()
    assert '"state": "stage", "stage": "", "done": 1351, "total": 1351' in text and CLEAR_TEXT not in text and "prod-" not in text
