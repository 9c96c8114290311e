# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The report of a run, made of its journal and nothing else."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import LANE_OF, STEPS, in_words, seconds_of, stamp_of

FORMAT = 1
Report = t.Dict[str, t.Any]
Step = t.Dict[str, t.Any]

# Evidence that steps leave under these names is shown at the top of the report.
SUMMARIES = ("clone", "token_db", "signatures", "verify")
PASSED, FAILED, UNKNOWN = "passed", "failed", "not_known"
COLLECTION = "edge_encryption.clone."


def build_report(run: t.Dict[str, t.Any]) -> Report:
    """Return the report of a run as the journal tells it.

    Args:
        run: what C(Journal.run) returned.
    Returns:
        C(result) is V(green), V(red) or V(open); a step that the journal does not mention has the status V(not_run).
    """
    steps = [_step(step, title, run["steps"].get(step)) for step, title in STEPS]
    report = {
        "format": FORMAT,
        "result": run["result"] or "open",
        "run_id": run["run_id"],
        "target": run["target"],
        "clone_number": run["clone"],
        "opened": run["opened"],
        "closed": run["closed"],
        "steps": steps,
        "open": [_open_point(step) for step in steps if step["status"] in ("started", "failed", "waiting")],
    }  # type: Report
    for name in SUMMARIES:
        report[name] = {}
        for step in steps:
            report[name].update(step["evidence"].get(name) or {})
    by_id = {step["id"]: step for step in steps}
    plan = by_id["t00_preflight"]["evidence"].get("plan") or {}
    for step in steps:
        step["planned"] = _planned(step["id"], plan, report["clone"])
    report["outage"] = _outage(by_id, plan, report["clone"])
    report["checks"] = _checks(by_id, report)
    report["safety"] = _safety(by_id, report)
    report["way_out"] = _way_out(by_id, report)
    return report


def _step(step: str, title: str, entry: t.Optional[Step]) -> Step:
    entry = entry or {"status": "not_run", "started": None, "ended": None, "evidence": {}, "error": None, "attempts": []}
    return dict(entry, id=step, title=title, lane=LANE_OF.get(step, "controller"))


def _open_point(step: Step) -> str:
    reasons = {"started": "was begun and has not ended", "waiting": "waits for a person", "failed": "failed"}
    why = f": {step['error']}" if step["error"] else "."
    return f"{step['id']} {reasons[step['status']]}{why}"


def _planned(step: str, plan: t.Dict[str, t.Any], clone: t.Dict[str, t.Any]) -> t.Optional[t.Dict[str, t.Optional[str]]]:
    """When the step was to happen. What was planned for after the clone's end, which nobody knew, is held against the real end."""
    for planned in plan.get("steps", []):
        if planned["id"] != step:
            continue
        begin, end = planned["planned_start"], planned["planned_end"]
        if begin is None and planned["anchor"] == "clone_end" and clone.get("completed"):
            at = seconds_of(clone["completed"]) + planned["offset_s"]
            begin, end = stamp_of(at), stamp_of(at + planned["duration_s"])
        return {"start": begin, "end": end} if begin else None
    return None


def _outage(steps: t.Dict[str, Step], plan: t.Dict[str, t.Any], clone: t.Dict[str, t.Any]) -> t.Dict[str, t.Optional[str]]:
    """When the target was out of service for its users: t30 begins early and waits until the proxies must go down."""
    stop = steps["t30_clone_start"]
    began = stop["started"]
    if began and clone.get("scheduled") and plan.get("stop_lead_s") is not None:
        due = seconds_of(clone["scheduled"]) - plan["stop_lead_s"]
        if due > seconds_of(began):
            known = max(seconds_of(moment) for step in steps.values() for moment in (step["started"], step["ended"]) if moment)
            began = stamp_of(due) if due <= known else None
    planned = plan.get("outage") or {}
    return {
        "began": began,
        "ended": steps["t95_open"]["ended"] if steps["t95_open"]["status"] == "done" else None,
        "planned_began": planned.get("began"),
        "planned_ended": planned.get("ended"),
    }


# -- checks ----------------------------------------------------------------------------------------------------


def _checks(steps: t.Dict[str, Step], report: Report) -> t.List[t.Dict[str, str]]:
    """What was proven, with what proves it."""
    checks = []  # type: t.List[t.Dict[str, str]]

    def add(check: str, step: str, outcome: t.Optional[bool], evidence: str) -> None:
        result = UNKNOWN if outcome is None else PASSED if outcome else FAILED
        checks.append({"check": check, "step": step, "result": result, "evidence": evidence if outcome is not None else ""})

    evidence = {name: step["evidence"] for name, step in steps.items()}
    tokens, signatures, verify, clone = (report[name] for name in ("token_db", "signatures", "verify", "clone"))
    with_tokens = (evidence["t00_preflight"].get("options") or {}).get("tokenization", True)

    t00 = steps["t00_preflight"]
    add("Nothing stood against the run", "t00_preflight", {"done": True, "failed": False}.get(t00["status"]),
        "source {0}, target {1}".format(evidence["t00_preflight"].get("source", "?"), evidence["t00_preflight"].get("target", "?"))
        if t00["status"] == "done" else "see what is open")  # fmt: skip
    if with_tokens:
        snapshot = evidence["t35_stage"].get("snapshot") or {}
        backup = (evidence["t35_stage"].get("clone") or {}).get("backup_completed")
        younger = seconds_of(snapshot["began"]) >= seconds_of(backup) if snapshot.get("began") and backup else None
        add("The tokens are younger than the instance backup", "t35_stage", younger,
            "snapshot {0} began {1}, the backup had ended {2}".format(snapshot.get("id"), _time(snapshot.get("began")), _time(backup)))  # fmt: skip
    if clone.get("completed"):
        took = in_words(seconds_of(clone["completed"]) - seconds_of(clone["started"])) if clone.get("started") else "?"
        add("The instance's clone is complete", "t40_wait_clone", True, f"{clone.get('state')} at {_time(clone['completed'])} after {took}")
    if with_tokens:
        add("The source's tokens are in place, by rows and checksum", "t50_clone_end", tokens.get("verified"),
            "{0:,} rows in {1} tables; the previous ones are in {2}".format(
                tokens.get("rows", 0), tokens.get("tables"), tokens.get("previous_schema")))  # fmt: skip
    waited = "No target proxy was started before {0} in place".format("the tokens were" if with_tokens else "the keys were")
    stopped, started = steps["t30_clone_start"]["ended"], steps["t60_start_proxies"]["started"]
    if stopped and steps["t30_clone_start"]["status"] == "done":
        in_place = steps["t50_clone_end" if with_tokens else "t55_keys"]
        kept = not started or bool(in_place["status"] == "done" and in_place["started"] and in_place["started"] <= started)
        add(waited, "t30_clone_start", kept,
            f"down and held since {_time(stopped)}" + (f", started from {_time(started)}" if started else ""))  # fmt: skip
    else:
        add(waited, "t30_clone_start", None, "")
    keys = evidence["t55_keys"].get("keys") or []
    add("The encryption keys are on every target proxy", "t55_keys", True if steps["t55_keys"]["status"] == "done" else None,
        ", ".join("{0} ({1})".format(key["alias"], key["fingerprint"][:16]) for key in keys)
        or "option {0}".format(evidence["t55_keys"].get("encryption_option", "?")))  # fmt: skip
    add("The proxies' account and records are the target's", "t57_registration", evidence["t57_registration"].get("service_account_proven"),
        "account logged in; records of {0}".format(", ".join(evidence["t57_registration"].get("proxies") or [])))  # fmt: skip
    add("Every signature fits", "t70_signatures", True if steps["t70_signatures"]["status"] == "done" else None, _signed(signatures))
    if verify.get("records") is not None:
        proven = not verify.get("failures") and verify.get("readable_through_proxy") == verify["records"]
        text = "{0:,} of {1:,} readable through every proxy, {2:,} cipher text without one".format(
            verify.get("readable_through_proxy", 0), verify["records"], verify.get("cipher_text_without_proxy", 0))  # fmt: skip
        add("The clone is readable, and only through a proxy", "t90_verify", proven, "; ".join([text] + list(verify.get("failures") or [])))
    else:
        add("The clone is readable, and only through a proxy", "t90_verify", False if steps["t90_verify"]["status"] == "failed" else None, "see what is open")
    return checks


def _signed(signatures: t.Dict[str, t.Any]) -> str:
    option = signatures.get("option")
    if option == "copied_key":
        return "the target signs and verifies with the source's key"
    done = signatures.get("recreated" if option == "recreated" else "resigned", 0)
    return "{0} of {1} rules and configurations {2}; validation is on".format(
        done, signatures.get("records", 0), "made anew" if option == "recreated" else "signed with the target's key")  # fmt: skip


def _time(stamp: t.Optional[str]) -> str:
    return stamp_of(seconds_of(stamp))[11:19] if stamp else "-"


# -- what next -------------------------------------------------------------------------------------------------


def _safety(steps: t.Dict[str, Step], report: Report) -> str:
    """What the state of the target is, as far as the journal tells."""
    if report["result"] == "green":
        return "The target is in service."
    if report["result"] == "rolled_back":
        return "The target is as it was before the clone."
    stop = steps["t30_clone_start"]
    if not stop["started"]:
        return "The target was not touched; its proxies were not touched either."
    if steps["t95_open"]["status"] == "done":
        return "The target is in service."
    if not any(attempt["status"] == "done" for attempt in stop["attempts"]):
        return "Target proxies that were stopped stay down and are held, others may still run: edge_encryption.clone.make_safe stops them all."
    if not steps["t60_start_proxies"]["started"]:
        return "The target proxies stay down and are held, until the source's tokens are proven to be in place."
    if report["signatures"].get("option", "resigned") == "resigned" and steps["t70_signatures"]["status"] != "done":
        return "The target is out of service for users. With the option resigned, its proxies do not validate signatures until t70_signatures is done."
    return "The target is out of service for users."


def _way_out(steps: t.Dict[str, Step], report: Report) -> t.List[t.Dict[str, str]]:
    """The commands that go on or back, empty when nothing has to be done."""
    if report["result"] in ("green", "rolled_back", "abandoned") or not report["opened"]:
        return []
    number = " -e edge_clone_number={0}".format(report["clone_number"])
    back = f"ansible-playbook {COLLECTION}roll_back_clone{number} -e edge_confirm_target={report['target']}"
    if report["result"] == "rolling_back":
        return [{"why": "Go on with going back", "command": back}]
    options = steps["t00_preflight"]["evidence"].get("options") or {}
    playbook = ("clone_rotate_key" if options.get("encryption") == "rotated_key"
                else "clone_without_encrypted_data" if options.get("encryption") == "preserved_key"
                else "clone_with_tokenization" if options.get("tokenization", True) else "clone_same_key")  # fmt: skip
    ways = [{
        "why": "Go on" if report["result"] == "paused" else "Go on once the cause is mended",
        "command": f"ansible-playbook {COLLECTION}{playbook}{number} -e edge_confirm_target={report['target']}",
    }]  # fmt: skip
    if steps["t30_clone_start"]["started"]:
        ways.append({"why": "Make the target safe until then", "command": f"ansible-playbook {COLLECTION}make_safe{number}"})
        ways.append({"why": "Go back, after the clone was rolled back on the instance", "command": back})
    return ways
