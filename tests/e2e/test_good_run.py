# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One good run, looked at from all sides."""

import datetime
import stat
import time
from pathlib import Path

import pytest
import requests
from edgelab import demo_data
from edgelab.token_db import TokenDb

IDS = ["t00_preflight", "t10_source_backup", "t20_before_clone", "t30_clone_start", "t35_stage", "t40_wait_clone", "t50_clone_end", "t55_keys",
       "t57_registration", "t60_start_proxies", "t70_signatures", "t80_rotate_key", "t90_verify", "t95_open", "t99_report"]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def epoch(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def token_db(lab, side):
    db = lab["token_db"][side]
    return TokenDb(side, Path(db["folder"]), db["port"])


def checksums(lab, side):
    return token_db(lab, side).query("CHECKSUM TABLE edgeencryption.db_id, edgeencryption.edge_token_map, edgeencryption.token_map")


class Story:
    """The run, and what was seen before, while and after it happened."""


@pytest.fixture(scope="module")
def story(site, request):
    from .conftest import Watcher

    told = Story()
    told.check_without_clone = site.run("--check", confirm=False, folder=site.folder.parent / "before")
    told.number = site.request_clone()
    told.source_settings, told.source_tokens = site.settings("source"), checksums(site.lab, "source")
    told.target_tokens = checksums(site.lab, "target")
    requests.delete(site.source["control_url"] + "/requests", timeout=10)
    requests.delete(site.target["control_url"] + "/requests", timeout=10)
    demo_data.start_traffic(site.lab)
    time.sleep(1)
    with Watcher(site) as told.watcher:
        told.run = site.run("-vvv")
    told.traffic = demo_data.stop_traffic(site.lab)
    told.source_requests, told.target_requests = (site.requests_of(side["control_url"]) for side in (site.source, site.target))
    told.proxy_requests = [entry for proxy in site.lab["proxies"]["target"] for entry in site.requests_of(proxy["control_url"])]
    assert told.run.returncode == 0, told.run.output[-6000:]
    told.steps = {step["id"]: step for step in told.run.report["steps"]}
    return told


def test_the_report_says_what_happened(story):
    report = story.run.report
    assert report["result"] == "green" and report["run_id"] == f"acmetest/{story.number}" and report["open"] == []
    assert [step["id"] for step in report["steps"]] == IDS
    assert {step["id"]: step["status"] for step in report["steps"]} == dict({step: "done" for step in IDS}, t80_rotate_key="not_run")
    assert report["token_db"]["tables"] == 3 and report["token_db"]["rows"] > 12 and report["token_db"]["verified"] is True
    assert report["signatures"] == {"option": "resigned", "records": 18, "resigned": 14}
    verify = report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 60


def test_every_proxy_reads_and_the_instance_does_not(story, site):
    records = [row for row in site.control("GET", site.target["control_url"] + "/raw/incident")["rows"] if row["number"].startswith("DEMO")]
    assert len(records) == 12
    for row in records:
        number = int(row["number"][4:])
        for index in range(3):
            clear = demo_data.read_through(site.lab, "target", "incident", row["sys_id"], proxy=index)
            assert clear["short_description"] == f"Payroll prod {number}: 工资 💶"
            assert clear["u_account"].startswith("ACC-") and clear["u_tax_id"] == f"tax {100 + number}-{number:02d}-{1000 + number}"
        for field in ("short_description", "description", "u_customer_name", "u_account"):
            assert row[field].startswith("edge:")
        assert row["u_tax_id"] != clear["u_tax_id"]


def test_no_clear_text_reached_the_target(story, site):
    assert story.traffic["ok"] > 5 and story.traffic["refused"] + story.traffic["failed"] > 5
    assert demo_data.clear_text_requests(site.lab) == []


def test_no_target_proxy_ran_between_t30_and_t50(story):
    down, swapped = epoch(story.steps["t30_clone_start"]["ended"]), epoch(story.steps["t50_clone_end"]["ended"])
    between = [pids for when, pids in story.watcher.seen if down < when < swapped]
    assert len(between) > 20
    assert all(pid is None for pids in between for pid in pids.values())


def test_the_proxies_were_down_before_the_clone_started(story):
    clone = story.run.report["clone"]
    assert max(when for when, pids in story.watcher.seen if any(pids.values()) and when < epoch(clone["completed"])) < epoch(clone["started"])


def test_no_user_reached_a_target_proxy_until_it_was_verified(story):
    down, verified = epoch(story.steps["t30_clone_start"]["ended"]), epoch(story.steps["t90_verify"]["ended"])
    users = [entry for entry in story.proxy_requests if entry["user"] == "demo.user"]
    assert users  # after t95 they are back
    assert [entry for entry in users if down < epoch(entry["time"]) < verified] == []


def test_never_too_many_rules_were_off(story):
    off, most, seen = set(), 0, 0
    for entry in story.target_requests:
        if entry["method"] == "PATCH" and "/sys_encryption_" in entry["path"] and entry["status"] == 200:
            seen += 1
            record = entry["path"].rsplit("/", 1)[1]
            if '"active": "false"' in entry["body"].replace('":"', '": "'):
                off.add(record)
            else:
                off.discard(record)
            most = max(most, len(off))
    assert seen >= 26 and 1 <= most <= 4


def test_the_source_was_only_read(story, site):
    # The proxies of the source talk to their own instance all the time.
    foreign = [entry for entry in story.source_requests if entry["method"] in WRITES and not entry["path"].startswith("/edge/")]
    assert foreign == []
    assert site.settings("source") == story.source_settings
    assert checksums(site.lab, "source") == story.source_tokens


def test_validation_is_on_and_caches_were_moved_aside(story, site):
    for proxy in site.lab["proxies"]["target"]:
        home = Path(proxy["home"])
        text = (home / "conf" / "edgeencryption.properties").read_text()
        assert "skip.config.validate" not in text and "signature.verify" not in text
        assert len(list(home.glob("cache.2*"))) == 2  # in t55 and in t70
        assert site.control("GET", proxy["control_url"] + "/state")["verify"] == {"configurations": True, "rules": True}


def test_the_previous_tokens_are_kept(story, site):
    schema = story.run.report["token_db"]["previous_schema"]
    kept = token_db(site.lab, "target").query(f"CHECKSUM TABLE {schema}.db_id, {schema}.token_map")
    # Users went on writing until t30, so only what they do not touch can be compared as a whole.
    assert kept[0][1] == story.target_tokens[0][1]


def test_files_of_the_run_are_private(story, site):
    files = [path for path in (site.folder / "state").rglob("*")]
    assert len(files) > 8
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((site.folder / "report.json").stat().st_mode) == 0o600


def test_no_secret_is_told(story, site):
    places = {"output": story.run.output, "arguments": b"\n".join(story.watcher.arguments).decode(errors="replace")}
    places.update({str(path): path.read_bytes().decode(errors="replace") for path in [*(site.folder / "state").rglob("*"), site.folder / "report.json"]
                   if path.is_file()})
    for secret in site.secrets():
        assert [name for name, text in places.items() if secret in text] == []
    clear = ["Payroll prod", "Customer prod", "Details of prod"]
    assert [(name, text) for name in places for text in clear if text in places[name]] == []


def test_check_mode_passed_without_a_clone_and_wrote_nothing(story, site):
    assert story.check_without_clone.returncode == 0, story.check_without_clone.output[-3000:]
    assert "cannot be known" in story.check_without_clone.output
    assert not (site.folder.parent / "before" / "state").exists()


def test_a_second_run_changes_nothing(story, site):
    before = site.pids("target"), site.settings("target"), checksums(site.lab, "target")
    again = site.run("-e", f"edge_clone_number={story.number}")
    assert again.returncode == 0, again.output[-3000:]
    assert set(again.changed().values()) == {0}
    assert (site.pids("target"), site.settings("target"), checksums(site.lab, "target")) == before
    assert again.report == story.run.report


def test_check_mode_passes_after_the_run(story, site):
    before = site.pids("target"), site.settings("target"), checksums(site.lab, "target")
    again = site.run("--check", "-e", f"edge_clone_number={story.number}")
    assert again.returncode == 0, again.output[-3000:]
    assert set(again.changed().values()) == {0}
    assert (site.pids("target"), site.settings("target"), checksums(site.lab, "target")) == before


def test_without_a_number_and_without_a_waiting_clone_it_is_an_error(story, site):
    refused = site.run()
    assert refused.returncode != 0
    assert "there is no open clone to acmetest" in refused.output and "name their number" in refused.output
