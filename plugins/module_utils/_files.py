# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Files that must never be half written or readable by the wrong people."""

import calendar
import contextlib
import errno
import os
import re
import stat
import tempfile
import time
import typing as t

from ._errors import EdgeError

# A backup has the name of its file and the time at which it was made.
_BACKUP_TIME = "%Y%m%dT%H%M%SZ"
_BACKUP = re.compile(r".+\.(\d{8}T\d{6}Z)(\.\d+)?\.bak", re.DOTALL)
# A file that is being written, see temporary_copy.
HALF = re.compile(r"\..+\.tmp", re.DOTALL)


class FileError(EdgeError):
    """A file cannot be read or written."""


def read(path: str, what: str) -> bytes:
    """Return the bytes of a file that must exist. C(what) names its role in the error."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise FileError(path, "the {0} does not exist.".format(what), "Check the path and the host that this ran on.") from None
    except OSError as exc:
        raise FileError(path, "the {0} cannot be read: {1}.".format(what, exc.strerror)) from exc


def write_atomic(
    path: str, data: bytes, expected: t.Optional[bytes] = None, inspect: t.Optional[t.Callable[[str], None]] = None
) -> None:
    """Replace an existing file in one step; its owner, mode, SELinux context and ACL stay.

    A symbolic link stays a link: the file that it points to is replaced. With C(expected) the file must still hold these
    bytes, so that an edit made meanwhile by somebody else is not lost. C(inspect) gets the name of the new file before that,
    and raises an error if it is not to be.
    """
    real = os.path.realpath(path)
    with temporary_copy(real, data) as temp:
        if inspect is not None:
            inspect(temp)
        if expected is not None and read(real, "file") != expected:
            raise FileError(path, "it was changed by somebody else while it was being edited.", "Run the task again.")
        replace(temp, real)


def write_private(path: str, data: bytes) -> None:
    """Make a file that only its owner can read, or replace it, in one step. Its folder must exist."""
    with temporary_copy(path, data) as temp:
        try:
            os.replace(temp, path)
        except OSError as exc:
            raise FileError(path, "it cannot be written: {0}.".format(exc.strerror)) from exc
        sync_folder_of(path)


@contextlib.contextmanager
def temporary_copy(path: str, data: bytes) -> t.Iterator[str]:
    """Give a file of mode 0600 beside C(path) that holds C(data); it is gone at the end unless it was renamed."""
    folder, name = os.path.split(os.path.realpath(path))
    try:
        descriptor, temp = tempfile.mkstemp(prefix=".{0}.".format(name), suffix=".tmp", dir=folder)
    except OSError as exc:
        raise FileError(path, "no temporary file can be made beside it: {0}.".format(exc.strerror)) from exc
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _write_all(stream, data, path)
        yield temp
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp)


def replace(temp: str, path: str) -> None:
    """Rename C(temp) over C(path), after giving it the owner, mode and extended attributes of C(path)."""
    try:
        copy_attributes(path, temp)
        descriptor = os.open(temp, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temp, path)
        sync_folder_of(path)
    except OSError as exc:
        raise FileError(path, "it cannot be replaced: {0}.".format(exc.strerror)) from exc


def backup(path: str, data: bytes) -> str:
    """Keep C(data), the present content of C(path), in a new file of mode 0600 beside it and return its name."""
    real = os.path.realpath(path)
    base = "{0}.{1}".format(real, time.strftime(_BACKUP_TIME, time.gmtime()))
    for number in range(1000):
        name = "{0}{1}.bak".format(base, ".{0}".format(number) if number else "")
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        except OSError as exc:
            raise FileError(path, "no backup can be made beside it: {0}.".format(exc.strerror)) from exc
        with os.fdopen(descriptor, "wb") as stream:
            _write_all(stream, data, name)
        owner = os.stat(real)
        with contextlib.suppress(PermissionError):
            os.chown(name, owner.st_uid, owner.st_gid)
        sync_folder_of(name)
        return name
    raise FileError(path, "there are too many backups of this second.", "Run the task again.")


def backed_up_at(name: str) -> t.Optional[float]:
    """Return when C(backup) made a file of this name, in seconds since 1970; None for a file that is none of its."""
    found = _BACKUP.fullmatch(name)
    try:
        return float(calendar.timegm(time.strptime(found.group(1), _BACKUP_TIME))) if found else None
    except ValueError:
        return None  # digits, but no time


def _write_all(stream: t.BinaryIO, data: bytes, path: str) -> None:
    try:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as exc:
        raise FileError(path, "writing failed: {0}.".format(exc.strerror)) from exc


def copy_attributes(source: str, destination: str) -> None:
    """Give a file or folder the owner, mode and extended attributes of another."""
    found = os.stat(source)
    if (found.st_uid, found.st_gid) != (os.geteuid(), os.stat(destination).st_gid):
        os.chown(destination, found.st_uid, found.st_gid)
    os.chmod(destination, stat.S_IMODE(found.st_mode))
    # The SELinux context and POSIX ACLs are extended attributes.
    for name in _attribute_names(source):
        value = os.getxattr(source, name)
        if name not in _attribute_names(destination) or os.getxattr(destination, name) != value:
            os.setxattr(destination, name, value)


def _attribute_names(path: str) -> t.List[str]:
    try:
        return os.listxattr(path)
    except OSError as exc:
        if exc.errno in (errno.ENOTSUP, errno.ENOSYS):
            return []
        raise


def sync_folder_of(path: str) -> None:
    """Have the name of a file reach the disk: the folder that holds it."""
    descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folders(path: str) -> None:
    """Make a folder and its missing parents, each readable by its owner only (os.makedirs does that for the last one alone)."""
    if not os.path.isdir(path):
        make_private_folders(os.path.dirname(os.path.abspath(path)))
        os.mkdir(path, 0o700)
