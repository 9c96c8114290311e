# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin for tests of the proxy: a small stub of an instance, a MariaDB server, keystores, homes.

A test file takes it with C(pytest_plugins = ("edgelab.proxy.testing",)). (PYTEST_DONT_REWRITE: tests import from here, too.)
"""

import asyncio
import base64
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import uuid

import pymysql
import pytest
import requests
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from .. import proxy_home, signing
from ..ca import Authority
from ..processes import LabError, account, free_port, last_lines, wait_for

CUSTOMER_PASSWORD = "store pa$$ \\ word"  # JCEKS takes ASCII only
SSN = r"\b\d{3}-\d{2}-\d{4}\b"
RULES, CONFIGURATIONS = "sys_encryption_rule", "sys_encryption_configuration"
USER = ("demo.user", "demo")
ADMIN = ("edge.automation", "automation")


class MariaDb:
    """A server of its own, with TLS, on a free port."""

    def __init__(self, directory, authority):
        self.directory, self.port, self.socket = directory, free_port(), directory / "s"
        self._authority = authority
        (directory / "tmp").mkdir()
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={directory / 'data'}",
                f"--user={account()}",
                f"--tmpdir={directory / 'tmp'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
        )
        self.start()

    def start(self):
        cert, key = self._authority.server("server")
        command = [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--user={account()}",
            f"--tmpdir={self.directory / 'tmp'}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--skip-log-bin",
            f"--pid-file={self.directory / 'pid'}",
            "--skip-name-resolve",
            f"--ssl-cert={cert}",
            f"--ssl-key={key}",
            f"--ssl-ca={self._authority.ca}",
        ]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(self._ready, "the database server answers", 30)

    def _ready(self):
        try:
            self.root().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def root(self):
        return pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def database(self):
        """Create a database with an account that needs TLS; return the arguments for a home."""
        name, user = f"edgeencryption_{uuid.uuid4().hex[:8]}", f"u{uuid.uuid4().hex[:8]}"
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'pw' REQUIRE SSL")
            cursor.execute(f"GRANT ALL ON {name}.* TO {user}@'%'")
        return {"host": "127.0.0.1", "port": self.port, "user": user, "password": "pw", "name": name}

    def rows(self, database, query, *arguments):
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"USE {database['name']}")
            cursor.execute(query, arguments)
            return cursor.fetchall()


class Instance:
    """As much of an instance as the tests of the proxy need; tables are dicts of sys_id -> row, all values strings."""

    def __init__(self, authority):
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.tables = {}
        self.attachments = {}
        self.requests = []
        self.status = "Authenticated"
        self.version = 1
        self.patterns = [{"sys_id": "p1", "name": "SSN", "regex": SSN, "active": "true"}]
        self.default_keys = {"128": "aes128prod", "256": "aes256prod"}
        self.heartbeats = []
        self.registrations = []
        self.heartbeat_delay = 0
        self.service_password = "service"
        self._authority = authority
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)

    def _serve(self, started):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        app = web.Application(client_max_size=2**30)
        app.add_routes(
            [
                web.post("/edge/register", self._register),
                web.post("/edge/heartbeat", self._heartbeat),
                web.get("/edge/configuration", self._configuration),
                web.get("/api/now/table/{table}", self._list),
                web.post("/api/now/table/{table}", self._insert),
                web.get("/api/now/table/{table}/{sys_id}", self._get),
                web.patch("/api/now/table/{table}/{sys_id}", self._update),
                web.put("/api/now/table/{table}/{sys_id}", self._update),
                web.delete("/api/now/table/{table}/{sys_id}", self._delete),
                web.post("/api/now/attachment/file", self._attach),
                web.post("/api/now/attachment/upload", self._upload),
                web.get("/api/now/attachment/{sys_id}/file", self._download),
                web.post("/api/now/v1/batch", self._batch),
                web.get("/page", self._page),
                web.get("/redirect", self._redirect),
                web.get("/broken", self._broken),
                web.post("/{form}.do", self._form),
            ]
        )
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.server("server"))

        async def up():
            await self.runner.setup()
            await web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=context).start()
            started.set()

        self.loop.run_until_complete(up())
        self.loop.run_forever()

    def stop(self):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    # -- for the tests

    def add(self, table, row):
        row = dict({"sys_id": uuid.uuid4().hex, "sys_created_by": "admin", "sys_mod_count": "0"}, **row)
        self.tables.setdefault(table, {})[row["sys_id"]] = row
        return row

    def configure(self, key, table, column, encryption_type, active="true", kind="column"):
        row = self.add(
            CONFIGURATIONS, {"table": table, "type": kind, "column": column, "encryption_type": encryption_type, "active": active}
        )
        row["signature"] = signing.sign(key, CONFIGURATIONS, row)
        return row

    def rule(self, key, name, created_by="admin", active="true"):
        row = self.add(
            RULES,
            {
                "name": name,
                "order": "100",
                "condition": "true",
                "script": f"// {name} \u00fc\n",
                "active": active,
                "sys_created_by": created_by,
            },
        )
        row["signature"] = signing.sign(key, RULES, row)
        return row

    def rows(self, table):
        return list(self.tables.get(table, {}).values())

    # -- handlers

    def _note(self, request, body=""):
        self.requests.append(
            {
                "method": request.method,
                "path": request.path,
                "query": request.query_string,
                "body": body,
                "proxy": request.headers.get("X-Edge-Proxy"),
                "headers": dict(request.headers),
            }
        )

    def _allowed(self, request):
        expected = base64.b64encode(f"edge.proxy:{self.service_password}".encode()).decode()
        return request.headers.get("Authorization") == f"Basic {expected}"

    async def _register(self, request):
        if not self._allowed(request):
            return web.json_response({"error": {}}, status=401)
        self.registrations.append(await request.json())
        return web.json_response({"status": self.status, "sys_id": "x"})

    async def _heartbeat(self, request):
        if self.heartbeat_delay:
            await asyncio.sleep(self.heartbeat_delay)
        if not self._allowed(request):
            return web.json_response({"error": {}}, status=401)
        self.heartbeats.append(await request.json())
        return web.json_response({"status": self.status, "config_version": self.version})

    async def _configuration(self, request):
        if self.status != "Authenticated":
            return web.json_response({"error": "not authenticated"}, status=403)
        return web.json_response(
            {
                "version": self.version,
                "configurations": self.rows(CONFIGURATIONS),
                "rules": self.rows(RULES),
                "patterns": self.patterns,
                "default_keys": self.default_keys,
            }
        )

    async def _list(self, request):
        self._note(request)
        rows = self.rows(request.match_info["table"])
        order = None
        for part in filter(None, request.query.get("sysparm_query", "").split("^")):
            if part.startswith("ORDERBY"):
                order = part[len("ORDERBY") :]
                continue
            field, operator, value = re.fullmatch(r"(?:OR)?([a-z_]+)(<=|>=|=|<|>|IN|BETWEEN)(.*)", part, re.DOTALL).groups()
            compare = {
                "=": str.__eq__,
                "<": str.__lt__,
                ">": str.__gt__,
                "<=": str.__le__,
                ">=": str.__ge__,
                "IN": lambda a, b: a in b.split(","),
                "BETWEEN": lambda a, b: b.partition("@")[0] <= a <= b.partition("@")[2],
            }[operator]
            rows = [row for row in rows if compare(row.get(field, ""), value)]
        if order:
            rows = sorted(rows, key=lambda row: row.get(order, ""))
        link = f'<{self.url}{request.path}?sysparm_offset=0>;rel="first"'
        return web.json_response({"result": rows}, headers={"Link": link})

    async def _get(self, request):
        self._note(request)
        row = self.tables.get(request.match_info["table"], {}).get(request.match_info["sys_id"])
        if row is None:
            return web.json_response({"error": {"message": "No Record found"}, "status": "failure"}, status=404)
        if request.query.get("sysparm_display_value") == "all":
            row = {name: {"display_value": value, "value": value} for name, value in row.items()}
        return web.json_response({"result": row})

    async def _insert(self, request):
        self._note(request, await request.text())
        table = request.match_info["table"]
        defaults = {"active": "true", "order": "100", "condition": "", "script": ""} if table == RULES else {}
        row = self.add(table, dict(defaults, **await request.json()))
        self.version += table.startswith("sys_encryption")
        response = web.json_response({"result": row}, status=201, headers={"Location": f"{self.url}{request.path}/{row['sys_id']}"})
        response.set_cookie("JSESSIONID", "abc", secure=True, httponly=True)
        response.set_cookie("glide_user_route", "glide.1")
        return response

    def _change(self, table, sys_id, values):
        row = self.tables[table][sys_id]
        row.update(values, sys_mod_count=str(int(row["sys_mod_count"]) + 1))
        self.version += table.startswith("sys_encryption")
        return row

    async def _update(self, request):
        self._note(request, await request.text())
        return web.json_response({"result": self._change(request.match_info["table"], request.match_info["sys_id"], await request.json())})

    async def _delete(self, request):
        self._note(request)
        self.tables[request.match_info["table"]].pop(request.match_info["sys_id"])
        self.version += 1
        return web.Response(status=204)

    async def _form(self, request):
        form = dict(await request.post())
        self._note(request, json.dumps(form))
        table = request.match_info["form"]
        fields = {name.partition(".")[2]: value for name, value in form.items() if name.startswith(f"{table}.")}
        if form.get("sys_id") in self.tables.get(table, {}):
            self._change(table, form["sys_id"], fields)
        else:
            self.add(table, dict(fields, sys_id=form["sys_id"]))
        raise web.HTTPFound(f"{self.url}/{table}.do?sys_id={form['sys_id']}")

    async def _attach(self, request):
        data = await request.read()
        self._note(request)
        sys_id = uuid.uuid4().hex
        self.attachments[sys_id] = (data, request.content_type)
        return web.json_response(
            {"result": {"sys_id": sys_id, "download_link": f"{self.url}/api/now/attachment/{sys_id}/file"}}, status=201
        )

    async def _upload(self, request):
        form = await request.post()
        sys_id = uuid.uuid4().hex
        self.attachments[sys_id] = (form["uploadFile"].file.read(), form["uploadFile"].content_type)
        return web.json_response({"result": {"sys_id": sys_id, "file_name": form["uploadFile"].filename}}, status=201)

    async def _download(self, request):
        data, content_type = self.attachments[request.match_info["sys_id"]]
        return web.Response(body=data, content_type=content_type)

    async def _batch(self, request):
        self._note(request, await request.text())
        return web.json_response({"batch_request_id": "1", "serviced_requests": [], "seen": await request.json()})

    async def _page(self, request):
        cells = "".join(f"<td>{value}</td>" for row in self.rows("incident") for value in row.values())
        return web.Response(text=f'<html><a href="{self.url}/x">x</a>{cells}</html>', content_type="text/html")

    async def _redirect(self, request):
        raise web.HTTPFound(f"{self.url}/page")

    async def _broken(self, request):
        row = self.rows("incident")[0]
        return web.Response(text='{"result":[{"a":' + json.dumps(row["short_description"]) + ',"b":"cut', content_type="application/json")


class Home:
    """One installed proxy and what a test does with it."""

    def __init__(self, home, authority, port, control_port):
        self.home, self.port = home, port
        self.url, self.control = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{control_port}"
        self.session = requests.Session()
        self.session.auth, self.session.verify = USER, str(authority.ca)
        self.session.trust_env = False

    @property
    def log(self):
        path = self.home / "logs" / "edgeencryption.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def properties(self):
        return self.home / "conf" / "edgeencryption.properties"

    @property
    def pid_file(self):
        return self.home / "bin" / "edgeencryption.pid"

    def script(self, name):
        return subprocess.run([str(self.home / name)], capture_output=True, text=True, timeout=60, check=False)

    def start(self):
        """Start and wait until clients are served."""
        done = self.script("startup.sh")
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            wait_for(self.listening, f"{self.home.name} listens", 20)
        except LabError as error:
            raise LabError(f"{error}\n{last_lines(self.home / 'logs' / 'edgeencryption.log')}") from None
        return self

    def start_in_vain(self):
        """Start and wait until the process has ended; return what it logged since."""
        before = len(self.log)
        done = self.script("startup.sh")
        assert done.returncode == 0
        wait_for(lambda: not self.pid_file.exists(), "the start fails", 20)
        assert not self.listening()
        return self.log[before:]

    def stop(self):
        return self.script("shutdown.sh")

    def kill(self):
        if self.pid_file.exists():
            os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
            self.pid_file.unlink()

    def listening(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def state(self):
        return requests.get(f"{self.control}/state", timeout=10).json()

    def knobs(self, **knobs):
        response = requests.put(f"{self.control}/knobs", json=knobs, timeout=10)
        assert response.status_code == 200, response.text

    def set(self, **properties):
        """Set properties; their dots are written as two underscores."""
        text = self.properties.read_text()
        for name, value in properties.items():
            text = proxy_home.set_property(text, "edgeencryption." + name.replace("__", "."), value)
        self.properties.write_text(text)

    def unset(self, *names):
        lines = self.properties.read_text().splitlines(keepends=True)
        self.properties.write_text(
            "".join(line for line in lines if not any(line.startswith("edgeencryption." + name.replace("__", ".")) for name in names))
        )

    def empty_cache(self):
        for path in sorted((self.home / "cache").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    def create(self, table, record, **arguments):
        response = self.session.post(f"{self.url}/api/now/table/{table}", json=record, timeout=30, **arguments)
        assert response.status_code == 201, response.text
        return response.json()["result"]

    def read(self, table, sys_id, **parameters):
        response = self.session.get(f"{self.url}/api/now/table/{table}/{sys_id}", params=parameters, timeout=30)
        assert response.status_code == 200, response.text
        return response.json()["result"]

    def query(self, table, query):
        response = self.session.get(f"{self.url}/api/now/table/{table}", params={"sysparm_query": query}, timeout=30)
        assert response.status_code == 200, response.text
        return response.json()["result"]


class Side:
    """One side: an instance with signed configurations and rules, a database, and proxies that are stopped at the end."""

    def __init__(self, directory, authority, mariadb, keystores):
        self.directory, self.authority, self.mariadb, self.keystores = directory, authority, mariadb, keystores
        self.instance = Instance(authority)
        self.database = mariadb.database()
        self.homes = []
        self.key = keystores.customer_key
        for column, kind in (
            ("short_description", "standard_128"),
            ("description", "standard_256"),
            ("u_customer_name", "equality_256"),
            ("u_account", "order_preserving_128"),
        ):
            self.instance.configure(self.key, "incident", column, kind)
        self.instance.configure(self.key, "incident", "", "standard_128", kind="attachment")
        self.instance.rule(self.key, "Customer rule")
        self.instance.rule(self.key, "Customer rule, inactive", active="false")
        self.instance.rule(keystores.servicenow_key, "REST JSON", created_by="glide.maint")

    def home(self, name="edge_1", *, keystore=None, password=None, database=True, **arguments):
        port, control_port = free_port(), free_port()
        cert, key = self.authority.server("server")
        options = dict(
            {
                "name": name,
                "port": port,
                "control_port": control_port,
                "target": {"host": "127.0.0.1", "port": self.instance.port, "username": "edge.proxy", "password": "service"},
                "keystore": keystore or self.keystores.customer,
                "keystore_password": password or CUSTOMER_PASSWORD,
                "static_iv": "0123456789abcdef",
                "known_cleartext": "the quick brown fox",
                "ca": self.authority.ca,
                "tls_cert": cert,
                "tls_key": key,
                "database": self.database if database is True else database,
                "time_scale": 0.04,
            },
            **arguments,
        )
        home = Home(proxy_home.build_home(self.directory / name, **options), self.authority, port, control_port)
        self.homes.append(home)
        return home

    def stored(self, table, sys_id):
        return self.instance.tables[table][sys_id]

    def close(self):
        for home in self.homes:
            home.kill()
        self.instance.stop()


class Keystores:
    """Built once: the customer's keystore, and another with another signature key and other AES keys."""

    def __init__(self, directory):
        servicenow_file, certificate = proxy_home.servicenow_key(directory)
        self.certificate = certificate
        self.servicenow_key = serialization.load_pem_private_key(servicenow_file.read_bytes(), None)
        keys = {"aes128prod": 128, "aes256prod": 256}
        self.customer = proxy_home.build_keystore(
            directory / "customer.jceks", CUSTOMER_PASSWORD, servicenow_certificate=certificate, secret_keys=keys
        )
        self.customer_key = proxy_home.signature_private_key(self.customer, CUSTOMER_PASSWORD)
        self.other = proxy_home.build_keystore(
            directory / "other.jceks", "otherpass", servicenow_certificate=certificate, secret_keys={"aes128test": 128, "aes256test": 256}
        )
        self.other_key = proxy_home.signature_private_key(self.other, "otherpass")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory, authority):
    server = MariaDb(pathlib.Path(tmp_path_factory.mktemp("db")), authority)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def keystores(tmp_path_factory):
    return Keystores(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def side(tmp_path, authority, mariadb, keystores):
    made = Side(tmp_path, authority, mariadb, keystores)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_side(tmp_path_factory, authority, mariadb, keystores):
    """One for the tests that change neither configuration nor keys."""
    made = Side(tmp_path_factory.mktemp("shared"), authority, mariadb, keystores)
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(shared_side):
    return shared_side.home().start()
