# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a rulebook of the collection with the real ansible-rulebook, as an operator does."""

import json
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "venv" / "eda" / "bin"


class Rulebook:
    """A process of ansible-rulebook; as a context it is ended as by ctrl-c, and killed if that does not end it.

    Args:
        name: name of the rulebook.
        folder: where its variables and output go.
        collections: where the collection is.
        inventory: the inventory of the playbooks.
        variables: the variables that the operator gives.
        environment: further environment variables.
    """

    def __init__(
        self, name: str, folder: Path, collections: Path, inventory: Path, variables: t.Mapping[str, t.Any], environment: t.Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        given = folder / "variables.json"  # JSON is YAML
        given.touch(mode=0o600)
        given.write_text(json.dumps(variables))
        self.folder, self._output = folder, folder / "rulebook.txt"
        self._command = [str(TOOLS / "ansible-rulebook"), "-r", f"edge_encryption.clone.{name}", "-i", str(inventory), "-e", str(given)]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "SN_"))}
        self._environment.update(ANSIBLE_COLLECTIONS_PATH=str(collections), ANSIBLE_NOCOLOR="true", ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_HOME=str(folder))
        self._environment.update(environment, PATH=os.pathsep.join([str(TOOLS), os.environ["PATH"]]))
        self.process: t.Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def kill(self) -> None:
        """End it and all it started at once, as a host that loses power."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def __enter__(self) -> "Rulebook":
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_until(self, true: t.Callable[[], t.Any], seconds: float, ends: bool = False) -> t.Any:
        """Wait until something is so, and the rulebook has not ended before, unless it may."""
        deadline = time.monotonic() + seconds
        while True:
            value = true()
            if value:
                return value
            assert self.process and (ends or self.process.poll() is None), self.output[-6000:]
            assert time.monotonic() < deadline, f"not so within {seconds} s: {self.output[-6000:]}"
            time.sleep(0.1)
