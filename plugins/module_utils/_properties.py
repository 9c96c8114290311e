# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The grammar of java.util.Properties, and edits that leave every other byte alone.

The reader follows java.util.Properties.load of Java 17 state by state, so that what this code takes for a property is what
the proxy takes for one. All structure is ASCII; a file in UTF-8 therefore parses as Latin-1 without loss.
"""

import collections
import hashlib
import hmac
import re
import typing as t

from ._errors import EdgeError

MASK = "********"
# What must not be shown. known.cleartext and static.iv are inputs of the encryption; the others speak for themselves.
SECRET_NAMES = ("password", "passphrase", "secret", r"static\.iv", r"known\.cleartext")
ENCODINGS = ("iso-8859-1", "utf-8")

_BLANK = " \t\f"
_EOL = "\r\n"
_SIMPLE_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f", "\\": "\\\\"}
# A default that ships switched off: "# key = value". Only "=" counts, because ":" is common in prose.
_COMMENTED = re.compile(r"(?P<indent>[ \t\f]*)[#!]+[ \t\f]*(?P<key>(?:[^\s\\=:#!]|\\.)+)(?P<separator>[ \t\f]*=[ \t\f]*)(?P<value>.*)\Z")


class PropertiesError(EdgeError):
    """A properties file that Java itself would refuse, or an edit that it cannot hold."""


class Entry(t.NamedTuple):
    """One property as it lies in the text; all numbers are offsets."""

    name: str
    value: str
    start: int  # of the first natural line
    separator: str
    value_start: int
    value_end: int
    end: int  # behind the line terminator


class Comment(t.NamedTuple):
    """A comment that reads like a property which is switched off."""

    name: str
    start: int
    end: int  # before the line terminator
    indent: str
    key: str  # as written, escapes included
    separator: str


class SecretNames:
    """Tells which properties must be masked."""

    def __init__(self, patterns: t.Sequence[str] = ()) -> None:
        try:
            self._pattern = re.compile("|".join("(?:{0})".format(item) for item in SECRET_NAMES + tuple(patterns)), re.IGNORECASE)
        except re.error as exc:
            raise PropertiesError("secret_names", "not a regular expression: {0}.".format(exc)) from exc

    def __contains__(self, name: str) -> bool:
        return bool(self._pattern.search(name))

    def mask(self, name: str, value: t.Optional[str]) -> t.Optional[str]:
        """Return the value, or the mask when there is something to hide."""
        return MASK if value and name in self else value

    def clean(self, values: t.Mapping[str, str], text: str) -> str:
        """Return a text in which the values that must be masked are masked."""
        for name, value in values.items():
            if value and name in self:
                text = text.replace(value, MASK)
        return text


class Properties:
    """The content of one properties file."""

    def __init__(self, data: bytes, path: str, encoding: str = "iso-8859-1") -> None:
        self.path = path
        self._encoding = encoding
        try:
            self._text = data.decode(encoding)
        except UnicodeDecodeError as exc:
            raise PropertiesError(
                path, "byte {0} is not valid {1}.".format(exc.start, encoding), "Correct the file or the option encoding."
            ) from exc
        self._parse()

    def to_bytes(self) -> bytes:
        """Return the file as it would be written."""
        return self._text.encode(self._encoding)

    def reread(self, data: bytes) -> "Properties":
        """Return the properties of another content of the same file."""
        return Properties(data, self.path, self._encoding)

    def values(self) -> t.Dict[str, str]:
        """Return what Java would load: the last of several entries with one name wins."""
        return collections.OrderedDict((entry.name, entry.value) for entry in self._entries)

    def duplicates(self) -> t.List[str]:
        """Return the names that occur more than once."""
        counts = collections.Counter(entry.name for entry in self._entries)
        return [name for name in self.values() if counts[name] > 1]

    def set(self, name: str, value: str, uncomment: bool) -> bool:
        """Give a property a value and return whether that changed the text."""
        if not name:
            raise PropertiesError(self.path, "a property needs a name.")
        entry = self._effective(name)
        if entry is None:
            self._add(name, value, self._comment(name) if uncomment else None)
        elif entry.value != value:
            separator = entry.separator
            if not separator:
                separator = self._usual_separator()
                text = separator + _escape_value(value, separator)
            else:
                text = _escape_value(value, separator)
            self._replace(entry.value_start, entry.value_end, text)
        else:
            return False
        return True

    def remove(self, name: str) -> bool:
        """Remove every entry of this name (else an earlier one would come into effect); return whether there was one."""
        entries = [entry for entry in self._entries if entry.name == name]
        for entry in reversed(entries):
            self._text = self._text[: entry.start] + self._text[entry.end :]
        if entries:
            self._parse()
        return bool(entries)

    def _effective(self, name: str) -> t.Optional[Entry]:
        found = None
        for entry in self._entries:
            if entry.name == name:
                found = entry
        return found

    def _comment(self, name: str) -> t.Optional[Comment]:
        found = None
        for comment in self._comments:
            if comment.name == name:
                found = comment
        return found

    def _add(self, name: str, value: str, comment: t.Optional[Comment]) -> None:
        if comment is not None:
            line = comment.indent + comment.key + comment.separator + _escape_value(value, comment.separator)
            self._replace(comment.start, comment.end, line)
            return
        separator = self._usual_separator()
        line = _escape_key(name) + separator + _escape_value(value, separator)
        eol = self._usual_eol()
        if self._dangling is not None:
            # The last line waits for its continuation: whatever followed would become a part of it.
            self._replace(self._dangling, self._dangling, line + eol)
        elif self._text and self._text[-1] not in _EOL:
            self._replace(len(self._text), len(self._text), eol + line)
        else:
            self._replace(len(self._text), len(self._text), line + eol)

    def _usual_separator(self) -> str:
        counts = collections.Counter(
            item.separator for item in t.cast(t.List[t.Any], self._entries) + self._comments if item.separator.strip(_BLANK)
        )
        return max(counts, key=counts.__getitem__) if counts else " = "

    def _usual_eol(self) -> str:
        found = re.search(r"\r\n|\r|\n", self._text)
        return found.group() if found else "\n"

    def _replace(self, start: int, end: int, text: str) -> None:
        self._text = self._text[:start] + text + self._text[end:]
        self._parse()

    def _parse(self) -> None:
        """Walk the text as the line reader of java.util.Properties does."""
        self._entries = []  # type: t.List[Entry]
        self._comments = []  # type: t.List[Comment]
        self._dangling = None  # type: t.Optional[int]
        text, size = self._text, len(self._text)
        position = 0
        chars = []  # type: t.List[int]  # offsets of the characters of the logical line
        start = 0  # of the logical line
        line_start = 0  # of the natural line
        skip_blank, continued, backslash, begun = True, False, False, False
        while position < size:
            char = text[position]
            if skip_blank:
                if char in _BLANK:
                    position += 1
                    continue
                if not continued and char in _EOL:
                    position += 1
                    line_start = position
                    continue
                skip_blank = continued = False
            if not chars and char in "#!":
                stop = position
                while stop < size and text[stop] not in _EOL:
                    stop += 1
                self._note_comment(line_start, stop)
                position = self._behind_eol(stop)
                line_start = position
                skip_blank, begun = True, False
                continue
            if char not in _EOL:
                if not begun:
                    begun, start = True, line_start
                chars.append(position)
                backslash = char == "\\" and not backslash
                position += 1
                continue
            # The end of a natural line.
            behind = self._behind_eol(position)
            if not chars:
                skip_blank = True
            elif not backslash or position + 1 >= size:
                self._note_entry(chars[:-1] if backslash else chars, start, position, behind, backslash)
                chars, backslash, begun, skip_blank = [], False, False, True
            else:
                chars.pop()
                skip_blank, continued, backslash = True, True, False
            position = behind
            line_start = position
        if chars:
            self._note_entry(chars[:-1] if backslash else chars, start, size, size, backslash or continued)
        elif begun:
            # Only a backslash and blanks so far: a new line here would continue it.
            self._dangling = start

    def _behind_eol(self, position: int) -> int:
        if self._text.startswith("\r\n", position):
            return position + 2
        return min(position + 1, len(self._text))

    def _note_entry(self, chars: t.List[int], start: int, stop: int, end: int, dangling: bool) -> None:
        text = self._text
        line = "".join(text[offset] for offset in chars)
        limit = len(line)
        key_end, backslash = 0, False
        while key_end < limit:
            char = line[key_end]
            if (char in "=:" or char in _BLANK) and not backslash:
                break
            backslash = char == "\\" and not backslash
            key_end += 1
        value_start, seen = key_end, False
        while value_start < limit:
            char = line[value_start]
            if char not in _BLANK:
                if seen or char not in "=:":
                    break
                seen = True
            value_start += 1
        begin = chars[value_start] if value_start < limit else (chars[-1] + 1 if chars else stop)
        self._entries.append(
            Entry(
                self._unescape(line[:key_end], start),
                self._unescape(line[value_start:], start),
                start,
                line[key_end:value_start],
                begin,
                stop,
                end,
            )
        )
        if dangling:
            self._dangling = start

    def _note_comment(self, start: int, stop: int) -> None:
        found = _COMMENTED.match(self._text[start:stop])
        if found is None:
            return
        try:
            name = self._unescape(found.group("key"), start)
        except PropertiesError:
            return  # prose with a backslash
        self._comments.append(Comment(name, start, stop, found.group("indent"), found.group("key"), found.group("separator")))

    def _unescape(self, raw: str, start: int) -> str:
        if "\\" not in raw:
            return raw
        out, position = [], 0
        while position < len(raw):
            char = raw[position]
            position += 1
            if char != "\\":
                out.append(char)
                continue
            char = raw[position : position + 1]
            position += 1
            if char == "u":
                digits = raw[position : position + 4]
                if not re.match(r"[0-9a-fA-F]{4}\Z", digits):
                    number = len(re.findall(r"\r\n|\r|\n", self._text[:start])) + 1
                    raise PropertiesError(
                        self.path,
                        "line {0} holds a malformed \\uXXXX escape; Java refuses the whole file because of it.".format(number),
                        "Correct that line.",
                    )
                out.append(chr(int(digits, 16)))
                position += 4
            else:
                out.append(_SIMPLE_ESCAPES.get(char, char))
        # Two escaped surrogates are one character beyond the basic plane.
        return "".join(out).encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")


def _escape_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if " " <= char <= "~":
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join("\\u{0:04X}".format(units[i] * 256 + units[i + 1]) for i in range(0, len(units), 2))


def _escape_key(name: str) -> str:
    return "".join("\\" + char if char in " =:#!" else _escape_char(char) for char in name)


def _escape_value(value: str, separator: str) -> str:
    """Escape what Java needs; printable ASCII stays as it is, everything else becomes \\uXXXX, right in either encoding."""
    text = "".join(_escape_char(char) for char in value)
    if text.startswith(" ") or (text[:1] in ("=", ":") and not separator.strip(_BLANK)):
        text = "\\" + text
    return text


def fingerprint(salt: str, value: str) -> str:
    """Return a digest that two hosts can compare without knowing the value."""
    return hmac.new(salt.encode("utf-8"), value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def to_text(value: t.Any, name: str) -> str:
    """Return the text of a YAML scalar as Java would expect it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise PropertiesError(name, "the value must be a string, a number or a boolean, not {0}.".format(type(value).__name__))


class Edit:
    """Several properties set or removed in one go, and what that did."""

    def __init__(self, properties: Properties, wanted: t.Mapping[str, t.Optional[str]], uncomment: bool) -> None:
        self._properties = properties
        self.before = properties.values()
        self.duplicates = [name for name in properties.duplicates() if name in wanted]
        self.changed = []  # type: t.List[str]
        for name, value in wanted.items():
            if properties.remove(name) if value is None else properties.set(name, value, uncomment):
                self.changed.append(name)
        self.wanted = wanted
        self.after = properties.values()
        self.content = properties.to_bytes()
        self.verify(self.content)

    def verify(self, content: bytes) -> None:
        """Read the content anew: the named properties are as wanted and no other one differs."""
        expected = {name: value for name, value in dict(self.before, **self.wanted).items() if value is not None}
        found = self._properties.reread(content).values()
        if found != expected:
            names = sorted(name for name in set(found) | set(expected) if found.get(name) != expected.get(name))
            raise PropertiesError(self._properties.path, "after the edit these properties are not as wanted: {0}.".format(", ".join(names)))

    def report(self, secrets: SecretNames) -> t.Dict[str, t.Dict[str, t.Optional[str]]]:
        """Return the value before and after of every named property, secrets masked."""
        return {
            name: {"before": secrets.mask(name, self.before.get(name)), "after": secrets.mask(name, value)}
            for name, value in self.wanted.items()
        }

    def diff(self, secrets: SecretNames, path: str) -> t.Dict[str, str]:
        """Return the touched properties in Ansible's form; a changed secret shows as such."""
        before, after = [], []
        for name in self.changed:
            old, new = self.before.get(name), self.wanted[name]
            if old is not None:
                before.append("{0} = {1}\n".format(name, secrets.mask(name, old)))
            if new is not None:
                hint = " (changed)" if old is not None and new and name in secrets else ""
                after.append("{0} = {1}{2}\n".format(name, secrets.mask(name, new), hint))
        return {"before_header": path, "after_header": path, "before": "".join(before), "after": "".join(after)}


def edit(content: bytes, path: str, wanted: t.Mapping[str, t.Optional[str]], encoding: str, uncomment: bool) -> Edit:
    """Return the edit that gives every named property its value; None removes it."""
    return Edit(Properties(content, path, encoding), wanted, uncomment)
