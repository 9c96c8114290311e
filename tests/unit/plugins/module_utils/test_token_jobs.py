# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.plugins.module_utils._token_jobs import between
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

BEGIN, END = "2026-01-31T22:00:00Z", "2026-01-31 23:00:00.123"


@pytest.fixture
def client(fake):  # noqa: F811
    fake.tables.update(sysauto_encryption_job={}, sys_encryption_job_execution={})
    with Client(fake.url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None) as client:
        yield client


def execute(fake, job_type, created, updated, name="a job"):  # noqa: F811
    job = fake.add("sysauto_encryption_job", name=name, job_type=job_type)
    return fake.add("sys_encryption_job_execution", job=job, sys_created_on=created, sys_updated_on=updated)


def test_no_job_at_all(client):
    assert between(client, BEGIN, END) == {"jobs": [], "unknown_because": ""}


@pytest.mark.parametrize(
    ("created", "updated", "found"),
    [
        ("2026-01-31 22:30:00", "2026-01-31 22:31:00", True),
        ("2026-01-31 21:00:00", "2026-01-31 22:00:00", True),  # ended as the backup did
        ("2026-01-31 21:00:00", "2026-02-01 01:00:00", True),  # all the time
        ("2026-01-31 21:00:00", "2026-01-31 21:59:59", False),
        ("2026-01-31 23:00:01", "2026-01-31 23:30:00", False),
    ],
)
def test_what_ran_in_between_counts(fake, client, created, updated, found):  # noqa: F811
    execute(fake, "order_token_repair", created, updated)
    assert bool(between(client, BEGIN, END)["jobs"]) is found


@pytest.mark.parametrize(
    ("job_type", "name", "found"),
    [("Order Token Repair", "x", True), ("database_recovery", "x", True), ("7", "Token repair of incident", True), ("mass_key_rotation", "x", False)],
)
def test_a_job_is_told_by_its_type_or_its_name(fake, client, job_type, name, found):  # noqa: F811
    execute(fake, job_type, "2026-01-31 22:30:00", "2026-01-31 22:31:00", name)
    result = between(client, BEGIN, END)
    assert [job["name"] for job in result["jobs"]] == [name] * found and result["unknown_because"] == ""


def test_what_cannot_be_read_is_said(fake, client):  # noqa: F811
    hidden = execute(fake, "order_token_repair", "2026-01-31 22:30:00", "2026-01-31 22:31:00")
    fake.hidden.add(fake.row("sys_encryption_job_execution", hidden)["job"])
    assert "may not be read" in between(client, BEGIN, END)["unknown_because"]
    fake.hidden.clear()
    fake.row("sys_encryption_job_execution", hidden)["job"] = "f" * 32
    assert "names a job that cannot be read" in between(client, BEGIN, END)["unknown_because"]
    del fake.tables["sys_encryption_job_execution"]
    assert "Invalid table" in between(client, BEGIN, END)["unknown_because"]


def test_columns_with_other_names(fake, client):  # noqa: F811
    job = fake.add("sysauto_encryption_job", name="x", u_type="order_token_repair")
    fake.add("sys_encryption_job_execution", job=job, sys_created_on="2026-01-31 22:30:00", sys_updated_on="2026-01-31 22:31:00")
    assert "job_type" in between(client, BEGIN, END)["unknown_because"]
    assert len(between(client, BEGIN, END, {"job_type": "u_type"})["jobs"]) == 1
    with pytest.raises(EdgeError, match="fields: has colour"):
        between(client, BEGIN, END, {"colour": "x"})
