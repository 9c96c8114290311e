# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: a source and a target instance as real processes on free loopback ports.

A test file takes it with ``pytest_plugins = ("edgelab.instance.testing",)``.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PYTHONPATH = str(Path(__file__).resolve().parents[2])


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificates(directory: Path) -> dict[str, str]:
    """Write a CA and a server certificate for loopback; return the paths as ``instance.json`` names them."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def build(subject: str, issuer: str, public: t.Any, signer: t.Any, extension: t.Any, ca: bool) -> x509.Certificate:
        name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])  # noqa: E731
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = build("lab CA", "lab CA", ca_key.public_key(), ca_key, None, True)
    leaf = build("localhost", "lab CA", key.public_key(), ca_key, names, False)
    pem = serialization.Encoding.PEM
    files = {
        "ca": ca.public_bytes(pem),
        "tls_cert": leaf.public_bytes(pem),
        "tls_key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for name, content in files.items():
        path = directory / (name + ".pem")
        path.write_bytes(content)
        path.chmod(0o600)
    return {name: str(directory / (name + ".pem")) for name in files}


class Node:
    """One running instance, with clients for its users and its control port."""

    def __init__(self, directory: Path, config: dict[str, t.Any]) -> None:
        self.directory = directory
        self.config = config
        self.name = config["name"]
        self.url = "https://127.0.0.1:{}".format(config["port"])
        self.control_url = "http://127.0.0.1:{}".format(config["control_port"])
        self.process: subprocess.Popen[bytes] | None = None
        self._control = requests.Session()
        self._control.trust_env = False
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "instance.json").write_text(json.dumps(config))

    def start(self) -> None:
        environment = dict(os.environ, PYTHONPATH=_PYTHONPATH)
        with (self.directory / "out.log").open("ab") as log:
            command = [sys.executable, "-m", "edgelab.instance", "--dir", str(self.directory)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(self.healthy, "the instance {} starts".format(self.name))

    def healthy(self) -> bool:
        try:
            return bool(requests.get(self.control_url + "/health", timeout=5).json()["ok"])
        except requests.ConnectionError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait(timeout=10)
            self._control.close()
            self.process = None

    def password(self, user: str) -> str:
        return "{}-{}".format(user, self.name)

    def client(self, user: str = "admin", **headers: str) -> requests.Session:
        """Return a session that logs in with Basic auth and keeps its cookies."""
        session = requests.Session()
        session.auth = (user, self.password(user))
        session.verify = self.config["ca"]
        session.trust_env = False
        session.headers.update({"Accept": "application/json", **headers})
        return session

    def table(self, path: str) -> str:
        return "{}/api/now/table/{}".format(self.url, path)

    def control(self, method: str, path: str, body: t.Any = None) -> t.Any:
        answer = self._control.request(method, self.control_url + path, json=body, timeout=60)
        assert answer.status_code < 400, answer.text
        return answer.json()

    def knobs(self, **values: t.Any) -> None:
        self.control("PUT", "/knobs", values)

    def raw(self, table: str) -> dict[str, dict[str, str]]:
        return {row["sys_id"]: row for row in self.control("GET", "/raw/" + table)["rows"]}

    def put(self, table: str, *rows: dict[str, t.Any]) -> list[dict[str, str]]:
        return t.cast(t.List[t.Dict[str, str]], self.control("POST", "/raw/" + table, {"rows": list(rows)})["rows"])

    def find(self, table_: str, **values: str) -> list[dict[str, str]]:
        return [row for row in self.raw(table_).values() if all(row[name] == value for name, value in values.items())]


def wait_for(condition: t.Callable[[], t.Any], what: str, seconds: float = 15) -> t.Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("not within {} s: {}".format(seconds, what))


def make_pair(directory: Path, **settings: t.Any) -> tuple[Node, Node]:
    """Return a source and a target that know each other, not started; settings go into both ``instance.json``."""
    certificates = make_certificates(directory)
    ports = {name: {"port": free_port(), "control_port": free_port()} for name in ("acmeprod", "acmetest")}

    def config(name: str, production: bool) -> dict[str, t.Any]:
        other = "acmetest" if production else "acmeprod"
        peer = {
            "url": "https://127.0.0.1:{}".format(ports[other]["port"]),
            "control_url": "http://127.0.0.1:{}".format(ports[other]["control_port"]),
            "dir": str(directory / other),
        }
        if not production:
            peer["production"] = True  # type: ignore[assignment]
        return {
            "name": name,
            "production": production,
            "host": "127.0.0.1",
            "peers": {other: peer},
            **ports[name],
            **certificates,
            **settings,
        }

    return Node(directory / "acmeprod", config("acmeprod", True)), Node(directory / "acmetest", config("acmetest", False))


@pytest.fixture(scope="session")
def instance_pair(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Node, Node]]:
    nodes = make_pair(tmp_path_factory.mktemp("instances"))
    try:
        for node in nodes:
            node.start()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


@pytest.fixture
def source(instance_pair: tuple[Node, Node]) -> t.Iterator[Node]:
    yield from _clean(instance_pair[0])


@pytest.fixture
def target(instance_pair: tuple[Node, Node]) -> t.Iterator[Node]:
    yield from _clean(instance_pair[1])


def _clean(node: Node) -> t.Iterator[Node]:
    """Hand the node out, and put its knobs and faults back afterwards."""
    knobs = node.control("GET", "/knobs")
    yield node
    node.control("PUT", "/knobs", knobs)
    node.control("DELETE", "/faults")
