# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real MariaDB servers for tests: on loopback, with TLS, each with a data directory of its own."""

import contextlib
import datetime
import ipaddress
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import typing as t

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificates(directory: pathlib.Path) -> None:
    """Write ca.pem, and server.pem with server.key for 127.0.0.1."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)
    authority = "test CA of " + directory.name  # one that is told from others in the same file
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for dummy in range(2))

    def build(subject: str, public: t.Any, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(authority)).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        return builder.not_valid_after(now + datetime.timedelta(days=2)).add_extension(extension, critical=True).sign(ca_key, hashes.SHA256())

    pem = serialization.Encoding.PEM
    ca = build(authority, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    server = build("server", key.public_key(), x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
    (directory / "ca.pem").write_bytes(ca.public_bytes(pem))
    (directory / "server.pem").write_bytes(server.public_bytes(pem))
    (directory / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class MariaDb:
    """One server, started in the background and stopped by its process id."""

    def __init__(self, directory: pathlib.Path, options: t.Sequence[str] = ()) -> None:
        self.directory = directory
        self.port = free_port()
        self.socket = str(directory / "s.sock")
        self.options = list(options)
        self.process = None  # type: t.Optional[subprocess.Popen[bytes]]

    def command(self) -> t.List[str]:
        user = ["--user=root"] if os.getuid() == 0 else []
        command = ["mariadbd", "--no-defaults", "--datadir=" + str(self.directory / "data"), "--socket=" + self.socket]
        command += ["--port={0}".format(self.port), "--bind-address=127.0.0.1", "--skip-name-resolve", "--pid-file=" + str(self.directory / "pid")]
        command += ["--ssl-ca={0}/ca.pem".format(self.directory), "--ssl-cert={0}/server.pem".format(self.directory)]
        command += ["--ssl-key={0}/server.key".format(self.directory), "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"]
        # No power cut is tested here, so nothing needs to reach the disk.
        command += ["--innodb-flush-method=nosync", "--sync-frm=OFF", "--tmpdir={0}/tmp".format(self.directory)]
        command += ["--innodb-log-file-size=32M", "--performance-schema=OFF", "--require-secure-transport=ON"]
        return command + user

    def start(self) -> None:
        with open(str(self.directory / "log"), "ab") as log:
            self.process = subprocess.Popen(self.command() + self.options, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(pymysql.err.OperationalError):
                self.admin().close()
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("the server did not start:\n" + (self.directory / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.05)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def admin(self, **options: t.Any) -> "pymysql.connections.Connection[t.Any]":
        return pymysql.connect(unix_socket=self.socket, user="root", ssl_disabled=True, charset="utf8mb4", autocommit=True, **options)

    def sql(self, *statements: str) -> t.List[t.Tuple[t.Any, ...]]:
        """Run statements as the administrator and return the rows of the last one."""
        rows = []  # type: t.List[t.Tuple[t.Any, ...]]
        with contextlib.closing(self.admin()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows

    def login(self, user: str, password: str) -> t.Dict[str, t.Any]:
        """Return the module options that log in here."""
        return {
            "login_host": "127.0.0.1",
            "login_port": self.port,
            "login_user": user,
            "login_password": password,
            "ca_cert": str(self.directory / "ca.pem"),
        }


def install(directory: pathlib.Path, template: pathlib.Path) -> None:
    """Make a data directory; the template is filled once and then copied."""
    if not template.exists():
        user = ["--user=root"] if os.getuid() == 0 else []
        command = ["mariadb-install-db", "--no-defaults", "--datadir=" + str(template), "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(command + user, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    directory.mkdir(parents=True)
    (directory / "tmp").mkdir()
    shutil.copytree(str(template), str(directory / "data"))
    make_certificates(directory)
