# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit tests, ansible-test sanity and a whole clone of the lab on each ansible-core that is supported, each in a virtual environment of its own.

ansible-core 2.20 and newer need Python 3.12 or newer on the controller. A row for whose Python there is no program on PATH fails and says so.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "matrix"
ROWS = (("2.16", "3.11"), ("2.18", "3.11"), ("2.19", "3.11"), ("2.20", "3.13"), ("2.21", "3.13"))
MAIN_JOB = "tests/e2e/test_good_run.py"
REQUIREMENTS = ("tests/matrix/requirements.txt", "tests/lab/requirements-nodeps.txt")


class Failed(Exception):
    """A part of a row did not end well."""


def find_python(version: str) -> str:
    """Return an interpreter of this version that works.

    Raises:
        Failed: there is none.
    """
    found = shutil.which("python" + version)
    if not found or subprocess.run([found, "-c", "import ssl, venv"], check=False, capture_output=True).returncode:
        raise Failed(f"no python{version} that works is on PATH; install one and start again")
    return found


class Row:
    """One ansible-core on one Python."""

    def __init__(self, core: str, python: str) -> None:
        self.core, self.python = core, python
        self.name = f"{core}-py{python}"
        self.venv = BUILD / self.name
        self.log = BUILD / f"{self.name}.log"

    def call(self, *command: str, **variables: str) -> str:
        """Run a command with this row's tools; returns what it printed."""
        paths = f"{self.venv / 'bin'}:{os.environ['PATH']}"
        environment = dict(os.environ, PATH=paths, VIRTUAL_ENV=str(self.venv), **variables)
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.write("$ {}\n{}\n".format(" ".join(command), done.stdout))
        if done.returncode:
            raise Failed(f"{' '.join(command[:6])} ... ended with {done.returncode}, see {self.log.relative_to(ROOT)}")
        return done.stdout

    def set_up(self) -> str:
        shutil.rmtree(self.venv, ignore_errors=True)
        self.call(find_python(self.python), "-m", "venv", str(self.venv))
        pip = (str(self.venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
        self.call(*pip, f"ansible-core=={self.core}.*", "-r", REQUIREMENTS[0])
        self.call(*pip, "--no-deps", "-r", REQUIREMENTS[1])
        return re.findall(r"core (\d[\w.]*)", self.call("ansible", "--version"))[0]

    def pytest(self, *arguments: str) -> str:
        said = self.call(str(self.venv / "bin" / "python"), "-m", "pytest", "-q", "-m", "not long", *arguments)
        return re.findall(r"(?m)^(\d+ passed.*?) in ", said)[-1]

    def units(self) -> str:
        return self.pytest("-n", "2", "tests/unit")

    def sanity(self) -> str:
        said = self.call("make", "sanity-tests", f"SANITY_PYTHON={self.python}", f"BIN={self.venv / 'bin'}")
        return "{} tests".format(len(re.findall(r"(?m)^Running sanity test", said)))

    def main_job(self) -> str:
        return self.pytest(MAIN_JOB)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", nargs="+", choices=[core for core, _python in ROWS], default=[core for core, _python in ROWS])
    parser.add_argument("--part", nargs="+", choices=["units", "sanity", "main_job"], default=["units", "sanity", "main_job"])
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    table: t.List[t.Dict[str, str]] = []
    failed = False
    for core, python in ROWS:
        if core not in options.core:
            continue
        row = Row(core, python)
        row.log.write_text("")
        found = {"core": core, "python": python}
        table.append(found)
        for part in ("set_up", *options.part):
            print(f"matrix: ansible-core {core}, Python {python}: {part}", flush=True)
            began = time.monotonic()
            try:
                result = getattr(row, part)()
            except Failed as error:
                failed, found[part] = True, f"FAILED: {error}"
                print(f"matrix: {error}", flush=True)
                if part == "set_up":
                    break
            else:
                found[part] = f"{result} ({time.monotonic() - began:.0f} s)"
    (BUILD / "matrix.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    for found in table:
        print("  ".join(found.values()))
    return failed


if __name__ == "__main__":
    sys.exit(main())
