# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Table API: what the platform's documentation and captures say, statement by statement."""

import pytest

pytest_plugins = ("edgelab.instance.testing",)


@pytest.fixture
def user(source):
    return source.client("demo.user")


@pytest.fixture
def incident(source, user):
    return user.post(source.table("incident"), json={"priority": 2, "caller_id": "Demo User"}).json()["result"]


@pytest.fixture
def contracts(source):
    """Ten contracts of their own name."""
    rows = source.put("u_contract", *({"u_number": "P{:02d}".format(i), "u_name": "paging"} for i in range(10)))
    yield rows
    for row in rows:
        source.control("DELETE", "/raw/u_contract/" + row["sys_id"])


def test_insert_answers_201_location_and_strings(source, user):
    answer = user.post(source.table("incident"), json={"priority": 1, "active": True, "u_nothing": "x", "sys_mod_count": 9})
    row = answer.json()["result"]
    assert answer.status_code == 201
    assert answer.headers["Location"] == source.table("incident/" + row["sys_id"])
    assert (row["priority"], row["active"], row["sys_mod_count"], row["description"]) == ("1", "true", "0", "")
    assert row["sys_created_by"] == "demo.user"
    assert "u_nothing" not in row
    assert answer.headers["Content-Type"].replace(" ", "") == "application/json;charset=UTF-8"
    assert answer.headers["X-Is-Logged-In"] == "true"


def test_only_the_first_of_several_records_is_inserted(source, user):
    before = len(source.raw("incident"))
    assert user.post(source.table("incident"), json=[{"priority": 1}, {"priority": 2}]).status_code == 201
    assert len(source.raw("incident")) == before + 1


def test_reference_forms(source, user):
    demo = source.find("sys_user", user_name="demo.user")[0]["sys_id"]
    row = user.post(source.table("incident"), json={"caller_id": demo}).json()["result"]
    link = source.table("sys_user/" + demo)
    url = source.table("incident/" + row["sys_id"])

    def caller(**params):
        return user.get(url, params=params).json()["result"]["caller_id"]

    assert caller() == {"link": link, "value": demo}
    assert caller(sysparm_exclude_reference_link="true") == demo
    assert caller(sysparm_display_value="true") == {"display_value": "Demo User", "link": link}
    assert caller(sysparm_display_value="true", sysparm_exclude_reference_link="true") == "Demo User"
    assert caller(sysparm_display_value="all") == {"display_value": "Demo User", "value": demo, "link": link}
    assert user.patch(url, json={"caller_id": ""}).json()["result"]["caller_id"] == ""


def test_display_values_are_labels_and_local_times(source, user):
    user_row = source.find("sys_user", user_name="demo.user")[0]
    source.put("sys_user", {"sys_id": user_row["sys_id"], "time_zone": "Asia/Tokyo"})
    source.put("incident", {"sys_id": "1" * 32, "sys_created_on": "2026-01-01 20:00:00", "priority": "1"})
    row = user.get(source.table("incident/" + "1" * 32), params={"sysparm_display_value": "all"}).json()["result"]
    source.put("sys_user", {"sys_id": user_row["sys_id"], "time_zone": ""})
    assert row["priority"] == {"display_value": "1 - Critical", "value": "1"}
    assert row["sys_created_on"] == {"display_value": "2026-01-02 05:00:00", "value": "2026-01-01 20:00:00"}
    assert row["state"]["display_value"] == "New"


def test_fields_with_dot_walk_and_unknown_ones(source, user, incident):
    url = source.table("incident/" + incident["sys_id"])
    source.put("incident", {"sys_id": incident["sys_id"], "caller_id": source.find("sys_user", user_name="demo.user")[0]["sys_id"]})
    row = user.get(url, params={"sysparm_fields": "number,caller_id.user_name,caller_id.manager.name,caller_id.nope,nope"}).json()["result"]
    assert row == {"number": incident["number"], "caller_id.user_name": "demo.user", "caller_id.manager.name": ""}


def test_input_display_value_takes_labels_names_and_passwords(source, user, incident):
    url = source.table("incident/" + incident["sys_id"])
    body = {"priority": "1 - Critical", "caller_id": "Demo User"}
    row = user.patch(url, json=body, params={"sysparm_input_display_value": "true"}).json()["result"]
    assert row["priority"] == "1"
    assert row["caller_id"]["value"] == source.find("sys_user", user_name="demo.user")[0]["sys_id"]


def test_put_and_patch_are_partial_and_count_effective_updates_only(source, user, incident):
    url = source.table("incident/" + incident["sys_id"])
    changed = user.put(url, json={"priority": "3"}).json()["result"]
    assert (changed["priority"], changed["sys_mod_count"], changed["number"]) == ("3", "1", incident["number"])
    assert user.patch(url, json={"priority": "3"}).json()["result"]["sys_mod_count"] == "1"
    assert user.patch(url, json={"priority": "4"}).json()["result"]["sys_mod_count"] == "2"


def test_method_override_and_no_response_body(source, user, incident):
    url = source.table("incident/" + incident["sys_id"])
    headers = {"X-HTTP-Method-Override": "PATCH", "X-no-response-body": "true"}
    # A POST to a record is none of the verbs of that URL unless it is overridden.
    answer = user.post(url, json={"priority": "5"}, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert source.raw("incident")[incident["sys_id"]]["priority"] == "5"


def test_delete_answers_204_and_takes_the_attachments_along(source, user, incident):
    sys_id = source.put("sys_attachment", {"table_name": "incident", "table_sys_id": incident["sys_id"]})[0]["sys_id"]
    source.put("sys_attachment_doc", {"sys_attachment": sys_id, "data": ""})
    answer = user.delete(source.table("incident/" + incident["sys_id"]))
    assert (answer.status_code, answer.content) == (204, b"")
    assert sys_id not in source.raw("sys_attachment")
    assert not source.find("sys_attachment_doc", sys_attachment=sys_id)
    assert user.delete(source.table("incident/" + incident["sys_id"])).status_code == 404


def test_head_is_get_without_body(source, user, incident):
    answer = user.head(source.table("incident"), params={"sysparm_query": "number=" + incident["number"]})
    assert (answer.status_code, answer.content, answer.headers["X-Total-Count"]) == (200, b"", "1")


def test_paging_headers(source, user, contracts):
    params = {"sysparm_query": "u_name=paging^ORDERBYu_number", "sysparm_limit": 4}
    first = user.get(source.table("u_contract"), params=params)
    assert first.headers["X-Total-Count"] == "10"
    assert [row["u_number"] for row in first.json()["result"]] == ["P00", "P01", "P02", "P03"]
    assert "sysparm_offset=-4" in first.links["prev"]["url"]  # captured from the platform
    second = user.get(first.links["next"]["url"])
    assert [row["u_number"] for row in second.json()["result"]] == ["P04", "P05", "P06", "P07"]
    last = user.get(first.links["last"]["url"])
    assert [row["u_number"] for row in last.json()["result"]] == ["P08", "P09"]
    assert "next" not in last.links
    assert first.links["first"]["url"].startswith(source.url)


def test_paging_headers_can_be_switched_off(source, user, contracts):
    answer = user.get(source.table("u_contract"), params={"sysparm_no_count": "true"})
    assert "X-Total-Count" not in answer.headers
    answer = user.get(source.table("u_contract"), params={"sysparm_suppress_pagination_header": "true"})
    assert "Link" not in answer.headers
    assert "X-Total-Count" in answer.headers


def test_limit_comes_before_access_control(source, user, contracts):
    """A page may be shorter than the limit although more rows follow."""
    hidden = [row["sys_id"] for row in contracts[:3]]
    control = source.find("sys_security_acl", name="u_contract", operation="read") or [{}]
    rows = source.put(
        "sys_security_acl",
        {"name": "u_contract", "operation": "read", "roles": "itil", "condition": "sys_idNOT IN" + ",".join(hidden), "active": "true"},
    )
    source.put("sys_security_acl", {"sys_id": control[0]["sys_id"], "active": "false"})
    params = {"sysparm_query": "u_name=paging^ORDERBYu_number", "sysparm_limit": 4}
    answer = user.get(source.table("u_contract"), params=params)
    single = user.get(source.table("u_contract/" + hidden[0]))
    source.control("DELETE", "/raw/sys_security_acl/" + rows[0]["sys_id"])
    source.put("sys_security_acl", {"sys_id": control[0]["sys_id"], "active": "true"})
    assert [row["u_number"] for row in answer.json()["result"]] == ["P03"]
    assert answer.headers["X-Total-Count"] == "10"
    assert single.status_code == 404


def test_no_match_is_404_in_v1_and_an_empty_list_else(source, user):
    params = {"sysparm_query": "number=NOPE"}
    for version in ("", "/v2"):
        answer = user.get("{}/api/now{}/table/incident".format(source.url, version), params=params)
        assert (answer.status_code, answer.json()) == (200, {"result": []})
    answer = user.get(source.url + "/api/now/v1/table/incident", params=params)
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": "No Record found",
        "detail": "Records matching query not found. Check query parameter or offset parameter",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "table/incident/" + "0" * 32, 404, "No Record found"),
        ("PATCH", "table/incident/" + "0" * 32, 404, "No Record found"),
        ("GET", "table/no_such_table", 400, "Invalid table no_such_table"),
        ("GET", "nothing/incident", 400, "Requested URI does not represent any resource"),
        ("PATCH", "table/incident", 405, "Method not Supported"),
        ("POST", "table/incident/" + "0" * 32, 405, "Method not Supported"),
        ("GET", "table/incident?sysparm_offset=-1", 400, "Invalid value for sysparm_offset"),
        ("GET", "table/incident?sysparm_limit=many", 400, "Invalid value for sysparm_limit"),
    ],
)
def test_error_bodies(source, user, method, path, status, message):
    answer = user.request(method, source.url + "/api/now/" + path, json={} if method != "GET" else None)
    assert answer.status_code == status
    assert answer.json()["status"] == "failure"
    assert answer.json()["error"]["message"] == message


def test_payload_problems(source, user):
    url = source.table("incident")
    assert user.post(url, data=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    assert user.post(url, data=b"{}").status_code == 400
    assert user.post(url, data=b"{}", headers={"Content-Type": "image/png"}).status_code == 415
    assert user.get(url, headers={"Accept": "image/png"}).status_code == 406


def test_xml_in_and_out(source, user):
    headers = {"Content-Type": "application/xml", "Accept": "application/xml"}
    body = "<request><entry><priority>2</priority><number>XML1</number></entry></request>"
    answer = user.post(source.table("incident"), data=body, headers=headers)
    assert answer.status_code == 201
    assert "<number>XML1</number>" in answer.text


def test_a_long_url_gets_html(source, user):
    answer = user.get(source.table("incident"), params={"sysparm_query": "x" * 17000})
    assert answer.status_code == 414
    assert "<html>" in answer.text


def test_invalid_query_parts_are_ignored_unless_the_property_says_otherwise(source, user):
    params = {"sysparm_query": "numbr=NOPE"}
    everything = len(source.raw("incident"))
    assert len(user.get(source.table("incident"), params=params).json()["result"]) == everything > 0
    source.knobs(invalid_query_returns_no_rows=True)
    assert user.get(source.table("incident"), params=params).json()["result"] == []
    source.knobs(invalid_query_returns_no_rows=False)
    row = source.find("sys_properties", name="glide.invalid_query.returns_no_rows")[0]
    source.put("sys_properties", {"sys_id": row["sys_id"], "value": "true"})
    assert user.get(source.table("incident"), params=params).json()["result"] == []
    source.put("sys_properties", {"sys_id": row["sys_id"], "value": "false"})


def test_name_value_pairs_query_when_there_is_no_sysparm_query(source, user, contracts):
    assert len(user.get(source.table("u_contract"), params={"u_number": "P03"}).json()["result"]) == 1
    both = {"u_number": "P03", "sysparm_query": "u_name=paging"}
    assert len(user.get(source.table("u_contract"), params=both).json()["result"]) == 10


def test_keyset_paging(source, user, contracts):
    seen, last = [], ""
    while True:
        query = "u_name=paging^sys_id>{}^ORDERBYsys_id".format(last)
        page = user.get(source.table("u_contract"), params={"sysparm_query": query, "sysparm_limit": 3}).json()["result"]
        if not page:
            break
        seen += [row["sys_id"] for row in page]
        last = seen[-1]
    assert sorted(seen) == sorted(row["sys_id"] for row in contracts)


def test_only_one_active_configuration_a_field(source):
    admin = source.client("admin", **{"X-Edge-Proxy": "edge_source_1"})
    url = source.table("sys_encryption_configuration")
    body = {"table": "incident", "type": "column", "column": "u_account", "encryption_type": "standard_128", "active": "true"}
    answer = admin.post(url, json=body)
    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "Operation Failed"
    assert "was aborted by Business Rule 'Only one active configuration per field^" in answer.json()["error"]["detail"]
    inactive = admin.post(url, json=dict(body, active="false"))
    assert inactive.status_code == 201
    assert admin.patch(url + "/" + inactive.json()["result"]["sys_id"], json={"active": "true"}).status_code == 403
    source.control("DELETE", "/raw/sys_encryption_configuration/" + inactive.json()["result"]["sys_id"])


def test_a_configuration_cannot_be_deleted(source):
    admin = source.client("admin", **{"X-Edge-Proxy": "edge_source_1"})
    row = source.find("sys_encryption_configuration", column="u_account")[0]
    assert admin.delete(source.table("sys_encryption_configuration/" + row["sys_id"])).status_code == 403


def test_clear_text_is_rejected_and_logged(source, user, incident):
    url = source.table("incident/" + incident["sys_id"])
    before = len(source.raw("sys_edge_encryption_invalid_insert_log"))
    answer = user.patch(url, json={"short_description": "clear text"})
    assert answer.status_code == 403
    log = list(source.raw("sys_edge_encryption_invalid_insert_log").values())
    assert len(log) == before + 1
    assert (log[-1]["table"], log[-1]["column"], log[-1]["record"]) == ("incident", "short_description", incident["sys_id"])
    assert "clear text" not in log[-1]["message"]
    assert user.patch(url, json={"short_description": "edge:s:aes128prod:AAAA"}).status_code == 200
    assert user.patch(url, json={"u_birth_date": "2001-01-01"}).status_code == 200


def test_clear_text_passes_while_the_configuration_is_inactive_or_the_property_allows_it(source, user, incident):
    url = source.table("incident/" + incident["sys_id"])
    allowed = source.find("sys_properties", name="sn_edge_encryption.cleartext.allowed")[0]
    source.put("sys_properties", {"sys_id": allowed["sys_id"], "value": "true"})
    assert user.patch(url, json={"u_customer_name": "open"}).status_code == 200
    source.put("sys_properties", {"sys_id": allowed["sys_id"], "value": "false"})
    assert user.patch(url, json={"u_customer_name": "closed"}).status_code == 403
    configuration = source.find("sys_encryption_configuration", column="u_customer_name")[0]
    source.put("sys_encryption_configuration", {"sys_id": configuration["sys_id"], "active": "false"})
    assert user.patch(url, json={"u_customer_name": "open again"}).status_code == 200
    source.put("sys_encryption_configuration", {"sys_id": configuration["sys_id"], "active": "true"})


def test_a_signature_is_stored_with_a_change_and_is_none_itself(source):
    admin = source.client("admin", **{"X-Edge-Proxy": "edge_source_1"})
    rule = source.find("sys_encryption_rule", name="Chat transcript")[0]["sys_id"]
    source.put("sys_encryption_rule", {"sys_id": rule, "signature": "old"})
    url = source.table("sys_encryption_rule/" + rule)
    start = int(admin.get(url).json()["result"]["sys_mod_count"])
    same = admin.patch(url, json={"active": "true", "signature": "new"}).json()["result"]
    assert (same["signature"], int(same["sys_mod_count"])) == ("old", start)
    off = admin.patch(url, json={"active": "false", "signature": "off"}).json()["result"]
    on = admin.patch(url, json={"active": "true", "signature": "on"}).json()["result"]
    assert (off["signature"], on["signature"], int(on["sys_mod_count"])) == ("off", "on", start + 2)
    unsigned = admin.patch(url, json={"active": "false"}).json()["result"]
    assert unsigned["signature"] == "on"  # stale now: a proxy will not accept it
    admin.patch(url, json={"active": "true"})


def test_unique_columns(source):
    admin = source.client("admin")
    answer = admin.post(source.table("sys_user"), json={"user_name": "demo.user"})
    assert answer.status_code == 403
    assert "Unique Key violation" in answer.json()["error"]["detail"]


@pytest.mark.parametrize("table", ["sys_encryption_rule", "clone_instance", "sn_instance_clone_request", "sys_user", "incident"])
def test_every_table_can_be_discovered(source, user, table):
    row = user.get(source.table("sys_db_object"), params={"sysparm_query": "name=" + table}).json()["result"][0]
    assert row["name"] == table
    listed = []
    for name in [table, "task"] if table == "incident" else [table]:
        params = {"sysparm_query": "name={}^elementISNOTEMPTY".format(name), "sysparm_fields": "element"}
        listed += [column["element"] for column in user.get(source.table("sys_dictionary"), params=params).json()["result"]]
    stored = source.put(table, {"sys_id": "d" * 32})[0]
    source.control("DELETE", "/raw/{}/{}".format(table, "d" * 32))
    assert sorted(listed) == sorted(stored)


def test_a_new_dictionary_entry_makes_a_column(source, user):
    admin = source.client("admin")
    admin.post(source.table("sys_dictionary"), json={"name": "incident", "element": "u_extra", "internal_type": "string"})
    row = user.post(source.table("incident"), json={"u_extra": "there"}).json()["result"]
    assert row["u_extra"] == "there"
