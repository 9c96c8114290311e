# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m edgelab.instance --dir DIR [--seed]``: run the instance in the foreground until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

from aiohttp import web

from .clone import Engine
from .control import Control
from .instance import Instance
from .server import Front


async def serve(directory: Path) -> None:
    instance = Instance(directory)
    front = Front(instance)
    engine = Engine(instance)
    host = instance.config.get("host", "127.0.0.1")
    public, control = web.ServerRunner(front.server), web.AppRunner(Control(front, engine).app(), access_log=None)
    await public.setup()
    await control.setup()
    await web.TCPSite(public, host, instance.config["port"], ssl_context=front.tls(), backlog=512).start()
    await web.TCPSite(control, "127.0.0.1", instance.config["control_port"]).start()
    pid_file = directory / "instance.pid"
    pid_file.write_text("{}\n".format(os.getpid()))

    loop = asyncio.get_running_loop()
    clock = asyncio.ensure_future(engine.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, clock.cancel)
    try:
        await clock
    except asyncio.CancelledError:
        pass
    finally:
        pid_file.unlink(missing_ok=True)
        front.server.drop_all()
        await public.cleanup()
        await control.cleanup()
        instance.store.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="edgelab.instance", description="A stand-in for a ServiceNow instance.")
    parser.add_argument("--dir", type=Path, required=True, help="directory with instance.json, and the state")
    parser.add_argument("--seed", action="store_true", help="throw the data away, seed them afresh and exit")
    arguments = parser.parse_args()
    if arguments.seed:
        for path in arguments.dir.glob("instance.sqlite*"):
            path.unlink()
        Instance(arguments.dir).store.close()
        return
    asyncio.run(serve(arguments.dir))


if __name__ == "__main__":
    main()
