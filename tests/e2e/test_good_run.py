# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One good run, looked at from all sides."""

import stat
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, Run, Watch, ask, checksums, epoch, hashes
from edgelab import demo_data

IDS = ["t00_preflight", "t10_source_backup", "t20_before_clone", "t30_clone_start", "t35_stage", "t40_wait_clone", "t50_clone_end", "t55_keys",
       "t57_registration", "t60_start_proxies", "t70_signatures", "t80_rotate_key", "t90_verify", "t95_open", "t99_report"]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Story:
    """The run, and what was seen before, while and after it happened."""

    def __init__(self, bench: Bench) -> None:
        bench.fill(12)
        self.before_any_clone = bench.run("--check", state="before")
        self.number = bench.schedule()
        self.source_homes = {home.name: hashes(home) for home in bench.proxies("source")}
        self.source_tokens = checksums(bench.token_db("source"))
        self.target_id = bench.token_db("target").query("SELECT id FROM edgeencryption.db_id")
        for side in ("source", "target"):
            bench.control(side, "DELETE", "/requests")
        demo_data.start_traffic(bench.lab)
        time.sleep(1)
        with Watch(bench.proxies("target"), bench.secrets()) as self.watch:
            self.run = bench.run("-vvv")
        self.traffic = demo_data.stop_traffic(bench.lab)
        assert self.run.returncode == 0, self.run.output[-6000:]
        self.steps = {step["id"]: step for step in t.cast(Row, self.run.report)["steps"]}
        self.requests = {side: bench.requests(side) for side in ("source", "target")}
        self.through_proxies = [entry for proxy in bench.lab["proxies"]["target"] for entry in ask("GET", proxy["control_url"] + "/requests")["requests"]]


@pytest.fixture(scope="module")
def bench(shared: Bench) -> Bench:
    return shared


@pytest.fixture(scope="module")
def story(bench: Bench) -> Story:
    return Story(bench)


def test_the_report_says_what_happened(story):
    report = story.run.report
    assert report["result"] == "green" and report["run_id"] == f"acmetest/{story.number}" and report["open"] == []
    assert [step["id"] for step in report["steps"]] == IDS
    assert {step["id"]: step["status"] for step in report["steps"]} == dict({step: "done" for step in IDS}, t80_rotate_key="not_run")
    assert report["token_db"]["tables"] == 3 and report["token_db"]["rows"] > 12 and report["token_db"]["verified"] is True
    assert report["signatures"] == {"option": "resigned", "records": 18, "resigned": 14}
    verify = report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 60


def test_every_proxy_reads_and_the_instance_does_not(story, bench):
    records = [row for row in bench.raw("target", "incident") if row["number"].startswith("DEMO")]
    assert len(records) == 12
    for row in records:
        number = int(row["number"][4:])
        for index in range(3):
            clear = demo_data.read_through(bench.lab, "target", "incident", row["sys_id"], proxy=index)
            assert clear["short_description"] == f"Payroll prod {number}: 工资 💶"
            assert clear["u_account"].startswith("ACC-") and clear["u_tax_id"] == f"tax {100 + number}-{number:02d}-{1000 + number}"
        for field in ("short_description", "description", "u_customer_name", "u_account"):
            assert row[field].startswith("edge:")
        assert row["u_tax_id"] != clear["u_tax_id"]


def test_no_clear_text_reached_the_target(story, bench):
    assert story.traffic["ok"] > 5 and story.traffic["refused"] + story.traffic["failed"] > 5
    assert demo_data.clear_text_requests(bench.lab) == []


def test_no_target_proxy_ran_between_t30_and_t50(story):
    down, swapped = epoch(story.steps["t30_clone_start"]["ended"]), epoch(story.steps["t50_clone_end"]["ended"])
    between = [running for when, running in story.watch.seen if down < when < swapped]
    assert len(between) > 20
    assert set(between) == {()}


def test_the_proxies_were_down_before_the_clone_started(story):
    clone = story.run.report["clone"]
    assert max(when for when, running in story.watch.seen if running and when < epoch(clone["completed"])) < epoch(clone["started"])


def test_no_user_reached_a_target_proxy_until_it_was_verified(story):
    down, verified = epoch(story.steps["t30_clone_start"]["ended"]), epoch(story.steps["t90_verify"]["ended"])
    users = [entry for entry in story.through_proxies if entry["user"] == "demo.user"]
    assert users  # after t95 they are back
    assert [entry for entry in users if down < epoch(entry["time"]) < verified] == []


def test_never_too_many_rules_were_off(story):
    off, most, seen = set(), 0, 0
    for entry in story.requests["target"]:
        if entry["method"] == "PATCH" and "/sys_encryption_" in entry["path"] and entry["status"] == 200:
            seen += 1
            record = entry["path"].rsplit("/", 1)[1]
            if '"active": "false"' in entry["body"].replace('":"', '": "'):
                off.add(record)
            else:
                off.discard(record)
            most = max(most, len(off))
    assert seen >= 26 and 1 <= most <= 4


def test_the_source_was_only_read(story, bench):
    # The proxies of the source talk to their own instance all the time.
    foreign = [entry for entry in story.requests["source"] if entry["method"] in WRITES and not entry["path"].startswith("/edge/")]
    assert foreign == []
    assert {home.name: hashes(home) for home in bench.proxies("source")} == story.source_homes
    assert checksums(bench.token_db("source")) == story.source_tokens


def test_validation_is_on_and_caches_were_moved_aside(story, bench):
    for proxy in bench.lab["proxies"]["target"]:
        home = Path(proxy["home"])
        text = (home / "conf" / "edgeencryption.properties").read_text()
        assert "skip.config.validate" not in text and "signature.verify" not in text
        assert len(list(home.glob("cache.2*"))) == 2  # in t55 and in t70
        assert ask("GET", proxy["control_url"] + "/state")["verify"] == {"configurations": True, "rules": True}


def test_the_previous_tokens_are_kept(story, bench):
    schema = story.run.report["token_db"]["previous_schema"]
    assert bench.token_db("target").query(f"SELECT id FROM `{schema}`.db_id") == story.target_id
    # Four records of the lab's, and what users wrote until t30.
    assert len(bench.tokens("target", schema)) > 4


def test_files_of_the_run_are_private(story, bench):
    folder = bench.folder / "run"
    files = list((folder / "state").rglob("*"))
    assert len(files) > 8
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((folder / "report.json").stat().st_mode) == 0o600


def test_no_secret_is_told(story, bench):
    folder = bench.folder / "run"
    places = {str(path): path.read_bytes().decode(errors="replace") for path in [*(folder / "state").rglob("*"), folder / "report.json"] if path.is_file()}
    places["output"] = story.run.output
    told = [(name, what) for name, text in places.items() for what, secret in bench.secrets().items() if secret in text]
    assert told == []
    assert story.watch.leaks == set()
    clear = ["Payroll prod", "Customer prod", "Details of prod"]
    assert [(name, text) for name in places for text in clear if text in places[name]] == []


def test_check_mode_passed_without_a_clone_and_wrote_nothing(story, bench):
    assert story.before_any_clone.returncode == 0, story.before_any_clone.output[-3000:]
    assert "cannot be known" in story.before_any_clone.output
    assert not (bench.folder / "before" / "state").exists()


def unchanged(run: Run) -> bool:
    return run.returncode == 0 and {numbers["changed"] for numbers in run.recap.values()} == {0}


def test_a_second_run_changes_nothing(story, bench):
    before = bench.world()
    again = bench.run("-e", f"edge_clone_number={story.number}")
    assert unchanged(again), again.output[-3000:]
    assert again.report == story.run.report
    assert bench.world() == before


@pytest.mark.long
def test_check_mode_passes_after_the_run(story, bench):
    before = bench.world()
    again = bench.run("--check", "-e", f"edge_clone_number={story.number}")
    assert unchanged(again), again.output[-3000:]
    assert bench.world() == before


def test_without_a_number_and_without_a_waiting_clone_it_is_an_error(story, bench):
    refused = bench.run()
    assert refused.returncode != 0
    assert "there is no open clone to acmetest" in refused.message and "name their number" in refused.message
