# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""edge_cache: a proxy finds an empty cache that it can write to, whatever happens meanwhile."""

import os
import re
import stat

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _cache

PROXY = (4711, 4712)


@pytest.fixture
def home(tmp_path):
    cache = tmp_path / "home" / "cache"
    cache.mkdir(parents=True)
    (cache / "rules").write_text("x")
    (cache / ".hidden").write_text("x")
    cache.chmod(0o2770)
    return tmp_path / "home"


def owner(path):
    found = path.stat()
    return found.st_uid, found.st_gid


def test_it_is_moved_aside_and_an_empty_one_takes_its_place(run_module, home):
    planned = run_module("edge_cache", {"home": str(home)}, check=True)
    assert planned["changed"] and planned["entries"] == 2 and os.listdir(home) == ["cache"] and len(os.listdir(home / "cache")) == 2
    done = run_module("edge_cache", {"home": str(home)})
    assert done["changed"] and done["entries"] == 2 and re.fullmatch(str(home) + r"/cache\.\d{8}T\d{6}\.\d{6}Z", done["moved_to"])
    assert sorted(os.listdir(done["moved_to"])) == [".hidden", "rules"] and os.listdir(home / "cache") == []
    assert stat.S_IMODE((home / "cache").stat().st_mode) == 0o2770 and len(os.listdir(home)) == 2
    again = run_module("edge_cache", {"home": str(home)})
    assert not again["changed"] and again["moved_to"] is None and again["diff"]["before"] == again["diff"]["after"] and len(os.listdir(home)) == 2


def test_it_stays_the_proxys_own(run_module, home):
    os.chown(str(home / "cache"), *PROXY)
    run_module("edge_cache", {"home": str(home)})
    assert owner(home / "cache") == PROXY


@pytest.mark.parametrize("check", [True, False])
def test_one_that_is_gone_is_made_for_whom_the_install_directory_is(run_module, home, check):
    os.chown(str(home), *PROXY)
    os.rename(str(home / "cache"), str(home / "elsewhere"))
    done = run_module("edge_cache", {"home": str(home)}, check=check)
    assert done["changed"] and done["moved_to"] is None and (home / "cache").exists() != check
    if not check:
        assert owner(home / "cache") == PROXY and stat.S_IMODE((home / "cache").stat().st_mode) == 0o750


@pytest.fixture
def break_rename(monkeypatch):
    """Return a function that lets the renames from the given one on fail with an exception, once."""

    def prepare(number, exception):
        real, calls = os.rename, []

        def rename(source, destination):
            calls.append(destination)
            if len(calls) == number:
                raise exception
            real(source, destination)

        monkeypatch.setattr(_cache.os, "rename", rename)

    return prepare


@pytest.mark.parametrize("number", [1, 2])
def test_refused_in_between_it_is_as_it_was(run_module, home, break_rename, number):
    break_rename(number, PermissionError(13, "Permission denied", "somewhere"))
    refused = run_module("edge_cache", {"home": str(home)})
    assert refused.failed and "cannot be moved aside: Permission denied: somewhere" in refused["msg"] and "proxy's own or root" in refused["msg"]
    assert os.listdir(home) == ["cache"] and len(os.listdir(home / "cache")) == 2


@pytest.mark.parametrize("number", [1, 2])
def test_killed_in_between_the_next_time_makes_it_whole(home, break_rename, number):
    """Between the two renames there is no cache; what comes next then makes one that the proxy can write to."""
    os.chown(str(home), *PROXY)
    os.chown(str(home / "cache"), *PROXY)
    break_rename(number, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        _cache.move_aside(str(home))
    assert (home / "cache").exists() == (number == 1)
    assert _cache.move_aside(str(home)).changed
    assert os.listdir(home / "cache") == [] and owner(home / "cache") == PROXY
    assert [len(os.listdir(home / name)) for name in os.listdir(home) if name.startswith("cache.")] == [2]


@pytest.mark.parametrize("given", ["no such folder", "file"])
def test_what_is_no_cache_is_refused(run_module, home, given):
    folder = home / "none"
    if given == "file":
        folder = home.parent / "other"
        folder.mkdir()
        (folder / "cache").write_text("x")
    refused = run_module("edge_cache", {"home": str(folder)})
    assert refused.failed and "Check the install directory" in refused["msg"] and str(folder) in refused["msg"]
