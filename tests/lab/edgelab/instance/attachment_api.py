# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attachment API: ``/api/now/attachment``. The bytes live in ``sys_attachment_doc``."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import typing as t

from .http import Call, Problem, Reply
from .query import compile_query
from .rules import ATTACHMENT_MARK, active_configurations, refuse_clear_text
from .store import Row
from .table_api import NOT_FOUND, acl_problem, guarded, query_text, require_table

if t.TYPE_CHECKING:
    from .instance import Instance


def handle_attachment(instance: Instance, call: Call, parts: list[str]) -> Reply:
    if call.method in ("GET", "HEAD") and len(parts) <= 1:
        return call.reply(200, {"result": _describe(instance, _existing(instance, call, parts[0]))}) if parts else _list(instance, call)
    if call.method in ("GET", "HEAD") and len(parts) == 2 and parts[1] == "file":
        return _download(instance, call, parts[0])
    if call.method == "POST" and parts in (["file"], ["upload"]):
        return _upload(instance, call) if parts == ["upload"] else _file(instance, call)
    if call.method == "DELETE" and len(parts) == 1:
        row = _existing(instance, call, parts[0])
        if not instance.acl.may(call.user, row["table_name"], "write"):
            raise acl_problem("Delete")
        guarded(lambda: instance.records.delete("sys_attachment", row["sys_id"], call.user.user_name), "sys_attachment")
        return Reply(204)
    raise Problem(405, "Method not Supported", "{} method not supported for API".format(call.method))


def _readable(instance: Instance, call: Call, row: Row) -> bool:
    """An attachment is as readable as the record it hangs on."""
    return row["table_name"] in instance.store.schema and instance.acl.may(call.user, row["table_name"], "read")


def _existing(instance: Instance, call: Call, sys_id: str) -> Row:
    row = instance.store.get("sys_attachment", sys_id)
    if row is None or not _readable(instance, call, row):
        raise Problem(404, *NOT_FOUND)
    return row


def _describe(instance: Instance, row: Row) -> Row:
    link = "{}/api/now/attachment/{}/file".format(instance.url, row["sys_id"])
    return {**row, "download_link": link}


def _list(instance: Instance, call: Call) -> Reply:
    compiled = compile_query(instance.store.schema, "sys_attachment", query_text(call), call.user.context)
    where = "0" if compiled.invalid and instance.invalid_query_returns_no_rows else compiled.where
    limit, offset = call.number("sysparm_limit", 10000), call.number("sysparm_offset", 0)
    rows = instance.store.select("sys_attachment", where, compiled.params, order=compiled.order, limit=limit, offset=offset)
    headers = {"X-Total-Count": str(instance.store.count("sys_attachment", where, compiled.params))}
    return call.reply(200, {"result": [_describe(instance, row) for row in rows if _readable(instance, call, row)]}, headers)


def _download(instance: Instance, call: Call, sys_id: str) -> Reply:
    row = _existing(instance, call, sys_id)
    documents = instance.store.find("sys_attachment_doc", sys_attachment=sys_id)
    if not documents:
        raise Problem(404, "No Record found", "The attachment has no data")
    content = b"".join(base64.b64decode(doc["data"]) for doc in sorted(documents, key=lambda doc: int(doc["position"])))
    disposition = 'attachment; filename="{}"'.format(row["file_name"].replace('"', ""))
    return Reply(200, content, row["content_type"], {"Content-Disposition": disposition})


def _file(instance: Instance, call: Call) -> Reply:
    if not call.headers.get("content-type"):
        raise Problem(400, "Exception while reading request", "Content-Type header is missing")
    query = call.query
    missing = [name for name in ("table_name", "table_sys_id", "file_name") if not query.get(name)]
    if missing:
        raise Problem(400, "Required parameter missing", ", ".join(missing))
    return _store(instance, call, query["table_name"], query["table_sys_id"], query["file_name"], call.headers["content-type"], call.body)


def _upload(instance: Instance, call: Call) -> Reply:
    """Take the parts of a multipart form; the file is the part that has a file name."""
    head = b"Content-Type: " + call.headers.get("content-type", "").encode("latin-1") + b"\r\n\r\n"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + call.body)
    values: dict[str, str] = {}
    upload = None
    for part in message.iter_parts() if message.is_multipart() else ():
        content = t.cast(bytes, part.get_payload(decode=True) or b"")
        if part.get_filename():
            upload = (part.get_filename() or "", part.get_content_type(), content)
        else:
            values[str(part.get_param("name", header="content-disposition"))] = content.decode("utf-8", "replace").strip()
    if upload is None or not values.get("table_name") or not values.get("table_sys_id"):
        raise Problem(400, "Failed to create the attachment", "table_name, table_sys_id and a file are required")
    return _store(instance, call, values["table_name"], values["table_sys_id"], *upload)


def _store(instance: Instance, call: Call, table: str, record: str, name: str, kind: str, content: bytes) -> Reply:
    require_table(instance, table)
    if instance.store.get(table, record) is None or not instance.acl.may(call.user, table, "read"):
        raise Problem(404, *NOT_FOUND)
    if not instance.acl.may(call.user, table, "write"):
        raise acl_problem("Insert")
    if active_configurations(instance.records, table, "attachment") and not content.startswith(ATTACHMENT_MARK):
        guarded(lambda: refuse_clear_text(instance.records, table, "", record), table)
    values = {
        "file_name": name,
        "table_name": table,
        "table_sys_id": record,
        "content_type": kind,
        "size_bytes": str(len(content)),
        "size_compressed": str(len(content)),
        "hash": hashlib.sha256(content).hexdigest(),
        "state": "available",
    }
    row = instance.records.insert("sys_attachment", values, call.user.user_name)
    document = {"sys_attachment": row["sys_id"], "position": "0", "length": str(len(content)), "data": base64.b64encode(content).decode()}
    instance.records.insert("sys_attachment_doc", document, call.user.user_name)
    location = "{}/api/now/attachment/{}".format(instance.url, row["sys_id"])
    return call.reply(201, {"result": _describe(instance, row)}, {"Location": location})
