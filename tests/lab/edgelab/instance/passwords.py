# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One-way passwords of ``sys_user``: salted PBKDF2, few rounds because the lab logs in a lot."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets

_ROUNDS = 1000


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(12)
    return "pbkdf2${}${}".format(base64.b64encode(salt).decode(), base64.b64encode(_derive(password, salt)).decode())


@functools.lru_cache(maxsize=1024)
def check_password(password: str, stored: str) -> bool:
    parts = stored.split("$")
    if len(parts) != 3 or parts[0] != "pbkdf2":
        return False
    return hmac.compare_digest(_derive(password, base64.b64decode(parts[1])), base64.b64decode(parts[2]))


def _derive(password: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode("utf-8"), salt, _ROUNDS)
