# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit tests, ansible-test sanity and a whole clone of the lab on each ansible-core that is supported, each in a virtual environment of its own.

ansible-core 2.20 and newer need Python 3.12 or newer on the controller, so they run on Debian 13, which is bootstrapped into a folder once: controller,
lab and database servers, all of it. It shares the network of this machine, so that nothing is new there.
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

from edgelab.hosts.root import bootstrap
from edgelab.processes import LabError

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "matrix"
HERE = pathlib.Path(__file__).resolve().parent
ROWS = (("2.16", "3.11"), ("2.18", "3.11"), ("2.19", "3.11"), ("2.20", "3.13"), ("2.21", "3.13"))
SUITE = {"3.13": "trixie"}  # the Debian that has a Python which this machine does not have
MAIN_JOB = "tests/e2e/test_good_run.py"
# Mounts live in a namespace of this one command, so nothing is left when it ends, however it ends.
ENTER = """
set -e
root=$1 tree=$2; shift 2
mount --rbind "$root" "$root" # so that it is a mount point inside as well
for place in /proc /dev /tmp /etc/ssl "$tree"; do
    [ -e "$place" ] || continue
    mkdir -p "$root$place"
    mount --rbind "$place" "$root$place"
done
exec chroot "$root" env --chdir="$tree" "$@"
"""


class Failed(Exception):
    """A part of a row did not end well."""


def run(command: t.Sequence[str], log: pathlib.Path, environment: t.Mapping[str, str]) -> str:
    """Run a command in the collection, add what it prints to a log, and return it.

    Raises:
        Failed: it did not end with 0.
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, **streams)
    with log.open("a", encoding="utf-8") as stream:
        stream.write("$ {}\n{}\n".format(" ".join(command), done.stdout))
    if done.returncode:
        raise Failed(f"{' '.join(command[-5:])} ended with {done.returncode}, see {log.relative_to(ROOT)}")
    return done.stdout


def debian(suite: str) -> pathlib.Path:
    """Return the root file system of a Debian with all that the lab needs (about a minute, 1 GB).

    Raises:
        Failed: it cannot be made.
    """
    packages = (HERE / "debian-packages.txt").read_text().split()
    try:
        return bootstrap(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite], f"Debian's {suite}")
    except LabError as error:
        raise Failed(str(error)) from error


class Row:
    """One ansible-core on one Python."""

    def __init__(self, core: str, python: str) -> None:
        self.core, self.python = core, python
        self.name = f"{core}-py{python}"
        self.venv = BUILD / self.name
        self.log = BUILD / f"{self.name}.log"
        self.log.write_text("")
        self._enter: t.Sequence[str] = ()

    def call(self, *command: str) -> str:
        """Run a command with this row's tools, where its Python is; returns what it printed."""
        environment = dict(os.environ, PATH=f"{self.venv / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return run([*self._enter, *command], self.log, environment)

    def set_up(self) -> str:
        shutil.rmtree(self.venv, ignore_errors=True)
        wheels: t.Sequence[str] = ()
        if self.python in SUITE:
            root = debian(SUITE[self.python])
            self._enter = ("unshare", "--mount", "sh", "-c", ENTER, "enter", str(root), str(ROOT))
            # What reaches the package index is the pip of this machine.
            folder = BUILD / f"{self.name}.wheels"
            platform = ("--python-version", self.python, "--only-binary=:all:", "--dest", str(folder))
            pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *platform)
            run([*pip, f"ansible-core=={self.core}.*", "-r", str(HERE / "requirements.txt")], self.log, os.environ)
            run([*pip, "--no-deps", "-r", "tests/lab/requirements-nodeps.txt"], self.log, os.environ)
            wheels = ("--no-index", "--find-links", str(folder))
        self.call("/usr/bin/python" + self.python, "-m", "venv", str(self.venv))
        install = (str(self.venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *wheels)
        self.call(*install, f"ansible-core=={self.core}.*", "-r", str(HERE / "requirements.txt"))
        self.call(*install, "--no-deps", "-r", "tests/lab/requirements-nodeps.txt")
        return re.findall(r"core (\d[\w.]*)", self.call("ansible", "--version"))[0]

    def pytest(self, *arguments: str) -> str:
        said = self.call(str(self.venv / "bin" / "python"), "-m", "pytest", "-q", "-m", "not long", *arguments)
        return re.findall(r"(?m)^(\d+ passed.*?) in ", said)[-1]

    def units(self) -> str:
        return self.pytest("-n", "2", "tests/unit")

    def sanity(self) -> str:
        said = self.call("make", "sanity-tests", f"SANITY_PYTHON={self.python}", f"BIN={self.venv / 'bin'}")
        return "{} tests".format(len(set(re.findall(r'(?m)^Running sanity test "([\w-]+)"', said))))

    def main_job(self) -> str:
        return self.pytest(MAIN_JOB)


def main() -> int:
    cores = [core for core, _python in ROWS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", nargs="+", choices=cores, default=cores)
    parser.add_argument("--part", nargs="+", choices=["units", "sanity", "main_job"], default=["units", "sanity", "main_job"])
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    table: t.List[t.Dict[str, str]] = []
    failed = False
    for core, python in ROWS:
        if core not in options.core:
            continue
        row, found = Row(core, python), {"core": core, "python": python}
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
