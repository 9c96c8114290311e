# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The two ways to write a rule or configuration through a proxy."""

import typing as t
from html.parser import HTMLParser

from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, NotTheApi
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import Layout
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import Row, Table


class TableApi:
    """PATCH of the Table API."""

    name = "table_api"

    def write(self, edge: Client, direct: Client, layout: Layout, sys_id: str, values: t.Mapping[str, str]) -> Row:
        fields = sorted(set(layout.state_fields) | set(values) | {"sys_id"})
        path = "/api/now/table/{}/{}".format(layout.table, sys_id)
        params = {"sysparm_fields": ",".join(fields), "sysparm_exclude_reference_link": "true"}
        row = edge.send_json("PATCH", path, values, params).get("result")
        if isinstance(row, dict) and row.get("sys_id") == sys_id and all(name in row for name in fields):
            return {name: str(row[name]) for name in fields}
        return Table(direct, layout.table).get(sys_id, fields)


class Form:
    """What the form view of a browser does: fetch the form with its token, post it."""

    name = "form"

    def write(self, edge: Client, direct: Client, layout: Layout, sys_id: str, values: t.Mapping[str, str]) -> Row:
        path = "/{}.do".format(layout.table)
        page = edge.request("GET", path, {"sys_id": sys_id}, headers={"Accept": "text/html"})
        form = _hidden_inputs(page.body.decode("utf-8", "replace"))
        if "sysparm_ck" not in form:
            raise NotTheApi(
                "GET {}{}".format(edge.name, path),
                "the form carries no sysparm_ck.",
                "The session may not see the form.",
                transient=False,
            )
        form.update(("{}.{}".format(layout.table, name), value) for name, value in values.items())
        form.update(sys_target=layout.table, sys_uniqueValue=sys_id, sys_action="sysverb_update")
        edge.request("POST", path, data=form, headers={"Accept": "text/html"}, redirects=True)
        # The answer is a page or a redirect whatever happened, so only the record tells.
        return Table(direct, layout.table).get(sys_id, sorted(set(layout.state_fields) | set(values)))


Transport = t.Union[TableApi, Form]
TABLE_API, FORM = TableApi(), Form()
TRANSPORTS = {"table_api": (TABLE_API,), "form": (FORM,), "auto": (TABLE_API, FORM)}  # type: t.Dict[str, t.Tuple[Transport, ...]]


def _hidden_inputs(page: str) -> t.Dict[str, str]:
    found = {}  # type: t.Dict[str, str]

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: t.List[t.Tuple[str, t.Optional[str]]]) -> None:
            values = dict(attrs)
            name = values.get("name")
            if tag == "input" and name and values.get("type") == "hidden":
                found[name] = values.get("value") or ""

    Parser().feed(page)
    return found
