# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The balancer and the traffic generator."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pytest
import requests

from edgelab import proxy_home
from edgelab.processes import free_port, wait_for
from edgelab.proxy.testing import USER

pytest_plugins = ("edgelab.proxy.testing",)


class Process:
    """A part of the lab as its own process."""

    def __init__(self, name, directory, settings):
        self.directory = directory
        directory.mkdir()
        (directory / f"{name}.json").write_text(json.dumps(settings))
        self.control = f"http://127.0.0.1:{settings['control_port']}"
        self.pid_file = directory / f"{name}.pid"
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"edgelab.{name}", "--dir", str(directory)], env=dict(os.environ, PYTHONPATH=str(proxy_home.LAB_PATH))
        )
        wait_for(self.pid_file.exists)

    def get(self, path):
        return requests.get(self.control + path, timeout=15).json()

    def post(self, path, **body):
        return requests.post(self.control + path, json=body, timeout=15).json()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert not self.pid_file.exists()


class Echo(socketserver.ThreadingTCPServer):
    """Answers every line with its own name after a while."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name, port=0):
        super().__init__(("127.0.0.1", port), EchoHandler)
        self.name, self.wait = name, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class EchoHandler(socketserver.StreamRequestHandler):
    def handle(self):
        for _line in self.rfile:
            time.sleep(self.server.wait)
            self.wfile.write(self.server.name.encode() + b"\n")


def client(port, address):
    sock = socket.create_connection(("127.0.0.1", port), 5, source_address=(address, 0))
    sock.settimeout(5)
    return sock


def ask(sock):
    sock.sendall(b"who\n")
    return sock.recv(100).decode().strip()


def cut(sock):
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def backends():
    servers = [Echo("one"), Echo("two")]
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def balancer(tmp_path, backends):
    settings = {
        "host": "127.0.0.1",
        "port": free_port(),
        "control_port": free_port(),
        "backends": [{"name": server.name, "host": "127.0.0.1", "port": server.server_address[1]} for server in backends],
    }
    process = Process("balancer", tmp_path / "balancer", settings)
    process.port = settings["port"]
    yield process
    process.stop()


def connections(balancer):
    return {backend["name"]: backend["connections"] for backend in balancer.get("/state")["backends"]}


def test_sticky_and_least_connections(balancer):
    found = {}
    socks = []
    for number in range(4):
        sock = client(balancer.port, f"127.0.20.{number + 1}")
        socks.append(sock)
        found[number] = ask(sock)
    assert sorted(found.values()) == ["one", "one", "two", "two"]
    again = [client(balancer.port, f"127.0.20.{number + 1}") for number in range(4)]
    assert {number: ask(sock) for number, sock in enumerate(again)} == found
    assert connections(balancer) == {"one": 4, "two": 4}
    assert balancer.get("/connections") == {"opened": 8, "open": 8}
    for sock in socks + again:
        sock.close()
    wait_for(lambda: connections(balancer) == {"one": 0, "two": 0})


def test_drain_and_enable(balancer, backends):
    sock = client(balancer.port, "127.0.20.1")
    first = ask(sock)
    other = {"one": "two", "two": "one"}[first]
    state = balancer.post("/drain", backend=first)
    assert {backend["name"]: backend["enabled"] for backend in state["backends"]} == {first: False, other: True}
    assert cut(sock)
    assert ask(client(balancer.port, "127.0.20.1")) == other
    balancer.post("/drain")
    assert cut(client(balancer.port, "127.0.20.1"))
    balancer.post("/enable")
    assert ask(client(balancer.port, "127.0.20.1")) == other
    assert balancer.post("/drain", backend="none")["error"]


def test_drain_lets_an_answer_through(balancer, backends):
    for server in backends:
        server.wait = 1
    sock = client(balancer.port, "127.0.20.1")
    sock.sendall(b"who\n")
    time.sleep(0.2)
    began = time.monotonic()
    balancer.post("/drain")
    assert time.monotonic() - began > 0.7
    assert sock.recv(100).strip() in (b"one", b"two")
    assert cut(sock)


def test_a_dead_backend_is_skipped(balancer, backends):
    sock = client(balancer.port, "127.0.20.1")
    dead = next(server for server in backends if server.name == ask(sock))
    alive = next(server for server in backends if server is not dead)
    sock.close()
    dead.shutdown()
    dead.server_close()
    assert [ask(client(balancer.port, f"127.0.20.{number}")) for number in (1, 2, 3)] == [alive.name] * 3
    log = balancer.get("/requests")["requests"]
    assert log[-1]["backend"] == alive.name and log[-1]["client"] == "127.0.20.3"


@pytest.mark.long
def test_traffic_through_balancer_and_proxies(side, tmp_path):
    homes = [side.home("edge_1").start(), side.home("edge_2").start()]
    settings = {
        "host": "127.0.0.1",
        "port": free_port(),
        "control_port": free_port(),
        "backends": [{"name": home.home.name, "host": "127.0.0.1", "port": home.port} for home in homes],
    }
    balancer = Process("balancer", tmp_path / "balancer", settings)
    traffic = Process(
        "traffic",
        tmp_path / "traffic",
        {
            "url": f"https://127.0.0.1:{settings['port']}",
            "user": USER[0],
            "password": USER[1],
            "ca": str(side.authority.ca),
            "control_port": free_port(),
            "interval": 0.01,
        },
    )
    try:
        assert traffic.get("/stats")["sent"] == 0
        traffic.post("/start")
        wait_for(lambda: traffic.get("/stats")["ok"] > 10)
        balancer.post("/drain")
        wait_for(lambda: traffic.get("/stats")["refused"] > 5)
        ok = traffic.get("/stats")["ok"]
        balancer.post("/enable")
        wait_for(lambda: traffic.get("/stats")["ok"] > ok)
        requests.post(f"{homes[0].control}/faults", json={"kind": "status", "status": 503, "method": "POST"}, timeout=5)
        requests.post(f"{homes[1].control}/faults", json={"kind": "html", "method": "POST"}, timeout=5)
        wait_for(lambda: traffic.get("/stats")["failed"] > 5)
        stats = traffic.post("/stop")
        assert stats["sent"] == stats["ok"] + stats["refused"] + stats["failed"] and not stats["running"]
        written = traffic.get("/written")["written"]
        assert len(written) == stats["ok"] == len((traffic.directory / "written.jsonl").read_text().splitlines())
        assert len({entry["marker"] for entry in written}) == len(written)
        assert {entry["proxy"] for entry in side.instance.requests if entry["method"] == "POST"} == {"edge_1", "edge_2"}
        requests.delete(f"{homes[0].control}/faults", timeout=5)
        for entry in written[::5]:
            row = homes[0].read("incident", entry["sys_id"])
            stored = json.dumps(side.stored("incident", entry["sys_id"]))
            assert {name: row[name] for name in entry["fields"]} == entry["fields"]
            assert entry["marker"] not in stored and entry["fields"]["u_tax_id"] not in stored
    finally:
        traffic.stop()
        balancer.stop()
