# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What an instance must know of its Edge Encryption proxies: their records, and the account they log in with."""

import time
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials, LoginRefused, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import NotStored, Row, Table, equals

PROXY_TABLE = "sys_encryption_proxy"
# Only last_response_on is documented.
PROXY_FIELDS = {
    "name": "name",
    "host": "host",
    "port": "port",
    "status": "status",
    "online": "online",
    "last_response_on": "last_response_on",
}
STATUS_BY_HAND = "On the instance, open Edge Encryption > Proxies > {} and click Authenticate."


class Change(t.NamedTuple):
    """What was, or would be, changed."""

    before: t.Dict[str, t.Any]
    after: t.Dict[str, t.Any]

    @property
    def changed(self) -> bool:
        return self.before != self.after


# Proxy records


def records_spec() -> t.Dict[str, t.Any]:
    """Return the spec of the options C(table) and C(field_names)."""
    fields = [name for name in PROXY_FIELDS if name != "last_response_on"]  # which is documented
    return {
        "table": {"type": "str", "default": PROXY_TABLE},
        "field_names": {"type": "dict", "default": {}, "options": {name: {"type": "str", "default": name} for name in fields}},
    }


class ProxyRecords:
    """The proxies that an instance knows."""

    def __init__(self, client: Client, table: str = PROXY_TABLE, fields: t.Optional[t.Mapping[str, str]] = None) -> None:
        self.table = Table(client, table)
        self.fields = dict(PROXY_FIELDS, **{name: field for name, field in (fields or {}).items() if field})

    def list(self, name: t.Optional[str] = None) -> t.List[t.Dict[str, str]]:
        query = equals(**{self.fields["name"]: name}) if name is not None else ""
        must = [self.fields["name"], self.fields["status"]]
        listing = self.table.list(query, must, optional=sorted(self.fields.values()))
        if listing.hidden:
            # Whoever goes by this list would leave a proxy running.
            who = self.table.client.credentials.username or "the account"
            raise EdgeError(str(self.table), "{} may not read {} of its records.".format(who, listing.hidden), "Let it read all of them.")
        return sorted((self._named(row) for row in listing.rows), key=lambda row: row["name"])

    def _named(self, row: Row) -> t.Dict[str, str]:
        return dict({name: row[field] for name, field in self.fields.items() if field in row}, sys_id=row["sys_id"])

    def find(self, name: str) -> t.Optional[t.Dict[str, str]]:
        found = self.list(name)
        if len(found) > 1:
            raise EdgeError(name, "{} proxy records have this name.".format(len(found)), "Delete the stale ones.", records=found)
        return found[0] if found else None

    def ensure(self, wanted: t.Mapping[str, str], check: bool, timeout: float, sleep: t.Callable[[float], None] = time.sleep) -> Change:
        """Make the record what it should be; C(wanted) has the name and what else matters."""
        have = self.find(wanted["name"])
        missing = {name: value for name, value in wanted.items() if (have or {}).get(name) != value}
        before = have or {}
        if check or not missing:
            return Change(before, dict(before, **missing))
        status = missing.pop("status", None)
        values = {self.fields[name]: value for name, value in missing.items()}
        if have is None:
            sys_id = self.table.create(values, key=[self.fields["name"]])["sys_id"]
        else:
            sys_id = have["sys_id"]
            if values:
                self.table.update(sys_id, values)
        if status:
            self._set_status(sys_id, wanted["name"], status, timeout, sleep)
        return Change(before, self.find(wanted["name"]) or {})

    def _set_status(self, sys_id: str, name: str, status: str, timeout: float, sleep: t.Callable[[float], None]) -> None:
        field = self.fields["status"]
        way_out = STATUS_BY_HAND.format(name)
        try:
            self.table.update(sys_id, {field: status})
            return
        except NotStored:
            pass
        except StatusError as error:
            if error.status == 403:
                raise EdgeError(
                    "proxy " + name, "its status may not be set to {} by REST: {}".format(status, error.cause), way_out
                ) from error
            raise
        # The proxy may have to agree first; meanwhile the status is Pending.
        deadline = time.monotonic() + timeout
        while True:
            now = self.table.get(sys_id, [field])[field]
            if now == status:
                return
            if now != "Pending" or time.monotonic() >= deadline:
                raise EdgeError(
                    "proxy " + name,
                    "its status is {} and not {}, although the instance answered the write with success.".format(now or "empty", status),
                    way_out,
                    status=now,
                )
            sleep(1)

    def remove(self, name: str, check: bool) -> Change:
        have = self.find(name)
        if have and not check:
            self.table.delete(have["sys_id"])
        return Change(have or {}, {})


# The service account


class ServiceAccount:
    """The account in C(edgeencryption.target.username), and what it needs to have."""

    def __init__(self, client: Client, username: str, password: str, role: str) -> None:
        self.client = client
        self.username = username
        self.role = role
        self._password = password
        self.users = Table(client, "sys_user")
        self.roles = Table(client, "sys_user_has_role")

    def ensure(self, check: bool) -> t.Tuple[Change, bool]:
        """Make the account work. Return what changed, and whether a login proved it."""
        user = self.users.one(equals(user_name=self.username), ["user_name", "active"], ["locked_out"])
        grant = self._grant(user["sys_id"]) if user else None
        works = user is not None and user["active"] == "true" and self._logs_in()
        before = self._state(user, grant, works)
        after = {"exists": True, "active": True, "locked_out": False, "roles": [self.role], "password_works": True}
        if check or before == after:
            return Change(before, after), works
        user = self._ensure_user(user)
        if grant is None:
            role = Table(self.client, "sys_user_role").one(equals(name=self.role), ["name"])
            if role is None:
                raise EdgeError(
                    "role " + self.role, "does not exist on {}.".format(self.client.name), "Is the Edge Encryption plugin active?"
                )
            self.roles.create({"user": user["sys_id"], "role": role["sys_id"]}, key=["user", "role"])
        if not works and not self._logs_in():
            # Through the display value, as on the form, since that is what hashes it.
            self.users.update(
                user["sys_id"], {"user_password": self._password}, unreadable=["user_password"], sysparm_input_display_value="true"
            )
            if not self._logs_in():
                raise EdgeError(
                    "user " + self.username,
                    "the login is still refused after its password was set.",
                    "The account may be kept from basic authentication (role snc_basic_auth_api_access, web service access only), "
                    "need multi-factor authentication, or {} may not set passwords.".format(self.client.credentials.username),
                )
        return Change(before, after), True

    def _ensure_user(self, user: t.Optional[Row]) -> Row:
        if user is None:
            values = {"user_name": self.username, "active": "true", "user_password": self._password}
            return self.users.create(values, key=["user_name"], unreadable=["user_password"], sysparm_input_display_value="true")
        wanted = {"active": "true"}
        if user.get("locked_out") == "true":
            wanted["locked_out"] = "false"
        if any(user[name] != value for name, value in wanted.items()):
            self.users.update(user["sys_id"], wanted)
        return user

    def _grant(self, user: str) -> t.Optional[Row]:
        rows = self.roles.list(equals(user=user) + "^role.name=" + self.role, ["user", "role.name"]).rows
        return rows[0] if rows else None

    def _state(self, user: t.Optional[Row], grant: t.Optional[Row], works: bool) -> t.Dict[str, t.Any]:
        return {
            "exists": user is not None,
            "active": user is not None and user["active"] == "true",
            "locked_out": user is not None and user.get("locked_out") == "true",
            "roles": [self.role] if grant else [],
            "password_works": works,
        }

    def _logs_in(self) -> bool:
        client = Client(self.client.url, Credentials(self.username, self._password), verify=self.client.verify, timeout=self.client.timeout)
        with client:
            try:
                client.get_json("/api/now/table/sys_user", {"sysparm_limit": "1", "sysparm_fields": "sys_id"})
            except LoginRefused:
                return False
            except StatusError as error:
                # Whoever is told that he may not do that has been let in.
                if error.status not in (403, 404):
                    raise
        return True
