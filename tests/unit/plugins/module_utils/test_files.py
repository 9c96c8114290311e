# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import pathlib
import stat

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _files
from ansible_collections.edge_encryption.clone.plugins.module_utils._files import FileError


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "conf"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="nothing: the keystore does not exist"):
        _files.read(str(tmp_path / "nothing"), "keystore")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        _files.read(str(tmp_path), "keystore")


def test_write_keeps_mode_and_leaves_nothing_behind(target):
    before = os.stat(str(target)).st_ino
    _files.write_atomic(str(target), b"new", expected=b"old")
    assert target.read_bytes() == b"new" and mode(target) == 0o640
    assert os.stat(str(target)).st_ino != before  # renamed, not overwritten
    assert os.listdir(str(target.parent)) == ["conf"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_write_keeps_the_owner(target):
    os.chown(str(target), 1234, 2345)
    _files.write_atomic(str(target), b"new")
    found = os.stat(str(target))
    assert (found.st_uid, found.st_gid) == (1234, 2345) and mode(target) == 0o640
    kept = os.stat(_files.backup(str(target), b"new"))
    assert (kept.st_uid, kept.st_gid) == (1234, 2345)


def test_write_keeps_extended_attributes(target, monkeypatch):
    # As the SELinux context, which is one; not every file system of a test machine has them.
    kept = {str(target): {"security.selinux": b"system_u:object_r:etc_t:s0"}}
    monkeypatch.setattr(os, "listxattr", lambda path: list(kept.get(path, {})))
    monkeypatch.setattr(os, "getxattr", lambda path, name: kept[path][name])
    monkeypatch.setattr(os, "setxattr", lambda path, name, value: kept.setdefault(path, {}).update({name: value}))
    _files.write_atomic(str(target), b"new")
    assert len(kept) == 2 and len({str(value) for value in kept.values()}) == 1


def test_write_through_a_link_keeps_the_link(target):
    link = target.parent / "link"
    link.symlink_to("conf")
    _files.write_atomic(str(link), b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"


def test_an_edit_of_somebody_else_is_not_lost(target):
    with pytest.raises(FileError, match="changed by somebody else"):
        _files.write_atomic(str(target), b"new", expected=b"what was read")
    assert target.read_bytes() == b"old" and os.listdir(str(target.parent)) == ["conf"]


def test_temporary_copy_is_private_and_goes_away(target):
    with pytest.raises(ZeroDivisionError), _files.temporary_copy(str(target), b"x") as temp:
        assert mode(temp) == 0o600 and os.path.dirname(temp) == str(target.parent)
        raise ZeroDivisionError()
    assert os.listdir(str(target.parent)) == ["conf"]


def test_failed_rename_leaves_the_old_file(target, monkeypatch):
    def fail(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(FileError, match="cannot be replaced: No space left on device"):
        _files.write_atomic(str(target), b"new")
    assert target.read_bytes() == b"old" and os.listdir(str(target.parent)) == ["conf"]


def test_missing_folder(tmp_path):
    with pytest.raises(FileError, match="no temporary file can be made"):
        _files.write_atomic(str(tmp_path / "no" / "file"), b"")


def test_backups_are_private_and_never_overwritten(target):
    names = {_files.backup(str(target), text) for text in (b"1", b"2", b"3")}
    assert len(names) == 3 and all(mode(name) == 0o600 for name in names)
    assert sorted(pathlib.Path(name).read_bytes() for name in names) == [b"1", b"2", b"3"]


def test_a_private_file_is_made_or_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (b"1", b"2"):
        _files.write_private("export", text)
        assert pathlib.Path("export").read_bytes() == text and mode("export") == 0o600
        os.chmod("export", 0o644)
    assert os.listdir(".") == ["export"]
    os.mkdir("folder")
    with pytest.raises(FileError, match="folder: it cannot be written: Is a directory"):
        _files.write_private("folder", b"")


def test_what_an_inspection_refuses_is_not_written(target):
    def refuse(temp):
        assert pathlib.Path(temp).read_bytes() == b"new" and target.read_bytes() == b"old"
        raise FileError(temp, "is not to be")

    with pytest.raises(FileError, match="is not to be"):
        _files.write_atomic(str(target), b"new", inspect=refuse)
    assert target.read_bytes() == b"old" and os.listdir(str(target.parent)) == ["conf"]
