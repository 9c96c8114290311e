# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Reads keystores of the type JCEKS, to compare their entries by fingerprint.

keytool prints fingerprints of certificates but none of secret keys, and the encryption keys of a proxy are secret keys.
Layout and algorithms as in com.sun.crypto.provider.JceKeyStore, KeyProtector and PBES1Core of OpenJDK. Key material is
digested and dropped; it never leaves this file.
"""

import binascii
import collections
import contextlib
import hashlib
import hmac
import struct
import time
import typing as t

from . import _der, _des, _javaserial
from ._errors import EdgeError

# OpenJDK refuses more as well (KeyProtector.MAX_ITERATION_COUNT); 5,000,000 take some seconds here.
MAX_ITERATIONS = 5000000

_MAGIC = 0xCECECECE
_OTHER_TYPES = ((b"\xfe\xed\xfe\xed", "JKS"), (b"\x30", "PKCS12"))
_WHITENER = b"Mighty Aphrodite"
_PRIVATE_KEY, _CERTIFICATE, _SECRET_KEY = 1, 2, 3
_PBE_OID = "1.3.6.1.4.1.42.2.19.1"  # PBEWithMD5AndTripleDES
_MAX_ENTRIES = 100000


class KeystoreError(EdgeError):
    """A keystore that cannot be read or does not hold what was asked for."""


class Entry(t.NamedTuple):
    """What may be known about one entry."""

    alias: str
    type: str  # secret_key, private_key or trusted_certificate
    algorithm: t.Optional[str]
    size: t.Optional[int]
    # Of a secret key: of its raw bytes. Of a private key or certificate: of the (first) certificate's DER, as keytool prints it.
    fingerprint: t.Optional[str]
    created: str
    key_password_matches: t.Optional[bool]
    # Digest of everything that makes the entry, private keys included; None when the key cannot be opened.
    identity: t.Optional[str]


class Stored(t.NamedTuple):
    """One entry as the file holds it."""

    alias: str
    kind: int
    created: int
    protected: t.Any  # the key as it is stored
    chain: t.Tuple[bytes, ...]


class _WrongPassword(Exception):
    pass


def parse(data: bytes, password: str, path: str, aliases: t.Optional[t.Collection[str]] = None) -> t.Dict[str, Entry]:
    """Return the entries of a keystore by alias; only those of C(aliases) when given (absent ones are left out)."""
    stored = read_stored(data, password, path)
    wanted = None if aliases is None else {normalize(alias) for alias in aliases}
    with _damage(path):
        return collections.OrderedDict(
            (alias, _describe(item, password, path)) for alias, item in stored.items() if wanted is None or alias in wanted
        )


def read_stored(data: bytes, password: str, path: str) -> t.Dict[str, Stored]:
    """Return the entries as they are stored, keys still protected; equal ones are equal."""
    _check_type(data, path)
    body, digest = data[:-20], data[-20:]
    if not hmac.compare_digest(hashlib.sha1(password.encode("utf-16-be") + _WHITENER + body).digest(), digest):
        raise KeystoreError(path, "the keystore password does not fit, or the file is damaged.", "Give the password of this keystore.")
    with _damage(path):
        return collections.OrderedDict((item.alias, item) for item in _walk(body))


@contextlib.contextmanager
def _damage(path: str) -> t.Iterator[None]:
    try:
        yield
    except (struct.error, _javaserial.SerialError, _der.DerError) as exc:
        raise KeystoreError(path, "the keystore is damaged: {0}.".format(exc)) from exc


def normalize(alias: str) -> str:
    """Return the alias as Java stores it in a JCEKS keystore."""
    return alias.lower()


def _check_type(data: bytes, path: str) -> None:
    if len(data) >= 32 and struct.unpack(">I", data[:4])[0] == _MAGIC:
        return
    found = [name for magic, name in _OTHER_TYPES if data.startswith(magic)]
    raise KeystoreError(
        path,
        "this is a keystore of the type {0}, not JCEKS.".format(found[0]) if found else "this is no JCEKS keystore.",
        "The proxy documents JCEKS keystores only; convert it with keytool -importkeystore -deststoretype jceks.",
    )


def _walk(body: bytes) -> t.List[Stored]:
    reader = _Reader(body)
    reader.number(">I")
    version, count = reader.number(">I"), reader.number(">I")
    if version not in (1, 2) or count > _MAX_ENTRIES:
        raise struct.error("unknown version {0} or {1} entries".format(version, count))
    entries = []
    for _unused in range(count):
        kind, alias, created = reader.number(">I"), reader.text(), reader.number(">q")
        protected, chain = None, []  # type: t.Any, t.List[bytes]
        if kind == _PRIVATE_KEY:
            protected = reader.block()
            chain = [reader.certificate(version) for _one in range(reader.number(">I"))]
        elif kind == _CERTIFICATE:
            chain = [reader.certificate(version)]
        elif kind == _SECRET_KEY:
            objects = _javaserial.ObjectReader(body, reader.offset)
            protected = objects.read()
            reader.offset = objects.offset
        else:
            raise struct.error("an entry of the unknown kind {0}".format(kind))
        entries.append(Stored(alias, kind, created, protected, tuple(chain)))
    if reader.offset != len(body):
        raise struct.error("there are bytes behind the last entry")
    return entries


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        self.offset += size
        return t.cast(int, struct.unpack(form, self._data[self.offset - size : self.offset])[0])

    def take(self, size: int) -> bytes:
        self.offset += size
        if self.offset > len(self._data):
            raise struct.error("the file ends early")
        return self._data[self.offset - size : self.offset]

    def block(self) -> bytes:
        return self.take(self.number(">I"))

    def text(self) -> str:
        return _javaserial.decode_utf(self.take(self.number(">H")))

    def certificate(self, version: int) -> bytes:
        if version == 2:
            self.text()  # "X.509"
        return self.block()


def _describe(raw: Stored, password: str, path: str) -> Entry:
    name = "{0}, entry {1}".format(path, raw.alias)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(raw.created // 1000))
    if raw.kind == _SECRET_KEY:
        return _describe_secret(raw, password, name, created)
    algorithm, size = _der.public_key(raw.chain[0]) if raw.chain else (None, None)
    fingerprint = hashlib.sha256(raw.chain[0]).hexdigest() if raw.chain else None
    if raw.kind == _CERTIFICATE:
        return Entry(raw.alias, "trusted_certificate", algorithm, size, fingerprint, created, None, _digest(b"certificate", *raw.chain))
    try:
        key = _open_private(raw.protected, password, name)
    except _WrongPassword:
        return Entry(raw.alias, "private_key", algorithm, size, fingerprint, created, False, None)
    return Entry(raw.alias, "private_key", algorithm, size, fingerprint, created, True, _digest(b"private", key, *raw.chain))


def _describe_secret(raw: Stored, password: str, name: str, created: str) -> Entry:
    try:
        algorithm, key = _open_secret(raw.protected, password, name)
    except _WrongPassword:
        return Entry(raw.alias, "secret_key", None, None, None, created, False, None)
    fingerprint = hashlib.sha256(key).hexdigest()
    identity = _digest(b"secret", algorithm.encode("utf-8"), key)
    return Entry(raw.alias, "secret_key", algorithm, len(key) * 8, fingerprint, created, True, identity)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(struct.pack(">I", len(part)) + part)
    return digest.hexdigest()


def _open_private(protected: bytes, password: str, name: str) -> bytes:
    """Return the PKCS #8 encoding out of an EncryptedPrivateKeyInfo."""
    algorithm, encrypted = _der.sequence(protected, 2)
    oid, parameters = _der.sequence(algorithm.whole, 2)
    if _der.oid(oid) != _PBE_OID:
        raise KeystoreError(name, "its key is protected with an unknown algorithm ({0}).".format(_der.oid(oid)))
    key = _decrypt(encrypted.content, parameters.whole, password, name)
    try:
        if _der.element(key, 0).end != len(key):
            raise _WrongPassword()
        _der.sequence(key, 3)
    except _der.DerError:
        raise _WrongPassword() from None
    return key


def _open_secret(sealed: t.Any, password: str, name: str) -> t.Tuple[str, bytes]:
    """Return algorithm and raw bytes out of a javax.crypto.SealedObject."""
    try:
        sealing, parameters, encrypted = sealed["sealAlg"], sealed["encodedParams"], sealed["encryptedContent"]
    except (TypeError, KeyError):
        raise _javaserial.SerialError("a secret key is not sealed") from None
    if sealing != "PBEWithMD5AndTripleDES":
        raise KeystoreError(name, "its key is sealed with an unknown algorithm ({0}).".format(sealing))
    clear = _decrypt(encrypted, parameters, password, name)
    try:
        key = _javaserial.ObjectReader(clear).read()
    except _javaserial.SerialError:
        raise _WrongPassword() from None
    # javax.crypto.spec.SecretKeySpec, or java.security.KeyRep for keys of some other classes.
    raw = key.get("key", key.get("encoded")) if isinstance(key, dict) else None
    if not isinstance(raw, bytes) or not isinstance(key.get("algorithm"), str):
        raise KeystoreError(name, "its key is of an unknown class.")
    return key["algorithm"], raw


def _decrypt(encrypted: bytes, parameters: bytes, password: str, name: str) -> bytes:
    """PBEWithMD5AndTripleDES as Sun defined it, with PKCS #5 padding."""
    salt_item, count_item = _der.sequence(parameters, 2)
    salt, count = salt_item.content, int.from_bytes(count_item.content, "big")
    if count > MAX_ITERATIONS:
        raise KeystoreError(name, "its key asks for {0} iterations; more than {1} are refused.".format(count, MAX_ITERATIONS))
    if len(salt) != 8 or count < 1 or not encrypted or len(encrypted) % 8:
        raise KeystoreError(name, "its key is damaged.")
    secret = _derive(salt, count, password, name)
    clear = _des.decrypt_cbc(secret[:24], secret[24:], encrypted)
    padding = clear[-1]
    if not 1 <= padding <= 8 or clear[-padding:] != bytes([padding]) * padding:
        raise _WrongPassword()
    return clear[:-padding]


def _derive(salt: bytes, count: int, password: str, name: str) -> bytes:
    if any(not " " <= char <= "~" for char in password):
        raise KeystoreError(name, "Java protects keys with ASCII passwords only.", "Change the keystore password.")
    secret = password.encode("ascii")
    if salt[:4] == salt[4:]:
        # Equal halves would make equal keys, so Sun meant to reverse the first one; its code does this instead.
        salt = bytes([salt[3], salt[0], salt[1], salt[3]]) + salt[4:]
    md5 = _md5()
    out = b""
    for half in (salt[:4], salt[4:]):
        for _unused in range(count):
            half = md5(half + secret).digest()
        out += half
    return out


def _md5() -> t.Callable[[bytes], t.Any]:
    """Return the fastest MD5 there is: a key takes 400,000 of them."""
    with contextlib.suppress(ImportError):  # Red Hat builds Python without it
        from _md5 import md5  # Python's own, for inputs this short three times as fast as OpenSSL's

        return t.cast(t.Callable[[bytes], t.Any], md5)
    try:
        hashlib.md5(b"")
        return hashlib.md5
    except ValueError:  # FIPS mode allows it only for other uses than security, such as reading an old format
        return lambda data: hashlib.md5(data, usedforsecurity=False)


def from_base64(content: str, name: str) -> bytes:
    """Return the bytes of a keystore that came as base64."""
    try:
        return binascii.a2b_base64(content.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        raise KeystoreError(name, "this is not base64.") from None
