# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import stat

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._report import build_report
from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal, JournalError, Locked
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS, UnknownStep


@pytest.fixture
def journal(tmp_path):
    return Journal(str(tmp_path / "new" / "journal"), "acmetest")


def test_a_run_is_opened_recorded_and_closed(journal):
    assert journal.run("C1")["opened"] is None
    changed, run = journal.open("C1", "me")
    assert changed and run["run_id"] == "acmetest/C1" and journal.lock()["owner"] == "me"
    journal.record("C1", "t10_source_backup", "started")
    changed, run = journal.record("C1", "t10_source_backup", "done", {"token_db": {"rows": 7}})
    assert changed and run["steps"]["t10_source_backup"]["evidence"] == {"token_db": {"rows": 7}}
    changed, run = journal.close("C1", "green", "me")
    assert changed and run["finished"] and journal.lock() is None


def test_a_journal_of_a_newer_release_is_refused_and_one_without_a_format_is_read(journal):
    journal.open("C1", "me")
    path = journal.run("C1")["file"]
    with open(path) as stream:
        text = stream.read()
    assert '"format": 1' in text

    def write(text):
        with open(path, "w") as stream:
            stream.write(text)

    write(text.replace('"format": 1, ', ""))
    assert journal.run("C1")["opened"]
    for number in ("2", "true", '"1"', "0"):
        write(text.replace('"format": 1', '"format": ' + number))
        for call in (lambda: journal.run("C1"), journal.runs, lambda: journal.open("C1", "me"), lambda: journal.open("C2", "me")):
            with pytest.raises(JournalError, match="this release of edge_encryption.clone knows none above 1"):
                call()


def test_files_are_for_their_owner_only(journal):
    journal.open("C1", "me")
    for folder, names, files in os.walk(os.path.dirname(journal.folder)):
        for name in names:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o700
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(journal.folder)).st_mode) == 0o700


def test_what_is_already_written_is_not_written_twice(journal):
    journal.open("C1", "me")
    journal.record("C1", "t10_source_backup", "done", {"a": 1})
    assert journal.record("C1", "t10_source_backup", "done", {"a": 1})[0] is False
    assert journal.record("C1", "t10_source_backup", "done", {"a": 2})[0] is True
    assert journal.open("C1", "me")[0] is False


def test_check_mode_writes_nothing(journal, tmp_path):
    assert journal.open("C1", "me", write=False)[0] is True
    assert journal.record("C1", "t10_source_backup", "done", write=False)[0] is True
    assert list(tmp_path.iterdir()) == []


def test_another_owner_is_refused_and_named(journal):
    journal.open("C1", "me")
    with pytest.raises(Locked, match="held by me for run acmetest/C1") as caught:
        journal.open("C1", "you")
    assert caught.value.context["lock"]["owner"] == "me"
    with pytest.raises(Locked):
        journal.open("C1", "you", force_unlock="somebody else")
    assert journal.open("C1", "you", force_unlock="me")[0] is True
    assert journal.lock()["owner"] == "you"


def test_a_new_clone_is_refused_while_an_older_run_is_open(journal):
    journal.open("C1", "me")
    journal.record("C1", "t30_clone_start", "started")
    with pytest.raises(JournalError, match="acmetest/C1 is still open"):
        journal.open("C2", "me")
    journal.close("C1", "red", "me")
    with pytest.raises(JournalError, match="acmetest/C1 is still open"):
        journal.open("C2", "me")
    assert journal.close("C1", "abandoned", "me")[0] is True
    assert journal.close("C1", "abandoned", "me")[0] is False
    assert journal.open("C2", "me")[0] is True


def test_a_run_that_failed_before_it_touched_the_target_is_in_nobodys_way(journal):
    journal.open("C1", "me")
    journal.record("C1", "t10_source_backup", "failed", error="the source's database does not answer")
    with pytest.raises(JournalError, match="acmetest/C1 is still open"):
        journal.open("C2", "me")
    journal.close("C1", "red", "me")
    assert journal.open("C2", "me")[0] is True


def test_a_red_run_can_be_taken_up_again_and_keeps_its_steps(journal):
    journal.open("C1", "me")
    journal.record("C1", "t10_source_backup", "done", {"a": 1})
    journal.record("C1", "t30_clone_start", "failed", error="a proxy did not stop")
    journal.close("C1", "red", "me")
    _changed, run = journal.open("C1", "you")
    assert run["steps"]["t10_source_backup"]["status"] == "done" and run["closed"] is None


def test_a_paused_run_lets_go_of_the_target_and_is_taken_up_by_another_controller(journal):
    journal.open("C1", "me")
    journal.record("C1", "t30_clone_start", "started")
    journal.record("C1", "t30_clone_start", "done")
    changed, run = journal.close("C1", "paused", "me")
    assert changed and journal.lock() is None and not run["finished"] and not run["over"]
    with pytest.raises(JournalError, match="acmetest/C1 is still open"):
        journal.open("C2", "you")
    _changed, run = journal.open("C1", "you")
    assert run["steps"]["t30_clone_start"]["status"] == "done" and run["closed"] is None and run["result"] is None


def test_a_finished_run_is_never_written_again(journal):
    journal.open("C1", "me")
    journal.close("C1", "green", "me")
    before = open(journal.run("C1")["file"]).read()
    assert journal.open("C1", "you")[0] is False and journal.lock() is None
    assert journal.record("C1", "t90_verify", "done")[0] is False
    assert open(journal.run("C1")["file"]).read() == before


@pytest.mark.parametrize("torn", [b'{"event": "step", "st', b"x" * 9000])
def test_a_line_torn_by_a_crash_never_counted_and_is_removed(journal, torn):
    _changed, run = journal.open("C1", "me")
    with open(run["file"], "ab") as stream:
        stream.write(torn)
    assert journal.run("C1")["steps"] == {}
    journal.record("C1", "t10_source_backup", "done")
    assert journal.run("C1")["steps"]["t10_source_backup"]["status"] == "done"
    assert torn not in open(run["file"], "rb").read()


def test_damage_in_the_middle_is_an_error_that_names_the_line(journal):
    _changed, run = journal.open("C1", "me")
    with open(run["file"], "ab") as stream:
        stream.write(b"not json\n")
    journal_file = run["file"]
    with pytest.raises(JournalError, match=f"{journal_file}: line 2 is not JSON"):
        journal.run("C1")


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden", "x" * 101])
def test_names_that_are_no_folder_are_refused(tmp_path, name):
    with pytest.raises(EdgeError, match="cannot be the name of a folder"):
        Journal(str(tmp_path), name)
    with pytest.raises(EdgeError, match="cannot be the name of a folder"):
        Journal(str(tmp_path), "acmetest").open(name, "me")


def test_a_step_off_the_timeline_is_refused(journal):
    journal.open("C1", "me")
    with pytest.raises(UnknownStep):
        journal.record("C1", "t11_nothing", "done")


def test_the_report_lists_every_step_and_what_is_open(journal):
    journal.open("C1", "me")
    journal.record("C1", "t30_clone_start", "started")
    journal.record("C1", "t50_clone_end", "done", {"token_db": {"rows": 7}})
    journal.record("C1", "t57_registration", "waiting", error="authenticate edge_target_1")
    report = build_report(journal.run("C1"))
    assert [step["id"] for step in report["steps"]] == list(STEP_IDS)
    assert report["result"] == "open" and report["token_db"] == {"rows": 7}
    assert report["open"] == ["t30_clone_start was begun and has not ended.", "t57_registration waits for a person: authenticate edge_target_1"]
    assert report["outage"]["began"] and report["outage"]["ended"] is None


# Rolling back


def finished(journal, result="green"):
    journal.open("C1", "me")
    journal.record("C1", "t30_clone_start", "done")
    journal.close("C1", result, "me")


@pytest.mark.parametrize("result", ["green", "red"])
def test_a_run_is_rolled_back_under_the_lock_and_leaves_the_target_free(journal, result):
    finished(journal, result)
    changed, run = journal.roll_back("C1", "me")
    assert changed and run["result"] == "rolling_back" and not run["finished"] and journal.lock()["owner"] == "me"
    assert journal.roll_back("C1", "me")[0] is False
    with pytest.raises(Locked, match="held by me"):
        journal.roll_back("C1", "you")
    with pytest.raises(JournalError, match="run acmetest/C1 is still open"):
        journal.open("C2", "me")
    changed, run = journal.close("C1", "rolled_back", "me")
    assert changed and run["result"] == "rolled_back" and journal.lock() is None
    assert journal.roll_back("C1", "me") == (False, run)
    assert journal.open("C2", "me")[0] is True


def test_a_run_that_goes_back_cannot_go_on(journal):
    finished(journal, "red")
    journal.roll_back("C1", "me")
    with pytest.raises(JournalError, match="roll_back_clone"):
        journal.open("C1", "me")
    journal.close("C1", "rolled_back", "me")
    with pytest.raises(JournalError, match="another number"):
        journal.open("C1", "me")


def test_there_is_nothing_to_roll_back(journal, tmp_path):
    with pytest.raises(JournalError, match="never begun"):
        journal.roll_back("C1", "me")
    assert list(tmp_path.iterdir()) == []
    finished(journal)
    assert journal.roll_back("C1", "me", write=False)[0] is True and journal.run("C1")["finished"]


def test_a_roll_back_that_was_killed_is_taken_up_by_another_owner(journal):
    finished(journal)
    journal.roll_back("C1", "dead")
    changed, run = journal.roll_back("C1", "me", force_unlock="dead")
    assert changed and run["result"] == "rolling_back" and journal.lock()["owner"] == "me"


# What was begun, and what is over


def test_a_step_that_waits_for_a_person_was_not_begun(journal):
    journal.open("C1", "me")
    _changed, run = journal.record("C1", "t30_clone_start", "waiting", error="asks")
    assert run["steps"]["t30_clone_start"]["status"] == "waiting" and run["begun"] == []
    journal.close("C1", "red", "me")
    assert journal.open("C2", "me")[0] is True  # the target was not touched
    journal.close("C2", "abandoned", "me")
    journal.open("C1", "me")
    journal.record("C1", "t30_clone_start", "started")
    _changed, run = journal.record("C1", "t30_clone_start", "waiting", error="asks again")
    assert run["begun"] == ["t30_clone_start"]


@pytest.mark.parametrize(("result", "over"), [("green", True), ("abandoned", True), ("rolled_back", True), ("red", False), ("paused", False)])
def test_a_run_that_is_over_leaves_the_target_free(journal, result, over):
    journal.open("C1", "me")
    assert not journal.run("C1")["over"]
    journal.close("C1", result, "me")
    assert journal.run("C1")["over"] is over
