# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every test belongs to exactly one tier: `make test` or `make test-long`."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def selection_of(target: str):
    """Read which tests the Makefile gives to pytest for a target."""
    recipe = re.search(rf"(?m)^{target}: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text())[1]
    command = re.findall(r"(?m)^\t@\$\(BIN\)/python -m pytest (.* tests)$", recipe)[-1]
    return re.search(r"-m (\"[^\"]+\"|\S+)", command).group(1).strip('"')


def test_one_tier_is_what_the_other_leaves_out():
    mark = selection_of("test-long")
    assert mark.isidentifier()
    assert selection_of("test") == f"not {mark}"


def test_no_file_of_tests_lies_where_nobody_looks():
    files = {str(path.relative_to(ROOT)) for path in ROOT.rglob("test_*.py")
             if not {"build", ".venv", "collections", ".git"} & set(path.relative_to(ROOT).parts)}
    done = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"], cwd=ROOT, check=False,
                          capture_output=True, text=True, env=dict(os.environ, PYTEST_ADDOPTS=""))
    assert done.returncode == 0, done.stdout + done.stderr
    assert files - {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line} == set()
