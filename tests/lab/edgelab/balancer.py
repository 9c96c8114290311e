# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""C(python -m edgelab.balancer --dir DIR): a small TCP load balancer in front of the proxies.

DIR/balancer.json: {"host", "port", "control_port", "backends": [{"name", "host", "port"}], "sticky_seconds"?}.
Sticky by client address, then least connections; healthy is what accepts a connection. A drained backend gets no new connections, and
its open ones are closed as soon as the answer under way has been passed on.
"""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import time
from dataclasses import dataclass, field

from aiohttp import web

from .proxy.control import Control

RETRY_SECONDS = 1  # a backend that refused is not tried again for so long
QUIET_SECONDS = 0.1  # silence after an answer that counts as its end
DRAIN_SECONDS = 10  # then an open connection is cut, whatever is under way
STICKY_SECONDS = 300
CONNECT_SECONDS = 3
CHUNK = 65536


@dataclass(eq=False)
class Connection:
    """One client's connection through to a backend."""

    backend: "Backend"
    writers: tuple
    awaiting_answer: bool = False
    last: float = field(default_factory=time.monotonic)

    def passed(self, from_client):
        self.awaiting_answer, self.last = from_client, time.monotonic()

    @property
    def quiet(self):
        return not self.awaiting_answer and time.monotonic() - self.last > QUIET_SECONDS

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()


@dataclass(eq=False)
class Backend:
    name: str
    host: str
    port: int
    enabled: bool = True
    down_until: float = 0
    connections: set = field(default_factory=set)
    pending: int = 0  # connections being opened
    picked: float = 0

    @property
    def healthy(self):
        return time.monotonic() >= self.down_until

    def as_dict(self):
        return {
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "enabled": self.enabled,
            "healthy": self.healthy,
            "connections": len(self.connections),
        }


class Balancer:
    def __init__(self, settings):
        self.settings = settings
        self.backends = [Backend(entry["name"], entry["host"], entry["port"]) for entry in settings["backends"]]
        self.control = Control("balancer")
        self.control.connections = self
        self.control.app.add_routes(
            [web.get("/state", self._get_state), web.post("/drain", self._post_drain), web.post("/enable", self._post_enable)]
        )
        self._sticky = {}  # client address -> (backend, time of its last connection)
        self._opened = 0

    async def start(self):
        self.server = await asyncio.start_server(self._serve, self.settings["host"], self.settings["port"], reuse_address=True)
        await self.control.start(self.settings["control_port"])

    async def stop(self):
        self.server.close()
        for backend in self.backends:
            for connection in set(backend.connections):
                connection.abort()
        await self.control.stop()

    # -- connections

    def as_dict(self):
        """What the control port tells of the clients' connections."""
        return {"opened": self._opened, "open": sum(len(backend.connections) for backend in self.backends)}

    async def _serve(self, reader, writer):
        client = writer.get_extra_info("peername")[0]
        self._opened += 1
        backend, upstream = await self._connect(client)
        self.control.log(
            method="CONNECT",
            path="",
            query="",
            user=None,
            status=502 if backend is None else 200,
            body="",
            via_proxy=None,
            client=client,
            backend=backend and backend.name,
            connection=self._opened,
        )
        if backend is None:
            writer.transport.abort()
            return
        connection = Connection(backend, (writer, upstream[1]))
        backend.connections.add(connection)
        try:
            await asyncio.gather(self._pump(reader, upstream[1], connection, True), self._pump(upstream[0], writer, connection, False))
        finally:
            backend.connections.discard(connection)
            for end in connection.writers:
                end.close()

    async def _connect(self, client):
        """Return (backend, (reader, writer)) of the first candidate that accepts, or (None, None)."""
        for backend in self._candidates(client):
            backend.pending += 1
            backend.picked = time.monotonic()
            self._sticky[client] = (backend, backend.picked)
            try:
                upstream = await asyncio.wait_for(asyncio.open_connection(backend.host, backend.port), CONNECT_SECONDS)
            except (OSError, asyncio.TimeoutError):
                backend.down_until = time.monotonic() + RETRY_SECONDS
                continue
            finally:
                backend.pending -= 1
            if not backend.enabled:  # drained meanwhile
                upstream[1].transport.abort()
                continue
            return backend, upstream
        return None, None

    def _candidates(self, client):
        backend, last = self._sticky.get(client, (None, 0))
        if time.monotonic() - last > self.settings.get("sticky_seconds", STICKY_SECONDS):
            backend = None
        usable = [one for one in self.backends if one.enabled and one.healthy]
        return sorted(usable, key=lambda one: (one is not backend, len(one.connections) + one.pending, one.picked))

    @staticmethod
    async def _pump(reader, writer, connection, from_client):
        try:
            while True:
                data = await reader.read(CHUNK)
                if not data:
                    return
                if from_client and not connection.backend.enabled and not connection.awaiting_answer:
                    connection.abort()  # a new request on a connection kept alive
                    return
                connection.passed(from_client)
                writer.write(data)
                await writer.drain()
        except (ConnectionError, OSError):
            connection.abort()
        finally:
            # TLS knows no half-closed connections: the end of one direction is the end of both.
            writer.close()

    # -- control port

    def _named(self, name):
        found = [backend for backend in self.backends if name in (None, backend.name)]
        if not found:
            raise web.HTTPNotFound(text=json.dumps({"error": f"no backend {name}"}), content_type="application/json")
        return found

    async def _get_state(self, _request):
        return web.json_response({"backends": [backend.as_dict() for backend in self.backends]})

    async def _post_drain(self, request):
        """Answers when the last connection of the drained backends is closed."""
        drained = self._named((await _body(request)).get("backend"))
        for backend in drained:
            backend.enabled = False
        deadline = time.monotonic() + DRAIN_SECONDS
        while any(backend.connections for backend in drained):
            for backend in drained:
                for connection in set(backend.connections):
                    if not backend.enabled and (connection.quiet or time.monotonic() > deadline):
                        connection.abort()
            await asyncio.sleep(QUIET_SECONDS / 4)
            if all(backend.enabled for backend in drained):
                break
        return await self._get_state(request)

    async def _post_enable(self, request):
        for backend in self._named((await _body(request)).get("backend")):
            backend.enabled, backend.down_until = True, 0
        return await self._get_state(request)


async def _body(request):
    return await request.json() if request.can_read_body else {}


async def run_part(directory, name, part):
    """Run a part of the lab until SIGTERM; its pid is in DIR/<name>.pid."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await part.start()
    pid_file = directory / f"{name}.pid"
    pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
    try:
        await stopping.wait()
    finally:
        await part.stop()
        pid_file.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(prog="edgelab.balancer", description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    directory = parser.parse_args().dir
    settings = json.loads((directory / "balancer.json").read_text(encoding="utf-8"))

    async def run():
        await run_part(directory, "balancer", Balancer(settings))

    asyncio.run(run())


if __name__ == "__main__":
    main()
