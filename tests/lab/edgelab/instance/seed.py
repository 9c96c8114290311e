# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a new instance holds: users, roles, access controls, properties, encryption records, clone definitions, some data.

``seed.json`` next to ``instance.json`` adds to it or overrides it::

    {"passwords": {"edge.proxy": "..."},          # default: "<user>-<instance>"
     "signatures": {"<sys_id>": "<base64>"},      # of rules and configurations, see `signed_rows` and `edgelab.signing.sign_rows`
     "properties": {"<name>": "<value>"},
     "rows": {"<table>": [{...}, ...]}}           # rows with a known sys_id are merged into the built-in ones
"""

from __future__ import annotations

import secrets
import typing as t

from . import passwords
from .query import utc_now
from .schema import stable_id
from .store import Row, Store

Config = t.Mapping[str, t.Any]
Rows = t.Dict[str, t.List[Row]]

ROLES = (
    "admin", "security_admin", "edge_encryption", "clone_admin", "user_admin", "itil", "soap",
    "snc_basic_auth_api_access", "snc_platform_rest_api_access",
)  # fmt: skip
# user -> (name, identity type, roles on a production instance, roles on another)
USERS = {
    "admin": ("System Administrator", "human", ("admin", "security_admin"), ("admin", "security_admin")),
    "edge.proxy": ("Edge Proxy", "machine", ("edge_encryption",), ("edge_encryption",)),
    "edge.automation": ("Edge Automation", "machine", ("clone_admin",), ("clone_admin", "soap", "security_admin", "user_admin")),
    "demo.user": ("Demo User", "human", ("itil",), ("itil",)),
}
_ENCRYPTION_READ = "security_admin,edge_encryption,clone_admin"
_BUSINESS_READ = "itil,clone_admin,security_admin"
# tables -> operation -> roles; a trailing "+" asks for a proxy and (by knob) an elevated session.
ACCESS: tuple[tuple[str, dict[str, str]], ...] = (
    ("*", {"read": "admin", "create": "admin", "write": "admin", "delete": "admin"}),
    (
        "sys_db_object sys_dictionary sys_choice sys_properties sys_user sys_user_role sys_user_has_role sys_user_group"
        " sys_user_grmember sys_group_has_role cmn_department sys_attachment sys_proxy_encryption_type",
        {"read": ""},
    ),
    ("sys_user sys_user_has_role sys_user_grmember", {"create": "user_admin", "write": "user_admin", "delete": "user_admin"}),
    ("sys_trigger", {"read": "clone_admin"}),
    ("sys_audit", {"read": "admin,security_admin"}),
    ("task u_contract", {"read": _BUSINESS_READ, "create": "itil", "write": "itil", "delete": "itil"}),
    (
        "sys_encryption_configuration sys_encryption_rule",
        {"read": _ENCRYPTION_READ, "create": "security_admin+", "write": "security_admin+", "delete": "security_admin+"},
    ),
    (
        "sys_encryption_pattern sys_encryption_key sys_encryption_key_configuration sys_encryption_proxy sys_encryption_proxy_key"
        " sysauto_encryption_job edge_encryption_ip_blacklist",
        {"read": _ENCRYPTION_READ, "create": "security_admin", "write": "security_admin", "delete": "security_admin"},
    ),
    (
        "sys_encryption_job_execution sys_encryption_job_execution_chunk sys_edge_encryption_invalid_insert_log edge_encryption_stat",
        {"read": _ENCRYPTION_READ},
    ),
    (
        "clone_instance sn_instance_clone_request instance clone_profile clone_data_preserver clone_data_exclude"
        " clone_cleanup_script clone_profile_preservers clone_profile_exclusions clone_profile_cleanup_scripts",
        {"read": "clone_admin", "create": "clone_admin", "write": "clone_admin", "delete": "admin"},
    ),
    ("clone_log sn_instance_clone_log clone_preserved_data", {"read": "clone_admin"}),
)
CONFIGURATIONS = (
    ("incident", "column", "short_description", "standard_128"),
    ("incident", "column", "description", "standard_256"),
    ("incident", "column", "u_customer_name", "equality_256"),
    ("incident", "column", "u_account", "order_preserving_128"),
    ("incident", "attachment", "", "standard_128"),
    ("u_contract", "column", "u_notes", "standard_128"),
)
# (name, order, active, shipped with the base system)
RULES = (
    ("REST JSON", 100, True, True),
    ("REST XML", 110, True, True),
    ("SOAP", 120, True, True),
    ("JSONv2", 130, True, True),
    ("Customer portal incident form", 200, True, False),
    ("Service portal attachments", 210, True, False),
    ("Mobile incident update", 220, True, False),
    ("ERP contract import", 230, True, False),
    ("CRM account lookup", 240, True, False),
    ("Monitoring event intake", 250, True, False),
    ("Chat transcript", 260, True, False),
    ("Retired mail gateway", 270, False, False),
)
SSN = r"\b\d{3}-\d{2}-\d{4}\b"


def signed_rows() -> Rows:
    """Return the built-in rules and configurations, which the caller signs."""
    rules = []
    for name, order, active, base in RULES:
        author = "glide.maint" if base else "security.officer"
        path = "/api/now/" if base else "/{}/".format(name.split()[0].lower())
        rules.append(
            {
                "sys_id": stable_id("rule", name),
                "name": name,
                "order": str(order),
                "condition": "return request.path.indexOf('{}') === 0;".format(path),
                "script": "var body = request.getAsJson();\nbody.encrypt('incident');",
                "active": str(active).lower(),
                "sys_created_by": author,
                "sys_updated_by": author,
            }
        )
    configurations = [
        {
            "sys_id": stable_id("configuration", table, kind, column),
            "table": table,
            "type": kind,
            "column": column,
            "encryption_type": encryption,
            "active": "true",
            "sys_created_by": "security.officer",
            "sys_updated_by": "security.officer",
        }
        for table, kind, column, encryption in CONFIGURATIONS
    ]
    return {"sys_encryption_rule": rules, "sys_encryption_configuration": configurations}


def fill(store: Store, config: Config, seed: Config) -> None:
    """Put the built-in rows and those of ``seed.json`` into a new database."""
    rows = built_in(config, seed)
    for table, extra in seed.get("rows", {}).items():
        known = {row.get("sys_id"): row for row in rows.setdefault(table, [])}
        for row in extra:
            if row.get("sys_id") in known:
                known[row["sys_id"]].update(row)
            else:
                rows[table].append(row)
    for table, content in rows.items():
        for row in content:
            store.put(table, complete(store, table, row))
        if table in ("sys_db_object", "sys_dictionary", "sys_choice"):
            store.reload_schema()


def complete(store: Store, table: str, row: t.Mapping[str, t.Any]) -> Row:
    """Return a row with sys fields and defaults; what an existing row has stays."""
    values = {name: "" if value is None else str(value) for name, value in row.items()}
    password = values.get("user_password", "")
    if table == "sys_user" and password and not password.startswith("pbkdf2$"):
        values["user_password"] = passwords.hash_password(password)
    values.setdefault("sys_id", secrets.token_hex(16))
    now = utc_now()
    base = store.get(table, values["sys_id"]) or {
        **{name: field.default for name, field in store.schema[table].fields.items()},
        "sys_created_on": now,
        "sys_created_by": "system",
        "sys_updated_on": now,
        "sys_updated_by": "system",
        "sys_mod_count": "0",
    }
    return {**base, **values}


def built_in(config: Config, seed: Config) -> Rows:
    name, production = config["name"], bool(config.get("production"))
    rows: Rows = {
        **_people(name, production, seed.get("passwords", {})),
        "sys_security_acl": _access(),
        "sys_properties": _properties(name, production, seed.get("properties", {})),
        **signed_rows(),
        **_encryption(production),
        **_clone(config),
        **_business(name),
    }
    for table in ("sys_encryption_rule", "sys_encryption_configuration"):
        for row in rows[table]:
            row["signature"] = seed.get("signatures", {}).get(row["sys_id"], "")
    return rows


def _people(name: str, production: bool, given: t.Mapping[str, str]) -> Rows:
    users, grants = [], []
    for user, (title, identity, source_roles, target_roles) in USERS.items():
        users.append(
            {
                "sys_id": stable_id("user", user),
                "user_name": user,
                "name": title,
                "email": user + "@example.com",
                "user_password": given.get(user, "{}-{}".format(user, name)),
                "identity_type": identity,
            }
        )
        for role in source_roles if production else target_roles:
            grants.append({"sys_id": stable_id("grant", user, role), "user": stable_id("user", user), "role": stable_id("role", role)})
    roles = [
        {"sys_id": stable_id("role", role), "name": role, "elevated_privilege": str(role == "security_admin").lower()} for role in ROLES
    ]
    department = [{"sys_id": stable_id("department", "Service"), "name": "Service"}]
    return {"sys_user_role": roles, "sys_user": users, "sys_user_has_role": grants, "cmn_department": department}


def _access() -> list[Row]:
    rows = []
    for tables, operations in ACCESS:
        for table in tables.split():
            for operation, roles in operations.items():
                guarded = str(roles.endswith("+")).lower()
                rows.append(
                    {
                        "sys_id": stable_id("acl", table, operation),
                        "name": table,
                        "operation": operation,
                        "roles": roles.rstrip("+"),
                        "requires_proxy": guarded,
                        "requires_elevation": guarded,
                    }
                )
    return rows


def _properties(name: str, production: bool, given: t.Mapping[str, str]) -> list[Row]:
    values = {
        "instance_name": name,
        "glide.db.clone.allow_clone_target": str(not production).lower(),
        "glide.db.clone.schedule_clone_poll_minutes": "30",
        "glide.war": "glide-zurich-07-01-2025__patch4-10-01-2025.zip",
        "glide.buildname": "Zurich",
        "glide.invalid_query.returns_no_rows": "false",
        "glide.uxf.disable_rest_batching": "true",
        "glide.email.smtp.active": "true",
        "glide.edge.pattern.min.size": "5",
        "glide.edge.pattern.disallowed.chars": "",
        "sn_edge_encryption.cleartext.allowed": "false",
        "sn_edge_encryption.logging.verbosity": "info",
        "sn_edge_encryption.logging.destination": "file",
        "sn_edge_encryption.encryption.proxy.buildtag": "zurich",
        **given,
    }
    return [{"sys_id": stable_id("property", key), "name": key, "value": value} for key, value in values.items()]


def _encryption(production: bool) -> Rows:
    side = "prod" if production else "test"
    keys, defaults = [], []
    for size in ("128", "256"):
        alias = "aes{}{}".format(size, side)
        keys.append({"sys_id": stable_id("key", alias), "alias": alias, "size": size, "type": "Keystore", "status": "Available", "was_default": "true"})
        defaults.append({"sys_id": stable_id("default key", size), "size": size, "key": stable_id("key", alias), "active": "true"})
    names = ["edge_source_1", "edge_source_2"] if production else ["edge_target_1", "edge_target_2", "edge_target_3"]
    proxies = [
        {"sys_id": stable_id("proxy", proxy), "name": proxy, "host": "127.0.0.1", "status": "Authenticated", "online": "false"}
        for proxy in names
    ]
    labels = {"standard": "Standard", "equality": "Equality preserving", "order_preserving": "Order preserving"}
    types = [
        {"sys_id": stable_id("type", kind, size), "name": kind + "_" + size, "label": "{} AES {}".format(label, size)}
        for kind, label in labels.items()
        for size in ("128", "256")
    ]
    return {
        "sys_encryption_pattern": [{"sys_id": stable_id("pattern", "SSN"), "name": "SSN", "regex": SSN, "active": "true"}],
        "sys_encryption_key": keys,
        "sys_encryption_key_configuration": defaults,
        "sys_encryption_proxy": proxies,
        "sys_proxy_encryption_type": types,
    }


def _clone(config: Config) -> Rows:
    own = {
        "instance_name": config["name"],
        "instance_url": "https://{}:{}".format(config.get("host", "127.0.0.1"), config["port"]),
        "production": str(bool(config.get("production"))).lower(),
        "source": "true",
        "primary": "true",
    }
    peers = [
        {"instance_name": name, "instance_url": peer["url"], "production": str(bool(peer.get("production"))).lower()}
        for name, peer in config.get("peers", {}).items()
    ]
    instances = [{"sys_id": stable_id("instance", row["instance_name"]), **row} for row in [own, *peers]]
    profile = {"sys_id": stable_id("profile", "System Profile"), "name": "System Profile", "default_profile": "true"}
    exclusion = {"sys_id": stable_id("exclude", "sys_audit"), "name": "sys_audit"}
    preserver = {
        "sys_id": stable_id("preserver", "Core Instance Properties"),
        "name": "Core Instance Properties",
        "table": "sys_properties",
        "condition": "nameINinstance_name,glide.db.clone.allow_clone_target",
    }
    script = {
        "sys_id": stable_id("cleanup", "Disable mail"),
        "name": "Disable mail",
        "script": '{"table": "sys_properties", "query": "name=glide.email.smtp.active", "set": {"value": "false"}}',
    }
    in_profile = {"profile": profile["sys_id"]}
    return {
        "instance": instances,
        "clone_profile": [profile],
        "clone_data_exclude": [exclusion],
        "clone_data_preserver": [preserver],
        "clone_cleanup_script": [script],
        "clone_profile_exclusions": [{"sys_id": stable_id("m2m", "exclusion"), **in_profile, "exclusion": exclusion["sys_id"]}],
        "clone_profile_preservers": [{"sys_id": stable_id("m2m", "preserver"), **in_profile, "preserver": preserver["sys_id"]}],
        "clone_profile_cleanup_scripts": [{"sys_id": stable_id("m2m", "script"), **in_profile, "cleanup_script": script["sys_id"]}],
    }


def _business(name: str) -> Rows:
    """A few records without encrypted values, different ones on each instance."""
    incidents = [
        {
            "sys_id": stable_id("incident", name, str(number)),
            "number": "INC{:07d}".format(number),
            "priority": str(number % 4 + 1),
            "caller_id": stable_id("user", "demo.user"),
        }
        for number in range(1, 4)
    ]
    contracts = [
        {"sys_id": stable_id("contract", name, str(number)), "u_number": "CON{:07d}".format(number), "u_name": "{} {}".format(name, number)}
        for number in range(1, 3)
    ]
    return {"incident": incidents, "u_contract": contracts}
