# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab and the collection share no code, so that no common mistake hides."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.edge_encryption.clone"


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (".".join(filter(None, (node.module, name.name))) for name in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\w+(\.\w+)+", node.value):
            yield node.value  # the name of a module, for importlib or for python -m


def offenders(folder: str, forbidden):
    return [(str(path.relative_to(ROOT)), name) for path in (ROOT / folder).rglob("*.py") for name in imported(path) if forbidden(name)]


def test_the_guard_sees_imports(tmp_path):
    package, dummy, name = COLLECTION.rpartition(".")
    (tmp_path / "a.py").write_text(f"def f():\n    from {COLLECTION}.plugins.module_utils import _db\nfrom {package} import {name}\nfrom .. import tests\n")
    assert set(imported(tmp_path / "a.py")) == {f"{COLLECTION}.plugins.module_utils._db", COLLECTION, "tests"}


def test_the_lab_imports_nothing_of_the_collection():
    assert offenders("tests/lab", lambda name: name.startswith(COLLECTION)) == []


def test_the_collection_imports_nothing_of_the_lab():
    assert offenders("plugins", lambda name: name.split(".")[0] in ("edgelab", "tests") or ".tests." in name) == []
