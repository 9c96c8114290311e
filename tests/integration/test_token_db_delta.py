# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stage that begins with replaced tables ends as one that loads everything, whatever these tables hold."""

import random

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _db, _delta
from ansible_collections.edge_encryption.clone.tests.integration import conftest
from ansible_collections.edge_encryption.clone.tests.integration.conftest import CLEAR_TEXT
from ansible_collections.edge_encryption.clone.tests.integration.test_token_db_killed import dying_at
from ansible_collections.edge_encryption.clone.tests.integration.test_token_db_traps import AWKWARD, OWN

DELETE = "GRANT DELETE ON `edgeencryption\\_%`.* TO 'edge_clone_write'@'127.0.0.1'"
RUN = "acmetest/C-3"


@pytest.fixture
def cloned(site):
    """A target that was cloned twice, so that what the second clone replaced is what the source still holds."""
    site.target.sql(DELETE)
    site.clone("acmetest/C-1")
    kept = site.clone("acmetest/C-2")["previous_schema"]
    for name in [name for name in site.schemas() if name not in ("edgeencryption", kept)]:
        site.target.sql("DROP DATABASE `{0}`".format(name))
    site.kept = kept
    return site


def stage(site, **options):
    snapshot = site.snapshot()["snapshot"]["id"]
    return site.ok("target", "staged", **dict({"snapshot": snapshot, "run_id": RUN, "delta": True, "keep_for": 0}, **options))


def rows(site):
    return site.source.sql("SELECT SUM(n) FROM (SELECT COUNT(*) AS n FROM edgeencryption.db_id UNION ALL SELECT COUNT(*) FROM edgeencryption.edge_token_map"
                           " UNION ALL SELECT COUNT(*) FROM edgeencryption.token_map) AS t")[0][0]  # fmt: skip


def finish(site):
    """Cut over, and compare with the source by the server's own checksums."""
    site.ok("target", "cut_over", run_id=RUN)
    assert site.content(site.target) == site.content(site.source)


@pytest.mark.mysql
def test_nothing_is_loaded_when_nothing_changed(cloned):
    staged = stage(cloned)
    assert staged["delta"] == {"schema": cloned.kept, "rows_kept": rows(cloned), "rows_added": 0, "rows_removed": 0}
    assert cloned.kept not in cloned.schemas()
    finish(cloned)


@pytest.mark.mysql
def test_a_server_that_gives_only_short_values_of_many_rows(cloned):
    # The default of MySQL.
    usual = cloned.target.sql("SELECT @@GLOBAL.group_concat_max_len")[0][0]
    cloned.target.sql("SET GLOBAL group_concat_max_len = 1024")
    try:
        staged = stage(cloned)
    finally:
        cloned.target.sql("SET GLOBAL group_concat_max_len = {0}".format(usual))
    assert (staged["delta"]["rows_kept"], staged["delta"]["rows_added"]) == (rows(cloned), 0)
    finish(cloned)


def test_only_what_differs_is_moved(cloned):
    cloned.source.sql(
        "USE edgeencryption",
        "INSERT INTO edge_token_map (token, value, pattern) SELECT CONCAT('new-', seq), REPEAT('n', seq), 'CARD' FROM seq_1_to_40",
        "DELETE FROM edge_token_map WHERE id IN (1, 450, 899)",
        "UPDATE edge_token_map SET value = 'another' WHERE id IN (2, 451)",
        # Two rows exchange what must be unique: neither may be added before both are removed.
        "UPDATE edge_token_map SET token = IF(id = 5, 'tmp', token)",
        "UPDATE edge_token_map SET token = 'prod-5' WHERE id = 880",
        "UPDATE edge_token_map SET token = 'prod-880' WHERE id = 5",
        "UPDATE token_map SET id = id + 5000 WHERE id > 440",
        "UPDATE token_map SET order_token = 0x00 WHERE id = 7",
    )
    staged = stage(cloned)
    assert staged["delta"]["rows_added"] == 40 + 2 + 2 + 10 + 1 and staged["delta"]["rows_removed"] == 3 + 2 + 2 + 10 + 1
    assert staged["delta"]["rows_kept"] + staged["delta"]["rows_added"] == rows(cloned)
    finish(cloned)


@pytest.mark.mysql
def test_the_target_wrote_into_what_was_replaced(cloned):
    # The second clone's tables are replaced by a third, in which the target's own tokens are gone.
    cloned.target.sql("INSERT INTO edgeencryption.edge_token_map (token, value) VALUES ('prod-901', 'of the target'), ('test-x', 'of the target')")
    cloned.source.sql("INSERT INTO edgeencryption.edge_token_map (token, value) VALUES ('prod-901', 'of the source')")
    third = cloned.clone("acmetest/C-2b")["previous_schema"]
    cloned.target.sql("DROP DATABASE `{0}`".format(cloned.kept))
    staged = stage(cloned)
    assert staged["delta"]["schema"] == third and staged["delta"]["rows_removed"] == 2 and staged["delta"]["rows_added"] == 1
    cloned.ok("target", "cut_over", run_id=RUN)
    wanted, found = cloned.content(cloned.source), cloned.content(cloned.target)
    assert conftest.checksums(found) == conftest.checksums(wanted)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2, 3))])
def test_any_change_of_any_schema_arrives(cloned, seed):
    chance = random.Random(seed)
    cloned.source.sql(*AWKWARD[:2], *OWN["mariadb"], *AWKWARD[2:])
    cloned.clone("acmetest/C-4")
    cloned.clone("acmetest/C-5")
    cloned.source.sql("SET check_constraint_checks = 0, foreign_key_checks = 0", "USE edgeencryption", *changes(chance))
    staged = stage(cloned)
    assert staged["delta"]["rows_removed"] > 100 and staged["delta"]["rows_kept"] > 2000
    cloned.ok("target", "cut_over", run_id=RUN)
    source, target = cloned.content(cloned.source), cloned.content(cloned.target)
    for name in source:
        assert target[name][0] == source[name][0], name
    assert set(source) == set(target)


def changes(chance):
    statements = []
    for table, key in (("composite", "n * 4"), ("old", "SUBSTR(name, 5)"), ("raw", "CONV(HEX(k), 16, 10)"), ("kinds", "id"), ("keyless", "c"), ("parts", "id")):
        statements.append("DELETE FROM {0} WHERE {1} % {2} = {3}".format(table, key, chance.randint(3, 30), chance.randint(0, 2)))
    statements += [
        "UPDATE composite SET v = n WHERE n * 4 % {0} = 1".format(chance.randint(2, 40)),
        "UPDATE composite SET word = CONCAT(word, '\u00e9') WHERE n * 4 % {0} = 0".format(chance.randint(2, 40)),
        "UPDATE old SET v = NULL WHERE LENGTH(name) = 7",
        "INSERT INTO raw (k, x) SELECT UNHEX(LPAD(HEX(seq * 5 + {0}), 8, '0')), 'z' FROM seq_1_to_300".format(chance.randint(1, 4)),
        "DELETE FROM child WHERE id = {0}".format(chance.randint(1, 3)),
        "DROP TRIGGER first_one",  # its definer is gone
        "INSERT INTO parent VALUES (9, 90)",
        "INSERT INTO child VALUES (9, 180)",
        "UPDATE pick SET t = 5",
    ]
    return statements


def test_young_or_other_tables_are_not_used(cloned):
    assert "delta" not in stage(cloned, keep_for=3600)
    assert cloned.kept in cloned.schemas()
    cloned.target.sql("DROP DATABASE edgeencryption_stage", "ALTER TABLE `{0}`.edge_token_map DROP KEY pattern".format(cloned.kept))
    # The tables that do not fit are loaded in full.
    staged = stage(cloned)
    assert staged["delta"]["rows_kept"] == rows(cloned) - 900 and staged["delta"]["rows_added"] == 0
    finish(cloned)


def test_the_run_s_own_replaced_tables_are_never_used(site):
    site.target.sql(DELETE)
    site.clone(RUN)
    site.ok("target", "rolled_back", run_id=RUN)
    kept = site.schemas()
    assert "delta" not in stage(site)
    assert set(kept) < set(site.schemas())


def test_the_missing_right_is_named(site):
    snapshot = site.snapshot()["snapshot"]["id"]
    assert DELETE in site.refused("target", "staged", snapshot=snapshot, run_id=RUN, delta=True)


def test_a_list_of_rows_that_the_server_cuts_replaces_the_whole_range(cloned, monkeypatch):
    cloned.source.sql("UPDATE edgeencryption.token_map SET field = 'other' WHERE id = 9")
    original = _delta.compare

    def compare(session, *arguments):
        session.execute("SET SESSION group_concat_max_len = 100")
        return original(session, *arguments)

    monkeypatch.setattr(_delta, "compare", compare)
    staged = stage(cloned)
    assert staged["delta"]["rows_removed"] == staged["delta"]["rows_added"] > 1300
    finish(cloned)


def copy_schema(server, old, new):
    tables = [row[0] for row in server.sql("SHOW TABLES FROM `{0}`".format(old))]
    server.sql("CREATE DATABASE `{0}`".format(new))
    for name in tables:
        server.sql("CREATE TABLE `{0}`.{1} LIKE `{2}`.{1}".format(new, name, old), "INSERT INTO `{0}`.{1} SELECT * FROM `{2}`.{1}".format(new, name, old))


@pytest.mark.parametrize("step", [37, pytest.param(2, marks=pytest.mark.long)])
def test_dead_at_any_statement(cloned, monkeypatch, step):
    """Let the process die at instants all over a stage with a base; the live tables never change and the next start finishes."""
    cloned.source.sql(
        "USE edgeencryption",
        "UPDATE edge_token_map SET value = REVERSE(value) WHERE id % 97 = 0",
        "INSERT INTO token_map (field, order_token) SELECT 'new', UNHEX(LPAD(HEX(seq), 16, '0')) FROM seq_1_to_50",
        "DELETE FROM edge_token_map WHERE id % 101 = 0",
    )
    snapshot = cloned.snapshot()["snapshot"]["id"]
    live, new = cloned.content(cloned.target), cloned.content(cloned.source)
    copy_schema(cloned.target, cloned.kept, "save")
    instant, finished = 0, False
    try:
        while not finished:
            with dying_at(monkeypatch, instant):
                finished = not cloned.sync("target", "staged", snapshot=snapshot, run_id=RUN, delta=True, keep_for=0).failed
            assert cloned.content(cloned.target) == live
            cloned.ok("target", "staged", snapshot=snapshot, run_id=RUN, delta=True, keep_for=0)
            assert cloned.kept not in cloned.schemas()
            staged = conftest.checksums(cloned.content(cloned.target, "edgeencryption_stage"))
            assert {name: staged[name] for name in new} == conftest.checksums(new)
            cloned.target.sql("DROP DATABASE edgeencryption_stage")
            copy_schema(cloned.target, "save", cloned.kept)
            instant += step
        assert instant > step * 5
    finally:
        cloned.target.sql("DROP DATABASE save")


def test_no_value_is_told(cloned):
    cloned.source.sql("UPDATE edgeencryption.edge_token_map SET value = REVERSE(value) WHERE id % 97 = 0")
    assert CLEAR_TEXT not in str(stage(cloned))


def test_a_deadlock_of_two_workers_is_no_error(cloned, monkeypatch):
    cloned.source.sql("UPDATE edgeencryption.edge_token_map SET value = REVERSE(value) WHERE id % 3 = 0")
    original, refused = _delta.remove_extra, []

    def remove_extra(*arguments):
        removed = original(*arguments)
        if len(refused) < 3:
            refused.append(removed)
            error = _db.DatabaseError("here", "Deadlock found")
            error.code = _db.DEADLOCK
            arguments[0].execute("ROLLBACK")
            raise error
        return removed

    monkeypatch.setattr(_delta, "remove_extra", remove_extra)
    assert stage(cloned)["delta"]["rows_removed"] == 300 and len(refused) == 3
    finish(cloned)
