# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Aggregate, Batch and Attachment API, xmlstats.do, and a client from PyPI that knows nothing of the lab."""

import base64

import pysnc
import pytest
import requests

pytest_plugins = ("edgelab.instance.testing",)

SECRET = b"EDGEATT1" + bytes(range(256))


@pytest.fixture
def user(source):
    return source.client("demo.user")


@pytest.fixture
def contracts(source):
    rows = source.put("u_contract", *({"u_number": "S{}".format(i), "u_name": "stats", "active": str(i < 3).lower()} for i in range(5)))
    yield rows
    for row in rows:
        source.control("DELETE", "/raw/u_contract/" + row["sys_id"])


def test_count(source, user, contracts):
    params = {"sysparm_query": "u_name=stats", "sysparm_count": "true"}
    answer = user.get(source.url + "/api/now/stats/u_contract", params=params)
    assert answer.json() == {"result": {"stats": {"count": "5"}}}


def test_groups(source, user, contracts):
    params = {"sysparm_query": "u_name=stats", "sysparm_count": "true", "sysparm_group_by": "active", "sysparm_order_by": "active"}
    result = user.get(source.url + "/api/now/v1/stats/u_contract", params=params).json()["result"]
    assert result == [
        {"stats": {"count": "2"}, "groupby_fields": [{"field": "active", "value": "false"}]},
        {"stats": {"count": "3"}, "groupby_fields": [{"field": "active", "value": "true"}]},
    ]
    params["sysparm_having"] = "count^active^>^2"
    assert len(user.get(source.url + "/api/now/stats/u_contract", params=params).json()["result"]) == 1


def test_numbers_are_aggregated_as_numbers(source, user):
    for priority in ("2", "3", "10"):
        source.put("incident", {"number": "AGG", "priority": priority})
    params = {"sysparm_query": "number=AGG", **{"sysparm_{}_fields".format(f): "priority" for f in ("avg", "min", "max", "sum")}}
    stats = user.get(source.url + "/api/now/stats/incident", params=params).json()["result"]["stats"]
    assert stats == {"avg": {"priority": "5.0000"}, "min": {"priority": "2"}, "max": {"priority": "10"}, "sum": {"priority": "15"}}


def test_stats_need_the_right_to_read(source, user):
    assert user.get(source.url + "/api/now/stats/oauth_entity", params={"sysparm_count": "true"}).status_code == 403


def test_batch(source, user):
    def item(number, method, url, body=b""):
        headers = [{"name": "Content-Type", "value": "application/json"}]
        return {"id": number, "method": method, "url": url, "headers": headers, "body": base64.b64encode(body).decode()}

    requests_ = [
        item("a", "POST", "/api/now/table/incident", b'{"number": "BATCH1"}'),
        item("b", "GET", "/api/now/table/incident?sysparm_query=number=BATCH1&sysparm_fields=number"),
        item("c", "GET", "/api/now/table/no_such_table"),
    ]
    requests_[1]["exclude_response_headers"] = True
    answer = user.post(source.url + "/api/now/v1/batch", json={"batch_request_id": 7, "rest_requests": requests_})
    result = answer.json()
    assert (answer.status_code, result["batch_request_id"], result["unserviced_requests"]) == (200, "7", [])
    first, second, third = result["serviced_requests"]
    assert (first["id"], first["status_code"]) == ("a", 201)
    assert any(header["name"] == "Location" for header in first["headers"])
    assert base64.b64decode(second["body"]) == b'{"result":[{"number":"BATCH1"}]}'
    assert "headers" not in second
    assert third["status_code"] == 400


def test_attachment_round_trip(source, user):
    record = user.post(source.table("incident"), json={}).json()["result"]["sys_id"]
    params = {"table_name": "incident", "table_sys_id": record, "file_name": "a b.bin"}
    url = source.url + "/api/now/attachment"
    answer = user.post(url + "/file", params=params, data=SECRET, headers={"Content-Type": "application/x-lab"})
    row = answer.json()["result"]
    assert (answer.status_code, answer.headers["Location"]) == (201, url + "/" + row["sys_id"])
    assert (row["size_bytes"], row["file_name"], row["table_name"]) == (str(len(SECRET)), "a b.bin", "incident")
    download = user.get(row["download_link"])
    assert (download.content, download.headers["Content-Type"]) == (SECRET, "application/x-lab")
    listing = user.get(url, params={"sysparm_query": "table_sys_id=" + record})
    assert listing.headers["X-Total-Count"] == "1"
    assert listing.json()["result"][0]["sys_id"] == row["sys_id"]
    logged = source.control("GET", "/requests")["requests"]
    assert SECRET.decode("latin-1") in [entry["body"] for entry in logged]
    assert source.client("edge.proxy").get(row["download_link"]).status_code == 404
    assert user.delete(url + "/" + row["sys_id"]).status_code == 204
    assert user.get(row["download_link"]).status_code == 404


def test_attachment_upload_by_form(source, user):
    record = user.post(source.table("incident"), json={}).json()["result"]["sys_id"]
    answer = user.post(
        source.url + "/api/now/attachment/upload",
        data={"table_name": "incident", "table_sys_id": record},
        files={"uploadFile": ("x.bin", SECRET, "application/octet-stream")},
    )
    assert answer.status_code == 201
    assert user.get(answer.json()["result"]["download_link"]).content == SECRET


def test_attachment_refusals(source, user):
    record = user.post(source.table("incident"), json={}).json()["result"]["sys_id"]
    url = source.url + "/api/now/attachment/file"
    params = {"table_name": "incident", "table_sys_id": record, "file_name": "clear.txt"}
    kind = {"Content-Type": "text/plain"}
    before = len(source.raw("sys_edge_encryption_invalid_insert_log"))
    assert user.post(url, params=params, data=b"clear text", headers=kind).status_code == 403
    assert len(source.raw("sys_edge_encryption_invalid_insert_log")) == before + 1
    assert user.post(url, params=params, data=SECRET).status_code == 400
    assert user.post(url, params={"table_name": "incident"}, data=SECRET, headers=kind).status_code == 400
    missing = dict(params, table_sys_id="0" * 32)
    assert user.post(url, params=missing, data=SECRET, headers=kind).status_code == 404
    contract = source.put("u_contract", {"u_name": "open"})[0]["sys_id"]
    free = dict(params, table_name="u_contract", table_sys_id=contract)
    assert user.post(url, params=free, data=b"no configuration", headers=kind).status_code == 201


def test_xmlstats_needs_no_login_and_lists_the_proxies(source):
    answer = requests.get(source.url + "/xmlstats.do?include=edgeencryption", verify=source.config["ca"], timeout=10)
    assert answer.status_code == 200
    assert '<proxy name="edge_source_1" host="127.0.0.1" status="Authenticated" online="' in answer.text


@pytest.fixture
def client(source, monkeypatch):
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would win over the verify of the client
        monkeypatch.delenv(variable, raising=False)
    return pysnc.ServiceNowClient(source.url, ("demo.user", source.password("demo.user")), verify=source.config["ca"])


def test_pysnc_inserts_queries_updates_deletes(client):
    record = client.GlideRecord("incident")
    record.initialize()
    record.number = "PYSNC1"
    record.caller_id = _user_id(client)
    sys_id = record.insert()
    assert sys_id
    found = client.GlideRecord("incident")
    assert found.get(sys_id)
    assert found.caller_id.get_display_value() == "Demo User"
    found.priority = "1"
    assert found.update() == sys_id
    assert client.GlideRecord("incident").get(sys_id)
    query = client.GlideRecord("incident")
    query.add_query("number", "PYSNC1")
    query.add_query("priority", "1")
    query.add_null_query("assigned_to")
    query.query()
    assert (len(query), query.next(), query.get_value("sys_id")) == (1, True, sys_id)
    assert query.delete()
    assert not client.GlideRecord("incident").get(sys_id)


def _user_id(client):
    user = client.GlideRecord("sys_user")
    assert user.get("user_name", "demo.user")
    return user.get_value("sys_id")


def test_pysnc_pages(source, client):
    rows = source.put("u_contract", *({"u_number": "Y{:03d}".format(i), "u_name": "pysnc"} for i in range(25)))
    record = client.GlideRecord("u_contract", batch_size=10)
    record.add_query("u_name", "pysnc")
    record.order_by("u_number")
    record.query()
    assert [str(entry.u_number) for entry in record] == ["Y{:03d}".format(i) for i in range(25)]
    for row in rows:
        source.control("DELETE", "/raw/u_contract/" + row["sys_id"])


def test_pysnc_joins_and_related_lists(client):
    record = client.GlideRecord("sys_user")
    record.add_rl_query("sys_user_has_role", "user", ">0", True)
    record.query()
    assert len(record) >= 4
    record = client.GlideRecord("sys_user")
    join = record.add_join_query("sys_user_has_role", join_table_field="user")
    join.add_query("role.name", "itil")
    record.query()
    assert [str(row.user_name) for row in record] == ["demo.user"]


def test_pysnc_attaches(client):
    record = client.GlideRecord("incident")
    record.initialize()
    record.insert()
    record.add_attachment("secret.bin", SECRET)
    attachments = record.get_attachments()
    assert len(attachments) == 1
    assert attachments.next()
    assert attachments.read() == SECRET
    attachments.delete()
    assert len(record.get_attachments()) == 0


def test_pysnc_batches(client):
    record = client.GlideRecord("incident")
    record.initialize()
    record.number = "PYBATCH"
    answers = []
    client.batch_api.post(record, answers.append)
    client.batch_api.execute()
    assert answers[0].status_code == 201
    assert answers[0].json()["result"]["number"]["value"] == "PYBATCH"


def test_pysnc_sees_the_right_exceptions(source, client):
    assert not client.GlideRecord("incident").get("0" * 32)
    with pytest.raises(pysnc.exceptions.RoleException):
        client.GlideRecord("oauth_entity").query()
    wrong = pysnc.ServiceNowClient(source.url, ("demo.user", "wrong"), verify=source.config["ca"])
    with pytest.raises(pysnc.exceptions.AuthenticationException):
        wrong.GlideRecord("incident").query()
