# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""C(python -m edgelab.traffic --dir DIR): users who write business records through the balancer, all the time.

DIR/traffic.json: {"url", "user", "password", "ca", "control_port", "clients"?, "interval"?, "autostart"?}.
Every record carries a marker of its own in the encrypted fields and a number of the pattern; what the instance confirmed is kept in
DIR/written.jsonl and told by C(GET /written). Each client has its own loopback address, for the balancer's stickiness.
"""

import argparse
import asyncio
import json
import pathlib
import random
import ssl
import time
import uuid

import aiohttp
from aiohttp import web

from .balancer import run_part
from .proxy.control import Control, basic_auth

TIMEOUT = 20
TABLE = "incident"


class Traffic:
    def __init__(self, directory, settings):
        self.settings = settings
        self.stats = {"sent": 0, "ok": 0, "refused": 0, "failed": 0}
        self.last_failure = None
        self.written = []
        self._file = directory / "written.jsonl"
        self._run = uuid.uuid4().hex[:8]
        self._tasks = []
        self.control = Control("traffic", {"interval": settings.get("interval", 0.2)})
        self.control.app.add_routes(
            [
                web.post("/start", self._post_start),
                web.post("/stop", self._post_stop),
                web.get("/stats", self._get_stats),
                web.get("/written", self._get_written),
            ]
        )

    async def start(self):
        self._tls = ssl.create_default_context(cafile=self.settings.get("ca"))
        await self.control.start(self.settings["control_port"])
        if self.settings.get("autostart"):
            self._begin()

    async def stop(self):
        await self._end()
        await self.control.stop()

    def _begin(self):
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.settings.get("clients", 2))]

    async def _end(self):
        """Wait for the writes under way, so that the numbers add up."""
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)

    async def _client(self, number):
        connector = aiohttp.TCPConnector(ssl=self._tls, local_addr=(f"127.0.10.{number + 1}", 0), limit=1)
        authorization = basic_auth(self.settings["user"], self.settings["password"])
        async with aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": authorization},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        ) as session:
            me = asyncio.current_task()
            while me in self._tasks:
                await self._write(session)
                await asyncio.sleep(self.control.knobs["interval"])

    def _record(self):
        self.stats["sent"] += 1
        marker = f"traffic-{self._run}-{self.stats['sent']:06d}"
        return marker, {
            "short_description": f"{marker} short",
            "description": f"{marker} long text, öäü 👍",
            "u_customer_name": f"{marker} customer",
            "u_account": f"{random.randrange(10**8):08d}-{marker}",
            "u_tax_id": f"{random.randrange(1000):03d}-{random.randrange(100):02d}-{random.randrange(10000):04d}",
        }

    async def _write(self, session):
        marker, record = self._record()
        path = f"/api/now/table/{TABLE}"
        entry = self.control.log(
            method="POST", path=path, query="", user=self.settings["user"], status=None, body=marker, via_proxy=None, connection=None
        )
        try:
            async with session.post(self.settings["url"] + path, json=record, headers={"Accept": "application/json"}) as response:
                text = await response.text()
                status = entry["status"] = response.status
            result = json.loads(text)["result"] if status == 201 else None
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            self._failed("refused", f"{type(error).__name__}: {error}")
            return
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, KeyError) as error:
            self._failed("failed", f"{type(error).__name__}: {error}")
            return
        if result is None:
            self._failed("failed", f"HTTP status {status}")
            return
        self.stats["ok"] += 1
        written = {"sys_id": result["sys_id"], "marker": marker, "time": time.time(), "fields": record}
        self.written.append(written)
        with open(self._file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(written, ensure_ascii=False) + "\n")

    def _failed(self, kind, text):
        self.stats[kind] += 1
        self.last_failure = text

    # -- control port

    async def _post_start(self, request):
        self._begin()
        return await self._get_stats(request)

    async def _post_stop(self, request):
        await self._end()
        return await self._get_stats(request)

    async def _get_stats(self, _request):
        return web.json_response(dict(self.stats, running=bool(self._tasks), last_failure=self.last_failure))

    async def _get_written(self, request):
        since = int(request.query.get("since", 0))
        return web.json_response({"written": self.written[since:]})


def main():
    parser = argparse.ArgumentParser(prog="edgelab.traffic", description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    directory = parser.parse_args().dir
    settings = json.loads((directory / "traffic.json").read_text(encoding="utf-8"))

    async def run():
        await run_part(directory, "traffic", Traffic(directory, settings))

    asyncio.run(run())


if __name__ == "__main__":
    main()
