# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Business rules that guard the encrypted data and the clone requests."""

from __future__ import annotations

import re

from .query import utc_now
from .records import Aborted, Change, Records
from .schema import stable_id

CIPHER_TEXT = re.compile(r"^edge:[seo]:")
ATTACHMENT_MARK = b"EDGEATT1"
NUMBER_FIELD = {"clone_instance": "clone_id", "sn_instance_clone_request": "request_id"}
CLONE_TABLES = tuple(NUMBER_FIELD)


def one_active_configuration(records: Records, change: Change) -> None:
    """Only one active configuration per table and column."""
    new = change.new
    if change.table != "sys_encryption_configuration" or not new or new["active"] != "true":
        return
    same = records.store.find(change.table, table=new["table"], column=new["column"], type=new["type"], active="true")
    if any(row["sys_id"] != new["sys_id"] for row in same):
        raise Aborted(change.table, "Only one active configuration per field")


def no_deleted_configuration(records: Records, change: Change) -> None:
    """A configuration can only be deactivated."""
    if change.table == "sys_encryption_configuration" and change.new is None:
        raise Aborted(change.table, "Encryption configurations cannot be deleted")


def default_is_available(records: Records, change: Change) -> None:
    """One active default key a size, of that size, and Available when it becomes one."""
    new = change.new
    if change.table != "sys_encryption_key_configuration":
        return
    if not new or new["active"] != "true":
        if change.old and change.old["active"] == "true":
            raise Aborted(change.table, "A default key can only be changed")
        return
    if not change.changes("key", "size", "active"):
        return
    key = records.store.get("sys_encryption_key", new["key"])
    if key is None or key["size"] != new["size"] or key["status"] != "Available":
        raise Aborted(change.table, "A default key must be Available and of its size")
    same = records.store.find(change.table, size=new["size"], active="true")
    if any(row["sys_id"] != new["sys_id"] for row in same):
        raise Aborted(change.table, "Only one default key per size")
    for former in (new["key"], (change.old or new)["key"]):
        records.store.change("sys_encryption_key", former, {"was_default": "true"})


def no_clear_text(records: Records, change: Change) -> None:
    """A column with an active configuration takes cipher text only; the refusal is logged."""
    new = change.new
    if not new or change.table.startswith("sys_"):
        return
    for configuration in active_configurations(records, change.table, "column"):
        column = configuration["column"]
        value = new.get(column, "")
        if value and change.changes(column) and not CIPHER_TEXT.match(value):
            refuse_clear_text(records, change.table, column, new["sys_id"])


def active_configurations(records: Records, table: str, kind: str) -> list[dict[str, str]]:
    if records.property("sn_edge_encryption.cleartext.allowed") == "true":
        return []
    lineage = set(records.store.schema.lineage(table))
    return [row for row in records.store.find("sys_encryption_configuration", type=kind, active="true") if row["table"] in lineage]


def refuse_clear_text(records: Records, table: str, column: str, record: str) -> None:
    """Log a rejected save and abort it."""
    message = "Clear text was rejected for {}.{}".format(table, column or "attachment")
    log = {"table": table, "column": column, "record": record, "message": message}
    records.insert("sys_edge_encryption_invalid_insert_log", log, "system")
    raise Aborted(table, "Edge Encryption: reject clear text")


def clone_transitions(records: Records, change: Change) -> None:
    """Cancel only until the node repoint, roll back only the last completed clone of a target and only for seven days."""
    if change.table not in CLONE_TABLES or change.user == "system" or not change.new:
        return
    if not change.old:
        if change.new["state"].lower() not in ("draft", "requested"):
            raise Aborted(change.table, "Clone state is set by the clone engine")
        return
    old, new = change.old["state"].lower(), change.new["state"].lower()
    if old == new:
        return
    if new == "canceled":
        if old not in ("draft", "requested", "scheduled", "hold", "active") or change.old["stage"] in PAST_REPOINT:
            raise Aborted(change.table, "Clone cannot be canceled after node repoint")
        new_row = change.new
        new_row["canceled"] = new_row["canceled"] or utc_now()
    elif new == "rollback requested":

        def order(row: dict[str, str]) -> tuple[str, str]:
            return row["completed"], row[NUMBER_FIELD[change.table]]

        completed = records.store.find(change.table, target_instance=change.old["target_instance"], state="Completed")
        later = any(order(row) > order(change.old) for row in completed)
        expired = records.matching(change.table, "sys_id={}^completedRELATIVELT@day@ago@7".format(change.old["sys_id"]))
        if old != "completed" or later or expired:
            raise Aborted(change.table, "Only the last clone of a target can be rolled back, for seven days")
    elif old not in ("draft", "hold") or new not in ("draft", "requested"):
        raise Aborted(change.table, "Clone state is set by the clone engine")


PAST_REPOINT = ("Node repoint", "Scheduling scripts", "Post Clone")
RULES = (one_active_configuration, no_deleted_configuration, default_is_available, no_clear_text, clone_transitions)


def abort_message(error: Aborted) -> str:
    """Return the text that the platform gives for an aborted operation."""
    return "Operation against file '{}' was aborted by Business Rule '{}^{}'. Business Rule Stack:{}".format(
        error.table, error.rule, stable_id("rule", error.rule), error.rule
    )
