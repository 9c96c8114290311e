# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the house that a reader would otherwise have to check by hand."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEP_IDS
from ansible_collections.edge_encryption.clone.tests.guard.repository import ROOT, tracked

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
# Task files that only other entry points of the role include.
INTERNAL = {
    "clone_journal": {"before", "failed", "gate", "hours", "lost", "over"}, "instance_clone": {"ask", "ended", "follow"},
    "signature_resigned": {"rolling_off", "rolling_on", "unfinished"}, "token_db": {"look", "sync"},
}  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_a_module_documents_its_attributes_and_has_tests(module):
    text = (ROOT / "plugins" / "modules" / f"{module}.py").read_text()
    documentation = yaml.safe_load(re.search(r'DOCUMENTATION = r?"""(.*?)"""', text, re.DOTALL).group(1))
    fragments = documentation["extends_documentation_fragment"]
    given = set(documentation.get("attributes", {}))
    if any(fragment.endswith("attributes.info_module") for fragment in fragments):
        given |= {"check_mode", "diff_mode", "idempotent"}
    assert given >= {"check_mode", "diff_mode", "idempotent"}
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if re.search(rf"\b{module}\b", path.read_text())]
    assert tests, f"no test names {module}"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_describes_each_entry_point(role):
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    entries = {path.stem for path in (ROOT / "roles" / role / "tasks").glob("*.yml")} - INTERNAL.get(role, set())
    assert set(specs) == entries
    for name, spec in specs.items():
        assert spec["short_description"] and spec["description"], name
        for option, content in spec["options"].items():
            assert option.startswith(f"{role}_") and content["description"], (name, option)


@pytest.mark.parametrize("role", ROLES)
def test_an_option_of_a_role_is_required_or_has_the_default_that_is_documented(role):
    """Ansible takes no default from the specification, so that a documented one which is missing in defaults would be undefined."""
    folder = ROOT / "roles" / role
    specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text()) if (folder / "defaults" / "main.yml").exists() else {}
    tasks = "".join(path.read_text() for path in (folder / "tasks").glob("*.yml"))
    wrong = []
    for entry, spec in specs.items():
        for name, option in spec["options"].items():
            if "default" in option:
                wrong += [(entry, name)] if defaults.get(name, "missing") != option["default"] else []
            elif not option.get("required") and name not in defaults and not re.search(rf"{name} (\| default\(|is defined)", tasks):
                wrong.append((entry, name))
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_scenario(role):
    folder = ROOT / "extensions" / "molecule" / role
    assert {"molecule.yml", "converge.yml", "verify.yml"} <= {path.name for path in folder.iterdir()}
    verify = yaml.safe_load((folder / "verify.yml").read_text())
    assert verify[0]["ansible.builtin.import_playbook"] == "../hosts.yml", "a verify that runs on no host must fail"


@pytest.mark.parametrize("role", INTERNAL)
def test_an_internal_task_file_is_included_by_its_role(role):
    text = "".join(path.read_text() for path in (ROOT / "roles" / role / "tasks").glob("*.yml"))
    assert {name for name in INTERNAL[role] if not re.search(rf"_tasks: {name}\.yml$", text, re.MULTILINE)} == set()


def test_plugins_keep_the_syntax_of_python_3_6():
    for path in (ROOT / "plugins").rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 6))


@pytest.mark.parametrize("folder", ["modules", "module_utils"])
def test_data_goes_one_way(folder):
    """No module uses another one, and no util knows what uses it."""
    forbidden = ["plugins.modules", "plugins.action", "plugins.plugin_utils", "plugins.inventory"]
    forbidden += ["ansible.module_utils.basic"] if folder == "module_utils" else []
    for path in (ROOT / "plugins" / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert [name for name in names if any(part in name for part in forbidden)] == [], path


def test_a_run_ends_after_a_step_by_the_order_of_names():
    """Steps are compared by their names, so these must be in the order of the timeline."""
    assert list(STEP_IDS) == sorted(STEP_IDS)


def test_roles_and_playbooks_use_full_names_only():
    """A short name would be looked up in whatever collections the user has."""
    for path in [*(ROOT / "roles").rglob("tasks/*.yml"), *(ROOT / "playbooks").rglob("*.yml")]:
        found = re.findall(r"(?m)^\s*(?:- )?(include_role|import_role|set_fact|assert|debug|command|shell|file|copy|template|uri):", path.read_text())
        assert found == [], path


def test_no_template_has_an_escaped_quotation_mark():
    """ansible-core before 2.19 doubles the backslash in a text over several lines, and then the template cannot be read."""
    for path in [*(ROOT / "roles").rglob("*.yml"), *(ROOT / "playbooks").rglob("*.yml")]:
        assert "\\'" not in path.read_text(), path


def test_nothing_names_the_machine_that_it_was_made_on():
    found = [(str(path.relative_to(ROOT)), word) for path in tracked() if path != Path(__file__) and path.suffix not in (".png", ".jceks")
             for word in re.findall(r"/(?:work|root)/\w+|\.pyenv", path.read_text(errors="replace"))]
    assert found == []
