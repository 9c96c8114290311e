# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What the modules of the journal are asked and answer, for the modules and for the action plugins that do without one."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._report import build_report
from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal

Result = t.Dict[str, t.Any]


class Call(t.NamedTuple):
    """One module: its options and which belong together, as AnsibleModule takes them, and what it does with them; V(True) is check mode."""

    options: t.Dict[str, t.Any]
    required_if: t.List[t.Tuple[t.Any, ...]]
    run: t.Callable[[t.Dict[str, t.Any], bool], Result]


_PLACE = {"path": {"type": "path", "required": True}, "target": {"type": "str", "required": True}}  # type: t.Dict[str, t.Any]


def _write(params: t.Dict[str, t.Any], check: bool) -> Result:
    journal, write = Journal(params["path"], params["target"]), not check
    if params["state"] == "opened":
        changed, run = journal.open(params["clone"], params["owner"], params["force_unlock"], write=write)
    elif params["state"] == "rolling_back":
        changed, run = journal.roll_back(params["clone"], params["owner"], params["force_unlock"], write=write)
    elif params["state"] == "recorded":
        changed, run = journal.record(params["clone"], params["step"], params["status"], params["evidence"], params["error"], write=write)
    else:
        changed, run = journal.close(params["clone"], params["result"], params["owner"], write=write)
    return {"changed": changed, "run": run}


def _read(params: t.Dict[str, t.Any], check: bool) -> Result:
    journal = Journal(params["path"], params["target"])
    result = {"changed": False, "runs": journal.runs(), "lock": journal.lock()}  # type: Result
    if params["clone"]:
        result["run"] = journal.run(params["clone"])
        result["report"] = build_report(result["run"])
    return result


WRITE = Call(
    options=dict(
        _PLACE,
        clone={"type": "str", "required": True},
        state={"type": "str", "choices": ["opened", "rolling_back", "recorded", "closed"], "required": True},
        owner={"type": "str"},
        force_unlock={"type": "str"},
        step={"type": "str"},
        status={"type": "str", "choices": ["started", "done", "failed", "waiting"]},
        evidence={"type": "dict", "default": {}},
        error={"type": "str"},
        result={"type": "str", "choices": ["green", "red", "paused", "abandoned", "rolled_back"]},
    ),
    required_if=[
        ("state", "opened", ["owner"]),
        ("state", "rolling_back", ["owner"]),
        ("state", "recorded", ["step", "status"]),
        ("state", "closed", ["result", "owner"]),
    ],
    run=_write,
)
READ = Call(options=dict(_PLACE, clone={"type": "str"}), required_if=[], run=_read)
