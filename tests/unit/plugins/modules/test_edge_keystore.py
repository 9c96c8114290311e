# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What needs no Java; real keystores are copied in tests/integration/proxy_host."""

import base64
import hashlib
import struct

import pytest

# A keystore that holds nothing, and one that is no JCEKS keystore.
EMPTY = struct.pack(">III", 0xCECECECE, 2, 0)
EMPTY += hashlib.sha1("changeme".encode("utf-16-be") + b"Mighty Aphrodite" + EMPTY).digest()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "keystore.jceks"
    file.write_bytes(EMPTY)
    return file


def info(run_module, path, **args):
    return run_module("edge_keystore_info", dict(dict(path=str(path), password="changeme"), **args))


def entry(run_module, path, **args):
    return run_module("edge_keystore_entry", dict(dict(path=str(path), password="changeme", alias="a", source_password="changeme"), **args))


def test_empty_keystore(run_module, path):
    result = info(run_module, path, aliases=["a"])
    assert result["entries"] == [] and result["missing"] == ["a"] and result["changed"] is False and "container" not in result


def test_wrong_password_is_not_shown(run_module, path):
    result = info(run_module, path, password="wr0ng-one")
    assert result.failed and "password does not fit" in result["msg"] and "wr0ng-one" not in str(result)


def test_missing_keystores_are_told_apart(run_module, path, tmp_path):
    assert "the keystore does not exist" in info(run_module, tmp_path / "no")["msg"]
    assert "the source keystore does not exist" in entry(run_module, path, source_path=str(tmp_path / "no"))["msg"]


def test_source_options(run_module, path):
    assert "source_path, source_content" in entry(run_module, path)["msg"]
    assert "mutually exclusive" in entry(run_module, path, source_path="x", source_content="eno4")["msg"]
    assert "this is not base64" in entry(run_module, path, source_content="ä")["msg"]


def test_entry_that_the_source_lacks(run_module, path):
    result = entry(run_module, path, source_content=base64.b64encode(EMPTY).decode())
    assert result.failed and "source_content: there is no entry a" in result["msg"]
    assert path.read_bytes() == EMPTY
