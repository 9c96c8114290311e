# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTPS side: forwards every request to the one instance, encrypting, decrypting and signing on the way."""

import asyncio
import base64
import json
import random
import re
from urllib.parse import parse_qsl, urlencode

import aiohttp
import yarl
from aiohttp import web

from .. import signing
from . import translate
from .ciphers import MissingKey
from .control import BODY_LIMIT, play_fault
from .tokens import DatabaseDown, TokenError

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "accept-encoding",
    "content-encoding",
    "expect",
    "x-edge-proxy",
}
BATCH_PATH = "/batch"
FORM = "application/x-www-form-urlencoded"
WRITES = ("POST", "PUT", "PATCH")


class Upstream:
    """What of a request goes on to the instance; the steps change it in place."""

    def __init__(self, request, body):
        self.method = request.headers.get("X-HTTP-Method-Override", request.method) if request.method == "POST" else request.method
        self.sent_method = request.method
        self.path = request.path
        self.raw_path = request.rel_url.raw_path
        self.query = request.rel_url.raw_query_string
        self.headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        self.body = body
        self.content_type = request.content_type
        self.token = None  # of a form; lets the proxy use the session for REST
        self.untouched = BATCH_PATH in self.path and self.path.startswith("/api/now")

    def credentials(self):
        found = [(name, value) for name, value in self.headers if name.lower() in ("authorization", "cookie", "x-usertoken", "x-sn-apikey")]
        return [*found, ("X-UserToken", self.token)] if self.token else found


class Gateway:
    """Forwards requests for one proxy."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.settings = proxy.settings
        self.control = proxy.control
        self.session = None

    async def start(self):
        connector = aiohttp.TCPConnector(ssl=self.proxy.client_tls, limit=200)
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            timeout=aiohttp.ClientTimeout(total=self.settings.number("proxy.idle.timeout", 300)),
        )
        self.app = web.Application(client_max_size=2**31)
        self.app.router.add_route("*", "/{path:.*}", self.handle)

    async def stop(self):
        if self.session is not None:
            await self.session.close()

    async def handle(self, request):
        body = await request.read()
        entry = self.control.log(
            method=request.method,
            path=request.path,
            query=request.query_string,
            user=_user(request),
            status=None,
            body=body[:BODY_LIMIT].decode("utf-8", "replace"),
            via_proxy=None,
            connection=self.control.connections.number(request.transport),
        )
        delay = self.proxy.knobs["latency_ms"] + random.uniform(0, self.proxy.knobs["jitter_ms"])
        if delay:
            await asyncio.sleep(delay / 1000)
        fault = self.control.fault(request.method, request.path)
        response = await play_fault(fault, request, lambda: self._answer(request, body))
        entry["status"] = response.status
        return response

    async def _answer(self, request, body):
        try:
            return await self._forward(Upstream(request, body))
        except (MissingKey, TokenError, DatabaseDown) as error:
            self.proxy.error(f"Failed to encrypt the request {request.method} {request.path}: {error}")
            return _failure(500, "Edge Encryption proxy failed to encrypt the request", str(error))
        except asyncio.TimeoutError:
            self.proxy.error(
                f"Request {request.method} {request.path} failed: java.util.concurrent.TimeoutException: Total timeout elapsed"
            )
            return web.Response(status=504, text="<html><body>Gateway Timeout</body></html>", content_type="text/html")
        except aiohttp.ClientError as error:
            self.proxy.error(f"Request {request.method} {request.path} failed: {type(error).__name__}: {error}")
            return web.Response(status=502, text="<html><body>Bad Gateway</body></html>", content_type="text/html")

    async def _forward(self, upstream):
        created = None
        if not upstream.untouched:
            created = await self._sign(upstream)
            await self._encrypt(upstream)
        status, headers, data = await self._send(upstream.sent_method, upstream.raw_path, upstream.query, upstream.headers, upstream.body)
        if created:
            await self._sign_new(upstream, created, headers.get("Location", ""))
        if upstream.method == "DELETE" and status == 204:
            self._note_deletion(upstream)
        if data and not upstream.untouched:
            tokens = not translate.ATTACHMENT_FILE_PATH.match(upstream.path)
            data = await self.proxy.translator.body(data, headers.get("Content-Type", ""), tokens=tokens)
        return self._response(upstream, status, headers, data)

    async def _send(self, method, path, query, headers, body):
        url = yarl.URL(self.settings.target + path + (f"?{query}" if query else ""), encoded=True)
        headers = [*headers, ("X-Edge-Proxy", self.settings.name), ("Accept-Encoding", "identity")]
        async with self.session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as response:
            return response.status, response.headers.copy(), await response.read()

    def _response(self, upstream, status, headers, data):
        own, target = f"https://{self.settings.public_address}", self.settings.target
        response = web.Response(status=status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value.replace(target, own))
        content_type = headers.get("Content-Type", "")
        if not upstream.untouched and ("json" in content_type or content_type.startswith("text/html")):
            data = data.replace(target.encode(), own.encode()).replace(
                target.encode().replace(b"/", rb"\/"), own.encode().replace(b"/", rb"\/")
            )
        if upstream.method == "HEAD":
            if "Content-Length" in headers:
                response.headers["Content-Length"] = headers["Content-Length"]
        else:
            response.body = data
        return response

    # -- encryption

    async def _encrypt(self, upstream):
        translator = self.proxy.translator
        match = (
            translate.TABLE_PATH.match(upstream.path)
            or translate.STATS_PATH.match(upstream.path)
            or translate.LIST_PATH.match(upstream.path)
        )
        if match and upstream.query:
            upstream.query = await translator.query(match["table"], upstream.query)
        if upstream.method not in WRITES:
            return
        table = translate.TABLE_PATH.match(upstream.path)
        form = translate.FORM_PATH.match(upstream.path)
        attachment = translate.ATTACHMENT_PATH.match(upstream.path)
        if table:
            record = _json(upstream.body)
            if isinstance(record, dict):
                upstream.body = _dump(await translator.record(table["table"], record))
        elif form and upstream.content_type == FORM:
            pairs = parse_qsl(upstream.body.decode("utf-8", "replace"), keep_blank_values=True)
            changed = await translator.form(form["table"], pairs)
            if changed != pairs:
                upstream.body = urlencode(changed).encode()
        elif attachment and attachment["what"] == "file":
            name = dict(parse_qsl(upstream.query)).get("table_name", "")
            upstream.body = translator.attachment(name, upstream.body)
        elif attachment:
            await self._encrypt_upload(upstream)

    async def _encrypt_upload(self, upstream):
        """An attachment as multipart/form-data: the file is encrypted, the other parts stay."""
        content_type = next((value for name, value in upstream.headers if name.lower() == "content-type"), "")
        _kind, _sep, boundary = content_type.partition("boundary=")
        boundary = boundary.split(";")[0].strip('"').encode()
        if not boundary:
            return
        mark = b"--" + boundary
        parts = upstream.body.split(mark)
        table = next((part.partition(b"\r\n\r\n")[2].strip().decode() for part in parts if b'name="table_name"' in part), "")
        for number, part in enumerate(parts):
            head, blank, data = part.partition(b"\r\n\r\n")
            if b"filename=" in head:
                parts[number] = head + blank + self.proxy.translator.attachment(table, data[:-2]) + b"\r\n"
        upstream.body = mark.join(parts)

    # -- signatures

    async def _sign(self, upstream):
        """Add the signature to a change of a rule or configuration; return the table if the record is a new one."""
        if upstream.method not in WRITES or self.proxy.locked_by_property:
            return None
        match = translate.TABLE_PATH.match(upstream.path)
        if match and match["table"] in signing.SIGNED_FIELDS and self.proxy.knobs["sign_rest"]:
            return await self._sign_rest(upstream, match["table"], match["sys_id"])
        match = translate.FORM_PATH.match(upstream.path)
        if match and match["table"] in signing.SIGNED_FIELDS and upstream.content_type == FORM:
            return await self._sign_form(upstream, match["table"])
        return None

    async def _sign_rest(self, upstream, table, sys_id):
        if not sys_id:
            return table
        record = _json(upstream.body)
        row = await self._current(upstream, table, sys_id)
        if isinstance(record, dict) and row is not None:
            row = dict(row, **{name: value for name, value in record.items() if name != "sys_id"})
            upstream.body = _dump(dict(record, signature=self._signature(table, row)))
        return None

    async def _sign_form(self, upstream, table):
        pairs = parse_qsl(upstream.body.decode("utf-8", "replace"), keep_blank_values=True)
        form = dict(parse_qsl(upstream.query), **dict(pairs))
        sys_id = form.get("sys_uniqueValue") or form.get("sys_id") or "-1"
        upstream.token = form.get("sysparm_ck")
        if sys_id == "-1":
            return table
        row = await self._current(upstream, table, sys_id)
        if row is not None:
            row = dict(row, **{name.rpartition(".")[2]: value for name, value in pairs if translate.is_field(table, name)})
            pairs = [pair for pair in pairs if pair[0] != f"{table}.signature"]
            upstream.body = urlencode([*pairs, (f"{table}.signature", self._signature(table, row))]).encode()
        return None

    async def _sign_new(self, upstream, table, location):
        """Sign a new record, whose sys_id only the instance knows.

        A signature needs a change to ride on: flip Active and back, as KB0621218 does.
        """
        match = re.search(r"[0-9a-f]{32}$", location)
        stored = await self._current(upstream, table, match[0]) if match else None
        if stored is None:
            return
        headers = [*upstream.credentials(), ("Accept", "application/json"), ("Content-Type", "application/json")]
        for active in ("false" if stored["active"] == "true" else "true", stored["active"]):
            body = _dump({"active": active, "signature": self._signature(table, dict(stored, active=active))})
            await self._send("PATCH", f"/api/now/table/{table}/{stored['sys_id']}", "", headers, body)

    def _signature(self, table, row):
        return signing.sign(self.proxy.signature_key, table, _as_stored(row))

    async def _current(self, upstream, table, sys_id):
        """Read the record as it is stored, as the user who writes."""
        query = urlencode({"sysparm_fields": ",".join(signing.SIGNED_FIELDS[table]), "sysparm_exclude_reference_link": "true"})
        headers = [*upstream.credentials(), ("Accept", "application/json")]
        status, _headers, data = await self._send("GET", f"/api/now/table/{table}/{sys_id}", query, headers, b"")
        content = _json(data) if status == 200 else None
        return content.get("result") if isinstance(content, dict) else None

    def _note_deletion(self, upstream):
        match = translate.TABLE_PATH.match(upstream.path)
        if match and match["table"] in signing.SIGNED_FIELDS and match["sys_id"]:
            self.proxy.deleted.add(match["sys_id"])


def _user(request):
    scheme, _blank, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest).decode().partition(":")[0]
        except ValueError:
            return None
    return None


def _as_stored(row):
    """The values of a JSON record as the instance stores them: strings."""

    def text(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    return {name: text(value) for name, value in row.items()}


def _json(data):
    try:
        return json.loads(data)
    except ValueError:
        return None


def _dump(content):
    return json.dumps(content, ensure_ascii=False).encode()


def _failure(status, message, detail):
    return web.json_response({"error": {"message": message, "detail": detail}, "status": "failure"}, status=status)
