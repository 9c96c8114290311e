# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for AWX that starts jobs as AWX does, with ansible-runner, its engine: from the data of the pattern, each job in a folder of its own.

What a job gets is what AWX gives it (awx/main/models/workflow.py, credential.py and tasks/jobs.py of AWX): the exported inventory, the answers of the survey,
files of extra variables with what credentials inject, the artifacts of the jobs before. It knows nothing else, and has no terminal.
"""

import json
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.edge_encryption.clone.tests.e2e.bench import COLLECTION, Bench, Row
from edgelab.inventory import write_inventory

PATTERN = COLLECTION / "extensions" / "patterns" / "clone_with_edge_encryption"
TOOLS = COLLECTION / "build" / "venv" / "awx" / "bin"
SETUP = ("credential_types", "labels", "execution_environments", "projects", "inventories", "inventory_sources", "templates", "schedules", "workflows")
# Where the inventory has each secret that a credential injects.
SECRETS = {
    "vault_edge_source_instance_password": ("all", "edge_source_instance", "password"),
    "vault_edge_target_instance_password": ("all", "edge_target_instance", "password"),
    "vault_edge_service_account_password": ("all", "edge_service_account", "password"),
    "vault_edge_source_token_db_password": ("all", "edge_source_token_db", "login_password"),
    "vault_edge_target_token_db_password": ("all", "edge_target_token_db", "login_password"),
    "vault_edge_source_keystore_password": ("edge_source_proxies", "edge_keystore_password"),
    "vault_edge_target_keystore_password": ("edge_target_proxies", "edge_keystore_password"),
    "vault_edge_secret": ("all", "edge_secret"),
}


class Job(t.NamedTuple):
    """What a job left: its status and output, every event, and the artifacts that it hands to the next one."""

    template: str
    status: str
    output: str
    events: t.List[Row]
    artifacts: Row


class Started(t.NamedTuple):
    """A job that runs."""

    template: str
    folder: Path
    process: "subprocess.Popen[bytes]"


class Platform:
    """One organization with the data of C(setup.yml), for one bench.

    Args:
        bench: the site that its inventory describes.
        state: folder below the bench's, for the inventory, journal, snapshots and report.
    """

    def __init__(self, bench: Bench, state: str = "platform") -> None:
        self.bench, self.state = bench, state
        self.folder = bench.folder / f"jobs_{state}"
        self.folder.mkdir()
        self.data = setup_data(self.folder)
        self.templates = {template["name"]: template for template in self.data["templates"]}
        self.jobs: t.List[Job] = []
        self.started = 0
        self._clone_began = False

    # -- jobs

    def start(self, template: str, answers: t.Optional[Row] = None, artifacts: t.Optional[Row] = None, check: bool = False, **overrides: t.Any) -> Started:
        """Start a job. C(overrides) are what somebody has changed in the inventory."""
        chosen = self.templates[template]
        questions = chosen["survey_spec"]["spec"] if chosen.get("survey_enabled") else []
        variables = {question["variable"]: question["default"] for question in questions if "default" in question}
        variables.update(artifacts or {}, **(answers or {}))
        self.started += 1
        folder = self.folder / f"job_{self.started}"
        for name in ("env", "inventory", "project"):
            (folder / name).mkdir(parents=True, mode=0o700)
        for playbook in (PATTERN / "playbooks").iterdir():
            shutil.copy(playbook, folder / "project")
        inventory, secrets = self._inventory(**overrides)
        script = folder / "inventory" / "hosts"
        script.write_text(f"#!/usr/bin/env python3\nprint({json.dumps(inventory)!r})\n")
        script.chmod(0o700)
        credentials = []
        for number, kind in enumerate(self.data["credential_types"]):
            path = folder / "env" / f"credential_{number}"
            path.touch(mode=0o600)
            path.write_text(json.dumps({name: secrets.get(name, "") for name in kind["injectors"]["extra_vars"]}))
            credentials.append(f"-e @{path}")
        (folder / "env" / "extravars").write_text(json.dumps(variables))
        (folder / "env" / "cmdline").write_text(" ".join(credentials + ["--check"] * check))
        environment = {
            "PATH": f"{TOOLS}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(folder), "LANG": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(self.bench.collections),
            "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_PIPELINING": "true", "JOB_ID": str(self.started),
        }  # fmt: skip
        runner = [str(TOOLS / "ansible-runner"), "run", str(folder), "--playbook", chosen["playbook"], "--ident", "job"]
        # Each job is in a container of its own on the platform. Here it has at least another host name, so that no job can tell whether another one lives.
        command = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', f"job-{self.started}", *runner]
        output = (folder / "output").open("wb")
        with output:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        return Started(template, folder, process)

    def end(self, started: Started) -> Job:
        """Wait for a job."""
        template, folder, process = started
        process.wait()
        left = folder / "artifacts" / "job"
        output = (folder / "output").read_text()
        assert (left / "status").exists(), output[-3000:]
        events = [json.loads(path.read_text()) for path in sorted((left / "job_events").glob("*.json"), key=lambda path: int(path.name.partition("-")[0]))]
        artifacts = [event["event_data"].get("artifact_data") for event in events if event["event"] == "playbook_on_stats"]
        job = Job(template, (left / "status").read_text(), (left / "stdout").read_text(), events, (artifacts or [{}])[0] or {})
        self.jobs.append(job)
        return job

    def run(self, template: str, answers: t.Optional[Row] = None, **how: t.Any) -> Job:
        """Run a job to its end; a clone that it waits for begins as soon as it waits."""
        started = self.start(template, answers, **how)
        if self.bench.number and not self._clone_began:
            self.bench.start_clone_when_awaited(self.state, lambda: started.process.poll() is not None)
            self._clone_began = started.process.poll() is None
        return self.end(started)

    # -- workflows

    def run_workflow(self, name: str, answers: Row, overrides: t.Optional[t.Mapping[str, Row]] = None) -> t.Dict[str, t.Optional[Job]]:
        """Run a workflow in which somebody approves; returns the jobs by node, in order. C(overrides) are changes of the inventory, by node."""
        (workflow,) = [workflow for workflow in self.data["workflows"] if workflow["name"] == name]
        questions = workflow["survey_spec"]["spec"]
        answers = {**{question["variable"]: question["default"] for question in questions if "default" in question}, **answers}
        nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
        children = {child["identifier"] for node in nodes.values() for kind in node.get("related", {}).values() for child in kind}
        done: t.Dict[str, t.Optional[Job]] = {}
        waiting: t.List[t.Tuple[str, Row]] = [(identifier, {}) for identifier in nodes if identifier not in children]
        while waiting:
            identifier, artifacts = waiting.pop(0)
            node = nodes[identifier]
            job = None
            if node["unified_job_template"]["type"] != "workflow_approval":
                # The node's own answers, then the artifacts, then the answers of the workflow: the last one wins.
                variables = {**node.get("extra_data", {}), **artifacts, **answers}
                job = self.run(node["unified_job_template"]["name"], variables, **(overrides or {}).get(identifier, {}))
            done[identifier] = job
            outcome = "success_nodes" if job is None or job.status == "successful" else "failure_nodes"
            handed = {**artifacts, **(job.artifacts if job else {})}
            related = node.get("related", {})
            followers = [child["identifier"] for child in related.get(outcome, []) + related.get("always_nodes", [])]
            waiting += [(follower, handed) for follower in followers if follower not in done]
        return done

    # -- the inventory

    def _inventory(self, **overrides: t.Any) -> t.Tuple[Row, t.Dict[str, str]]:
        """Return the inventory as the platform has it, without a secret, and the secrets by the names that credentials give them."""
        path = write_inventory(self.bench.lab, self.bench.folder / self.state, **{**self.bench.variables, **overrides})
        plain = json.loads(path.read_text())
        secrets = {}
        for name, (group, *keys, last) in SECRETS.items():
            place = plain["all"]["vars"] if group == "all" else plain["all"]["children"][group]["vars"]
            for key in keys:
                place = place[key]
            secrets[name], place[last] = place[last], f"{{{{ {name} }}}}"
        # The execution environment is not where modules of edge_runner find their libraries.
        plain["all"]["vars"]["ansible_python_interpreter"] = sys.executable
        path.write_text(json.dumps(plain))
        exported = subprocess.run(
            [str(TOOLS / "ansible-inventory"), "-i", str(path), "--list", "--export"], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return json.loads(exported.stdout), secrets


def setup_data(folder: Path) -> t.Dict[str, t.List[Row]]:
    """Return the lists of C(setup.yml) as a playbook of the user sees them."""
    variables = {name: f"{{{{ controller_{name} }}}}" for name in SETUP}
    copy = {"content": "{{ data | ansible.builtin.to_json }}", "dest": str(folder / "setup.json"), "mode": "0600"}
    play = {
        "hosts": "localhost", "gather_facts": False, "vars": {"edge_pattern_dir": str(PATTERN)}, "vars_files": ["{{ edge_pattern_dir }}/setup.yml"],
        "tasks": [{"ansible.builtin.copy": copy, "vars": {"data": variables}}],
    }  # fmt: skip
    (folder / "setup.yml").write_text(json.dumps([play]))
    done = subprocess.run([str(TOOLS / "ansible-playbook"), str(folder / "setup.yml")], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return t.cast(t.Dict[str, t.List[Row]], json.loads((folder / "setup.json").read_text()))
