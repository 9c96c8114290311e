# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules and configurations that a clone left out are made anew through a proxy of the lab, which validates all the time."""

import json
import shutil
import time

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.conftest import run_module as run_module_fixture  # noqa: F401  # pylint: disable=unused-import
from edgelab import proxy_home, signing
from edgelab.instance import seed
from edgelab.instance.testing import free_port, make_pair
from edgelab.proxy.testing import Home

pytest_plugins = ("edgelab.proxy.testing",)

RULES, CONFIGURATIONS = "sys_encryption_rule", "sys_encryption_configuration"


@pytest.fixture
def run(request):
    return request.getfixturevalue("run_module_fixture")


class Side:
    """A target instance whose records its proxy has signed, and that proxy."""

    def __init__(self, directory, mariadb, keystores):
        dummy, self.node = make_pair(directory)
        self.keystores = keystores
        signatures = signing.sign_rows(seed.signed_rows(), keystores.other_key, keystores.servicenow_key)
        (self.node.directory / "seed.json").write_text(json.dumps({"signatures": signatures}))
        self.node.start()
        port, control_port, config = free_port(), free_port(), self.node.config
        home = proxy_home.build_home(
            directory / "edge_target_1", name="edge_target_1", port=port, control_port=control_port,
            target={"host": "127.0.0.1", "port": config["port"], "username": "edge.proxy", "password": self.node.password("edge.proxy")},
            keystore=keystores.other, keystore_password="otherpass", static_iv="0123456789abcdef", known_cleartext="known", ca=config["ca"],
            tls_cert=config["tls_cert"], tls_key=config["tls_key"], database=mariadb.database(), db_ca=mariadb._authority.ca,
        )  # fmt: skip
        self.proxy = Home(home, type("Files", (), {"ca": config["ca"]}), port, control_port)

    @property
    def instance(self):
        user = "edge.automation"
        return {"host": self.node.url, "username": user, "password": self.node.password(user), "ca_path": self.node.config["ca"]}

    def records(self):
        return {(table, sys_id): row for table in (RULES, CONFIGURATIONS) for sys_id, row in self.node.raw(table).items()}

    def valid(self, table, row):
        key = self.keystores.servicenow_key if row["sys_created_by"] == "glide.maint" else self.keystores.other_key
        return signing.verify(key.public_key(), table, row)

    def leave_out(self):
        """Do what a clone does that excludes both tables and preserves the base rules, with the proxy down, its cache emptied."""
        self.proxy.stop()
        for (table, sys_id), row in self.records().items():
            if row["sys_created_by"] != "glide.maint":
                self.node.control("DELETE", f"/raw/{table}/{sys_id}")
        shutil.rmtree(self.proxy.home / "cache")
        self.proxy.start()


@pytest.fixture(scope="module")
def made(tmp_path_factory, mariadb, keystores):
    side = Side(tmp_path_factory.mktemp("side"), mariadb, keystores)
    try:
        yield side
    finally:
        side.proxy.kill()
        side.node.stop()


@pytest.fixture
def side(made, run, tmp_path):
    """The target after a clone that left rules and configurations out; its proxy validates and runs."""
    before = made.records()
    knobs = made.node.control("GET", "/knobs")
    made.path = tmp_path / "rules.json"
    exported = run("edge_rule_export", {"instance": made.instance, "path": str(made.path)})
    assert not exported.failed and len(exported["records"]) == 18, exported
    made.before = before
    made.leave_out()
    made.node.control("DELETE", "/requests")
    yield made
    made.node.control("PUT", "/knobs", knobs)
    made.node.control("DELETE", "/faults")
    made.proxy.knobs(sign_rest=True)
    for (table, sys_id) in made.records():
        made.node.control("DELETE", f"/raw/{table}/{sys_id}")
    for table in (RULES, CONFIGURATIONS):
        made.node.put(table, *(row for key, row in before.items() if key[0] == table))


def recreate(side, run, check=False):
    arguments = {"instance": side.instance, "proxy_url": side.proxy.url, "path": str(side.path)}
    return run("edge_rule_recreate", arguments, check=check)


def contents(records):
    """Return what the records say, without what the platform keeps of them."""
    return sorted((table, sorted((name, value) for name, value in row.items() if not name.startswith("sys_") and name != "signature"))
                  for (table, dummy), row in records.items())


def assert_as_before(side):
    after = side.records()
    assert contents(after) == contents(side.before)
    assert [row for (table, dummy), row in after.items() if not side.valid(table, row)] == []
    base = {key: row for key, row in side.before.items() if row["sys_created_by"] == "glide.maint"}
    assert len(base) == 4 and {key: after[key] for key in base} == base


def wait_until_unlocked(side):
    deadline = time.monotonic() + 20
    while side.proxy.state()["locked"] or len(json.loads((side.proxy.home / "cache" / "encryptionconfiguration.json").read_text())["configurations"]) < 6:
        assert time.monotonic() < deadline, side.proxy.state()
        time.sleep(0.1)


def test_what_was_left_out_is_made_anew_and_signed(side, run):
    planned = recreate(side, run, check=True)
    assert planned["changed"] and planned["created"] == 14 and len(side.records()) == 4
    result = recreate(side, run)
    assert not result.failed and result["created"] == 14 and result["updated"] == 0, result
    assert result["totals"] == {"records": 18, "same": 18, "missing": 0, "different": 0, "extra": 0, "unsigned": 0}
    assert_as_before(side)
    wait_until_unlocked(side)
    again = recreate(side, run)
    assert not again.failed and not again["changed"]
    # Somebody changes a rule: it is put back.
    rule = next(row for row in side.node.raw(RULES).values() if row["name"] == "ERP contract import")
    with side.node.client("admin") as admin:
        answer = admin.patch(f"{side.proxy.url}/api/now/table/{RULES}/{rule['sys_id']}", json={"script": "other", "active": "false"}, timeout=10)
        assert answer.status_code == 200, answer.text
    result = recreate(side, run)
    assert not result.failed and (result["created"], result["updated"]) == (0, 1), result
    assert_as_before(side)


def test_a_proxy_that_signs_the_form_only(side, run, tmp_path):
    side.proxy.knobs(sign_rest=False)
    result = recreate(side, run)
    assert not result.failed and result["totals"]["unsigned"] == 14, result
    resigned = run("edge_rule_resign", {"instance": side.instance, "proxy_url": side.proxy.url, "state_file": str(tmp_path / "resign")})
    assert not resigned.failed and resigned["transport"] == "form", resigned
    assert_as_before(side)
    again = recreate(side, run)
    assert not again["changed"] and again["totals"]["unsigned"] == 0


@pytest.mark.long
def test_signatures_that_may_not_be_read(side, run):
    side.node.knobs(signature_readable=False)
    result = recreate(side, run)
    assert not result.failed and result["created"] == 14, result
    assert {record["signature"] for record in result["records"]} == {None}
    assert_as_before(side)


@pytest.mark.parametrize("refusal", ["forbidden", pytest.param("silent", marks=pytest.mark.long)])
def test_without_elevation_nothing_is_made(side, run, refusal):
    side.node.knobs(elevation_required=True, elevation_refusal=refusal)
    before = side.records()
    result = recreate(side, run)
    assert result.failed and "403" in result["msg"] and "security constraints" in result["msg"]
    assert side.records() == before


FAULTS = [
    {"kind": "status", "status": 500, "committed": True},
    {"kind": "reset_before"},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": "{}"},
    {"kind": "status", "status": 500},
    {"kind": "reset_after"},
    {"kind": "html"},
    {"kind": "partial_json"},
]


@pytest.mark.parametrize("fault", [fault if number == 0 else pytest.param(fault, marks=pytest.mark.long) for number, fault in enumerate(FAULTS)],
                         ids=lambda fault: "-".join(str(value) for name, value in fault.items() if name in ("kind", "status", "committed")))
def test_in_a_storm(side, run, fault):
    for after in (0, 3, 8):
        side.node.control("POST", "/faults", dict({"method": "POST", "path": "/api/now/table/sys_encryption_", "after": after, "count": 1}, **fault))
    result = {}
    for _attempt in range(4):
        result = recreate(side, run)
        if not result.failed:
            break
    assert not result.failed, result
    if result["totals"]["unsigned"]:  # the answer that the proxy lost told it the sys_id to sign
        resigned = run("edge_rule_resign", {"instance": side.instance, "proxy_url": side.proxy.url, "state_file": str(side.path) + ".resign"})
        assert not resigned.failed, resigned
    assert_as_before(side)


def test_a_table_with_references_and_patterns(made, run, tmp_path):
    """Patterns and default keys, which a site may leave out as well; what a default key refers to has another sys_id afterwards."""
    node = made.node
    path = tmp_path / "more.json"
    tables = [{"name": "sys_encryption_pattern", "key": ["name"]}, {"name": "sys_encryption_key_configuration", "key": ["size"]}]
    exported = run("edge_rule_export", {"instance": made.instance, "path": str(path), "tables": tables})
    assert not exported.failed, exported
    references = json.loads(path.read_text())["tables"]["sys_encryption_key_configuration"]["references"]
    assert references == {"key": {"table": "sys_encryption_key", "field": "alias"}}
    keys, before = node.raw("sys_encryption_key"), node.raw("sys_encryption_key_configuration")
    renamed = {sys_id: f"{number:032x}" for number, sys_id in enumerate(keys, 1)}
    for table in ("sys_encryption_key", "sys_encryption_key_configuration", "sys_encryption_pattern"):
        for sys_id in node.raw(table):
            node.control("DELETE", f"/raw/{table}/{sys_id}")
    node.put("sys_encryption_key", *(dict(row, sys_id=renamed[sys_id]) for sys_id, row in keys.items()))
    if not made.proxy.listening():
        made.proxy.start()
    result = run("edge_rule_recreate", {"instance": made.instance, "proxy_url": made.proxy.url, "path": str(path)})
    assert not result.failed and result["created"] == 3, result
    after = {row["size"]: row["key"] for row in node.raw("sys_encryption_key_configuration").values()}
    assert after == {row["size"]: renamed[row["key"]] for row in before.values()}
    assert [row["name"] for row in node.raw("sys_encryption_pattern").values()] == ["SSN"]
