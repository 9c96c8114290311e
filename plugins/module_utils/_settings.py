# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""All that a proxy knows and its instance does not: its properties, its keystores and the keys of a file store; and the copies that are kept of them."""

import os
import typing as t

from . import _cache, _files
from ._properties import Properties

KEYSTORES = ("edgeencryption.keystore.path", "edgeencryption.proxy.signature.keystore.path")
KEY_FILES = "edgeencryption.keyfile.directory"
# Folders of the install directory that runs have C(keep) fill.
_KEPT = ("before_clone", "before_roll_back")


class Copies(t.NamedTuple):
    """What lies beside the settings and keys of a proxy because of this collection; whole names, sorted."""

    backups: t.List[str]
    leftovers: t.List[str]  # folders, and files that a kill left half written


def _places(home: str) -> t.Tuple[t.List[str], str]:
    """Return the names of the properties file and of the keystores, and the folder of the file store."""
    file = os.path.join(home, "conf", "edgeencryption.properties")
    values = Properties(_files.read(file, "properties file"), file).values()
    keystores = [os.path.join(home, values[name]) for name in KEYSTORES if values.get(name)]
    return [file] + keystores, os.path.join(home, values.get(KEY_FILES) or "keys")


def paths(home: str) -> t.List[str]:
    """Return the absolute names of these files.

    Raises:
        FileError: the properties cannot be read.
        PropertiesError: they are not understood.
    """
    found, store = _places(home)
    if os.path.isdir(store):
        found += [path for path in (os.path.join(store, name) for name in sorted(os.listdir(store)) if not name.startswith(".")) if os.path.isfile(path)]
    return [os.path.abspath(path) for path in dict.fromkeys(found)]


def keep(home: str, folder: str, write: bool = True) -> t.Tuple[t.List[str], t.List[str]]:
    """Copy these files below C(folder), under their whole names, for their owner only. What lies there already is never replaced.

    Args:
        home: install directory of the proxy.
        folder: where the copies go; it is made.
        write: False only says what would happen.
    Returns:
        The names of all copies, and those of the new ones.
    Raises:
        FileError: a file cannot be read, or a copy cannot be made.
    """
    copies = {path: folder + path for path in paths(home)}
    new = [path for path, copy in copies.items() if not os.path.lexists(copy)]
    for path in new:
        content = _files.read(path, "file")
        if write:
            try:
                _files.make_private_folders(os.path.dirname(copies[path]))
            except OSError as exc:
                advice = "Check the folder, and that this user may write there."
                raise _files.FileError(folder, "no copy can be kept there: {0}.".format(exc.strerror), advice) from exc
            _files.write_private(copies[path], content)
    return list(copies.values()), [copies[path] for path in new]


def copies(home: str, since: float = 0.0) -> Copies:
    """Find what lies beside these files because of this collection.

    Args:
        home: install directory of the proxy.
        since: in seconds since 1970; older backups are left out.
    Raises:
        FileError: the properties or a folder cannot be read.
        PropertiesError: the properties are not understood.
    """
    files, store = _places(home)
    # A backup lies beside the file itself, not beside a link to it.
    folders = {os.path.dirname(os.path.realpath(file)) for file in files} | {os.path.realpath(store)}
    beside = [entry for folder in folders for entry in _entries(folder) if entry.is_file(follow_symlinks=False)]
    made = {entry.path: _files.backed_up_at(entry.name) for entry in beside}
    inside = [entry for entry in _entries(os.path.abspath(home)) if entry.is_dir(follow_symlinks=False)]
    folders_left = [entry.path for entry in inside if entry.name in _KEPT or _cache.LEFT.fullmatch(entry.name)]
    halves = [entry.path for entry in beside if _files.HALF.fullmatch(entry.name)]
    # The time in its name is a whole second.
    return Copies(sorted(path for path, when in made.items() if when is not None and when >= since // 1), sorted(folders_left + halves))


def _entries(folder: str) -> "t.List[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []  # such as that of a file store which is not used
    except OSError as exc:
        raise _files.FileError(folder, "the folder cannot be read: {0}.".format(exc.strerror), "Check that this user is the proxy's own or root.") from exc
