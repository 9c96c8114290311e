# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The readers under the keystore reader; real keystores are read in tests/integration/proxy_host."""

import contextlib
import datetime
import hashlib
import struct
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.edge_encryption.clone.plugins.module_utils import _der, _des, _javaserial, _jceks
from ansible_collections.edge_encryption.clone.plugins.module_utils._jceks import KeystoreError


@given(
    key=st.binary(min_size=24, max_size=24),
    vector=st.binary(min_size=8, max_size=8),
    blocks=st.lists(st.binary(min_size=8, max_size=8), max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_triple_des_as_openssl_does_it(key, vector, blocks):
    data = b"".join(blocks)
    decryptor = Cipher(TripleDES(key), modes.CBC(vector)).decryptor()
    assert _des.decrypt_cbc(key, vector, data) == decryptor.update(data) + decryptor.finalize()


def certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, algorithm)
    return signed.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "key, expected",
    [
        (rsa.generate_private_key(65537, 1024), ("RSA", 1024)),
        (ec.generate_private_key(ec.SECP384R1()), ("EC", 384)),
        (ec.generate_private_key(ec.BrainpoolP256R1()), ("EC", None)),
        (dsa.generate_private_key(1024), ("DSA", 1024)),
        (ed25519.Ed25519PrivateKey.generate(), ("Ed25519", 255)),
    ],
    ids=["rsa", "ec", "brainpool", "dsa", "ed25519"],
)
def test_public_keys(key, expected):
    assert _der.public_key(certificate(key)) == expected


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x80", b"\x30\x85\x01", b"\x30\x05\x02", b"\x04\x00", b"\x30\x02\x02\x00"])
def test_malformed_der(data):
    with pytest.raises(_der.DerError):
        _der.public_key(data)


def utf(text):
    return struct.pack(">H", len(text)) + text


def serial(*parts):
    return b"\xac\xed\x00\x05" + b"".join(parts)


DESCRIPTION = (
    b"\x72"
    + utf(b"A")
    + b"\0" * 8
    + b"\x02"
    + struct.pack(">H", 2)
    + b"I"
    + utf(b"n")
    + b"L"
    + utf(b"s")
    + b"\x74"
    + utf(b"LS;")
    + b"\x78\x70"
)


def test_serialized_object():
    reader = _javaserial.ObjectReader(b"xx" + serial(b"\x73", DESCRIPTION, struct.pack(">i", 7), b"\x74", utf(b"hi"), b"rest"), 2)
    assert reader.read() == {"class": "A", "n": 7, "s": "hi"}
    assert reader._data[reader.offset :] == b"rest"


def test_serialized_reference_and_null():
    # The handles: 0 the class, 1 the string "LS;", 2 the object.
    text = serial(b"\x73", DESCRIPTION, struct.pack(">i", 7), b"\x71\x00\x7e\x00\x01")
    assert _javaserial.ObjectReader(text).read()["s"] == "LS;"
    assert _javaserial.ObjectReader(serial(b"\x70")).read() is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xac\xed\x00\x04\x70",
        serial(b""),
        serial(b"\x01"),
        serial(b"\x71\x00\x7e\x00\x00"),
        serial(b"\x73" * 5000),
        serial(b"\x74\xff\xff"),
        serial(b"\x75", b"\x72" + utf(b"[B") + b"\0" * 8 + b"\x02\0\0\x78\x70", b"\xff\xff\xff\xff"),
    ],
)
def test_malformed_serialization(data):
    with pytest.raises(_javaserial.SerialError):
        _javaserial.ObjectReader(data).read()


def test_modified_utf8():
    assert _javaserial.decode_utf(b"a\xc0\x80\xed\xa0\xbd\xed\xb8\x80") == "a\0😀"
    with pytest.raises(_javaserial.SerialError):
        _javaserial.decode_utf(b"\xff")


def store(body, password="changeme"):
    return body + hashlib.sha1(password.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def head(count, version=2):
    return struct.pack(">III", 0xCECECECE, version, count)


def certificate_entry(alias, der):
    return struct.pack(">I", 2) + utf(alias) + struct.pack(">q", 1767323045000) + utf(b"X.509") + struct.pack(">I", len(der)) + der


PBE = bytes.fromhex("06092b060104012a021301")
JKS = bytes.fromhex("060a2b060104012a02110101")


def private_entry(count, oid=PBE):
    parameters = b"\x30" + bytes([10 + 6]) + b"\x04\x08" + b"12345678" + b"\x02\x04" + struct.pack(">I", count)
    algorithm = b"\x30" + bytes([len(oid) + len(parameters)]) + oid + parameters
    info = algorithm + b"\x04\x08" + b"encrypte"
    protected = b"\x30" + bytes([len(info)]) + info
    return struct.pack(">I", 1) + utf(b"key") + struct.pack(">q", 0) + struct.pack(">I", len(protected)) + protected + struct.pack(">I", 0)


def test_certificate_entry():
    der = certificate(ec.generate_private_key(ec.SECP256R1()))
    entry = _jceks.parse(store(head(1) + certificate_entry(b"servicenow", der)), "changeme", "f")["servicenow"]
    assert entry[:6] == ("servicenow", "trusted_certificate", "EC", 256, hashlib.sha256(der).hexdigest(), "2026-01-02T03:04:05Z")
    assert entry.key_password_matches is None and entry.identity


def test_wrong_key_password_is_no_error():
    entry = _jceks.parse(store(head(1) + private_entry(1)), "changeme", "f")["key"]
    assert entry.key_password_matches is False and entry.identity is None


def test_too_many_iterations_are_refused_at_once():
    with pytest.raises(KeystoreError, match="asks for 5000001 iterations"):
        _jceks.parse(store(head(1) + private_entry(5000001)), "changeme", "f")


def test_entries_that_are_not_wanted_cost_nothing():
    assert _jceks.parse(store(head(1) + private_entry(2**30)), "changeme", "f", ["other"]) == {}


@pytest.mark.parametrize("fips", [False, True], ids=["openssl", "openssl in FIPS mode"])
def test_every_md5_opens_the_same_key(fips, monkeypatch):
    expected = _jceks._derive(b"12345678", 3, "changeme", "f")
    monkeypatch.setitem(sys.modules, "_md5", None)
    openssl = hashlib.md5

    def md5(data, usedforsecurity=True):
        if fips and usedforsecurity:
            raise ValueError("disabled for FIPS")
        return openssl(data)

    monkeypatch.setattr(hashlib, "md5", md5)
    assert _jceks._derive(b"12345678", 3, "changeme", "f") == expected


def test_unknown_protection_is_named():
    with pytest.raises(KeystoreError, match=r"unknown algorithm \(1\.3\.6\.1\.4\.1\.42\.2\.17\.1\.1\)"):
        _jceks.parse(store(head(1) + private_entry(1, JKS)), "changeme", "f")


def test_wrong_store_password():
    with pytest.raises(KeystoreError, match="password does not fit"):
        _jceks.parse(store(head(0)), "other", "f")


def test_password_beyond_ascii_is_told():
    with pytest.raises(KeystoreError, match="ASCII passwords only"):
        _jceks.parse(store(head(1) + private_entry(1), "gehöim"), "gehöim", "f")


@pytest.mark.parametrize(
    "data, text",
    [(b"\xfe\xed\xfe\xed" + b"\0" * 40, "type JKS"), (b"0\x82" + b"\0" * 40, "type PKCS12"), (b"", "no JCEKS"), (b"x" * 99, "no JCEKS")],
)
def test_other_files(data, text):
    with pytest.raises(KeystoreError, match=text):
        _jceks.parse(data, "changeme", "f")


@pytest.mark.parametrize(
    "body",
    [
        head(1),
        head(2**31),
        head(1, 3),
        head(0) + b"x",
        head(1) + struct.pack(">I", 9) + utf(b"a") + b"\0" * 8,
        head(1) + certificate_entry(b"a", b"no DER"),
    ],
)
def test_damaged_files(body):
    with pytest.raises(KeystoreError, match="damaged"):
        _jceks.parse(store(body), "changeme", "f")


@given(noise=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_noise_never_escapes_as_another_error(noise):
    with contextlib.suppress(KeystoreError):
        _jceks.parse(store(head(1) + struct.pack(">I", 3) + utf(b"a") + b"\0" * 8 + serial(noise)), "changeme", "f")


def test_base64():
    assert _jceks.from_base64("enp6\n", "c") == b"zzz"
    with pytest.raises(KeystoreError, match="not base64"):
        _jceks.from_base64("ä", "c")
