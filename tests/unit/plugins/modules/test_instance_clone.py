# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""instance_clone: arguments in, result out; the rest is in test_clone_request.py."""

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import


@pytest.fixture
def source(fake):  # noqa: F811
    test = fake.add("instance", instance_name="acmedev", production="false")
    for table in ("clone_instance", "clone_log"):
        fake.tables[table] = {}
    fake.clone = fake.add("clone_instance", clone_id="CLN1", state="Scheduled", target_instance=test, source_instance="", scheduled="2026-03-01 22:00:00",
                          started="", completed="", message="", profile="", preserve_theme="true")  # fmt: skip
    return fake


def test_an_open_clone_is_taken_and_a_boolean_is_written_as_the_instance_does(run_module, source):
    result = run_module("instance_clone", {"instance": source.instance, "target": "acmedev", "options": {"preserve_theme": True}})
    assert not result.failed and not result["changed"] and result["clone"]["number"] == "CLN1", result
    refused = run_module("instance_clone", {"instance": source.instance, "target": "acmedev", "options": {"preserve_theme": False}})
    assert refused.failed and "preserve_theme is 'true', not 'false'" in refused["msg"]


def test_cancel_shows_the_difference(run_module, source):
    result = run_module("instance_clone", {"instance": source.instance, "state": "canceled", "number": "CLN1"})
    assert not result.failed and result["changed"] and result["diff"] == {"before": {"state": "open"}, "after": {"state": "Canceled"}}, result
    assert not run_module("instance_clone", {"instance": source.instance, "state": "canceled", "number": "CLN1"})["changed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"target": "acmedev", "scheduled": "tonight"}, "tonight is no time"), ({}, "target"), ({"state": "canceled"}, "number"),
     ({"target": "acmedev", "scheduled": "2026-03-01 22:00:00", "start_in": 5}, "mutually exclusive")],
)  # fmt: skip
def test_bad_arguments(run_module, source, options, message):
    result = run_module("instance_clone", dict(options, instance=source.instance))
    assert result.failed and message in result["msg"]
