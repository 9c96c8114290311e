# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as people see, print and hear it, in a real browser."""

import base64
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._report import build_report
from ansible_collections.edge_encryption.clone.plugins.module_utils._report_html import render
from ansible_collections.edge_encryption.clone.tests.browser.chromium import Chromium
from ansible_collections.edge_encryption.clone.tests.unit.report_runs import RUNS

pytestmark = pytest.mark.long
PRINTED = [name for name in RUNS if name != "hostile"]  # the names of instances and clones are short, which the journal sees to

# The boxes of all texts: in HTML by line of each text node, in SVG by element. Only what is shown counts.
BOXES = """(() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (!node.data.trim() || owner.closest('.unseen, title, desc, style') || !owner.checkVisibility()) continue;
    const range = document.createRange(); range.selectNodeContents(node);
    const boxes = owner.closest('svg') ? [owner.getBoundingClientRect()] : [...range.getClientRects()];
    for (const box of boxes) if (box.width) found.push({text: node.data.trim().slice(0, 40), svg: !!owner.closest('svg'),
      left: box.left, right: box.right, top: box.top, bottom: box.bottom});
  }
  return found;
})()"""
# What is cut off: boxes whose content is larger than they are, unless they scroll; and texts of the picture outside of it.
CLIPPED = """(() => {
  const found = [];
  for (const one of document.body.querySelectorAll('*')) {
    if (one.closest('.unseen') || !one.checkVisibility() || one instanceof SVGElement) continue;
    const style = getComputedStyle(one);
    if (style.overflowX !== 'hidden') continue;
    if (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1) found.push(one.outerHTML.slice(0, 80));
  }
  const picture = document.querySelector('svg.timeline');
  if (picture) {
    const frame = picture.getBoundingClientRect();
    for (const text of picture.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) found.push(text.textContent);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window');
  return found;
})()"""
# Contrast of each text against what is painted below it: all boxes and rectangles under its middle, from the back to the front.
CONTRAST = """(() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, base) => [0, 1, 2].map(i => top[i] * top[3] + base[i] * (1 - top[3]));
  const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (!node.data.trim() || owner.closest('.unseen, title, desc, style') || !owner.checkVisibility()) continue;
    const svg = owner.closest('svg'), style = getComputedStyle(owner), box = owner.getBoundingClientRect();
    const chain = []; for (let one = svg || owner; one; one = one.parentElement) chain.unshift(one);
    let base = [255, 255, 255];
    for (const one of chain) base = over(parse(getComputedStyle(one).backgroundColor), base);
    if (svg) for (const rect of svg.querySelectorAll('rect')) {
      const under = rect.getBoundingClientRect();
      // The least favourable: everything that a text touches is taken to be below it.
      if (under.left < box.right && under.right > box.left && under.top < box.bottom - 2 && under.bottom > box.top + 2) {
        const paint = getComputedStyle(rect), colour = parse(paint.fill); colour[3] *= Number(paint.opacity); base = over(colour, base); }
    }
    const ink = over(parse(svg ? style.fill : style.color), base), [one, two] = [light(ink), light(base)];
    found.push([(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), node.data.trim().slice(0, 40)]);
  }
  return found;
})()"""

FOCUSED = """(() => {
  const one = document.activeElement, style = getComputedStyle(one);
  return [one.tagName, one.getAttribute('aria-labelledby') || one.getAttribute('href') || '', style.outlineStyle, parseFloat(style.outlineWidth)];
})()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> t.Dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, make in RUNS.items():
        found[name] = folder / f"{name.replace(' ', '_')}.html"
        found[name].write_text(render(build_report(make())))
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Chromium]:
    assert shutil.which("chromium"), "tests/install-debian-packages tests/browser/debian-packages.txt installs it"
    one = Chromium(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_asked_of_a_network_and_nothing_complains(browser: Chromium, pages: t.Dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.complaints() == []


def test_the_browser_would_tell_of_requests_and_complaints(browser: Chromium, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text('<!DOCTYPE html><title>x</title><img src="http://192.0.2.1/x.png"><script>console.error("no")</script>')
    browser.open(file)
    assert "http://192.0.2.1/x.png" in browser.requests() and browser.complaints()


@pytest.mark.parametrize("width", [1200, 768, 360])
@pytest.mark.parametrize("name", RUNS)
def test_no_text_meets_another_or_is_cut_off(browser: Chromium, pages: t.Dict[str, Path], name: str, width: int) -> None:
    browser.open(pages[name], width=width)
    boxes = browser.evaluate(BOXES)
    assert len(boxes) > 20
    assert _meeting(boxes) == []
    assert browser.evaluate(CLIPPED) == []


def _meeting(boxes: t.List[t.Dict[str, t.Any]]) -> t.List[t.Tuple[str, str]]:
    ordered = sorted(boxes, key=lambda box: box["top"])
    found = []
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other["top"] >= one["bottom"] - 1:
                break
            # The boxes of lines are higher than their letters: a third of the height may be shared.
            shared = min(one["bottom"], other["bottom"]) - other["top"]
            if shared > (one["bottom"] - one["top"]) / 3 and other["left"] < one["right"] - 1 and one["left"] < other["right"] - 1:
                found.append((one["text"], other["text"]))
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", RUNS)
def test_every_text_stands_out(browser: Chromium, pages: t.Dict[str, Path], name: str, dark: bool) -> None:
    browser.open(pages[name], dark=dark)
    page = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page == ("rgb(14, 18, 22)" if dark else "rgb(246, 247, 249)")
    contrasts = browser.evaluate(CONTRAST)
    assert len(contrasts) > 20
    assert [pair for pair in contrasts if pair[0] < 4.5] == []


@pytest.mark.parametrize("name", PRINTED)
def test_it_prints_on_one_page_of_a4(browser: Chromium, pages: t.Dict[str, Path], name: str, tmp_path: Path) -> None:
    browser.open(pages[name], dark=True)  # paper is white all the same
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]))
    said = subprocess.run(["pdfinfo", str(pdf)], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Pages:\s+1$", said, re.MULTILINE), said
    assert re.search(r"^Page size:\s+59[45](\.\d+)? x 84[12](\.\d+)? pts", said, re.MULTILINE), said
    words = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    assert "t99" in words and "Made from the journal" in words


@pytest.mark.parametrize("name", ["green", "red"])
def test_a_screen_reader_finds_its_way(browser: Chromium, pages: t.Dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    nodes = [node for node in browser.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
    heard = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    roles = [role for role, _name in heard]
    assert roles.count("main") == roles.count("banner") == roles.count("contentinfo") == 1
    headings = [text for role, text in heard if role == "heading"]
    open_points = ["Still open", "The way out"] if name == "red" else []
    assert headings == ["Clone CLN0001234 over acmetest", "Summary", *open_points, "Timeline", "Checks", "Steps"]
    assert [text for role, text in heard if role in ("img", "image") and text] == ["Timeline of the clone CLN0001234"]
    (picture,) = [node for node in nodes if node["role"]["value"] in ("img", "image") and node.get("name", {}).get("value")]
    assert "Target proxies: t30 clone start" in picture["description"]["value"] and "The table of steps" in picture["description"]["value"]
    assert roles.count("table") == 2
    assert [text for role, text in heard if role == "columnheader"] == [
        "Check", "Result", "Evidence", "Step", "Step", "Where", "Planned", "Began", "Ended", "Took", "State"
    ]  # fmt: skip
    assert {"t50 clone end the source's tokens in place", "the clone", "instance backup"} <= {text for role, text in heard if role == "rowheader"}


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Chromium, pages: t.Dict[str, Path]) -> None:
    browser.open(pages["long error"])
    seen = []
    for _press in range(8):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(browser.evaluate(FOCUSED))
    reached = {(tag, name) for tag, name, _style, _width in seen}
    assert {("SUMMARY", ""), ("DIV", "timeline"), ("A", "#steps"), ("DIV", "checks"), ("DIV", "steps")} <= reached
    assert all(style == "solid" and width >= 3 for tag, _name, style, width in seen if tag != "BODY")


def test_a_folded_error_unfolds_without_a_script(browser: Chromium, pages: t.Dict[str, Path]) -> None:
    browser.open(pages["long error"])
    assert browser.evaluate("document.querySelector('pre').checkVisibility()") is False
    browser.evaluate("document.querySelector('summary').click()")
    assert browser.evaluate("document.querySelector('pre').checkVisibility()") is True
    assert _meeting(browser.evaluate(BOXES)) == []
