# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""edge_key_file and edge_key_file_info: the file store of a proxy."""

import base64
import hashlib
import os
import stat

import pytest

KEY, OTHER = bytes(range(16)), bytes(range(100, 132))


def b64(key):
    return base64.b64encode(key).decode()


@pytest.fixture
def store(tmp_path):
    (tmp_path / "keys").mkdir()
    return tmp_path


def test_a_key_is_put_in_once_for_its_owner_only(run_module, store):
    arguments = {"home": str(store), "alias": "aes128", "content": b64(KEY)}
    planned = run_module("edge_key_file", arguments, check=True)
    assert planned["changed"] and os.listdir(store / "keys") == []
    done = run_module("edge_key_file", arguments)
    assert done["changed"] and done["key"] == planned["key"] == {"alias": "aes128", "size": 128, "fingerprint": hashlib.sha256(KEY).hexdigest()}
    file = store / "keys" / "aes128"
    assert file.read_bytes() == KEY and stat.S_IMODE(file.stat().st_mode) == 0o600 and os.listdir(store / "keys") == ["aes128"]
    again = run_module("edge_key_file", arguments)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    assert b64(KEY) not in str(dict(done, invocation=None))


def test_another_key_of_that_alias_is_never_replaced(run_module, store):
    (store / "keys" / "aes").write_bytes(OTHER)
    result = run_module("edge_key_file", {"home": str(store), "alias": "aes", "content": b64(KEY)})
    assert result.failed and hashlib.sha256(OTHER).hexdigest() in result["msg"] and "Rename that key" in result["msg"]
    assert (store / "keys" / "aes").read_bytes() == OTHER


@pytest.mark.parametrize(
    ("alias", "content", "text"),
    [("../aes", b64(KEY), "cannot be the name"), ("aes", "no base64!", "is not base64"), ("aes", b64(KEY[:15]), "it has 15 bytes, a key has 16 or 32")],
)
def test_what_is_no_key(run_module, store, alias, content, text):
    result = run_module("edge_key_file", {"home": str(store), "alias": alias, "content": content})
    assert result.failed and text in result["msg"] and os.listdir(store / "keys") == []


def test_a_folder_that_is_not_there(run_module, tmp_path):
    result = run_module("edge_key_file", {"home": str(tmp_path), "alias": "aes", "content": b64(KEY)})
    assert result.failed and "the folder of key files does not exist" in result["msg"]


def test_keys_are_listed_and_shown_only_when_asked_for(run_module, store):
    (store / "keys" / "b").write_bytes(OTHER)
    (store / "keys" / "a").write_bytes(KEY)
    (store / "keys" / ".hidden").write_text("no key")
    (store / "keys" / "a.20260101T000000Z.bak").write_text("no key")
    result = run_module("edge_key_file_info", {"home": str(store)})
    assert [(key["alias"], key["size"]) for key in result["entries"]] == [("a", 128), ("b", 256)] and "exported" not in result
    assert run_module("edge_key_file_info", {"home": str(store), "export": True})["exported"] == {"a": b64(KEY), "b": b64(OTHER)}


def test_a_file_that_is_no_key_is_named(run_module, store):
    (store / "keys" / "readme").write_text("hello")
    result = run_module("edge_key_file_info", {"home": str(store)})
    assert result.failed and "readme: it has 5 bytes" in result["msg"]
    assert "cannot be listed" in run_module("edge_key_file_info", {"home": str(store), "directory": "nowhere"})["msg"]
