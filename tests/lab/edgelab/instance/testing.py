# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: a source and a target instance as real processes on free loopback ports.

A test file takes it with ``pytest_plugins = ("edgelab.instance.testing",)``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import requests

from ..ca import Authority
from ..processes import free_port, wait_for

_PYTHONPATH = str(Path(__file__).resolve().parents[2])


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


def make_pair(directory: Path, **settings: t.Any) -> tuple[Node, Node]:
    """Return a source and a target that know each other, not started; settings go into both ``instance.json``."""
    authority = Authority(directory / "ca")
    cert, key = authority.server("server")
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
            "ca": str(authority.ca),
            "tls_cert": str(cert),
            "tls_key": str(key),
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
