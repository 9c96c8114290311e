# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The private protocol that the lab's proxies speak with their instance."""

import pytest
import requests

from edgelab.instance.schema import stable_id
from edgelab.instance.testing import make_pair
from edgelab.processes import wait_for

pytest_plugins = ("edgelab.instance.testing",)

KEYS = ({"alias": "aes128prod", "size": 128, "type": "Keystore"}, {"alias": "aes256prod", "size": 256, "type": "Keystore"})


@pytest.fixture
def proxy(source):
    return source.client("edge.proxy")


def register(node, client, name, keys=KEYS, **more):
    body = {"name": name, "host": "127.0.0.1", "port": 8443, "version": "1.0", "db_id": "db1", "keys": keys, **more}
    return client.post(node.url + "/edge/register", json=body)


def heartbeat(node, client, name, **more):
    body = {"name": name, "db_id": "db1", "locked": False, "error": None, **more}
    return client.post(node.url + "/edge/heartbeat", json=body)


def test_the_service_account_and_its_role_are_needed(source):
    nobody = requests.post(source.url + "/edge/register", json={"name": "p"}, verify=source.config["ca"], timeout=10)
    assert nobody.status_code == 401
    assert register(source, source.client("demo.user"), "p").status_code == 403
    assert not source.find("sys_encryption_proxy", name="p")


def test_an_unknown_proxy_is_registered_unauthenticated_and_gets_no_configuration(source, proxy):
    answer = register(source, proxy, "stranger")
    row = source.find("sys_encryption_proxy", name="stranger")[0]
    assert answer.json() == {"status": "Unauthenticated", "sys_id": row["sys_id"]}
    assert (row["host"], row["port"], row["db_id"], row["online"]) == ("127.0.0.1", "8443", "db1", "true")
    refused = proxy.get(source.url + "/edge/configuration", params={"name": "stranger"})
    assert refused.status_code == 403
    assert "not yet been authenticated" in refused.json()["error"]
    assert proxy.get(source.url + "/edge/configuration", params={"name": "none"}).status_code == 403
    source.control("DELETE", "/raw/sys_encryption_proxy/" + row["sys_id"])
    assert heartbeat(source, proxy, "stranger").status_code == 404


def test_an_authenticated_proxy_gets_the_configuration(source, proxy):
    assert register(source, proxy, "edge_source_1").json()["status"] == "Authenticated"
    answer = proxy.get(source.url + "/edge/configuration", params={"name": "edge_source_1"}).json()
    assert answer["default_keys"] == {"128": "aes128prod", "256": "aes256prod"}
    assert len(answer["rules"]) == 12
    assert {row["active"] for row in answer["rules"]} == {"true", "false"}
    assert len(answer["configurations"]) == 6
    assert [row["regex"] for row in answer["patterns"]] == [r"\b\d{3}-\d{2}-\d{4}\b"]
    assert answer["version"] == heartbeat(source, proxy, "edge_source_1").json()["config_version"]


def test_the_version_grows_with_every_change_of_rules_configurations_and_patterns(source, proxy):
    def version():
        return heartbeat(source, proxy, "edge_source_1").json()["config_version"]

    register(source, proxy, "edge_source_1")
    officer = source.client("admin", **{"X-Edge-Proxy": "edge_source_1"})
    seen = [version()]
    rule = source.table("sys_encryption_rule/" + stable_id("rule", "Chat transcript"))
    officer.patch(rule, json={"order": "261"})
    seen.append(version())
    officer.patch(rule, json={"order": "260"})
    seen.append(version())
    officer.patch(source.table("sys_encryption_pattern/" + stable_id("pattern", "SSN")), json={"name": "US SSN"})
    seen.append(version())
    officer.patch(source.table("sys_encryption_pattern/" + stable_id("pattern", "SSN")), json={"name": "US SSN"})
    assert seen == sorted(set(seen))
    assert version() == seen[-1]


def test_heartbeats_keep_a_proxy_online_without_touching_its_record(source, proxy):
    register(source, proxy, "edge_source_2")
    before = source.find("sys_encryption_proxy", name="edge_source_2")[0]
    heartbeat(source, proxy, "edge_source_2", locked=True, error="signature validation failed", db_id="db2")
    after = source.find("sys_encryption_proxy", name="edge_source_2")[0]
    assert (after["online"], after["locked"], after["error"], after["db_id"]) == ("true", "true", "signature validation failed", "db2")
    assert after["sys_mod_count"] == before["sys_mod_count"]
    assert after["sys_updated_on"] == before["sys_updated_on"]


def test_a_silent_proxy_turns_offline_and_keys_follow_the_online_proxies(tmp_path):
    node, dummy = make_pair(tmp_path, heartbeat_interval=0.3)
    node.start()
    try:
        client = node.client("edge.proxy")

        def status(alias):
            return node.find("sys_encryption_key", alias=alias)[0]["status"]

        def online(name):
            return node.find("sys_encryption_proxy", name=name)[0]["online"]

        register(node, client, "edge_source_1")
        assert status("aes256prod") == "Available"
        register(node, client, "edge_source_2", keys=KEYS[:1])
        assert (status("aes128prod"), status("aes256prod")) == ("Available", "Unavailable")
        wait_for(
            lambda: heartbeat(node, client, "edge_source_1").ok and online("edge_source_2") == "false",
            "the silent proxy is offline",
        )
        assert online("edge_source_1") == "true"
        assert status("aes256prod") == "Available"
        held = {row["key"] for row in node.raw("sys_encryption_proxy_key").values() if row["proxy"] == stable_id("proxy", "edge_source_1")}
        assert held == {stable_id("key", "aes128prod"), stable_id("key", "aes256prod")}
    finally:
        node.stop()
