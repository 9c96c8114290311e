# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two servers for the token database tests, and the modules logged in with the documented rights only.

The servers are MariaDB's; tests with the mark C(mysql) run on MySQL's as well, in the long tier.
"""

import pathlib
import re
import shutil
import tempfile
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.integration import mariadb, mysql
from ansible_collections.edge_encryption.clone.tests.unit.conftest import ModuleResult, run_module  # noqa: F401  # pylint: disable=unused-import

SECRET = "a long key, but only for tests"
CLEAR_TEXT = "Clear-Text-Nobody-May-Find"
READ = "GRANT SELECT, SHOW VIEW, TRIGGER ON `edgeencryption`.* TO 'edge_clone_read'@'127.0.0.1'"
PROCESS = "GRANT PROCESS ON *.* TO 'edge_clone_read'@'127.0.0.1'"
RIGHTS = "GRANT SELECT, INSERT, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, CREATE VIEW, SHOW VIEW ON {0}.* TO 'edge_clone_write'@'127.0.0.1'"
SCHEMA = (
    "CREATE DATABASE edgeencryption CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "CREATE TABLE edgeencryption.db_id (id CHAR(36) PRIMARY KEY, created DATETIME NOT NULL)",
    "CREATE TABLE edgeencryption.edge_token_map (id BIGINT AUTO_INCREMENT PRIMARY KEY, token VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    " NOT NULL, value TEXT, pattern VARCHAR(64), created_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY token (token),"
    " KEY pattern (pattern, created_on))",
    "CREATE TABLE edgeencryption.token_map (id BIGINT AUTO_INCREMENT PRIMARY KEY, field VARCHAR(160) NOT NULL, order_token BINARY(8) NOT NULL,"
    " cipher VARBINARY(600), created_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY field (field, order_token), KEY cipher (field, cipher(100)))",
)


ACCOUNTS = (
    "CREATE USER 'edge_clone_read'@'127.0.0.1' IDENTIFIED BY 'read-password' REQUIRE SSL",
    "CREATE USER 'edge_clone_write'@'127.0.0.1' IDENTIFIED BY 'write-password' REQUIRE SSL",
    "CREATE USER 'edge_proxy'@'127.0.0.1' IDENTIFIED BY 'proxy-password' REQUIRE SSL",
    "GRANT ALL ON `edgeencryption`.* TO 'edge_proxy'@'127.0.0.1'",
)
NUMBERS = (
    "CREATE DATABASE numbers",
    "SET cte_max_recursion_depth = 5000",
    "CREATE TABLE numbers.numbers (seq INT PRIMARY KEY)"
    " WITH RECURSIVE n AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM n WHERE seq < 5000) SELECT seq FROM n",
)


def fill(side: str, rows: int) -> t.List[str]:
    """Return statements that fill the three tables of the proxy with rows that differ by side."""
    return [
        "USE edgeencryption",
        "INSERT INTO edgeencryption.db_id VALUES ('{0}', '2026-01-01 00:00:00')".format(side),
        "INSERT INTO edgeencryption.edge_token_map (token, value, pattern) SELECT CONCAT('{0}-', seq), CONCAT('{1}', seq, '\\'\\\\,(\n)'), 'SSN'"
        " FROM seq_1_to_{2}".format(side, CLEAR_TEXT, rows),
        "INSERT INTO edgeencryption.token_map (field, order_token, cipher) SELECT 'incident.u_account', UNHEX(LPAD(HEX(seq * 7), 16, '0')),"
        " UNHEX(SHA2(CONCAT('{0}', seq), 256)) FROM seq_1_to_{1}".format(side, rows // 2),
    ]


class Site:
    """A source and a target server with the token databases of a test, and the modules to run on them."""

    def __init__(self, source: mariadb.MariaDb, target: mariadb.MariaDb, run: t.Callable[..., ModuleResult], directory: t.Any) -> None:
        self.source = source
        self.target = target
        self.directory = str(directory)
        self.snapshot_options = {}  # type: t.Dict[str, t.Any]
        self._run = run

    def options(self, side: str, state: str, **options: t.Any) -> t.Dict[str, t.Any]:
        """Return the module's options; snapshots are encrypted unless the test says otherwise."""
        login = self.source.login("edge_clone_read", "read-password") if side == "source" else self.target.login("edge_clone_write", "write-password")
        base = dict(login, state=state, snapshot_dir=self.directory, chunk_bytes=16384)
        if state == "rolled_back":
            base["instance_rolled_back"] = True
        if state in ("snapshotted", "staged") and not {"encryption_key", "unencrypted", "encryption_key_file"} & set(options):
            base["encryption_key"] = SECRET
        if state == "snapshotted":
            base.update(self.snapshot_options)
        return {name: value for name, value in dict(base, **options).items() if value is not None}

    def sync(self, side: str, state: str, check: bool = False, diff: bool = False, **options: t.Any) -> ModuleResult:
        return self._run("mysql_token_db_sync", self.options(side, state, **options), check=check, diff=diff)

    def ok(self, side: str, state: str, **options: t.Any) -> ModuleResult:
        result = self.sync(side, state, **options)
        assert not result.failed, result
        return result

    def refused(self, side: str, state: str, **options: t.Any) -> str:
        result = self.sync(side, state, **options)
        assert result.failed, result
        assert "\n" not in result["msg"]
        assert CLEAR_TEXT not in str(result)
        return result["msg"]

    def snapshot(self, **options: t.Any) -> ModuleResult:
        return self.ok("source", "snapshotted", **options)

    def clone(self, run_id: str = "acmetest/C-1", **options: t.Any) -> ModuleResult:
        """Snapshot, stage, cut over."""
        snapshot = self.snapshot()["snapshot"]["id"]
        self.ok("target", "staged", snapshot=snapshot, run_id=run_id, **options)
        return self.ok("target", "cut_over", run_id=run_id, **options)

    def content(self, server: mariadb.MariaDb, schema: str = "edgeencryption") -> t.Dict[str, t.Any]:
        """Return the server's own checksum and definition of every table, taken without any code of the collection."""
        found = {}
        for (name,) in server.sql("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{0}' AND TABLE_TYPE = 'BASE TABLE'".format(schema)):
            table = "`{0}`.`{1}`".format(schema, name.replace("`", "``"))
            # MySQL shows the character set of a collation once a table was made from its own definition.
            create = re.sub(r" CHARACTER SET (\w+) COLLATE \1_", r" COLLATE \1_", server.sql("SHOW CREATE TABLE " + table)[0][1])
            # CHECKSUM TABLE takes virtual columns in without computing them: it differs from call to call.
            query = "SELECT * FROM {0} ORDER BY 1" if " VIRTUAL" in create else "CHECKSUM TABLE {0} EXTENDED"
            found[name] = ([row if " VIRTUAL" in create else row[1] for row in server.sql(query.format(table))], create)
        return found

    def schemas(self) -> t.List[str]:
        return [row[0] for row in self.target.sql("SHOW DATABASES LIKE 'edge%'")]


def checksums(content: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Return the checksums alone: a crash may set the next AUTO_INCREMENT value back, which is the server's affair."""
    return {name: value[0] for name, value in content.items()}


def pytest_generate_tests(metafunc):
    mark = metafunc.definition.get_closest_marker("mysql")
    if "vendor" in metafunc.fixturenames and mark and mark.args != (False,):
        metafunc.parametrize("vendor", ["mariadb", pytest.param("mysql", marks=pytest.mark.long)], indirect=True, scope="session")


@pytest.fixture(scope="session")
def vendor(request):
    return getattr(request, "param", "mariadb")


@pytest.fixture(scope="session")
def make_server(vendor, tmp_path_factory):
    """Return a function that makes and starts a server of the vendor with the accounts of both sides."""
    root = tmp_path_factory.mktemp(vendor)
    made, template = [], root / "template"
    if vendor == "mysql":
        inside = pathlib.Path(tempfile.mkdtemp(dir=str(mysql.make_root() / "srv")))
        template = inside / "template"

    def make(name: str, *options: str) -> mariadb.MariaDb:
        number = len(made) + 1
        (mysql if vendor == "mysql" else mariadb).install(root / name, template)
        common = ["--log-bin", "--server-id={0}".format(number), "--log-bin-trust-function-creators=ON", "--local-infile=ON", "--max-allowed-packet=16M"]
        server = (mysql.MySql if vendor == "mysql" else mariadb.MariaDb)(root / name, common + list(options))
        made.append(server)
        server.start()
        server.sql(*ACCOUNTS)
        if vendor == "mysql":
            server.sql(*NUMBERS)
        return server

    try:
        yield make
    finally:
        for server in made:
            server.stop()
        if vendor == "mysql":
            shutil.rmtree(str(inside))


@pytest.fixture(scope="session")
def servers(make_server):
    """Start the two servers once."""
    return make_server("source"), make_server("target")


@pytest.fixture
def site(servers, run_module, tmp_path):  # noqa: F811
    """Return a site whose source has 900 rows and whose target has 300 others."""
    return make_site(*servers, run_module, tmp_path / "snapshots")


@pytest.fixture(scope="session")
def file_servers(make_server):
    """Start a source with a binary log and a target without; one with a binary log cannot import files."""
    return make_server("files-source"), make_server("files-target", "--skip-log-bin")


@pytest.fixture
def file_site(file_servers, run_module, tmp_path):  # noqa: F811
    """Return a site like the other one, whose snapshots are of files."""
    return make_file_site(*file_servers, run_module, tmp_path / "snapshots")


def make_file_site(source: mariadb.MariaDb, target: mariadb.MariaDb, run: t.Callable[..., ModuleResult], directory: t.Any) -> Site:
    made = make_site(source, target, run, directory)
    source.sql(PROCESS)
    made.snapshot_options = {"engine": "tablespaces"}
    return made


def make_site(source: mariadb.MariaDb, target: mariadb.MariaDb, run: t.Callable[..., ModuleResult], directory: t.Any) -> Site:
    """Fill both servers anew, with the documented rights only."""
    for server, side, rows in ((source, "prod", 900), (target, "test", 300)):
        names = [row[0] for row in server.sql("SHOW DATABASES LIKE 'edge%'")]
        server.sql("SET foreign_key_checks = 0", *["DROP DATABASE `{0}`".format(name) for name in names])
        server.sql(*SCHEMA)
        server.sql(*fill(side, rows))
    source.sql("REVOKE ALL, GRANT OPTION FROM 'edge_clone_read'@'127.0.0.1'", READ, "GRANT RELOAD ON *.* TO 'edge_clone_read'@'127.0.0.1'")
    target.sql(
        "REVOKE ALL, GRANT OPTION FROM 'edge_clone_write'@'127.0.0.1'",
        RIGHTS.format("`edgeencryption`"),
        RIGHTS.format("`edgeencryption\\_%`"),
        "GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'",
    )
    return Site(source, target, run, directory)
