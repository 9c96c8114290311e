# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""edge_settings_copy_info: nothing that holds a key is forgotten, and nothing of anybody else is named."""

import os

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _cache, _files

MODULE = "edge_settings_copy_info"
PROPERTIES = """edgeencryption.keystore.path = keystore/keystore.jceks
edgeencryption.proxy.signature.keystore.path = {0}/signature.jceks
edgeencryption.keystore.password = changeit
"""
OF_OTHERS = ("conf/edgeencryption.properties.bak", "conf/my.20260101.bak", "conf/x.20269999T999999Z.bak", "keys/.hidden", "keystore/.tmp", "before_clone.txt",
             "logs/a.20260101T000000Z.bak", "conf/folder.20260101T000000Z.bak/a", "cache/a", "cache.old/a")  # fmt: skip
OLD, NEW = "20260101T000000Z", "20260102T030405Z"


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    for name in ("conf/edgeencryption.properties", "keystore/keystore.jceks", "keys/a128", *OF_OTHERS):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (home / "conf" / "edgeencryption.properties").write_text(PROPERTIES.format(tmp_path / "elsewhere"))
    return home


def add(*paths):
    for path in paths:
        path.write_text("a key")
    return sorted(map(str, paths))


def test_nothing_lies_there(run_module, home):
    found = run_module(MODULE, {"home": str(home)})
    assert (found["changed"], found["backups"], found["leftovers"]) == (False, [], [])


def test_backups_of_all_that_hold_a_key_or_a_password(run_module, home, tmp_path):
    old = add(home / "conf" / f"edgeencryption.properties.{OLD}.bak", tmp_path / "elsewhere" / f"signature.jceks.{OLD}.bak")
    new = add(home / "keystore" / f"keystore.jceks.{NEW}.bak", home / "keystore" / f"keystore.jceks.{NEW}.1.bak", home / "keys" / f"a128.{NEW}.bak")
    assert run_module(MODULE, {"home": str(home)})["backups"] == sorted(old + new)
    # A run that was opened within the second of its first backup.
    for since in ("2026-01-02T03:04:05.678Z", "2026-01-02 03:04:05"):
        assert run_module(MODULE, {"home": str(home), "since": since}, check=True)["backups"] == new
    assert run_module(MODULE, {"home": str(home), "since": "2026-01-02T03:04:06Z"})["backups"] == []


def test_a_backup_that_was_just_made_is_found(run_module, home, tmp_path):
    os.rename(str(home / "keystore" / "keystore.jceks"), str(tmp_path / "elsewhere" / "real.jceks"))
    (home / "keystore" / "keystore.jceks").symlink_to(tmp_path / "elsewhere" / "real.jceks")
    made = [_files.backup(str(home / "keystore" / "keystore.jceks"), b"x"), _files.backup(str(home / "keys" / "a128"), b"x")]
    assert run_module(MODULE, {"home": str(home), "since": "2026-01-01T00:00:00Z"})["backups"] == sorted(made)


def test_what_else_a_run_leaves_behind(run_module, home):
    moved = _cache.move_aside(str(home)).moved_to
    half_cache, half_file = home / ".cache.abc.tmp", home / "keys" / ".a128.abc.tmp"
    for folder in ("before_clone", "before_roll_back", half_cache.name):
        (home / folder).mkdir()
    add(half_file)
    expected = [str(home / "before_clone"), str(home / "before_roll_back"), moved, str(half_cache), str(half_file)]
    assert run_module(MODULE, {"home": str(home)})["leftovers"] == sorted(expected)


def test_a_file_that_is_being_written_is_one_of_them(run_module, home):
    with _files.temporary_copy(str(home / "conf" / "edgeencryption.properties"), b"x") as half:
        assert run_module(MODULE, {"home": str(home)})["leftovers"] == [half]


def test_a_proxy_without_a_file_store(run_module, home, tmp_path):
    os.rename(str(home / "keys"), str(tmp_path / "gone"))
    assert run_module(MODULE, {"home": str(home)})["backups"] == []


def test_a_time_that_is_none(run_module, home):
    refused = run_module(MODULE, {"home": str(home), "since": "yesterday"})
    assert refused.failed and "'yesterday'" in refused["msg"] and "2026-01-02 03:04:05" in refused["msg"]


def test_a_home_without_properties(run_module, tmp_path):
    refused = run_module(MODULE, {"home": str(tmp_path)})
    assert refused.failed and str(tmp_path / "conf" / "edgeencryption.properties") in refused["msg"]


def test_a_folder_that_is_a_file_is_named(run_module, home):
    os.rename(str(home / "keys"), str(home / "gone"))
    (home / "keys").write_text("no folder")
    refused = run_module(MODULE, {"home": str(home)})
    assert refused.failed and str(home / "keys") in refused["msg"] and "cannot be read" in refused["msg"]
