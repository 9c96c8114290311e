# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What can be learned of an instance before anything is done to it."""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing, Table, equals, instance_name

PROPERTIES = ("glide.buildname", "glide.war", "glide.db.clone.allow_clone_target")


def describe(client: Client, properties: t.Sequence[str], tables: t.Sequence[str], production_of: t.Optional[str]) -> t.Dict[str, t.Any]:
    """Return name, version, production flag, properties, roles, clock skew and readable tables."""
    name = instance_name(client)
    wanted = sorted(set(PROPERTIES) | set(properties))
    if any("," in each or "^" in each for each in wanted):
        raise EdgeError("properties", "names with a comma or ^ cannot be looked up.")
    rows = Table(client, "sys_properties").list("nameIN" + ",".join(wanted), ["name", "value"]).rows
    values = {row["name"]: row["value"] for row in rows}
    readable, reasons = _readable(client, tables)
    return {
        "name": name,
        "version": values.get("glide.buildname") or values.get("glide.war") or "",
        "release": release_of(values.get("glide.buildname") or "", values.get("glide.war") or ""),
        "production": production(client, production_of or name),
        "properties": {each: values.get(each) for each in wanted},
        "user": client.credentials.username,
        "roles": _roles(client),
        "clock_skew_s": None if client.clock_skew is None else round(client.clock_skew, 1),
        "tables_readable": readable,
        "unreadable_because": reasons,
    }


def release_of(buildname: str, war: str) -> str:
    """Return the release family in lower case, empty if neither glide.buildname (such as Zurich) nor glide.war (glide-zurich-...) names one."""
    named = re.match(r"([a-z]+)", buildname.strip().lower()) or re.match(r"glide-([a-z]+)-", war.strip().lower())
    return named.group(1) if named else ""


def production(client: Client, name: str) -> t.Optional[bool]:
    """Return what the table of instances says of that instance, None if nothing."""
    if not name:
        return None
    try:
        rows = Table(client, "instance").list(equals(instance_name=name), ["production"]).rows
    except (StatusError, FieldsMissing) as error:
        if isinstance(error, StatusError) and error.transient:
            raise
        return None
    flags = {row["production"] for row in rows if row["production"]}
    return flags.pop() == "true" if len(flags) == 1 else None


def _roles(client: Client) -> t.Optional[t.List[str]]:
    username = client.credentials.username
    if not username:
        return None
    rows = Table(client, "sys_user_has_role").list(equals(**{"user.user_name": username}), ["role.name"]).rows
    return sorted({row["role.name"] for row in rows if row["role.name"]})


def _readable(client: Client, tables: t.Iterable[str]) -> t.Tuple[t.Dict[str, bool], t.Dict[str, str]]:
    readable, reasons = {}, {}  # type: t.Dict[str, bool], t.Dict[str, str]
    for table in tables:
        try:
            listing = Table(client, table).list("", ["sys_id"], limit=1)
        except StatusError as error:
            if error.transient:
                raise
            reasons[table] = error.cause
        else:
            if not listing.rows and listing.hidden:
                reasons[table] = "all of its records are hidden by access rules."
        readable[table] = table not in reasons
    return readable, reasons
