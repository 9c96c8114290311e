# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation tells people to type is taken by Ansible: options, playbooks and variables are there, with values of their types."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.edge_encryption.clone.tests.guard.repository import ROOT

NAMESPACE = "edge_encryption.clone."
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "docsite" / "rst").glob("*.rst"))]
VARIABLES = {name for guide in GUIDES for name in re.findall(r"(?m)^   \* - ``(edge_\w+)``", guide.read_text())}
ANY = {"str": "x", "path": "/x", "int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}, "raw": "x"}


@pytest.fixture(scope="module")
def documented():
    """What ansible-doc says of each module, fragments included."""
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", *(NAMESPACE + name for name in MODULES)]
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"))
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return {name.removeprefix(NAMESPACE): entry for name, entry in json.loads(done.stdout).items()}


def spec_of(options):
    known = ("type", "elements", "choices", "required")
    return {
        name: {key: option[key] for key in known if key in option} | ({"options": spec_of(option["suboptions"])} if option.get("suboptions") else {})
        for name, option in options.items()
    }  # fmt: skip


def concrete(value, option):
    """Put something of the right type in the place of what only Ansible can evaluate."""
    if isinstance(value, str) and "{{" in value:
        if option.get("suboptions") and option.get("type") == "dict":
            return {name: concrete("{{ x }}", each) for name, each in option["suboptions"].items() if each.get("required")}
        return option["choices"][0] if option.get("choices") else ANY[option.get("type", "str")]
    if isinstance(value, dict) and option.get("suboptions"):
        return {name: concrete(each, option["suboptions"].get(name, {})) for name, each in value.items()}
    if isinstance(value, list):
        return [concrete(each, dict(option, type=option.get("elements", "raw"))) for each in value]
    return value


def complaints(arguments, options):
    result = ArgumentSpecValidator(spec_of(options)).validate({name: concrete(value, options.get(name, {})) for name, value in arguments.items()})
    return result.error_messages


def tasks_of(value):
    for task in value if isinstance(value, list) else []:
        yield task
        for part in ("block", "rescue", "always", "tasks"):
            yield from tasks_of(task.get(part))


@pytest.mark.parametrize("module", MODULES)
def test_an_example_of_a_module_has_the_options_of_the_module(documented, module):
    examples = list(tasks_of(yaml.safe_load(documented[module]["examples"])))
    own = [(name.removeprefix(NAMESPACE), arguments) for task in examples for name, arguments in task.items() if name.startswith(NAMESPACE)]
    assert module in {name for name, _arguments in own}
    assert [(name, said) for name, arguments in own for said in complaints(arguments, documented[name]["doc"]["options"])] == []


def commands_of(path):
    """Every command line of ansible that a page shows, a line that ends with a backslash together with the next."""
    text = path.read_text().replace("\\\n", " ")
    return re.findall(r"(?<![\w/.-])ansible(?:-playbook)? [^`\n]+", text)


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.name)
def test_a_command_that_a_page_shows_names_what_is_there(documented, page):
    wrong = []
    for command in commands_of(page):
        wrong += [name for name in re.findall(r"ansible-playbook (?:-\S+ )*edge_encryption\.clone\.(\w+)", command) if name not in PLAYBOOKS]
        wrong += [name for name in re.findall(r"-e ['\"]?\{?['\"]?(edge_\w+)", command) if name not in VARIABLES]
        for name, text in re.findall(r"-m edge_encryption\.clone\.(\w+)(?: -a \"([^\"]+)\")?", command):
            arguments = dict(re.findall(r"(\w+)=(\{\{.*?\}\}|\S+)", text))
            wrong += complaints(arguments, documented[name]["doc"]["options"]) if name in documented else [name]
    assert wrong == []


def test_pages_show_commands():
    assert sum(len(commands_of(page)) for page in GUIDES) > 20


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.name)
def test_what_a_page_shows_as_yaml_can_be_read_and_has_known_variables(page):
    text = page.read_text()
    blocks = re.findall(r"(?ms)^```yaml\n(.*?)^```", text) if page.suffix == ".md" else [
        re.sub(r"(?m)^    ", "", block) for block in re.findall(r"(?m)^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", text)
    ]  # fmt: skip
    for block in blocks:
        loaded = yaml.safe_load(block)
        assert loaded, block
        named = {name for name in loaded if str(name).startswith("edge_")} if isinstance(loaded, dict) else set()
        assert named - VARIABLES - {"edge_runner", "edge_source_proxies", "edge_target_proxies"} == set(), block
