# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User sessions: cookies, the token of forms, elevation, and one transaction at a time in each.

Sessions live in the memory of the node, as on the platform: a restart or a clone's node repoint ends them all.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import secrets
import typing as t

COOKIE = "JSESSIONID"
_LIMIT = 20000


@dataclasses.dataclass
class Session:
    id: str
    user_id: str
    token: str  # sysparm_ck of forms, X-UserToken of REST
    elevated: bool = False
    announced: bool = False  # the cookie was sent to the client
    turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class Sessions:
    """The sessions of a node, oldest forgotten first."""

    def __init__(self) -> None:
        self._sessions: collections.OrderedDict[str, Session] = collections.OrderedDict()
        self.node = secrets.token_hex(16)

    def get(self, session_id: t.Optional[str]) -> t.Optional[Session]:
        return self._sessions.get(session_id or "")

    def open(self, user_id: str) -> Session:
        session = Session(secrets.token_hex(16).upper(), user_id, secrets.token_hex(36))
        self._sessions[session.id] = session
        if len(self._sessions) > _LIMIT:
            self._sessions.popitem(last=False)
        return session

    def clear(self) -> None:
        self._sessions.clear()
        self.node = secrets.token_hex(16)

    def cookies(self, session: Session) -> list[str]:
        attributes = "; Path=/; Secure; HttpOnly"
        return [
            "{}={}{}".format(COOKIE, session.id, attributes),
            "glide_user_route=glide.{}; Max-Age=2147483647{}".format(self.node, attributes),
            "glide_session_store={}; Max-Age=1800{}".format(session.id[:32], attributes),
        ]
