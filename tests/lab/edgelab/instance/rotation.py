# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key rotation: the instance keeps the books, the proxies do the work.

A job of ``sysauto_encryption_job`` with ``run_type`` *once* runs when ``run_start`` is past, as *Execute Now* on the form makes it run. Its execution is
cut into chunks. One proxy fetches them one by one, re-encrypts, and hands them back. When it falls silent, the execution is *interrupted*; the job
executed again goes on with the chunks that are left.
"""

from __future__ import annotations

import base64
import re
import time
import typing as t

from .query import utc_now
from .store import Row

if t.TYPE_CHECKING:
    from .instance import Instance

SINGLE, MASS, ATTACHMENT = "single_key_rotation", "mass_key_rotation", "attachment_key_rotation"
RUNNING, INTERRUPTED = "running", "interrupted"
ENDED = ("complete", "complete_with_errors")
_VALUE = re.compile(r"edge:(?:[se]|o:[0-9a-f]{16}):(?P<alias>[A-Za-z0-9._-]+):")
_ATTACHMENT = b"EDGEATT1"


def tick(instance: Instance) -> None:
    """Execute what is due, and interrupt what lost its proxy."""
    store = instance.store
    for job in store.find("sysauto_encryption_job", active="true", run_type="once"):
        if job["run_start"] and job["run_start"] <= utc_now() and job["run_start"] != job["last_run_start"]:
            store.change("sysauto_encryption_job", job["sys_id"], {"last_run_start": job["run_start"]})
            _execute(instance, job)
    for execution in store.find("sys_encryption_job_execution", state=RUNNING):
        proxy = execution["proxy"] and store.get("sys_encryption_proxy", execution["proxy"])
        if proxy and proxy["online"] != "true":
            interrupt(instance, proxy["sys_id"])


def interrupt(instance: Instance, proxy: str) -> None:
    """Stop what a proxy worked on that fell silent or started anew."""
    store = instance.store
    for execution in store.find("sys_encryption_job_execution", state=RUNNING, proxy=proxy):
        store.change("sys_encryption_job_execution", execution["sys_id"], {"state": INTERRUPTED, "proxy": ""})
        for chunk in store.find("sys_encryption_job_execution_chunk", execution=execution["sys_id"], state=RUNNING):
            store.change("sys_encryption_job_execution_chunk", chunk["sys_id"], {"state": "pending"})


def _execute(instance: Instance, job: Row) -> None:
    store = instance.store
    for execution in store.find("sys_encryption_job_execution", job=job["sys_id"]):
        if execution["state"] == RUNNING:
            return
        if execution["state"] == INTERRUPTED:
            store.change("sys_encryption_job_execution", execution["sys_id"], {"state": RUNNING})
            return
    items = list(_items(instance, job))
    values = {"job": job["sys_id"], "state": RUNNING, "table": job["table"], "total": str(len(items)), "started": utc_now()}
    execution = instance.records.insert("sys_encryption_job_execution", values, "system")
    size = int(instance.knobs["rotation_chunk_size"])
    for start in range(0, len(items), size):
        text = ",".join("/".join(item) for item in items[start : start + size])
        instance.records.insert("sys_encryption_job_execution_chunk", {"execution": execution["sys_id"], "state": "pending", "records": text}, "system")
    if not items:
        _end(instance, execution["sys_id"])


def old_aliases(instance: Instance, job: Row) -> set[str]:
    """Return the aliases that a job takes values away from: its key, or all that are no default."""
    store = instance.store
    if job["job_type"] == SINGLE:
        return {key["alias"] for key in store.find("sys_encryption_key", sys_id=job["key"])}
    defaults = {row["key"] for row in store.find("sys_encryption_key_configuration", active="true")}
    return {key["alias"] for key in store.select("sys_encryption_key") if key["sys_id"] not in defaults}


def _columns(instance: Instance) -> dict[str, list[str]]:
    """Return the encrypted columns by table. What was encrypted before a configuration was switched off still is."""
    found: dict[str, list[str]] = {}
    for row in instance.store.find("sys_encryption_configuration", type="column"):
        if row["column"] not in found.setdefault(row["table"], []):
            found[row["table"]].append(row["column"])
    return {**found, "sys_audit": ["oldvalue", "newvalue"]}


def _items(instance: Instance, job: Row) -> t.Iterator[tuple[str, str]]:
    """Yield (table, sys_id) of everything that has a value under an old alias."""
    aliases = old_aliases(instance, job)
    if job["job_type"] == ATTACHMENT:
        for attachment in instance.store.find("sys_attachment", table_name=job["table"]):
            if alias_of_attachment(_content(instance, attachment["sys_id"])) in aliases:
                yield "sys_attachment", attachment["sys_id"]
        return
    for table, columns in _columns(instance).items():
        for row in instance.store.select(table):
            if any(_under(row[column], aliases) for column in columns):
                yield table, row["sys_id"]


def _under(value: str, aliases: t.Collection[str]) -> bool:
    return any(match["alias"] in aliases for match in _VALUE.finditer(value))


def _content(instance: Instance, attachment: str) -> bytes:
    documents = instance.store.find("sys_attachment_doc", sys_attachment=attachment)
    return b"".join(base64.b64decode(doc["data"]) for doc in sorted(documents, key=lambda doc: int(doc["position"])))


def alias_of_attachment(content: bytes) -> str:
    if not content.startswith(_ATTACHMENT):
        return ""
    start = len(_ATTACHMENT) + 1
    return content[start : start + content[start - 1]].decode("utf-8", "replace")


# What the proxies ask and hand in


def next_chunk(instance: Instance, proxy: str) -> dict[str, t.Any]:
    """Return the next work for a proxy, or nothing."""
    store = instance.store
    row = store.first("sys_encryption_proxy", name=proxy)
    if row is None or row["status"] != "Authenticated" or time.monotonic() < instance.next_chunk_at:
        return {}
    for execution in store.find("sys_encryption_job_execution", state=RUNNING):
        if execution["proxy"] not in ("", row["sys_id"]):
            continue  # an execution is one proxy's
        job = store.get("sysauto_encryption_job", execution["job"])
        chunk = store.first("sys_encryption_job_execution_chunk", execution=execution["sys_id"], state="pending")
        if job is None or chunk is None:
            continue
        store.change("sys_encryption_job_execution", execution["sys_id"], {"proxy": row["sys_id"]})
        store.change("sys_encryption_job_execution_chunk", chunk["sys_id"], {"state": RUNNING})
        instance.next_chunk_at = time.monotonic() + float(instance.knobs["rotation_chunk_seconds"])
        aliases = old_aliases(instance, job)
        items = [_hand_out(instance, *item.split("/"), aliases) for item in chunk["records"].split(",")]
        return {"chunk": chunk["sys_id"], "aliases": sorted(aliases), "items": [item for item in items if item]}
    return {}


def _hand_out(instance: Instance, table: str, sys_id: str, aliases: set[str]) -> dict[str, t.Any]:
    row = instance.store.get(table, sys_id)
    if row is None:
        return {}
    if table == "sys_attachment":
        return {"table": table, "sys_id": sys_id, "content": base64.b64encode(_content(instance, sys_id)).decode()}
    columns = _columns(instance)[table]
    return {"table": table, "sys_id": sys_id, "values": {column: row[column] for column in columns if _under(row[column], aliases)}}


def take_back(instance: Instance, body: dict[str, t.Any]) -> None:
    """Store what a proxy re-encrypted. A value that somebody changed meanwhile is left as it is: it is under the new key already."""
    store = instance.store
    chunk = store.get("sys_encryption_job_execution_chunk", body["chunk"])
    if chunk is None or chunk["state"] != RUNNING:
        return  # it was taken away from this proxy
    for item in body["items"]:
        error = item.get("error") or ("Data too long for the column" if item["sys_id"] in instance.knobs["rotation_failures"] else "")
        if error:
            failure = {"execution": chunk["execution"], "state": "failed", "table": item["table"], "record": item["sys_id"], "error": error}
            instance.records.insert("sys_encryption_job_execution_chunk", failure, "system")
        elif "content" in item:
            _store_attachment(instance, item["sys_id"], base64.b64decode(item["content"]))
        elif store.get(item["table"], item["sys_id"]):
            row = store.get(item["table"], item["sys_id"]) or {}
            changes = {name: new for name, (old, new) in item["values"].items() if row[name] == old}
            if changes:  # not an update of the record: no sys fields, no business rules
                store.change(item["table"], item["sys_id"], changes)
    store.change("sys_encryption_job_execution_chunk", chunk["sys_id"], {"state": "complete"})
    _count(instance, chunk["execution"])


def _store_attachment(instance: Instance, sys_id: str, content: bytes) -> None:
    documents = sorted(instance.store.find("sys_attachment_doc", sys_attachment=sys_id), key=lambda doc: int(doc["position"]))
    for number, document in enumerate(documents):
        data = content if number == 0 else b""
        values = {"data": base64.b64encode(data).decode(), "length": str(len(data))}
        instance.store.change("sys_attachment_doc", document["sys_id"], values)
    instance.store.change("sys_attachment", sys_id, {"size_bytes": str(len(content)), "size_compressed": str(len(content))})


def _count(instance: Instance, execution: str) -> None:
    store = instance.store
    chunks = store.find("sys_encryption_job_execution_chunk", execution=execution)
    done = sum(len(chunk["records"].split(",")) for chunk in chunks if chunk["state"] == "complete")
    failed = sum(chunk["state"] == "failed" for chunk in chunks)
    store.change("sys_encryption_job_execution", execution, {"processed": str(done), "failed": str(failed)})
    if not any(chunk["state"] in ("pending", RUNNING) for chunk in chunks):
        _end(instance, execution)


def _end(instance: Instance, execution: str) -> None:
    row = instance.store.get("sys_encryption_job_execution", execution) or {}
    state = instance.knobs["rotation_end_state"] or ENDED[int(row["failed"] or 0) > 0]
    instance.store.change("sys_encryption_job_execution", execution, {"state": state, "completed": utc_now()})
