# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""edge_rule_export, edge_rule_export_info and edge_rule_recreate, which belong together."""

import json
import stat

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

RULES, CONFIGURATIONS = "sys_encryption_rule", "sys_encryption_configuration"
BASE = {"name": "Base", "table": RULES, "condition": "sys_created_by=glide.maint"}


@pytest.fixture
def rules(fake):  # noqa: F811
    columns = {RULES: ("name", "order", "condition", "script", "active", "signature"), CONFIGURATIONS: ("table", "type", "column", "encryption_type", "active")}
    for table, elements in columns.items():
        for element in elements:
            fake.add("sys_dictionary", name=table, element=element, internal_type="string", reference="", active="true")
    fake.add_rule("mine", active=False)
    fake.add_rule("base", sys_created_by="glide.maint")
    fake.add_configuration("incident", "description")
    return fake


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rules.json"


def export(run_module, rules, file, check=False, **args):
    return run_module("edge_rule_export", dict({"instance": rules.instance, "path": str(file)}, **args), check=check, diff=True)


def recreate(run_module, rules, file, check=False, **args):
    arguments = {"instance": rules.instance, "proxy_url": rules.proxy_url, "path": str(file)}
    return run_module("edge_rule_recreate", dict(arguments, **args), check=check, diff=True)


def compared(run_module, rules, path):
    return run_module("edge_rule_export_info", {"instance": rules.instance, "path": str(path)})


def remove(rules, table, **values):
    rules.tables[table] = {sys_id: row for sys_id, row in rules.tables[table].items() if any(row[name] != value for name, value in values.items())}


def test_export(run_module, rules, path):
    planned = export(run_module, rules, path, check=True)
    assert planned["changed"] and not path.exists()
    made = export(run_module, rules, path)
    assert made["diff"] == planned["diff"] and made["diff"]["after"] == path.read_text() and made["diff"]["before"] == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []
    assert {(record["name"], record["active"], record["base"]) for record in made["records"]} == {
        ("mine", False, False), ("base", True, True), ("incident.description", True, False),
    }  # fmt: skip
    assert not export(run_module, rules, path)["changed"] and not export(run_module, rules, path, check=True)["changed"]
    rules.add_rule("new")
    path.chmod(0o644)
    assert export(run_module, rules, path)["changed"] and "new" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_export_of_other_tables(run_module, rules, path):
    made = export(run_module, rules, path, tables=[{"name": RULES, "key": ["name", "order"]}])
    assert {record["table"] for record in made["records"]} == {RULES}
    assert json.loads(path.read_text())["tables"][RULES]["key"] == ["name", "order"]


@pytest.mark.parametrize(
    "args, text",
    [
        ({"exclusions": [RULES], "preservers": [BASE]}, "table sys_encryption_configuration: the clone does not leave it out"),
        ({"exclusions": []}, "table sys_encryption_configuration, sys_encryption_rule: the clone does not leave it out"),
        ({"exclusions": [RULES, CONFIGURATIONS]}, "would remove the records base of the base system"),
        ({"preservers": [{"condition": "x"}]}, "missing required arguments: table"),
        ({"tables": [{"name": RULES}]}, "missing required arguments: key"),
        ({"tables": [{"name": "Rules", "key": ["name"]}]}, "its columns cannot be read from sys_dictionary"),
        ({"path": "/no/such/folder/rules.json"}, "no temporary file can be made beside it"),
    ],
)
def test_export_that_is_refused(run_module, rules, path, args, text):
    result = export(run_module, rules, path, **args)
    assert result.failed and text in result["msg"], result
    assert not path.exists()


def test_comparison(run_module, rules, path):
    export(run_module, rules, path)
    assert compared(run_module, rules, path)["totals"] == {"records": 3, "same": 3, "missing": 0, "different": 0, "extra": 0, "unsigned": 0}
    remove(rules, CONFIGURATIONS, column="description")
    rules.add_rule("stranger", signature="")
    for row in rules.tables[RULES].values():
        row["script"] = "other" if row["name"] == "mine" else row["script"]
    result = compared(run_module, rules, path)
    assert not result["changed"]
    assert {(record["name"], record["state"], record["signature"], tuple(record["differs"])) for record in result["records"]} == {
        ("incident.description", "missing", None, ()), ("mine", "different", "kept", ("script",)), ("base", "same", "kept", ()),
        ("stranger", "extra", "none", ()),
    }  # fmt: skip
    assert result["totals"]["unsigned"] == 1


def test_recreate(run_module, rules, path):
    export(run_module, rules, path)
    remove(rules, CONFIGURATIONS, column="description")
    remove(rules, RULES, name="mine")
    planned = recreate(run_module, rules, path, check=True)
    assert planned["changed"] and planned["created"] == 2 and len(rules.tables[RULES]) == 1
    made = recreate(run_module, rules, path)
    assert made["changed"] and made["diff"] == planned["diff"] and made["created"] == 2 and made["updated"] == 0
    assert "sys_encryption_rule mine missing" in made["diff"]["before"] and "sys_encryption_rule mine same" in made["diff"]["after"]
    assert made["found"] == planned["found"] and made["totals"]["same"] == 3
    again = recreate(run_module, rules, path)
    assert not again["changed"] and again["created"] == 0 and again["diff"]["before"] == ""


@pytest.mark.parametrize(
    "args, text",
    [
        ({"path": "/no/such/file"}, "the export of rules and configurations does not exist"),
        ({"proxy_url": "edge1"}, "is no address"),
        ({"instance": {"host": "http://127.0.0.1:9", "username": "a"}}, "password"),
    ],
)
def test_recreate_that_is_refused(run_module, rules, path, args, text):
    export(run_module, rules, path)
    remove(rules, RULES, name="mine")
    result = recreate(run_module, rules, path, **args)
    assert result.failed and text in result["msg"], result
    assert len(rules.tables[RULES]) == 1
