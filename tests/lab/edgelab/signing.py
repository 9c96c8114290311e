# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of encryption rules and configurations, in the lab's canonical form.

A signature is base64(RSA PKCS#1 v1.5 with SHA-256) over canonical JSON (sorted keys, no blanks, UTF-8) of the signed
fields, every value the string that the instance stores. Customer records are signed with the customer's key, records of
the base system (``sys_created_by`` is ``glide.maint``) with ServiceNow's.
"""

from __future__ import annotations

import base64
import binascii
import json
import typing as t

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SIGNED_FIELDS = {
    "sys_encryption_rule": ("sys_id", "name", "order", "condition", "script", "active"),
    "sys_encryption_configuration": ("sys_id", "table", "type", "column", "encryption_type", "active"),
}
BASE_SYSTEM_USER = "glide.maint"


def canonical(table: str, row: t.Mapping[str, str]) -> bytes:
    """Return the bytes that are signed for a row of one of the signed tables."""
    fields = {name: str(row.get(name, "")) for name in SIGNED_FIELDS[table]}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def sign(key: rsa.RSAPrivateKey, table: str, row: t.Mapping[str, str]) -> str:
    return base64.b64encode(key.sign(canonical(table, row), padding.PKCS1v15(), hashes.SHA256())).decode("ascii")


def verify(key: rsa.RSAPublicKey, table: str, row: t.Mapping[str, str], signature: t.Optional[str] = None) -> bool:
    """Tell whether the signature (by default the row's own) fits the row and the key."""
    try:
        raw = base64.b64decode(row.get("signature", "") if signature is None else signature, validate=True)
        key.verify(raw, canonical(table, row), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error):
        return False
    return True


def is_base(row: t.Mapping[str, str]) -> bool:
    """Tell whether ServiceNow ships the row, and so signs it."""
    return row.get("sys_created_by") == BASE_SYSTEM_USER


def sign_rows(
    rows_by_table: t.Mapping[str, t.Iterable[t.Mapping[str, str]]], customer_key: rsa.RSAPrivateKey, servicenow_key: rsa.RSAPrivateKey
) -> dict[str, str]:
    """Return {sys_id: signature} for every row of the signed tables: what the seed takes as ``signatures``."""
    return {
        row["sys_id"]: sign(servicenow_key if is_base(row) else customer_key, table, row)
        for table in SIGNED_FIELDS
        for row in rows_by_table.get(table, ())
    }


def generate_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def private_key_to_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def private_key_from_pem(data: bytes) -> rsa.RSAPrivateKey:
    return t.cast(rsa.RSAPrivateKey, serialization.load_pem_private_key(data, password=None))


def public_key_to_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key_from_pem(data: bytes) -> rsa.RSAPublicKey:
    return t.cast(rsa.RSAPublicKey, serialization.load_pem_public_key(data))
