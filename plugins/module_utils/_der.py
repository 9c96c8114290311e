# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""A few lines of DER: enough for the wrapping of a key, and for the public key inside an X.509 certificate."""

import typing as t

_ALGORITHMS = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.10045.2.1": "EC",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
}
_CURVE_SIZES = {"1.2.840.10045.3.1.7": 256, "1.3.132.0.34": 384, "1.3.132.0.35": 521, "1.3.132.0.10": 256}
_FIXED_SIZES = {"Ed25519": 255, "Ed448": 448}


class DerError(ValueError):
    """The bytes are not the structure that was expected."""


class Element(t.NamedTuple):
    """One value and where it lies."""

    tag: int
    content: bytes
    whole: bytes
    end: int


def element(data: bytes, offset: int) -> Element:
    """Return the value that begins at C(offset)."""
    header = data[offset : offset + 2]
    if len(header) < 2:
        raise DerError("a DER value ends early")
    tag, size, begin = header[0], header[1], offset + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise DerError("a DER length is malformed")
        size = int.from_bytes(data[begin : begin + count], "big")
        begin += count
    end = begin + size
    if end > len(data):
        raise DerError("a DER value ends early")
    return Element(tag, data[begin:end], data[offset:end], end)


def children(content: bytes) -> t.List[Element]:
    """Return the values inside a constructed value."""
    found, offset = [], 0
    while offset < len(content):
        item = element(content, offset)
        found.append(item)
        offset = item.end
    return found


def sequence(data: bytes, minimum: int) -> t.List[Element]:
    """Return the first C(minimum) members of a SEQUENCE that has at least so many."""
    outer = element(data, 0)
    items = children(outer.content) if outer.tag == 0x30 else []
    if len(items) < minimum:
        raise DerError("a DER sequence was expected")
    return items[:minimum]


def oid(item: Element) -> str:
    """Return an OBJECT IDENTIFIER in dotted form."""
    if item.tag != 0x06 or not item.content:
        raise DerError("a DER object identifier was expected")
    numbers, value = [], 0
    for byte in item.content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in [first, numbers[0] - 40 * first] + numbers[1:])


def public_key(certificate: bytes) -> t.Tuple[str, t.Optional[int]]:
    """Return algorithm and size in bits of the public key in an X.509 certificate."""
    fields = children(element(sequence(certificate, 1)[0].whole, 0).content)
    if fields and fields[0].tag == 0xA0:  # the version
        fields = fields[1:]
    if len(fields) < 6:
        raise DerError("an X.509 certificate was expected")
    algorithm, key = sequence(fields[5].whole, 2)
    kinds = children(algorithm.content)
    name = _ALGORITHMS.get(oid(kinds[0]), oid(kinds[0]))
    if name in ("RSA", "RSASSA-PSS"):
        return name, _bits(sequence(key.content[1:], 2)[0])
    if name == "DSA" and len(kinds) > 1:
        return name, _bits(sequence(kinds[1].whole, 1)[0])
    if name == "EC" and len(kinds) > 1 and kinds[1].tag == 0x06:
        return name, _CURVE_SIZES.get(oid(kinds[1]))
    return name, _FIXED_SIZES.get(name)


def _bits(item: Element) -> int:
    return int.from_bytes(item.content, "big").bit_length()
