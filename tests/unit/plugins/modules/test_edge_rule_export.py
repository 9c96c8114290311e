# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json
import stat

import pytest

RULES = "sys_encryption_rule"
CONFIGURATIONS = "sys_encryption_configuration"
BASE = {"name": "Base", "table": RULES, "condition": "sys_created_by=glide.maint"}


def test_export(described_rules, export):
    planned = export(check=True)
    assert planned["changed"] and not export.path.exists()
    made = export()
    assert made["diff"] == planned["diff"] and made["diff"]["after"] == export.path.read_text() and made["diff"]["before"] == ""
    assert stat.S_IMODE(export.path.stat().st_mode) == 0o600 and [file.name for file in export.path.parent.iterdir() if file.name.startswith(".")] == []
    assert {(record["name"], record["active"], record["base"]) for record in made["records"]} == {
        ("mine", False, False), ("base", True, True), ("incident.description", True, False),
    }  # fmt: skip
    assert not export()["changed"] and not export(check=True)["changed"]
    described_rules.add_rule("new")
    export.path.chmod(0o644)
    assert export()["changed"] and "new" in export.path.read_text()
    assert stat.S_IMODE(export.path.stat().st_mode) == 0o600


def test_export_of_other_tables(export):
    made = export(tables=[{"name": RULES, "key": ["name", "order"]}])
    assert {record["table"] for record in made["records"]} == {RULES}
    assert json.loads(export.path.read_text())["tables"][RULES]["key"] == ["name", "order"]


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
def test_export_that_is_refused(export, args, text):
    result = export(**args)
    assert result.failed and text in result["msg"], result
    assert not export.path.exists()
