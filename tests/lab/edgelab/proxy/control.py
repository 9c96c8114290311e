# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control port that the proxy, the balancer and the traffic generator share: health, request log, knobs, faults."""

import asyncio
import base64
import datetime
import itertools
import re
import weakref

from aiohttp import web

MAINTENANCE_PAGE = "<html><head><title>Maintenance</title></head><body>The system is being restarted.</body></html>"
BODY_LIMIT = 8192  # what the request log keeps of a body
FAULT_KINDS = ("status", "reset_before", "reset_after", "slow", "html", "partial_json", "unauthorized")


def basic_auth(user, password):
    """Return the header Authorization of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


class Connections:
    """Numbers the client connections by their first request."""

    def __init__(self):
        self._numbers = weakref.WeakKeyDictionary()
        self.opened = 0

    def number(self, transport):
        if transport not in self._numbers:
            self.opened += 1
            self._numbers[transport] = self.opened
        return self._numbers[transport]

    def as_dict(self):
        return {"opened": self.opened, "open": sum(not transport.is_closing() for transport in self._numbers)}


class Control:
    """One control port. C(knobs) are the defaults, and the only names accepted."""

    def __init__(self, name, knobs=None, on_knobs=None):
        self.name = name
        self.knobs = dict(knobs or {})
        self.requests = []
        self.faults = []
        self.connections = Connections()
        self._on_knobs = on_knobs
        self._numbers = itertools.count(1)
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/requests", self._get_requests),
                web.delete("/requests", self._delete_requests),
                web.get("/connections", self._get_connections),
                web.get("/knobs", self._get_knobs),
                web.put("/knobs", self._put_knobs),
                web.get("/faults", self._get_faults),
                web.post("/faults", self._post_faults),
                web.delete("/faults", self._delete_faults),
            ]
        )

    async def start(self, port, host="127.0.0.1"):
        self._runner = web.AppRunner(self.app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, reuse_address=True).start()

    async def stop(self):
        await self._runner.cleanup()

    def log(self, **entry):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        entry = dict(entry, n=next(self._numbers), time=now)
        self.requests.append(entry)
        return entry

    def fault(self, method, path):
        """Return the fault due for a request, or None; counts."""
        for fault in self.faults:
            if fault.get("method") not in (None, method) or not re.search(fault.get("path") or "", path):
                continue
            if fault.get("after"):
                fault["after"] -= 1
                continue
            if fault.get("count") is not None:
                if fault["count"] <= 0:
                    continue
                fault["count"] -= 1
            return fault
        return None

    # -- handlers

    async def _health(self, _request):
        return web.json_response({"ok": True, "name": self.name})

    async def _get_requests(self, request):
        since = int(request.query.get("since", 0))
        return web.json_response({"requests": [entry for entry in self.requests if entry["n"] > since]})

    async def _delete_requests(self, _request):
        self.requests.clear()
        return web.json_response({})

    async def _get_connections(self, _request):
        return web.json_response(self.connections.as_dict())

    async def _get_knobs(self, _request):
        return web.json_response(self.knobs)

    async def _put_knobs(self, request):
        wanted = await request.json()
        unknown = sorted(set(wanted) - set(self.knobs))
        if unknown:
            return web.json_response({"error": f"unknown knobs: {', '.join(unknown)}"}, status=400)
        self.knobs.update(wanted)
        if self._on_knobs:
            self._on_knobs(self.knobs)
        return web.json_response(self.knobs)

    async def _get_faults(self, _request):
        return web.json_response({"faults": self.faults})

    async def _post_faults(self, request):
        fault = await request.json()
        if fault.get("kind") not in FAULT_KINDS:
            return web.json_response({"error": f"unknown kind: {fault.get('kind')}"}, status=400)
        self.faults.append(fault)
        return web.json_response(fault, status=201)

    async def _delete_faults(self, _request):
        self.faults.clear()
        return web.json_response({})


async def play_fault(fault, request, answer):
    """Answer a request as the fault has it; C(answer) produces the honest response."""
    kind = fault["kind"] if fault else None
    if kind == "slow":
        await asyncio.sleep(fault.get("seconds", 1))
    elif kind == "reset_before":
        request.transport.abort()
        return web.Response(status=500)
    elif kind == "status":
        body = fault.get("body", "")
        return web.Response(
            status=fault.get("status", 500), headers=fault.get("headers"), text=body if isinstance(body, str) else str(body)
        )
    elif kind == "html":
        return web.Response(status=fault.get("status", 200), text=MAINTENANCE_PAGE, content_type="text/html")
    elif kind == "unauthorized":
        error = {"error": {"message": "User Not Authenticated", "detail": "Required to provide Auth information"}, "status": "failure"}
        return web.json_response(error, status=401)
    response = await answer()
    if kind == "reset_after":
        request.transport.abort()
    elif kind == "partial_json":
        response.body = response.body[: len(response.body) // 2]
    return response
