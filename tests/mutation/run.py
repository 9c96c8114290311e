# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes the code of utils that decide something, one place at a time, and looks whether a unit test fails.

A change that no test notices is a survivor. It fails this check, unless survivors.yml says why nobody could notice. cosmic-ray makes the changes, in a copy.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import yaml
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "mutation"
EXPLAINED = pathlib.Path(__file__).with_name("survivors.yml")
UNITS = "tests/unit/plugins/module_utils"


class Util(t.NamedTuple):
    """What is changed, and what should notice."""

    tests: t.Sequence[str]
    functions: str = ""  # their names, as a regular expression; all, if empty


UTILS = {
    "_properties": Util(
        [f"{UNITS}/test_properties.py", "tests/unit/plugins/modules/test_edge_property.py", "tests/unit/plugins/modules/test_edge_property_info.py"]
    ),
    "_resign": Util([f"{UNITS}/test_resign.py"]),
    # What fits to which backup, and what may be removed. The rest moves bytes, with real servers and faults: tests/integration/test_token_db_*.py
    "_artefact": Util([f"{UNITS}/test_artefact.py"], "earliest|latest|allows|choose|require|superfluous|parse_time|format_time|is_of|unlock"),
}
PARTS = os.cpu_count() or 1  # of the changes of a util, side by side
SECONDS = 60  # that the tests of a util may take with one change
# One replacement of an operator says enough; of a type or a decorator, none says anything.
LEFT_OUT = re.compile(
    r"core/(ReplaceBinaryOperator_(?!Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|BitOr_BitAnd|BitAnd_BitOr|LShift_RShift|RShift_LShift)"
    r"|ReplaceComparisonOperator_(?!Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)"
    r"|RemoveDecorator|ReplaceUnaryOperator_\w+_(Invert|UAdd)$)"
)
CONFIG = """
[cosmic-ray]
module-path = "plugins/module_utils/{name}.py"
timeout = {seconds}.0
excluded-modules = []
test-command = {command}

[cosmic-ray.distributor]
name = "local"
"""


class Survivor(t.NamedTuple):
    """A change that no test noticed."""

    util: str
    before: str
    after: str


def tree_of(name: str, part: int, copy: pathlib.Path) -> pathlib.Path:
    """Return a copy of the copied collection for a part of the changes of one util, with the folders that its tests import it from."""
    tree = BUILD / f"{name}-{part}"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(copy, tree)
    namespace = tree / "build" / "collections" / "ansible_collections" / "edge_encryption"
    namespace.mkdir(parents=True)
    (namespace / "clone").symlink_to("../../../..")
    return tree


def is_made(item: WorkItem, functions: str) -> bool:
    (change,) = item.mutations
    return not LEFT_OUT.match(change.operator_name) and bool(re.fullmatch(functions or ".*", change.definition_name or ""))


def check(name: str, part: int, copy: pathlib.Path, python: str) -> t.Tuple[t.Counter[str], t.List[Survivor]]:
    """Change one util in every way that falls to this part; returns how often what came out, and the survivors."""
    tree = tree_of(name, part, copy)
    command = " ".join([python, "-m", "pytest", "-x", "-q", "-m", "'not long'", "-p", "no:cacheprovider", *UTILS[name].tests])
    config, session = tree / "build" / "cosmic-ray.toml", tree / "build" / "cosmic-ray.sqlite"
    config.write_text(CONFIG.format(name=name, seconds=SECONDS, command=json.dumps(command)))
    tools = pathlib.Path(sys.executable).parent

    def call(tool: str, *arguments: t.Union[str, pathlib.Path]) -> None:
        done = subprocess.run([tools / tool, *arguments], cwd=tree, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"mutation: {tool} {arguments[0]} of {name} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    call("cosmic-ray", "baseline", config)
    call("cosmic-ray", "init", config, session)
    with use_db(session, WorkDB.Mode.open) as database:
        items = list(database.pending_work_items)
        mine = [item.job_id for item in items if is_made(item, UTILS[name].functions)][part::PARTS]
        for item in items:
            if item.job_id not in mine:
                database.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    call("cosmic-ray", "exec", config, session)
    counts: t.Counter[str] = collections.Counter()
    survivors = []
    with use_db(session, WorkDB.Mode.open) as database:
        for item, result in database.completed_work_items:
            if item.job_id not in mine:
                continue
            counts[str(result.test_outcome.value if result.test_outcome else result.worker_outcome.value)] += 1
            if result.test_outcome == TestOutcome.SURVIVED:
                removed, added = (re.findall(rf"(?m)^{re.escape(sign)}(?!{re.escape(sign)})(.*)", result.diff) for sign in "-+")
                survivors.append(Survivor(name, " ".join(map(str.strip, removed)), " ".join(map(str.strip, added))))
    return counts, survivors


def explained() -> t.Dict[Survivor, str]:
    known = yaml.safe_load(EXPLAINED.read_text(encoding="utf-8")) or []
    return {Survivor(entry["util"], entry["before"], entry["after"]): entry["because"] for entry in known}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--util", nargs="+", choices=sorted(UTILS), default=sorted(UTILS))
    parser.add_argument("--copy", type=pathlib.Path, required=True, help="folder with a copy of what git knows of the collection")
    parser.add_argument("--python", required=True, help="interpreter that has what the tests need")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    known = explained()
    report: t.Dict[str, t.Any] = {}
    left: t.List[Survivor] = []
    with concurrent.futures.ThreadPoolExecutor(PARTS) as pool:
        for name in options.util:
            results = list(pool.map(lambda part, name=name: check(name, part, options.copy, options.python), range(PARTS)))
            counts = sum((counts for counts, _survivors in results), collections.Counter())
            survivors = sorted(survivor for _counts, found in results for survivor in found)
            unexplained = [survivor for survivor in survivors if survivor not in known]
            print(f"mutation: {name}: {dict(counts)}, of the survivors {len(survivors) - len(unexplained)} explained", flush=True)
            left += unexplained
            report[name] = {"counts": counts, "unexplained": [survivor._asdict() for survivor in unexplained]}
    (BUILD / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for survivor in left:
        print(f"{survivor.util}:\n  - {survivor.before}\n  + {survivor.after}")
    print(f"mutation: {len(left)} survivors without an explanation, see {(BUILD / 'report.json').relative_to(ROOT)}")
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
