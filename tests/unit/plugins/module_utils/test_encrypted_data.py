# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._encrypted_data import Left, survey
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

NOTHING = Left(frozenset(), False, False)


def left(*tables, attachments=False, audit=True):
    return Left(frozenset(tables), attachments, audit)


@pytest.fixture
def client(fake):  # noqa: F811
    fake.tables.update(sys_encryption_pattern={}, sys_db_object={}, sys_proxy_encryption_type={})
    task = fake.add("sys_db_object", name="task", super_class="")
    fake.add("sys_db_object", name="incident", super_class=task)
    with Client(fake.url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None) as client:
        yield client


def configure(fake, table, column, encryption="standard_128", active="true"):  # noqa: F811
    kind = "column" if column else "attachment"
    return fake.add("sys_encryption_configuration", table=table, type=kind, column=column, encryption_type=encryption, active=active)


def test_nothing_encrypted_is_proven(client):
    found = survey(client, NOTHING)
    assert found["tokens_needed"] == found["in_the_clone"] == [] and found["patterns"] == []


@pytest.mark.parametrize("active", ["true", "false"])
def test_a_column_is_brought_unless_its_table_or_one_above_is_excluded(fake, client, active):  # noqa: F811
    configure(fake, "incident", "description", active=active)
    assert survey(client, left())["in_the_clone"] == ["incident.description: the table incident is not excluded."]
    assert survey(client, left("problem"))["in_the_clone"] != []
    for excluded in ("incident", "task"):
        assert survey(client, left(excluded))["in_the_clone"] == []


def test_a_child_that_is_excluded_does_not_cover_its_parent(fake, client):  # noqa: F811
    configure(fake, "task", "description")
    assert survey(client, left("incident"))["in_the_clone"] == ["task.description: the table task is not excluded."]


def test_the_history_of_columns_counts(fake, client):  # noqa: F811
    configure(fake, "incident", "description")
    assert survey(client, left("incident", audit=False))["in_the_clone"] == ["sys_audit: the history of encrypted columns is not excluded."]
    assert survey(client, left("incident", "sys_audit", audit=False))["in_the_clone"] == []


def test_attachments_are_covered_by_their_own_option_only(fake, client):  # noqa: F811
    configure(fake, "incident", "")
    assert survey(client, left("incident", audit=False))["in_the_clone"] == ["incident.attachment: the content of attachments is not excluded."]
    assert survey(client, left(attachments=True, audit=False))["in_the_clone"] == []
    assert survey(client, left("sys_attachment_doc", audit=False))["in_the_clone"] == []


@pytest.mark.parametrize(
    ("encryption", "needed"),
    [("standard_256", False), ("Standard AES 128", False), ("equality_128", True), ("order_preserving_128", True), ("", True), ("brand new", True)],
)
def test_what_is_not_known_to_be_standard_needs_tokens(fake, client, encryption, needed):  # noqa: F811
    configure(fake, "incident", "u_account", encryption)
    assert bool(survey(client, left("incident"))["tokens_needed"]) is needed


def test_an_encryption_type_can_be_a_reference(fake, client):  # noqa: F811
    kind = fake.add("sys_proxy_encryption_type", name="x1", label="Order preserving AES 256")
    configure(fake, "incident", "u_account", kind)
    assert survey(client, left("incident"))["tokens_needed"] == ["incident.u_account (Order preserving AES 256 x1)"]


def test_a_pattern_needs_tokens_and_no_exclusion_covers_it(fake, client):  # noqa: F811
    fake.add("sys_encryption_pattern", name="SSN")
    found = survey(client, left("incident", "task", attachments=True))
    assert found["tokens_needed"] == found["in_the_clone"] == ["the tokenization pattern SSN"]


def test_patterns_that_cannot_be_read_are_not_taken_for_absent(fake, client):  # noqa: F811
    del fake.tables["sys_encryption_pattern"]
    found = survey(client, NOTHING)
    assert found["patterns"] is None and "Invalid table" in found["patterns_unknown_because"]
    assert len(found["tokens_needed"]) == len(found["in_the_clone"]) == 1 and "cannot be told" in found["in_the_clone"][0]
    fake.tables["u_patterns"] = {}
    assert survey(client, NOTHING, pattern_table="u_patterns")["in_the_clone"] == []
    fake.hidden.add(fake.add("u_patterns", name="secret"))
    assert "may not be read" in survey(client, NOTHING, pattern_table="u_patterns")["patterns_unknown_because"]


def test_a_configuration_that_may_not_be_read_is_an_error(fake, client):  # noqa: F811
    fake.hidden.add(configure(fake, "incident", "description"))
    with pytest.raises(EdgeError, match="may not be read"):
        survey(client, NOTHING)


def test_columns_with_other_names(fake, client):  # noqa: F811
    fake.add("sys_encryption_configuration", u_table="incident", type="column", column="description", encryption_type="standard_128", active="true")
    with pytest.raises(FieldsMissing, match="table"):
        survey(client, NOTHING)
    found = survey(client, left("incident"), {"table": "u_table"})
    assert [each["name"] for each in found["configurations"]] == ["incident.description"]
    with pytest.raises(EdgeError, match="configuration_fields: has tabel, which is not known. Use active, column"):
        survey(client, NOTHING, {"tabel": "u_table"})


def test_what_is_encrypted_in_rows_that_the_clone_keeps(fake, client):  # noqa: F811
    configure(fake, "task", "description")
    configure(fake, "incident", "u_account", active="false")
    assert survey(client, NOTHING)["preserved"] == []
    kept = survey(client, NOTHING, preserved=["incident", "task", "sys_attachment", "u_plain"])["preserved"]
    assert kept == [{"table": "incident", "encrypted": ["task.description"]}, {"table": "task", "encrypted": ["task.description"]}]
    configure(fake, "incident", "")
    assert {"table": "sys_attachment", "encrypted": ["incident.attachment"]} in survey(client, NOTHING, preserved=["sys_attachment"])["preserved"]
