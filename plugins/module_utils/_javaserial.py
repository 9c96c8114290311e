# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""As much of Java's object serialization as a JCEKS keystore holds: a secret key, sealed, and the key inside the seal.

Grammar: Java Object Serialization Specification, chapter 6. Objects become dictionaries of their fields.
"""

import struct
import typing as t

_MAGIC = b"\xac\xed\x00\x05"
_FIRST_HANDLE = 0x7E0000
_PRIMITIVES = {"B": ">b", "C": ">H", "D": ">d", "F": ">f", "I": ">i", "J": ">q", "S": ">h", "Z": ">?"}
_MAX_DEPTH = 20


class SerialError(ValueError):
    """The bytes are not the serialization of a key."""


class _Class:
    def __init__(self) -> None:
        self.name = ""
        self.flags = 0
        self.fields = []  # type: t.List[t.Tuple[str, str]]
        self.parent = None  # type: t.Optional[_Class]


class ObjectReader:
    """Reads one stream that begins at C(offset); afterwards C(offset) is behind its one object."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self.offset = offset
        self._handles = []  # type: t.List[t.Any]
        self._depth = 0

    def read(self) -> t.Any:
        """Return the first object of the stream."""
        if self._take(4) != _MAGIC:
            raise SerialError("no Java serialization stream")
        return self._content()

    def _take(self, size: int) -> bytes:
        chunk = self._data[self.offset : self.offset + size]
        if size < 0 or len(chunk) != size:
            raise SerialError("the stream ends early")
        self.offset += size
        return chunk

    def _number(self, form: str) -> t.Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _utf(self, form: str = ">H") -> str:
        return decode_utf(self._take(self._number(form)))

    def _keep(self, item: t.Any) -> t.Any:
        self._handles.append(item)
        return item

    def _content(self) -> t.Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SerialError("nested too deeply")
        try:
            tag = self._number(">B")
            reader = _READERS.get(tag)
            if reader is None:
                raise SerialError("unexpected tag 0x{0:02x}".format(tag))
            return reader(self)
        finally:
            self._depth -= 1

    def _null(self) -> None:
        return None

    def _reference(self) -> t.Any:
        index = self._number(">I") - _FIRST_HANDLE
        if not 0 <= index < len(self._handles):
            raise SerialError("a reference leads nowhere")
        return self._handles[index]

    def _string(self) -> str:
        return t.cast(str, self._keep(self._utf()))

    def _long_string(self) -> str:
        return t.cast(str, self._keep(self._utf(">Q")))

    def _class_description(self) -> _Class:
        described = _Class()
        described.name = self._utf()
        self._take(8)  # serialVersionUID
        self._keep(described)
        described.flags = self._number(">B")
        for _unused in range(self._number(">H")):
            kind, name = chr(self._number(">B")), self._utf()
            if kind in "[L":
                self._content()  # the name of the field's type
            elif kind not in _PRIMITIVES:
                raise SerialError("unknown field type")
            described.fields.append((kind, name))
        self._annotation()
        described.parent = self._class()
        return described

    def _class(self) -> t.Optional[_Class]:
        found = self._content()
        if found is not None and not isinstance(found, _Class):
            raise SerialError("a class was expected")
        return found

    def _annotation(self) -> None:
        while True:
            tag = self._data[self.offset : self.offset + 1]
            if tag == b"\x78":  # end of the block data
                self.offset += 1
                return
            if tag == b"\x77":
                self.offset += 1
                self._take(self._number(">B"))
            else:
                self._content()

    def _value(self, kind: str) -> t.Any:
        return self._content() if kind in "[L" else self._number(_PRIMITIVES[kind])

    def _object(self) -> t.Dict[str, t.Any]:
        described = self._class()
        result = {"class": described.name if described else ""}  # type: t.Dict[str, t.Any]
        self._keep(result)
        chain = []  # type: t.List[_Class]
        while described is not None and len(chain) < _MAX_DEPTH:
            chain.append(described)
            described = described.parent
        for level in reversed(chain):  # the topmost parent comes first
            if not level.flags & 2:
                raise SerialError("an externalizable object")
            for kind, name in level.fields:
                result[name] = self._value(kind)
            if level.flags & 1:
                self._annotation()
        return result

    def _array(self) -> t.Any:
        described = self._class()
        kind = described.name[1:2] if described else ""
        index = len(self._handles)
        self._keep(None)
        size = self._number(">i")
        if kind == "B":
            items = self._take(size)  # type: t.Any
        elif kind in _PRIMITIVES or kind in ("[", "L"):
            items = [self._value(kind) for _unused in range(size)]
        else:
            raise SerialError("unknown array type")
        self._handles[index] = items
        return items

    def _enum(self) -> t.Any:
        self._class()
        index = len(self._handles)
        self._keep(None)
        self._handles[index] = self._content()
        return self._handles[index]


_READERS = {
    0x70: ObjectReader._null,
    0x71: ObjectReader._reference,
    0x72: ObjectReader._class_description,
    0x73: ObjectReader._object,
    0x74: ObjectReader._string,
    0x75: ObjectReader._array,
    0x7C: ObjectReader._long_string,
    0x7E: ObjectReader._enum,
}  # type: t.Dict[int, t.Callable[[ObjectReader], t.Any]]


def decode_utf(data: bytes) -> str:
    """Decode Java's modified UTF-8: NUL in two bytes, characters beyond the basic plane as two surrogates."""
    try:
        text = data.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
        return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise SerialError("malformed text") from exc
