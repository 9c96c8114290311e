# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The file store of a proxy: one file a key, its name is the alias, its 16 or 32 bytes are the key."""

import base64
import binascii
import hashlib
import os
import re
import typing as t

from . import _files
from ._errors import EdgeError

SIZES = (16, 32)  # AES-128 and AES-256, documentation page "Create a file store"
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


class KeyFileError(EdgeError):
    """A file that is no key, or a key that is not to be replaced."""


class KeyFile(t.NamedTuple):
    """One key of the store."""

    alias: str
    path: str
    key: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key, as C(edge_keystore_info) gives it for a secret key of a keystore."""
        return hashlib.sha256(self.key).hexdigest()

    def summary(self) -> t.Dict[str, t.Any]:
        """Return what may be shown."""
        return {"alias": self.alias, "size": len(self.key) * 8, "fingerprint": self.fingerprint}


def read_all(directory: str) -> t.List[KeyFile]:
    """Return every key of a store, by alias. Hidden files are none, and backups that this collection made are none.

    Raises:
        KeyFileError: the directory cannot be read, or a file in it is no key.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise KeyFileError(directory, "the key files cannot be listed: {0}.".format(error.strerror), "Check edgeencryption.keyfile.directory.") from error
    paths = [(name, os.path.join(directory, name)) for name in names if not name.startswith(".") and not name.endswith(".bak")]
    return [_key(name, path, _files.read(path, "key file")) for name, path in paths if os.path.isfile(path)]


def _key(alias: str, path: str, content: bytes) -> KeyFile:
    if len(content) not in SIZES:
        raise KeyFileError(path, "it has {0} bytes, a key has 16 or 32.".format(len(content)), "Move what is no key out of the folder.")
    return KeyFile(alias, path, content)


def wanted(directory: str, alias: str, content: str) -> KeyFile:
    """Return the key that somebody wants to have, from base64.

    Raises:
        KeyFileError: the alias cannot be the name of a file, or the content is no key.
    """
    if not _ALIAS.match(alias):
        raise KeyFileError("alias {0!r}".format(alias), "cannot be the name of a key file.")
    try:
        key = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError("content", "is not base64.") from None
    return _key(alias, os.path.join(directory, alias), key)


def ensure(key: KeyFile, check: bool) -> bool:
    """Have that key in the store, for its owner only; return whether something changed.

    Raises:
        KeyFileError: another key has this alias, which is never replaced: what it encrypted would be lost.
    """
    if os.path.lexists(key.path):
        present = _key(key.alias, key.path, _files.read(key.path, "key file"))
        if present.key != key.key:
            raise KeyFileError(
                key.path,
                "it holds another key ({0}) than the wanted one ({1}).".format(present.fingerprint, key.fingerprint),
                "Values that were encrypted with it would be lost. Rename that key before the clone.",
            )
        return False
    if not os.path.isdir(os.path.dirname(key.path)):
        raise KeyFileError(os.path.dirname(key.path), "the folder of key files does not exist.", "Make it for the user that the proxy runs as.")
    if not check:
        _files.write_private(key.path, key.key)
        owner = os.stat(os.path.dirname(key.path))
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(key.path, owner.st_uid, owner.st_gid)  # the proxy must be able to read it
        if _files.read(key.path, "key file") != key.key:
            raise KeyFileError(key.path, "it does not hold what was written.")
    return True
