# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""A snapshot on disk: numbered chunks and, written last, the manifest that makes it exist.

A chunk holds the rows of a range of keys, or only their hashes; then the rows are in pieces of the files that the server keeps them in.

A snapshot being written is a directory C(<id>.part) with a locked file inside. It is renamed to C(<id>) when everything is on disk, so
an incomplete one cannot be mistaken for a snapshot. The manifest holds definitions, counts and checksums, never a value or a key.
"""

import array
import contextlib
import datetime
import fcntl
import hashlib
import hmac
import io
import json
import os
import re
import secrets
import shutil
import sys
import time
import traceback
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._files import make_private_folders, sync_folder_of
from ansible_collections.edge_encryption.clone.plugins.module_utils._formats import check_format

LIBRARY_IMPORT_ERROR = None  # type: t.Optional[str]
try:
    import zstandard
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    LIBRARY_IMPORT_ERROR = traceback.format_exc()

FORMAT = 1
MANIFEST = "manifest.json"
_NONCE = 12
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_MIN_KEY = 16
# A chunk's file: the length of its header, the header (which keys it covers), the length of the rows' hashes, the hashes, the rows. So
# rows can be compared without being read.
_HEADER, _HASHES, _ROWS = "header", "hashes", "rows"
_LENGTH = 4
# Bytes of the hash of one row.
HASH = 8
# What the rows were copied as: text, or the files of their tables.
ROWS, TABLESPACES = "rows", "tablespaces"
# Seconds between making the directory and locking it that nobody exceeds.
_GRACE = 60


class ArtefactError(EdgeError):
    """A snapshot that cannot be written, found or trusted."""


class Cipher:
    """AES-256-GCM under a key of this one snapshot, derived by scrypt from the operator's key and a random salt."""

    def __init__(self, secret: bytes, salt: bytes) -> None:
        self.salt = salt
        material = hashlib.scrypt(secret, salt=salt, dklen=96, maxmem=2**26, **_SCRYPT)
        self._aead = AESGCM(material[:32])
        self._mac_key = material[32:64]
        self.check = hashlib.sha256(b"key check" + material[64:]).hexdigest()

    @classmethod
    def new(cls, secret: bytes) -> "Cipher":
        return cls(secret, secrets.token_bytes(16))

    def to_json(self) -> t.Dict[str, t.Any]:
        return {"cipher": "AES-256-GCM", "kdf": "scrypt", "salt": self.salt.hex(), "check": self.check}

    def seal(self, data: bytes, bound_to: str) -> bytes:
        # Random nonces are safe here: a key lives for one snapshot, which has far fewer than 2**32 chunks.
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, bound_to.encode("utf-8"))

    def open(self, data: bytes, bound_to: str) -> bytes:
        """Return the clear data; raise C(InvalidTag) when a bit of it, or the place it is bound to, differs."""
        return self._aead.decrypt(data[:_NONCE], data[_NONCE:], bound_to.encode("utf-8"))

    def sign(self, data: bytes) -> str:
        return hmac.new(self._mac_key, data, hashlib.sha256).hexdigest()


def read_secret(key: t.Optional[str], path: t.Optional[str]) -> t.Optional[bytes]:
    """Return the operator's key from an option or a file, or None when neither is given."""
    if path:
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o007:
                    raise ArtefactError(path, "the key file is open to every user of this host.", "Set its mode to 0600.")
                secret = file.read().strip()
        except OSError as error:
            raise ArtefactError(path, "cannot be read ({0}).".format(error.strerror), "Correct encryption_key_file.") from None
    elif key is not None:
        secret = key.encode("utf-8").strip()
    else:
        return None
    if len(secret) < _MIN_KEY:
        raise ArtefactError("encryption_key", "is shorter than {0} characters.".format(_MIN_KEY), "Use a long random key.")
    return secret


class Chunk(t.NamedTuple):
    """One file of rows, as the manifest lists it; C(checksum) is that of the rows, C(sha256) that of the file."""

    number: int
    rows: int
    checksum: int
    bytes: int
    size: int
    sha256: str

    @property
    def file(self) -> str:
        return "{0:06d}.chunk".format(self.number)


class Piece(t.NamedTuple):
    """One file with a part of a table's file, as the manifest lists it; the parts follow each other."""

    number: int
    bytes: int
    size: int
    sha256: str

    @property
    def file(self) -> str:
        return "{0:06d}.piece".format(self.number)


class Content(t.NamedTuple):
    """What is in a chunk: the keys that it covers, the hash of each row in turn, and the text of the rows unless they are in pieces."""

    header: t.Dict[str, t.Any]
    hashes: bytes
    rows: bytes


class Snapshot(t.NamedTuple):
    """A complete snapshot."""

    path: str
    data: t.Dict[str, t.Any]

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def began(self) -> str:
        return self.data["began"]

    @property
    def engine(self) -> str:
        return self.data.get("engine", ROWS)  # older ones do not say

    def chunks(self, table: str) -> t.List[Chunk]:
        return [Chunk(*entry) for entry in self.data["chunks"][table]]

    def pieces(self, table: str, kind: str) -> t.List[Piece]:
        """Return the parts of a table's file in turn; none when the snapshot holds rows."""
        return [Piece(*entry) for entry in self.data.get("spaces", {}).get(table, {}).get(kind, [])]

    def totals(self) -> t.List[t.Dict[str, t.Any]]:
        """Return name, rows and checksum of each table."""
        totals = []
        for entry in self.data["tables"]:
            chunks = self.chunks(entry["name"])
            total = sum(chunk.checksum for chunk in chunks)
            totals.append({"name": entry["name"], "rows": sum(chunk.rows for chunk in chunks), "checksum": format_checksum(total)})
        return totals

    def is_of(self, identity: t.Dict[str, str], database: str) -> bool:
        return self.data["server"]["identity"] == identity and self.data["database"] == database

    def summary(self) -> t.Dict[str, t.Any]:
        """Return what a result may say about it."""
        chunks = [chunk for table in self.data["chunks"] for chunk in self.chunks(table)]
        pieces = [piece for table, kinds in self.data.get("spaces", {}).items() for kind in kinds for piece in self.pieces(table, kind)]
        return {
            "id": self.id,
            "path": self.path,
            "engine": self.engine,
            "database": self.data["database"],
            "began": self.began,
            "ended": self.data["ended"],
            "run_id": self.data["run_id"],
            "server_version": self.data["server"]["version"],
            "encrypted": self.data["encryption"] is not None,
            "tables": len(self.data["tables"]),
            "rows": sum(chunk.rows for chunk in chunks),
            "bytes": sum(chunk.size for chunk in chunks) + sum(piece.size for piece in pieces),
        }

    def unlock(self, secret: t.Optional[bytes]) -> t.Optional[Cipher]:
        """Return the cipher for this snapshot; prove that the key is right and the manifest genuine."""
        parameters = self.data["encryption"]
        if parameters is None:
            return None
        if secret is None:
            raise ArtefactError(self.path, "the snapshot is encrypted and no key was given.", "Give encryption_key or encryption_key_file.")
        cipher = Cipher(secret, bytes.fromhex(parameters["salt"]))
        if not hmac.compare_digest(cipher.check, parameters["check"]):
            raise ArtefactError(self.path, "the key is not the one that the snapshot was encrypted with.", "Give the key of that time.")
        if not hmac.compare_digest(cipher.sign(_canonical(self.data)), self.data["mac"]):
            raise ArtefactError(self.path, "its manifest was altered by somebody without the key.", "Do not use it; take a new snapshot.")
        return cipher

    def read(self, table: str, chunk: Chunk, cipher: t.Optional[Cipher]) -> Content:
        """Return all of a chunk, after proving that it is what was written."""
        rest = io.BytesIO(self._read(chunk))
        header, hashes = self._read_index(table, chunk, cipher, rest)
        return Content(header, hashes, self._open(table, chunk, cipher, rest.read(), _ROWS, chunk.bytes))

    def read_piece(self, table: str, kind: str, piece: Piece, cipher: t.Optional[Cipher]) -> bytes:
        """Return a part of a table's file, after proving that it is what was written."""
        return self._open(table, piece, cipher, self._read(piece), kind, piece.bytes)

    def _read(self, part: t.Union[Chunk, Piece]) -> bytes:
        with self._file(part) as file:
            data = file.read()
        if len(data) != part.size or hashlib.sha256(data).hexdigest() != part.sha256:
            raise ArtefactError(os.path.join(self.path, part.file), "is truncated or altered.", "Take a new snapshot.")
        return data

    def read_index(self, table: str, chunk: Chunk, cipher: t.Optional[Cipher]) -> t.Tuple[t.Dict[str, t.Any], bytes]:
        """Return header and hashes without the rows; of an unencrypted snapshot they are not proven to be what was written."""
        with self._file(chunk) as file:
            return self._read_index(table, chunk, cipher, file)

    def _read_index(self, table: str, chunk: Chunk, cipher: t.Optional[Cipher], file: t.IO[bytes]) -> t.Tuple[t.Dict[str, t.Any], bytes]:
        expected = ((_HEADER, None), (_HASHES, chunk.rows * HASH))
        parts = [self._open(table, chunk, cipher, file.read(int.from_bytes(file.read(_LENGTH), "big")), *part) for part in expected]
        return json.loads(parts[0].decode("utf-8")), parts[1]

    @contextlib.contextmanager
    def _file(self, part: t.Union[Chunk, Piece]) -> t.Iterator[t.IO[bytes]]:
        path = os.path.join(self.path, part.file)
        try:
            with open(path, "rb") as file:
                yield file
        except OSError as error:
            raise ArtefactError(path, "cannot be read ({0}).".format(error.strerror), "Take a new snapshot.") from None

    def _open(self, table: str, source: t.Union[Chunk, Piece], cipher: t.Optional[Cipher], data: bytes, part: str, expected: t.Optional[int]) -> bytes:
        try:
            if cipher:
                data = cipher.open(data, _place(self.id, table, source.number, part))
            size = zstandard.frame_content_size(data)
            if size < 0 or size != (size if expected is None else expected):
                raise zstandard.ZstdError("size")
            return zstandard.ZstdDecompressor().decompress(data) if size else b""
        except (InvalidTag, zstandard.ZstdError):
            path = os.path.join(self.path, source.file)
            raise ArtefactError(path, "does not belong at this place of this snapshot.", "Take a new snapshot.") from None


class Writer:
    """Writes one snapshot; used as a context manager, it leaves a whole snapshot or nothing."""

    def __init__(self, directory: str, snapshot_id: str, cipher: t.Optional[Cipher]) -> None:
        self.id = snapshot_id
        self.path = os.path.join(directory, snapshot_id)
        self.part = self.path + ".part"
        self._cipher = cipher
        self.lock_file = -1  # open as long as somebody writes here

    def __enter__(self) -> "Writer":
        try:
            os.mkdir(self.part, 0o700)
            self.lock_file = os.open(os.path.join(self.part, "lock"), os.O_CREAT | os.O_WRONLY, 0o600)
            fcntl.flock(self.lock_file, fcntl.LOCK_EX)
        except OSError as error:
            raise _write_error(self.part, error) from None
        return self

    def __exit__(self, *unused: t.Any) -> None:
        shutil.rmtree(self.part, ignore_errors=True)
        if self.lock_file >= 0:
            os.close(self.lock_file)

    def write(self, table: str, number: int, content: Content) -> Chunk:
        parts = ((_HEADER, json.dumps(content.header).encode("utf-8")), (_HASHES, content.hashes), (_ROWS, content.rows))
        data = b""
        for part, plain in parts:
            sealed = self._seal(table, number, part, plain)
            data += sealed if part == _ROWS else len(sealed).to_bytes(_LENGTH, "big") + sealed
        checksum = sum(numbers(content.hashes))
        chunk = Chunk(number, len(content.hashes) // HASH, checksum, len(content.rows), len(data), hashlib.sha256(data).hexdigest())
        _write_file(os.path.join(self.part, chunk.file), data)
        return chunk

    def write_piece(self, table: str, kind: str, number: int, plain: bytes) -> Piece:
        """Write a part of a table's file; C(kind) says which file."""
        data = self._seal(table, number, kind, plain)
        piece = Piece(number, len(plain), len(data), hashlib.sha256(data).hexdigest())
        _write_file(os.path.join(self.part, piece.file), data)
        return piece

    def _seal(self, table: str, number: int, part: str, plain: bytes) -> bytes:
        data = zstandard.ZstdCompressor(level=1).compress(plain)
        return self._cipher.seal(data, _place(self.id, table, number, part)) if self._cipher else data

    def finish(self, manifest: t.Dict[str, t.Any]) -> Snapshot:
        manifest = dict(manifest, format=FORMAT, id=self.id, encryption=self._cipher.to_json() if self._cipher else None)
        manifest["digest"] = hashlib.sha256(_canonical(manifest)).hexdigest()
        manifest["mac"] = self._cipher.sign(_canonical(manifest)) if self._cipher else None
        path = os.path.join(self.part, MANIFEST)
        _write_file(path, json.dumps(manifest, indent=1).encode("utf-8"))
        try:
            sync_folder_of(path)
            os.rename(self.part, self.path)
            os.unlink(os.path.join(self.path, "lock"))
            sync_folder_of(self.path)
        except OSError as error:
            raise _write_error(self.path, error) from None
        return Snapshot(self.path, manifest)


def new_id(began: str) -> str:
    """Return an id that sorts by the server's time: C(20260102T030405Z-1a2b3c)."""
    return "{0}Z-{1}".format(began[:19].replace("-", "").replace(":", ""), secrets.token_hex(3))


def prepare_directory(directory: str, needed: int) -> None:
    """Create the directory, remove what a killed run left in it, and check the space for so many bytes."""
    try:
        make_private_folders(directory)
        for name in os.listdir(directory):
            if name.endswith(".part") and not _in_use(os.path.join(directory, name)):
                shutil.rmtree(os.path.join(directory, name))
    except OSError as error:
        raise _write_error(directory, error) from None
    free = free_bytes(directory)
    if free < needed:
        raise ArtefactError(
            directory,
            "too little space: {0} MiB are free, the snapshot may need {1} MiB.".format(free >> 20, needed >> 20),
            "Free space or choose another snapshot_dir.",
        )


def free_bytes(directory: str) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def free_bytes_for(directory: str) -> int:
    """Return the bytes that are free for a directory which need not be there yet."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(os.path.abspath(directory))
    return free_bytes(directory)


def load(path: str) -> Snapshot:
    """Read the manifest of one snapshot."""
    name = os.path.join(path, MANIFEST)
    try:
        with open(name, "rb") as file:
            data = json.loads(file.read().decode("utf-8"))
    except OSError as error:
        raise ArtefactError(path, "is not a complete snapshot ({0}: {1}).".format(MANIFEST, error.strerror), "Take a new one.") from None
    except ValueError:
        data = None
    if isinstance(data, dict) and "format" in data:
        check_format(name, data["format"], FORMAT, ArtefactError)  # before the digest, which another format may compute in another way
    if not isinstance(data, dict) or data.get("digest") != hashlib.sha256(_canonical(data)).hexdigest():
        raise ArtefactError(name, "is truncated or altered.", "Remove this directory and take a new snapshot.")
    return Snapshot(path, data)


def list_snapshots(directory: str) -> t.List[Snapshot]:
    """Return the complete snapshots of a directory, oldest first."""
    if not os.path.isdir(directory):
        return []
    paths = [os.path.join(directory, name) for name in os.listdir(directory) if not name.endswith(".part")]
    return sorted((load(path) for path in paths if os.path.exists(os.path.join(path, MANIFEST))), key=lambda found: found.began)


def superfluous(snapshots: t.Sequence[Snapshot], keep: int, keep_for: float, now: datetime.datetime) -> t.List[Snapshot]:
    """Return the snapshots that retention removes: all but the newest C(keep), and of these only what is older than C(keep_for) seconds."""
    older = list(snapshots)[: max(len(snapshots) - keep, 0)]
    return [found for found in older if (now - parse_time("began", found.began)).total_seconds() > keep_for]


def remove(snapshot: Snapshot) -> None:
    # Without its manifest it stops being a snapshot at once, whatever interrupts the rest.
    os.unlink(os.path.join(snapshot.path, MANIFEST))
    shutil.rmtree(snapshot.path)


def parse_time(thing: str, text: str) -> datetime.datetime:
    """Parse a UTC time such as C(2026-01-02 03:04:05) or C(2026-01-02T03:04:05.123456Z)."""
    plain = re.sub(r"(Z|\+00:00| UTC)$", "", text.strip()).replace("T", " ")
    for layout in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.datetime.strptime(plain, layout)
        except ValueError:
            continue
    raise ArtefactError(thing, "'{0}' is not a time in UTC.".format(text), "Write it as 2026-01-02 03:04:05.")


def format_time(moment: datetime.datetime) -> str:
    return moment.isoformat() + "Z"


def numbers(hashes: bytes) -> "array.array[int]":
    """Return the hashes of rows as the numbers whose sum is a checksum."""
    found = array.array("Q", hashes)
    if sys.byteorder == "little":
        found.byteswap()
    return found


def format_checksum(total: int) -> str:
    return "{0:032x}".format(total)


class TimeRule(t.NamedTuple):
    """The snapshot must begin at or after the end of the instance's backup plus a margin, and not too long after that."""

    backup_time: datetime.datetime
    margin: float
    max_lag: float

    @property
    def earliest(self) -> datetime.datetime:
        return self.backup_time + datetime.timedelta(seconds=self.margin)

    @property
    def latest(self) -> datetime.datetime:
        return self.earliest + datetime.timedelta(seconds=self.max_lag)

    def __str__(self) -> str:
        return "end of the backup {0} + margin {1:g} s".format(format_time(self.backup_time), self.margin)

    def allows(self, began: datetime.datetime) -> bool:
        return self.earliest <= began <= self.latest

    def choose(self, snapshots: t.Sequence[Snapshot]) -> t.Optional[Snapshot]:
        """Return the oldest snapshot that the rule allows."""
        allowed = [found for found in snapshots if self.allows(parse_time("began", found.began))]
        return min(allowed, key=lambda found: found.began) if allowed else None

    def require(self, began: datetime.datetime, thing: str) -> None:
        if began < self.earliest:
            raise ArtefactError(
                thing,
                "begins at {0}, before {1} ({2}); tokens of the cloned instance would be missing.".format(
                    format_time(began), format_time(self.earliest), self
                ),
                "Use a snapshot that begins later.",
            )
        if began > self.latest:
            raise ArtefactError(
                thing,
                "begins at {0}, more than max_lag {1:g} s after {2} ({3}).".format(
                    format_time(began), self.max_lag, format_time(self.earliest), self
                ),
                "Clone from a newer backup, or raise max_lag if nothing rewrote tokens in between.",
            )


def _place(snapshot_id: str, table: str, number: int, part: str) -> str:
    return json.dumps([FORMAT, snapshot_id, table, number, part])


def _canonical(manifest: t.Dict[str, t.Any]) -> bytes:
    signed = {name: value for name, value in manifest.items() if name not in ("digest", "mac")}
    return json.dumps(signed, sort_keys=True).encode("utf-8")


def _in_use(part: str) -> bool:
    try:
        with open(os.path.join(part, "lock"), "rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - os.stat(part).st_mtime < _GRACE
    except BlockingIOError:
        return True
    return False


def _write_file(path: str, data: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _write_error(path, error) from None


def _write_error(path: str, error: OSError) -> ArtefactError:
    return ArtefactError(path, "cannot be written ({0}).".format(error.strerror), "Check space and rights of snapshot_dir.")
