# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The private protocol between the lab's instance and its proxies: registration, heartbeats, configuration, chunks of rotation jobs."""

from __future__ import annotations

import typing as t

from . import rotation
from .http import Call, Problem, Reply, json_reply
from .query import utc_now
from .store import Row

if t.TYPE_CHECKING:
    from .instance import Instance

ROLE = "edge_encryption"
_SILENT_INTERVALS = 3


def handle_edge(instance: Instance, call: Call, action: str) -> Reply:
    if ROLE not in call.user.roles:
        raise Problem(403, "Operation Failed", "The role {} is required".format(ROLE))
    handlers = {
        ("POST", "register"): _register,
        ("POST", "heartbeat"): _heartbeat,
        ("GET", "configuration"): _configuration,
        ("GET", "chunk"): _chunk,
        ("POST", "chunk"): _done,
    }
    handler = handlers.get((call.method, action))
    if handler is None:
        raise Problem(400, "Requested URI does not represent any resource")
    if call.method == "POST" and action != "chunk" and not call.json_body().get("name"):
        raise Problem(400, "Required parameter missing", "name")
    return handler(instance, call)


def _register(instance: Instance, call: Call) -> Reply:
    body = call.json_body()
    facts = {name: str(body.get(name, "")) for name in ("host", "port", "version", "db_id")}
    row = instance.store.first("sys_encryption_proxy", name=str(body["name"]))
    if row is None:
        row = instance.records.insert("sys_encryption_proxy", {"name": str(body["name"]), **facts}, call.user.user_name)
    _mark(instance, row, **facts)
    rotation.interrupt(instance, row["sys_id"])
    _note_keys(instance, row, {str(key["alias"]) for key in body.get("keys", [])}, call.user.user_name)
    update_keys(instance)
    return json_reply(200, {"status": row["status"], "sys_id": row["sys_id"]})


def _note_keys(instance: Instance, row: Row, held: set[str], user: str) -> None:
    """Keys are set up on the instance; a proxy only reports which of them it has."""
    for link in instance.store.find("sys_encryption_proxy_key", proxy=row["sys_id"]):
        key = instance.store.get("sys_encryption_key", link["key"])
        if key is None or key["alias"] not in held:
            instance.records.delete("sys_encryption_proxy_key", link["sys_id"], user)
        else:
            held = held - {key["alias"]}
    for alias in sorted(held):
        key = instance.store.first("sys_encryption_key", alias=alias)
        if key:
            instance.records.insert("sys_encryption_proxy_key", {"proxy": row["sys_id"], "key": key["sys_id"]}, user)


def _heartbeat(instance: Instance, call: Call) -> Reply:
    body = call.json_body()
    row = instance.store.first("sys_encryption_proxy", name=str(body["name"]))
    if row is None:
        raise Problem(404, "No Record found", "The proxy is not registered")
    facts = {"db_id": str(body.get("db_id", "")), "error": str(body.get("error") or "")}
    _mark(instance, row, locked=str(bool(body.get("locked"))).lower(), **facts)
    if "keys" in body:  # a key may have been set up since the proxy registered
        _note_keys(instance, row, {str(alias) for alias in body["keys"]}, call.user.user_name)
    if row["online"] != "true" or "keys" in body:
        update_keys(instance)
    jobs = instance.store.first("sys_encryption_job_execution", state=rotation.RUNNING) is not None
    return json_reply(200, {"status": row["status"], "config_version": instance.store.version, "jobs": jobs})


def _mark(instance: Instance, row: Row, **values: str) -> None:
    """Note that the proxy answered; that is no update of its record (no sys fields, no business rules)."""
    instance.store.change("sys_encryption_proxy", row["sys_id"], {**values, "online": "true", "last_response_on": utc_now()})
    instance.heard_from(row["sys_id"])


def _configuration(instance: Instance, call: Call) -> Reply:
    store = instance.store
    row = store.first("sys_encryption_proxy", name=call.query.get("name", ""))
    if row is None or row["status"] != "Authenticated":
        return json_reply(403, {"error": "This Edge Encryption proxy has not yet been authenticated by the instance."})
    default_keys = {}
    for configuration in store.find("sys_encryption_key_configuration", active="true"):
        key = store.get("sys_encryption_key", configuration["key"])
        if key:
            default_keys[configuration["size"]] = key["alias"]
    answer = {
        "version": store.version,
        "configurations": store.select("sys_encryption_configuration", order="a0.sys_id"),
        "rules": store.select("sys_encryption_rule", order='CAST(a0."order" AS INTEGER), a0.sys_id'),
        "patterns": store.select("sys_encryption_pattern", order="a0.sys_id"),
        "default_keys": default_keys,
    }
    return json_reply(200, answer)


def _chunk(instance: Instance, call: Call) -> Reply:
    return json_reply(200, rotation.next_chunk(instance, call.query.get("name", "")))


def _done(instance: Instance, call: Call) -> Reply:
    rotation.take_back(instance, call.json_body())
    return json_reply(200, {})


def update_keys(instance: Instance) -> None:
    """A key is Available when every online proxy has it; with no proxy online nothing changes."""
    store = instance.store
    online = {row["sys_id"] for row in store.find("sys_encryption_proxy", online="true")}
    if not online:
        return
    for key in store.select("sys_encryption_key"):
        holders = {link["proxy"] for link in store.find("sys_encryption_proxy_key", key=key["sys_id"])}
        status = "Available" if online <= holders else "Unavailable"
        if key["status"] != status:
            store.change("sys_encryption_key", key["sys_id"], {"status": status})


def sweep(instance: Instance) -> None:
    """Turn proxies offline that have been silent for more than three heartbeat intervals."""
    quiet = [
        row["sys_id"]
        for row in instance.store.find("sys_encryption_proxy", online="true")
        if instance.silence(row["sys_id"]) > _SILENT_INTERVALS * instance.heartbeat_interval
    ]
    for sys_id in quiet:
        instance.store.change("sys_encryption_proxy", sys_id, {"online": "false"})
    if quiet:
        update_keys(instance)
