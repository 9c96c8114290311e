# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def entry(alias, fingerprint, kind="secret_key"):
    return {"alias": alias, "fingerprint": fingerprint, "type": kind, "size": 128}


def arguments(path, **changes):
    return {
        "path": str(path), "target": "acmetest", "encryption_option": "same_key", "signature_option": "resigned",
        "source_proxy": "s1", "target_proxies": ["t1"],
        "keystores": {"s1": [entry("aes128prod", "aa"), entry("edgesign", "bb", "private_key")], "t1": []},
        "signing": {"s1": entry("edgesign", "bb")}, **changes,
    }  # fmt: skip


def test_it_plans_without_a_journal_and_leaves_none_behind(run_module, tmp_path):
    result = run_module("clone_plan_info", arguments(tmp_path / "journal"), check=True)
    assert result["changed"] is False and not (tmp_path / "journal").exists()
    assert [(key["alias"], key["targets"]) for key in result["plan"]["keys"]] == [("aes128prod", {"t1": "missing"})]
    assert result["plan"]["signature_keys"]["targets"] == {"t1": "missing"}


def test_keys_of_a_file_store_count_as_well(run_module, tmp_path):
    files = {"s1": [{"alias": "aes256file", "fingerprint": "cc", "size": 256}], "t1": [{"alias": "aes256file", "fingerprint": "cc", "size": 256}]}
    result = run_module("clone_plan_info", arguments(tmp_path, key_files=files))
    assert {key["alias"]: key["targets"]["t1"] for key in result["plan"]["keys"]} == {"aes128prod": "missing", "aes256file": "same"}


def test_a_time_that_cannot_be_read_is_refused(run_module, tmp_path):
    result = run_module("clone_plan_info", arguments(tmp_path, planned_start="tomorrow"))
    assert result.failed and "'tomorrow': cannot be read. Write it in UTC" in result["msg"]
