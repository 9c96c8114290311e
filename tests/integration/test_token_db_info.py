# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the info module tells along the way of a clone."""

import contextlib

import pymysql
import pytest

RUN = "acmetest/C-1"
pytestmark = pytest.mark.mysql


@pytest.fixture
def look(site, run_module):
    def look(side="target", **options):
        login = site.source.login("edge_clone_read", "read-password") if side == "source" else site.target.login("edge_clone_write", "write-password")
        result = run_module("mysql_token_db_info", dict(login, **options))
        assert not result.failed and not result["changed"], result
        return result

    return look


def test_what_there_is_before_and_after(site, look, vendor):
    found = look()
    assert found["server"]["vendor"] == vendor and found["server"]["account"] == "edge_clone_write@127.0.0.1"
    assert found["missing_privileges"]["target"] == [] and found["connections"] == []
    assert "GRANT RELOAD ON *.* TO 'edge_clone_write'@'127.0.0.1'" in found["missing_privileges"]["source"]
    assert [(schema["name"], schema["kind"], schema["exists"]) for schema in found["schemas"]] == [("edgeencryption", "live", True)]
    assert (found["staged"], found["previous"]) == (None, []) and "snapshots" not in found
    assert abs(found["clock_skew_s"]) < 0.5
    snapshot = site.snapshot()
    site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN)
    found = look(snapshot_dir=site.directory)
    assert found["snapshots"] == [snapshot["snapshot"]]
    assert found["staged"]["complete"] and found["staged"]["snapshot"] == snapshot["snapshot"]["id"] and found["staged"]["run_id"] == RUN
    done = site.ok("target", "cut_over", run_id=RUN)
    found = look(checksums=True)
    assert [{name: table[name] for name in ("name", "rows", "checksum")} for table in found["tables"]] == snapshot["tables"]
    assert found["staged"] is None and found["previous"][0]["schema"] == done["previous_schema"]
    assert found["previous"][0]["kind"] == "cut_over" and found["previous"][0]["tables"] == ["db_id", "edge_token_map", "token_map"]
    assert found["missing_privileges"]["target"] == []


def test_who_is_connected(site, look):
    tls = {"ssl_ca": str(site.target.directory / "ca.pem")}
    with contextlib.closing(
        pymysql.connect(host="127.0.0.1", port=site.target.port, user="edge_proxy", password="proxy-password", database="edgeencryption", **tls)
    ) as proxy:
        found = look()["connections"]
        assert [(entry["user"], entry["id"]) for entry in found] == [("edge_proxy", proxy.thread_id())]
    site.target.sql("REVOKE PROCESS ON *.* FROM 'edge_clone_write'@'127.0.0.1'")
    found = look()
    assert found["connections"] is None and found["missing_privileges"]["target"] == ["GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'"]


def test_an_account_that_may_only_read(site, look):
    found = look("source")
    assert found["missing_privileges"]["source"] == [] and len(found["missing_privileges"]["target"]) == 3
    assert found["server"]["binary_log"] is True
    site.source.sql("REVOKE ALL, GRANT OPTION FROM 'edge_clone_read'@'127.0.0.1'")
    found = look("source")
    assert found["missing_privileges"]["source"][0].startswith("GRANT SELECT, SHOW VIEW, TRIGGER ON") and found["tables"] == []


def test_an_account_that_may_not_read_views(site, look):
    """It is told which right it lacks, and what that is against."""
    site.source.sql("CREATE VIEW edgeencryption.v AS SELECT id FROM edgeencryption.db_id")
    site.source.sql("REVOKE SHOW VIEW ON edgeencryption.* FROM 'edge_clone_read'@'127.0.0.1'")
    found = look("source")
    assert "SHOW VIEW" in found["missing_privileges"]["source"][0] and "(1142)" in found["tablespaces"]["source"][0]


def test_the_right_that_a_delta_needs(site, look):
    missing = look("target", delta=True)["missing_privileges"]["target"]
    assert missing == ["GRANT DELETE ON `edgeencryption\\_%`.* TO 'edge_clone_write'@'127.0.0.1'"]
    site.target.sql(*missing)
    assert look("target", delta=True)["missing_privileges"]["target"] == []
