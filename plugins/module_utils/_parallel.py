# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Work on several connections at once, and tell how far it is."""

import concurrent.futures
import contextlib
import threading
import time
import typing as t

Session = t.TypeVar("Session")
Task = t.TypeVar("Task")
# Seconds between two signs of life.
_TICK = 5.0


class Progress:
    """Counts rows and bytes, and hands the sums to a callback.

    Args:
        callback: called with step, rows done, rows in total and bytes done; may be called from any thread.
    """

    def __init__(self, callback: t.Optional[t.Callable[[str, int, int, int], None]] = None) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._step, self._total, self._rows, self._bytes = "", 0, 0, 0

    def start(self, step: str, total: int) -> None:
        self._step, self._total, self._rows, self._bytes = step, total, 0, 0
        self.add(0, 0)

    def add(self, rows: int, size: int) -> None:
        with self._lock:
            self._rows += rows
            self._bytes += size
            if self._callback:
                self._callback(self._step, self._rows, max(self._total, self._rows), self._bytes)

    def at(self, done: int) -> None:
        """Say how much is done of a step whose parts nobody counts."""
        self.add(done - self._rows, 0)

    @contextlib.contextmanager
    def ticking(self) -> t.Iterator[None]:
        """Repeat every few seconds how far it is: a single statement of a server may take minutes."""
        over = threading.Event()

        def tick() -> None:
            while not over.wait(_TICK):
                if self._step:
                    self.add(0, 0)

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()


@contextlib.contextmanager
def timed(timings: t.Dict[str, float], name: str) -> t.Iterator[None]:
    """Note how many seconds something took."""
    started = time.monotonic()
    yield
    timings[name] = round(time.monotonic() - started, 3)


def in_parallel(sessions: t.Sequence[Session], tasks: t.Iterator[Task], work: t.Callable[[Session, Task], None]) -> None:
    """Let each session work on the next task until there is none; the first error ends all and is raised."""
    lock = threading.Lock()
    stop = threading.Event()

    def run(session: Session) -> None:
        try:
            while not stop.is_set():
                with lock:
                    task = next(tasks, None)
                if task is None:
                    return
                work(session, task)
        finally:
            # No task is left, or one failed: either way nobody needs to begin another.
            stop.set()

    with concurrent.futures.ThreadPoolExecutor(len(sessions)) as pool:
        futures = [pool.submit(run, session) for session in sessions]
    for future in futures:
        future.result()
