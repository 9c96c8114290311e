# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

RULES = "sys_encryption_rule"
CONFIGURATIONS = "sys_encryption_configuration"


def recreate(run_module, rules, export, check=False, **args):
    arguments = {"instance": rules.instance, "proxy_url": rules.proxy_url, "path": str(export.path)}
    return run_module("edge_rule_recreate", dict(arguments, **args), check=check, diff=True)


def remove(fake, table, **values):
    fake.tables[table] = {sys_id: row for sys_id, row in fake.tables[table].items() if any(row[name] != value for name, value in values.items())}


def test_recreate(run_module, described_rules, export):
    export()
    remove(described_rules, CONFIGURATIONS, column="description")
    remove(described_rules, RULES, name="mine")
    planned = recreate(run_module, described_rules, export, check=True)
    assert planned["changed"] and planned["created"] == 2 and len(described_rules.tables[RULES]) == 1
    made = recreate(run_module, described_rules, export)
    assert made["changed"] and made["diff"] == planned["diff"] and made["created"] == 2 and made["updated"] == 0
    assert "sys_encryption_rule mine missing" in made["diff"]["before"] and "sys_encryption_rule mine same" in made["diff"]["after"]
    assert made["found"] == planned["found"] and made["totals"]["same"] == 3
    again = recreate(run_module, described_rules, export)
    assert not again["changed"] and again["created"] == 0 and again["diff"]["before"] == ""


@pytest.mark.parametrize(
    "args, text",
    [
        ({"path": "/no/such/file"}, "the export of rules and configurations does not exist"),
        ({"proxy_url": "edge1"}, "is no address"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"instance": {"host": "http://127.0.0.1:9", "username": "a"}}, "password"),
    ],
)
def test_recreate_that_is_refused(run_module, described_rules, export, args, text):
    export()
    remove(described_rules, RULES, name="mine")
    result = recreate(run_module, described_rules, export, **args)
    assert result.failed and text in result["msg"], result
    assert len(described_rules.tables[RULES]) == 1
