# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that the control port orders: which requests they hit, and what the client gets then."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .http import HTML, JSON, Reply, html_reply, json_reply

KINDS = ("status", "reset_before", "reset_after", "slow", "html", "partial_json", "unauthorized", "ignore_query")
_OVERRUN = "Transaction cancelled: maximum execution time exceeded"


@dataclasses.dataclass
class Fault:
    """One order.

    ``after`` requests that match are let through, then ``count`` are hit (None: all). ``committed`` says that a
    ``status`` or ``html`` fault replaces the answer of a request that was carried out all the same.
    """

    kind: str
    method: str = ""
    path: str = ""
    status: int = 500
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: str = ""
    seconds: float = 1.0
    after: int = 0
    count: t.Optional[int] = None
    committed: bool = False
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError("unknown kind of fault: {}".format(self.kind))

    def claims(self, method: str, path: str) -> bool:
        """Tell whether the fault strikes this request, and count."""
        if (self.method and self.method.upper() != method) or not re.search(self.path, path) or self.count == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.count is not None:
            self.count -= 1
        self.hits += 1
        return True

    @property
    def before(self) -> bool:
        """Tell whether the request is not carried out."""
        return self.kind in ("reset_before", "unauthorized") or (self.kind in ("status", "html") and not self.committed)

    def reply(self, normal: t.Optional[Reply] = None) -> Reply:
        """Return the answer that the client gets instead of the normal one."""
        if self.kind == "unauthorized":
            error = {"message": "User Not Authenticated", "detail": "Required to provide Auth information"}
            return json_reply(401, {"error": error, "status": "failure"}, {"WWW-Authenticate": 'BASIC realm="Service-now"'})
        if self.kind == "html":
            return html_reply(200, "Service temporarily unavailable", self.body)
        if self.kind == "partial_json":
            begun = (normal.body if normal else b'{"result":[').rstrip(b"]}")
            detail = _OVERRUN + " Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
            end = ',"error":{{"detail":"{}","message":"{}"}},"status":"failure"}}'.format(detail, _OVERRUN)
            return Reply(200, begun + end.encode("utf-8"), JSON)
        if self.body:
            kind = JSON if self.body.lstrip()[:1] in ("{", "[") else HTML
            return Reply(self.status, self.body.encode("utf-8"), kind, dict(self.headers))
        error = {"message": "Injected fault", "detail": ""}
        return json_reply(self.status, {"error": error, "status": "failure"}, self.headers)


class Faults:
    """The orders in force; the first that claims a request strikes."""

    def __init__(self) -> None:
        self.orders: list[Fault] = []

    def add(self, order: t.Mapping[str, t.Any]) -> None:
        self.orders.append(Fault(**order))

    def strike(self, method: str, path: str) -> t.Optional[Fault]:
        return next((order for order in self.orders if order.claims(method, path)), None)

    def listing(self) -> list[dict[str, t.Any]]:
        return [dataclasses.asdict(order) for order in self.orders]
