# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import hashlib
import hmac

import pytest


@pytest.fixture
def home(tmp_path):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "edgeencryption.properties"
    path.write_text("edgeencryption.proxy.name = proxy1\nedgeencryption.encrypter.static.iv = 0123456789abcdef\na=1\na=2\n# b=3\n")
    return tmp_path


def read(run_module, home, **args):
    result = run_module("edge_property_info", dict(home=str(home), **args))
    assert result.failed or result["changed"] is False
    return result


def test_all(run_module, home):
    result = read(run_module, home)
    assert result["properties"] == {"edgeencryption.proxy.name": "proxy1", "edgeencryption.encrypter.static.iv": "********", "a": "2"}
    assert result["fingerprints"] == {} and result["missing"] == [] and result["duplicates"] == ["a"]


def test_names_and_missing(run_module, home):
    result = read(run_module, home, names=["a", "b"])
    assert result["properties"] == {"a": "2"} and result["missing"] == ["b"]


def test_reveal_names_each_secret(run_module, home):
    name = "edgeencryption.encrypter.static.iv"
    assert read(run_module, home, reveal=[name])["properties"][name] == "0123456789abcdef"
    assert read(run_module, home, reveal=["a"])["properties"][name] == "********"


def test_fingerprints(run_module, home):
    result = read(run_module, home, fingerprint_salt="pepper", names=["edgeencryption.encrypter.static.iv"])
    expected = hmac.new(b"pepper", b"0123456789abcdef", hashlib.sha256).hexdigest()
    assert result["fingerprints"] == {"edgeencryption.encrypter.static.iv": expected}
    assert "0123456789abcdef" not in str(result)


def test_more_secrets(run_module, home):
    assert read(run_module, home, secret_names=["proxy.name"])["properties"]["edgeencryption.proxy.name"] == "********"


def test_missing_file(run_module, home):
    result = read(run_module, home, file="conf/none")
    assert result.failed and "the properties file does not exist" in result["msg"]
