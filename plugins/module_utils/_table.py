# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Records of an instance by its Table API, without the traps of it.

- Parts of a query that the instance does not understand are ignored, so that it returns too many rows: every row is checked here again.
- Fields that the account may not read are left out, fields that it may not write are left alone, both with status 200: fields asked for
  must be there, and a write is read back.
- Rows that the account may not read shorten a page: a page is the last one only by the count in X-Total-Count.
- Offsets slide while others write: pages go by C(sys_id>LAST).
"""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, NotTheApi, RestError, StatusError

Row = t.Dict[str, str]

PAGE = 1000
# A proxy accepts headers of 8 KB at least, the request line included.
IDS_PER_QUERY = 100


class NotFound(EdgeError):
    """No such record, or one that the account may not see: the instance makes no difference."""


class QueryIgnored(EdgeError):
    """Rows came back that the query excludes."""


class FieldsMissing(EdgeError):
    """A field does not exist, or the account may not read it."""


class NotStored(EdgeError):
    """A write was answered with success, but the record does not show it."""


class Condition(t.NamedTuple):
    """One condition of an encoded query."""

    field: str
    operator: str
    value: str

    def holds(self, row: t.Mapping[str, str]) -> bool:
        # The databases of instances compare without regard to case.
        have, want = row.get(self.field, "").lower(), self.value.lower()
        return _OPERATORS[self.operator](have, want)


_OPERATORS = {
    "=": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    "IN": lambda have, want: have in want.split(","),
    "NOT IN": lambda have, want: have not in want.split(","),
    "STARTSWITH": lambda have, want: have.startswith(want),
    "ENDSWITH": lambda have, want: have.endswith(want),
    "LIKE": lambda have, want: want in have,
    "NOT LIKE": lambda have, want: want not in have,
    "ISEMPTY": lambda have, want: not have,
    "ISNOTEMPTY": lambda have, want: bool(have),
    ">": lambda have, want: have > want,
}  # type: t.Dict[str, t.Callable[[str, str], bool]]
_CONDITION = re.compile(r"([a-z][a-z0-9_.]*)(NOT IN|NOT LIKE|STARTSWITH|ENDSWITH|ISNOTEMPTY|ISEMPTY|LIKE|IN|!=|=|>)(.*)", re.DOTALL)


class Query:
    """An encoded query whose rows can be checked here: C(^), C(^OR), C(^NQ) and the operators that need no knowledge of types."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Groups joined by "or", of clauses joined by "and", of conditions joined by "or".
        self.groups = []  # type: t.List[t.List[t.List[Condition]]]
        for group in text.split("^NQ"):
            clauses = []  # type: t.List[t.List[Condition]]
            for part in group.split("^"):
                if not part or part == "EQ" or part.startswith("ORDERBY"):
                    continue
                either = part.startswith("OR") and bool(clauses)
                match = _CONDITION.fullmatch(part[2:] if either else part)
                if not match:
                    raise EdgeError(
                        "query {}".format(text),
                        "the condition {} cannot be checked.".format(part),
                        "Use the operators {} with ^, ^OR and ^NQ.".format(" ".join(_OPERATORS)),
                    )
                condition = Condition(*match.groups())
                if either:
                    clauses[-1].append(condition)
                else:
                    clauses.append([condition])
            self.groups.append(clauses)

    @property
    def fields(self) -> t.Set[str]:
        return {condition.field for clauses in self.groups for clause in clauses for condition in clause}

    def holds(self, row: t.Mapping[str, str]) -> bool:
        return any(all(any(condition.holds(row) for condition in clause) for clause in clauses) for clauses in self.groups)

    def page_after(self, last: str) -> str:
        """Return the query of the page that follows the record C(last)."""
        # "new query" begins a whole new filter, so each of them needs the limit.
        limit = ["sys_id>" + last] if last else []
        groups = (
            "^".join(["^OR".join("{}{}{}".format(*condition) for condition in clause) for clause in clauses] + limit)
            for clauses in self.groups
        )
        return "^".join(["^NQ".join(groups), "ORDERBYsys_id"]).lstrip("^")


class Listing(t.NamedTuple):
    """The rows of a query, and how many more the instance has that the account may not read."""

    rows: t.List[Row]
    hidden: int


class Table:
    """One table of an instance."""

    def __init__(self, client: Client, name: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise EdgeError(name, "is no table name.", "Use its name such as sys_encryption_rule, not its label.")
        self.client = client
        self.name = name
        self.path = "/api/now/table/" + name

    def __str__(self) -> str:
        return "table {} of {}".format(self.name, self.client.name)

    # Reading

    def list(self, query: str = "", fields: t.Sequence[str] = (), optional: t.Sequence[str] = (), limit: t.Optional[int] = None) -> Listing:
        """Return the rows that match, by C(sys_id).

        Args:
            fields: these must be in every row. None at all: whatever there is.
            optional: these too are asked for, but may be missing.
            limit: no more rows than these.
        """
        wanted = Query(query)
        must = sorted(set(fields) | wanted.fields | {"sys_id"}) if fields else ["sys_id"]
        rows = []  # type: t.List[Row]
        hidden = 0
        after, offset = "", 0
        while limit is None or len(rows) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(rows))
            params = {"sysparm_query": wanted.page_after(after), "sysparm_limit": str(size), "sysparm_exclude_reference_link": "true"}
            if fields:
                params["sysparm_fields"] = ",".join(must + [name for name in optional if name not in must])
            if offset:
                params["sysparm_offset"] = str(offset)
            page, total = self._page(params)
            for row in page:
                self._check(row, must, wanted, rows[-1]["sys_id"] if rows else "")
                rows.append(row)
            if total is None:
                if not page:
                    break
                after = rows[-1]["sys_id"]
                continue
            missing = max(0, min(size, total - offset) - len(page))
            hidden += missing
            if total <= offset + size:
                break
            if missing:
                # The last row that shows need not be the last one of the page, so this page is left by its length.
                offset += size
            else:
                after, offset = rows[-1]["sys_id"], 0
        return Listing(rows, hidden)

    def by_id(self, ids: t.Iterable[str], fields: t.Sequence[str], optional: t.Sequence[str] = ()) -> t.Dict[str, Row]:
        """Return those of the records that exist, by C(sys_id)."""
        todo = sorted(set(ids))
        found = {}  # type: t.Dict[str, Row]
        for start in range(0, len(todo), IDS_PER_QUERY):
            chunk = todo[start : start + IDS_PER_QUERY]
            found.update((row["sys_id"], row) for row in self.list("sys_idIN" + ",".join(chunk), fields, optional).rows)
        return found

    def get(self, sys_id: str, fields: t.Sequence[str] = (), optional: t.Sequence[str] = ()) -> Row:
        params = {"sysparm_exclude_reference_link": "true"}
        if fields:
            params["sysparm_fields"] = ",".join(sorted(set(fields) | {"sys_id"} | set(optional)))
        try:
            row = _row(self.client.get_json(self._record(sys_id), params).get("result"))
        except StatusError as error:
            if error.status == 404:
                raise NotFound("{} {}".format(self.name, sys_id), "does not exist, or may not be read.") from None
            raise
        self._check(row, list(fields), Query("sys_id=" + sys_id), "")
        return row

    def one(self, query: str, fields: t.Sequence[str], optional: t.Sequence[str] = ()) -> t.Optional[Row]:
        """Return the one record that matches, or None."""
        rows = self.list(query, fields, optional, limit=2).rows
        if len(rows) > 1:
            raise EdgeError(str(self), "more than one record matches {}.".format(query), sys_ids=[row["sys_id"] for row in rows])
        return rows[0] if rows else None

    # Writing

    def create(self, values: t.Mapping[str, str], key: t.Sequence[str], unreadable: t.Sequence[str] = (), **params: str) -> Row:
        """Create a record and return it as read back; C(key) names the fields that tell whether it is there already."""
        query = equals(**{name: values[name] for name in key})
        try:
            row = _row(self.client.send_json("POST", self.path, values, self._params(values, params)).get("result"))
        except RestError as error:
            # An error status or a lost answer does not mean that nothing was created.
            there = self.one(query, list(key)) if error.ambiguous else None
            if there is None:
                raise
            row = there
        return self._read_back(row.get("sys_id", ""), values, unreadable)

    def update(self, sys_id: str, values: t.Mapping[str, str], unreadable: t.Sequence[str] = (), **params: str) -> Row:
        """Set fields of a record and return it as read back. Setting the same values twice does no harm, so a lost answer is repeated."""
        for last_try in (False, True):
            try:
                self.client.send_json("PATCH", self._record(sys_id), values, self._params(values, params))
                break
            except RestError as error:
                if not error.ambiguous or last_try:
                    raise
        return self._read_back(sys_id, values, unreadable)

    def delete(self, sys_id: str) -> None:
        try:
            self.client.request("DELETE", self._record(sys_id))
        except RestError as error:
            gone = isinstance(error, StatusError) and error.status == 404
            if not gone and not error.ambiguous:
                raise
        if self.list("sys_id=" + sys_id, ["sys_id"]).rows:
            raise NotStored("{} {}".format(self.name, sys_id), "the record is still there after it was deleted.")

    # Inside

    def _record(self, sys_id: str) -> str:
        if not re.fullmatch(r"[0-9A-Za-z]+", sys_id):
            raise EdgeError(str(self), "{!r} is no sys_id.".format(sys_id))
        return "{}/{}".format(self.path, sys_id)

    def _params(self, values: t.Mapping[str, str], more: t.Mapping[str, str]) -> t.Dict[str, str]:
        return dict({"sysparm_fields": ",".join(["sys_id"] + sorted(values)), "sysparm_exclude_reference_link": "true"}, **more)

    def _page(self, params: t.Mapping[str, str]) -> t.Tuple[t.List[Row], t.Optional[int]]:
        value, headers = self.client.get_json_and_headers(self.path, params)
        result = value.get("result")
        if not isinstance(result, list):
            raise NotTheApi(str(self), "the answer carries no list of records.")
        total = headers.get("X-Total-Count", "")
        return [_row(item) for item in result], int(total) if total.isdigit() else None

    def _check(self, row: Row, must: t.Sequence[str], query: Query, after: str) -> None:
        missing = [name for name in must if name not in row]
        if missing:
            raise FieldsMissing(
                str(self),
                "the fields {} are not in the answer.".format(", ".join(missing)),
                "Either the names are wrong, or {} may not read them.".format(self.client.credentials.username or "the account"),
                fields=missing,
            )
        if not query.holds(row) or row.get("sys_id", "~") <= after:
            raise QueryIgnored(
                str(self),
                "the answer holds records that the query {} excludes.".format(query.text or "for the next page"),
                "An instance ignores the conditions it does not understand: check the field names.",
            )

    def _read_back(self, sys_id: str, values: t.Mapping[str, str], unreadable: t.Sequence[str]) -> Row:
        readable = sorted(set(values) - set(unreadable))
        row = self.get(sys_id, optional=readable, fields=["sys_id"])
        lost = [name for name in readable if row.get(name) != values[name]]
        if lost:
            raise NotStored(
                "{} {}".format(self.name, sys_id),
                "the instance answered with success, but did not store {}.".format(", ".join(lost)),
                "It leaves out silently what {} may not write.".format(self.client.credentials.username or "the account"),
                fields=lost,
            )
        return row


def _row(value: t.Any) -> Row:
    if not isinstance(value, dict):
        raise NotTheApi("Table API", "the answer carries no record.")
    # A reference may come as an object even where only its value was asked for.
    return {name: str(item.get("value", "") if isinstance(item, dict) else "" if item is None else item) for name, item in value.items()}


def equals(**values: str) -> str:
    """Return the query for records whose fields have these values.

    Raises:
        EdgeError: a value is empty or is not taken literally in a query.
    """
    for name, value in values.items():
        if not value:
            raise EdgeError(name, "is empty, and a query for that finds the records that have none.", "Give it.")
        if "^" in value or value.startswith("javascript:"):
            raise EdgeError(name, "{!r} cannot be looked up: it is not taken literally in a query.".format(value))
    return "^".join("{}={}".format(name, value) for name, value in sorted(values.items()))


def renamed(known: t.Mapping[str, str], given: t.Optional[t.Mapping[str, t.Any]], option: str = "fields") -> t.Dict[str, str]:
    """Return names of columns or values, with those that somebody gave in place of the defaults.

    Raises:
        EdgeError: something is given that is none of the known ones; C(option) says where.
    """
    unknown = sorted(set(given or {}) - set(known))
    if unknown:
        raise EdgeError(option, "has {}, which is not known.".format(", ".join(unknown)), "Use {}.".format(", ".join(sorted(known))))
    return dict(known, **{name: str(value) for name, value in (given or {}).items()})


def flag(value: bool) -> str:
    """Return a boolean as the Table API writes it."""
    return "true" if value else "false"


def instance_name(client: Client) -> str:
    """Return what the instance calls itself, or nothing if the account may not know."""
    row = Table(client, "sys_properties").one("name=instance_name", ["name", "value"])
    return row["value"] if row else ""
