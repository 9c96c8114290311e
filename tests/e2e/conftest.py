# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs of the collection against a lab, started as a user starts them."""

import hashlib
import json
import os
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
import requests
from edgelab import demo_data
from edgelab.inventory import PLAYBOOK, write_inventory

pytest_plugins = ("edgelab.testing",)

ROOT = Path(__file__).resolve().parents[2]
CLONE_IN = 45  # seconds from the request to the scheduled start; t00 to t20 happen in between
QUICK = {"edge_stop_lead": 4, "edge_clone_timeout": 120}


class Run(t.NamedTuple):
    """What a started playbook left."""

    returncode: int
    output: str
    report: t.Optional[dict]

    def changed(self) -> t.Dict[str, int]:
        """Return host -> number of changed tasks, from the recap."""
        recap = self.output.rpartition("PLAY RECAP")[2].splitlines()[1:]
        return {line.split(":")[0].strip(): int(line.split("changed=")[1].split()[0]) for line in recap if "changed=" in line}


class Site:
    """A lab with records on both sides, and the inventory that a user would have for it."""

    def __init__(self, lab: t.Dict[str, t.Any], folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.source, self.target = lab["instances"]["source"], lab["instances"]["target"]

    def start(self, *arguments: str, playbook: str = PLAYBOOK, folder: t.Optional[Path] = None, **variables: t.Any) -> "subprocess.Popen[str]":
        """Start a playbook in a process group of its own."""
        folder = folder or self.folder
        inventory = write_inventory(self.lab, folder, **dict({"edge_verify_records": demo_data.verify_records(), **QUICK}, **variables))
        command = ["ansible-playbook", playbook, "-i", str(inventory), *arguments]
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"), ANSIBLE_NOCOLOR="1",
                           ANSIBLE_PIPELINING="true")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                                cwd=ROOT, start_new_session=True)

    def run(self, *arguments: str, confirm: bool = True, folder: t.Optional[Path] = None, **variables: t.Any) -> Run:
        """Run a playbook to its end; the target is confirmed unless told otherwise."""
        if confirm:
            arguments = ("-e", f"edge_confirm_target={self.target['name']}", *arguments)
        process = self.start(*arguments, folder=folder, **variables)
        output = process.communicate()[0]
        report = (folder or self.folder) / "report.json"
        return Run(process.returncode, output, json.loads(report.read_text()) if report.exists() else None)

    def request_clone(self, in_seconds: float = CLONE_IN, **options: str) -> str:
        """Take the nightly backup and schedule a clone; returns its number."""
        demo_data.take_backup(self.lab)
        return demo_data.schedule_clone(self.lab, in_seconds, **options)

    # -- what can be looked at

    def control(self, method: str, url: str, body: t.Any = None) -> t.Any:
        answer = requests.request(method, url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def requests_of(self, control_url: str) -> t.List[t.Dict[str, t.Any]]:
        return self.control("GET", control_url + "/requests")["requests"]

    def pids(self, side: str) -> t.Dict[str, t.Optional[int]]:
        """Return proxy -> pid of its process, or None."""
        found = {}
        for proxy in self.lab["proxies"][side]:
            try:
                pid = int(Path(proxy["pid_file"]).read_text())
                running = proxy["home"].encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                running = False
            found[proxy["name"]] = pid if running else None
        return found

    def settings(self, side: str) -> t.Dict[str, str]:
        """Return file -> hash of everything in conf/, keystore/ and keys/ of a side's proxies."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for proxy in self.lab["proxies"][side] for folder in ("conf", "keystore", "keys")
            for path in sorted((Path(proxy["home"]) / folder).iterdir())
        }

    def secrets(self) -> t.List[str]:
        """Return every secret of the lab that the collection is given or could come across."""
        known = json.loads(Path(self.lab["lab_secrets"]).read_text())
        found = [secret for side in ("source", "target") for secret in (*known["users"][side].values(), *known["db_users"][side].values())]
        found += [known[name][side] for name in ("keystore", "static_iv", "known_cleartext") for side in ("source", "target")]
        return [*found, "a secret of the lab that encrypts snapshots"]


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    """A lab with records on both sides whose clones take seconds."""
    demo_data.write_source(lab, 12)
    demo_data.write_target(lab, 6)
    requests.put(lab["instances"]["source"]["control_url"] + "/knobs", json={"clone_speed": 6}, timeout=10).raise_for_status()
    return Site(lab, tmp_path_factory.mktemp("run"))


class Watcher:
    """Looks at processes all the time, from another thread."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.seen = []  # type: t.List[t.Tuple[float, t.Dict[str, t.Optional[int]]]]
        self.arguments = set()  # type: t.Set[bytes]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *unused: t.Any) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self.seen.append((time.time(), self.site.pids("target")))
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.arguments.add(path.read_bytes())
                except (FileNotFoundError, ProcessLookupError):
                    continue
