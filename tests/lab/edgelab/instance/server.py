# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two web servers of an instance: HTTPS for its clients, plain HTTP for the control port."""

from __future__ import annotations

import asyncio
import datetime
import random
import secrets
import socket
import ssl
import struct
import time
import typing as t

from aiohttp import web

from . import api
from .auth import authenticate
from .http import Call, Problem, Reply, html_reply, problem_reply
from .sessions import Session

if t.TYPE_CHECKING:
    from .instance import Instance

_BODY_LIMIT = 256 * 1024 * 1024
_URL_LIMIT = 16 * 1024
_HEADERS = {
    "Server": "ServiceNow",
    "Pragma": "no-store,no-cache",
    "Cache-Control": "no-cache,no-store,must-revalidate,max-age=-1",
    "Expires": "0",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
}


class CountingServer(web.Server):
    """A low-level server that numbers its connections."""

    def __init__(self, handler: t.Any) -> None:
        super().__init__(handler, request_factory=self._request, max_line_size=65536, max_field_size=65536)
        self.opened = 0
        self.open: dict[t.Any, int] = {}

    def _request(self, message: t.Any, payload: t.Any, protocol: t.Any, writer: t.Any, task: t.Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=_BODY_LIMIT)

    def connection_made(self, handler: t.Any, transport: t.Any) -> None:
        super().connection_made(handler, transport)
        self.opened += 1
        self.open[handler] = self.opened

    def connection_lost(self, handler: t.Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.open.pop(handler, None)

    def drop_all(self) -> None:
        """Close every connection at once, as a node does that goes away."""
        for handler in list(self.open):
            if handler.transport is not None:
                handler.transport.abort()


class Front:
    """What a client of the instance meets: network faults, login, its session's turn, the APIs."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.server = CountingServer(self.handle)

    def tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.instance.config["tls_cert"], self.instance.config["tls_key"])
        return context

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = datetime.datetime.now(datetime.timezone.utc).isoformat()
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.rel_url.path, request.rel_url.raw_query_string, headers, await request.read())
        connection = self.server.open.get(request.protocol, 0)
        fault = self.instance.faults.strike(call.method, call.path)
        reply: Reply | None
        done = None
        if fault and fault.before:
            reply = None if fault.kind == "reset_before" else fault.reply()
        else:
            if fault and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            if fault and fault.kind == "ignore_query":  # as if every condition in it were one that the platform does not understand
                call.query.pop("sysparm_query", None)
            reply = await self._answer(call)
            done = reply.status if reply else None
            if fault and fault.kind == "reset_after":
                reply = None
            elif fault and fault.kind not in ("slow", "ignore_query"):
                reply = fault.reply(reply)
        self.instance.log_request(call, reply.status if reply else 0, connection, began, done)
        if reply is None:
            reset(request)
            reply = Reply(500)
        return await self._send(request, call, reply)

    async def _answer(self, call: Call) -> Reply | None:
        """Return the reply, or None to cut the connection."""
        instance = self.instance
        if time.monotonic() < instance.down_until:
            style = instance.knobs["down_style"]
            if style == "reset" or (style == "both" and random.random() < 0.5):
                return None
            return html_reply(503, "Service Unavailable", headers={"Retry-After": "1"})
        if instance.knobs["hibernating"]:
            return html_reply(200, "Instance Hibernating page", "Your instance is hibernating. Sign in to wake it.")
        if len(call.path) + len(call.query_string) > _URL_LIMIT:
            return html_reply(414, "Request-URI Too Large")
        if call.path in api.PUBLIC:
            await self._delay(call)
            return api.handle(instance, call)
        try:
            call.caller = authenticate(instance, call)
            if call.path.startswith("/api/"):
                instance.check_rate(call.caller.user_name)
        except Problem as problem:
            return problem_reply(problem)
        async with call.caller.session.turn:  # a session runs one transaction at a time
            await self._delay(call)
            return api.handle(instance, call)

    async def _delay(self, call: Call) -> None:
        knobs = self.instance.knobs
        latency = knobs["latency_ms"] + (0 if call.headers.get("x-edge-proxy") else knobs["direct_latency_ms"])
        if latency or knobs["jitter_ms"]:
            await asyncio.sleep(max(0.0, latency + random.uniform(-1, 1) * knobs["jitter_ms"]) / 1000)

    async def _send(self, request: web.BaseRequest, call: Call, reply: Reply) -> web.Response:
        headers = {**_HEADERS, "X-Is-Logged-In": str(call.caller is not None).lower(), "X-Transaction-ID": secrets.token_hex(6)}
        headers.update(reply.headers)
        response = web.Response(status=reply.status, body=reply.body, headers=headers)
        if reply.status != 204:
            response.headers["Content-Type"] = reply.content_type
        if call.caller and self._announce(call.caller.session):
            for cookie in self.instance.sessions.cookies(call.caller.session):
                response.headers.add("Set-Cookie", cookie)
        if reply.body and request.method != "HEAD" and request.version >= (1, 1):
            response.enable_chunked_encoding()
        return response

    @staticmethod
    def _announce(session: Session) -> bool:
        first, session.announced = not session.announced, True
        return first


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a TCP reset."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
