# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables, columns and choices of the instance.

The dictionary (``sys_db_object``, ``sys_dictionary``, ``sys_choice``) is the truth, as on a real instance: `Schema` is
read from these rows, so that a clone brings the source's schema along and a client can discover every table. `BUILT_IN`
only says what a new instance starts with. A hierarchy (``incident`` extends ``task``) shares one SQL table.
"""

from __future__ import annotations

import hashlib
import sqlite3
import typing as t

SYSTEM_FIELDS = (
    "sys_id:GUID",
    "sys_created_on:glide_date_time",
    "sys_created_by",
    "sys_updated_on:glide_date_time",
    "sys_updated_by",
    "sys_mod_count:integer",
)

# name -> (label, parent, columns). A column is `name[:type][->referenced table][=default][*][!]`;
# `*` marks the display column, `!` a unique one.
_CLONE_OPTIONS = (
    "exclude_all_from_exclusion_list:boolean=false",
    "exclude_large_data:boolean=true",
    "filter_attachment_data:boolean=true",
    "preserve_theme:boolean=true",
    "preserve_in_progress_update_sets:boolean=false",
    "preserve_users_and_related_tables:boolean=false",
)
_CLONE_REQUEST = (
    "name",
    "state=Draft",
    "source_instance->instance",
    "target_instance->instance",
    "scheduled:glide_date_time",
    "started:glide_date_time",
    "completed:glide_date_time",
    "canceled:glide_date_time",
    "duration",
    "email",
    "profile->clone_profile",
    "lock_profile_settings:boolean=false",
    *_CLONE_OPTIONS,
    "amount_of_data_copied_from_large_tables",
    "clone_frequency:integer",
    "occurrences:integer",
    "recurring:boolean=false",
    "parent",
    "clone_type=backup-based",
    "backup_option=most_recent",
    "stage",
    "security_token",
    "message",
    "clone_estimation_message",
    "telemetry",
    "retries:integer=0",
)
BUILT_IN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "sys_db_object": ("Table", "", ("name*!", "label", "super_class->sys_db_object")),
    "sys_dictionary": (
        "Dictionary Entry",
        "",
        (
            "name",
            "element*",
            "column_label",
            "internal_type",
            "reference",
            "default_value",
            "max_length:integer",
            "mandatory:boolean=false",
            "display:boolean=false",
            "unique:boolean=false",
            "active:boolean=true",
        ),
    ),
    "sys_choice": ("Choice", "", ("name", "element", "value", "label*", "language=en", "sequence:integer", "inactive:boolean=false")),
    "sys_properties": ("System Property", "", ("name*!", "value", "type=string", "description")),
    "sys_security_acl": (
        "Access Control",
        "",
        (
            "name*",
            "operation",
            "roles",
            "condition",
            "requires_proxy:boolean=false",
            "requires_elevation:boolean=false",
            "active:boolean=true",
        ),
    ),
    "sys_user": (
        "User",
        "",
        (
            "user_name!",
            "name*",
            "first_name",
            "last_name",
            "email",
            "user_password:password",
            "active:boolean=true",
            "locked_out:boolean=false",
            "web_service_access_only:boolean=false",
            "identity_type",
            "time_zone",
            "department->cmn_department",
            "manager->sys_user",
        ),
    ),
    "cmn_department": ("Department", "", ("name*", "description")),
    "sys_user_role": ("Role", "", ("name*!", "description", "elevated_privilege:boolean=false")),
    "sys_user_has_role": ("User Role", "", ("user->sys_user", "role->sys_user_role*", "state=active", "inherited:boolean=false")),
    "sys_user_group": ("Group", "", ("name*", "description", "active:boolean=true")),
    "sys_user_grmember": ("Group Member", "", ("user->sys_user", "group->sys_user_group*")),
    "sys_group_has_role": ("Group Role", "", ("group->sys_user_group", "role->sys_user_role*")),
    "oauth_entity": ("Application Registry", "", ("name*", "client_id", "client_secret", "active:boolean=true", "user->sys_user")),
    "oauth_credential": (
        "OAuth Credential",
        "",
        ("name*", "type", "token", "user->sys_user", "peer->oauth_entity", "expires:glide_date_time"),
    ),
    "api_key": ("REST API Key", "", ("name*", "token", "user->sys_user", "active:boolean=true")),
    "sys_attachment": (
        "Attachment",
        "",
        (
            "file_name*",
            "table_name",
            "table_sys_id",
            "content_type",
            "size_bytes:integer",
            "size_compressed:integer",
            "compressed:boolean=true",
            "state",
            "hash",
        ),
    ),
    "sys_attachment_doc": ("Attachment Document", "", ("sys_attachment->sys_attachment", "position:integer", "length:integer", "data")),
    "sys_trigger": (
        "Schedule Item",
        "",
        ("name*", "state:integer=0", "trigger_type:integer=0", "next_action:glide_date_time", "job_context", "script", "system_id"),
    ),
    "syslog": ("Log", "", ("level", "source", "message*")),
    "sys_audit": ("Audit", "", ("tablename", "documentkey", "fieldname", "oldvalue", "newvalue")),
    "task": (
        "Task",
        "",
        (
            "number*",
            "short_description",
            "description",
            "state:integer=1",
            "priority:integer=4",
            "active:boolean=true",
            "approval=not requested",
            "assigned_to->sys_user",
            "sys_class_name:sys_class_name",
        ),
    ),
    "incident": (
        "Incident",
        "task",
        ("caller_id->sys_user", "u_customer_name", "u_tax_id", "u_account", "u_birth_date:glide_date"),
    ),
    "change_request": ("Change Request", "task", ("type=normal", "start_date:glide_date_time", "end_date:glide_date_time")),
    "u_contract": ("Contract", "", ("u_number*", "u_name", "u_notes", "u_owner->sys_user", "active:boolean=true")),
    "sys_encryption_configuration": (
        "Encryption Configuration",
        "",
        ("table:table_name", "type=column", "column*", "encryption_type", "active:boolean=true", "signature"),
    ),
    "sys_encryption_rule": (
        "Encryption Rule",
        "",
        ("name*", "order:integer=100", "condition:script", "script:script", "active:boolean=true", "signature"),
    ),
    "sys_encryption_pattern": ("Encryption Pattern", "", ("name*", "regex", "active:boolean=true")),
    "sys_encryption_key": ("Encryption Key", "", ("alias*!", "size:integer", "type", "status=Unavailable", "was_default:boolean=false")),
    "sys_encryption_key_configuration": (
        "Encryption Key Configuration",
        "",
        ("size:integer*", "key->sys_encryption_key", "active:boolean=true"),
    ),
    "sys_encryption_proxy": (
        "Encryption Proxy",
        "",
        (
            "name*",
            "host",
            "port:integer",
            "status=Unauthenticated",
            "online:boolean=false",
            "version",
            "db_id",
            "locked:boolean=false",
            "error",
            "last_response_on:glide_date_time",
        ),
    ),
    "sys_encryption_proxy_key": ("Encryption Proxy Key", "", ("proxy->sys_encryption_proxy", "key->sys_encryption_key*")),
    "sys_proxy_encryption_type": ("Proxy Encryption Type", "", ("name*", "label")),
    "sys_edge_encryption_invalid_insert_log": ("Invalid Insert Log", "", ("table:table_name", "column", "record", "message*")),
    "sysauto": ("Scheduled Job", "", ("name*", "active:boolean=true", "run_type", "run_start:glide_date_time", "sys_class_name:sys_class_name")),
    "sysauto_encryption_job": (
        "Encryption Job",
        "sysauto",
        ("job_type", "key->sys_encryption_key", "table:table_name", "state", "last_run_start:glide_date_time"),
    ),
    "sys_encryption_job_execution": (
        "Encryption Job Execution",
        "",
        (
            "job->sysauto_encryption_job*",
            "state",
            "table:table_name",
            "processed:integer=0",
            "failed:integer=0",
            "total:integer=0",
            "error",
            "proxy->sys_encryption_proxy",
            "started:glide_date_time",
            "completed:glide_date_time",
        ),
    ),
    "sys_encryption_job_execution_chunk": (
        "Encryption Job Execution Chunk",
        "",
        ("execution->sys_encryption_job_execution*", "state", "table:table_name", "record", "records", "error"),
    ),
    "edge_encryption_stat": ("Edge Encryption Statistic", "", ("proxy->sys_encryption_proxy*", "name", "value")),
    "edge_encryption_ip_blacklist": ("Edge Encryption Deny List", "", ("ip_address*", "active:boolean=true")),
    "instance": (
        "Instance",
        "",
        (
            "instance_name*",
            "instance_url",
            "instance_id",
            "source:boolean=false",
            "primary:boolean=false",
            "production:boolean=false",
            "war_version",
            "validation_error",
            "admin_user",
            "admin_password:password2",
            "database_url",
            "database_name",
            "database_type",
        ),
    ),
    "clone_instance": ("Clone History", "", ("clone_id*", *_CLONE_REQUEST)),
    "sn_instance_clone_request": ("Clone Request", "", ("request_id*", *_CLONE_REQUEST)),
    "clone_log": ("Clone Log", "", ("clone->clone_instance", "message*", "level=info")),
    "sn_instance_clone_log": ("Clone Request Log", "", ("clone->sn_instance_clone_request", "message*", "level=info")),
    "clone_profile": (
        "Clone Profile",
        "",
        ("name*", "target_instance->instance", "default_profile:boolean=false", "active:boolean=true", *_CLONE_OPTIONS),
    ),
    "clone_data_preserver": (
        "Data Preserver",
        "",
        ("name*", "table:table_name", "condition", "theme:boolean=false", "include_in_system_clone:boolean=true"),
    ),
    "clone_data_exclude": ("Excluded Table", "", ("name*:table_name",)),
    "clone_cleanup_script": ("Cleanup Script", "", ("name*", "order:integer=100", "active:boolean=true", "script:script")),
    "clone_profile_preservers": ("Profile Preserver", "", ("profile->clone_profile", "preserver->clone_data_preserver*")),
    "clone_profile_exclusions": ("Profile Exclusion", "", ("profile->clone_profile", "exclusion->clone_data_exclude*")),
    "clone_profile_cleanup_scripts": (
        "Profile Cleanup Script",
        "",
        ("profile->clone_profile", "cleanup_script->clone_cleanup_script*", "order:integer=100", "active:boolean=true"),
    ),
    "clone_preserved_data": ("Preserved Data", "", ("clone", "payload")),
}
CHOICES: dict[tuple[str, str], dict[str, str]] = {
    ("task", "priority"): {"1": "1 - Critical", "2": "2 - High", "3": "3 - Moderate", "4": "4 - Low", "5": "5 - Planning"},
    ("incident", "state"): {"1": "New", "2": "In Progress", "3": "On Hold", "6": "Resolved", "7": "Closed", "8": "Canceled"},
    ("change_request", "state"): {"-5": "New", "-2": "Scheduled", "-1": "Implement", "0": "Review", "3": "Closed"},
    ("sys_encryption_configuration", "type"): {"column": "Column", "attachment": "Attachment"},
    ("sys_trigger", "state"): {"0": "Ready", "1": "Running", "2": "Queued", "-1": "Error"},
}


def stable_id(*parts: str) -> str:
    """Return the sys_id of a shipped record: the same on every instance, as for records of the base system."""
    return hashlib.md5("/".join(parts).encode("utf-8")).hexdigest()


def quote(name: str) -> str:
    """Quote an SQL identifier."""
    return '"{}"'.format(name.replace('"', '""'))


class Field(t.NamedTuple):
    name: str
    type: str
    reference: str = ""
    default: str = ""
    display: bool = False
    unique: bool = False
    label: str = ""


class Table(t.NamedTuple):
    name: str
    label: str
    parent: str
    fields: dict[str, Field]  # own and inherited
    physical: str  # the SQL table, named after the root of the hierarchy
    display: str  # the display column


def parse_field(text: str) -> Field:
    display, unique = "*" in text, "!" in text
    text, dummy, default = text.replace("*", "").replace("!", "").partition("=")
    text, dummy, reference = text.partition("->")
    name, dummy, kind = text.partition(":")
    label = name.replace("u_", "", 1).replace("_", " ").capitalize()
    return Field(name, "reference" if reference else kind or "string", reference, default, display, unique, label)


def dictionary_rows() -> dict[str, list[dict[str, str]]]:
    """Return the rows of `BUILT_IN` and `CHOICES` for the dictionary tables."""
    objects, entries, choices = [], [], []
    for name, (label, parent, columns) in BUILT_IN.items():
        objects.append(
            {
                "sys_id": stable_id("table", name),
                "name": name,
                "label": label,
                "super_class": stable_id("table", parent) if parent else "",
            }
        )
        entries.append({"sys_id": stable_id("dictionary", name), "name": name, "column_label": label, "internal_type": "collection"})
        for text in columns if parent else SYSTEM_FIELDS + columns:
            field = parse_field(text)
            entries.append(
                {
                    "sys_id": stable_id("dictionary", name, field.name),
                    "name": name,
                    "element": field.name,
                    "column_label": field.label,
                    "internal_type": field.type,
                    "reference": field.reference,
                    "default_value": field.default,
                    "max_length": "32" if field.type in ("reference", "GUID") else "4000",
                    "display": str(field.display).lower(),
                    "unique": str(field.unique).lower(),
                }
            )
    for (table, element), labels in CHOICES.items():
        for position, (value, label) in enumerate(labels.items()):
            choices.append(
                {
                    "sys_id": stable_id("choice", table, element, value),
                    "name": table,
                    "element": element,
                    "value": value,
                    "label": label,
                    "language": "en",
                    "sequence": str(position),
                }
            )
    return {"sys_db_object": objects, "sys_dictionary": entries, "sys_choice": choices}


class Schema:
    """The dictionary of one database, read from its own rows."""

    def __init__(self, db: sqlite3.Connection) -> None:
        objects = {row["sys_id"]: row for row in db.execute("SELECT * FROM sys_db_object")}
        parents = {}
        for row in objects.values():
            parent = objects.get(row["super_class"])
            parents[row["name"]] = parent["name"] if parent else ""
        own: dict[str, list[Field]] = {name: [] for name in parents}
        for row in db.execute("SELECT * FROM sys_dictionary WHERE element != '' AND active != 'false' ORDER BY rowid"):
            if row["name"] in own:
                own[row["name"]].append(
                    Field(
                        row["element"],
                        row["internal_type"] or "string",
                        row["reference"],
                        row["default_value"],
                        row["display"] == "true",
                        row["unique"] == "true",
                        row["column_label"],
                    )
                )
        self.tables: dict[str, Table] = {}
        labels = {row["name"]: row["label"] for row in objects.values()}
        for name in parents:
            lineage = [name]
            while parents[lineage[0]]:
                lineage.insert(0, parents[lineage[0]])
            fields = {field.name: field for ancestor in lineage for field in own[ancestor]}
            if "sys_id" not in fields:
                fields = {field.name: field for field in [*map(parse_field, SYSTEM_FIELDS), *fields.values()]}
            display = next((field.name for field in reversed(list(fields.values())) if field.display), "")
            display = display or next((name for name in ("number", "name", "u_name", "u_number") if name in fields), "sys_id")
            self.tables[name] = Table(name, labels[name], parents[name], fields, lineage[0], display)
        self.choices: dict[tuple[str, str], dict[str, str]] = {}
        for row in db.execute("SELECT * FROM sys_choice WHERE inactive != 'true' ORDER BY CAST(sequence AS INTEGER)"):
            self.choices.setdefault((row["name"], row["element"]), {})[row["value"]] = row["label"]

    def __contains__(self, table: str) -> bool:
        return table in self.tables

    def __getitem__(self, table: str) -> Table:
        return self.tables[table]

    def lineage(self, table: str) -> t.Iterator[str]:
        """Yield the table and its ancestors, nearest first."""
        while table:
            yield table
            table = self.tables[table].parent

    def family(self, table: str) -> list[str]:
        """Return the table and all its descendants."""
        return [name for name in self.tables if table in self.lineage(name)]

    def class_filter(self, table: str, alias: str = "") -> tuple[str, list[str]]:
        """Return the SQL condition that picks the rows of a table (and its descendants) out of its SQL table."""
        definition = self.tables[table]
        if "sys_class_name" not in definition.fields or definition.physical == table:
            return "1", []
        family = self.family(table)
        column = (alias + "." if alias else "") + "sys_class_name"
        return "{} IN ({})".format(column, ",".join("?" * len(family))), family

    def physical_columns(self, physical: str) -> list[str]:
        names: dict[str, None] = {}
        for table in self.family(physical):
            names.update(dict.fromkeys(self.tables[table].fields))
        return list(names)

    def label(self, table: str, element: str, value: str) -> str | None:
        """Return the label of a choice, or None where the column has no such choice."""
        for ancestor in self.lineage(table):
            if (ancestor, element) in self.choices:
                return self.choices[ancestor, element].get(value)
        return None
