# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two token databases: MariaDB servers of the lab's own, with TLS and with the accounts that the guides recommend.

Nothing but the set-up itself uses the server's root account, and that only over its socket.
"""

import shutil
import subprocess
import typing as t
from pathlib import Path

import pymysql

from edgelab.ca import Authority
from edgelab.processes import LabError, Process, account
from edgelab.proxy_home import BOOTSTRAP_SQL

DATABASE = "edgeencryption"
PROXY_USER = "edge_proxy"
# What the proxies need, and the least that the collection needs on each side (docs: least privilege).
GRANTS = {
    "edge_proxy": (r"GRANT SELECT, INSERT, UPDATE, DELETE ON `edgeencryption`.* TO {account}",),
    "edge_clone_read": (
        r"GRANT SELECT, SHOW VIEW, TRIGGER ON `edgeencryption`.* TO {account}",
        r"GRANT RELOAD, PROCESS ON *.* TO {account}",
    ),
    "edge_clone_write": (
        r"GRANT SELECT, INSERT, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, CREATE VIEW, SHOW VIEW ON `edgeencryption`.* TO {account}",
        r"GRANT SELECT, INSERT, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, CREATE VIEW, SHOW VIEW ON `edgeencryption\_%`.* TO {account}",
        r"GRANT RELOAD, PROCESS ON *.* TO {account}",
    ),
}
CLONE_USER = {"source": "edge_clone_read", "target": "edge_clone_write"}

SETTINGS = """\
[mariadbd]
datadir = {data}
tmpdir = {tmp}
socket = {socket}
pid-file = {pid_file}
port = {port}
bind-address = {address}
user = {user}
skip-name-resolve
innodb-buffer-pool-size = 64M
innodb-log-file-size = 32M
performance-schema = OFF
ssl-cert = {cert}
ssl-key = {key}
ssl-ca = {ca}
require-secure-transport = ON
"""


class TokenDb:
    """One side's server."""

    def __init__(self, side: str, folder: Path, port: int, address: str = "127.0.0.1") -> None:
        self.side = side
        self.folder = folder
        self.port = port
        self.address = address
        self.socket = folder / "s"
        self.pid_file = folder / "mariadbd.pid"
        self.process = Process(f"token database {side}", folder)

    def up(self, authority: Authority, passwords: t.Mapping[str, str], accounts: t.Mapping[str, t.Sequence[str]]) -> None:
        """Make the server if need be, start it, and see to its accounts (name to the addresses they may come from) and tables."""
        ready = self.folder / "ready"
        settings = self.folder / "my.cnf"
        # A server that starts deletes the temporary tables of all others in a tmpdir that they share.
        tmp = self.folder / "tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        if not ready.exists():
            # Nothing, or what an attempt that was broken off has left.
            self.process.stop()
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            done = subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", f"--tmpdir={tmp}", f"--user={account()}",
                                   "--auth-root-authentication-method=socket", "--skip-test-db"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise LabError(f"mariadb-install-db for the {self.side}: {done.stdout}{done.stderr}")
        cert, key = authority.server("server")
        settings.write_text(SETTINGS.format(data=self.folder / "data", tmp=tmp, socket=self.socket, pid_file=self.pid_file, port=self.port,
                                            address=self.address, user=account(), cert=cert, key=key, ca=authority.ca))
        self.process.start(["mariadbd", f"--defaults-file={settings}"])
        self.process.wait_for(self.healthy)
        if not ready.exists():
            self._set_up(passwords, accounts)
            ready.touch()

    def _set_up(self, passwords: t.Mapping[str, str], accounts: t.Mapping[str, t.Sequence[str]]) -> None:
        with self.admin() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
            for user, address in ((user, address) for user, addresses in accounts.items() for address in addresses):
                cursor.execute(f"CREATE USER {user}@'{address}' IDENTIFIED BY %s REQUIRE SSL", (passwords[user],))
                for grant in GRANTS[user]:
                    # The pattern of schema names holds a percent sign, which PyMySQL leaves alone without arguments.
                    cursor.execute(grant.replace("{account}", f"{user}@'{address}'"))
            cursor.execute(f"USE {DATABASE}")
            for statement in filter(str.strip, BOOTSTRAP_SQL.split(";")):
                cursor.execute(statement)
            cursor.execute("INSERT INTO db_id VALUES (UUID(), UTC_TIMESTAMP())")

    def healthy(self) -> bool:
        try:
            self.admin().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def admin(self) -> "pymysql.connections.Connection":
        """Connect as root over the socket; for set-up and for what tests look at."""
        return pymysql.connect(unix_socket=str(self.socket), user=account(), autocommit=True)

    def query(self, sql: str, *arguments: t.Any) -> t.Tuple[t.Tuple[t.Any, ...], ...]:
        """Run one statement as root and return its rows."""
        with self.admin() as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return cursor.fetchall()
