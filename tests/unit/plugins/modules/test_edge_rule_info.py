# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import


def info(run_module, fake, **args):  # noqa: F811
    return run_module("edge_rule_info", dict({"instance": fake.instance}, **args))


def test_what_is_told_of_a_record(run_module, fake):  # noqa: F811
    fake.add_rule("mine", active=False, sys_mod_count="3")
    fake.add_rule("unsigned", signature="")
    fake.add_configuration("incident", "description")
    records = {record["name"]: record for record in info(run_module, fake)["records"]}
    assert set(records) == {"mine", "unsigned", "incident.description"}
    mine = records["mine"]
    assert (mine["table"], mine["active"], mine["base"], mine["sys_mod_count"]) == ("sys_encryption_rule", False, False, 3)
    digests = {record["signature_digest"] for record in records.values()}
    assert len(digests) == 3 and all(len(digest) == 64 for digest in digests) and "old-mine" not in str(records)


def test_signatures_that_may_not_be_read(run_module, fake):  # noqa: F811
    fake.add_rule("mine")
    fake.unreadable.add(("sys_encryption_rule", "signature"))
    assert [record["signature_digest"] for record in info(run_module, fake)["records"]] == [None]


def test_an_instance_without_rules(run_module, fake):  # noqa: F811
    assert info(run_module, fake)["records"] == []


@pytest.mark.parametrize(
    "args, text",
    [
        ({"tables": ["sys_encryption_rules"]}, "Invalid table sys_encryption_rules"),
        ({"tables": ["Edge Encryption Rules"]}, "is no table name"),
        ({"signature_field": "sig"}, "has no readable field sig"),
        ({"base_query": "sys_created_by"}, "the condition sys_created_by cannot be checked"),
        ({"base_query": "u_author=x"}, "the fields u_author are not in the answer"),
    ],
)
def test_bad_input(run_module, fake, args, text):  # noqa: F811
    fake.add_rule("mine")
    result = info(run_module, fake, **args)
    assert result.failed and text in result["msg"], result


def test_records_that_are_hidden_are_no_list(run_module, fake):  # noqa: F811
    fake.hidden.add(fake.add_rule("mine"))
    fake.add_rule("other")
    result = info(run_module, fake)
    assert result.failed and "1 of its records may not be read" in result["msg"]
