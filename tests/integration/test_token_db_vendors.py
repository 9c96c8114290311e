# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real MariaDB and a real MySQL server: no copy from one to the other, and it is said before anything is loaded."""

import pathlib
import shutil
import tempfile

import pytest

from ansible_collections.edge_encryption.clone.tests.integration import conftest, mariadb, mysql

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    root = tmp_path_factory.mktemp("both")
    inside = pathlib.Path(tempfile.mkdtemp(dir=str(mysql.make_root() / "srv")))
    found = {}
    try:
        for kind, module, template in ((mariadb.MariaDb, mariadb, root / "template"), (mysql.MySql, mysql, inside / "template")):
            module.install(root / kind.__name__, template)
            server = found[kind.__name__] = kind(root / kind.__name__)
            server.start()
            server.sql(*conftest.ACCOUNTS, *(conftest.NUMBERS if module is mysql else ()), *conftest.SCHEMA, *conftest.fill("prod", 50))
            server.sql(conftest.READ, "GRANT RELOAD ON *.* TO 'edge_clone_read'@'127.0.0.1'")
            server.sql(*[conftest.RIGHTS.format(name) for name in ("`edgeencryption`", "`edgeencryption\\_%`")])
            server.sql("GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'")
        yield found
    finally:
        for server in found.values():
            server.stop()
        shutil.rmtree(str(inside))


@pytest.mark.parametrize("source, target", [("MariaDb", "MySql"), ("MySql", "MariaDb")])
def test_a_server_of_another_vendor_is_refused(both, run_module, tmp_path, source, target):  # noqa: F811
    site = conftest.Site(both[source], both[target], run_module, tmp_path / "snapshots")
    before = site.content(site.target)
    snapshot = site.snapshot()["snapshot"]["id"]
    message = site.refused("target", "staged", snapshot=snapshot, run_id="acmetest/C-1")
    assert "the snapshot is from {0} ".format(source.lower()) in message and "this server is {0} ".format(target.lower()) in message
    assert site.schemas() == ["edgeencryption"] and site.content(site.target) == before


def test_names_of_schemas_stand_for_themselves_with_partial_revokes(both, run_module, tmp_path):  # noqa: F811
    server = both["MySql"]
    server.sql("SET GLOBAL partial_revokes = ON")
    site = conftest.Site(server, server, run_module, tmp_path / "snapshots")
    options = {"run_id": "acmetest/C-1", "previous_schema": "edgeencryption_prev", "allow_same_server": True}
    snapshot = site.snapshot()["snapshot"]["id"]
    try:
        message = site.refused("target", "staged", snapshot=snapshot, **options)
        assert "ON `edgeencryption_stage`.* TO" in message
        # What the message says helps.
        server.sql(message.partition("Run there: ")[2].rstrip(";"))
        site.ok("target", "staged", snapshot=snapshot, **options)
        message = site.refused("target", "cut_over", **options)
        server.sql(message.partition("Run there: ")[2].rstrip(";"))
        site.ok("target", "cut_over", **options)
        assert site.schemas() == ["edgeencryption", "edgeencryption_prev"]
        server.sql("GRANT SELECT ON *.* TO 'edge_clone_read'@'127.0.0.1'", "REVOKE SELECT ON edgeencryption.* FROM 'edge_clone_read'@'127.0.0.1'")
        server.sql("REVOKE SELECT ON `edgeencryption`.* FROM 'edge_clone_read'@'127.0.0.1'")
        assert "GRANT SELECT ON `edgeencryption`.*" in site.refused("source", "snapshotted")
    finally:
        server.sql("DROP DATABASE IF EXISTS edgeencryption_prev")
