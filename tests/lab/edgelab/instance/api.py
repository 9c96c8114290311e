# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a path to the API behind it."""

from __future__ import annotations

import base64
import re
import time
import typing as t

from .attachment_api import handle_attachment
from .auth import login, oauth_token
from .edge import handle_edge
from .forms import handle_elevation, handle_form, handle_xmlstats
from .http import Call, Problem, Reply, html_reply, json_reply, problem_reply
from .table_api import handle_stats, handle_table

if t.TYPE_CHECKING:
    from .instance import Instance

Handler = t.Callable[["Instance", Call], Reply]

# Paths that need no login.
PUBLIC: dict[str, Handler] = {"/oauth_token.do": oauth_token, "/xmlstats.do": handle_xmlstats, "/login.do": login}
_API = re.compile(r"^/api/now(?:/(v1|v2))?/(table|stats|attachment|batch)(?:/(.*))?$")
_BATCH_SECONDS = 30


def handle(instance: Instance, call: Call) -> Reply:
    """Answer a request whose caller is known (or need not be)."""
    try:
        return _route(instance, call)
    except Problem as problem:
        return problem_reply(problem)


def _route(instance: Instance, call: Call) -> Reply:
    path = call.path
    if path in PUBLIC:
        return PUBLIC[path](instance, call)
    match = _API.match(path)
    if match:
        version, api, rest = match.group(1) or "v2", match.group(2), [part for part in (match.group(3) or "").split("/") if part]
        if api == "table" and len(rest) in (1, 2):
            return handle_table(instance, call, version, rest[0], rest[1] if len(rest) == 2 else "")
        if api == "stats" and len(rest) == 1:
            return handle_stats(instance, call, rest[0])
        if api == "attachment" and len(rest) <= 2:
            return handle_attachment(instance, call, rest)
        if api == "batch" and not rest:
            return _batch(instance, call)
    elif path.startswith("/edge/"):
        return handle_edge(instance, call, path[len("/edge/") :])
    elif path == "/elevated_role_dialog.do":
        return handle_elevation(instance, call)
    elif path.endswith(".do") and path[1:-3] in instance.store.schema:
        return handle_form(instance, call, path[1:-3])
    elif not path.startswith("/api/"):
        return html_reply(404, "Page not found")
    raise Problem(400, "Requested URI does not represent any resource")


def _batch(instance: Instance, call: Call) -> Reply:
    """``POST /api/now/v1/batch``: one after the other, what does not fit into the time comes back unserviced."""
    if call.method != "POST":
        raise Problem(405, "Method not Supported", "{} method not supported for API".format(call.method))
    body = call.json_body()
    began = time.monotonic()
    serviced, unserviced = [], []
    for item in body.get("rest_requests", []):
        if time.monotonic() - began > _BATCH_SECONDS:
            unserviced.append(item["id"])
            continue
        start = time.monotonic()
        path, dummy, query = item["url"].partition("?")
        headers = {header["name"].lower(): header["value"] for header in item.get("headers", [])}
        content = base64.b64decode(item.get("body", "") or "")
        reply = handle(instance, Call(item["method"].upper(), path, query, headers, content, call.caller))
        answer = {
            "id": item["id"],
            "body": base64.b64encode(reply.body).decode(),
            "status_code": reply.status,
            "status_text": "OK" if reply.status < 400 else "Failure",
            "execution_time": int((time.monotonic() - start) * 1000),
        }
        if not item.get("exclude_response_headers"):
            pairs = {"Content-Type": reply.content_type, **reply.headers}
            answer["headers"] = [{"name": name, "value": value} for name, value in pairs.items()]
        serviced.append(answer)
    number = str(body.get("batch_request_id", ""))
    return json_reply(200, {"batch_request_id": number, "serviced_requests": serviced, "unserviced_requests": unserviced})
