# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os


def test_open_record_close_and_read(run_module, tmp_path):
    where = {"path": str(tmp_path / "journal"), "target": "acmetest", "clone": "C1"}
    opened = run_module("clone_journal", dict(where, state="opened", owner="me"))
    assert opened["changed"] and opened["run"]["run_id"] == "acmetest/C1"
    run_module("clone_journal", dict(where, state="recorded", step="t10_source_backup", status="done", evidence={"token_db": {"rows": 7}}))
    again = run_module("clone_journal", dict(where, state="recorded", step="t10_source_backup", status="done", evidence={"token_db": {"rows": 7}}))
    assert again["changed"] is False
    info = run_module("clone_journal_info", where)
    assert info["changed"] is False and info["report"]["token_db"] == {"rows": 7} and info["lock"]["owner"] == "me"
    assert run_module("clone_journal", dict(where, state="closed", result="green", owner="me"))["run"]["finished"]


def test_check_mode_tells_and_writes_nothing(run_module, tmp_path):
    where = {"path": str(tmp_path / "journal"), "target": "acmetest", "clone": "C1"}
    assert run_module("clone_journal", dict(where, state="opened", owner="me"), check=True)["changed"] is True
    assert not os.path.exists(where["path"])


def test_a_refusal_names_the_holder(run_module, tmp_path):
    where = {"path": str(tmp_path / "journal"), "target": "acmetest", "clone": "C1"}
    run_module("clone_journal", dict(where, state="opened", owner="me"))
    refused = run_module("clone_journal", dict(where, state="opened", owner="you"))
    assert refused.failed and refused["lock"]["owner"] == "me" and "force_unlock=me" in refused["msg"]


def test_arguments_that_belong_together(run_module, tmp_path):
    where = {"path": str(tmp_path), "target": "acmetest", "clone": "C1"}
    assert "step" in run_module("clone_journal", dict(where, state="recorded"))["msg"]
    assert "result" in run_module("clone_journal", dict(where, state="closed", owner="me"))["msg"]
