# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import ProxyRecords, ServiceAccount
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import NotStored
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import Fault, fake  # noqa: F401  # pylint: disable=unused-import

WANTED = {"name": "edge1", "host": "h1", "port": "8443", "status": "Authenticated"}


@pytest.fixture
def client(fake):  # noqa: F811
    fake.tables["sys_encryption_proxy"] = {}
    with Client(fake.url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None) as client:
        yield client


def writes(fake):  # noqa: F811
    return [entry for entry in fake.requests if entry["method"] != "GET"]


def test_a_record_is_made_authenticated_and_left_alone_then(fake, client):  # noqa: F811
    records = ProxyRecords(client)
    planned = records.ensure(WANTED, True, 0)
    assert planned.changed and writes(fake) == []
    done = records.ensure(WANTED, False, 0)
    assert done.before == {}
    assert {name: done.after[name] for name in WANTED} == WANTED == planned.after
    fake.requests.clear()
    assert not records.ensure(WANTED, False, 0).changed
    assert writes(fake) == []


def test_only_what_differs_is_written(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", **dict(WANTED, status="Unauthenticated"))
    change = ProxyRecords(client).ensure(WANTED, False, 0)
    assert [entry["body"] for entry in writes(fake)] == [b'{"status": "Authenticated"}']
    assert (change.before["status"], change.after["status"]) == ("Unauthenticated", "Authenticated")


def test_no_name_is_the_name_of_no_proxy(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", **WANTED)
    for change in (lambda: ProxyRecords(client).remove("", False), lambda: ProxyRecords(client).ensure(dict(WANTED, name=""), False, 0)):
        with pytest.raises(EdgeError, match="name: is empty"):
            change()
    assert writes(fake) == []


def test_a_status_that_is_silently_left_out(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", **dict(WANTED, status="Unauthenticated"))
    fake.drop.add(("sys_encryption_proxy", "status"))
    with pytest.raises(EdgeError, match="Edge Encryption > Proxies > edge1 and click Authenticate") as caught:
        ProxyRecords(client).ensure(WANTED, False, 0)
    assert caught.value.context["status"] == "Unauthenticated"


def test_a_status_that_may_not_be_written(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", **dict(WANTED, status="Unauthenticated"))
    fake.denied[("PATCH", "sys_encryption_proxy")] = (403, "Operation Failed")
    with pytest.raises(EdgeError, match="click Authenticate"):
        ProxyRecords(client).ensure(WANTED, False, 0)


def test_pending_is_waited_for(fake, client, monkeypatch):  # noqa: F811
    sys_id = fake.add("sys_encryption_proxy", **dict(WANTED, status="Unauthenticated"))
    write = fake.write
    monkeypatch.setattr(fake, "write", lambda table, row, values, signed: write(table, row, {"status": "Pending"}, signed))
    change = ProxyRecords(client).ensure(
        WANTED, False, 10, sleep=lambda seconds: fake.row("sys_encryption_proxy", sys_id).update(status="Authenticated")
    )
    assert change.after["status"] == "Authenticated"
    fake.row("sys_encryption_proxy", sys_id)["status"] = "Unauthenticated"
    with pytest.raises(EdgeError, match="status is Pending"):
        ProxyRecords(client).ensure(WANTED, False, 0, sleep=lambda seconds: None)


def test_a_host_that_is_not_stored(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", **dict(WANTED, host="old"))
    fake.drop.add(("sys_encryption_proxy", "host"))
    with pytest.raises(NotStored, match="host"):
        ProxyRecords(client).ensure(WANTED, False, 0)


def test_absent(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", **WANTED)
    records = ProxyRecords(client)
    assert records.remove("edge1", True).changed and records.find("edge1")
    assert records.remove("edge1", False).changed and not records.find("edge1")
    assert not records.remove("edge1", False).changed


def test_two_of_the_same_name(fake, client):  # noqa: F811
    for _number in range(2):
        fake.add("sys_encryption_proxy", **WANTED)
    with pytest.raises(EdgeError, match="2 proxy records"):
        ProxyRecords(client).ensure(WANTED, False, 0)


def test_other_field_names(fake, client):  # noqa: F811
    fake.add("sys_encryption_proxy", proxy_name="edge1", status="Pending")
    assert ProxyRecords(client, fields={"name": "proxy_name"}).list()[0]["name"] == "edge1"


# The service account


@pytest.fixture
def account(fake, client):  # noqa: F811
    fake.tables.update(sys_user={}, sys_user_has_role={})
    fake.role = fake.add("sys_user_role", name="edge_encryption")
    return ServiceAccount(client, "edge.proxy", "proxy-secret", "edge_encryption")


def test_an_account_is_made_and_left_alone_then(fake, account):  # noqa: F811
    planned, proven = account.ensure(True)
    assert planned.changed and not proven and writes(fake) == []
    change, proven = account.ensure(False)
    assert change.changed and proven
    assert "proxy-secret" not in repr(change)
    fake.requests.clear()
    change, proven = account.ensure(False)
    assert not change.changed and proven
    assert writes(fake) == []


def test_an_account_that_the_clone_brought_along(fake, account):  # noqa: F811
    user = fake.add("sys_user", user_name="edge.proxy", active="false", locked_out="true")
    fake.users["edge.proxy"] = "source-secret"
    change, proven = account.ensure(False)
    assert change.before == {"exists": True, "active": False, "locked_out": True, "roles": [], "password_works": False}
    assert proven and fake.users["edge.proxy"] == "proxy-secret"
    assert (fake.row("sys_user", user)["active"], fake.row("sys_user", user)["locked_out"]) == ("true", "false")
    passwords = [entry for entry in writes(fake) if b"proxy-secret" in entry["body"]]
    assert [entry["params"]["sysparm_input_display_value"] for entry in passwords] == ["true"]


def test_only_the_role_is_missing(fake, account):  # noqa: F811
    fake.add("sys_user", user_name="edge.proxy", active="true", locked_out="false")
    fake.users["edge.proxy"] = "proxy-secret"
    change, _proven = account.ensure(False)
    assert change.before["password_works"] and change.before["roles"] == []
    assert [entry["path"] for entry in writes(fake)] == ["/api/now/table/sys_user_has_role"]


def test_a_password_that_cannot_be_set(fake, account):  # noqa: F811
    fake.add("sys_user", user_name="edge.proxy", active="true", locked_out="false")
    fake.drop.add(("sys_user", "user_password"))
    with pytest.raises(EdgeError, match="still refused") as caught:
        account.ensure(False)
    assert "proxy-secret" not in str(caught.value)


def test_a_role_that_does_not_exist(fake, account):  # noqa: F811
    fake.tables["sys_user_role"].clear()
    with pytest.raises(EdgeError, match="plugin"):
        account.ensure(False)


def test_a_login_that_may_do_nothing_is_a_login(fake, account):  # noqa: F811
    user = fake.add("sys_user", user_name="edge.proxy", active="true", locked_out="false")
    fake.add("sys_user_has_role", user=user, role=fake.role)
    fake.users["edge.proxy"] = "proxy-secret"
    fake.faults.append(Fault("status", path="sys_user$", status=403, after=1))
    change, proven = account.ensure(False)
    assert proven and not change.changed
