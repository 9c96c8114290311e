# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A target with a real replica: everything goes through the binary log, and the exchange waits for it."""

import itertools
import pathlib
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import without_counter
from ansible_collections.edge_encryption.clone.tests.integration import conftest
from ansible_collections.edge_encryption.clone.tests.integration.conftest import SCHEMA, Site, fill

RUN = "acmetest/C-1"
NUMBERS = itertools.count(1)
GTID = {"mariadb": [], "mysql": ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"]}
FOLLOW = {
    "mariadb": (
        "RESET MASTER",
        "SET GLOBAL gtid_slave_pos = '{position}'",
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'follower', MASTER_PASSWORD = 'follower-password', MASTER_SSL = 1,"
        " MASTER_SSL_CA = '{ca}', MASTER_USE_GTID = slave_pos",
        "START SLAVE",
    ),
    "mysql": (
        "RESET BINARY LOGS AND GTIDS",
        "SET GLOBAL gtid_purged = '{position}'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'follower', SOURCE_PASSWORD = 'follower-password',"
        " SOURCE_SSL = 1, SOURCE_AUTO_POSITION = 1",
        "START REPLICA",
    ),
}
WORDS = {"mariadb": "SLAVE", "mysql": "REPLICA"}
pytestmark = pytest.mark.mysql


@pytest.fixture
def pair(servers, make_server, vendor, run_module, tmp_path):
    """A site whose target has a replica; both of them live for one test."""
    number = next(NUMBERS)
    primary = make_server("primary{0}".format(number), *GTID[vendor])
    replica = make_server("replica{0}".format(number), "--read-only=ON", *GTID[vendor])
    try:
        primary.sql("CREATE USER 'follower'@'127.0.0.1' IDENTIFIED BY 'follower-password' REQUIRE SSL")
        primary.sql("GRANT REPLICATION SLAVE ON *.* TO 'follower'@'127.0.0.1'")
        position = primary.sql("SELECT {0}".format("@@gtid_binlog_pos" if vendor == "mariadb" else "@@global.gtid_executed"))[0][0]
        replica.sql(*[line.format(position=position, port=primary.port, ca=primary.directory / "ca.pem") for line in FOLLOW[vendor]])
        source = servers[0]
        source.sql(*["DROP DATABASE `{0}`".format(row[0]) for row in source.sql("SHOW DATABASES LIKE 'edge%'")], *SCHEMA, *fill("prod", 900))
        source.sql(conftest.READ, "GRANT RELOAD ON *.* TO 'edge_clone_read'@'127.0.0.1'")
        primary.sql(*SCHEMA, *fill("test", 300), *[conftest.RIGHTS.format(name) for name in ("`edgeencryption`", "`edgeencryption\\_%`")])
        primary.sql("GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'")
        site = Site(source, primary, run_module, tmp_path / "snapshots")
        bundle = tmp_path / "ca.pem"
        bundle.write_text("".join(pathlib.Path(str(server.directory), "ca.pem").read_text() for server in (primary, replica)))
        site.replica, site.vendor = replica, vendor
        site.watched = {"replicas": [{"host": "127.0.0.1", "port": replica.port}], "ca_cert": str(bundle)}
        yield site
    finally:
        replica.stop()
        primary.stop()


def content(site, server, schema="edgeencryption"):
    """Return rows and definitions without the next AUTO_INCREMENT values, which a server may reserve in blocks."""
    return {name: (rows, without_counter(create)) for name, (rows, create) in site.content(server, schema).items()}


def same(site):
    """Wait until the replica holds what the primary holds."""
    deadline = time.monotonic() + 60
    schemas = site.schemas()
    wanted = {name: content(site, site.target, name) for name in schemas}
    while {name: content(site, site.replica, name) for name in schemas} != wanted:
        assert time.monotonic() < deadline, site.replica.sql("SHOW {0} STATUS".format(WORDS[site.vendor]))
        time.sleep(0.1)
    assert [row[0] for row in site.replica.sql("SHOW DATABASES LIKE 'edge%'")] == schemas
    return wanted


def test_the_exchange_waits_until_the_replica_holds_the_stage(pair):
    live = same(pair)["edgeencryption"]
    pair.replica.sql("STOP {0} SQL_THREAD".format(WORDS[pair.vendor]))
    snapshot = pair.snapshot()["snapshot"]["id"]
    staged = pair.ok("target", "staged", snapshot=snapshot, run_id=RUN, **pair.watched)
    assert staged["binary_log_bytes"] > 900 * len(conftest.CLEAR_TEXT)
    looked = pair.sync("target", "cut_over", check=True, run_id=RUN, **pair.watched)
    assert looked["changed"] and [replica["applied"] for replica in looked["replicas"]] == [False]
    message = pair.refused("target", "cut_over", run_id=RUN, replica_timeout=1, **pair.watched)
    assert "127.0.0.1:{0}".format(pair.replica.port) in message and "within 1 s" in message and "replica_timeout" in message
    assert content(pair, pair.target) == live
    pair.replica.sql("START {0} SQL_THREAD".format(WORDS[pair.vendor]))
    swapped = pair.ok("target", "cut_over", run_id=RUN, **pair.watched)
    assert [replica["applied"] for replica in swapped["replicas"]] == [True]
    wanted = conftest.checksums(pair.content(pair.source))
    assert conftest.checksums(same(pair)["edgeencryption"]) == wanted
    pair.ok("target", "rolled_back", run_id=RUN, **pair.watched)
    assert same(pair)["edgeencryption"] == live


def test_what_is_no_replica_is_found_before_anything_is_loaded(pair):
    snapshot = pair.snapshot()["snapshot"]["id"]
    for port, expected in ((pair.target.port, "not a replica of it"), (1, "cannot connect")):
        message = pair.refused("target", "staged", snapshot=snapshot, run_id=RUN, **dict(pair.watched, replicas=[{"host": "127.0.0.1", "port": port}]))
        assert expected in message and str(port) in message
    assert pair.schemas() == ["edgeencryption"]


def test_a_replica_that_has_taken_over_is_staged_anew(pair):
    """Nobody has verified what the replication made of the stage there."""
    snapshot = pair.snapshot()["snapshot"]["id"]
    pair.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    before = same(pair)["edgeencryption"]
    pair.replica.sql("STOP " + WORDS[pair.vendor], "SET GLOBAL read_only = 0")
    # The accounts that the lab makes on both were not replicated.
    grants = [conftest.RIGHTS.format(name) for name in ("`edgeencryption`", "`edgeencryption\\_%`")]
    pair.replica.sql(*grants, "GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'")
    pair.target, old = pair.replica, pair.target
    live = pair.content(pair.target)
    message = pair.refused("target", "cut_over", run_id=RUN)
    assert "another server" in message and "state=staged again" in message and pair.content(pair.target) == live
    staged = pair.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    assert staged["changed"] and staged["chunks_resumed"] == 0
    pair.ok("target", "cut_over", run_id=RUN)
    assert conftest.checksums(pair.content(pair.target)) == conftest.checksums(pair.content(pair.source))
    assert content(pair, old) == before


def test_a_replica_is_no_source(pair):
    same(pair)
    pair.replica.sql(conftest.READ, "GRANT RELOAD, PROCESS ON *.* TO 'edge_clone_read'@'127.0.0.1'")
    pair.source = pair.replica
    assert "is a replica" in pair.refused("source", "snapshotted")


def test_a_server_without_transaction_ids_cannot_be_waited_for(site, make_server, vendor, tmp_path):
    plain = make_server("plain{0}".format(next(NUMBERS)), "--skip-log-bin")
    try:
        plain.sql(*SCHEMA, *[conftest.RIGHTS.format(name) for name in ("`edgeencryption`", "`edgeencryption\\_%`")])
        plain.sql("GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'")
        snapshot = site.snapshot()["snapshot"]["id"]
        site.target = plain
        replicas = [{"host": "127.0.0.1", "port": 1}]
        assert "no global transaction ids" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN, replicas=replicas)
        assert site.ok("target", "staged", snapshot=snapshot, run_id=RUN)["binary_log_bytes"] == 0
    finally:
        plain.stop()


def test_triggers_that_the_binary_log_forbids_are_found_before_anything_is_loaded(pair):
    pair.source.sql("CREATE TRIGGER edgeencryption.marks BEFORE INSERT ON edgeencryption.db_id FOR EACH ROW SET NEW.created = '2026-01-01'")
    pair.target.sql("SET GLOBAL log_bin_trust_function_creators = OFF")
    snapshot = pair.snapshot()["snapshot"]["id"]
    message = pair.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    assert "log_bin_trust_function_creators" in message and "1419" in message
    assert pair.target.sql("SELECT COUNT(*) FROM edgeencryption_stage.edge_token_map")[0][0] == 0
    pair.target.sql("SET GLOBAL log_bin_trust_function_creators = ON")
    pair.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    pair.ok("target", "cut_over", run_id=RUN)
