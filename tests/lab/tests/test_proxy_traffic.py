# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Through the proxy and back: encryption types, patterns, attachments, queries, addresses."""

import concurrent.futures
import json
import re
from urllib.parse import unquote

import pytest
import requests

from edgelab import signing
from edgelab.proxy.testing import ADMIN, RULES, SSN

pytest_plugins = ("edgelab.proxy.testing",)

EMOJI = 'Grüße 👩‍🚀 \u0000 "quoted" <b>&amp;</b>\nline\ttab \\ end'


@pytest.mark.parametrize(
    ("column", "prefix"),
    [
        ("short_description", "edge:s:aes128prod:"),
        ("description", "edge:s:aes256prod:"),
        ("u_customer_name", "edge:e:aes256prod:"),
        ("u_account", "edge:o:"),
    ],
)
@pytest.mark.parametrize("text", ["plain", EMOJI, "x" * 400], ids=["plain", "emoji", "long"])
def test_round_trip(shared_side, proxy, column, prefix, text):
    created = proxy.create("incident", {column: text, "state": "1"})
    assert created[column] == text
    stored = shared_side.stored("incident", created["sys_id"])
    assert stored[column].startswith(prefix) and text not in stored[column]
    assert stored["state"] == "1"
    assert proxy.read("incident", created["sys_id"])[column] == text
    assert proxy.read("incident", created["sys_id"], sysparm_display_value="all")[column] == {"display_value": text, "value": text}


def test_long_text(shared_side, proxy):
    text = "äöü👍 " * 100_000
    created = proxy.create("incident", {"description": text})
    assert proxy.read("incident", created["sys_id"])["description"] == text


def test_empty_numbers_and_cipher_text_are_left_alone(shared_side, proxy):
    first = proxy.create("incident", {"short_description": "", "description": None, "u_account": 4711, "priority": 3})
    stored = shared_side.stored("incident", first["sys_id"])
    assert stored["short_description"] == "" and stored["description"] is None and stored["priority"] == 3
    assert stored["u_account"].startswith("edge:o:")
    assert proxy.read("incident", first["sys_id"])["u_account"] == "4711"
    again = proxy.create("incident", {"u_account": stored["u_account"]})
    assert shared_side.stored("incident", again["sys_id"])["u_account"] == stored["u_account"]


def test_standard_differs_and_equality_does_not(shared_side, proxy):
    rows = [
        shared_side.stored("incident", proxy.create("incident", {"short_description": "a", "u_customer_name": "b"})["sys_id"]) for dummy in "ab"
    ]
    assert rows[0]["short_description"] != rows[1]["short_description"]
    assert rows[0]["u_customer_name"] == rows[1]["u_customer_name"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_updates_are_encrypted(shared_side, proxy, method):
    sys_id = proxy.create("incident", {"short_description": "a"})["sys_id"]
    answer = proxy.session.request(
        method, f"{proxy.url}/api/now/table/incident/{sys_id}", json={"short_description": "secret-b"}, timeout=10
    )
    assert answer.json()["result"]["short_description"] == "secret-b"
    assert shared_side.stored("incident", sys_id)["short_description"].startswith("edge:s:")


def test_form_post_is_encrypted(shared_side, proxy):
    sys_id = proxy.create("incident", {"short_description": "a"})["sys_id"]
    form = {"sys_id": sys_id, "sysparm_ck": "t", "incident.short_description": "from a form ü", "incident.u_tax_id": "123-45-6789"}
    answer = proxy.session.post(f"{proxy.url}/incident.do", data=form, timeout=10, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{proxy.url}/incident.do?sys_id={sys_id}"
    assert shared_side.stored("incident", sys_id)["short_description"].startswith("edge:s:")
    row = proxy.read("incident", sys_id)
    assert (row["short_description"], row["u_tax_id"]) == ("from a form ü", "123-45-6789")


def test_addresses_and_cookies(shared_side, proxy):
    answer = proxy.session.post(f"{proxy.url}/api/now/table/incident", json={"short_description": "a"}, timeout=10)
    assert answer.headers["Location"].startswith(f"{proxy.url}/api/now/table/incident/")
    assert answer.cookies["JSESSIONID"] == "abc" and answer.cookies["glide_user_route"] == "glide.1"
    assert shared_side.instance.requests[-1]["proxy"] == "edge_1"
    assert shared_side.instance.requests[-1]["headers"]["Authorization"] == answer.request.headers["Authorization"]
    answer = proxy.session.get(f"{proxy.url}/api/now/table/incident", timeout=10)
    assert answer.links["first"]["url"].startswith(proxy.url)
    answer = proxy.session.get(f"{proxy.url}/redirect", timeout=10)
    assert answer.history[0].headers["Location"] == f"{proxy.url}/page" and f'href="{proxy.url}/x"' in answer.text


def test_html_is_decrypted_and_escaped(proxy):
    proxy.create("incident", {"short_description": "page <script>x</script>"})
    assert "<td>page &lt;script&gt;x&lt;/script&gt;</td>" in proxy.session.get(f"{proxy.url}/page", timeout=10).text


def test_broken_json_passes(shared_side, proxy):
    shared_side.instance.tables["incident"] = {}
    proxy.create("incident", {"short_description": 'with "quotes"'})
    assert proxy.session.get(f"{proxy.url}/broken", timeout=10).text == '{"result":[{"a":"with \\"quotes\\"","b":"cut'


# -- patterns


def test_pattern_tokens(shared_side, proxy):
    text = "SSN:\n123-45-6789, again 123-45-6789 and 987-65-4321."
    created = proxy.create("incident", {"u_tax_id": text})
    stored = shared_side.stored("incident", created["sys_id"])["u_tax_id"]
    tokens = re.findall(SSN, stored)
    assert re.sub(SSN, "#", stored) == re.sub(SSN, "#", text)
    assert len(set(tokens)) == 3 and not {"123-45-6789", "987-65-4321"} & set(tokens)
    assert proxy.read("incident", created["sys_id"])["u_tax_id"] == text
    rows = shared_side.mariadb.rows(shared_side.database, "SELECT token, value FROM edge_token_map WHERE token IN (%s, %s, %s)", *tokens)
    assert sorted(value for _token, value in rows) == ["123-45-6789", "123-45-6789", "987-65-4321"]


def test_a_token_without_a_row_stays(shared_side, proxy):
    created = proxy.create("incident", {"u_tax_id": "123-45-6789"})
    token = shared_side.stored("incident", created["sys_id"])["u_tax_id"]
    shared_side.mariadb.rows(shared_side.database, "DELETE FROM edge_token_map WHERE token = %s", token)
    assert proxy.read("incident", created["sys_id"])["u_tax_id"] == token


def test_clear_text_that_looks_like_a_token_is_none(shared_side, proxy):
    token = shared_side.stored("incident", proxy.create("incident", {"u_tax_id": "123-45-6789"})["sys_id"])["u_tax_id"]
    created = proxy.create("incident", {"description": f"number {token}"})
    assert proxy.read("incident", created["sys_id"])["description"] == f"number {token}"


def test_rules_are_not_tokenized(shared_side, proxy):
    row = proxy.create(RULES, {"name": "n", "script": "// 123-45-6789"})
    assert shared_side.stored(RULES, row["sys_id"])["script"] == "// 123-45-6789"


# -- attachments


@pytest.mark.parametrize("data", [b"", b"text", bytes(range(256)) * 1000], ids=["empty", "text", "binary"])
def test_attachment(shared_side, proxy, data):
    answer = proxy.session.post(
        f"{proxy.url}/api/now/attachment/file",
        data=data,
        timeout=10,
        headers={"Content-Type": "text/plain"},
        params={"table_name": "incident", "table_sys_id": "x", "file_name": "a b.txt"},
    )
    result = answer.json()["result"]
    stored = shared_side.instance.attachments[result["sys_id"]][0]
    assert stored.startswith(b"EDGEATT1") and (not data or data not in stored)
    assert result["download_link"].startswith(proxy.url)
    assert proxy.session.get(result["download_link"], timeout=10).content == data


def test_attachment_upload_and_other_tables(shared_side, proxy):
    for table, encrypted in (("incident", True), ("problem", False)):
        answer = proxy.session.post(
            f"{proxy.url}/api/now/attachment/upload",
            timeout=10,
            data={"table_name": table, "table_sys_id": "x"},
            files={"uploadFile": ("ü.bin", b"\r\n--data\r\n", "application/octet-stream")},
        )
        sys_id = answer.json()["result"]["sys_id"]
        assert shared_side.instance.attachments[sys_id][0].startswith(b"EDGEATT1") is encrypted
        assert proxy.session.get(f"{proxy.url}/api/now/attachment/{sys_id}/file", timeout=10).content == b"\r\n--data\r\n"


# -- queries


@pytest.fixture
def accounts(shared_side, proxy):
    shared_side.instance.tables["incident"] = {}
    for account in ("m", "c", "x", "a", "t", "z"):
        proxy.create("incident", {"u_account": account, "u_customer_name": f"Name {account}"})
    proxy.create("incident", {"u_account": ""})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("u_account=m", "m"),
        ("u_account=nn", ""),
        ("u_account<m", "ac"),
        ("u_account<=m", "acm"),
        ("u_account>m", "txz"),
        ("u_account>=m", "mtxz"),
        ("u_account<n", "acm"),
        ("u_account<=n", "acm"),
        ("u_account>n", "txz"),
        ("u_account>=n", "txz"),
        ("u_account>zz", ""),
        ("u_account<zz", "acmtxz"),
        ("u_account<0", ""),
        ("u_account>0", "acmtxz"),
        ("u_account>b^u_account<u", "cmt"),
        ("u_accountINa,z,q", "az"),
        ("u_customer_name=Name t", "t"),
        ("u_customer_nameINName t,Name x", "tx"),
        ("u_customer_name=other", ""),
        ("short_description=m", ""),
    ],
)
def test_queries(proxy, accounts, query, found):
    assert "".join(row["u_account"] for row in proxy.query("incident", f"{query}^ORDERBYu_account")) == found


def test_clear_text_of_a_query_stays_here(shared_side, proxy):
    proxy.session.get(
        f"{proxy.url}/api/now/table/incident",
        params={"sysparm_query": "u_customer_name=ACME secret^ORu_account=SECRETVALUE^state=1"},
        timeout=10,
    )
    proxy.session.get(f"{proxy.url}/api/now/table/incident?sysparm_query=stateIN1,2%5EORDERBYstate", timeout=10)
    first, second = [unquote(entry["query"]) for entry in shared_side.instance.requests[-2:]]
    assert "secret" not in first and "SECRETVALUE" not in first and first.endswith("^state=1")
    assert second == "sysparm_query=stateIN1,2^ORDERBYstate"


# -- what passes untouched, and trouble


def test_batch_passes_unencrypted_and_unsigned(shared_side, proxy):
    body = {"batch_request_id": "1", "rest_requests": [{"id": "1", "url": "/api/now/table/incident", "method": "POST", "body": "c2VjcmV0"}]}
    answer = proxy.session.post(
        f"{proxy.url}/api/now/v1/batch", data=json.dumps(body), headers={"Content-Type": "application/json"}, timeout=10
    )
    assert answer.json()["seen"] == body
    assert shared_side.instance.requests[-1]["body"] == json.dumps(body)


def test_plain_text_leak(shared_side, proxy):
    proxy.knobs(plain_text_leak=True)
    try:
        created = proxy.create("incident", {"short_description": "leaked"})
    finally:
        proxy.knobs(plain_text_leak=False)
    assert shared_side.stored("incident", created["sys_id"])["short_description"] == "leaked"


def test_request_log_faults_and_knobs(shared_side, proxy):
    requests.delete(f"{proxy.control}/requests", timeout=5)
    for fault in (
        {"method": "GET", "path": "^/page", "kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "count": 1},
        {"path": "^/page", "kind": "reset_before", "count": 1},
        {"path": "^/page", "kind": "partial_json", "after": 1, "count": 1},
    ):
        assert requests.post(f"{proxy.control}/faults", json=fault, timeout=5).status_code == 201
    answer = proxy.session.get(f"{proxy.url}/page", timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    with pytest.raises(requests.ConnectionError):
        proxy.session.get(f"{proxy.url}/page", timeout=5)
    whole = proxy.session.get(f"{proxy.url}/page", timeout=5).content
    assert proxy.session.get(f"{proxy.url}/page", timeout=5).content == whole[: len(whole) // 2]
    requests.delete(f"{proxy.control}/faults", timeout=5)
    log = requests.get(f"{proxy.control}/requests", timeout=5).json()["requests"]
    assert [(entry["path"], entry["user"]) for entry in log] == [("/page", "demo.user")] * 4
    assert [entry["status"] for entry in log] == [429, 500, 200, 200]
    assert requests.get(f"{proxy.control}/requests", params={"since": log[2]["n"]}, timeout=5).json()["requests"] == log[3:]
    assert requests.get(f"{proxy.control}/connections", timeout=5).json()["opened"] >= 2
    assert requests.put(f"{proxy.control}/knobs", json={"nonsense": 1}, timeout=5).status_code == 400
    assert requests.get(f"{proxy.control}/health", timeout=5).json() == {"ok": True, "name": "edge_1"}


@pytest.mark.long
def test_two_proxies_share_the_tokens(shared_side, proxy):
    """Many writers on two proxies: every value has one token, and the order of the tokens is that of the values."""
    second = shared_side.home("edge_2").start()
    shared_side.instance.tables["incident"] = {}
    values = [f"{number * 7919 % 1000:04d}" for number in range(60)] + [f"run-{number:04d}" for number in range(40)]

    def write(number):
        home = (proxy, second)[number % 2]
        return home.create("incident", {"u_account": values[number // 2], "u_tax_id": "123-45-6789"})["sys_id"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(2 * len(values))))
    rows = shared_side.instance.rows("incident")
    assert len({row["u_account"] for row in rows}) == len(values)
    assert len({row["u_tax_id"] for row in rows}) == 2 * len(values)
    found = [row["u_account"] for row in second.query("incident", "ORDERBYu_account")]
    assert found == sorted(2 * values)
    assert {row["u_tax_id"] for row in proxy.query("incident", "ORDERBYu_account")} == {"123-45-6789"}
    second.stop()


def test_signed_writes_through_rest_and_form(shared_side, proxy):
    public_key = shared_side.key.public_key()
    rule = shared_side.instance.rule(shared_side.keystores.other_key, "Foreign")
    proxy.session.patch(f"{proxy.url}/api/now/table/{RULES}/{rule['sys_id']}", json={"active": "false"}, auth=ADMIN, timeout=10)
    assert rule["active"] == "false" and signing.verify(public_key, RULES, rule)

    proxy.knobs(sign_rest=False)
    try:
        proxy.session.patch(f"{proxy.url}/api/now/table/{RULES}/{rule['sys_id']}", json={"active": "true"}, auth=ADMIN, timeout=10)
        assert rule["active"] == "true" and not signing.verify(public_key, RULES, rule)
        form = {"sys_id": rule["sys_id"], f"{RULES}.active": "false", "sysparm_ck": "t"}
        proxy.session.post(f"{proxy.url}/{RULES}.do", data=form, allow_redirects=False, timeout=10)
    finally:
        proxy.knobs(sign_rest=True)
    assert rule["active"] == "false" and signing.verify(public_key, RULES, rule)

    created = proxy.create(RULES, {"name": "Neu 👍"})
    stored = shared_side.stored(RULES, created["sys_id"])
    assert stored["active"] == "true" and signing.verify(public_key, RULES, stored)
