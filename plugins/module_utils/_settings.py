# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""All that a proxy knows and its instance does not: its properties, its keystores and the keys of a file store."""

import os
import typing as t

from . import _files
from ._properties import Properties

KEYSTORES = ("edgeencryption.keystore.path", "edgeencryption.proxy.signature.keystore.path")
KEY_FILES = "edgeencryption.keyfile.directory"


def paths(home: str) -> t.List[str]:
    """Return the absolute names of these files.

    Raises:
        FileError: the properties cannot be read.
        PropertiesError: they are not understood.
    """
    file = os.path.join(home, "conf", "edgeencryption.properties")
    values = Properties(_files.read(file, "properties file"), file).values()
    found = [file] + [os.path.join(home, values[name]) for name in KEYSTORES if values.get(name)]
    store = os.path.join(home, values.get(KEY_FILES) or "keys")
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
