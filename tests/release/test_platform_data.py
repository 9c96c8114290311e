# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data for automation platforms, held against the options of the modules that take it, and the execution environment against its builder."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.edge_encryption.clone.tests.e2e.platform import PATTERN, TOOLS, setup_data

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
# infra.aap_configuration.dispatch gives each list to a role, which gives each entry to this module of awx.awx or ansible.controller.
MODULES = {
    "credential_types": "credential_type", "labels": "label", "execution_environments": "execution_environment", "projects": "project",
    "inventories": "inventory", "inventory_sources": "inventory_source", "templates": "job_template", "schedules": "schedule",
    "workflows": "workflow_job_template",
}  # fmt: skip
ONLY_OF_PATTERNS = {"primary"}  # which the role passes over


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return setup_data(tmp_path_factory.mktemp("setup"))


@pytest.fixture(scope="module")
def options():
    names = [f"awx.awx.{module}" for module in MODULES.values()]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run([str(TOOLS / "ansible-doc"), "-t", "module", "-j", *names], env=environment, check=True, capture_output=True, text=True)
    return {name.rpartition(".")[2]: documented["doc"]["options"] for name, documented in json.loads(done.stdout).items()}


def spec(options):
    """Return an argument spec from documented options."""
    known = ("type", "required", "choices", "elements", "aliases")
    found = {name: {key: option[key] for key in known if key in option} for name, option in options.items()}
    for name, option in options.items():
        if option.get("suboptions") and option["type"] in ("dict", "list"):
            found[name]["options"] = spec(option["suboptions"])
    return found


@pytest.mark.parametrize("kind", MODULES)
def test_every_entry_is_what_its_module_takes(data, options, kind):
    assert data[kind]
    validator = ArgumentSpecValidator(spec(options[MODULES[kind]]))
    for entry in data[kind]:
        found = validator.validate({name: value for name, value in entry.items() if name not in ONLY_OF_PATTERNS})
        assert found.error_messages == [] and not found.unsupported_parameters, (entry["name"], found.error_messages)


def test_a_wrong_entry_would_be_noticed(data, options):
    validator = ArgumentSpecValidator(spec(options["job_template"]))
    template = {name: value for name, value in data["templates"][0].items() if name not in ONLY_OF_PATTERNS}
    assert validator.validate({**template, "job_type": "both"}).error_messages
    assert validator.validate({**template, "survey_spce": {}}).error_messages


def test_what_is_named_is_there(data):
    names = {kind: {entry["name"] for entry in entries} for kind, entries in data.items()}
    nodes = [node["unified_job_template"] for workflow in data["workflows"] for node in workflow["workflow_nodes"]]
    assert {node["name"] for node in nodes if node["type"] == "job_template"} <= names["templates"]
    assert {schedule["unified_job_template"] for schedule in data["schedules"]} <= names["templates"]
    for template in data["templates"]:
        assert {template["project"]} == names["projects"] and {template["inventory"]} == names["inventories"]
        assert {template["execution_environment"]} == names["execution_environments"] and set(template["labels"]) == names["labels"]
    for workflow in data["workflows"]:
        nodes = [node["identifier"] for node in workflow["workflow_nodes"]]
        children = {child["identifier"] for node in workflow["workflow_nodes"] for kind in node.get("related", {}).values() for child in kind}
        assert len(set(nodes)) == len(nodes) and children == set(nodes) - {nodes[0]}
        answered = {name for node in workflow["workflow_nodes"] for name in node.get("extra_data", {})}
        assert answered == {"edge_last_step"}  # which the survey asks for, or the platform would drop it


def test_the_builder_takes_the_execution_environment_and_finds_what_the_modules_need(tmp_path):
    environment = {"PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    definition = PATTERN / "exec_env" / "execution-environment.yml"
    create = [str(TOOLS / "ansible-builder"), "create", "--file", str(definition), "--context", str(tmp_path / "context"), "--output-filename", "Containerfile"]
    done = subprocess.run(create, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "edge_encryption.clone" in (tmp_path / "context" / "_build" / "requirements.yml").read_text()

    # What the builder does inside the image, once the collection is there.
    introspect = [str(TOOLS / "ansible-builder"), "introspect", "--sanitize", str(ROOT / "build" / "collections")]
    done = subprocess.run(introspect, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = yaml.safe_load(done.stdout)
    needed = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    asked = [line.partition("  #")[0].strip() for line in found["python"]]
    assert sorted(line.lower() for line in asked) == sorted(line.lower() for line in needed), found
    install = [str(TOOLS / "pip"), "install", "--quiet", "--dry-run", "--ignore-installed", *asked]
    installed = subprocess.run(install, check=False, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
