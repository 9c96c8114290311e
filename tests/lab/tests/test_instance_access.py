# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logging in, sessions, access control, elevation, forms, OAuth, and what keeps users out."""

import re
import threading
import time

import pytest
import requests

from edgelab.instance.schema import stable_id

pytest_plugins = ("edgelab.instance.testing",)

NOT_AUTHENTICATED = {"message": "User Not Authenticated", "detail": "Required to provide Auth information"}
RULE = "sys_encryption_rule/" + stable_id("rule", "ERP contract import")


@pytest.fixture
def officer(source):
    """A security officer who comes through a proxy."""
    return source.client("admin", **{"X-Edge-Proxy": "edge_source_1"})


def active(node):
    return node.raw("sys_encryption_rule")[stable_id("rule", "ERP contract import")]["active"]


@pytest.mark.parametrize(("user", "password"), [("demo.user", "wrong"), ("nobody", "x"), ("demo.user", "demo.user-acmetest")])
def test_a_wrong_login_is_401(source, user, password):
    answer = requests.get(source.table("incident"), auth=(user, password), verify=source.config["ca"], timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (401, NOT_AUTHENTICATED)
    assert answer.headers["WWW-Authenticate"].startswith("BASIC")
    assert answer.headers["X-Is-Logged-In"] == "false"


def test_no_login_is_401(source):
    assert requests.get(source.table("incident"), verify=source.config["ca"], timeout=10).status_code == 401


@pytest.mark.parametrize("change", [{"active": "false"}, {"locked_out": "true"}])
def test_a_disabled_user_is_401(source, change):
    row = source.put("sys_user", {"user_name": "former", "user_password": "former-acmeprod", **change})[0]
    assert source.client("former").get(source.table("sys_user")).status_code == 401
    source.control("DELETE", "/raw/sys_user/" + row["sys_id"])


def test_passwords_are_stored_hashed_and_shown_masked(source):
    stored = source.find("sys_user", user_name="demo.user")[0]["user_password"]
    assert stored.startswith("pbkdf2$")
    assert "demo.user-acmeprod" not in stored
    answer = source.client("admin").get(source.table("sys_user"), params={"sysparm_query": "user_name=demo.user"})
    assert answer.json()["result"][0]["user_password"] == "********"


def test_a_password_set_by_rest_lets_in_only_with_input_display_value(source):
    admin = source.client("admin")
    answer = admin.post(source.table("sys_user"), json={"user_name": "fresh", "user_password": "fresh-acmeprod"})
    url = source.table("sys_user/" + answer.json()["result"]["sys_id"])
    assert source.client("fresh").get(source.table("sys_user")).status_code == 401
    admin.patch(url, json={"user_password": "fresh-acmeprod"}, params={"sysparm_input_display_value": "true"})
    assert source.client("fresh").get(source.table("sys_user")).status_code == 200
    admin.delete(url)


def test_a_session_is_announced_once_and_kept_by_its_cookie(source):
    client = source.client("demo.user")
    first = client.get(source.table("incident?sysparm_limit=1"))
    assert {"JSESSIONID", "glide_user_route", "glide_session_store"} <= set(first.cookies.keys())
    second = client.get(source.table("incident?sysparm_limit=1"))
    assert "Set-Cookie" not in second.headers
    client.auth = None
    assert client.get(source.table("incident?sysparm_limit=1")).status_code == 200


def test_another_user_does_not_inherit_a_session(source):
    client = source.client("admin")
    client.get(source.table("incident?sysparm_limit=1"))
    client.auth = ("demo.user", source.password("demo.user"))
    answer = client.get(source.table("oauth_entity"))
    assert answer.status_code == 403
    assert "JSESSIONID" in answer.cookies


def test_requests_of_one_session_run_one_after_the_other(source):
    source.knobs(latency_ms=500)
    shared = source.client("demo.user")
    shared.get(source.table("incident?sysparm_limit=1"))
    cookie = {"Cookie": "JSESSIONID=" + shared.cookies["JSESSIONID"]}

    def together(headers):
        def one():
            requests.get(source.table("incident?sysparm_limit=1"), auth=shared.auth, verify=shared.verify, headers=headers, timeout=10)

        threads = [threading.Thread(target=one) for dummy in range(4)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    assert together({}) < 1.9 < together(cookie)


def test_rights_of_the_accounts(source, target):
    automation = source.client("edge.automation")
    assert automation.get(source.table("clone_instance")).status_code == 200
    assert automation.get(source.table("sys_encryption_rule")).status_code == 200
    assert automation.post(source.table("sys_encryption_proxy"), json={"name": "x"}).status_code == 403
    assert automation.post(source.table("sys_user"), json={"user_name": "x"}).status_code == 403
    demo = source.client("demo.user")
    answer = demo.get(source.table("sys_encryption_rule"))
    assert (answer.status_code, answer.json()["error"]["message"]) == (403, "Insufficient rights to query records")
    on_target = target.client("edge.automation")
    created = on_target.post(target.table("sys_encryption_proxy"), json={"name": "x"})
    assert created.status_code == 201
    assert on_target.delete(target.table("sys_encryption_proxy/" + created.json()["result"]["sys_id"])).status_code == 204


def test_a_refused_write_names_the_access_control(source):
    answer = source.client("edge.automation").patch(source.table(RULE), json={"active": "false"})
    assert answer.status_code == 403
    assert answer.json()["error"] == {
        "message": "Operation Failed",
        "detail": "ACL Exception Update Failed due to security constraints",
    }
    answer = source.client("edge.automation").post(source.table("incident"), json={})
    assert answer.json()["error"]["detail"] == "ACL Exception Insert Failed due to security constraints"


def test_roles_come_through_groups_too(source):
    user = source.put("sys_user", {"user_name": "grouped", "user_password": "grouped-acmeprod"})[0]["sys_id"]
    group = source.put("sys_user_group", {"name": "desk"})[0]["sys_id"]
    client = source.client("grouped")
    assert client.get(source.table("incident")).status_code == 403
    source.put("sys_user_grmember", {"user": user, "group": group})
    source.put("sys_group_has_role", {"group": group, "role": stable_id("role", "itil")})
    assert client.get(source.table("incident")).status_code == 200
    source.control("DELETE", "/raw/sys_user/" + user)


def test_fields_that_may_not_be_read_are_left_out_and_written_ones_dropped(source):
    controls = source.put(
        "sys_security_acl",
        {"name": "incident.u_birth_date", "operation": "read", "roles": "admin", "active": "true"},
        {"name": "incident.u_birth_date", "operation": "write", "roles": "admin", "active": "true"},
    )
    demo = source.client("demo.user")
    answer = demo.post(source.table("incident"), json={"u_birth_date": "2001-01-01", "priority": "2"})
    row = answer.json()["result"]
    refused = demo.get(source.table("incident"), params={"sysparm_query": "u_birth_date>2000-01-01"})
    for control in controls:
        source.control("DELETE", "/raw/sys_security_acl/" + control["sys_id"])
    assert answer.status_code == 201
    assert "u_birth_date" not in row
    assert source.raw("incident")[row["sys_id"]]["u_birth_date"] == ""
    assert refused.status_code == 403
    assert refused.json()["error"]["message"] == "Field(s) present in the query do not have permission to be read."


def test_rules_are_written_only_through_a_proxy(source, officer):
    assert source.client("admin").patch(source.table(RULE), json={"active": "false"}).status_code == 403
    assert officer.patch(source.table(RULE), json={"active": "false"}).json()["result"]["active"] == "false"
    assert officer.patch(source.table(RULE), json={"active": "true"}).json()["result"]["active"] == "true"


def token(client, url):
    return re.search(r'name="sysparm_ck" value="(\w+)"', client.get(url).text).group(1)


def test_elevation_is_needed_by_knob_and_belongs_to_the_session(source, officer):
    source.knobs(elevation_required=True)
    assert officer.patch(source.table(RULE), json={"active": "false"}).status_code == 403
    source.knobs(elevation_refusal="silent")
    silent = officer.patch(source.table(RULE), json={"active": "false"})
    assert (silent.status_code, silent.json()["result"]["active"], active(source)) == (200, "true", "true")
    dialog = source.url + "/elevated_role_dialog.do"
    assert officer.post(dialog, data={"role": "security_admin", "sysparm_ck": "wrong"}).status_code == 403
    answer = officer.post(dialog, data={"role": "security_admin", "sysparm_ck": token(officer, dialog)})
    assert answer.status_code == 200
    assert officer.patch(source.table(RULE), json={"active": "false"}).json()["result"]["active"] == "false"
    other = source.client("admin", **{"X-Edge-Proxy": "edge_source_1"})
    source.knobs(elevation_refusal="forbidden")
    assert other.patch(source.table(RULE), json={"active": "true"}).status_code == 403
    officer.patch(source.table(RULE), json={"active": "true"})
    assert active(source) == "true"


def test_only_a_security_admin_can_elevate(source):
    demo = source.client("demo.user")
    dialog = source.url + "/elevated_role_dialog.do"
    assert demo.post(dialog, data={"role": "security_admin", "sysparm_ck": token(demo, dialog)}).status_code == 403


def test_a_form_saves_with_the_token_of_its_session(source, officer):
    form = "{}/sys_encryption_rule.do?sys_id={}".format(source.url, stable_id("rule", "ERP contract import"))
    page = officer.get(form)
    assert 'name="sys_encryption_rule.active" value="true"' in page.text
    data = {"sys_action": "sysverb_update", "sysparm_ck": token(officer, form), "sys_encryption_rule.active": "false", "signature": "s1"}
    saved = officer.post(form, data=data, allow_redirects=False)
    assert saved.status_code == 302
    assert saved.headers["Location"] == form
    assert active(source) == "false"
    assert source.raw("sys_encryption_rule")[stable_id("rule", "ERP contract import")]["signature"] == "s1"
    officer.post(form, data={**data, "sys_encryption_rule.active": "true"})
    assert active(source) == "true"


def test_a_form_without_the_token_or_the_right_is_not_saved(source, officer):
    form = "{}/sys_encryption_rule.do?sys_id={}".format(source.url, stable_id("rule", "ERP contract import"))
    assert officer.post(form, data={"sysparm_ck": "old", "active": "false"}).status_code == 403
    direct = source.client("admin")
    answer = direct.post(form, data={"sysparm_ck": token(direct, form), "active": "false"}, allow_redirects=False)
    assert answer.status_code == 200
    assert "ACL Exception Update Failed" in answer.text
    assert active(source) == "true"


def test_a_form_inserts(source):
    demo = source.client("demo.user")
    form = source.url + "/incident.do?sys_id=-1"
    data = {"sysparm_ck": token(demo, form), "incident.number": "FORM1", "incident.priority": "1"}
    assert demo.post(form, data=data, allow_redirects=False).status_code == 302
    assert source.find("incident", number="FORM1")[0]["priority"] == "1"


def test_login_page_opens_a_session(source):
    client = source.client()
    client.auth = None
    client.post(source.url + "/login.do", data={"user_name": "demo.user", "user_password": "wrong"}, allow_redirects=False)
    assert client.get(source.table("incident")).status_code == 401
    data = {"user_name": "demo.user", "user_password": source.password("demo.user")}
    assert client.post(source.url + "/login.do", data=data, allow_redirects=False).status_code == 302
    assert client.get(source.table("incident")).status_code == 200


@pytest.fixture
def application(source):
    values = {"name": "app", "client_id": "id1", "client_secret": "secret1", "user": stable_id("user", "demo.user")}
    row = source.put("oauth_entity", values)[0]
    yield {"client_id": "id1", "client_secret": "secret1"}
    source.control("DELETE", "/raw/oauth_entity/" + row["sys_id"])


def oauth(source, **form):
    return requests.post(source.url + "/oauth_token.do", data=form, verify=source.config["ca"], timeout=10)


def bearer(source, access_token):
    headers = {"Authorization": "Bearer " + access_token}
    return requests.get(source.table("incident"), headers=headers, verify=source.config["ca"], timeout=10).status_code


def test_oauth_password_grant_and_refresh(source, application):
    login = {"grant_type": "password", "username": "demo.user", "password": source.password("demo.user")}
    answer = oauth(source, **login, **application).json()
    assert (answer["token_type"], answer["scope"], answer["expires_in"]) == ("Bearer", "useraccount", 1799)
    assert bearer(source, answer["access_token"]) == 200
    assert bearer(source, answer["refresh_token"]) == 401
    again = oauth(source, grant_type="refresh_token", refresh_token=answer["refresh_token"], **application).json()
    assert bearer(source, again["access_token"]) == 200


def test_oauth_client_credentials_has_no_refresh_token(source, application):
    answer = oauth(source, grant_type="client_credentials", **application).json()
    assert "refresh_token" not in answer
    assert bearer(source, answer["access_token"]) == 200


def test_oauth_tokens_expire(source, application):
    source.knobs(token_seconds=0)
    answer = oauth(source, grant_type="client_credentials", **application).json()
    assert bearer(source, answer["access_token"]) == 401


def test_oauth_refusals(source, application):
    wrong = oauth(source, grant_type="client_credentials", client_id="id1", client_secret="x")
    assert (wrong.status_code, wrong.json()) == (401, {"error": "invalid_client", "error_description": "access_denied"})
    wrong = oauth(source, grant_type="password", username="demo.user", password="x", **application)
    assert (wrong.status_code, wrong.json()) == (401, {"error": "server_error", "error_description": "access_denied"})
    wrong = oauth(source, grant_type="refresh_token", refresh_token="x", **application)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_grant")
    assert oauth(source, grant_type="other", **application).status_code == 400


def test_api_key(source):
    row = source.put("api_key", {"name": "key", "token": "k1", "user": stable_id("user", "demo.user")})[0]

    def status(key):
        answer = requests.get(source.table("incident"), headers={"x-sn-apikey": key}, verify=source.config["ca"], timeout=10)
        return answer.status_code

    assert (status("k1"), status("k2")) == (200, 401)
    source.control("DELETE", "/raw/api_key/" + row["sys_id"])


def test_restricted_basic_auth_lets_machines_pass(source):
    source.knobs(basic_auth_restricted=True)
    answer = source.client("admin").get(source.table("incident"))
    assert (answer.status_code, answer.json()["error"]) == (401, NOT_AUTHENTICATED)
    assert source.client("edge.automation").get(source.table("clone_instance")).status_code == 200
    role = stable_id("role", "snc_basic_auth_api_access")
    grant = source.put("sys_user_has_role", {"user": stable_id("user", "demo.user"), "role": role})
    assert source.client("demo.user").get(source.table("incident")).status_code == 200
    source.control("DELETE", "/raw/sys_user_has_role/" + grant[0]["sys_id"])
    assert source.client("demo.user").get(source.table("incident")).status_code == 401


def test_multi_factor_users_get_its_header(source):
    source.knobs(mfa_users=["demo.user"])
    answer = source.client("demo.user").get(source.table("incident"))
    assert (answer.status_code, answer.headers["X-MFA_TOKEN"]) == (401, "invalid")


def test_rate_limit(source):
    demo = source.client("demo.user")
    assert "X-RateLimit-Limit" not in demo.get(source.table("incident")).headers
    source.knobs(rate_limit={"limit": 2, "seconds": 3600})
    codes = [demo.get(source.table("incident")).status_code for dummy in range(3)]
    answer = demo.get(source.table("incident"))
    assert codes == [200, 200, 429]
    assert answer.json()["error"]["message"] == "Rate limit exceeded"
    assert answer.json()["error"]["detail"] == "Rate limit of 2 requests per hour for Table API exceeded"
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert {"X-RateLimit-Limit", "X-RateLimit-Reset", "X-RateLimit-Rule"} <= set(answer.headers)
    assert source.client("admin").get(source.table("incident")).status_code == 200


@pytest.mark.parametrize("path", ["/api/now/table/incident", "/oauth_token.do"])
def test_a_hibernating_instance_answers_html_to_everything(source, path):
    source.knobs(hibernating=True)
    answer = source.client("admin").get(source.url + path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Instance Hibernating page" in answer.text


def test_a_signature_can_be_unreadable(source, officer):
    assert "signature" in officer.get(source.table(RULE)).json()["result"]
    source.knobs(signature_readable=False)
    assert "signature" not in officer.get(source.table(RULE)).json()["result"]


def test_a_proxy_cannot_be_authenticated_by_rest_when_the_knob_is_off(target):
    row = target.put("sys_encryption_proxy", {"name": "new"})[0]
    url = target.table("sys_encryption_proxy/" + row["sys_id"])
    client = target.client("edge.automation")
    target.knobs(authenticate_by_rest=False)
    assert client.patch(url, json={"status": "Authenticated", "host": "h"}).json()["result"]["status"] == "Unauthenticated"
    assert target.raw("sys_encryption_proxy")[row["sys_id"]]["host"] == "h"
    target.knobs(authenticate_by_rest=True)
    assert client.patch(url, json={"status": "Authenticated"}).json()["result"]["status"] == "Authenticated"
    target.control("DELETE", "/raw/sys_encryption_proxy/" + row["sys_id"])
