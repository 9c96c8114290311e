# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A few tables behind a real HTTP server on the loopback, with the Table API's bad habits on demand.

It has two addresses: C(url) is the instance, C(proxy_url) a proxy that signs rules and configurations and decrypts what C(clear) names.
"""

import base64
import hashlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

SIGNED = ("sys_encryption_rule", "sys_encryption_configuration")


class Fault:
    """What to do instead of answering; C(after) skips so many matching requests, then it strikes C(count) times."""

    def __init__(self, kind, method=None, path=".*", status=500, headers=None, body=None, seconds=0.0, after=0, count=1, proxy=None):
        self.kind, self.method, self.path, self.status = kind, method, path, status
        self.headers, self.body, self.seconds = headers or {}, body, seconds
        self.after, self.count, self.proxy = after, count, proxy

    def strikes(self, method, path, via_proxy) -> bool:
        if self.method not in (None, method) or not re.search(self.path, path) or self.proxy not in (None, via_proxy):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.count == 0:
            return False
        if self.count is not None:
            self.count -= 1
        return True


class FakeInstance:
    def __init__(self, name="acmetest"):
        self.name = name
        self.users = {"edge.automation": "pw"}
        self.tokens = set()
        self.clients = {}
        self.tables = {"sys_properties": {}, "sys_encryption_rule": {}, "sys_encryption_configuration": {}}
        self.files = {}
        self.clear = {}
        self.add("sys_properties", name="instance_name", value=name)
        self.lock = threading.RLock()
        self.requests = []
        self.faults = []
        self.connections = 0
        self.signing_key = "new"
        self.sign_rest = True
        self.sign_form = True
        self.drop = set()  # (table, field): a write of it is silently left out
        self.unreadable = set()  # (table, field)
        self.hidden = set()  # sys_id
        self.denied = {}  # (method, table): (status, message)
        self.refuse = {}  # sys_id: message of a business rule
        self.ignored_fields = set()  # conditions on these are ignored
        self.count_header = True
        self.off = set()
        self.most_off = 0
        self.ever_active = set()
        self.servers = []

    # Data

    def add(self, into, **fields):
        rows = self.tables.setdefault(into, {})
        free = (hashlib.md5("{}{}".format(into, number).encode()).hexdigest() for number in itertools.count(len(rows)))
        sys_id = fields.get("sys_id") or next(new for new in free if new not in rows)
        row = {"sys_id": sys_id, "sys_mod_count": "0", "sys_created_by": "admin", "sys_updated_on": "2026-01-01 00:00:00"}
        row.update(fields)
        if into == "sys_user_has_role":
            # Dot-walked names are literal keys in an answer.
            row["user.user_name"] = self.tables["sys_user"][row["user"]]["user_name"]
            row["role.name"] = self.tables["sys_user_role"][row["role"]]["name"]
        rows[sys_id] = row
        return sys_id

    def add_rule(self, name, active=True, **fields):
        values = dict(order="100", condition="", script="x", active="true" if active else "false", signature="old-" + name)
        return self.add("sys_encryption_rule", name=name, **dict(values, **fields))

    def add_configuration(self, table, column, active=True):
        return self.add(
            "sys_encryption_configuration",
            table=table,
            column=column,
            type="column",
            encryption_type="standard_128",
            active="true" if active else "false",
            signature="old-" + column,
        )

    def row(self, table, sys_id):
        return self.tables[table][sys_id]

    def signature_of(self, table, row):
        text = json.dumps({k: v for k, v in row.items() if k != "signature" and not k.startswith("sys_")}, sort_keys=True)
        return hashlib.sha256((self.signing_key + table + text).encode()).hexdigest()

    def write(self, table, row, values, signed):
        before = dict(row)
        row.update((k, str(v)) for k, v in values.items() if (table, k) not in self.drop and not k.startswith("sys_"))
        if signed and table in SIGNED and (table, "active") not in self.drop:
            row["signature"] = self.signature_of(table, row)
        if row != before:
            row["sys_mod_count"] = str(int(row["sys_mod_count"]) + 1)
            row["sys_updated_on"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        if table in SIGNED and before.get("active") != row.get("active"):
            key = row["sys_id"]
            if row["active"] == "true":
                self.off.discard(key)
                self.ever_active.add(key)
            else:
                self.off.add(key)
                self.most_off = max(self.most_off, len(self.off))

    def select(self, table, query):
        rows = sorted(self.tables[table].values(), key=lambda row: row["sys_id"])
        found = [row for row in rows if any(self._group(row, group) for group in query.split("^NQ"))]
        return found

    def _group(self, row, group):
        clauses = []
        for part in group.split("^"):
            if not part or part.startswith("ORDERBY"):
                continue
            either = part.startswith("OR")
            match = re.fullmatch(r"([a-z_.]+)(ISNOTEMPTY|IN|STARTSWITH|LIKE|!=|=|>)(.*)", part[2:] if either else part, re.DOTALL)
            name, operator, want = match.groups()
            if name in self.ignored_fields or name not in row:
                continue
            have = row[name]
            truth = {
                "ISNOTEMPTY": bool(have),
                "IN": have in want.split(","),
                "STARTSWITH": have.startswith(want),
                "LIKE": want in have,
                "!=": have != want,
                "=": have == want,
                ">": have > want,
            }[operator]
            if either:
                clauses[-1] = clauses[-1] or truth
            else:
                clauses.append(truth)
        return all(clauses)

    # Serving

    def __enter__(self):
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body are two writes: without this, each answer would wait for a delayed acknowledgement.
            disable_nagle_algorithm = True

            def log_message(self, *unused):
                pass

            def setup(self):
                super().setup()
                fake.connections += 1

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def serve(self):
                fake._serve(self)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = serve

        for _unused in range(2):
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self.servers.append(server)
        self.url, self.proxy_url = ("http://127.0.0.1:{}".format(server.server_address[1]) for server in self.servers)
        return self

    def __exit__(self, *unused):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    @property
    def instance(self):
        return {"host": self.url, "username": "edge.automation", "password": self.users["edge.automation"]}

    def paths(self, method=None):
        return [(entry["method"], entry["path"]) for entry in self.requests if method in (None, entry["method"])]

    def _serve(self, handler):
        parts = urlsplit(handler.path)
        params = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        via_proxy = handler.server is self.servers[1]
        with self.lock:
            entry = {"method": handler.command, "path": parts.path, "params": params, "body": body, "via_proxy": via_proxy}
            entry["cookie"] = handler.headers.get("Cookie", "")
            self.requests.append(entry)
            fault = next((f for f in self.faults if f.strikes(handler.command, parts.path, via_proxy)), None)
        if fault:
            time.sleep(fault.seconds)
            if fault.kind == "reset_before":
                return self._reset(handler)
            if fault.kind == "status":
                text = (
                    fault.body
                    if fault.body is not None
                    else json.dumps({"error": {"message": "fault", "detail": None}, "status": "failure"})
                )
                return self._send(handler, fault.status, text, fault.headers)
            if fault.kind == "html":
                return self._send(handler, fault.status, fault.body or "<html>maintenance</html>", kind="text/html")
        with self.lock:
            status, value, headers = self._answer(handler, parts.path, params, body, via_proxy)
        if fault and fault.kind == "reset_after":
            return self._reset(handler)
        if fault and fault.kind == "status_after":
            return self._send(handler, fault.status, json.dumps({"error": {"message": "fault", "detail": None}}))
        text = value if isinstance(value, (bytes, str)) else json.dumps(value)
        if fault and fault.kind == "partial_json":
            text = text[: len(text) // 2]
        kind = headers.pop("Content-Type", "application/json;charset=UTF-8")
        return self._send(handler, status, text, headers, kind)

    def _reset(self, handler):
        handler.close_connection = True
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    def _send(self, handler, status, text, headers=None, kind="application/json;charset=UTF-8"):
        data = text if isinstance(text, bytes) else text.encode()
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)

    def _error(self, status, message, detail=None):
        return status, {"error": {"message": message, "detail": detail}, "status": "failure"}, {}

    def _user(self, handler):
        kind, unused, rest = handler.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return "edge.automation" if rest in self.tokens else None
        if kind == "Basic":
            user, unused, password = base64.b64decode(rest).decode().partition(":")
            return user if self.users.get(user) == password else None
        return None

    def _answer(self, handler, path, params, body, via_proxy):
        method = handler.command
        if path == "/oauth_token.do":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if self.clients.get(form.get("client_id")) != form.get("client_secret"):
                return 401, {"error": "invalid_client"}, {}
            token = "token{}".format(len(self.requests))
            self.tokens.add(token)
            return 200, {"access_token": token, "expires_in": 1799, "token_type": "Bearer"}, {}
        if self._user(handler) is None:
            return self._error(401, "User Not Authenticated", "Required to provide Auth information")
        if path.endswith(".do"):
            return self._form(handler, path[1:-3], params, body, via_proxy)
        if path.startswith("/api/now/attachment/"):
            data = self.files.get(path.split("/")[4])
            if data is None:
                return self._error(404, "No Record found")
            return 200, data[0] if via_proxy else data[1], {"Content-Type": "application/octet-stream"}
        match = re.fullmatch(r"/api/now/table/([a-z_0-9]+)(?:/([0-9a-zA-Z]+))?", path)
        if not match:
            return self._error(400, "Requested URI does not represent any resource")
        table, sys_id = match.groups()
        if (method, table) in self.denied:
            return self._error(*self.denied[(method, table)])
        if table not in self.tables:
            return self._error(400, "Invalid table " + table)
        if method == "POST":
            values = {k: v for k, v in json.loads(body.decode()).items() if (table, k) not in self.drop}
            if table == "sys_user" and "user_password" in values:
                self.users[values["user_name"]] = values["user_password"]
            new = self.add(table, **values)
            return 201, {"result": self._shown(table, self.row(table, new), params, via_proxy)}, {}
        if not sys_id:
            return self._list(table, params, via_proxy)
        row = self.tables[table].get(sys_id)
        if row is None or sys_id in self.hidden:
            return self._error(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        if method == "DELETE":
            del self.tables[table][sys_id]
            return 204, "", {}
        if method in ("PATCH", "PUT"):
            values = json.loads(body.decode())
            if sys_id in self.refuse:
                return self._error(403, "Operation Failed", self.refuse[sys_id])
            if table in SIGNED and not via_proxy:
                return self._error(403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
            if "user_password" in values and (table, "user_password") not in self.drop:
                self.users[row["user_name"]] = values["user_password"]
            self.write(table, row, values, via_proxy and self.sign_rest)
        return 200, {"result": self._shown(table, row, params, via_proxy)}, {}

    def _form(self, handler, table, params, body, via_proxy):
        if handler.command == "GET":
            row = self.tables[table].get(params.get("sys_id"))
            page = (
                '<html><form><input type="hidden" name="sysparm_ck" value="ck123"/><input name="sys_uniqueValue" value="{}"/></form></html>'
            )
            return 200, page.format(row["sys_id"]), {"Content-Type": "text/html", "Set-Cookie": "JSESSIONID=s1; Path=/"}
        form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        if form.get("sysparm_ck") != "ck123" or "JSESSIONID=s1" not in handler.headers.get("Cookie", ""):
            return 200, "<html>session expired</html>", {"Content-Type": "text/html"}
        row = self.tables[table][form["sys_uniqueValue"]]
        values = {name.split(".", 1)[1]: value for name, value in form.items() if name.startswith(table + ".")}
        self.write(table, row, values, via_proxy and self.sign_form)
        return 302, "", {"Location": "/{}_list.do".format(table)}

    def _list(self, table, params, via_proxy):
        matching = self.select(table, params.get("sysparm_query", ""))
        offset, limit = int(params.get("sysparm_offset", 0)), int(params.get("sysparm_limit", 10000))
        page = [row for row in matching[offset : offset + limit] if row["sys_id"] not in self.hidden]
        headers = {"X-Total-Count": str(len(matching))} if self.count_header else {}
        return 200, {"result": [self._shown(table, row, params, via_proxy) for row in page]}, headers

    def _shown(self, table, row, params, via_proxy):
        wanted = params.get("sysparm_fields")
        shown = {k: v for k, v in row.items() if (table, k) not in self.unreadable and (not wanted or k in wanted.split(","))}
        if via_proxy:
            shown = {k: self.clear.get(v, v) for k, v in shown.items()}
        return shown


@pytest.fixture
def fake(monkeypatch):
    """A running fake instance."""
    for name in ("SN_HOST", "SN_USERNAME", "SN_PASSWORD", "SN_GRANT_TYPE", "SN_CLIENT_ID", "SN_CLIENT_SECRET", "SN_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeInstance() as instance:
        yield instance
