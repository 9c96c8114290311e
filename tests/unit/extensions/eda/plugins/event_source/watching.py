# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs an event source in-process, as ansible-rulebook does, and hands over what it puts on the queue."""

import asyncio
import logging
import typing as t

LOGGER = "edge_encryption.clone"
Event = t.Dict[str, t.Any]


class Killed(Exception):
    """What stands for the end of the process."""


class Feed:
    """What comes from a source that runs."""

    def __init__(self, queue: "asyncio.Queue[Event]", task: "asyncio.Task[None]") -> None:
        self.queue, self.task = queue, task

    async def next(self, seconds: float = 10) -> Event:
        """Return the next event; raises what the source died of."""
        getter = asyncio.ensure_future(self.queue.get())
        await asyncio.wait([getter, self.task], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not getter.done():
            getter.cancel()
            if self.task.done():
                self.task.result()
            raise AssertionError(f"no event within {seconds} s")
        return getter.result()

    async def none_while(self, true: t.Callable[[], bool], seconds: float = 10) -> None:
        """Wait as long as something is so; no event may come meanwhile."""
        deadline = asyncio.get_running_loop().time() + seconds
        while true():
            assert self.queue.empty(), self.queue.get_nowait()
            if self.task.done():
                self.task.result()
            assert asyncio.get_running_loop().time() < deadline, f"still so after {seconds} s"
            await asyncio.sleep(0.01)
        assert self.queue.empty(), self.queue.get_nowait()

    async def quiet(self, fake: t.Any, looks: int = 3) -> None:
        """Wait for some more looks; no event may come of them."""
        enough = len(fake.requests) + 3 * looks + 1
        await self.none_while(lambda: len(fake.requests) < enough)


def watch(main: t.Callable[..., t.Any], args: t.Mapping[str, t.Any], script: t.Callable[[Feed], t.Any], queue: t.Any = None) -> t.Any:
    """Run the source while a script plays; returns what the script returns. The source is canceled at the end, as by ansible-rulebook."""

    async def both() -> t.Any:
        events = queue or asyncio.Queue()
        task = asyncio.create_task(main(events, dict(args)))
        try:
            return await asyncio.wait_for(script(Feed(events, task)), 30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(both())


def dies(main: t.Callable[..., t.Any], args: t.Mapping[str, t.Any]) -> str:
    """Run the source to its end; returns what it says last."""

    async def run() -> None:
        await asyncio.wait_for(main(asyncio.Queue(), dict(args)), 10)

    try:
        asyncio.run(run())
    except Exception as error:
        assert not isinstance(error, asyncio.TimeoutError), "it goes on"
        return f"{type(error).__name__}: {error}"
    raise AssertionError("it ended without an error")


def warnings(caplog: t.Any) -> t.List[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith(LOGGER) and record.levelno >= logging.WARNING]
