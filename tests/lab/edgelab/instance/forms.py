# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Classic pages: the form of a record, the dialog that elevates a session, and ``xmlstats.do``.

A form post answers 302 to the record when it was saved, and 200 with a page that says why when it was not (lab's choice).
"""

from __future__ import annotations

import typing as t
from xml.sax.saxutils import escape, quoteattr

from .http import XML, Call, Problem, Reply, html_reply
from .store import Row
from .table_api import create, modify, remove

if t.TYPE_CHECKING:
    from .instance import Instance


def handle_form(instance: Instance, call: Call, table: str) -> Reply:
    """``/<table>.do``: GET shows the record and the token, POST saves it."""
    form = {**call.query, **(call.form() if call.method == "POST" else {})}
    sys_id = form.get("sys_uniqueValue") or form.get("sys_id", "")
    row = instance.store.get(table, sys_id) if sys_id and sys_id != "-1" else None
    if not instance.acl.may(call.user, table, "read") or (row is not None and not instance.acl.visible(call.user, table, [row])):
        return html_reply(200, "Security constraints prevent access to requested page")
    if row is None and sys_id not in ("", "-1"):
        return html_reply(200, "Record not found")
    if call.method != "POST":
        return _page(instance, call, table, row)
    if not token_fits(call, form):
        return html_reply(403, "Invalid or expired security token")
    values = {name.partition(".")[2] if name.startswith(table + ".") else name: value for name, value in form.items()}
    action = form.get("sys_action", "sysverb_update")
    try:
        if action == "sysverb_delete" and row is not None:
            remove(instance, call, table, row)
            return html_reply(302, "Deleted", headers={"Location": "{}/{}_list.do".format(instance.url, table)})
        if row is None:
            saved = create(instance, call, table, values, by_display=True)
        else:
            saved = modify(instance, call, table, row, values, by_display=True)
    except Problem as problem:
        return html_reply(200, "Record not saved", escape("{}: {}".format(problem.message, problem.detail)))
    return html_reply(302, "Saved", headers={"Location": "{}/{}.do?sys_id={}".format(instance.url, table, saved["sys_id"])})


def token_fits(call: Call, form: t.Mapping[str, str]) -> bool:
    return call.user.session.token in (form.get("sysparm_ck"), call.headers.get("x-usertoken"))


def _token_field(call: Call) -> str:
    token = call.user.session.token
    return '<script>var g_ck = "{0}";</script><input type="hidden" name="sysparm_ck" value="{0}"/>'.format(token)


def _page(instance: Instance, call: Call, table: str, row: Row | None) -> Reply:
    readable = instance.acl.readable_fields(call.user, table)
    fields = instance.store.schema[table].fields
    inputs = "".join(
        "<input name={} value={}/>".format(quoteattr("{}.{}".format(table, name)), quoteattr(row[name] if row else field.default))
        for name, field in fields.items()
        if name in readable and field.type not in ("password", "password2")
    )
    identity = '<input type="hidden" name="sys_uniqueValue" value="{}"/>'.format(row["sys_id"] if row else "-1")
    content = '<form method="post" action="{}.do">{}{}{}</form>'.format(table, _token_field(call), identity, inputs)
    return html_reply(200, instance.store.schema[table].label, content)


def handle_elevation(instance: Instance, call: Call) -> Reply:
    """``/elevated_role_dialog.do``: POST ``role=security_admin`` with the token elevates the session."""
    if call.method != "POST":
        return html_reply(200, "Elevate role", '<form method="post">{}<input name="role"/></form>'.format(_token_field(call)))
    form = call.form()
    role = form.get("role", "security_admin")
    if not token_fits(call, form):
        return html_reply(403, "Invalid or expired security token")
    if role not in call.user.roles or role != "security_admin":
        return html_reply(403, "You cannot elevate to this role")
    call.user.session.elevated = True
    return html_reply(200, "Elevated to {}".format(role))


def handle_xmlstats(instance: Instance, call: Call) -> Reply:
    """``/xmlstats.do?include=edgeencryption``: the proxies and whether they are up."""
    proxies = ""
    if "edgeencryption" in call.query.get("include", "").split(","):
        proxies = "<edgeencryption>{}</edgeencryption>".format(
            "".join(
                "<proxy name={} host={} status={} online={} last_response_on={}/>".format(
                    *(quoteattr(row[name]) for name in ("name", "host", "status", "online", "last_response_on"))
                )
                for row in instance.store.select("sys_encryption_proxy", order="a0.name")
            )
        )
    text = '<?xml version="1.0" encoding="UTF-8"?><xmlstats><instance_name>{}</instance_name>{}</xmlstats>'
    return Reply(200, text.format(escape(instance.name), proxies).encode("utf-8"), XML)
