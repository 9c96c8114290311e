# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy in front of the lab's instance."""

import json
import re

import pytest
import requests

from edgelab import proxy_home, signing
from edgelab.instance import seed
from edgelab.instance.testing import make_pair
from edgelab.processes import free_port, wait_for
from edgelab.proxy.testing import CONFIGURATIONS, CUSTOMER_PASSWORD, RULES, SSN, Home

pytest_plugins = ("edgelab.proxy.testing",)


class Side:
    """The source instance with one proxy in front."""

    def __init__(self, directory, mariadb, keystores):
        self.directory, self.keystores = directory, keystores
        self.node, _target = make_pair(directory)
        signatures = signing.sign_rows(seed.signed_rows(), keystores.customer_key, keystores.servicenow_key)
        (self.node.directory / "seed.json").write_text(json.dumps({"signatures": signatures}))
        self.node.start()
        self.database = mariadb.database()
        port, control_port = free_port(), free_port()
        config = self.node.config
        home = proxy_home.build_home(
            directory / "edge_source_1",
            name="edge_source_1",
            port=port,
            control_port=control_port,
            target={"host": "127.0.0.1", "port": config["port"], "username": "edge.proxy", "password": self.node.password("edge.proxy")},
            keystore=keystores.customer,
            keystore_password=CUSTOMER_PASSWORD,
            static_iv="0123456789abcdef",
            known_cleartext="known",
            ca=config["ca"],
            tls_cert=config["tls_cert"],
            tls_key=config["tls_key"],
            database=self.database,
            db_ca=mariadb._authority.ca,
        )
        self.home = Home(home, type("Files", (), {"ca": config["ca"]}), port, control_port)
        self.home.session.auth = ("demo.user", self.node.password("demo.user"))
        self.admin = self.node.client("admin")
        self.home.start()

    def url(self, table, sys_id=""):
        return f"{self.home.url}/api/now/table/{table}/{sys_id}".rstrip("/")

    def valid(self, table, sys_id):
        row = self.node.raw(table)[sys_id]
        return signing.verify(self.keystores.customer_key.public_key(), table, row)

    def close(self):
        self.home.kill()
        self.node.stop()


@pytest.fixture(scope="module")
def side(tmp_path_factory, mariadb, keystores):
    made = Side(tmp_path_factory.mktemp("side"), mariadb, keystores)
    yield made
    made.close()


RECORD = {
    "short_description": "Grüße 👍",
    "description": "long " * 2000,
    "u_customer_name": "ACME",
    "u_account": "4711",
    "u_tax_id": "123-45-6789",
}


def test_round_trip(side):
    created = side.home.create("incident", RECORD)
    assert {name: created[name] for name in RECORD} == RECORD
    direct = side.admin.get(side.node.table(f"incident/{created['sys_id']}"), timeout=10).json()["result"]
    prefixes = {name: re.match(r"(edge:[seo]:)?", direct[name])[0] for name in RECORD}
    assert prefixes == {
        "short_description": "edge:s:",
        "description": "edge:s:",
        "u_customer_name": "edge:e:",
        "u_account": "edge:o:",
        "u_tax_id": "",
    }
    assert direct["u_tax_id"] != RECORD["u_tax_id"] and re.fullmatch(SSN, direct["u_tax_id"])
    shown = side.home.read("incident", created["sys_id"], sysparm_display_value="all")
    assert {name: shown[name]["display_value"] for name in RECORD} == RECORD
    refused = side.admin.patch(side.node.table(f"incident/{created['sys_id']}"), json={"short_description": "clear"}, timeout=10)
    assert refused.status_code == 403


def test_state_on_the_instance(side):
    row = side.node.find("sys_encryption_proxy", name="edge_source_1")[0]
    assert (row["status"], row["online"], row["db_id"]) == ("Authenticated", "true", side.home.state()["db_id"])
    assert {key["status"] for key in side.node.raw("sys_encryption_key").values()} == {"Available"}


def test_queries_and_order(side):
    for account in ("m", "c", "x"):
        side.home.create("incident", {"u_account": account, "u_customer_name": "order test"})

    def found(query):
        return "".join(row["u_account"] for row in side.home.query("incident", f"u_customer_name=order test^{query}^ORDERBYu_account"))

    assert [found(query) for query in ("u_account>c", "u_account<=m", "u_account<m", "u_account=x", "u_accountINc,x", "u_account>=n")] == [
        "mx",
        "cm",
        "c",
        "x",
        "cx",
        "x",
    ]
    answer = side.home.session.get(
        f"{side.home.url}/api/now/stats/incident",
        timeout=10,
        params={"sysparm_count": "true", "sysparm_query": "u_customer_name=order test^u_account<x"},
    )
    assert answer.json()["result"]["stats"]["count"] == "2"


def test_attachments(side):
    sys_id = side.home.create("incident", {"short_description": "with a file"})["sys_id"]
    for path, arguments in (
        (
            "file",
            {
                "params": {"table_name": "incident", "table_sys_id": sys_id, "file_name": "a.txt"},
                "data": b"secret file",
                "headers": {"Content-Type": "text/plain"},
            },
        ),
        (
            "upload",
            {"data": {"table_name": "incident", "table_sys_id": sys_id}, "files": {"uploadFile": ("b.txt", b"secret file", "text/plain")}},
        ),
    ):
        answer = side.home.session.post(f"{side.home.url}/api/now/attachment/{path}", timeout=10, **arguments)
        assert answer.status_code == 201, answer.text
        attachment = answer.json()["result"]
        direct = side.admin.get(f"{side.node.url}/api/now/attachment/{attachment['sys_id']}/file", timeout=10).content
        assert direct.startswith(b"EDGEATT1") and b"secret" not in direct
        assert (
            side.home.session.get(f"{side.home.url}/api/now/attachment/{attachment['sys_id']}/file", timeout=10).content == b"secret file"
        )


def test_signs_what_goes_through_it(side):
    rule = side.node.find(RULES, name="Mobile incident update")[0]
    auth = ("admin", side.node.password("admin"))
    for active in ("false", "true"):
        answer = side.home.session.patch(side.url(RULES, rule["sys_id"]), json={"active": active}, auth=auth, timeout=10)
        assert answer.status_code == 200 and answer.json()["result"]["active"] == active
        assert side.valid(RULES, rule["sys_id"])
    answer = side.home.session.patch(side.url(RULES, rule["sys_id"]), json={"active": False, "order": 225}, auth=auth, timeout=10)
    assert answer.json()["result"]["active"] == "false" and side.valid(RULES, rule["sys_id"])
    side.home.session.patch(side.url(RULES, rule["sys_id"]), json={"active": True}, auth=auth, timeout=10)

    created = side.home.session.post(side.url(RULES), json={"name": "New rule ü", "script": "x"}, auth=auth, timeout=10).json()["result"]
    assert side.valid(RULES, created["sys_id"]) and side.node.raw(RULES)[created["sys_id"]]["active"] == "true"
    configuration = {"table": "u_contract", "type": "column", "column": "u_name", "encryption_type": "standard_128"}
    created = side.home.session.post(side.url(CONFIGURATIONS), json=configuration, auth=auth, timeout=10).json()["result"]
    assert side.valid(CONFIGURATIONS, created["sys_id"])
    version = side.home.state()["config_version"]
    wait_for(lambda: side.home.state()["config_version"] != version)
    assert not side.home.state()["locked"]


def test_signs_forms(side):
    """Like a browser: log in, get the token of the session, save."""
    browser = requests.Session()
    browser.verify, browser.trust_env = side.node.config["ca"], False
    browser.auth = ("admin", side.node.password("admin"))
    rule = side.node.find(RULES, name="Chat transcript")[0]
    page = browser.get(f"{side.home.url}/{RULES}.do", params={"sys_id": rule["sys_id"]}, timeout=10).text
    token = re.search(r"""g_ck = ["'](\w+)""", page)[1]
    browser.auth = None
    side.home.knobs(sign_rest=False)
    try:
        for active in ("false", "true"):
            form = {"sys_uniqueValue": rule["sys_id"], "sysparm_ck": token, "sys_action": "sysverb_update", f"{RULES}.active": active}
            answer = browser.post(f"{side.home.url}/{RULES}.do", data=form, timeout=10, allow_redirects=False)
            assert answer.status_code == 302 and answer.headers["Location"].startswith(side.home.url)
            assert side.node.raw(RULES)[rule["sys_id"]]["active"] == active and side.valid(RULES, rule["sys_id"])
        form = {"sys_uniqueValue": "-1", "sysparm_ck": token, f"{RULES}.name": "By form", f"{RULES}.script": "1 < 2"}
        answer = browser.post(f"{side.home.url}/{RULES}.do", data=form, timeout=10, allow_redirects=False)
        assert side.valid(RULES, answer.headers["Location"][-32:])
    finally:
        side.home.knobs(sign_rest=True)


@pytest.mark.long
def test_starts_again_with_all_that(side):
    side.home.stop()
    side.home.start()
    assert "ERROR" not in side.home.log
