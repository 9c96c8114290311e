# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The report of a run as one HTML file that needs no network and no script."""

import typing as t
from html import escape

from ansible_collections.edge_encryption.clone.plugins.module_utils._formats import check_format
from ansible_collections.edge_encryption.clone.plugins.module_utils._report import FORMAT
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import LANES, in_words, seconds_of, stamp_of

Report = t.Dict[str, t.Any]

SHORT = 320  # characters of an error that stand in the open; the rest unfolds
HEADLINES = {
    "green": ("ok", "Green", "The clone is verified and in service."),
    "red": ("bad", "Red", "The run stopped."),
    "open": ("wait", "Open", "The run was begun and has not ended."),
    "paused": ("wait", "Paused", "The run goes on when it is started again."),
    "abandoned": ("bad", "Abandoned", "The run was given up."),
    "rolling_back": ("wait", "Rolling back", "Going back to before the clone has not ended."),
    "rolled_back": ("ok", "Rolled back", "The target is as before the clone."),
    "not_begun": ("wait", "Not begun", "The journal knows nothing of this run."),
}
STATES = {
    "done": ("ok", "done"),
    "failed": ("bad", "failed"),
    "started": ("wait", "not ended"),
    "waiting": ("wait", "waits for a person"),
    "not_run": ("none", "not run"),
}
RESULTS = {"passed": ("ok", "passed"), "failed": ("bad", "failed"), "not_known": ("none", "not known")}
MARKS = {"ok": "✓", "bad": "✕", "wait": "…", "none": "–"}


def render(report: Report) -> str:
    """Return the report as HTML. Every value in it is escaped.

    Raises:
        EdgeError: a newer release made the report.
    """
    check_format("report of the run " + str(report.get("run_id")), report.get("format", 1), FORMAT)
    kind, word, says = HEADLINES[report["result"] if report["opened"] else "not_begun"]
    safety = report["safety"] if kind != "ok" else ""
    title = "Clone {0} over {1}".format(report["clone_number"], report["target"])
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}: {word.lower()}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f'<header class="{kind}">\n<p class="run">Edge Encryption clone report</p>\n<h1>{escape(title)}</h1>',
        f'<p class="result"><span class="mark" aria-hidden="true">{MARKS[kind]}</span> <strong>{word}</strong> <span>{says} {escape(safety)}</span></p>',
        "</header>\n<main>",
        _summary(report),
        _open(report),
        _timeline(report),
        _check_table(report),
        _step_table(report),
        f"</main>\n<footer><p>Made from the journal of the run {escape(report['run_id'])} alone. All times are UTC.",
        "The complete evidence is in the JSON report beside this file.</p></footer>",
        "</body>\n</html>\n",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


# -- the parts -------------------------------------------------------------------------------------------------


def _summary(report: Report) -> str:
    clock = _Clock(report)
    outage, clone, tokens, signatures, verify = (report[name] for name in ("outage", "clone", "token_db", "signatures", "verify"))
    facts = []  # type: t.List[t.Tuple[str, str, str]]
    if outage["began"] and outage["ended"]:
        when = f"{clock(outage['began'])} to {clock(outage['ended'])}{_planned_outage(outage)}"
        facts.append(("Outage", in_words(_between(outage["began"], outage["ended"])), when))
    elif outage["began"]:
        facts.append(("Outage", "not over", f"since {clock(outage['began'])}{_planned_outage(outage)}"))
    else:
        facts.append(("Outage", "none", "the target proxies were not stopped"))
    if clone.get("started") and clone.get("completed"):
        facts.append(("Clone", in_words(_between(clone["started"], clone["completed"])), f"{clock(clone['started'])} to {clock(clone['completed'])}"))
    elif clone:
        facts.append(("Clone", str(clone.get("state") or "not known"), f"scheduled {clock(clone.get('scheduled'))}, started {clock(clone.get('started'))}"))
    if tokens:
        facts.append(("Tokens", "{0:,} rows".format(tokens.get("rows", 0)), "{0} tables, {1}".format(
            tokens.get("tables"), "verified" if tokens.get("verified") else "not verified")))  # fmt: skip
    if signatures.get("option") == "copied_key":
        facts.append(("Signatures", "source's key", "nothing was signed anew"))
    elif signatures.get("option"):
        again = "recreated" if signatures["option"] == "recreated" else "resigned"
        facts.append(("Signatures", "{0} of {1}".format(signatures.get(again, 0), signatures.get("records", 0)), f"rules and configurations {again}"))
    if verify.get("records") is not None:
        facts.append(("Values", "{0:,} of {1:,}".format(verify.get("readable_through_proxy", 0), verify["records"]), "readable through every target proxy"))
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b> <span>{escape(more)}</span></dd></div>" for name, value, more in facts)
    return f'<section aria-labelledby="summary">\n<h2 id="summary" class="unseen">Summary</h2>\n<dl class="facts">{tiles}</dl>\n</section>'


def _planned_outage(outage: t.Dict[str, t.Any]) -> str:
    if not (outage["planned_began"] and outage["planned_ended"]):
        return ""
    return ", planned " + in_words(_between(outage["planned_began"], outage["planned_ended"]))


def _open(report: Report) -> str:
    if not report["open"] and not report["way_out"]:
        return ""
    points = "".join(f"<li>{_long(point)}</li>" for point in report["open"])
    ways = "".join(f"<li>{escape(way['why'])}: <code>{escape(way['command'])}</code></li>" for way in report["way_out"])
    return '<section class="open" aria-labelledby="open">\n<h2 id="open">Still open</h2>\n{0}{1}</section>'.format(
        f"<ul>{points}</ul>\n" if points else "", f"<h3>The way out</h3>\n<ul>{ways}</ul>\n" if ways else "")  # fmt: skip


def _long(text: str) -> str:
    if len(text) <= SHORT:
        return escape(text)
    return "{0}… <details><summary>The whole message ({1:,} characters)</summary><pre>{2}</pre></details>".format(
        escape(text[:SHORT].rsplit(" ", 1)[0]), len(text), escape(text))  # fmt: skip


def _check_table(report: Report) -> str:
    rows = "".join(
        '<tr><th scope="row">{0}</th><td>{1}</td><td>{2}</td><td>{3}</td></tr>\n'.format(
            escape(check["check"]), _badge(RESULTS[check["result"]]), _long(check["evidence"]) or "–", escape(check["step"][:3]))
        for check in report["checks"])  # fmt: skip
    return (
        '<section aria-labelledby="checks">\n<h2 id="checks">Checks</h2>\n'
        '<div class="scroll" role="region" aria-labelledby="checks" tabindex="0"><table>\n<thead><tr>'
        '<th scope="col">Check</th><th scope="col">Result</th><th scope="col">Evidence</th><th scope="col">Step</th></tr></thead>\n'
        f"<tbody>{rows}</tbody>\n</table></div>\n</section>"
    )


def _step_table(report: Report) -> str:
    clock, names, rows = _Clock(report), dict(LANES), []
    for strip in _clone_bars(report):
        cells = [clock(stamp_of(strip.start)), clock(stamp_of(strip.end)) if strip.end else "–", in_words(strip.end - strip.start) if strip.end else "–"]
        rows.append((strip.start, _row("clone", escape(strip.name), names[strip.lane], "–", *cells, "–")))
    last = 0.0
    for step in report["steps"]:
        # What has not happened stays where it is on the timeline.
        last = seconds_of(step["started"]) if step["started"] else last
        kind, word = STATES[step["status"]]
        began = max(step["started"], report["outage"]["began"]) if step["id"] == "t30_clone_start" and report["outage"]["began"] else step["started"]
        if len(step["attempts"]) > 1:
            word += ", {0} attempts".format(len(step["attempts"]))
        took = in_words(_between(began, step["ended"])) if began and step["ended"] else "–"
        name = f"{escape(step['id'].replace('_', ' '))} <span>{escape(step['title'])}</span>"
        planned = clock((step["planned"] or {}).get("start"))
        rows.append((last, _row("step", name, names[step["lane"]], planned, clock(began), clock(step["ended"]), took, _badge((kind, word)))))
    body = "".join(row for _time, row in sorted(rows, key=lambda pair: pair[0]))
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Step", "Where", "Planned", "Began", "Ended", "Took", "State"))
    return (
        '<section aria-labelledby="steps">\n<h2 id="steps">Steps</h2>\n<div class="scroll" role="region" aria-labelledby="steps" tabindex="0">'
        f'<table class="steps">\n<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody>\n</table></div>\n</section>'
    )


def _row(kind: str, name: str, *cells: str) -> str:
    return f'<tr class="{kind}"><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _badge(state: t.Tuple[str, str]) -> str:
    kind, word = state
    return f'<span class="badge {kind}"><span aria-hidden="true">{MARKS[kind]}</span> {escape(word)}</span>'


class _Clock:
    """Times of day, with the date where the report spans more than one."""

    def __init__(self, report: Report) -> None:
        self.with_date = len({stamp_of(moment)[:10] for strip in _bars(report) for moment in (strip.start, strip.end) if moment}) > 1

    def __call__(self, stamp: t.Optional[str]) -> str:
        if not stamp:
            return "–"
        whole = stamp_of(seconds_of(stamp))
        return f"{whole[5:10]} {whole[11:19]}" if self.with_date else whole[11:19]


def _between(began: str, ended: str) -> float:
    return max(seconds_of(ended) - seconds_of(began), 0.0)


# -- the timeline ----------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT = 960.0, 128.0, 948.0
ROW, HEAD, PAD = 27.0, 54.0, 4.0
CHARACTER = 6.6  # generous width of a character of a label, so that labels never meet whatever the font
GAP = 84.0  # width of a stretch of time that is shortened because nothing begins or ends in it
MAX_GAPS = 4
KEYS = (
    ("ok", "done"),
    ("bad", "failed"),
    ("wait", "not ended or waiting"),
    ("clone", "instance and databases by themselves"),
    ("planned", "planned"),
    ("outage", "out of service"),
)
TICKS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


class _Bar(t.NamedTuple):
    lane: str
    name: str
    kind: str
    start: float
    end: t.Optional[float]  # None: the journal does not know it
    planned: t.Optional[t.Tuple[float, float]]
    labelled: bool


def _bars(report: Report) -> t.List[_Bar]:
    bars = _clone_bars(report)
    for step in report["steps"]:
        planned = step["planned"]
        span = (seconds_of(planned["start"]), seconds_of(planned["end"] or planned["start"])) if planned else None
        for attempt in step["attempts"]:
            last = attempt is step["attempts"][-1]
            kind = STATES[attempt["status"]][0]
            start = seconds_of(attempt["started"])
            if step["id"] == "t30_clone_start" and report["outage"]["began"] and last:
                start = max(start, seconds_of(report["outage"]["began"]))  # before that, it waited until the proxies had to go down
            end = seconds_of(attempt["ended"]) if attempt["ended"] else None
            name = step["id"].replace("_", " ")
            bars.append(_Bar(step["lane"], name, kind, start, None if end is None else max(start, end), span if last else None, last))
    return sorted(bars, key=lambda strip: strip.start)


def _clone_bars(report: Report) -> t.List[_Bar]:
    """What the instances and databases did by themselves, as evidence tells."""
    clone, bars = report["clone"], []
    if clone.get("backup_completed"):
        backup = [seconds_of(clone.get("backup_started") or clone["backup_completed"]), seconds_of(clone["backup_completed"])]
        bars.append(_Bar("source_instance", "instance backup", "clone", backup[0], backup[1], None, True))
    if clone.get("started"):
        end = seconds_of(clone["completed"]) if clone.get("completed") else None
        bars.append(_Bar("target_instance", "the clone", "clone", seconds_of(clone["started"]), end, None, True))
    for step in report["steps"]:
        safety = step["evidence"].get("safety_snapshot") or {}
        if safety.get("began") and safety.get("ended"):
            bars.append(_Bar("target_db", "safety snapshot", "clone", seconds_of(safety["began"]), seconds_of(safety["ended"]), None, True))
    return bars


class _Scale:
    """Time to pixels. Long stretches in which nothing begins or ends are shortened and say so."""

    def __init__(self, moments: t.Iterable[float]) -> None:
        self.points = sorted(set(moments))
        if len(self.points) == 1:
            self.points.append(self.points[0] + 1)
        lengths = [after - before for before, after in zip(self.points, self.points[1:])]
        short = set()  # type: t.Set[int]
        while len(short) < min(MAX_GAPS, len(lengths) - 1):
            rest = [index for index in range(len(lengths)) if index not in short]
            longest = max(rest, key=lambda index: lengths[index])
            if lengths[longest] < 600 or lengths[longest] < 0.25 * sum(lengths[index] for index in rest):
                break
            short.add(longest)
        linear = sum(length for index, length in enumerate(lengths) if index not in short)
        factor = (RIGHT - LEFT - 24 - GAP * len(short)) / linear
        self.places, self.gaps, self.stretches = [LEFT + 12], [], [[self.points[0], self.points[0]]]
        for index, length in enumerate(lengths):
            self.places.append(self.places[-1] + (GAP if index in short else length * factor))
            if index in short:
                self.gaps.append((self.places[-2], length))
                self.stretches.append([self.points[index + 1], self.points[index + 1]])
            else:
                self.stretches[-1][1] = self.points[index + 1]

    def __call__(self, moment: float) -> float:
        for index, point in enumerate(self.points[1:]):
            if moment <= point:
                before = self.points[index]
                return self.places[index] + (self.places[index + 1] - self.places[index]) * max(moment - before, 0) / (point - before)
        return self.places[-1]

    def ticks(self) -> t.List[t.Tuple[float, str, str]]:
        """Return place, time and date of ticks that leave each other room."""
        ticks, right = [], 0.0
        for begin, end in self.stretches:
            room = max(self(end) - self(begin), 1.0)
            steps = [step for step in TICKS if (end - begin) / step * 74 <= room]
            step = steps[0] if steps else 86400
            moments = [begin] + [moment for moment in _multiples(begin, end, step) if self(moment) - self(begin) > 64]
            for moment in moments:
                text = stamp_of(moment)[11:19] if step < 60 or moment == begin else stamp_of(moment)[11:16]
                if self(moment) - 28 >= right and self(moment) + 28 <= WIDTH:
                    ticks.append((self(moment), text, stamp_of(moment)[:10]))
                    right = self(moment) + 32
        return ticks


def _multiples(begin: float, end: float, step: int) -> t.Iterator[float]:
    moment = (begin // step + 1) * step
    while moment <= end:
        yield moment
        moment += step


class _Rows:
    """Puts what would meet in one row into several."""

    def __init__(self) -> None:
        self.taken = []  # type: t.List[t.List[t.Tuple[float, float]]]

    def place(self, left: float, right: float) -> int:
        for number, row in enumerate(self.taken):
            if all(right + 8 <= other_left or other_right + 8 <= left for other_left, other_right in row):
                row.append((left, right))
                return number
        self.taken.append([(left, right)])
        return len(self.taken) - 1


def _timeline(report: Report) -> str:
    bars = _bars(report)
    if not bars:
        return ""
    outage = {name: seconds_of(report["outage"][name]) for name in ("began", "ended") if report["outage"][name]}
    known = [moment for strip in bars for moment in (strip.start, strip.end) + (strip.planned or ()) if moment is not None] + list(outage.values())
    scale = _Scale(known)
    below, bodies, labels, top = [], [], [], HEAD
    for number, (lane, title) in enumerate(LANES):
        rows, drawn = _Rows(), [strip for strip in bars if strip.lane == lane]
        placed = [(strip, _extent(strip, scale)) for strip in drawn]
        numbers = {}  # type: t.Dict[str, int]
        for name in [strip.name for strip in drawn]:
            if name not in numbers:  # all attempts of a step lie in one row
                extents = [extent for strip, extent in placed if strip.name == name]
                numbers[name] = rows.place(min(extent[0] for extent in extents), max(extent[1] for extent in extents))
        height = max(len(rows.taken), 1) * ROW + 2 * PAD
        below.append(f'<rect class="lane{number % 2}" x="0" y="{top:.1f}" width="{WIDTH:.0f}" height="{height:.1f}"/>')
        labels.append(f'<text class="lane" x="10" y="{top + PAD + 15:.1f}">{title}</text>')
        for strip, extent in placed:
            body, label = _draw(strip, extent, scale, top + PAD + numbers[strip.name] * ROW)
            bodies.append(body)
            labels.append(label)
        top += height
    if "began" in outage:
        left, right = scale(outage["began"]), scale(outage["ended"]) if "ended" in outage else RIGHT
        over = "out of service" + (f" {in_words(outage['ended'] - outage['began'])}" if "ended" in outage else ", not over")
        wide = len(over) * CHARACTER
        at = min(left, RIGHT - wide)
        below.append(f'<rect class="outage" x="{left:.1f}" y="{HEAD - 6:.1f}" width="{max(right - left, 2):.1f}" height="{top - HEAD + 6:.1f}"/>')
        labels.append(f'<path class="outage-line" d="M{left:.1f} {HEAD - 6:.1f}H{max(right, left + 2):.1f}"/>')
        labels.append(f'<text class="outage-text" x="{at:.1f}" y="11">{over}</text>')
    for left, length in scale.gaps:
        below.append(f'<rect class="gap" x="{left + 6:.1f}" y="{HEAD:.1f}" width="{GAP - 12:.1f}" height="{top - HEAD:.1f}"/>')
        labels.append(f'<text class="gap-text" text-anchor="middle" x="{left + GAP / 2:.1f}" y="{top + 14:.1f}">{in_words(length)}</text>')
        below.append(f'<path class="gap-mark" d="M{left + GAP / 2 - 6:.1f} {top + 2:.1f}l4 -8M{left + GAP / 2 + 2:.1f} {top + 2:.1f}l4 -8"/>')
    shown, right = "", 0.0
    for place, text, date in scale.ticks():
        below.append(f'<path class="tick" d="M{place:.1f} {HEAD - 6:.1f}V{top:.1f}"/>')
        labels.append(f'<text class="tick-text" text-anchor="middle" x="{place:.1f}" y="{HEAD - 12:.1f}">{text}</text>')
        if date != shown and place - 34 >= right:
            labels.append(f'<text class="tick-text" text-anchor="middle" x="{max(place, 34):.1f}" y="{HEAD - 26:.1f}">{date}</text>')
            shown, right = date, place + 40
    height = top + (20 if scale.gaps else 4)
    named = {lane: ", ".join(strip.name for strip in bars if strip.lane == lane and strip.labelled) or "nothing" for lane, _title in LANES}
    sentence = " ".join(f"{title}: {named[lane]}." for lane, title in LANES)
    used = {strip.kind for strip in bars} | {"planned" for strip in bars if strip.planned} | ({"outage"} if "began" in outage else set())
    legend = "".join(_key(kind, says) for kind, says in KEYS if kind in used)
    note = " Where nothing begins or ends for long, the axis is shortened; the length stands below it." if scale.gaps else ""
    return (
        '<section aria-labelledby="timeline">\n<h2 id="timeline">Timeline</h2>\n<figure>\n'
        '<div class="scroll" role="region" aria-labelledby="timeline" tabindex="0">'
        f'<svg class="timeline" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-labelledby="svg-title" aria-describedby="svg-desc">'
        f'<title id="svg-title">Timeline of the clone {escape(report["clone_number"])}</title>'
        f'<desc id="svg-desc">{escape(sentence)} The table of steps below has the same with its times.</desc>\n'
        f"{''.join(below)}\n{''.join(bodies)}\n{''.join(labels)}\n</svg></div>\n"
        f'<figcaption><ul class="legend">{legend}</ul><p>{"Planned against actual" if "planned" in used else "Times"}, in UTC.{note} '
        'The same <a href="#steps">as a table</a>.</p></figcaption>\n</figure>\n</section>'
    )


def _key(kind: str, says: str) -> str:
    top, height = (3.0, 3) if kind == "planned" else (0.5, 8)
    picture = f'<rect class="bar {kind}" x="0.5" y="{top}" width="21" height="{height}"/>'
    return f'<li><svg width="22" height="9" aria-hidden="true" focusable="false">{picture}</svg> {says}</li>'


def _text(strip: _Bar) -> str:
    if not strip.labelled:
        return ""
    took = "not ended" if strip.end is None else in_words(strip.end - strip.start)
    return f"{strip.name} · {took}" + (" · failed" if strip.kind == "bad" else "")


def _extent(strip: _Bar, scale: _Scale) -> t.Tuple[float, float, float, str]:
    """Return how far a bar reaches with its label and its plan, and where the label goes."""
    left = scale(strip.start)
    right = max(scale(strip.end) if strip.end is not None else left, left + 3)
    wide = len(_text(strip)) * CHARACTER
    at, anchor = (left, "start") if left + wide <= RIGHT + 6 else (right, "end")
    low, high = (left, left + wide) if anchor == "start" else (right - wide, right)
    planned = [scale(moment) for moment in strip.planned or ()]
    return min([left, low] + planned), max([right, high] + planned), at, anchor


def _draw(strip: _Bar, extent: t.Tuple[float, float, float, str], scale: _Scale, top: float) -> t.Tuple[str, str]:
    left = scale(strip.start)
    right = max(scale(strip.end) if strip.end is not None else left, left + 3)
    body = f'<rect class="bar {strip.kind}" x="{left:.1f}" y="{top + 14:.1f}" width="{right - left:.1f}" height="6" rx="1.5"/>'
    if strip.planned:
        begin, end = scale(strip.planned[0]), scale(strip.planned[1])
        body += f'<rect class="bar planned" x="{begin:.1f}" y="{top + 22:.1f}" width="{max(end - begin, 3):.1f}" height="2.5"/>'
    if strip.kind == "bad":
        body += f'<path class="cross" d="M{right - 3:.1f} {top + 14:.1f}l6 6m0 -6l-6 6"/>'
    text = _text(strip)
    return body, f'<text class="name" text-anchor="{extent[3]}" x="{extent[2]:.1f}" y="{top + 10:.1f}">{escape(text)}</text>' if text else ""


LIGHT = (
    "--page:#f6f7f9;--sheet:#fff;--text:#1c2128;--muted:#545d68;--line:#d5dae0;--ok:#146c3f;--bad:#b3261e;--wait:#8a5a00;--clone:#4d6f9e;"
    "--lane:#f3f5f8;--outage:#fdf1ee;--outage-line:#b3261e;--gap:#e6eaf0;--link:#0a58b5;"
    "--ok-soft:#e5f4ec;--bad-soft:#fcebe9;--wait-soft:#fdf3dc;--none-soft:#eef0f3;"
)
DARK = (
    "--page:#0e1216;--sheet:#161b21;--text:#e8ebee;--muted:#a8b1bb;--line:#343c46;--ok:#57c98d;--bad:#ff9389;--wait:#f2bd4b;--clone:#8db4e6;"
    "--lane:#1b2129;--outage:#2c1e20;--outage-line:#ff9389;--gap:#2a323c;--link:#8cc2ff;"
    "--ok-soft:#16301f;--bad-soft:#3b1f1d;--wait-soft:#352a12;--none-soft:#252c35;"
)
STYLE = f"""
:root{{color-scheme:light dark;{LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--text);font-variant-numeric:tabular-nums;
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
header,main,footer{{max-width:1080px;margin:0 auto;padding:0 24px}}
header{{padding-top:32px}}
.run{{margin:0;color:var(--muted);font-size:13px;letter-spacing:.02em}}
h1{{margin:2px 0 12px;font-size:28px;line-height:1.2;font-weight:650;overflow-wrap:anywhere}}
h2{{margin:0 0 10px;font-size:17px;font-weight:650}}
h3{{margin:12px 0 4px;font-size:14px}}
.result{{margin:0;padding:12px 16px;border-radius:8px;border-left:5px solid;overflow-wrap:anywhere}}
.result strong{{font-size:17px;margin-right:6px}}.result .mark{{font-weight:700;margin-right:4px}}
.ok .result{{background:var(--ok-soft);border-color:var(--ok)}}.bad .result{{background:var(--bad-soft);border-color:var(--bad)}}
.wait .result{{background:var(--wait-soft);border-color:var(--wait)}}
.ok .result strong,.ok .mark{{color:var(--ok)}}.bad .result strong,.bad .mark{{color:var(--bad)}}.wait .result strong,.wait .mark{{color:var(--wait)}}
section{{margin:18px 0;padding:16px 18px;background:var(--sheet);border:1px solid var(--line);border-radius:8px}}
section[aria-labelledby=summary]{{padding:0;overflow:hidden}}
.unseen{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}}
.facts{{display:flex;flex-wrap:wrap;gap:1px;margin:0;background:var(--line)}}
.facts div{{flex:1 1 165px;padding:12px 18px;background:var(--sheet)}}
dt{{color:var(--muted);font-size:13px}}dd{{margin:0}}dd b{{display:block;font-size:20px;font-weight:650}}dd span{{color:var(--muted);font-size:13px}}
.open{{border-left:5px solid var(--wait)}}.bad~main .open{{border-left-color:var(--bad)}}
.open ul{{margin:0;padding-left:20px}}.open li{{margin:4px 0;overflow-wrap:anywhere}}.open code{{display:block;padding:5px 10px;margin:3px 0 8px}}
code,pre{{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}}
code{{background:var(--none-soft);padding:1px 5px;border-radius:4px}}pre{{white-space:pre-wrap;overflow-wrap:anywhere;margin:6px 0 0}}
details{{margin-top:4px}}summary{{cursor:pointer;color:var(--link)}}a{{color:var(--link)}}
:focus-visible{{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}}
figure{{margin:0}}
figcaption{{display:flex;flex-wrap:wrap;justify-content:space-between;gap:4px 24px;margin-top:10px;color:var(--muted);font-size:13px}}
figcaption p{{margin:0}}
.legend{{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0;padding:0;list-style:none}}.legend svg{{vertical-align:-1px}}
.scroll{{overflow-x:auto}}
.timeline{{display:block;width:100%;min-width:720px;height:auto}}
.timeline text{{font-size:11px;fill:var(--text)}}.timeline .lane{{font-weight:600;font-size:12px}}
.lane0{{fill:var(--lane)}}.lane1{{fill:var(--sheet)}}.outage{{fill:var(--outage)}}.outage-line{{stroke:var(--outage-line);stroke-width:2}}
.timeline .outage-text{{fill:var(--outage-line);font-weight:600}}
.gap{{fill:var(--gap);opacity:.6}}.gap-mark{{stroke:var(--muted);stroke-width:1.5;fill:none}}.tick{{stroke:var(--line);stroke-width:1}}
.timeline .tick-text,.timeline .gap-text{{fill:var(--muted)}}
.bar.ok{{fill:var(--ok)}}.bar.bad{{fill:var(--bad)}}.bar.wait{{fill:var(--wait)}}.bar.clone{{fill:var(--clone)}}.bar.planned{{fill:var(--muted)}}
.bar.outage{{fill:var(--outage);stroke:var(--outage-line)}}.cross{{stroke:var(--bad);stroke-width:2;fill:none}}
table{{width:100%;border-collapse:collapse;font-size:14px}}
th,td{{padding:6px 10px 6px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}}
tbody tr:last-child>*{{border-bottom:0}}thead th{{color:var(--muted);font-weight:500;font-size:13px}}tbody th{{font-weight:600}}
tbody th span{{display:block;color:var(--muted);font-weight:400;font-size:13px}}
td{{overflow-wrap:anywhere}}.steps td{{white-space:nowrap}}tr.clone th,tr.clone td{{color:var(--muted);font-weight:400}}
.badge{{white-space:nowrap;padding:1px 8px;border-radius:9px;font-size:13px}}
.badge.ok{{color:var(--ok);background:var(--ok-soft)}}.badge.bad{{color:var(--bad);background:var(--bad-soft)}}
.badge.wait{{color:var(--wait);background:var(--wait-soft)}}.badge.none{{color:var(--muted);background:var(--none-soft)}}
footer{{padding-bottom:32px;color:var(--muted);font-size:13px}}footer p{{margin:0;overflow-wrap:anywhere}}
@page{{size:A4 portrait;margin:9mm}}
@media print{{
:root{{color-scheme:light;{LIGHT}--page:#fff}}
*{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
body{{font-size:7.5pt;line-height:1.25}}header,main,footer{{max-width:none;padding:0}}
h1{{font-size:13pt;margin:0 0 3px}}h2{{font-size:9pt;margin:0 0 2px}}h3{{font-size:7.5pt;margin:2px 0 0}}
.run,footer,dt,dd span,figcaption,code,pre{{font-size:7pt}}
.result{{padding:3px 8px}}.result strong{{font-size:9pt}}section{{margin:5px 0;padding:4px 8px;break-inside:avoid}}
.facts div{{padding:3px 8px;flex-basis:90px}}dd b{{font-size:10pt}}.open li{{margin:1px 0}}.open code{{display:inline;padding:0 3px;margin:0}}
.open ul{{padding-left:14px}}details{{display:none}}
.scroll{{overflow:visible}}.timeline{{min-width:0;max-height:74mm}}.open~section .timeline{{max-height:58mm}}
table,thead th,.badge,tbody th span{{font-size:6.8pt}}th,td{{padding:.6px 6px .6px 0;line-height:1.2}}.badge{{padding:0 5px}}
.steps tbody th span{{display:inline;margin-left:4px}}tbody th{{white-space:nowrap}}
figcaption{{margin-top:3px}}
}}
"""
