# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The token database: order tokens and pattern tokens, handed out so that several proxies may share one database."""

import hashlib
import secrets
import string
import threading
import uuid

import pymysql

from .ciphers import MissingKey

BOTTOM, TOP = 0, 2**64 - 1
STRIDE = 2**46  # distance of a value appended behind the last or before the first
RUN_FRACTION = 64  # how close to its neighbour the next value of an ascending or descending run is put
RECENT_ROWS = 8  # a neighbour this new is taken for the last value of a run
PATTERN_TRIES = 20
LOCK_SECONDS = 10

_DOWN = (0, 1040, 1044, 1045, 1049, 1053, 1129, 1130, 2002, 2003, 2006, 2013, 2014, 2026)  # error numbers of a database out of reach


class DatabaseDown(Exception):
    """The database cannot be reached."""


class TokenError(Exception):
    """The database answered, but no token can be handed out or looked up."""


class TokenDatabase:
    """One connection a thread; every method blocks and is called from a worker thread."""

    def __init__(self, arguments, ciphers, bootstrap=None):
        self._arguments = arguments
        self._ciphers = ciphers
        self._bootstrap = bootstrap
        self._local = threading.local()
        self._open = set()
        self._lock = threading.Lock()
        self.order_cache = None  # a dict when edgeencryption.encryption.order_preserving.cache.enable is true
        self.order_cache_size = 10000

    # -- connections

    def _connection(self):
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = pymysql.connect(
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=5,
                read_timeout=30,
                write_timeout=30,
                init_command="SET time_zone = '+00:00'",
                **self._arguments,
            )
            self._local.connection = connection
            with self._lock:
                self._open.add(connection)
        return connection

    def _drop(self):
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            with self._lock:
                self._open.discard(connection)
            connection._force_close()

    def close(self):
        with self._lock:
            for connection in self._open:
                connection._force_close()
            self._open.clear()

    def _run(self, work):
        """Call C(work) with a cursor; once more if an idle connection turns out to be gone."""
        for last in (False, True):
            fresh = getattr(self._local, "connection", None) is None
            try:
                with self._connection().cursor() as cursor:
                    return work(cursor)
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError) as error:
                number = error.args[0] if error.args else 0
                if number not in _DOWN:
                    raise TokenError(str(error)) from error
                self._drop()
                if last or fresh:
                    raise DatabaseDown(str(error)) from error
            except OSError as error:
                self._drop()
                raise DatabaseDown(str(error)) from error
            except pymysql.err.MySQLError as error:
                raise TokenError(str(error)) from error
        return None

    # -- identity

    def identity(self):
        """Return the database's own id; create the schema and the id in an empty database."""

        def work(cursor):
            cursor.execute("SELECT id FROM db_id ORDER BY created LIMIT 1")
            row = cursor.fetchone()
            if row is None:
                cursor.execute("INSERT INTO db_id (id, created) VALUES (%s, UTC_TIMESTAMP())", (str(uuid.uuid4()),))
                cursor.execute("SELECT id FROM db_id ORDER BY created LIMIT 1")
                row = cursor.fetchone()
            return row[0]

        try:
            return self._run(work)
        except TokenError as error:
            if not isinstance(error.__cause__, pymysql.err.ProgrammingError) or error.__cause__.args[0] != 1146 or self._bootstrap is None:
                raise
        self._run(self._create_schema)
        return self._run(work)

    def _create_schema(self, cursor):
        for statement in self._bootstrap.read_text(encoding="utf-8").split(";"):
            if statement.strip():
                cursor.execute(statement)

    # -- order-preserving values

    def order_token(self, field, text, size, create=True):
        """Return the token of a value, 16 hex digits; None for an unknown value that is not to be created."""
        cipher = self._ciphers.deterministic(text, size)
        if self.order_cache is not None and (field, cipher) in self.order_cache:
            return self.order_cache[field, cipher]
        token = self._run(lambda cursor: self._find(cursor, field, cipher))
        if token is None and create:
            token = self._run(lambda cursor: self._assign(cursor, field, text, cipher))
        if token is None:
            return None
        if self.order_cache is not None:
            if len(self.order_cache) >= self.order_cache_size:
                self.order_cache.clear()
            self.order_cache[field, cipher] = token
        return token

    def order_bound(self, field, text):
        """Return the token of the smallest known value not below C(text), or None if all are below: for range filters."""
        _lower, upper = self._run(lambda cursor: self._neighbours(cursor, field, text))
        return None if upper is None else upper[0]

    @staticmethod
    def _find(cursor, field, cipher):
        cursor.execute("SELECT order_token FROM token_map WHERE field = %s AND cipher = %s LIMIT 1", (field, cipher))
        row = cursor.fetchone()
        return row and _hex(row[0])

    def _assign(self, cursor, field, text, cipher):
        """Put a new value between its neighbours. One writer a field at a time, whichever proxy it is on."""
        name = "edge:" + hashlib.sha256(f"{self._arguments['database']}.{field}".encode()).hexdigest()[:40]
        cursor.execute("SELECT GET_LOCK(%s, %s)", (name, LOCK_SECONDS))
        if cursor.fetchone()[0] != 1:
            raise TokenError(f"Timed out waiting for the order tokens of {field}")
        try:
            cursor.execute("START TRANSACTION")
            token = self._find(cursor, field, cipher)
            if token is None:
                token = self._between(cursor, field, *self._neighbours(cursor, field, text))
                cursor.execute(
                    "INSERT INTO token_map (field, order_token, cipher) VALUES (%s, %s, %s)", (field, self._stored(cursor, token), cipher)
                )
            cursor.execute("COMMIT")
        except pymysql.err.MySQLError:
            if cursor.connection.open:
                cursor.execute("ROLLBACK")
            raise
        except TokenError:
            cursor.execute("ROLLBACK")
            raise
        finally:
            if cursor.connection is not None and cursor.connection.open:
                cursor.execute("SELECT RELEASE_LOCK(%s)", (name,))
        return token

    def _neighbours(self, cursor, field, text):
        """Return (token, row id) of the greatest known value below C(text) and of the smallest not below it; None at the ends.

        Only the proxies can compare clear values, so this halves the interval of tokens and decrypts one row a step.
        """
        lower = upper = None
        low, high = BOTTOM, TOP
        while low <= high:
            middle = (low + high) // 2
            row = self._row(cursor, field, "<= %s ORDER BY order_token DESC", middle, low)
            if row is None:
                row = self._row(cursor, field, "> %s ORDER BY order_token", middle, high)
            if row is None:
                break
            token, number, cipher = row
            if self._open_cipher(field, cipher) < text:
                lower, low = (token, number), int(token, 16) + 1
            else:
                upper, high = (token, number), int(token, 16) - 1
        return lower, upper

    def _open_cipher(self, field, cipher):
        try:
            return self._ciphers.open_deterministic(cipher)
        except (MissingKey, ValueError) as error:
            raise TokenError(f"The order tokens of {field} cannot be read with this proxy's keys and static IV") from error

    def _row(self, cursor, field, condition, middle, limit):
        cursor.execute(
            f"SELECT order_token, id, cipher FROM token_map WHERE field = %s AND order_token {condition} LIMIT 1",
            (field, self._stored(cursor, f"{middle:016x}")),
        )
        row = cursor.fetchone()
        if row is None:
            return None
        number = int(_hex(row[0]), 16)
        inside = number >= limit if condition.startswith("<") else number <= limit
        return (_hex(row[0]), row[1], row[2]) if inside else None

    @staticmethod
    def _between(cursor, field, lower, upper):
        low = int(lower[0], 16) if lower else BOTTOM
        high = int(upper[0], 16) if upper else TOP
        gap = high - low
        if gap < 2:
            raise TokenError(f"No order token is left between two values of {field}: an Order Token Repair job is needed")
        if lower is None and upper is None:
            place = 2**63
        elif upper is None:
            place = low + min(STRIDE, gap // 2)
        elif lower is None:
            place = high - min(STRIDE, gap // 2)
        else:
            # Halving alone would use up 46 bits within 46 values that come in order.
            cursor.execute("SELECT MAX(id) FROM token_map")
            recent = cursor.fetchone()[0] - RECENT_ROWS
            step = max(gap // RUN_FRACTION, 1)
            if lower[1] > max(recent, upper[1]):
                place = low + step
            elif upper[1] > recent:
                place = high - step
            else:
                place = low + gap // 2
        return f"{place:016x}"

    def _stored(self, cursor, token):
        """A token as the column holds it: 8 bytes or 16 hex digits, as the schema has it."""
        binary = getattr(self, "_binary_tokens", None)
        if binary is None:
            cursor.execute(
                "SELECT DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
                " AND TABLE_NAME = 'token_map' AND COLUMN_NAME = 'order_token'"
            )
            binary = self._binary_tokens = cursor.fetchone()[0] in ("binary", "varbinary")
        return bytes.fromhex(token) if binary else token

    def rotate(self, aliases):
        """Re-encrypt what C(token_map) has under these aliases; the clear text in C(edge_token_map) is no cipher text and stays as it is."""
        for alias in aliases:
            while self._run(lambda cursor, alias=alias: self._rotate_some(cursor, alias.encode() + b":")):
                pass
        if self.order_cache is not None:
            self.order_cache.clear()

    def _rotate_some(self, cursor, prefix):
        cursor.execute("SELECT id, field, cipher FROM token_map WHERE LEFT(cipher, %s) = %s LIMIT 500", (len(prefix), prefix))
        rows = cursor.fetchall()
        for number, field, cipher in rows:
            new = self._ciphers.rotated_deterministic(cipher)
            if self._find(cursor, field, new):  # written again since the default key was changed: one token a value is enough
                cursor.execute("DELETE FROM token_map WHERE id = %s", (number,))
            else:
                cursor.execute("UPDATE token_map SET cipher = %s WHERE id = %s", (new, number))
        return rows

    # -- pattern tokens

    def tokenize(self, value, pattern, name):
        """Keep C(value) and return an unused token of its shape that the pattern matches as well."""

        def work(cursor):
            for _attempt in range(PATTERN_TRIES):
                token = _same_shape(value)
                if token == value or not pattern.fullmatch(token):
                    continue
                try:
                    cursor.execute("INSERT INTO edge_token_map (token, value, pattern) VALUES (%s, %s, %s)", (token, value, name))
                except pymysql.err.IntegrityError as error:
                    if error.args[0] != 1062:
                        raise
                    continue
                return token
            raise TokenError(f"No unused token of the pattern {name} was found")

        return self._run(work)

    def values(self, tokens):
        """Return token -> value for those of C(tokens) that have a row."""
        tokens = list(tokens)
        found = {}
        for start in range(0, len(tokens), 500):
            part = tokens[start : start + 500]
            marks = ",".join(["%s"] * len(part))

            def work(cursor, part=part, marks=marks):
                cursor.execute(f"SELECT token, value FROM edge_token_map WHERE token IN ({marks})", part)
                return cursor.fetchall()

            for token, value in self._run(work):
                found[token] = value.decode() if isinstance(value, bytes) else value
        return found


def _hex(stored):
    return (
        stored.hex()
        if isinstance(stored, (bytes, bytearray)) and len(stored) == 8
        else (stored.decode() if isinstance(stored, bytes) else stored)
    )


def _same_shape(value):
    """Random digits for digits, random letters of the same case for letters, the rest as it is."""
    out = []
    for char in value:
        if char in string.digits:
            out.append(secrets.choice(string.digits))
        elif char in string.ascii_lowercase:
            out.append(secrets.choice(string.ascii_lowercase))
        elif char in string.ascii_uppercase:
            out.append(secrets.choice(string.ascii_uppercase))
        else:
            out.append(char)
    return "".join(out)
