# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cipher text: how a clear value becomes what the instance stores, and back."""

import base64
import os
import re

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ATTACHMENT_MAGIC = b"EDGEATT1"
LOST_ORDER_TOKEN = "0" * 16  # what an order-preserving value carries that was written while the database was down
CIPHER_TEXT = re.compile(r"edge:(?:(?P<kind>[se])|o:(?P<order>[0-9a-f]{16})):(?P<alias>[A-Za-z0-9._-]+):(?P<data>[A-Za-z0-9_-]+={0,2})")


class MissingKey(Exception):
    """The key that a value needs, or the default key of a size, is not on this proxy."""


def _encrypt(key, iv, data):
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


def _decrypt(key, iv, data):
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()


class Ciphers:
    """Encrypts with the default key of a size, decrypts with whichever key a value names."""

    def __init__(self, keys, static_iv):
        self.keys = keys
        self.static_iv = static_iv
        self.defaults = {}  # size as a string -> alias; told by the instance

    def default_key(self, size):
        key = self.keys.get(self.defaults.get(str(size), ""))
        if key is None:
            raise MissingKey(f"No default AES-{size} key on this proxy")
        return key

    def standard(self, text, size):
        key, iv = self.default_key(size), os.urandom(16)
        return f"edge:s:{key.alias}:{_b64(iv + _encrypt(key.value, iv, text.encode()))}"

    def equality(self, text, size):
        key = self.default_key(size)
        return f"edge:e:{key.alias}:{_b64(self._deterministic(key, text))}"

    def order_preserving(self, text, size, order_token):
        key = self.default_key(size)
        return f"edge:o:{order_token}:{key.alias}:{_b64(self._deterministic(key, text))}"

    def deterministic(self, text, size):
        """The cipher text by which the token database knows a clear value."""
        key = self.default_key(size)
        return key.alias.encode() + b":" + self._deterministic(key, text)

    def open_deterministic(self, stored):
        alias, _colon, data = bytes(stored).partition(b":")
        key = self.keys.get(alias.decode())
        if key is None:
            raise MissingKey(f"Encryption key '{alias.decode()}' is not on this proxy")
        return _decrypt(key.value, self.static_iv, data).decode()

    @staticmethod
    def known_check(key, known_cleartext, static_iv):
        """The known clear text under one key: lets the instance see that every proxy holds the same key."""
        return _b64(_encrypt(key.value, static_iv, known_cleartext.encode()))

    def _deterministic(self, key, text):
        return _encrypt(key.value, self.static_iv, text.encode())

    def attachment(self, data, size):
        key, iv = self.default_key(size), os.urandom(16)
        return ATTACHMENT_MAGIC + bytes([len(key.alias)]) + key.alias.encode() + iv + _encrypt(key.value, iv, data)

    def open_attachment(self, data):
        """Return the clear bytes, or the bytes as they are when this proxy cannot read them."""
        if not data.startswith(ATTACHMENT_MAGIC):
            return data
        start = len(ATTACHMENT_MAGIC) + 1
        end = start + data[start - 1]
        key = self.keys.get(data[start:end].decode("utf-8", "replace"))
        if key is None:
            return data
        try:
            return _decrypt(key.value, data[end : end + 16], data[end + 16 :])
        except ValueError:  # another key under the same alias
            return data

    def rotated(self, text):
        """Return cipher text under the default key of the same size. The order token of an order-preserving value is not looked at here.

        Raises:
            MissingKey: the key of the value, or the default key, is not on this proxy.
            ValueError: the value cannot be decrypted.
        """
        match = CIPHER_TEXT.fullmatch(text)
        if match is None:
            raise ValueError("not a cipher text")
        key = self._key(match["alias"])
        clear = self.open(match)
        if clear == text:
            raise ValueError(f"cannot be decrypted with the key '{key.alias}'")
        if match["kind"] == "s":
            return self.standard(clear, key.size)
        if match["kind"] == "e":
            return self.equality(clear, key.size)
        return self.order_preserving(clear, key.size, match["order"])

    def rotated_deterministic(self, stored):
        """The same for a cipher text of the token database."""
        alias = bytes(stored).partition(b":")[0].decode()
        return self.deterministic(self.open_deterministic(stored), self._key(alias).size)

    def rotated_attachment(self, data):
        start = len(ATTACHMENT_MAGIC) + 1
        key = self._key(data[start : start + data[start - 1]].decode("utf-8", "replace"))
        clear = self.open_attachment(data)
        if clear is data:
            raise ValueError(f"cannot be decrypted with the key '{key.alias}'")
        return self.attachment(clear, key.size)

    def _key(self, alias):
        if alias not in self.keys:
            raise MissingKey(f"Encryption key '{alias}' is not on this proxy")
        return self.keys[alias]

    def open(self, match):
        """Return the clear text of one match of CIPHER_TEXT, or its cipher text when this proxy cannot read it."""
        key = self.keys.get(match["alias"])
        if key is None:
            return match[0]
        try:
            data = base64.urlsafe_b64decode(match["data"] + "=" * (-len(match["data"]) % 4))
            if match["kind"] == "s":
                return _decrypt(key.value, data[:16], data[16:]).decode()
            return _decrypt(key.value, self.static_iv, data).decode()
        except ValueError:  # another key under the same alias, another static IV, damaged text
            return match[0]


def _b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
