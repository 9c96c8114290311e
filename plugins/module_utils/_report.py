# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The report of a run, made of its journal and nothing else."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEPS

Report = t.Dict[str, t.Any]

# Evidence that steps leave under these names is shown at the top of the report.
SUMMARIES = ("clone", "token_db", "signatures", "verify")


def build_report(run: t.Dict[str, t.Any]) -> Report:
    """Return the report of a run as the journal tells it.

    Args:
        run: what C(Journal.run) returned.
    Returns:
        C(result) is V(green), V(red) or V(open); a step that the journal does not mention has the status V(not_run).
    """
    steps = [_step(step, title, run["steps"].get(step)) for step, title in STEPS]
    report = {
        "result": run["result"] or "open",
        "run_id": run["run_id"],
        "target": run["target"],
        "clone_number": run["clone"],
        "opened": run["opened"],
        "closed": run["closed"],
        "steps": steps,
        "open": [_open_point(step) for step in steps if step["status"] in ("started", "failed", "waiting")],
        "outage": _outage(run["steps"]),
    }  # type: Report
    for name in SUMMARIES:
        report[name] = {}
        for step in steps:
            report[name].update(step["evidence"].get(name) or {})
    return report


def _step(step: str, title: str, entry: t.Optional[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    entry = entry or {"status": "not_run", "started": None, "ended": None, "evidence": {}, "error": None}
    return dict(entry, id=step, title=title)


def _open_point(step: t.Dict[str, t.Any]) -> str:
    reasons = {"started": "was begun and has not ended", "waiting": "waits for a person", "failed": "failed"}
    why = f": {step['error']}" if step["error"] else "."
    return f"{step['id']} {reasons[step['status']]}{why}"


def _outage(steps: t.Dict[str, t.Dict[str, t.Any]]) -> t.Dict[str, t.Optional[str]]:
    """When the target was out of service for its users."""
    return {
        "began": (steps.get("t30_clone_start") or {}).get("started"),
        "ended": (steps.get("t95_open") or {}).get("ended"),
    }
