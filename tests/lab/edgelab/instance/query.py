# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encoded queries, compiled to SQL.

A field, dot-walked or not, becomes one SQL expression (a dot-walk is a scalar subquery), so that every operator works on
every field. Parts that make no sense (unknown field or operator) are left out and reported, as the platform ignores them.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from .schema import Field, Schema, quote

_OPERATORS = (
    "GT_OR_EQUALS_FIELD", "LT_OR_EQUALS_FIELD", "GT_FIELD", "LT_FIELD", "DOES NOT CONTAIN", "NOT LIKE", "NOT IN", "NOTON",
    "STARTSWITH", "ENDSWITH", "CONTAINS", "BETWEEN", "ISNOTEMPTY", "ISEMPTY", "EMPTYSTRING", "ANYTHING", "NSAMEAS", "SAMEAS",
    "INSTANCEOF", "RELATIVEGT", "RELATIVELT", "RELATIVEGE", "RELATIVELE", "RELATIVEEE", "LIKE", "IN", "ON", "!=", "<=", ">=", "!*",
    "=", "<", ">", "*", "%",
)  # fmt: skip
_CONDITION = re.compile(r"^([a-z0-9_.]+)({})(.*)$".format("|".join(map(re.escape, _OPERATORS))), re.DOTALL)
_SHORT = {"*": "LIKE", "CONTAINS": "LIKE", "!*": "NOT LIKE", "DOES NOT CONTAIN": "NOT LIKE", "%": "ENDSWITH"}
_LIKE = {"LIKE": "%{}%", "NOT LIKE": "%{}%", "STARTSWITH": "{}%", "ENDSWITH": "%{}"}
_COMPARE = {"=", "!=", "<", "<=", ">", ">="}
_FIELD_COMPARE = {
    "SAMEAS": "=", "NSAMEAS": "!=", "GT_FIELD": ">", "LT_FIELD": "<", "GT_OR_EQUALS_FIELD": ">=", "LT_OR_EQUALS_FIELD": "<=",
}  # fmt: skip
_RELATIVE = {"RELATIVEGT": ">", "RELATIVELT": "<", "RELATIVEGE": ">=", "RELATIVELE": "<=", "RELATIVEEE": "="}
_JOIN = re.compile(r"^([a-z0-9_]+)\.([a-z0-9_]+)=([a-z0-9_]+)\.([a-z0-9_]+)!(.*)$", re.DOTALL)
_RELATED = re.compile(r"^([a-z0-9_]+)\.([a-z0-9_]+),(=|!=|>=|<=|>|<)(\d+)(?:,m2m)?$")
_NUMBERS = {"integer", "decimal", "float", "longint"}
_UNITS = {"minute": 60, "hour": 3600, "dayofweek": 86400, "day": 86400}


class Invalid(Exception):
    """A part of a query that the platform would ignore."""


class Compiled(t.NamedTuple):
    where: str
    params: list[str]
    order: str
    invalid: list[str]
    fields: set[tuple[str, str]]  # (table, field) of every field that the query reads


class Context(t.NamedTuple):
    """What the values of ``javascript:`` conditions depend on."""

    user_id: str = ""
    user_name: str = ""


def utc_now(plus: float = 0) -> str:
    """Return the time, some seconds from now, in the form that the platform stores."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=plus)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _script(text: str, context: Context) -> str:
    call = re.sub(r"\s", "", text)
    match = re.match(r"^gs\.(\w+)\((-?\d*)\);?$", call)
    if not match:
        raise Invalid(text)
    name, number = match.group(1), int(match.group(2) or 0)
    if name == "getUserID":
        return context.user_id
    if name == "getUserName":
        return context.user_name
    now = datetime.datetime.now(datetime.timezone.utc)
    ago = {"minutesAgo": "minutes", "hoursAgo": "hours", "daysAgo": "days", "minutesAgoStart": "minutes", "daysAgoStart": "days"}
    if name in ago:
        now -= datetime.timedelta(**{ago[name]: number})
    elif name not in ("now", "nowDateTime", "beginningOfToday"):
        raise Invalid(text)
    if name in ("daysAgoStart", "beginningOfToday"):
        now = now.replace(hour=0, minute=0, second=0)
    return now.strftime("%Y-%m-%d %H:%M:%S")


class _Compiler:
    def __init__(self, schema: Schema, context: Context) -> None:
        self.schema = schema
        self.context = context
        self.aliases = 0
        self.invalid: list[str] = []
        self.fields: set[tuple[str, str]] = set()

    def _alias(self) -> str:
        self.aliases += 1
        return "a{}".format(self.aliases)

    def expression(self, table: str, alias: str, path: str) -> tuple[str, Field, str]:
        """Return the SQL expression of a field, its definition, and the table that it belongs to."""
        name, dummy, rest = path.partition(".")
        field = self.schema[table].fields.get(name)
        if field is None:
            raise Invalid(path)
        self.fields.add((table, name))
        column = "{}.{}".format(alias, quote(name))
        if not rest:
            return column, field, table
        if field.reference not in self.schema:
            raise Invalid(path)
        inner = self._alias()
        value, last, owner = self.expression(field.reference, inner, rest)
        physical = quote(self.schema[field.reference].physical)
        return "COALESCE((SELECT {0} FROM {1} {2} WHERE {2}.sys_id = {3}), '')".format(value, physical, inner, column), last, owner

    def _display(self, table: str, alias: str, path: str) -> tuple[str, Field]:
        """Return the expression that string operators match: for a reference, its display value."""
        value, field, owner = self.expression(table, alias, path)
        while field.type == "reference" and field.reference in self.schema:
            path += "." + self.schema[field.reference].display
            value, field, owner = self.expression(table, alias, path)
        return value, field

    def condition(self, table: str, alias: str, text: str) -> tuple[str, list[str]]:
        match = _CONDITION.match(text)
        if not match:
            if text.startswith("123TEXTQUERY321="):
                return self._text_query(table, alias, text.partition("=")[2])
            raise Invalid(text)
        path, operator, value = match.groups()
        operator = _SHORT.get(operator, operator)
        column, field, dummy = self.expression(table, alias, path)
        if value.startswith("javascript:"):
            value = _script(value[len("javascript:") :], self.context)
        number = field.type in _NUMBERS
        if operator == "ANYTHING":
            return "1", []
        if operator in ("ISEMPTY", "EMPTYSTRING") or (operator == "=" and value == "NULL"):
            return "{} = ''".format(column), []
        if operator == "ISNOTEMPTY" or (operator == "!=" and value == "NULL"):
            return "{} != ''".format(column), []
        if operator in ("IN", "NOT IN"):
            values = value.split(",")
            return "{} COLLATE NOCASE {} ({})".format(column, operator, ",".join("?" * len(values))), values
        if operator in _LIKE:
            shown, dummy = self._display(table, alias, path)
            escaped = re.sub(r"([\\%_])", r"\\\1", value)
            verb = "NOT LIKE" if operator == "NOT LIKE" else "LIKE"
            return "{} {} ? ESCAPE '\\'".format(shown, verb), [_LIKE[operator].format(escaped)]
        if operator == "BETWEEN":
            low, separator, high = value.partition("@")
            if not separator:
                raise Invalid(text)
            return self._between(column, number, low, high)
        if operator in ("ON", "NOTON"):
            parts = value.split("@")
            if len(parts) != 3:
                raise Invalid(text)
            low, high = (_script(part[11:], self.context) if part.startswith("javascript:") else part for part in parts[1:])
            sql, params = self._between(column, False, low, high)
            return ("NOT " if operator == "NOTON" else "") + "({})".format(sql), params
        if operator == "INSTANCEOF":
            if value not in self.schema:
                raise Invalid(text)
            family = self.schema.family(value)
            return "{} IN ({})".format(column, ",".join("?" * len(family))), family
        if operator in _FIELD_COMPARE:
            other, dummy, dummy = self.expression(table, alias, value)
            return "{} {} {} COLLATE NOCASE".format(column, _FIELD_COMPARE[operator], other), []
        if operator in _RELATIVE:
            return self._relative(column, operator, value)
        assert operator in _COMPARE
        if field.type == "boolean":
            value = {"1": "true", "0": "false"}.get(value, value)
        if number and operator in ("<", "<=", ">", ">="):
            if not re.match(r"^-?\d+(\.\d+)?$", value):
                raise Invalid(text)
            return "({0} != '' AND CAST({0} AS REAL) {1} CAST(? AS REAL))".format(column, operator), [value]
        return "{} {} ? COLLATE NOCASE".format(column, operator), [value]

    @staticmethod
    def _between(column: str, number: bool, low: str, high: str) -> tuple[str, list[str]]:
        if number:
            return "CAST({} AS REAL) BETWEEN CAST(? AS REAL) AND CAST(? AS REAL)".format(column), [low, high]
        return "{} COLLATE NOCASE BETWEEN ? AND ?".format(column), [low, high]

    @staticmethod
    def _relative(column: str, operator: str, value: str) -> tuple[str, list[str]]:
        parts = value.lstrip("@").split("@")
        if len(parts) != 3 or parts[0] not in _UNITS or parts[1] not in ("ago", "ahead") or not parts[2].isdigit():
            raise Invalid(value)
        seconds = _UNITS[parts[0]] * int(parts[2]) * (1 if parts[1] == "ahead" else -1)
        return "{} {} ?".format(column, _RELATIVE[operator]), [utc_now(seconds)]

    def _text_query(self, table: str, alias: str, words: str) -> tuple[str, list[str]]:
        columns = [alias + "." + quote(field.name) for field in self.schema[table].fields.values() if field.type == "string"]
        return "({})".format(" || ' ' || ".join(columns) + " LIKE ?"), ["%{}%".format(words)]

    def _join(self, table: str, alias: str, text: str) -> tuple[str, list[str]]:
        match = _JOIN.match(text)
        if not match or match.group(1) != table or match.group(3) not in self.schema:
            raise Invalid(text)
        dummy, field, other, other_field, condition = match.groups()
        inner = self._alias()
        column = self.expression(table, alias, field)[0]
        other_column = self.expression(other, inner, other_field)[0]
        where, params = self.where(other, inner, condition)
        return (
            "EXISTS (SELECT 1 FROM {} {} WHERE {} = {} AND ({}))".format(
                quote(self.schema[other].physical), inner, other_column, column, where
            ),
            params,
        )

    def _related(self, alias: str, head: str, conditions: list[str]) -> tuple[str, list[str]]:
        match = _RELATED.match(head)
        if not match or match.group(1) not in self.schema:
            raise Invalid(head)
        other, field, operator, number = match.groups()
        inner = self._alias()
        column = self.expression(other, inner, field)[0]
        where, params = self.where(other, inner, "^".join(conditions))
        return (
            "(SELECT count(*) FROM {} {} WHERE {} = {}.sys_id AND ({})) {} {}".format(
                quote(self.schema[other].physical), inner, column, alias, where, operator, number
            ),
            params,
        )

    def where(self, table: str, alias: str, text: str) -> tuple[str, list[str]]:
        """Compile everything but the order. Groups are OR-ed; in a group, conditions with their ``^OR`` parts are AND-ed."""
        groups: list[list[list[str]]] = [[]]
        params: list[list[str]] = [[]]

        def attempt(part: str, compile_part: t.Callable[[], tuple[str, list[str]]], alternative: bool = False) -> None:
            try:
                sql, values = compile_part()
            except Invalid:
                self.invalid.append(part)
                if not alternative:
                    groups[-1].append([])  # an ^OR behind it must not bind to the condition before it
                return
            if alternative and groups[-1]:
                groups[-1][-1].append(sql)
            else:
                groups[-1].append([sql])
            params[-1].extend(values)

        parts = [part for part in text.split("^") if part and part != "EQ"]
        position = 0
        while position < len(parts):
            part = parts[position]
            position += 1
            if part.startswith("NQ"):
                groups.append([])
                params.append([])
                part = part[2:]
                if not part:
                    continue
            if part.startswith("ORDERBY") or part.startswith("GROUPBY"):
                continue
            if part.startswith("RLQUERY"):
                end = next((i for i in range(position, len(parts)) if parts[i] == "ENDRLQUERY"), len(parts))
                inner = parts[position:end]
                position = end + 1
                attempt(part, lambda head=part[7:], inner=inner: self._related(alias, head, inner))  # type: ignore[misc]
            elif part.startswith("JOIN"):
                join = "^".join([part[4:], *(tail for tail in parts[position:] if not tail.startswith("ORDERBY"))])
                position = len(parts)
                attempt(part, lambda join=join: self._join(table, alias, join))  # type: ignore[misc]
            elif part.startswith("OR") and _CONDITION.match(part[2:]):
                attempt(part, lambda one=part[2:]: self.condition(table, alias, one), alternative=True)  # type: ignore[misc]
            else:
                attempt(part, lambda one=part: self.condition(table, alias, one))  # type: ignore[misc]
        sql = [" AND ".join("({})".format(" OR ".join(alternatives)) for alternatives in group if alternatives) or "1" for group in groups]
        return " OR ".join("({})".format(group) for group in sql), [value for group in params for value in group]

    def order(self, table: str, text: str) -> str:
        terms = []
        for part in text.split("^"):
            if not part.startswith("ORDERBY"):
                continue
            descending = part.startswith("ORDERBYDESC")
            path = part[len("ORDERBYDESC" if descending else "ORDERBY") :]
            try:
                value, field = self._display(table, "a0", path)
            except Invalid:
                self.invalid.append(part)
                continue
            if field.type in _NUMBERS:
                value = "CAST({} AS REAL)".format(value)
            terms.append("{} COLLATE NOCASE {}".format(value, "DESC" if descending else "ASC"))
        return ", ".join(terms)


def compile_query(schema: Schema, table: str, text: str, context: Context = Context()) -> Compiled:  # noqa: B008
    """Compile an encoded query on a table whose SQL alias is ``a0``."""
    compiler = _Compiler(schema, context)
    where, params = compiler.where(table, "a0", text)
    order = compiler.order(table, text)
    return Compiled(where, params, order, compiler.invalid, compiler.fields)


def field_expression(schema: Schema, table: str, path: str) -> tuple[str, Field, str]:
    """Return the SQL expression of a field on alias ``a0``, its definition and the table it belongs to; raises `Invalid`."""
    return _Compiler(schema, Context()).expression(table, "a0", path)
