# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control port: what tests ask and order. Plain HTTP, JSON, no login.

The paths under ``/target/`` serve the clone engine of another instance: they are this instance's side of being cloned over.
"""

from __future__ import annotations

import asyncio
import json
import time
import typing as t
from pathlib import Path

from aiohttp import web

from .backups import NIGHTLY
from .knobs import STAGES
from .query import utc_now

if t.TYPE_CHECKING:
    from .clone import Engine
    from .server import Front


class Control:
    def __init__(self, front: Front, engine: Engine) -> None:
        self.front = front
        self.instance = front.instance
        self.engine = engine

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/requests", self.requests),
                web.delete("/requests", self.forget_requests),
                web.get("/connections", self.connections),
                web.get("/knobs", self.knobs),
                web.put("/knobs", self.set_knobs),
                web.get("/faults", self.faults),
                web.post("/faults", self.add_fault),
                web.delete("/faults", self.clear_faults),
                web.get("/raw/{table}", self.raw),
                web.post("/raw/{table}", self.put_raw),
                web.delete("/raw/{table}/{sys_id}", self.delete_raw),
                web.get("/backups", self.backups),
                web.post("/backup", self.backup),
                web.get("/clones", self.clones),
                web.post("/clones", self.request_clone),
                web.get("/target", self.target),
                web.post("/target/snapshot", self.snapshot),
                web.post("/target/repoint", self.repoint),
                web.post("/target/cleanup", self.cleanup),
            ]
        )
        return app

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "name": self.instance.name, "down": time.monotonic() < self.instance.down_until})

    async def requests(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", 0))
        return web.json_response({"requests": [entry for entry in self.instance.requests if entry["n"] > since]})

    async def forget_requests(self, request: web.Request) -> web.Response:
        self.instance.requests.clear()
        return web.json_response({})

    async def connections(self, request: web.Request) -> web.Response:
        server = self.front.server
        return web.json_response({"opened": server.opened, "open": len(server.open)})

    async def knobs(self, request: web.Request) -> web.Response:
        return web.json_response(self.instance.knobs)

    async def set_knobs(self, request: web.Request) -> web.Response:
        try:
            self.instance.knobs.merge(await request.json())
        except ValueError as error:
            return _refused(error)
        return web.json_response(self.instance.knobs)

    async def faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": self.instance.faults.listing()})

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            self.instance.faults.add(await request.json())
        except (TypeError, ValueError) as error:
            return _refused(error)
        return web.json_response({"faults": self.instance.faults.listing()}, status=201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.instance.faults.orders.clear()
        return web.json_response({})

    async def raw(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        if table not in self.instance.store.schema:
            return _refused(ValueError("no such table: " + table), 404)
        return web.json_response({"rows": self.instance.store.select(table, order="a0.rowid")})

    async def put_raw(self, request: web.Request) -> web.Response:
        """Insert or replace rows as they come; only what is missing is filled in. Passwords of users are hashed."""
        table = request.match_info["table"]
        if table not in self.instance.store.schema:
            return _refused(ValueError("no such table: " + table), 404)
        rows = [self.instance.put_raw(table, row) for row in (await request.json())["rows"]]
        self.instance.records.touched(table)
        return web.json_response({"rows": rows})

    async def delete_raw(self, request: web.Request) -> web.Response:
        self.instance.store.remove(request.match_info["table"], request.match_info["sys_id"])
        self.instance.records.touched(request.match_info["table"])
        return web.json_response({})

    async def backups(self, request: web.Request) -> web.Response:
        return web.json_response({"backups": self.engine.backups.listing()})

    async def backup(self, request: web.Request) -> web.Response:
        backup = await self.engine.backups.take(float(self.instance.knobs["backup_seconds"]), NIGHTLY)
        return web.json_response(backup)

    async def clones(self, request: web.Request) -> web.Response:
        return web.json_response({"clones": self.engine.listing(), "stages": STAGES})

    async def request_clone(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        try:
            row = self.engine.request(body)
        except ValueError as error:
            return _refused(error)
        return web.json_response(row, status=201)

    # The side of the target

    async def target(self, request: web.Request) -> web.Response:
        allowed = self.instance.records.property("glide.db.clone.allow_clone_target") == "true"
        return web.json_response({"name": self.instance.name, "production": self.instance.production, "allow_clone_target": allowed})

    async def snapshot(self, request: web.Request) -> web.Response:
        self.instance.store.copy_to(Path((await request.json())["path"]))
        return web.json_response({})

    async def repoint(self, request: web.Request) -> web.Response:
        """Replace the database: connections are cut, the node is away for some seconds, then it serves the new data."""
        body = await request.json()
        instance = self.instance
        instance.down_until = time.monotonic() + float(body["seconds"])
        self.front.server.drop_all()
        instance.replace_database(Path(body["path"]), Path(body["keep"]))
        await asyncio.sleep(float(body["seconds"]))
        return web.json_response({"time": utc_now()})

    async def cleanup(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.engine.cleanup.order(body["scripts"], float(body["seconds"]), ready=body["ready"], fails=body["fails"])
        return web.json_response({})


def _refused(error: Exception, status: int = 400) -> web.Response:
    return web.Response(status=status, text=json.dumps({"error": str(error)}), content_type="application/json")
