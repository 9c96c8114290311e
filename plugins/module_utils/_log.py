# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Reads the log of a proxy from a known position on, across rotation, and knows the documented lines."""

import contextlib
import os
import re
import time
import typing as t

from ._errors import EdgeError

# KB0621218, in both spellings that its texts and real logs show.
_FAILURE = re.compile(
    r"Error occurr?ed during proxy startup"
    r"|failed signature validation"
    r"|does not have a valid signature"
    r"|EncryptedFieldsManager\.verifyConfigurationSignatures"
)
_RULE = re.compile(r"Edge Encryption rule : '(?P<name>.+)' does not have a valid signature")
_CONFIGURATION = re.compile(r"Encryption configuration for field '(?P<name>.+?)' failed signature validation")
# Documentation page "Authenticate the Edge Encryption proxy".
_UNAUTHENTICATED = "has not yet been authenticated by the instance"

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ")
_NAMED_SECRET = re.compile(r"((?:[\w.-]*(?:password|passphrase|passwd|secret|static\.iv|known\.cleartext))\"?\s*[=:]\s*)\S+", re.IGNORECASE)
_URL_SECRET = re.compile(r"(//[^/\s:@]+:)[^/\s@]+@")
_MASK = "********"
_KEEP = 200  # failure lines
_TAIL_BYTES = 1 << 20


class LogError(EdgeError):
    """The log cannot be read."""


class Masker:
    """Takes secrets out of text that the proxy wrote: the values of its properties, and what looks like one."""

    def __init__(self, secrets: t.Iterable[str] = ()) -> None:
        # Short values would mask innocent text, and what is a part of another one has to come after it.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return _URL_SECRET.sub(r"\1" + _MASK + "@", _NAMED_SECRET.sub(r"\1" + _MASK, text))


class Findings:
    """What the documented lines say."""

    def __init__(self) -> None:
        self.failures = []  # type: t.List[str]
        self.validation = []  # type: t.List[t.Dict[str, str]]
        self.unauthenticated = False

    def add(self, lines: t.Iterable[str]) -> None:
        """Take further lines into account."""
        for line in lines:
            if _UNAUTHENTICATED in line:
                self.unauthenticated = True
            if not _FAILURE.search(line):
                continue
            if len(self.failures) < _KEEP:
                self.failures.append(line)
            rule, configuration = _RULE.search(line), _CONFIGURATION.search(line)
            if rule:
                self._note("rule", rule.group("name"))
            if configuration:
                # The name is "table"."column", with the quotes.
                self._note("configuration", configuration.group("name").replace('"', ""))

    def _note(self, kind: str, name: str) -> None:
        item = {"kind": kind, "name": name}
        if item not in self.validation:
            self.validation.append(item)


class Log:
    """A position in a log file that may be rotated, by renaming or by copying and truncating, while it is read."""

    def __init__(self, path: str, position: t.Optional[str] = None) -> None:
        self.path = path
        if position is None:
            found = self._stat()
            self._inode, self._offset = (found.st_ino, found.st_size) if found else (0, 0)
        else:
            try:
                inode, offset = position.split(":")
                self._inode, self._offset = int(inode), int(offset)
            except ValueError:
                raise LogError(
                    path, "{0!r} is no position in a log.".format(position), "Use the log_offset of an earlier result."
                ) from None

    def __str__(self) -> str:
        return "{0}:{1}".format(self._inode, self._offset)

    def lines(self) -> t.Iterator[str]:
        """Give every line that was completed since the last call."""
        for path in self._files():
            try:
                stream = open(path, "rb")  # noqa: SIM115 (closed below)
            except FileNotFoundError:
                continue  # rotated away between the listing and now; the next call finds it by its inode
            except OSError as exc:
                raise LogError(path, "the log cannot be read: {0}.".format(exc.strerror)) from exc
            with stream:
                found = os.fstat(stream.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._inode, self._offset = found.st_ino, 0
                stream.seek(self._offset)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # still being written
                    self._offset += len(line)
                    yield line.decode("utf-8", "replace").rstrip("\r\n")

    def since(self, moment: float) -> t.List[str]:
        """Return the last lines, from the first one on that carries this time or a later one."""
        lines = self.tail(None)
        for index, line in enumerate(lines):
            found = _TIME.match(line)
            if found and time.mktime(time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S")) >= moment:
                return lines[index:]
        return []

    def tail(self, count: t.Optional[int]) -> t.List[str]:
        """Return the last lines of the present file."""
        try:
            with open(self.path, "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - _TAIL_BYTES))
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []  # this only illustrates another error; a log that does not exist yet is nothing special
        return lines if count is None else lines[-count:]

    def _stat(self) -> t.Optional[os.stat_result]:
        try:
            return os.stat(self.path)
        except FileNotFoundError:
            return None

    def _files(self) -> t.List[str]:
        """Return the files to read, oldest first: the one with the position, those rotated after it, the present one."""
        present = self._stat()
        if present is not None and present.st_ino == self._inode:
            return [self.path]
        folder, name = os.path.split(self.path)
        stem = os.path.splitext(name)[0]
        rotated = []
        if self._inode and os.path.isdir(folder):
            for entry in os.scandir(folder):
                if entry.name.startswith(stem) and entry.name != name and not entry.name.endswith((".gz", ".zip")):
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat()
                        rotated.append((found.st_mtime, entry.path, found.st_ino))
        rotated.sort()
        marks = [index for index, item in enumerate(rotated) if item[2] == self._inode]
        return [path for _mtime, path, _inode in (rotated[marks[0] :] if marks else [])] + ([self.path] if present else [])
