# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""A connection to a MySQL or MariaDB server: TLS, session settings, quoting, the server's identity, safe errors."""

import re
import ssl
import threading
import traceback
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

PYMYSQL_IMPORT_ERROR = None  # type: t.Optional[str]
try:
    import pymysql
    import pymysql.cursors
    from pymysql.connections import Connection
    from pymysql.constants import CLIENT, ER
except ImportError:
    PYMYSQL_IMPORT_ERROR = traceback.format_exc()
    Connection = object

# The options of the documentation fragment token_db, as AnsibleModule takes them.
LOGIN_OPTIONS = {
    "login_host": {"type": "str", "default": "localhost"},
    "login_port": {"type": "int", "default": 3306},
    "login_user": {"type": "str", "required": True},
    "login_password": {"type": "str", "required": True, "no_log": True},
    "ca_cert": {"type": "path"},
    "check_hostname": {"type": "bool", "default": True},
    "use_tls": {"type": "bool", "default": True},
    "connect_timeout": {"type": "int", "default": 30},
    "database": {"type": "str", "default": "edgeencryption"},
}  # type: t.Dict[str, t.Any]
REPLICAS_OPTION = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 3306}},
}  # type: t.Dict[str, t.Any]
LOCK_WAIT_TIMEOUT = 1205
ACCESS_DENIED = 1227
STATEMENT_TIMEOUT = 1969
DEADLOCK = 1213
# How often a transaction is begun anew after the server ended it for the sake of another one.
_ATTEMPTS = 20
Result = t.TypeVar("Result")
# Warnings of MySQL that a later release will do without something, such as the character set utf8mb3. They say nothing about a value.
_DEPRECATIONS = frozenset([1287, 1681, 3719, 3778])
# Messages of other errors may quote a row's value ("Duplicate entry ..."), and are therefore reduced to their code.
_MESSAGES_WITHOUT_VALUES = frozenset(
    [1007, 1008, 1021, 1044, 1045, 1049, 1050, 1051, 1109, 1114, 1115, 1129, 1130, 1142, 1143, 1146, 1148, 1193, 1205, 1213, 1227]
    + [1273, 1290, 1317, 1370, 1412, 1419, 1435, 1449, 1450, 1698, 1836, 1969, 2002, 2003, 2006, 2013, 2026, 3159, 3750, 3948, 4166]
)
# NO_AUTO_VALUE_ON_ZERO keeps an id of 0; ALLOW_INVALID_DATES and the absence of the strict modes keep every stored date.
_SQL_MODE = "sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"


class DatabaseError(EdgeError):
    """The server refused a connection or a statement; C(code) is its error number."""

    code = 0


class Login(t.NamedTuple):
    """Where a server is and how to log in to it."""

    host: str
    port: int
    user: str
    password: str
    ca_cert: t.Optional[str] = None
    check_hostname: bool = True
    use_tls: bool = True
    connect_timeout: int = 30

    @property
    def name(self) -> str:
        return "{0}:{1}".format(self.host, self.port)


def make_login(options: t.Dict[str, t.Any]) -> Login:
    """Return the login that LOGIN_OPTIONS describe."""
    return Login(**{field: options["login_" + field] if "login_" + field in LOGIN_OPTIONS else options[field] for field in Login._fields})


class Server(t.NamedTuple):
    """What a server says about itself."""

    vendor: str
    version: str
    identity: t.Dict[str, str]
    read_only: bool
    local_infile: bool
    max_allowed_packet: int
    replica: bool
    binary_log: bool
    account: str

    @property
    def release(self) -> t.Tuple[int, ...]:
        """Major and minor version, the part that decides how the server writes its DDL."""
        return read_release(self.version)


def read_release(version: str) -> t.Tuple[int, ...]:
    """Return major and minor version of a server's version.

    >>> read_release("10.11.6-MariaDB-log")
    (10, 11)
    """
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


class _TlsConnection(Connection):  # type: ignore[valid-type, misc]
    """PyMySQL before 2.0 goes on in clear text with a server that offers no TLS; this stops before the password is sent."""

    def _request_authentication(self) -> None:
        if self.ssl and not self.server_capabilities & CLIENT.SSL:
            raise pymysql.err.OperationalError(2026, "the server does not offer TLS")
        super()._request_authentication()


def quote_name(*parts: str) -> str:
    """Return an identifier, qualified when there are several parts.

    >>> quote_name("a", "b`c")
    '`a`.`b``c`'
    """
    return ".".join("`{0}`".format(part.replace("`", "``")) for part in parts)


def describe(error: BaseException) -> t.Tuple[int, str]:
    """Return the code of a driver's error and a text that cannot hold a row's value."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if code in _MESSAGES_WITHOUT_VALUES:
        return code, "{0} ({1})".format(str(error.args[1]).rstrip("."), code)
    names = [name for name, value in vars(ER).items() if value == code and name.isupper() and not name.startswith("ERROR_")]
    return code, "error {0}{1}".format(code, " " + names[0] if names else "")


class Session:
    """One connection with the settings that make text exact: UTC, no strict modes, and either bytes or UTF-8.

    Args:
        login: the server.
        binary: exchange column values as bytes (for rows); otherwise UTF-8 (for names and DDL).
        local_infile: answer when the server asks for a file, as LOAD DATA LOCAL makes it do.
    """

    def __init__(self, login: Login, binary: bool = False, local_infile: bool = False) -> None:
        self.login = login
        self._lock = threading.Lock()
        try:
            self.connection = _TlsConnection(
                host=login.host,
                port=login.port,
                user=login.user,
                password=login.password.encode("utf-8"),  # of a text, PyMySQL would send Latin-1
                charset="utf8mb4",
                connect_timeout=login.connect_timeout,
                ssl=_tls_context(login) if login.use_tls else None,
                **({} if login.use_tls else {"ssl_disabled": True}),
                local_infile=local_infile,
                autocommit=True,
            )
        except (pymysql.err.MySQLError, OSError) as error:
            raise _connect_error(login, error) from None
        self.execute("SET NAMES binary" if binary else "SET NAMES utf8mb4")
        version = str(self.value("SELECT VERSION()"))
        self.vendor = "mariadb" if "mariadb" in version.lower() else "mysql"
        # A server may cut idle or slow sessions; a copy has both.
        settings = ["time_zone = '+00:00'", _SQL_MODE, "wait_timeout = 28800", "net_write_timeout = 600", "net_read_timeout = 600"]
        settings += ["innodb_lock_wait_timeout = 30", "lock_wait_timeout = 30", "sql_notes = 0"]
        if self.vendor == "mariadb":
            settings += ["max_statement_time = 0", "idle_transaction_timeout = 0"]
        else:
            # MySQL shows sizes from a cache that may be a day old.
            settings += ["max_execution_time = 0", "information_schema_stats_expiry = 0"]
        self.execute("SET SESSION " + ", ".join(settings))
        self.id = int(self.value("SELECT CONNECTION_ID()"))

    def close(self) -> None:
        if self.connection.open:
            self.connection.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *unused: t.Any) -> None:
        self.close()

    def execute(self, sql: t.Union[str, bytes], args: t.Optional[t.Sequence[t.Any]] = None) -> int:
        """Run a statement and return the number of rows that it affected or found."""
        return self._run(sql, args)[0]

    def rows(self, sql: str, args: t.Optional[t.Sequence[t.Any]] = None) -> t.List[t.Tuple[t.Any, ...]]:
        return self._run(sql, args)[1]

    def stream(self, sql: str) -> t.Iterator[t.Tuple[t.Any, ...]]:
        """Yield rows as they arrive, for results that do not fit into memory."""
        with self._lock:
            try:
                with self.connection.cursor(pymysql.cursors.SSCursor) as cursor:
                    cursor.execute(sql)
                    yield from cursor
            except (pymysql.err.MySQLError, OSError) as error:
                raise self._failure(error) from None

    def value(self, sql: str, args: t.Optional[t.Sequence[t.Any]] = None) -> t.Any:
        """Return the first column of the first row, or None."""
        rows = self.rows(sql, args)
        return rows[0][0] if rows else None

    def transaction(self, work: t.Callable[[], Result]) -> Result:
        """Run work as one transaction; the server may end one of two that wait for each other, and that one is begun anew."""
        attempt = 0
        while True:
            attempt += 1
            self.execute("START TRANSACTION")
            try:
                result = work()
                self.execute("COMMIT")
                return result
            except DatabaseError as error:
                if error.code != DEADLOCK or attempt == _ATTEMPTS:
                    raise

    def warning_codes(self) -> t.List[int]:
        """Return the codes of the last statement's warnings; their texts may quote values and are never read."""
        # On MySQL, selecting @@warning_count would empty the list; and a server can be told to keep none.
        count = int(self.value("SHOW COUNT(*) WARNINGS"))
        codes = {int(row[1]) for row in self.rows("SHOW WARNINGS") if _text(row[0]) != "Note"}
        return sorted(codes - _DEPRECATIONS) if codes or not count else [0]

    def variables(self, *names: str) -> t.Dict[str, str]:
        """Return those of the named global variables that this server has."""
        marks = ", ".join(["%s"] * len(names))
        rows = self.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({0})".format(marks), names)
        return {_text(name): _text(value) for name, value in rows}

    def utc_now(self) -> str:
        """Return the server's clock, in the form of every time this collection writes."""
        return _text(self.value("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')"))

    def _run(self, sql: t.Union[str, bytes], args: t.Optional[t.Sequence[t.Any]]) -> t.Tuple[int, t.List[t.Tuple[t.Any, ...]]]:
        with self._lock:
            try:
                with self.connection.cursor() as cursor:
                    if isinstance(sql, bytes):
                        cursor._query(sql)
                    else:
                        cursor.execute(sql, args)
                    return cursor.rowcount, list(cursor.fetchall()) if cursor.description else []
            except (pymysql.err.MySQLError, OSError) as error:
                raise self._failure(error) from None

    def _failure(self, error: BaseException) -> DatabaseError:
        code, text = describe(error)
        failure = DatabaseError(self.login.name, "the server answered: {0}.".format(text), code=code)
        failure.code = code
        return failure


def read_server(session: Session) -> Server:
    """Ask a server who it is and what it allows."""
    found = session.variables(
        "server_uuid", "server_uid", "hostname", "port", "datadir", "read_only", "super_read_only", "innodb_read_only", "local_infile", "log_bin"
    )
    return Server(
        vendor=session.vendor,
        version=_text(session.value("SELECT VERSION()")),
        identity={name: found[name] for name in ("server_uuid", "server_uid", "hostname", "port", "datadir") if name in found},
        read_only=any(found.get(name, "OFF") in ("ON", "1") for name in ("read_only", "super_read_only", "innodb_read_only")),
        local_infile=found.get("local_infile") == "ON",
        max_allowed_packet=int(session.value("SELECT @@max_allowed_packet")),
        replica=_replicates(session),
        binary_log=found.get("log_bin") == "ON",
        account=_text(session.value("SELECT CURRENT_USER()")),
    )


def _replicates(session: Session) -> bool:
    """Tell whether a server is a replica, as far as an account without rights on replication can know."""
    if session.vendor == "mysql":
        # A receiving thread shows up here for an account with PROCESS; MySQL has no status variable of it any more.
        query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'system user' AND COMMAND = 'Connect'"
        return bool(session.value(query))
    running = session.rows("SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_running', 'Slaves_running')")
    return any(_text(value) not in ("OFF", "0") for dummy, value in running)


def _text(value: t.Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _tls_context(login: Login) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=login.ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise EdgeError(str(login.ca_cert), "cannot be read as CA certificates ({0}).".format(error), "Correct ca_cert.") from None
    context.check_hostname = login.check_hostname
    return context


def _connect_error(login: Login, error: BaseException) -> DatabaseError:
    code, text = describe(error)
    detail = str(error.args[-1]) if error.args else ""
    if code in (1044, 1045, 1698):
        cause, way_out = "the server refused the login: {0}.".format(text), "Check login_user and login_password."
    elif isinstance(error, ssl.SSLError) or code in (2026, 3159) or "SSL" in detail or "certificate" in detail.lower():
        cause = "no trusted TLS connection: {0}.".format(detail.rstrip("."))
        way_out = "Check ca_cert and the name in the server's certificate, or give the server a certificate."
    else:
        cause = "cannot connect: {0}.".format(text if code else error)
        way_out = "Check login_host, login_port and the network in between."
    failure = DatabaseError(login.name, cause, way_out, code=code)
    failure.code = code
    return failure
