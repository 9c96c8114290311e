# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control port: request log, connections, knobs, faults, raw rows; and that a restart loses nothing."""

import signal
import time

import pytest
import requests

pytest_plugins = ("edgelab.instance.testing",)


@pytest.fixture
def user(source):
    return source.client("demo.user")


def test_the_request_log_tells_what_happened(source, user):
    source.control("DELETE", "/requests")
    user.post(source.table("incident?sysparm_fields=sys_id"), json={"number": "LOG1"}, headers={"X-Edge-Proxy": "p1"})
    requests.get(source.table("incident"), verify=source.config["ca"], timeout=10)
    first, second = source.control("GET", "/requests")["requests"]
    assert (first["method"], first["path"], first["query"]) == ("POST", "/api/now/table/incident", "sysparm_fields=sys_id")
    assert (first["user"], first["status"], first["via_proxy"], first["body"]) == ("demo.user", 201, "p1", '{"number": "LOG1"}')
    assert (second["user"], second["status"], second["via_proxy"]) == (None, 401, None)
    assert second["n"] == first["n"] + 1
    assert second["connection"] != first["connection"]
    assert source.control("GET", "/requests?since={}".format(first["n"]))["requests"] == [second]


def test_connections_are_counted(source, user):
    before = source.control("GET", "/connections")["opened"]
    for dummy in range(5):
        user.get(source.table("incident?sysparm_limit=1"))
    counted = source.control("GET", "/connections")
    assert counted["opened"] == before + 1
    assert counted["open"] >= 1


def test_unknown_knobs_and_kinds_of_fault_are_refused(source):
    assert requests.put(source.control_url + "/knobs", json={"latency": 1}, timeout=10).status_code == 400
    assert requests.post(source.control_url + "/faults", json={"kind": "flood"}, timeout=10).status_code == 400
    assert requests.post(source.control_url + "/faults", json={"kind": "slow", "speed": 1}, timeout=10).status_code == 400


def test_knobs_merge_and_survive_a_restart(source):
    source.knobs(latency_ms=1, stage_seconds={"Backup": 9})
    source.stop()
    source.start()
    knobs = source.control("GET", "/knobs")
    assert (knobs["latency_ms"], knobs["stage_seconds"]["Backup"], knobs["jitter_ms"]) == (1, 9, 0)
    assert knobs["stage_seconds"]["Restore"] > 0
    source.knobs(stage_seconds={"Backup": 5})


def test_latency(source, user):
    source.knobs(latency_ms=80)
    began = time.monotonic()
    user.get(source.table("incident?sysparm_limit=1"))
    assert time.monotonic() - began >= 0.08


def test_latency_of_clients_that_come_without_a_proxy(source):
    source.knobs(direct_latency_ms=400)

    def seconds(**headers):
        client = source.client(**headers)
        client.get(source.table("incident?sysparm_limit=1"))
        began = time.monotonic()
        client.get(source.table("incident?sysparm_limit=1"))
        return time.monotonic() - began

    assert seconds() >= 0.4 > seconds(**{"X-Edge-Proxy": "edge_1"})


def test_a_status_fault_skips_strikes_and_ends(source, user):
    order = {"method": "GET", "path": "table/incident", "kind": "status", "status": 429, "headers": {"Retry-After": "3"}}
    source.control("POST", "/faults", {**order, "after": 1, "count": 2})
    answers = [user.get(source.table("incident?sysparm_limit=1")) for dummy in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "3"
    assert user.get(source.table("u_contract")).status_code == 200
    assert source.control("GET", "/faults")["faults"][0]["hits"] == 2


def test_a_500_may_have_committed(source, user):
    source.control("POST", "/faults", {"kind": "status", "status": 500, "committed": True, "count": 1})
    source.control("POST", "/faults", {"kind": "status", "status": 500, "count": 1})
    for number, committed in (("F500A", True), ("F500B", False)):
        assert user.post(source.table("incident"), json={"number": number}).status_code == 500
        assert bool(source.find("incident", number=number)) is committed


@pytest.mark.parametrize(("kind", "committed"), [("reset_before", False), ("reset_after", True)])
def test_resets(source, user, kind, committed):
    source.control("POST", "/faults", {"method": "POST", "kind": kind, "count": 1})
    with pytest.raises(requests.ConnectionError):
        user.post(source.table("incident"), json={"number": kind})
    assert bool(source.find("incident", number=kind)) is committed
    logged = source.control("GET", "/requests")["requests"][-1]
    assert (logged["status"], logged["done"]) == (0, 201 if committed else None)


def test_slow_html_unauthorized_and_partial_json(source, user):
    source.control("POST", "/faults", {"kind": "slow", "seconds": 0.2, "count": 1})
    began = time.monotonic()
    assert user.get(source.table("incident?sysparm_limit=1")).status_code == 200
    assert time.monotonic() - began >= 0.2
    source.control("POST", "/faults", {"kind": "html", "count": 1})
    answer = user.get(source.table("incident"))
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    source.control("POST", "/faults", {"kind": "unauthorized", "count": 1})
    assert user.get(source.table("incident")).status_code == 401
    source.control("POST", "/faults", {"kind": "partial_json", "count": 1})
    answer = user.get(source.table("incident?sysparm_limit=1"))
    assert answer.status_code == 200
    assert "Transaction cancelled: maximum execution time exceeded" in answer.text
    with pytest.raises(ValueError):
        answer.json()


def test_an_ignored_query_brings_too_many_rows(source, user):
    source.put("incident", {"number": "IGNORED1"}, {"number": "IGNORED2"})
    query = source.table("incident?sysparm_query=number=IGNORED1&sysparm_fields=number")
    source.control("POST", "/faults", {"kind": "ignore_query", "count": 1})
    assert {"number": "IGNORED2"} in user.get(query).json()["result"]
    assert user.get(query).json()["result"] == [{"number": "IGNORED1"}]


def test_faults_can_be_withdrawn(source, user):
    source.control("POST", "/faults", {"kind": "reset_before"})
    source.control("DELETE", "/faults")
    assert user.get(source.table("incident?sysparm_limit=1")).status_code == 200


def test_raw_rows_pass_by_access_control_and_rules(source):
    row = source.put("incident", {"number": "RAW1", "short_description": "clear"})[0]
    again = source.put("incident", {"sys_id": row["sys_id"], "priority": "1"})[0]
    assert (again["number"], again["priority"], again["sys_mod_count"]) == ("RAW1", "1", "0")
    source.control("DELETE", "/raw/incident/" + row["sys_id"])
    assert row["sys_id"] not in source.raw("incident")
    assert requests.get(source.control_url + "/raw/no_such_table", timeout=10).status_code == 404


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_restart_loses_no_row_but_every_session(source, user, how):
    row = user.post(source.table("incident"), json={"number": how.name}).json()["result"]
    source.stop(how)
    assert (source.directory / "instance.pid").exists() is (how is signal.SIGKILL)
    source.start()
    assert source.raw("incident")[row["sys_id"]]["number"] == how.name
    cookie = {"Cookie": "JSESSIONID=" + user.cookies["JSESSIONID"]}
    assert requests.get(source.table("incident"), headers=cookie, verify=source.config["ca"], timeout=10).status_code == 401
    assert user.get(source.table("incident/" + row["sys_id"])).status_code == 200


def test_the_pid_file_names_the_process(source):
    assert (source.directory / "instance.pid").read_text().strip() == str(source.process.pid)
