# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What encrypted data an instance holds, what of it needs the token database, and what a clone would leave out."""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import refuse_hidden
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing, Row, Table, equals, renamed

CONFIGURATIONS = "sys_encryption_configuration"
# The documentation names what the form shows, not the columns.
FIELDS = {"table": "table", "column": "column", "encryption_type": "encryption_type", "active": "active"}
PATTERNS = "sys_encryption_pattern"
TYPES = "sys_proxy_encryption_type"
AUDIT = "sys_audit"
# Excluding either leaves the content out; "Exclude attachment data" does it without an entry in the profile.
ATTACHMENTS = ("sys_attachment_doc", "sys_attachment")
_SYS_ID = re.compile(r"[0-9a-f]{32}\Z")
_DEEPEST = 20  # levels of a table's hierarchy


class Left(t.NamedTuple):
    """What a clone leaves out."""

    tables: t.FrozenSet[str]
    attachments: bool
    audit: bool


def survey(
    client: Client,
    left: Left,
    fields: t.Optional[t.Mapping[str, t.Any]] = None,
    pattern_table: str = PATTERNS,
    preserved: t.Sequence[str] = (),
) -> t.Dict[str, t.Any]:
    """Return the encrypted data of an instance.

    Args:
        client: the instance, without a proxy.
        left: what the clone leaves out.
        fields: columns of the table of configurations that have another name than in C(FIELDS).
        pattern_table: table of the tokenization patterns, whose name is not documented.
        preserved: tables whose rows the clone keeps on the target.
    Returns:
        C(configurations), C(patterns) (None when they cannot be read, and C(patterns_unknown_because)), and two lists of sentences: C(tokens_needed)
        says what keeps its values or order in the token database, C(in_the_clone) what encrypted data the clone would bring. An empty list is a proof.
        C(preserved) names what is encrypted by an active configuration in the rows that the clone keeps.
    Raises:
        EdgeError: records of configurations may not be read, their columns have other names, or C(fields) has a name that is none in C(FIELDS).
    """
    configurations = [_configuration(client, row, left) for row in _rows(client, renamed(FIELDS, fields, "configuration_fields"))]
    patterns, reason = _patterns(client, pattern_table)
    unproven = [
        "{}: whether there are tokenization patterns cannot be told: {} Name their table.".format(pattern_table, reason)
    ] if patterns is None else ["the tokenization pattern {}".format(name) for name in patterns]
    tokens = [each["needs_tokens"] for each in configurations if each["needs_tokens"]]
    brought = ["{}: {}".format(each["name"], each["brought_because"]) for each in configurations if each["brought_because"]]
    if any(each["kind"] == "column" for each in configurations) and not left.audit and AUDIT not in left.tables:
        brought.append("{}: the history of encrypted columns is not excluded.".format(AUDIT))
    return {
        "configurations": configurations,
        "patterns": patterns,
        "patterns_unknown_because": reason,
        "tokens_needed": unproven + tokens,
        "in_the_clone": unproven + brought,
        "preserved": [entry for entry in (_kept(client, table, configurations) for table in sorted(set(preserved))) if entry["encrypted"]],
    }


def _kept(client: Client, table: str, configurations: t.Sequence[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """Return what is encrypted in the rows of a table: by configurations of its own columns and of those that it has from the tables above."""
    active = [each for each in configurations if each["active"]]
    above = ancestry(client, table) if active else []
    names = [each["name"] for each in active if (table in ATTACHMENTS if each["kind"] == "attachment" else each["table"] in above)]
    return {"table": table, "encrypted": names}


def _rows(client: Client, fields: t.Mapping[str, str]) -> t.List[Row]:
    listing = Table(client, CONFIGURATIONS).list("", sorted(fields.values()))
    refuse_hidden(client, CONFIGURATIONS, listing)
    return [{name: row[column] for name, column in fields.items()} for row in listing.rows]


def _configuration(client: Client, row: Row, left: Left) -> t.Dict[str, t.Any]:
    kind = "column" if row["column"] else "attachment"
    name = ".".join((row["table"], row["column"] or kind))
    encryption = _encryption_type(client, row["encryption_type"])
    folded = encryption.lower()
    needs = ""
    if "standard" not in folded:
        # Order-preserving values keep their order in the database; for equality-preserving ones the documentation contradicts itself.
        needs = "{} ({})".format(name, encryption or "of unknown encryption type")
    return {
        "name": name,
        "table": row["table"],
        "column": row["column"] or None,
        "kind": kind,
        "encryption_type": encryption,
        "active": row["active"] == "true",
        "needs_tokens": needs,
        "brought_because": _brought(client, row["table"], kind, left),
    }


def _brought(client: Client, table: str, kind: str, left: Left) -> str:
    """Return why a clone would bring this data, or nothing. What was encrypted before a configuration was switched off still is."""
    if kind == "attachment":
        return "" if left.attachments or left.tables.intersection(ATTACHMENTS) else "the content of attachments is not excluded."
    # Excluding a table empties its children as well (documentation page "Clone exclusions, preservers, cleanup scripts").
    if left.tables.intersection(ancestry(client, table) if left.tables else ()):
        return ""
    return "the table {} is not excluded.".format(table)


def ancestry(client: Client, table: str) -> t.List[str]:
    """Return a table and all that it extends."""
    found = [table]
    row = Table(client, "sys_db_object").one(equals(name=table), ["name", "super_class"])
    while row and row["super_class"] and len(found) < _DEEPEST:
        row = Table(client, "sys_db_object").get(row["super_class"], ["name", "super_class"])
        found.append(row["name"])
    return found


def _encryption_type(client: Client, value: str) -> str:
    """Return the encryption type in words, whether the column holds a choice or a reference."""
    if not _SYS_ID.match(value):
        return value
    row = Table(client, TYPES).get(value)
    return " ".join(row[name] for name in sorted(row) if not name.startswith("sys_") and row[name])


def _patterns(client: Client, table: str) -> t.Tuple[t.Optional[t.List[str]], str]:
    try:
        listing = Table(client, table).list("", ["name"])
    except (StatusError, FieldsMissing) as error:
        if isinstance(error, StatusError) and error.transient:
            raise
        return None, error.cause
    if listing.hidden:
        return None, "{} of its records may not be read.".format(listing.hidden)
    return [row["name"] for row in listing.rows], ""
