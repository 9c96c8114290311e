# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The cache of a proxy: what it has read from its instance, such as rules and their signatures (KB0621218)."""

import contextlib
import datetime
import os
import re
import tempfile
import typing as t

from ._files import FileError, copy_attributes, sync_folder_of

MODE = 0o750  # of a cache that is not there yet
# Folders beside a cache that are of here: a cache that was moved aside, and one that a kill left half made.
LEFT = re.compile(r"cache\.\d{8}T\d{6}\.\d+Z|\.cache\..+\.tmp", re.DOTALL)


class Cache(t.NamedTuple):
    """A cache as it was found, and what has become of it."""

    path: str
    entries: int  # files and folders right below it
    moved_to: t.Optional[str]  # None when there was nothing to move
    changed: bool


def move_aside(home: str, write: bool = True) -> Cache:
    """Put an empty folder in the place of a proxy's cache, with its owner and mode; what was in it is kept beside it.

    A cache that is not there is made for the owner of C(home), whom the proxy runs as.

    Args:
        home: install directory of the proxy.
        write: False only says what would happen.
    Raises:
        FileError: there is no such install directory, or this user may not write in it.
    """
    path = os.path.join(home, "cache")
    try:
        present = os.path.basename(path) in os.listdir(home)
        entries = len(os.listdir(path)) if present else 0
        if present and not entries:
            return Cache(path, 0, None, False)
        aside = "{0}.{1}".format(path, _stamp()) if entries else None
        if write:
            _replace(path, aside)
        return Cache(path, entries, aside, True)
    except OSError as exc:
        advice = "Check the install directory, and that this user is the proxy's own or root."
        raise FileError(path, "the cache cannot be moved aside: {0}: {1}.".format(exc.strerror, exc.filename or path), advice) from exc


def _replace(path: str, aside: t.Optional[str]) -> None:
    # Ready before the old one goes: a proxy must not find a cache that it cannot write to, whenever this is killed.
    home = os.path.dirname(path)
    empty = tempfile.mkdtemp(prefix=".cache.", suffix=".tmp", dir=home)
    try:
        copy_attributes(path if aside else home, empty)
        if aside:
            os.rename(path, aside)
        else:
            os.chmod(empty, MODE)
        os.rename(empty, path)
        sync_folder_of(path)
    except OSError:
        if aside and not os.path.lexists(path):
            os.rename(aside, path)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(empty)
        raise


def _stamp() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
