# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every test belongs to exactly one tier: `make test` or `make test-long`."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.lru_cache(maxsize=None)
def collected(*selection: str):
    done = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *selection], cwd=ROOT, check=False,
                          capture_output=True, text=True, env=dict(os.environ, PYTEST_ADDOPTS=""))
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def selection_of(target: str):
    """Read what the Makefile gives to pytest for a target."""
    command = re.search(rf"(?m)^{target}: .*\n\t@\$\(BIN\)/python -m pytest (.*)$", (ROOT / "Makefile").read_text()).group(1)
    mark = re.search(r"-m (\"[^\"]+\"|\S+)", command).group(1).strip('"')
    assert command.split()[-1] == "tests"
    return mark


def test_every_test_is_in_one_tier():
    everything = collected("tests")
    fast, long = collected("-m", selection_of("test"), "tests"), collected("-m", selection_of("test-long"), "tests")
    assert fast and long
    assert fast | long == everything
    assert fast & long == set()


def test_no_file_of_tests_lies_where_nobody_looks():
    files = {str(path.relative_to(ROOT)) for path in ROOT.rglob("test_*.py")
             if not {"build", ".venv", "collections", ".git"} & set(path.relative_to(ROOT).parts)}
    seen = {line.split("::")[0] for line in collected("tests")}
    assert files - seen == set()
