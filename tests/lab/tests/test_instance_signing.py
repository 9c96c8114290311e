# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The canonical form and its signatures."""

import pytest

from edgelab import signing
from edgelab.instance.seed import signed_rows

KEY = signing.generate_key()
SERVICENOW = signing.generate_key()
RULE = {"sys_id": "a" * 32, "name": "Größe", "order": "100", "condition": "", "script": "x", "active": "true", "sys_mod_count": "7"}


def test_canonical_form_is_sorted_compact_utf8_of_the_signed_fields_only():
    expected = '{"active":"true","condition":"","name":"Größe","order":"100","script":"x","sys_id":"%s"}' % ("a" * 32)
    assert signing.canonical("sys_encryption_rule", RULE) == expected.encode("utf-8")


def test_a_signature_fits_its_row_and_key_only():
    row = dict(RULE, signature=signing.sign(KEY, "sys_encryption_rule", RULE))
    assert signing.verify(KEY.public_key(), "sys_encryption_rule", row)
    assert signing.verify(KEY.public_key(), "sys_encryption_rule", dict(row, sys_mod_count="8"))
    assert not signing.verify(KEY.public_key(), "sys_encryption_rule", dict(row, active="false"))
    assert not signing.verify(SERVICENOW.public_key(), "sys_encryption_rule", row)


@pytest.mark.parametrize("signature", ["", "no base64!", "AAAA"])
def test_a_broken_signature_does_not_verify(signature):
    assert not signing.verify(KEY.public_key(), "sys_encryption_rule", RULE, signature)


def test_seeded_base_rules_are_signed_with_servicenows_key_and_the_rest_with_the_customers():
    rows = signed_rows()
    signatures = signing.sign_rows(rows, KEY, SERVICENOW)
    base = [row for row in rows["sys_encryption_rule"] if signing.is_base(row)]
    assert (len(base), len(rows["sys_encryption_rule"]), len(rows["sys_encryption_configuration"])) == (4, 12, 6)
    for table, content in rows.items():
        for row in content:
            key = SERVICENOW if row in base else KEY
            assert signing.verify(key.public_key(), table, row, signatures[row["sys_id"]])


def test_keys_survive_pem():
    again = signing.private_key_from_pem(signing.private_key_to_pem(KEY))
    public = signing.public_key_from_pem(signing.public_key_to_pem(KEY.public_key()))
    assert signing.verify(public, "sys_encryption_rule", RULE, signing.sign(again, "sys_encryption_rule", RULE))
