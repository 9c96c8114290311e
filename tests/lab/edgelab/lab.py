# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab as a whole: C(python -m edgelab.lab up|down|status [--hosts] [--dir DIR] [--wipe]).

Two token databases, two instances, two source and three target proxies, a load balancer and users who write. Everything
listens on 127.0.0.1 only; with C(--hosts) each proxy has a booted system of its own, and all listens within a network that leads nowhere.
C(lab.json) in the folder of the lab describes what runs; it is there only while all of it is healthy.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from edgelab import proxy_home, signing
from edgelab.ca import Authority
from edgelab.instance.seed import signed_rows
from edgelab.processes import LabError, Process, free_ports, last_lines
from edgelab.sites import Local
from edgelab.token_db import CLONE_USER, DATABASE, PROXY_USER, TokenDb

SIDES = ("source", "target")
INSTANCES = {"source": "acmeprod", "target": "acmetest"}
PROXIES = {"source": ("edge_source_1", "edge_source_2"), "target": ("edge_target_1", "edge_target_2", "edge_target_3")}
AES_KEYS = {"source": {"aes128prod": 128, "aes256prod": 256}, "target": {"aes128test": 128, "aes256test": 256}}
USERS = ("admin", "edge.proxy", "edge.automation", "demo.user")
AUTOMATION = "edge.automation"
PYTHONPATH = str(Path(__file__).resolve().parent.parent)
STAGE_SECONDS = 2.0  # a stage of a clone, at the lab's usual speed

Info = t.Dict[str, t.Any]


def say(text: str) -> None:
    print(f"lab: {text}", flush=True)


@contextlib.contextmanager
def step(text: str) -> t.Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{text} ({time.monotonic() - began:.1f} s)")


class Lab:
    """The parts of the lab in one folder."""

    def __init__(self, folder: Path, site: t.Optional[t.Any] = None, target: str = INSTANCES["target"]) -> None:
        self.folder = folder.resolve()
        self.instances = {**INSTANCES, "target": target}  # their names
        self.site = site or Local()  # where the parts live
        self.proxies = {side: [self.site.proxy(name, self.folder / "proxies" / name) for name in PROXIES[side]] for side in SIDES}
        self.file = self.folder / "lab.json"
        self._secrets = self.folder / "lab.secret.json"
        self._claim: t.Optional[socket.socket] = None  # keeps other labs off the ports, as long as this process lives

    # -- what everything is called, once and for all for this folder

    def _remember(self) -> Info:
        """Ports and passwords, made on first use and kept, so that a restart changes nothing."""
        if self._secrets.exists():
            return json.loads(self._secrets.read_text())
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = [f"{kind}_{side}" for side in SIDES for kind in ("db", "instance", "instance_control")]
        names += [f"{name}{suffix}" for side in SIDES for name in PROXIES[side] for suffix in ("", "_control")]
        names += ["balancer", "balancer_control", "traffic_control"]
        ports, self._claim = free_ports()
        known = {
            "ports": dict(zip(names, ports)),
            "users": {side: {user: secrets.token_urlsafe(12) for user in USERS} for side in SIDES},
            "db_users": {side: {user: secrets.token_urlsafe(12) for user in (PROXY_USER, CLONE_USER[side])} for side in SIDES},
            "keystore": {side: secrets.token_urlsafe(12) for side in SIDES},
            "static_iv": {side: secrets.token_hex(8) for side in SIDES},
            "known_cleartext": {side: secrets.token_urlsafe(12) for side in SIDES},
        }
        _write_private(self._secrets, known)
        return known

    def info(self) -> Info:
        """Return what lab.json says."""
        return json.loads(self.file.read_text())

    # -- up

    def up(self) -> Info:
        """Bring up what is not up; return what lab.json says.

        Raises:
            LabError: a part does not come up; what this call started is stopped again.
        """
        began = time.monotonic()
        with self.site.up():
            info = self._up()
        say(f"up after {time.monotonic() - began:.1f} s; {self.file} describes it")
        return info

    def _up(self) -> Info:
        self.known = self._remember()
        self.authority = Authority(self.folder / "ca", [self.site.address, *(proxy.address for side in SIDES for proxy in self.proxies[side])])
        self.authority.server("server")
        # lab.json must never promise what is not there.
        if self.file.exists() and not self._all_healthy(self.info()):
            self.file.unlink()
        if self.file.exists():
            say("is up already")
            return self.info()
        try:
            with step("token databases and keystores"), ThreadPoolExecutor() as pool:
                _key, servicenow_certificate = proxy_home.servicenow_key(self.folder / "keys")
                jobs = [pool.submit(self._token_db(side).up, self.authority, self.known["db_users"][side], self._accounts(side)) for side in SIDES]
                jobs += [pool.submit(self._keystore, side, servicenow_certificate) for side in SIDES]
                for job in jobs:
                    job.result()
            with step("instances"), ThreadPoolExecutor() as pool:
                list(pool.map(self._instance_up, SIDES))
            with step("proxies"), ThreadPoolExecutor() as pool:
                for job in [pool.submit(self._proxy_up, side, proxy) for side in SIDES for proxy in self.proxies[side]]:
                    job.result()
            with step("load balancer and users"):
                self._part_up("balancer", {
                    "host": self.site.address, "port": self._port("balancer"), "control_port": self._port("balancer_control"),
                    "backends": [{"name": proxy.name, "host": proxy.address, "port": self._port(proxy.name)} for proxy in self.proxies["target"]]})
                self._part_up("traffic", {
                    "url": self._url("balancer"), "user": "demo.user", "password": self.known["users"]["target"]["demo.user"],
                    "ca": str(self.authority.ca), "control_port": self._port("traffic_control")})
        except BaseException:
            self._stop_parts()
            raise
        info = self._describe()
        self.file.touch(mode=0o600)
        self.file.write_text(json.dumps(info, indent=2))
        return info

    def _accounts(self, side: str) -> t.Dict[str, t.List[str]]:
        """The accounts of a side's token database, and the addresses that they may come from."""
        return {PROXY_USER: sorted({proxy.address for proxy in self.proxies[side]}), CLONE_USER[side]: [self.site.address]}

    def _keystore(self, side: str, servicenow_certificate: Path) -> Path:
        path = self.folder / "keys" / side / "keystore.jceks"
        if not path.exists():
            proxy_home.build_keystore(path, self.known["keystore"][side], servicenow_certificate=servicenow_certificate, secret_keys=AES_KEYS[side])
        return path

    def _instance_up(self, side: str) -> None:
        folder, process = self.folder / "instances" / side, self._process("instances", side)
        if not (folder / "instance.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write_private(folder / "instance.json", self._instance_config(side))
            _write_private(folder / "seed.json", {"passwords": self.known["users"][side], "signatures": self._signatures(side)})
        process.start([sys.executable, "-m", "edgelab.instance", "--dir", str(folder)], PYTHONPATH=PYTHONPATH)
        process.wait_for(lambda: _healthy(self._control(f"instance_control_{side}")))

    def _instance_config(self, side: str) -> Info:
        cert, key = self.authority.server("server")
        peers = {
            self.instances[other]: {
                "url": self._url(f"instance_{other}"), "control_url": self._control(f"instance_control_{other}"),
                "dir": str(self.folder / "instances" / other), "production": other == "source",
            }
            for other in SIDES if other != side
        }  # fmt: skip
        return {
            "name": self.instances[side], "production": side == "source", "host": self.site.address, "port": self._port(f"instance_{side}"),
            "control_port": self._port(f"instance_control_{side}"), "tls_cert": str(cert), "tls_key": str(key), "ca": str(self.authority.ca),
            "peers": peers, "heartbeat_interval": 1,
        }

    def _signatures(self, side: str) -> t.Dict[str, str]:
        customer = proxy_home.signature_private_key(self.folder / "keys" / side / "keystore.jceks", self.known["keystore"][side])
        return signing.sign_rows(signed_rows(), customer, signing.private_key_from_pem((self.folder / "keys" / "servicenow.key").read_bytes()))

    def _proxy_up(self, side: str, proxy: t.Any) -> None:
        if not (proxy.files / "conf" / "lab.json").exists():
            self._build_home(side, proxy)
        if proxy.pid is None:
            proxy.start()
        deadline = time.monotonic() + 30
        while not self.proxy_healthy(proxy.name):
            if time.monotonic() > deadline:
                raise LabError(f"proxy {proxy.name} is not ready:\n{last_lines(proxy.files / 'logs' / 'edgeencryption.log')}")
            time.sleep(0.1)

    def _build_home(self, side: str, proxy: t.Any) -> None:
        cert, key = self.authority.server("server")
        proxy_home.build_home(
            proxy.files, name=proxy.name, host=proxy.address, port=self._port(proxy.name), control_port=self._port(f"{proxy.name}_control"),
            target={"host": self.site.address, "port": self._port(f"instance_{side}"), "username": "edge.proxy",
                    "password": self.known["users"][side]["edge.proxy"]},
            keystore=self.folder / "keys" / side / "keystore.jceks", keystore_password=self.known["keystore"][side],
            static_iv=self.known["static_iv"][side], known_cleartext=self.known["known_cleartext"][side],
            ca=proxy.bring(self.authority.ca), tls_cert=proxy.bring(cert), tls_key=proxy.bring(key), python=proxy.python, pythonpath=proxy.pythonpath,
            database={"host": self.site.address, "port": self._port(f"db_{side}"), "user": PROXY_USER, "password": self.known["db_users"][side][PROXY_USER]})
        proxy.hand_over()

    def proxy_healthy(self, name: str) -> bool:
        try:
            state = requests.get(self._control(f"{name}_control") + "/state", timeout=5).json()
        except (requests.ConnectionError, requests.Timeout):
            return False
        return state["status"] == "Authenticated" and state["config_version"] is not None

    def _part_up(self, part: str, settings: Info) -> None:
        folder, process = self.folder / part, self._process(part)
        folder.mkdir(parents=True, exist_ok=True)
        _write_private(folder / f"{part}.json", settings)
        process.start([sys.executable, "-m", f"edgelab.{part}", "--dir", str(folder)], PYTHONPATH=PYTHONPATH)
        process.wait_for(lambda: _healthy(self._control(f"{part}_control")))

    # -- down

    def down(self, wipe: bool = False) -> None:
        """Stop every process of the lab by its pid; with C(wipe), forget everything."""
        with self.site.down(wipe):
            self._stop_parts()
        if wipe:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _stop_parts(self) -> None:
        if self.file.exists():
            self.file.unlink()
        stopped = sum(process.stop() for process in (self._process("traffic"), self._process("balancer")))
        stopped += sum(proxy.stop() for side in SIDES for proxy in self.proxies[side])
        stopped += sum(self._process("instances", side).stop() for side in SIDES)
        stopped += sum(self._process("token_db", side).stop(30) for side in SIDES)
        if stopped:
            say(f"stopped {stopped} processes")

    # -- status

    def status(self) -> t.List[t.Tuple[str, str, str]]:
        """Return name, where, and pid or C(down) of every part."""
        if not self._secrets.exists():
            return []
        self.known = self._remember()
        rows = []
        for side in SIDES:
            rows.append((f"token database {side}", f"{self.site.address}:{self._port(f'db_{side}')}", self._process("token_db", side).pid))
            rows.append((f"instance {self.instances[side]}", self._url(f"instance_{side}"), self._process("instances", side).pid))
            rows += [(f"proxy {proxy.name}", self._url(proxy.name), proxy.pid) for proxy in self.proxies[side]]
        rows.append(("load balancer", self._url("balancer"), self._process("balancer").pid))
        rows.append(("users", self._control("traffic_control"), self._process("traffic").pid))
        return [(name, where, f"pid {pid}" if pid else "down") for name, where, pid in rows]

    # -- helpers

    def _describe(self) -> Info:
        users = self.known["users"]
        return {
            "instances": {side: {
                "name": self.instances[side], "url": self._url(f"instance_{side}"), "username": AUTOMATION, "password": users[side][AUTOMATION],
                "control_url": self._control(f"instance_control_{side}"), "dir": str(self.folder / "instances" / side), "users": users[side],
                "pid_file": str(self.folder / "instances" / side / "instance.pid"),
            } for side in SIDES},
            "token_db": {side: {
                "host": self.site.address, "port": self._port(f"db_{side}"), "user": CLONE_USER[side],
                "password": self.known["db_users"][side][CLONE_USER[side]], "database": DATABASE, "ca": str(self.authority.ca),
                "socket": str(self._token_db(side).socket), "folder": str(self._token_db(side).folder),
                "pid_file": str(self._token_db(side).pid_file), "proxy_user": PROXY_USER, "proxy_password": self.known["db_users"][side][PROXY_USER],
            } for side in SIDES},
            "proxies": {side: [{
                "name": proxy.name, "address": proxy.address, "url": self._url(proxy.name), "port": self._port(proxy.name), "home": str(proxy.home),
                "files": str(proxy.files), "pid_file": str(proxy.files / "bin" / "edgeencryption.pid"), "control_url": self._control(f"{proxy.name}_control"),
            } for proxy in self.proxies[side]] for side in SIDES},
            "ssh": self.site.ssh,
            "keystore_password": self.known["keystore"],
            "balancer": {"url": self._url("balancer"), "control_url": self._control("balancer_control"),
                         "pid_file": str(self.folder / "balancer" / "balancer.pid")},
            "traffic": {"control_url": self._control("traffic_control"), "pid_file": str(self.folder / "traffic" / "traffic.pid")},
            "ca": str(self.authority.ca),
            "lab_secrets": str(self._secrets),
        }

    def _all_healthy(self, info: Info) -> bool:
        controls = [info["instances"][side]["control_url"] for side in SIDES] + [info["balancer"]["control_url"], info["traffic"]["control_url"]]
        return (all(self._process("token_db", side).pid for side in SIDES) and all(_healthy(url) for url in controls)
                and all(self.proxy_healthy(name) for side in SIDES for name in PROXIES[side]))

    def _token_db(self, side: str) -> TokenDb:
        return TokenDb(side, self.folder / "token_db" / side, self._port(f"db_{side}"), self.site.address)

    def _process(self, *path: str) -> Process:
        return Process(" ".join(path), self.folder.joinpath(*path))

    def _port(self, name: str) -> int:
        return self.known["ports"][name]

    def _url(self, name: str) -> str:
        return f"https://{self._proxy_addresses.get(name, self.site.address)}:{self._port(name)}"

    def _control(self, name: str) -> str:
        """Where to steer a part: a proxy on its host, all others on the loopback."""
        return f"http://{self._proxy_addresses.get(name[:-len('_control')], '127.0.0.1')}:{self._port(name)}"

    @property
    def _proxy_addresses(self) -> t.Dict[str, str]:
        return {proxy.name: proxy.address for side in SIDES for proxy in self.proxies[side]}


def _healthy(control_url: str) -> bool:
    try:
        return bool(requests.get(control_url + "/health", timeout=5).json()["ok"])
    except (requests.ConnectionError, requests.Timeout):
        return False


def _write_private(path: Path, content: Info) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2))


def lab_of(hosts: bool, folder: t.Optional[Path] = None) -> Lab:
    """Return the lab that a command line means."""
    if not hosts:
        return Lab(folder or Path(os.environ.get("EDGE_LAB_DIR", "build/lab")))
    from edgelab.hosts.site import Hosts

    folder = folder or Path(os.environ.get("EDGE_LAB_HOSTS_DIR", "build/lab-hosts"))
    return Lab(folder, Hosts(folder, say))


def main() -> int:
    parser = argparse.ArgumentParser(prog="edgelab.lab", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("--hosts", action="store_true", help="the lab whose proxies have a booted system each (as root)")
    parser.add_argument("--dir", type=Path, help="folder of the lab; build/lab or EDGE_LAB_DIR, with --hosts build/lab-hosts or EDGE_LAB_HOSTS_DIR")
    parser.add_argument("--wipe", action="store_true", help="with down: delete the folder of the lab as well")
    arguments = parser.parse_args()
    lab = lab_of(arguments.hosts, arguments.dir)
    try:
        if arguments.command == "up":
            lab.up()
        elif arguments.command == "down":
            lab.down(arguments.wipe)
        else:
            rows = lab.status()
            for name, where, state in rows:
                print(f"{name:24} {where:28} {state}")
            if not rows:
                say("there is none; `make lab-up` makes one")
            return 0 if rows and all(state != "down" for _name, _where, state in rows) else 1
    except LabError as error:
        say(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
