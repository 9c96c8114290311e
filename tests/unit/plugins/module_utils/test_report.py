# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import re
from xml.etree import ElementTree

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._report import build_report
from ansible_collections.edge_encryption.clone.plugins.module_utils._report_html import _Scale, render
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import BadTime, in_words, seconds_of, stamp_of
from ansible_collections.edge_encryption.clone.tests.unit.report_runs import HOSTILE, RUNS, run


def page(name):
    return render(build_report(RUNS[name]()))


def svg(html):
    return ElementTree.fromstring(re.search(r'<svg class="timeline".*?</svg>', html, re.DOTALL).group(0))


# What the report says


def test_a_green_run_passes_every_check_and_is_not_open():
    report = build_report(run())
    assert {check["result"] for check in report["checks"]} == {"passed"} and len(report["checks"]) == 9
    assert report["open"] == report["way_out"] == [] and report["safety"] == "The target is in service."


def test_a_snapshot_older_than_the_backup_fails_its_check():
    state = run()
    state["steps"]["t35_stage"]["evidence"]["clone"]["backup_completed"] = "2026-01-02T21:00:30Z"
    assert [check["step"] for check in build_report(state)["checks"] if check["result"] == "failed"] == ["t35_stage"]


def test_a_proxy_started_before_the_tokens_were_in_place_fails_its_check():
    state = run()
    state["steps"]["t60_start_proxies"]["started"] = state["steps"]["t40_wait_clone"]["started"]
    assert [check["step"] for check in build_report(state)["checks"] if check["result"] == "failed"] == ["t30_clone_start"]


def test_an_unreadable_value_fails_its_check_and_is_named():
    state = run()
    state["steps"]["t90_verify"]["evidence"]["verify"].update(readable_through_proxy=102, failures=["incident 4711 description is unreadable"])
    (failed,) = [check for check in build_report(state)["checks"] if check["result"] == "failed"]
    assert "102 of 103" in failed["evidence"] and "incident 4711" in failed["evidence"]


@pytest.mark.parametrize(("stop_at", "safety", "commands"), [
    ("t20_before_clone", "was not touched", ["clone_with_tokenization"]),
    ("t30_clone_start", "others may still run", ["clone_with_tokenization", "make_safe", "roll_back_clone"]),
    ("t35_stage", "stay down and are held", ["clone_with_tokenization", "make_safe", "roll_back_clone"]),
    ("t60_start_proxies", "do not validate", ["clone_with_tokenization", "make_safe", "roll_back_clone"]),
    ("t90_verify", "out of service for users", ["clone_with_tokenization", "make_safe", "roll_back_clone"]),
])  # fmt: skip
def test_what_is_safe_and_the_ways_out(stop_at, safety, commands):
    report = build_report(run(stop_at=stop_at, error="no"))
    assert safety in report["safety"]
    assert [re.search(r"clone\.(\w+) -e edge_clone_number=CLN0001234", way["command"]).group(1) for way in report["way_out"]] == commands


def test_a_stop_that_waits_for_a_person_has_touched_nothing():
    state = run(stop_at="t30_clone_start", error="asks")
    state["steps"]["t30_clone_start"].update(status="waiting", started=None)
    assert build_report(state)["safety"] == "The target was not touched; its proxies were not touched either."


@pytest.mark.parametrize(("options", "playbook"), [
    ({"encryption": "same_key", "tokenization": False}, "clone_same_key"),
    ({"encryption": "preserved_key", "tokenization": False}, "clone_without_encrypted_data"),
    ({"encryption": "rotated_key", "tokenization": True}, "clone_rotate_key"),
])  # fmt: skip
def test_the_way_on_is_the_playbook_that_the_run_began_with(options, playbook):
    state = run(stop_at="t60_start_proxies", error="no")
    state["steps"]["t00_preflight"]["evidence"]["options"] = options
    assert f"edge_encryption.clone.{playbook} " in build_report(state)["way_out"][0]["command"]


def test_the_outage_begins_when_the_proxies_go_down_and_not_when_the_wait_for_it_begins():
    report = build_report(run())
    assert report["steps"][3]["started"] < report["outage"]["began"] == stamp_of(seconds_of(report["clone"]["scheduled"]) - 600)
    assert report["outage"]["ended"] == report["steps"][13]["ended"]


def test_a_run_that_was_killed_while_it_waited_has_no_outage():
    assert build_report(run(stop_at="t30_clone_start"))["outage"]["began"] is None


def test_planned_times_stand_beside_the_actual_ones():
    steps = {step["id"]: step for step in build_report(run())["steps"]}
    assert steps["t30_clone_start"]["planned"]["start"] == build_report(run())["outage"]["began"]
    # Nobody knew how long the clone would take: what follows it is held against its real end.
    assert steps["t50_clone_end"]["planned"]["start"] > steps["t40_wait_clone"]["evidence"]["clone"]["completed"]
    assert steps["t80_rotate_key"]["planned"] is None


# The page


@pytest.mark.parametrize("name", RUNS)
def test_a_page_is_well_formed_needs_nothing_else_and_runs_nothing(name):
    html = page(name)
    body = re.sub(r"<meta[^>]*>", "", html.replace("<!DOCTYPE html>\n", "")).replace("&nbsp;", " ")
    root = ElementTree.fromstring(re.sub(r"<style>.*?</style>", "", body, flags=re.DOTALL))
    names = {element.tag for element in root.iter()}
    assert not names & {"script", "link", "iframe", "img", "object", "form"} and root.get("lang") == "en"
    attributes = [(name, value) for element in root.iter() for name, value in element.attrib.items()]
    assert [value for name, value in attributes if name in ("href", "src") and not value.startswith("#")] == []
    assert not [name for name, _value in attributes if name.startswith("on")]
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert not re.search(r"url\(|@import|https?:", re.sub(re.escape("http://example.com"), "", html))
    levels = [int(element.tag[1]) for element in root.iter() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    assert all(element.get("scope") for element in root.iter("th"))


def test_a_report_says_its_format_and_a_newer_one_is_refused():
    report = build_report(RUNS["green"]())
    assert report["format"] == 1 and list(report)[0] == "format"
    with pytest.raises(EdgeError, match="has format 2, and this release of edge_encryption.clone knows none above 1"):
        render(dict(report, format=2))
    without = {name: value for name, value in report.items() if name != "format"}
    assert render(without) == render(report)


def test_every_value_is_escaped():
    html = page("hostile")
    assert "<script>" not in html and "<img" not in html
    assert "&lt;script&gt;" in html and HOSTILE not in html


@pytest.mark.parametrize(("name", "word"), [("green", "Green"), ("red", "Red"), ("open", "Open"), ("paused", "Paused"), ("not begun", "Not begun")])
def test_the_result_is_on_top(name, word):
    assert re.search(r"<strong>([^<]+)</strong>", page(name)).group(1) == word


def test_a_run_that_was_never_begun_has_no_timeline():
    assert "<svg class=" not in page("not begun")


def test_a_long_error_is_folded_and_whole():
    html = page("long error")
    assert html.count("<details>") == 1 and ("Stop the proxies first, or set allow_connected. " * 1) in html
    assert len(re.search(r"<pre>(.*?)</pre>", html, re.DOTALL).group(1)) > 20000


def test_each_attempt_has_its_bar_and_the_last_its_label():
    picture = svg(page("repeated"))
    bars = [element.get("class") for element in picture.iter("rect") if (element.get("class") or "").startswith("bar ")]
    assert bars.count("bar bad") == 6  # three attempts each of two steps
    assert len([element for element in picture.iter("text") if (element.text or "").startswith("t55 keys")]) == 1


@pytest.mark.parametrize("name", [name for name in RUNS if name != "not begun"])
def test_the_picture_stays_in_its_frame_and_names_itself(name):
    picture = svg(page(name))
    width = float(picture.get("viewBox").split()[2])
    for strip in picture.iter("rect"):
        assert 0 <= float(strip.get("x")) and float(strip.get("x")) + float(strip.get("width")) <= width and float(strip.get("width")) > 0
    assert picture.get("role") == "img" and picture.find("title").text and picture.find("desc").text


def test_a_clone_of_9_hours_is_shortened_and_says_so():
    html = page("9 hours")
    assert [element.text for element in svg(html).iter("text") if element.get("class") == "gap-text"].count("9 h") == 1
    assert "the axis is shortened" in html


def test_the_scale_is_linear_where_things_happen_and_never_goes_back():
    scale = _Scale([0, 10, 20, 36000, 36010])
    places = [scale(moment) for moment in range(0, 36020, 5)]
    assert places == sorted(places)
    assert scale(10) - scale(0) == pytest.approx(scale(36010) - scale(36000)) and len(scale.gaps) == 1
    assert _Scale([0, 10, 20, 60, 61]).gaps == []


# Times


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "0 s"), (0.35, "0.3 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min"), (279, "4 min 39 s"), (3599.6, "1 h"), (32400, "9 h"), (200000, "2 d 8 h"),
])  # fmt: skip
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_times_are_read_in_every_form_and_nothing_else_is():
    assert seconds_of("2026-01-02T03:04:05.5Z") == seconds_of("2026-01-02 03:04:05") + 0.5
    assert stamp_of(seconds_of("2026-01-02T03:04:05Z")) == "2026-01-02T03:04:05Z"
    with pytest.raises(BadTime, match="Write it in UTC"):
        seconds_of("tomorrow")
