# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

RULES = "sys_encryption_rule"
CONFIGURATIONS = "sys_encryption_configuration"


def compared(run_module, rules, export, **args):
    return run_module("edge_rule_export_info", dict({"instance": rules.instance, "path": str(export.path)}, **args))


def remove(fake, table, **values):
    fake.tables[table] = {sys_id: row for sys_id, row in fake.tables[table].items() if any(row[name] != value for name, value in values.items())}


def test_comparison(run_module, described_rules, export):
    export()
    assert compared(run_module, described_rules, export)["totals"] == {"records": 3, "same": 3, "missing": 0, "different": 0, "extra": 0, "unsigned": 0}
    remove(described_rules, CONFIGURATIONS, column="description")
    described_rules.add_rule("stranger", signature="")
    for row in described_rules.tables[RULES].values():
        row["script"] = "other" if row["name"] == "mine" else row["script"]
    result = compared(run_module, described_rules, export)
    assert not result["changed"]
    assert {(record["name"], record["state"], record["signature"], tuple(record["differs"])) for record in result["records"]} == {
        ("incident.description", "missing", None, ()), ("mine", "different", "kept", ("script",)), ("base", "same", "kept", ()),
        ("stranger", "extra", "none", ()),
    }  # fmt: skip
    assert result["totals"]["unsigned"] == 1


@pytest.mark.parametrize(
    "args, text",
    [
        ({"path": "/no/such/file"}, "the export of rules and configurations does not exist"),
        ({"base_query": "sys_created_by"}, "the condition sys_created_by cannot be checked"),
        ({"base_query": "u_base=true"}, "the fields u_base are not in the answer"),
    ],
)
def test_what_cannot_be_compared(run_module, described_rules, export, args, text):
    export()
    result = compared(run_module, described_rules, export, **args)
    assert result.failed and text in result["msg"], result
