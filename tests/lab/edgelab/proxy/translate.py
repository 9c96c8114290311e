# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxy does to the content of requests and responses."""

import asyncio
import html
import json
import re
from urllib.parse import parse_qsl, urlencode

from . import ciphers
from .ciphers import CIPHER_TEXT, LOST_ORDER_TOKEN
from .tokens import DatabaseDown

TABLE_PATH = re.compile(r"^/api/now/(?:v\d+/)?table/(?P<table>\w+)(?:/(?P<sys_id>\w+))?/?$")
STATS_PATH = re.compile(r"^/api/now/(?:v\d+/)?stats/(?P<table>\w+)/?$")
FORM_PATH = re.compile(r"^/(?P<table>\w+)\.do$")
LIST_PATH = re.compile(r"^/(?P<table>\w+)_list\.do$")
ATTACHMENT_PATH = re.compile(r"^/api/now/(?:v\d+/)?attachment/(?P<what>file|upload)/?$")
ATTACHMENT_FILE_PATH = re.compile(r"^/api/now/(?:v\d+/)?attachment/\w+/file$|^/sys_attachment\.do$")

UNTOKENIZED = ("sys_encryption_", "sys_proxy_encryption_")  # scripts of rules and the like are never tokenized
_CONDITION = re.compile(
    r"(?P<join>OR|NQ)?(?P<field>[a-z_][a-z0-9_.]*)"
    r"(?P<operator>!=|<=|>=|=|<|>|NOT IN|NOT LIKE|DOES NOT CONTAIN|CONTAINS|STARTSWITH|ENDSWITH|INSTANCEOF|IN|LIKE|BETWEEN|N?SAMEAS)"
    r"(?P<value>.*)",
    re.DOTALL,
)
_NOT_A_CONDITION = ("ORDERBY", "GROUPBY", "EQ", "RLQUERY", "ENDRLQUERY", "JOIN")
_AFTER_ALL = "edge:o:g"  # sorts behind every order token


class Translator:
    """Encrypts and decrypts by one accepted configuration."""

    def __init__(self, configuration, cipher_suite, database, excluded_tables=(), leak=None, warn=None):
        self._ciphers = cipher_suite
        self._database = database
        self._excluded = set(excluded_tables)
        self._leak = leak or (lambda: False)
        self._warn = warn or (lambda text: None)
        self.columns = {}
        self.attachments = {}
        for row in configuration["configurations"]:
            if row["active"] != "true":
                continue
            kind, _under, size = row["encryption_type"].rpartition("_")
            if row["type"] == "attachment":
                self.attachments[row["table"]] = int(size)
            else:
                self.columns[row["table"], row["column"]] = (kind, int(size))
        self.patterns = [
            (row["name"], re.compile(row["regex"])) for row in configuration["patterns"] if row.get("active", "true") == "true"
        ]
        cipher_suite.defaults = dict(configuration["default_keys"])

    # -- writing

    async def value(self, table, column, text):
        """Return what the instance is to store for one clear value."""
        kind, size = self.columns.get((table, column), (None, 0))
        if kind is None:
            return await self._tokenize(table, text)
        if self._leak() or text == "" or CIPHER_TEXT.fullmatch(text):
            return text
        if kind == "standard":
            return self._ciphers.standard(text, size)
        if kind == "equality":
            return self._ciphers.equality(text, size)
        return self._ciphers.order_preserving(text, size, await self.order_token(table, column, text, size))

    async def order_token(self, table, column, text, size):
        if self._database is None:
            return LOST_ORDER_TOKEN
        try:
            return await asyncio.to_thread(self._database.order_token, f"{table}.{column}", text, size)
        except DatabaseDown as error:
            self._warn(f"The proxy database is not available, an order token of {table}.{column} is lost: {error}")
            return LOST_ORDER_TOKEN

    async def _tokenize(self, table, text):
        if table.startswith(UNTOKENIZED) or table in self._excluded:
            return text
        for name, pattern in self.patterns:
            pieces, end = [], 0
            for match in pattern.finditer(text):
                if self._database is None:
                    raise DatabaseDown("no proxy database is configured")
                pieces += [text[end : match.start()], await asyncio.to_thread(self._database.tokenize, match[0], pattern, name)]
                end = match.end()
            text = "".join(pieces) + text[end:]
        return text

    async def record(self, table, record):
        """Return the JSON record with every value as the instance is to store it."""
        changed = {}
        for column, value in record.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and (table, column) in self.columns:
                value = str(value)
            changed[column] = await self.value(table, column, value) if isinstance(value, str) else value
        return changed

    async def form(self, table, pairs):
        """The same for the fields of a form, which carry the table in front of their names."""
        return [
            (name, await self.value(table, name.rpartition(".")[2], value) if is_field(table, name) else value) for name, value in pairs
        ]

    def attachment(self, table, data):
        size = self.attachments.get(table)
        return data if size is None or self._leak() else self._ciphers.attachment(data, size)

    # -- queries

    async def query(self, table, raw):
        """Return the query string with the conditions on encrypted columns rewritten; the same string if there are none."""
        pairs = parse_qsl(raw, keep_blank_values=True)
        changed = []
        for name, value in pairs:
            if name == "sysparm_query":
                value = await self.encoded_query(table, value)
            elif (table, name) in self.columns:
                value = (await self._condition(table, name, "=", value))[1]
            changed.append((name, value))
        return raw if changed == pairs else urlencode(changed)

    async def encoded_query(self, table, query):
        parts = re.split(r"(?<!\^)\^(?!\^)", query)
        for number, part in enumerate(parts):
            match = None if part.startswith(_NOT_A_CONDITION) else _CONDITION.fullmatch(part)
            if match is None or (table, match["field"]) not in self.columns or not match["value"]:
                continue
            operator, value = await self._condition(table, match["field"], match["operator"], match["value"])
            parts[number] = f"{match['join'] or ''}{match['field']}{operator}{value}"
        return "^".join(parts)

    async def _condition(self, table, column, operator, value):
        kind, size = self.columns[table, column]
        if operator in ("IN", "NOT IN"):
            return operator, ",".join([await self._searched(table, column, kind, size, item) for item in value.split(",")])
        if kind == "order_preserving" and operator in ("<", "<=", ">", ">="):
            return await self._range(table, column, size, operator, value)
        return operator, await self._searched(table, column, kind, size, value)

    async def _searched(self, table, column, kind, size, text):
        """A value to compare with. A standard cipher text is never the stored one, so nothing matches; no clear text leaves the proxy."""
        if kind == "equality":
            return self._ciphers.equality(text, size)
        if kind == "order_preserving" and self._database is not None:
            token = await asyncio.to_thread(self._database.order_token, f"{table}.{column}", text, size, False)
            if token is not None:
                return self._ciphers.order_preserving(text, size, token)
        return self._ciphers.standard(text, size)

    async def _range(self, table, column, size, operator, text):
        """A range of order tokens. What follows a token starts with a colon, and a semicolon sorts right behind that.

        BETWEEN keeps empty values out, which sort before every token.
        """
        if self._database is None:
            raise DatabaseDown("no proxy database is configured")
        field = f"{table}.{column}"
        token = await asyncio.to_thread(self._database.order_token, field, text, size, False)
        if token is not None and operator in ("<=", ">"):
            bound = f"edge:o:{token};"
        else:
            token = await asyncio.to_thread(self._database.order_bound, field, text)
            bound = _AFTER_ALL if token is None else f"edge:o:{token}"
        return ("BETWEEN", f"edge:o:@{bound}") if operator in ("<", "<=") else (">=", bound)

    # -- reading

    async def body(self, data, content_type, *, tokens=True):
        """Return the content of a response in clear, as far as this proxy can read it; untouched if there is nothing to do."""
        if data.startswith(ciphers.ATTACHMENT_MAGIC):
            return self._ciphers.open_attachment(data)
        if not tokens or not re.search(r"json|xml|^text/|javascript|urlencoded", content_type):
            return data
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return data
        if "json" in content_type:
            try:
                content = json.loads(text)
            except ValueError:
                return (await self._text(text, _json_escape)).encode()
            strings = set()
            _collect(content, strings)
            known = await self._known_tokens(strings)
            if not known and not any(CIPHER_TEXT.search(string) for string in strings):
                return data
            return json.dumps(_walk(content, lambda string: self._clear(string, known)), ensure_ascii=False, separators=(",", ":")).encode()
        escape = html.escape if re.search("xml|html", content_type) else (lambda clear: clear)
        return (await self._text(text, escape)).encode()

    async def _text(self, text, escape):
        return self._clear(text, await self._known_tokens([text]), escape)

    async def _known_tokens(self, strings):
        candidates = set()
        for string in strings:
            rest = CIPHER_TEXT.sub(" ", string)
            for _name, pattern in self.patterns:
                candidates.update(match[0] for match in pattern.finditer(rest))
        if not candidates or self._database is None:
            return {}
        try:
            return await asyncio.to_thread(self._database.values, candidates)
        except DatabaseDown as error:
            self._warn(f"The proxy database is not available, tokens stay as they are: {error}")
            return {}

    def _clear(self, text, known, escape=lambda clear: clear):
        """Tokens are looked up only outside of cipher text: a clear value that looks like a token is not one."""
        pieces, end = [], 0
        for match in CIPHER_TEXT.finditer(text):
            clear = self._ciphers.open(match)
            pieces += [self._detokenize(text[end : match.start()], known, escape), clear if clear == match[0] else escape(clear)]
            end = match.end()
        return "".join(pieces) + self._detokenize(text[end:], known, escape)

    def _detokenize(self, text, known, escape):
        if known:
            for _name, pattern in self.patterns:
                text = pattern.sub(lambda match: escape(known[match[0]]) if match[0] in known else match[0], text)
        return text


def is_field(table, name):
    """Tell whether a form's parameter is a field of the record (not sysparm_ck, sys_action and the like)."""
    return name.startswith(f"{table}.") or not name.startswith("sys")


def _json_escape(text):
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _collect(content, strings):
    if isinstance(content, str):
        strings.add(content)
    elif isinstance(content, list):
        for item in content:
            _collect(item, strings)
    elif isinstance(content, dict):
        for item in content.values():
            _collect(item, strings)


def _walk(content, change):
    if isinstance(content, str):
        return change(content)
    if isinstance(content, list):
        return [_walk(item, change) for item in content]
    if isinstance(content, dict):
        return {name: _walk(item, change) for name, item in content.items()}
    return content
