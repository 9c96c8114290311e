# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Table API and Aggregate API."""

from __future__ import annotations

import datetime
import typing as t
import urllib.parse

import zoneinfo

from .http import Call, Problem, Reply
from .query import Invalid, compile_query, field_expression
from .records import Aborted, Duplicate
from .rules import abort_message
from .schema import Field, quote
from .store import Row

if t.TYPE_CHECKING:
    from .instance import Instance

_MASK = "********"
_METHODS = {False: ("GET", "HEAD", "POST"), True: ("GET", "HEAD", "PUT", "PATCH", "DELETE")}
NOT_FOUND = ("No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def acl_problem(operation: str) -> Problem:
    return Problem(403, "Operation Failed", "ACL Exception {} Failed due to security constraints".format(operation))


def guarded(operation: t.Callable[[], t.Any], table: str) -> t.Any:
    """Run a write; turn what the platform refuses into its error bodies."""
    try:
        return operation()
    except Aborted as error:
        raise Problem(403, "Operation Failed", abort_message(error)) from None
    except Duplicate:
        message = "Error during insert of {}: Unique Key violation detected by database".format(table)
        raise Problem(403, "Operation Failed", message) from None


def require_table(instance: Instance, table: str) -> None:
    if table not in instance.store.schema:
        raise Problem(400, "Invalid table {}".format(table))


def query_text(call: Call) -> str:
    """Return the encoded query: ``sysparm_query``, or else the name=value pairs."""
    if "sysparm_query" in call.query:
        return call.query["sysparm_query"]
    return "^".join("{}={}".format(name, value) for name, value in call.query.items() if not name.startswith("sysparm_"))


class Condition(t.NamedTuple):
    where: str
    params: list[str]
    order: str


def condition(instance: Instance, call: Call, table: str) -> Condition:
    """Compile the query of a request as far as the caller may ask."""
    if not instance.acl.may(call.user, table, "read"):
        raise Problem(403, "Insufficient rights to query records")
    compiled = compile_query(instance.store.schema, table, query_text(call), call.user.context)
    if any(not instance.acl.may_field(call.user, owner, field, "read") for owner, field in compiled.fields):
        raise Problem(403, "Field(s) present in the query do not have permission to be read.")
    if compiled.invalid and instance.invalid_query_returns_no_rows:
        return Condition("0", [], compiled.order)
    return Condition(compiled.where, compiled.params, compiled.order)


class Renderer:
    """Rows as the client wants to see them."""

    def __init__(self, instance: Instance, call: Call) -> None:
        self.instance = instance
        self.caller = call.user
        self.mode = call.query.get("sysparm_display_value", "false").lower()
        self.links = not call.flag("sysparm_exclude_reference_link")
        self.fields = [name.strip() for name in call.query.get("sysparm_fields", "").split(",") if name.strip()]
        self._rows: dict[tuple[str, str], Row | None] = {}
        self._displays: dict[tuple[str, str], str] = {}
        self._readable: dict[str, set[str]] = {}

    def row(self, table: str, row: Row) -> dict[str, t.Any]:
        if table not in self._readable:
            self._readable[table] = self.instance.acl.readable_fields(self.caller, table)
        readable = self._readable[table]
        fields = self.instance.store.schema[table].fields
        result: dict[str, t.Any] = {}
        for path in self.fields or fields:
            if "." in path:
                walked = self._walk(table, row, path)
                if walked:
                    result[path] = self._value(*walked)
            elif path in fields and path in readable:
                result[path] = self._value(table, fields[path], row[path])
        return result

    def _walk(self, table: str, row: Row | None, path: str) -> tuple[str, Field, str] | None:
        """Follow a dot-walk; None where it names no readable field."""
        name, dummy, rest = path.partition(".")
        field = self.instance.store.schema[table].fields.get(name)
        if field is None or not self.instance.acl.may_field(self.caller, table, name, "read"):
            return None
        value = row[name] if row else ""
        if not rest:
            return table, field, value
        if field.reference not in self.instance.store.schema or not self.instance.acl.may(self.caller, field.reference, "read"):
            return None
        key = (field.reference, value)
        if key not in self._rows:
            self._rows[key] = self.instance.store.get(*key) if value else None
        return self._walk(field.reference, self._rows[key], rest)

    def _value(self, table: str, field: Field, value: str) -> t.Any:
        if field.type in ("password", "password2") and value:
            value = _MASK
        reference = field.type == "reference" and value
        link = "{}/api/now/table/{}/{}".format(self.instance.url, field.reference, value) if reference and self.links else ""
        if self.mode not in ("true", "all"):
            return {"link": link, "value": value} if link else value
        shown = self.display(table, field, value)
        if self.mode == "true":
            return {"display_value": shown, "link": link} if link else shown
        both = {"display_value": shown, "value": value}
        if link:
            both["link"] = link
        return both

    def display(self, table: str, field: Field, value: str) -> str:
        if not value:
            return ""
        if field.reference:
            key = (field.reference, value)
            if key not in self._displays:
                self._displays[key] = self.instance.store.display(*key)
            return self._displays[key]
        if field.type == "glide_date_time":
            return local_time(value, self.caller.time_zone)
        label = self.instance.store.schema.label(table, field.name, value)
        return value if label is None else label


def local_time(value: str, zone: str) -> str:
    """Return a stored UTC time in a user's time zone."""
    try:
        moment = datetime.datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
        return moment.astimezone(zoneinfo.ZoneInfo(zone or "UTC")).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return value


def handle_table(instance: Instance, call: Call, version: str, table: str, sys_id: str) -> Reply:
    """``/api/now[/v1|/v2]/table/{table}[/{sys_id}]``."""
    method = call.method
    if method == "POST":
        method = call.headers.get("x-http-method-override", method).upper()
    if method not in _METHODS[bool(sys_id)]:
        raise Problem(405, "Method not Supported", "{} method not supported for API".format(method))
    require_table(instance, table)
    if method in ("GET", "HEAD"):
        return _get(instance, call, table, sys_id) if sys_id else _list(instance, call, version, table)
    if method == "POST":
        return _insert(instance, call, table)
    if method == "DELETE":
        return _delete(instance, call, table, sys_id)
    return _update(instance, call, table, sys_id)


def _list(instance: Instance, call: Call, version: str, table: str) -> Reply:
    limit, offset = call.number("sysparm_limit", 10000), call.number("sysparm_offset", 0)
    if offset < 0:
        raise Problem(400, "Invalid value for sysparm_offset", "sysparm_offset must not be negative")
    where, params, order = condition(instance, call, table)
    rows = instance.store.select(table, where, params, order=order, limit=limit, offset=offset)
    headers = {}
    total = None
    if not call.flag("sysparm_no_count"):
        total = instance.store.count(table, where, params)
        headers["X-Total-Count"] = str(total)
    if total is not None and not call.flag("sysparm_suppress_pagination_header"):
        headers["Link"] = _links(instance, call, limit, offset, total)
    rows = instance.acl.visible(call.user, table, rows)
    if not rows and version == "v1":
        detail = "Records matching query not found. Check query parameter or offset parameter"
        raise Problem(404, "No Record found", detail)
    render = Renderer(instance, call)
    return call.reply(200, {"result": [render.row(table, row) for row in rows]}, headers)


def _links(instance: Instance, call: Call, limit: int, offset: int, total: int) -> str:
    """Return the Link header. On the first page ``prev`` has a negative offset, as captured from the platform."""
    pairs = [(name, value) for name, value in call.query.items() if name != "sysparm_offset"]
    last = (total - 1) // limit * limit if limit > 0 and total else 0
    targets = [("first", 0)]
    if last:
        targets.append(("prev", offset - limit))
    if offset + limit < total:
        targets.append(("next", offset + limit))
    targets.append(("last", last))
    return ",".join(
        '<{}{}?{}>;rel="{}"'.format(instance.url, call.path, urllib.parse.urlencode([*pairs, ("sysparm_offset", str(start))]), name)
        for name, start in targets
    )


def _existing(instance: Instance, call: Call, table: str, sys_id: str) -> Row:
    row = instance.store.get(table, sys_id)
    if row is None or not instance.acl.visible(call.user, table, [row]):
        raise Problem(404, *NOT_FOUND)
    return row


def _record(instance: Instance, call: Call, table: str, row: Row, status: int, headers: t.Mapping[str, str] | None = None) -> Reply:
    if call.headers.get("x-no-response-body", "").lower() == "true":
        return Reply(status, headers=dict(headers or {}))
    return call.reply(status, {"result": Renderer(instance, call).row(table, row)}, headers)


def _get(instance: Instance, call: Call, table: str, sys_id: str) -> Reply:
    return _record(instance, call, table, _existing(instance, call, table, sys_id), 200)


def _insert(instance: Instance, call: Call, table: str) -> Reply:
    values = call.json_body()
    row = create(instance, call, table, values, by_display=call.flag("sysparm_input_display_value"))
    location = "{}/api/now/table/{}/{}".format(instance.url, table, row["sys_id"])
    return _record(instance, call, table, row, 201, {"Location": location})


def create(instance: Instance, call: Call, table: str, values: t.Mapping[str, t.Any], *, by_display: bool = False) -> Row:
    """Insert a record as far as the caller may."""
    if not instance.acl.may(call.user, table, "create"):
        raise acl_problem("Insert")
    row = instance.records.normalise(table, values, by_display=by_display)
    row = {name: value for name, value in row.items() if instance.acl.may_field(call.user, table, name, "write")}
    return guarded(lambda: instance.records.insert(table, row, call.user.user_name), table)


def _update(instance: Instance, call: Call, table: str, sys_id: str) -> Reply:
    values = call.json_body()
    row = _existing(instance, call, table, sys_id)
    new = modify(instance, call, table, row, values, by_display=call.flag("sysparm_input_display_value"))
    return _record(instance, call, table, new, 200)


def modify(instance: Instance, call: Call, table: str, row: Row, values: t.Mapping[str, t.Any], *, by_display: bool = False) -> Row:
    """Update a record as far as the caller may; columns that he may not write are left as they are, without a word."""
    table = instance.records.class_of(table, row["sys_id"])
    if not instance.acl.may(call.user, table, "write") or not instance.acl.visible(call.user, table, [row], "write"):
        if instance.knobs["elevation_refusal"] == "silent" and instance.acl.only_elevation_lacks(call.user, table, "write"):
            return row
        raise acl_problem("Update")
    changes = instance.records.normalise(table, values, by_display=by_display)
    changes = {name: value for name, value in changes.items() if instance.acl.may_field(call.user, table, name, "write")}
    return guarded(lambda: instance.records.update(table, row["sys_id"], changes, call.user.user_name), table)


def _delete(instance: Instance, call: Call, table: str, sys_id: str) -> Reply:
    row = _existing(instance, call, table, sys_id)
    remove(instance, call, table, row)
    return Reply(204)


def remove(instance: Instance, call: Call, table: str, row: Row) -> None:
    """Delete a record as far as the caller may."""
    if not instance.acl.may(call.user, table, "delete"):
        raise acl_problem("Delete")
    guarded(lambda: instance.records.delete(table, row["sys_id"], call.user.user_name), table)


def handle_stats(instance: Instance, call: Call, table: str) -> Reply:
    """``/api/now/stats/{table}``: count, avg, min, max, sum, grouped or not."""
    if call.method not in ("GET", "HEAD"):
        raise Problem(405, "Method not Supported", "{} method not supported for API".format(call.method))
    require_table(instance, table)
    where, params, dummy = condition(instance, call, table)
    schema = instance.store.schema

    def names(parameter: str) -> list[str]:
        return [name.strip() for name in call.query.get(parameter, "").split(",") if name.strip()]

    groups = {}
    columns = {"count": "count(*)"}
    for name in names("sysparm_group_by"):
        try:
            groups[name] = field_expression(schema, table, name)
        except Invalid:
            continue
    for function in ("avg", "min", "max", "sum"):
        for name in names("sysparm_{}_fields".format(function)):
            try:
                expression, field, dummy = field_expression(schema, table, name)
            except Invalid:
                continue
            numeric = field.type == "integer" or function in ("avg", "sum")
            value = "CAST(NULLIF({}, '') AS REAL)".format(expression) if numeric else expression
            columns["{}.{}".format(function, name)] = "{}({})".format(function, value)
    classes, class_params = schema.class_filter(table, "a0")
    selected = [expression for expression, dummy, dummy in groups.values()] + list(columns.values())
    sql = "SELECT {} FROM {} a0 WHERE ({}) AND {}".format(", ".join(selected), quote(schema[table].physical), where, classes)
    if groups:
        sql += " GROUP BY " + ", ".join(expression for expression, dummy, dummy in groups.values())
        sql += " ORDER BY " + (_stats_order(names("sysparm_order_by"), groups, columns) or "1")
    rows = instance.store.db.execute(sql, [*params, *class_params]).fetchall()
    render = Renderer(instance, call)
    result = []
    for row in rows:
        stats: dict[str, t.Any] = {}
        if call.flag("sysparm_count"):
            stats["count"] = str(row[len(groups)])
        for position, name in enumerate(columns):
            if name != "count":
                function, dummy, field_name = name.partition(".")
                stats.setdefault(function, {})[field_name] = _number(row[len(groups) + position], function)
        fields = []
        for position, (name, (dummy, field, owner)) in enumerate(groups.items()):
            value = row[position]
            shown = render.display(owner, field, value)
            entry = {"field": name, "value": shown if render.mode == "true" else value}
            if render.mode == "all":
                entry["display_value"] = shown
            fields.append(entry)
        group: dict[str, t.Any] = {"stats": stats}
        if groups:
            group["groupby_fields"] = fields
        if _having(call.query.get("sysparm_having", ""), {"count": str(row[len(groups)]), **stats}):
            result.append(group)
    return call.reply(200, {"result": result if groups else result[0] if result else {"stats": {}}})


def _stats_order(names: list[str], groups: dict[str, t.Any], columns: dict[str, str]) -> str:
    terms = []
    for name in names:
        name, dummy, direction = name.partition("^")
        expression = groups[name][0] if name in groups else columns.get(name.replace("COUNT", "count").replace("^", "."))
        if expression:
            terms.append("{} {}".format(expression, "DESC" if direction.upper() == "DESC" else "ASC"))
    return ", ".join(terms)


def _number(value: t.Any, function: str) -> str:
    if value is None:
        return ""
    if function == "avg":
        return "{:.4f}".format(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _having(text: str, stats: dict[str, t.Any]) -> bool:
    """Check ``aggregate^field^operator^value`` (for count the field is any)."""
    parts = text.split("^")
    if len(parts) != 4:
        return True
    function, field, operator, limit = parts
    value = stats.get(function.lower(), "")
    value = value.get(field, "") if isinstance(value, dict) else value
    try:
        left, right = float(value), float(limit)
    except ValueError:
        return False
    return {"=": left == right, "!=": left != right, ">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}.get(
        operator, True
    )
