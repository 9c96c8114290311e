# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs as the journal tells them, for the tests of report and plan."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._plan import build_plan
from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import _apply
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS, seconds_of, stamp_of

START = "2026-01-02T21:00:00Z"
HOSTILE = '<script>alert("1")</script> & <img src="http://example.com/x.png" onerror=alert(2)>'
Run = t.Dict[str, t.Any]


def facts(**changes: t.Any) -> t.Dict[str, t.Any]:
    """What a plan is made of: one key of the source is missing on a target proxy, and the signature keys differ."""
    key = {"alias": "aes128prod", "size": 128, "type": "secret_key", "fingerprint": "aa" * 32}
    return {
        "now": seconds_of(START), "target": "acmetest", "planned_start": "", "backup_time": "", "stop_lead_s": 600, "runner": "runner",
        "clone": {"number": "CLN0001234", "state": "Scheduled", "source": "acmeprod", "scheduled": stamp_of(seconds_of(START) + 3600), "exclusions": []},
        "options": {"encryption": "same_key", "signatures": "resigned", "tokenization": True},
        "source_proxy": {"name": "edge_source_1", "keys": [key], "signature_key": {"alias": "edgesign", "fingerprint": "bb" * 32}},
        "target_proxies": [
            {"name": "edge_target_1", "keys": [], "signature_key": {"alias": "edgesign", "fingerprint": "cc" * 32}},
            {"name": "edge_target_2", "keys": [key], "signature_key": {"alias": "edgesign", "fingerprint": "cc" * 32}},
        ],
        "records": 14, "database": {"rows": 1800000, "tables": 3, "bytes": 200000000},
        "tokens_needed": ["the tokenization pattern SSN"], "missing": [],
        "runs": [],
        **changes,
    }  # fmt: skip


def run(
    clone_s: float = 2400,
    step_s: float = 30,
    stop_at: t.Optional[str] = None,
    error: t.Optional[str] = None,
    attempts: int = 1,
    wait_s: float = 3000,
    text: str = "",
    rows: int = 1800000,
    closed: bool = True,
    pause_after: t.Optional[str] = None,
) -> Run:
    """Return a run whose clone takes C(clone_s) and each step C(step_s); it fails in C(stop_at), or dies there when no error is given."""
    state = dict(not_begun(), run_id="acmetest/CLN0001234" + text, target="acmetest" + text, clone="CLN0001234" + text)
    now = seconds_of(START)
    begin = now + wait_s + 4 * step_s
    lead = min(600, wait_s)
    planned = build_plan(facts(stop_lead_s=lead, clone={"number": "CLN0001234", "scheduled": stamp_of(begin), "exclusions": []}))
    clone = {"number": "CLN0001234", "state": "Completed", "source": "acmeprod", "scheduled": stamp_of(begin), "started": stamp_of(begin),
             "backup_started": stamp_of(now - 7200), "backup_completed": stamp_of(now - 3600)}  # fmt: skip
    evidence = {
        "t00_preflight": {"clone": {"scheduled": stamp_of(begin)}, "source": "acmeprod", "target": "acmetest" + text,
                          "plan": planned, "options": planned["options"]},
        "t35_stage": {"clone": clone, "snapshot": {"id": "S1" + text, "rows": rows, "began": stamp_of(now + 20), "ended": stamp_of(now + 24)},
                      "timings": {"load_s": 8.0, "check_s": 2.0}},
        "t40_wait_clone": {"clone": dict(clone, completed=stamp_of(begin + clone_s))},
        "t50_clone_end": {"token_db": {"tables": 3, "rows": rows, "verified": True, "previous_schema": "edgeencryption_prev_acmetest_cln0001234_cb3b5067"},
                          "timings": {"swap_s": 0.02}},
        "t55_keys": {"keys": [{"alias": "aes128prod", "fingerprint": "aa" * 32}], "encryption_option": "same_key"},
        "t57_registration": {"proxies": ["edge_target_1", "edge_target_2"], "service_account_proven": True},
        "t70_signatures": {"signatures": {"option": "resigned", "records": 18, "resigned": 14}},
        "t90_verify": {"verify": {"records": 103, "readable_through_proxy": 103, "cipher_text_without_proxy": 103, "failures": []}},
    }  # fmt: skip
    _apply(state, {"event": "opened", "time": stamp_of(now)})
    for step in STEP_IDS:
        if step == "t80_rotate_key":
            continue
        for attempt in range(attempts if step in ("t55_keys", "t70_signatures") else 1):
            _apply(state, {"event": "step", "step": step, "status": "started", "evidence": {}, "error": None, "time": stamp_of(now)})
            if step == "t30_clone_start":
                now = max(now, begin - lead)
            if step == "t40_wait_clone":
                now = max(now, begin + clone_s)
            now += step_s
            again = step in ("t55_keys", "t70_signatures") and attempt < attempts - 1
            if step == stop_at and error is None:
                return state
            failed = again or step == stop_at
            _apply(state, {"event": "step", "step": step, "status": "failed" if failed else "done", "evidence": {} if failed else evidence.get(step, {}),
                           "error": (error or "edge_target_1: the keystore is busy. Try again.") if failed else None, "time": stamp_of(now)})  # fmt: skip
            now += step_s if again else 1
        if step in (stop_at, pause_after):
            break
    if closed:
        _apply(state, {"event": "closed", "result": "red" if stop_at else "paused" if pause_after else "green", "time": stamp_of(now)})
    state["finished"] = state["result"] == "green"
    return state


def not_begun() -> Run:
    return {"run_id": "acmetest/CLN9", "target": "acmetest", "clone": "CLN9", "opened": None, "closed": None, "result": None, "finished": False,
            "steps": {}, "file": "-"}  # fmt: skip


FAILURE = ("runner: edgeencryption on tokens.test.example.com:3306: 1 other connections are open: edge_proxy@10.0.0.4:35882 (id 19). "
           "Stop the proxies first, or set allow_connected.")  # fmt: skip
RUNS: t.Dict[str, t.Callable[[], Run]] = {
    "green": run,
    "red": lambda: run(stop_at="t50_clone_end", error=FAILURE),
    "open": lambda: run(stop_at="t35_stage"),
    "paused": lambda: run(pause_after="t35_stage"),
    "not begun": not_begun,
    "repeated": lambda: run(attempts=4),
    "9 hours": lambda: run(clone_s=32400, step_s=70, wait_s=18000),
    "40 seconds": lambda: run(clone_s=8, step_s=1, wait_s=5),
    "long error": lambda: run(stop_at="t70_signatures", error=(FAILURE + " ") * 150),
    "hostile": lambda: run(stop_at="t90_verify", error=HOSTILE, text=HOSTILE),
}
