# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of encryption rules and configurations: RSA PKCS#1 v1.5, SHA-256, over canonical JSON (the lab's choice)."""

import base64
import binascii
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

RULES = "sys_encryption_rule"
CONFIGURATIONS = "sys_encryption_configuration"
RULE_FIELDS = ("sys_id", "name", "order", "condition", "script", "active")
CONFIGURATION_FIELDS = ("sys_id", "table", "type", "column", "encryption_type", "active")


def _canonical(row, fields):
    return json.dumps({name: _text(row.get(name)) for name in fields}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _text(value):
    if isinstance(value, dict):  # a reference, as the Table API shows it
        value = value.get("value")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def canonical_rule(row):
    return _canonical(row, RULE_FIELDS)


def canonical_configuration(row):
    return _canonical(row, CONFIGURATION_FIELDS)


_CANONICAL = {RULES: canonical_rule, CONFIGURATIONS: canonical_configuration}


def sign(private_key, row, table):
    """Return the signature of C(row), a record of C(table), in base64."""
    return base64.b64encode(private_key.sign(_CANONICAL[table](row), padding.PKCS1v15(), hashes.SHA256())).decode("ascii")


def verify(public_key, row, table, signature):
    """Tell whether C(signature) is that of C(row) under C(public_key)."""
    try:
        public_key.verify(base64.b64decode(signature or "", validate=True), _CANONICAL[table](row), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error):
        return False
    return True
