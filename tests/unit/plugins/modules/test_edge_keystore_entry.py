# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What needs no Java; real keys are copied in tests/integration/proxy_host."""

import base64
import os

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.plugins.modules.conftest import jceks


def entry(run_module, path, check=False, **args):
    options = dict(dict(path=str(path), password="changeme", alias="a", source_password="changeme", keytool="/bin/true"), **args)
    return run_module("edge_keystore_entry", options, check=check, diff=True)


def test_check_mode_says_what_would_be_copied(run_module, keystore):
    path, source = keystore("keystore.jceks", "other"), keystore("source.jceks", "a")
    before = path.read_bytes()
    result = entry(run_module, path, check=True, source_path=str(source))
    assert result["changed"] and result["entry_type"] == "trusted_certificate" and "backup_file" not in result
    assert result["diff"]["before"] == {} and result["diff"]["after"]["fingerprint"] == result["fingerprint"]
    assert path.read_bytes() == before and sorted(os.listdir(str(path.parent))) == ["keystore.jceks", "source.jceks"]


@pytest.mark.parametrize("check", [True, False])
def test_an_equal_entry_is_left_alone(run_module, keystore, check):
    path, source = keystore("keystore.jceks", "a", "b"), keystore("source.jceks", "b")
    result = entry(run_module, path, check=check, alias="B", source_path=str(source))
    assert not result["changed"] and result["alias"] == "b" and result["diff"]["before"] == result["diff"]["after"], result


@pytest.mark.parametrize("check", [True, False])
def test_an_alias_that_something_else_has(run_module, keystore, check):
    path, source = keystore("keystore.jceks", "a"), keystore("source.jceks", "b")
    before = path.read_bytes()
    result = entry(run_module, path, check=check, source_alias="b", source_path=str(source))
    assert result.failed and "holds other material" in result["msg"] and result["present"]["fingerprint"] != result["wanted"]["fingerprint"]
    assert entry(run_module, path, check=True, source_alias="b", source_path=str(source), replace=True)["changed"]
    assert path.read_bytes() == before


def test_keytool_that_does_nothing_leaves_everything(run_module, keystore):
    path, source = keystore("keystore.jceks"), keystore("source.jceks", "a")
    before = path.read_bytes()
    result = entry(run_module, path, source_path=str(source))
    assert result.failed and "keytool reported success, but the entry a is not as in the source" in result["msg"]
    assert path.read_bytes() == before and not [name for name in os.listdir(str(path.parent)) if name.endswith(".tmp")]


def test_missing_keystores_are_told_apart(run_module, keystore, tmp_path):
    path = keystore("keystore.jceks")
    assert "the source keystore does not exist" in entry(run_module, path, source_path=str(tmp_path / "no"))["msg"]
    assert "no: the keystore does not exist" in entry(run_module, tmp_path / "no", source_path=str(keystore("source.jceks", "a")))["msg"]


@pytest.mark.parametrize(
    "args, text",
    [
        ({}, "source_path, source_content"),
        ({"source_path": "x", "source_content": "eno4"}, "mutually exclusive"),
        ({"source_content": "\u00e4"}, "this is not base64"),
        ({"source_content": base64.b64encode(jceks()).decode()}, "source_content: there is no entry a"),
        ({"source_content": base64.b64encode(jceks("a")).decode(), "source_password": "wr0ng-one"}, "password does not fit"),
        ({"source_content": base64.b64encode(jceks("a")).decode(), "password": "wr0ng-one"}, "password does not fit"),
        ({"source_content": base64.b64encode(jceks("a")).decode(), "keytool": "/no/keytool"}, "looked for /no/keytool"),
    ],
)
def test_bad_input(run_module, keystore, args, text):
    path = keystore("keystore.jceks")
    before = path.read_bytes()
    result = entry(run_module, path, **args)
    assert result.failed and text in result["msg"] and "wr0ng-one" not in str(result), result
    assert path.read_bytes() == before


@pytest.mark.parametrize(("options", "why"), [({"keep": ["A"]}, "is one to keep"), ({}, "is no secret key")])
def test_what_is_never_taken_out(run_module, keystore, options, why):
    path = keystore("keystore.jceks", "a", "b")
    before = path.read_bytes()
    result = run_module("edge_keystore_entry", dict(path=str(path), password="changeme", alias="a", state="absent", **options))
    assert result.failed and why in result["msg"] and path.read_bytes() == before
    assert not run_module("edge_keystore_entry", dict(path=str(path), password="changeme", alias="c", state="absent"))["changed"]


def test_an_entry_to_copy_needs_a_source(run_module, keystore):
    result = run_module("edge_keystore_entry", dict(path=str(keystore("keystore.jceks")), password="changeme", alias="a"))
    assert result.failed and "source_password" in result["msg"]
