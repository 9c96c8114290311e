# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What a schema holds, and the SQL that reads its rows as text and as checksums.

The text of a row is the SQL tuple C(('1','abc',NULL)) over bytes. QUOTE makes it injective (NULL differs from 'NULL', no separator or
length can be confused), so the SHA-256 of this text is the row's checksum, and sums of it do not depend on order or chunk borders.
Rows are separated by a byte that QUOTE never leaves bare.
"""

import hashlib
import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import HASH, numbers
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import ACCESS_DENIED, DatabaseError, Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

# Column types whose index order and literals are exact, so that ranges can be built over them.
_NUMBERS = frozenset(["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year"])
_TIMES = frozenset(["date", "datetime", "timestamp", "time"])
_TEXTS = frozenset(["char", "varchar"])
_BYTES = frozenset(["binary", "varbinary"])
_GENERATED = re.compile(r"\b(VIRTUAL|STORED|PERSISTENT) GENERATED\b|^(VIRTUAL|STORED|PERSISTENT)$")
_INDEX_LINE = re.compile(r"^ +(UNIQUE |FULLTEXT |SPATIAL )?KEY `((?:[^`]|``)+)` ")
_FOREIGN_LINE = re.compile(r"^ +CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY .* REFERENCES (?:(`(?:[^`]|``)+`)\.)?`((?:[^`]|``)+)`")
_VIEW_HEAD = re.compile(r"^CREATE (ALGORITHM=\w+ )?(?:DEFINER=`(?:[^`]|``)*`@`(?:[^`]|``)*` )?(SQL SECURITY \w+ )?VIEW ((?:`(?:[^`]|``)+`\.)?`(?:[^`]|``)+`)")

# Control-Z: QUOTE escapes it in values. LOAD DATA skips it as what lies between rows; for INSERT it becomes a comma.
ROW_SEPARATOR = b"\x1a"
SEPARATOR_SQL = "'\\Z'"
# A value in the text of a row.
_FIELD = re.compile(rb"'[^'\\]*(?:\\.[^'\\]*)*'|NULL", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

Literals = t.Optional[t.List[str]]


class SchemaError(EdgeError):
    """A schema that cannot be copied safely."""


class Column(t.NamedTuple):
    """A column, as far as copying its values depends on it."""

    name: str
    type: str
    charset: str
    collation: str
    generated: bool


class Table(t.NamedTuple):
    """A table; C(key) names the index whose ranges split it, empty when none can."""

    name: str
    create: str
    columns: t.List[Column]
    key: str
    key_columns: t.List[str]
    row_estimate: int
    data_bytes: int

    @property
    def values(self) -> t.List[Column]:
        """Return the columns that hold values of their own."""
        return [column for column in self.columns if not column.generated]

    def to_json(self) -> t.Dict[str, t.Any]:
        return dict(self._asdict(), columns=[list(column) for column in self.columns])

    @classmethod
    def from_json(cls, data: t.Dict[str, t.Any]) -> "Table":
        return cls(**dict({name: data[name] for name in cls._fields}, columns=[Column(*column) for column in data["columns"]]))


class Trigger(t.NamedTuple):
    name: str
    timing: str
    event: str
    table: str
    body: str
    sql_mode: str


class Schema(t.NamedTuple):
    """Everything in a database that a copy carries over, and the names of what it leaves out."""

    charset: str
    collation: str
    tables: t.List[Table]
    views: t.List[t.Tuple[str, str]]
    triggers: t.List[Trigger]
    left_out: t.List[str]

    def definitions(self) -> t.Dict[str, str]:
        """Return what must not change while rows are read (the next AUTO_INCREMENT value may)."""
        return {table.name: without_counter(table.create) for table in self.tables}


def schema_exists(session: Session, schema: str) -> bool:
    return bool(session.value("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", [schema]))


def table_names(session: Session, schema: str, kind: str = "BASE TABLE") -> t.List[str]:
    rows = session.rows(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = %s ORDER BY TABLE_NAME", [schema, kind]
    )
    return [row[0] for row in rows]


def read_schema(session: Session, schema: str) -> Schema:
    """Read the definitions of a database; refuse what a snapshot cannot hold."""
    row = session.rows(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", [schema]
    )
    if not row:
        raise SchemaError(schema, "there is no such database, or the account may not see it.", "Check database and the account's rights.")
    found = session.rows(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, COALESCE(TABLE_ROWS, 0), COALESCE(DATA_LENGTH, 0) FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME",
        [schema],
    )
    odd = ["{0} ({1})".format(name, kind.lower()) for name, kind, *dummy in found if kind not in ("BASE TABLE", "VIEW")]
    if odd:
        raise SchemaError(schema, "holds objects that cannot be copied: {0}.".format(", ".join(odd)), "Move them to another database.")
    foreign = ["{0} ({1})".format(name, engine) for name, kind, engine, *dummy in found if kind == "BASE TABLE" and engine != "InnoDB"]
    if foreign:
        raise SchemaError(
            schema,
            "these tables are not InnoDB and have no consistent snapshot: {0}.".format(", ".join(foreign)),
            "Convert them with ALTER TABLE ... ENGINE=InnoDB.",
        )
    columns = _columns(session, schema)
    keys = _keys(session, schema)
    tables = []
    for name, kind, dummy, rows, size in found:
        if kind == "BASE TABLE":
            create = session.rows("SHOW CREATE TABLE " + quote_name(schema, name))[0][1]
            hidden = _hidden_indexes(create)
            key, key_columns = _range_key(columns[name], {index: parts for index, parts in keys.get(name, {}).items() if index not in hidden})
            tables.append(Table(name, create, columns[name], key, key_columns, int(rows), int(size)))
    for table in tables:
        _refuse_foreign_references(schema, table)
    routines = session.rows("SELECT ROUTINE_NAME, LOWER(ROUTINE_TYPE) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s", [schema])
    events = session.rows("SELECT EVENT_NAME, 'event' FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s", [schema])
    return Schema(
        charset=row[0][0],
        collation=row[0][1],
        tables=tables,
        views=read_views(session, schema),
        triggers=read_triggers(session, schema),
        left_out=["{1} {0}".format(name, kind) for name, kind in routines + events],
    )


def read_views(session: Session, schema: str) -> t.List[t.Tuple[str, str]]:
    """Return name and definition of each view, without the name of the database, so that it fits any."""
    names = table_names(session, schema, "VIEW")
    if names:
        # Names within the default database are shown without it, unless the view cannot be used (its definer is gone, say).
        session.execute("USE " + quote_name(schema))
    own = re.compile("('(?:[^'\\\\]|\\\\.)*')|" + re.escape(quote_name(schema) + "."))
    definitions = [(name, session.rows("SHOW CREATE VIEW " + quote_name(schema, name))[0][1]) for name in names]
    return [(name, own.sub(lambda found: found.group(1) or "", definition)) for name, definition in definitions]


def read_triggers(session: Session, schema: str) -> t.List[Trigger]:
    rows = session.rows(
        "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE"
        " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        [schema],
    )
    return [Trigger(*row) for row in rows]


def create_triggers(session: Session, schema: str, triggers: t.Iterable[Trigger]) -> None:
    """Create those triggers that are missing, each with its own SQL mode and this account as definer."""
    present = {trigger.name for trigger in read_triggers(session, schema)}
    for trigger in triggers:
        if trigger.name in present:
            continue
        session.execute("SET @edge_sql_mode = @@sql_mode, SESSION sql_mode = %s", [trigger.sql_mode])
        session.execute(
            "CREATE TRIGGER {0} {1} {2} ON {3} FOR EACH ROW {4}".format(
                quote_name(schema, trigger.name), trigger.timing, trigger.event, quote_name(schema, trigger.table), trigger.body
            )
        )
        session.execute("SET SESSION sql_mode = @edge_sql_mode")


def create_views(session: Session, schema: str, views: t.Iterable[t.Sequence[str]]) -> None:
    """Create those views that are missing; a view may stand on another, so the order is found by trying."""
    present = set(table_names(session, schema, "VIEW"))
    waiting = [view for view in views if view[0] not in present]
    if waiting:
        session.execute("USE " + quote_name(schema))
    while waiting:
        failed = []  # type: t.List[t.Sequence[str]]
        reason = None
        for name, definition in waiting:
            try:
                session.execute(view_statement(schema, name, definition))
            except EdgeError as error:
                failed.append((name, definition))
                reason = error
        if reason and len(failed) == len(waiting):
            raise SchemaError(
                schema, "cannot create the view {0}: {1}".format(failed[0][0], reason.cause), "Repair or drop this view on the source."
            )
        waiting = failed


def drop_views_and_triggers(session: Session, schema: str, tables: t.Optional[t.Iterable[str]] = None) -> None:
    """Drop all views, and the triggers of the given tables (default all): neither survives a rename to another database."""
    for name in table_names(session, schema, "VIEW"):
        _drop_defined(session, "VIEW", schema, name)
    for trigger in read_triggers(session, schema):
        if tables is None or trigger.table in tables:
            _drop_defined(session, "TRIGGER", schema, trigger.name)


def _drop_defined(session: Session, kind: str, schema: str, name: str) -> None:
    try:
        session.execute("DROP {0} {1}".format(kind, quote_name(schema, name)))
    except DatabaseError as error:
        if session.vendor != "mysql" or error.code != ACCESS_DENIED:
            raise
        # Of the same kind, so that the exchange puts back what it has dropped before this.
        failure = DatabaseError(
            "{0} {1}.{2}".format(kind.lower(), schema, name),
            "cannot be dropped for the exchange, since its definer holds SYSTEM_USER and this account does not.",
            "Create it again with another definer, or grant SYSTEM_USER to this account.",
            code=error.code,
        )
        failure.code = error.code
        raise failure from None


def view_statement(schema: str, name: str, definition: str) -> str:
    """Return the statement that creates a view in another database, with the account that runs it as definer."""
    return _VIEW_HEAD.sub(
        lambda found: "CREATE {0}{1}VIEW {2}".format(found.group(1) or "", found.group(2) or "", quote_name(schema, name)), definition
    )


def create_statement(schema: str, table: Table) -> str:
    """Return the statement that creates a table with no other index than loading needs."""
    bare, dummy, dummy2 = split_create(table)
    return bare.replace("CREATE TABLE ", "CREATE TABLE {0}.".format(quote_name(schema)), 1)


def create_statement_with_indexes(schema: str, table: Table) -> str:
    """Return the statement that creates a table with all of its indexes and no foreign keys."""
    bare, indexes, dummy = split_create(table)
    head, separator, tail = bare.partition("\n)")
    whole = ",\n".join([head] + ["  " + index for index in indexes]) + separator + tail
    return whole.replace("CREATE TABLE ", "CREATE TABLE {0}.".format(quote_name(schema)), 1)


def split_create(table: Table) -> t.Tuple[str, t.List[str], t.List[str]]:
    """Split SHOW CREATE TABLE into a table without secondary indexes, its index lines and its foreign key lines.

    The server writes each definition on a line of its own. Kept are the range key and an index that AUTO_INCREMENT needs.
    """
    lines = table.create.split("\n")
    counter = re.findall(r"^ +`((?:[^`]|``)+)` .*\bAUTO_INCREMENT\b", table.create, re.MULTILINE)
    body, indexes, foreign = [], [], []  # type: t.List[str], t.List[str], t.List[str]
    end = next(number for number, line in enumerate(lines) if line.startswith(")"))
    for line in lines[1:end]:
        definition = line.strip().rstrip(",")
        index = _INDEX_LINE.match(line)
        if _FOREIGN_LINE.match(line):
            foreign.append(definition)
        elif index and index.group(2).replace("``", "`") != table.key and not _leads_with(definition, counter):
            indexes.append(definition)
        else:
            body.append("  " + definition)
    return "\n".join([lines[0], ",\n".join(body)] + lines[end:]), indexes, foreign


def index_names(create: str) -> t.List[str]:
    """Return the names of the secondary indexes of SHOW CREATE TABLE."""
    return [found.group(2) for found in map(_INDEX_LINE.match, create.split("\n")) if found]


def _hidden_indexes(create: str) -> t.Set[str]:
    """Return the names of indexes that the optimizer is told not to use, and cannot be told to use."""
    lines = [line for line in create.split("\n") if re.search(r"/\*!80000 INVISIBLE \*/,?$| IGNORED,?$", line)]
    return set(index_names("\n".join(lines)))


def foreign_names(create: str) -> t.List[str]:
    """Return the names of the foreign keys of SHOW CREATE TABLE, which an index of the table may bear as well."""
    return [found.group(1) for found in map(_FOREIGN_LINE.match, create.split("\n")) if found]


def foreign_keys(table: Table) -> t.List[t.Tuple[str, t.List[str], str, t.List[str]]]:
    """Return name, columns, parent and parent's columns of each foreign key."""
    found = []
    for line in split_create(table)[2]:
        names = [[name.replace("``", "`") for name in re.findall(r"`((?:[^`]|``)+)`", part)] for part in re.split(r"FOREIGN KEY|REFERENCES", line)]
        found.append((names[0][0], names[1], names[2][0], names[2][1:]))
    return found


def without_counter(create: str) -> str:
    """Return SHOW CREATE TABLE without the next AUTO_INCREMENT value, which is not part of the definition."""
    return re.sub(r"^(\).*?) AUTO_INCREMENT=\d+", r"\1", create, flags=re.MULTILINE)


def comparable(create: str) -> str:
    """Return SHOW CREATE TABLE without what may differ between a table and one made from its own definition."""
    # MySQL adds the character set to a collation that was given alone.
    return re.sub(r" CHARACTER SET (\w+) COLLATE \1_", r" COLLATE \1_", without_counter(create))


def row_text(table: Table) -> str:
    """Return the SQL expression for one row's text."""
    return "CONCAT('(',CONCAT_WS(',',{0}),')')".format(",".join("QUOTE({0})".format(_as_bytes(column)) for column in table.values))


def row_checksum(table: Table) -> str:
    """Return the SQL expression for the checksum of one row: 64 bits of the SHA-256 of its text, as 16 hexadecimal digits."""
    return "LEFT(SHA2({0},256),16)".format(row_text(table))


def row_hashes(texts: t.Iterable[bytes]) -> bytes:
    """Return what row_checksum makes of rows with these texts, 8 bytes each."""
    return b"".join([hashlib.sha256(text).digest()[:8] for text in texts])


def checksum(table: Table) -> str:
    """Return the SQL expression for the checksum of the rows it aggregates: the exact sum of theirs."""
    return "COALESCE(SUM(CAST(CONV({0},16,10) AS UNSIGNED)),0)".format(row_checksum(table))


def column_list(table: Table) -> str:
    return ",".join(quote_name(column.name) for column in table.values)


def load_list(table: Table) -> str:
    """Return the columns of a LOAD DATA, of which MySQL takes those of type json only in UTF-8."""
    names = ["@edge_{0}".format(number) if column.type == "json" else quote_name(column.name) for number, column in enumerate(table.values)]
    texts = [
        "{0} = CONVERT({1} USING utf8mb4)".format(quote_name(column.name), name)
        for name, column in zip(names, table.values)
        if column.type == "json"
    ]
    return "({0}){1}".format(",".join(names), " SET " + ",".join(texts) if texts else "")


def insert_values(table: Table, text: bytes) -> bytes:
    """Return the rows of a chunk for an INSERT, of which MySQL takes values of type json only in UTF-8."""
    places = [number for number, column in enumerate(table.values) if column.type == "json"]
    if not places:
        return text

    def mark(row: bytes) -> bytes:
        fields = _FIELD.findall(row)
        return b"(" + b",".join(b"_utf8mb4" + field if number in places and field != b"NULL" else field for number, field in enumerate(fields)) + b")"

    return ROW_SEPARATOR.join(mark(row) for row in text.split(ROW_SEPARATOR))


def refuse_inexact_json(session: Session, schema: str, table: Table) -> None:
    """Refuse values that are not what reading their own text would make of them: MySQL's functions can put dates and decimals into a json."""
    # JSON_TABLE visits every member and element; the type of a text is that of a literal.
    inside = "EXISTS (SELECT 1 FROM JSON_TABLE({0}, '{1}' COLUMNS (v JSON PATH '$')) AS x WHERE {2})"
    differs = "JSON_TYPE({0}) <> JSON_TYPE(CAST(CAST({0} AS CHAR CHARACTER SET utf8mb4) AS JSON))"
    for column in table.values:
        if column.type == "json":
            name = quote_name(column.name)
            conditions = [differs.format(name)] + [inside.format(name, path, differs.format("x.v")) for path in ("$**.*", "$**[*]")]
            # A path must not be bytes.
            session.execute("SET NAMES utf8mb4")
            rows = session.value("SELECT COUNT(*) FROM {0} WHERE {1}".format(quote_name(schema, table.name), " OR ".join(conditions)))
            session.execute("SET NAMES binary")
            if rows:
                raise SchemaError(
                    "{0}.{1}".format(table.name, column.name),
                    "{0} rows hold json with dates, decimals or other values that no text stands for.".format(rows),
                    "Set it to CAST(CAST({0} AS CHAR) AS JSON) there, which makes texts and numbers of them.".format(name),
                )


def key_list(table: Table) -> str:
    return ",".join(quote_name(name) for name in table.key_columns)


def key_as_hex(table: Table) -> str:
    """Return the select list for the key of a row, each column as the hexadecimal digits of its bytes."""
    return ",".join("HEX(CAST({0} AS BINARY))".format(quote_name(name)) for name in table.key_columns)


def key_in_text(table: Table, text: bytes) -> t.Optional[t.List[str]]:
    """Return what key_as_hex selects for the row with this text; None when a column of the key is computed and not in the text."""
    names = [column.name for column in table.values]
    if not set(table.key_columns) <= set(names):
        return None
    fields = _FIELD.findall(text)
    return [_ESCAPED.sub(_unescape, fields[names.index(name)][1:-1]).hex() for name in table.key_columns]


def _unescape(found: "t.Match[bytes]") -> bytes:
    return {b"0": b"\0", b"Z": b"\x1a"}.get(found.group(1), found.group(1))


def key_is_one_of(table: Table, keys: t.Iterable[t.Sequence[t.Any]]) -> str:
    """Return the condition for the rows whose keys key_as_hex selects as these."""
    names = [quote_name(name) for name in table.key_columns]
    equal = [" AND ".join("{0} = {1}".format(*pair) for pair in zip(names, key_literals(table, key))) for key in keys]
    return "(" + " OR ".join("(" + condition + ")" for condition in equal) + ")"


def key_literals(table: Table, values: t.Sequence[t.Any]) -> t.List[str]:
    """Return the key that key_as_hex selected as SQL literals that compare in the order of the index."""
    columns = {column.name: column for column in table.columns}
    literals = []
    for name, value in zip(table.key_columns, values):
        digits = value.decode("ascii") if isinstance(value, bytes) else value
        column = columns[name]
        if column.type in _NUMBERS:
            literals.append(bytes.fromhex(digits).decode("ascii"))
        elif column.type in _TIMES:
            literals.append("'{0}'".format(bytes.fromhex(digits).decode("ascii")))
        elif column.type in _TEXTS:
            literals.append("_{0} X'{1}' COLLATE {2}".format(column.charset, digits, column.collation))
        else:
            literals.append("X'{0}'".format(digits))
    return literals


def key_range(table: Table, after: Literals, upto: Literals) -> str:
    """Return the condition for the rows behind one key, up to and with another; None stands for the table's end.

    Written out, since the servers do not turn a comparison of tuples into a range of the index.
    """
    names = [quote_name(name) for name in table.key_columns]
    conditions = []
    for literals, strict, loose, last in ((after, ">", ">=", ">"), (upto, "<", "<=", "<=")):
        if literals is None:
            continue
        parts = []
        for place, literal in enumerate(literals):
            equal = ["{0} = {1}".format(*pair) for pair in zip(names[:place], literals)]
            sign = last if place == len(literals) - 1 else strict
            parts.append("(" + " AND ".join(equal + ["{0} {1} {2}".format(names[place], sign, literal)]) + ")")
        conditions.append("(" + " OR ".join(parts) + ")")
        if len(names) > 1:
            conditions.append("{0} {1} {2}".format(names[0], loose, literals[0]))
    return " AND ".join(conditions) or "TRUE"


def references(session: Session, schema: str) -> t.List[t.Tuple[str, str]]:
    """Return child and parent, as C(database/table), of all foreign keys that point into a database, whoever may see the child."""
    return [(row[0], row[1]) for row in _innodb(session, "FOR_NAME, REF_NAME", "FOREIGN", "REF_NAME", schema)]


def table_ids(session: Session, schema: str) -> t.Dict[str, int]:
    """Return InnoDB's id of each table, which a rename keeps: it proves which table a name stands for, at no cost."""
    ids = {name: int(number) for name, number in _innodb(session, "NAME, TABLE_ID", "TABLES", "NAME", schema)}
    prefix = innodb_name(schema) + "/"
    found = {name: ids.get(prefix + innodb_name(name)) for name in table_names(session, schema)}
    return {name: number for name, number in found.items() if number is not None}


def had_full_text(session: Session, schema: str) -> bool:
    """Tell whether InnoDB keeps tables of its own for a full-text index, which it does even after the index was dropped."""
    return any(name.split("/")[1].startswith("FTS_") for name, dummy in _innodb(session, "NAME, TABLE_ID", "TABLES", "NAME", schema))


def _innodb(session: Session, columns: str, view: str, name: str, schema: str) -> t.List[t.Tuple[t.Any, ...]]:
    view = ("INNODB_SYS_" if session.vendor == "mariadb" else "INNODB_") + view
    prefix = innodb_name(schema) + "/"
    query = "SELECT {0} FROM information_schema.{1} WHERE LEFT({2}, %s) = %s".format(columns, view, name)
    return session.rows(query, [len(prefix), prefix])


def innodb_name(name: str) -> str:
    """Return a name as InnoDB writes it in its own tables."""
    return "".join(char if char.isalnum() or char == "_" else "@{0:04x}".format(ord(char)) for char in name)


def measure(session: Session, schema: str, table: Table, condition: str = "TRUE") -> t.Tuple[int, int]:
    """Return the number of rows under a condition and their checksum; the session must be a binary one."""
    count, total = session.rows("SELECT COUNT(*), {0} FROM {1} WHERE {2}".format(checksum(table), quote_name(schema, table.name), condition))[0]
    codes = session.warning_codes()
    if codes:
        raise SchemaError(table.name, "the checksum raised warnings {0}.".format(codes), "Raise max_allowed_packet on this server.")
    return int(count), int(total)


def read_hashes(session: Session, schema: str, table: Table, condition: str) -> t.Optional[bytes]:
    """Return the checksum of each row under a condition, 8 bytes each; None when they are too many for one value, or a row is too large.

    The session must be a binary one. The server takes longer to make bytes of the digits than they take to travel.
    """
    query = "SELECT COUNT(*), GROUP_CONCAT({0} SEPARATOR '') FROM {1} WHERE {2}"
    count, digits = session.rows(query.format(row_checksum(table), quote_name(schema, table.name), condition))[0]
    if session.warning_codes():
        return None
    hashes = from_digits(digits or b"")
    return hashes if len(hashes) == HASH * int(count) else None


def from_digits(digits: bytes) -> bytes:
    """Return the bytes that hexadecimal digits stand for."""
    return bytes.fromhex(digits.decode("ascii"))


def measure_range(session: Session, schema: str, table: Table, condition: str) -> t.Tuple[int, int]:
    """Return what C(measure) does. Of no more rows than fit into one value it takes the server a fifth less time, since it adds nothing up."""
    hashes = read_hashes(session, schema, table, condition)
    return measure(session, schema, table, condition) if hashes is None else (len(hashes) // HASH, sum(numbers(hashes)))


def _as_bytes(column: Column) -> str:
    name = quote_name(column.name)
    # FLOAT as text loses digits; as a DOUBLE it is exact. Multiplying keeps a negative zero and works on every version.
    return "CAST({0} AS BINARY)".format(name + "*1e0" if column.type == "float" else name)


def _leads_with(definition: str, counter: t.List[str]) -> bool:
    # An index on an expression begins with two brackets.
    found = re.search(r"` \(`((?:[^`]|``)+)`", definition)
    return bool(counter) and bool(found) and found.group(1) == counter[0]  # type: ignore[union-attr]


def _columns(session: Session, schema: str) -> t.Dict[str, t.List[Column]]:
    rows = session.rows(
        "SELECT TABLE_NAME, COLUMN_NAME, LOWER(DATA_TYPE), COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, ''), UPPER(EXTRA)"
        " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION",
        [schema],
    )
    columns = {}  # type: t.Dict[str, t.List[Column]]
    for table, name, kind, charset, collation, extra in rows:
        columns.setdefault(table, []).append(Column(name, kind, charset, collation, bool(_GENERATED.search(extra))))
    return columns


def _keys(session: Session, schema: str) -> t.Dict[str, t.Dict[str, t.List[t.Optional[str]]]]:
    rows = session.rows(
        "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND NON_UNIQUE = 0"
        " AND INDEX_TYPE = 'BTREE' ORDER BY TABLE_NAME, INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX",
        [schema],
    )
    blocked = session.rows(
        "SELECT DISTINCT TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s"
        " AND (SUB_PART IS NOT NULL OR NULLABLE = 'YES' OR COLUMN_NAME IS NULL)",
        [schema],
    )
    keys = {}  # type: t.Dict[str, t.Dict[str, t.List[t.Optional[str]]]]
    for table, index, column in rows:
        if (table, index) not in blocked:
            keys.setdefault(table, {}).setdefault(index, []).append(column)
    return keys


def _range_key(columns: t.List[Column], keys: t.Dict[str, t.List[t.Optional[str]]]) -> t.Tuple[str, t.List[str]]:
    usable = {column.name for column in columns if column.type in _NUMBERS | _TIMES | _TEXTS | _BYTES}
    for name, parts in keys.items():
        if usable.issuperset(parts):
            return name, [part for part in parts if part]
    return "", []


def _refuse_foreign_references(schema: str, table: Table) -> None:
    for line in table.create.split("\n"):
        found = _FOREIGN_LINE.match(line)
        if found and found.group(2) and found.group(2) != quote_name(schema):
            raise SchemaError(
                "{0}.{1}".format(schema, table.name),
                "its foreign key {0} points to the database {1}, which the copy does not hold.".format(found.group(1), found.group(2)),
                "Drop this foreign key.",
            )
