# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One instance: its data and everything that works on them. The web servers and the clone engine are built around it."""

from __future__ import annotations

import collections
import itertools
import json
import time
import typing as t
from pathlib import Path

from . import rules
from .acl import Acl
from .faults import Faults
from .http import Call, Problem
from .knobs import Knobs
from .records import Aborted, Change, Records, Rule
from .seed import complete, fill
from .sessions import Sessions
from .store import Row, Store

_LOG_SIZE = 50000


class Instance:
    """The instance that lives in a directory with an ``instance.json``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = json.loads((directory / "instance.json").read_text())
        self.name: str = self.config["name"]
        self.production: bool = self.config.get("production", False)
        self.url = "https://{}:{}".format(self.config.get("host", "127.0.0.1"), self.config["port"])
        self.heartbeat_interval: float = self.config.get("heartbeat_interval", 1)
        self.peers: dict[str, dict[str, str]] = self.config.get("peers", {})
        self.knobs = Knobs(directory / "knobs.json")
        self.faults = Faults()
        self.sessions = Sessions()
        self.requests: collections.deque[dict[str, t.Any]] = collections.deque(maxlen=_LOG_SIZE)
        self.request_numbers = itertools.count(1)
        self.down_until = 0.0
        self.next_chunk_at = 0.0
        self._started = time.monotonic()
        self._heard: dict[str, float] = {}
        self._rates: dict[str, list[float]] = {}
        self.extra_rules: list[Rule] = []
        self.open()

    def open(self) -> None:
        """Open the database, a new one with the seed, and everything that hangs on it."""
        path = self.directory / "instance.sqlite"
        new = not path.exists()
        self.store = Store(path)
        self.records = Records(self.store, (*rules.RULES, self._listed_key, *self.extra_rules))
        self.acl = Acl(self.records, self.knobs)
        if new:
            seed_file = self.directory / "seed.json"
            fill(self.store, self.config, json.loads(seed_file.read_text()) if seed_file.exists() else {})
            self.store.bump_version()

    def _listed_key(self, records: Records, change: Change) -> None:
        """A default, an Available key, and by the knob ``former_defaults_stay`` one that ever was a default, stay in the list."""
        if change.table != "sys_encryption_key" or change.new is not None or change.old is None:
            return
        default = records.store.first("sys_encryption_key_configuration", key=change.old["sys_id"], active="true")
        former = change.old["was_default"] == "true" and self.knobs["former_defaults_stay"]
        if default or former or change.old["status"] == "Available":
            raise Aborted(change.table, "Default and Available keys cannot be deleted")

    def replace_database(self, path: Path, keep: Path) -> None:
        """Node repoint: go on with another database, put the present one aside; every session ends."""
        version = self.store.version
        self.store.copy_to(keep)
        self.store.close()
        for suffix in ("-wal", "-shm"):
            Path(str(self.store.path) + suffix).unlink(missing_ok=True)
        path.replace(self.store.path)
        self.open()
        self.store.bump_version(above=version)
        self.sessions.clear()
        self._heard.clear()
        self._started = time.monotonic()

    @property
    def invalid_query_returns_no_rows(self) -> bool:
        by_property = self.records.property("glide.invalid_query.returns_no_rows") == "true"
        return by_property or bool(self.knobs["invalid_query_returns_no_rows"])

    def put_raw(self, table: str, row: t.Mapping[str, t.Any]) -> Row:
        """Insert a row or merge it into the one with its sys_id, past access control and business rules."""
        full = complete(self.store, table, row)
        self.store.put(table, full)
        return full

    def heard_from(self, proxy: str) -> None:
        self._heard[proxy] = time.monotonic()

    def silence(self, proxy: str) -> float:
        return time.monotonic() - self._heard.get(proxy, self._started)

    def check_rate(self, user: str) -> None:
        """Refuse a request over the limit of the knob ``rate_limit``."""
        limit = self.knobs["rate_limit"]
        if not limit:
            return
        seconds, now = limit.get("seconds", 3600), time.time()
        recent = self._rates[user] = [moment for moment in self._rates.get(user, ()) if moment > now - seconds]
        if len(recent) < limit["limit"]:
            recent.append(now)
            return
        reset = recent[0] + seconds
        headers = {
            "Retry-After": str(max(1, int(reset - now + 0.999))),
            "X-RateLimit-Limit": str(limit["limit"]),
            "X-RateLimit-Reset": str(int(reset)),
            "X-RateLimit-Rule": "0" * 32,
        }
        detail = "Rate limit of {} requests per hour for Table API exceeded".format(limit["limit"])
        raise Problem(429, "Rate limit exceeded", detail, headers)

    def log_request(self, call: Call, status: int, connection: int, began: str, done: int | None) -> None:
        """Record a request for the assertions of tests; bytes that are no UTF-8 appear as latin-1.

        The client was answered with C(status), 0 if the connection was cut; C(done) is what came of the request: None if it was not carried out.
        """
        try:
            body = call.body.decode("utf-8")
        except UnicodeDecodeError:
            body = call.body.decode("latin-1")
        self.requests.append(
            {
                "n": next(self.request_numbers),
                "time": began,
                "method": call.method,
                "path": call.path,
                "query": call.query_string,
                "user": call.caller.user_name if call.caller else None,
                "status": status,
                "done": done,
                "body": body,
                "via_proxy": call.headers.get("x-edge-proxy") or None,
                "connection": connection,
            }
        )
