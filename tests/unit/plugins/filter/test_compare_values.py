# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.edge_encryption.clone.plugins.filter.compare_values import compare_values, key_states, record_states, rule_states


def value(field, digest, **changes):
    return dict({"table": "incident", "sys_id": "1", "field": field, "digest": digest, "missing": False, "empty": False, "cipher_text_without_proxy": True},
                **changes)


SOURCE = [value("a", "x"), value("b", "y")]


def test_equal_values_are_readable():
    assert compare_values(SOURCE, [SOURCE, SOURCE]) == {"records": 2, "readable_through_proxy": 2, "cipher_text_without_proxy": 2, "failures": []}


def test_one_proxy_that_cannot_read_a_value_is_a_failure_that_names_it():
    found = compare_values(SOURCE, [SOURCE, [value("a", "x"), value("b", "other")]])
    assert found["readable_through_proxy"] == 1
    assert found["failures"] == ["incident 1 b is unreadable through a target proxy: it is not the value of the source"]


@pytest.mark.parametrize("target", [[value("a", "x")], [value("a", "x"), value("b", None, missing=True)]])
def test_a_value_that_is_not_there_is_a_failure(target):
    assert compare_values(SOURCE, [target])["failures"] == ["incident 1 b is not on the target"]


def test_clear_text_without_a_proxy_is_a_failure_only_when_the_source_hides_it():
    shown = [value("a", "x"), value("b", "y", cipher_text_without_proxy=False)]
    assert compare_values(SOURCE, [shown])["failures"] == ["incident 1 b is readable without a proxy"]
    assert compare_values(shown, [shown])["failures"] == []


def test_another_order_is_a_failure():
    assert compare_values(SOURCE, [list(reversed(SOURCE))])["failures"] == ["the records are not sorted as on the source"]


def test_empty_and_missing_values_of_the_source_prove_nothing():
    source = SOURCE + [value("c", None, empty=True), value("d", None, missing=True)]
    assert compare_values(source, [SOURCE])["records"] == 2


def test_asking_no_proxy_proves_nothing():
    with pytest.raises(AnsibleFilterError, match="nothing is proven"):
        compare_values(SOURCE, [])


def test_states_of_rules_are_sorted_and_named():
    records = [{"table": "sys_encryption_rule", "name": "b", "active": False}, {"table": "sys_encryption_rule", "name": "a", "active": True}]
    assert rule_states(records) == ["sys_encryption_rule a (active)", "sys_encryption_rule b (inactive)"]


def test_keys_are_named_with_what_must_survive():
    keys = [{"alias": "b", "size": 256, "type": "File", "default": False, "status": "x"}, {"alias": "a", "size": 128, "type": "Keystore", "default": True}]
    assert key_states(keys) == ["a (128 bits, Keystore, default)", "b (256 bits, File)"]


def test_records_are_named_with_their_state():
    records = [
        {"table": "sys_encryption_rule", "name": "Mask invoices", "state": "different", "differs": ["active", "script"]},
        {"table": "sys_encryption_configuration", "name": "incident.description", "state": "same", "differs": []},
    ]
    assert record_states(records)[0] == "sys_encryption_rule Mask invoices (different, active, script)"
    assert record_states(records, ["missing", "same"]) == ["sys_encryption_configuration incident.description (same)"]


# Later, when users may have changed the records


def later(field, digest, mod_count, **changes):
    return value(field, digest, sys_mod_count=mod_count, **changes)


THEN = [later("a", "x", 1), later("b", "y", 1)]


def test_a_value_that_was_changed_since_need_only_be_hidden_without_a_proxy():
    found = compare_values(THEN, [[later("a", "other", 2), later("b", "y", 1)]], True)
    assert found == {"records": 2, "readable_through_proxy": 1, "cipher_text_without_proxy": 1, "failures": [], "changed_since": 1}
    found = compare_values(THEN, [[later("a", "other", 2, cipher_text_without_proxy=False), later("b", "y", 1)]], True)
    assert found["failures"] == ["incident 1 a was changed since and is the same with and without a proxy: not encrypted, or not readable"]


def test_a_value_that_was_not_changed_since_must_be_the_same():
    assert "incident 1 a is unreadable" in compare_values(THEN, [[later("a", "other", 1), later("b", "y", 1)]], True)["failures"][0]
    assert "incident 1 a is unreadable" in compare_values(THEN, [[later("a", "other", 2), later("b", "y", 1)]])["failures"][0]


def test_a_record_that_is_gone_since_is_no_failure():
    assert compare_values(THEN, [[THEN[0], later("b", None, None, missing=True)]], True)["failures"] == []
