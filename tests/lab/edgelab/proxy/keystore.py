# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of a proxy: its JCEKS keystores and its file store."""

import hashlib
from dataclasses import dataclass

import jks
from cryptography import x509
from cryptography.hazmat.primitives import serialization

SERVICENOW = "servicenow"


class KeystoreError(Exception):
    """A keystore or a key in it cannot be used; the text is what the log says."""


def open_keystore(path, password):
    try:
        store = jks.KeyStore.load(str(path), password, try_decrypt_keys=False)
    except FileNotFoundError:
        raise KeystoreError(f"java.io.FileNotFoundException: {path} (No such file or directory)") from None
    except jks.util.KeystoreSignatureException:
        raise KeystoreError(f"java.io.IOException: Keystore was tampered with, or password was incorrect: {path}") from None
    except jks.util.KeystoreException as error:
        raise KeystoreError(f"java.io.IOException: Invalid keystore format: {path}: {error}") from None
    return store


def _unlock(store, alias, password):
    """Open one entry. The proxy knows only the store's password: a key with another one breaks it (KB0623738)."""
    entry = store.entries[alias]
    try:
        entry.decrypt(password)
    except jks.util.DecryptionFailureException:
        raise KeystoreError(f"java.security.UnrecoverableKeyException: Given final block not properly padded (alias '{alias}')") from None
    return entry


def private_key(path, password, alias):
    """Return the key pair C(alias): its private key and its certificate."""
    store = open_keystore(path, password)
    if alias not in store.private_keys:
        raise KeystoreError(f"Key alias '{alias}' was not found in keystore {path}")
    entry = _unlock(store, alias, password)
    key = serialization.load_der_private_key(entry.pkey_pkcs8, None)
    return key, [x509.load_der_x509_certificate(der) for _kind, der in entry.cert_chain]


def trusted_key(path, password, alias=SERVICENOW):
    """Return the public key of the trusted certificate C(alias)."""
    store = open_keystore(path, password)
    if alias not in store.certs:
        raise KeystoreError(f"Certificate alias '{alias}' was not found in keystore {path}")
    return x509.load_der_x509_certificate(store.certs[alias].cert).public_key()


def fingerprint(public_key):
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


@dataclass
class AesKey:
    alias: str
    value: bytes
    type: str  # File | Keystore

    @property
    def size(self):
        return len(self.value) * 8


def aes_keys(keystore_path, keystore_password, directory):
    """Return every AES key by alias; a key of the file store wins over one of the keystore."""
    keys = {}
    if keystore_path is not None:
        store = open_keystore(keystore_path, keystore_password)
        for alias in store.secret_keys:
            keys[alias] = AesKey(alias, bytes(_unlock(store, alias, keystore_password).key), "Keystore")
        for alias in store.private_keys:
            _unlock(store, alias, keystore_password)
    if directory is not None:
        if not directory.is_dir():
            raise KeystoreError(f"Key file directory {directory} does not exist")
        for file in sorted(directory.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                keys[file.name] = AesKey(file.name, file.read_bytes(), "File")
    for key in keys.values():
        if len(key.value) not in (16, 32):
            raise KeystoreError(f"Encryption key '{key.alias}' must be exactly 16 or 32 bytes long")
    return keys
