# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pattern for automation platforms says one thing in all its files, and what the specification of patterns (version 1.0.0) asks for."""

import json
import re

import pytest
import yaml

from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS
from ansible_collections.edge_encryption.clone.tests.guard.repository import ROOT

PATTERN = ROOT / "extensions" / "patterns" / "clone_with_edge_encryption"
DEFINITION = json.loads((PATTERN / "meta" / "pattern.json").read_text())
RESOURCES = DEFINITION["aap_resources"]
TEMPLATES = {entry["playbook"].removesuffix(".yml"): entry for entry in RESOURCES["controller_job_templates"]}
PUBLIC = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
QUESTIONS = {name: {question["variable"]: question for question in entry.get("survey", {}).get("spec", [])} for name, entry in TEMPLATES.items()}


def load(path):
    return yaml.safe_load(path.read_text())


def test_it_is_named_like_its_folder_and_in_the_readme_of_it():
    assert DEFINITION["name"] == PATTERN.name and re.fullmatch(r"[a-z0-9_]{1,64}", PATTERN.name)
    assert len(DEFINITION["title"]) <= 64 and not DEFINITION["short_description"].endswith(".")
    readme = (PATTERN / "README.md").read_text()
    assert [entry["name"] for entry in TEMPLATES.values() if entry["name"].partition(" / ")[2] not in readme] == []


def test_every_playbook_has_a_job_template_and_no_other_is_there():
    assert len(RESOURCES["controller_job_templates"]) == len(TEMPLATES)
    assert PUBLIC == set(TEMPLATES) == {path.name.partition(".")[0] for path in (PATTERN / "playbooks").iterdir()}
    assert [name for name, entry in TEMPLATES.items() if entry["primary"]] == ["clone_with_tokenization"]
    assert {entry["execution_environment"] for entry in TEMPLATES.values()} == {RESOURCES["controller_execution_environment"]["name"]}
    assert {label for entry in TEMPLATES.values() for label in entry["labels"]} == set(RESOURCES["controller_labels"])


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_playbook_is_thin_and_documents_the_questions_of_its_survey(name):
    assert load(PATTERN / "playbooks" / f"{name}.yml") == [
        {"name": TEMPLATES[name]["name"].partition(" / ")[2], "ansible.builtin.import_playbook": f"edge_encryption.clone.{name}"}
    ]
    documented = load(PATTERN / "playbooks" / f"{name}.meta.yml")
    assert documented["description"] == TEMPLATES[name]["description"]
    options = documented["argument_specs"][name]["options"]
    said = {
        variable: {key: question[key] for key in ("default", "choices") if key in question}
        | {"description": question["question_description"], "type": "str"} | ({} if "default" in question else {"required": True})
        for variable, question in QUESTIONS[name].items()
    }  # fmt: skip
    assert options == said


def test_a_question_is_put_in_one_way_and_is_answered_by_a_variable_of_the_inventory_guide():
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_inventory.rst").read_text()
    for name, questions in QUESTIONS.items():
        for variable, question in questions.items():
            assert f"``{variable}``" in guide, (name, variable)
            assert question["required"] == ("default" not in question or question["default"] != ""), (name, variable)
            assert question["max"] if question["type"] == "text" else question["choices"], (name, variable)  # the platform validates what it can
    assert {tuple(questions["edge_last_step"]["choices"]) for questions in QUESTIONS.values() if "edge_last_step" in questions} == {STEP_IDS}
    assert {questions["edge_confirm_target"]["required"] for name, questions in QUESTIONS.items() if "edge_confirm_target" in questions
            and name != "clean_up_clone"} == {True}  # fmt: skip


def test_credentials_give_what_the_example_inventory_takes_from_vault():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
    data = yaml.load((PATTERN / "setup.yml").read_text(), Loader)
    given = [name for kind in data["controller_credential_types"] for name in kind["injectors"]["extra_vars"]]
    asked = {name for path in (ROOT / "examples" / "project").rglob("*.yml") for name in re.findall(r"\bvault_\w+", path.read_text())}
    assert sorted(given) == sorted(asked)
    for kind in data["controller_credential_types"]:
        fields = {field["id"]: field for field in kind["inputs"]["fields"]}
        assert set(kind["inputs"]["required"]) <= set(fields) and all(field["secret"] for field in fields.values())
        assert sorted(re.findall(r"{{ (\w+) }}", " ".join(kind["injectors"]["extra_vars"].values()))) == sorted(fields)
        assert kind["name"] in data["edge_aap_credentials"]


def test_the_execution_environment_gets_what_the_modules_need():
    assert load(ROOT / "meta" / "execution-environment.yml")["dependencies"] == {"python": "requirements.txt"}
    built = load(PATTERN / "exec_env" / "execution-environment.yml")
    assert built["dependencies"]["galaxy"]["collections"] == [{"name": "edge_encryption.clone"}]
