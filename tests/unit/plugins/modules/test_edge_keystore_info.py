# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What needs no Java; real keystores are read in tests/integration/proxy_host."""

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.plugins.modules.conftest import jceks


def info(run_module, path, **args):
    return run_module("edge_keystore_info", dict(dict(path=str(path), password="changeme"), **args))


def test_empty_keystore(run_module, keystore):
    path = keystore("keystore.jceks")
    result = info(run_module, path, aliases=["a"])
    assert result["entries"] == [] and result["missing"] == ["a"] and result["changed"] is False and "container" not in result


def test_a_certificate(run_module, keystore):
    result = info(run_module, keystore("keystore.jceks", "servicenow"), aliases=["ServiceNow", "other"])
    (entry,) = result["entries"]
    assert (entry["alias"], entry["type"], entry["algorithm"], entry["size"]) == ("servicenow", "trusted_certificate", "RSA", 1024)
    assert entry["key_password_matches"] is None and entry["created"] == "2026-01-02T03:04:05Z" and result["missing"] == ["other"]


def test_wrong_password_is_not_shown(run_module, keystore):
    result = info(run_module, keystore("keystore.jceks"), password="wr0ng-one")
    assert result.failed and "password does not fit" in result["msg"] and "wr0ng-one" not in str(result)


def test_a_keystore_that_is_not_there(run_module, tmp_path):
    assert "the keystore does not exist" in info(run_module, tmp_path / "no")["msg"]


@pytest.mark.parametrize(
    "content, text",
    [(b"", "no JCEKS keystore"), (b"\xfe\xed\xfe\xed" + bytes(40), "of the type JKS"), (jceks("a")[:-1] + b"x", "or the file is damaged")],
    ids=["empty", "jks", "damaged"],
)
def test_another_file(run_module, tmp_path, content, text):
    path = tmp_path / "keystore.jceks"
    path.write_bytes(content)
    result = info(run_module, path)
    assert result.failed and text in result["msg"]


@pytest.mark.parametrize(
    "export, text",
    [
        ({"aliases": ["a"]}, "missing required arguments: password"),
        ({"aliases": ["a"], "password": "short"}, "fewer than 6 characters"),
        ({"aliases": ["a"], "password": "l0ng-enough"}, "there is no entry a"),
    ],
)
def test_what_cannot_be_exported(run_module, keystore, export, text):
    result = info(run_module, keystore("keystore.jceks"), keytool="/bin/true", export=export)
    assert result.failed and text in result["msg"] and "l0ng-enough" not in str(result)
