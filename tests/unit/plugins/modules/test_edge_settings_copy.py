# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""edge_settings_copy: what a clone changes on a proxy can be put back."""

import os
import stat

import pytest

ONE_STORE = """edgeencryption.keystore.path = keystore/keystore.jceks
edgeencryption.proxy.signature.keystore.path = keystore/keystore.jceks
edgeencryption.keystore.password = changeit
"""
NAMES = ["conf/edgeencryption.properties", "keystore/keystore.jceks", "keys/a128"]


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    for name in (*NAMES, "keys/.hidden", "keys/folder/a", "conf/other", "cache/c"):
        write(home / name, name)
    write(home / NAMES[0], ONE_STORE)
    return home


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_settings_and_keys_are_kept_for_their_owner_only(run_module, home, tmp_path):
    kept = tmp_path / "kept" / "acmetest" / "C1"
    arguments = {"home": str(home), "dest": str(kept)}
    planned = run_module("edge_settings_copy", arguments, check=True)
    assert planned["changed"] and not (tmp_path / "kept").exists()
    done = run_module("edge_settings_copy", arguments)
    assert done["changed"] and done["copies"] == planned["copies"] == [str(kept) + str(home / name) for name in NAMES]
    assert files(kept) == sorted((home / name).relative_to("/") for name in NAMES)
    assert all((kept / (home / name).relative_to("/")).read_bytes() == (home / name).read_bytes() for name in NAMES)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in kept.rglob("*") if path.is_file()}
    assert modes == {0o600} and {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "kept", *kept.rglob("*")] if path.is_dir()} == {0o700}
    again = run_module("edge_settings_copy", arguments)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    assert "changeit" not in str(done) + str(again)


def test_what_was_kept_once_is_never_replaced_and_what_is_missing_is_added(run_module, home, tmp_path):
    arguments = {"home": str(home), "dest": str(tmp_path / "kept")}
    run_module("edge_settings_copy", arguments)
    write(home / NAMES[1], "the source's keys")
    write(home / "keys" / "a256", "new")
    done = run_module("edge_settings_copy", arguments)
    assert done["changed"] and done["diff"]["after"]["copies"][-1].endswith("/keys/a256") and len(done["diff"]["before"]["copies"]) == 3
    assert (tmp_path / "kept" / (home / NAMES[1]).relative_to("/")).read_text() == NAMES[1]


def test_two_keystores_of_their_own_and_another_folder_of_keys(run_module, home, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere / "signature.jceks")
    write(elsewhere / "keys" / "b256")
    changed = ONE_STORE.replace("signature.keystore.path = keystore/keystore.jceks", f"signature.keystore.path = {elsewhere}/signature.jceks")
    write(home / NAMES[0], changed + f"edgeencryption.keyfile.directory = {elsewhere}/keys\n")
    done = run_module("edge_settings_copy", {"home": str(home), "dest": str(tmp_path / "kept")})
    expected = [home / NAMES[0], home / NAMES[1], elsewhere / "signature.jceks", elsewhere / "keys" / "b256"]
    assert done["copies"] == [str(tmp_path / "kept") + str(path) for path in expected]


def test_a_proxy_without_a_file_store(run_module, home, tmp_path):
    os.rename(str(home / "keys"), str(tmp_path / "gone"))
    assert len(run_module("edge_settings_copy", {"home": str(home), "dest": str(tmp_path / "kept")})["copies"]) == 2


@pytest.mark.parametrize("lacking", NAMES[:2])
def test_a_file_that_is_not_there_is_named(run_module, home, tmp_path, lacking):
    os.unlink(str(home / lacking))
    refused = run_module("edge_settings_copy", {"home": str(home), "dest": str(tmp_path / "kept")})
    assert refused.failed and str(home / lacking) in refused["msg"] and "does not exist" in refused["msg"]


def test_a_folder_that_cannot_be_made_is_named(run_module, home, tmp_path):
    write(tmp_path / "kept", "a file")
    refused = run_module("edge_settings_copy", {"home": str(home), "dest": str(tmp_path / "kept")})
    assert refused.failed and str(tmp_path / "kept") in refused["msg"] and "no copy can be kept there" in refused["msg"]
