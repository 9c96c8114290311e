# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible Galaxy, Automation Hub and a lawyer look at first."""

import re

import pytest
import tomllib
import yaml

from ansible_collections.edge_encryption.clone.tests.guard.repository import ROOT, tracked

REPOSITORY = "https://github.com/edge-encryption/clone"
README = (ROOT / "README.md").read_text()
HEADER = ["Copyright (c) 2026, edge_encryption.clone contributors", "SPDX-License-Identifier: GPL-3.0-or-later"]


def covered(path: str, pattern: str) -> bool:
    """Whether a path of REUSE.toml covers the file: * stays within a folder, ** does not."""
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.fullmatch("".join({"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts), path) is not None


def test_every_file_says_under_which_licence_it_is():
    annotations = tomllib.loads((ROOT / "REUSE.toml").read_text())["annotations"]
    assert all(each["SPDX-License-Identifier"] == "GPL-3.0-or-later" for each in annotations)
    patterns = [pattern for each in annotations for pattern in each["path"]]
    silent = []
    names = [str(path.relative_to(ROOT)) for path in tracked()]
    for name in names:
        if name == "LICENSE" or name.startswith("LICENSES/"):
            continue
        beginning = "\n".join((ROOT / name).read_text(errors="replace").splitlines()[:8])
        if not all(line in beginning for line in HEADER) and not any(covered(name, pattern) for pattern in patterns):
            silent.append(name)
    assert silent == []
    assert [pattern for pattern in patterns if not any(covered(name, pattern) for name in names)] == [], "covers nothing any more"


def test_the_licence_is_the_one_that_is_said():
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text() and "Version 3, 29 June 2007" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "LICENSES" / "GPL-3.0-or-later.txt").resolve() == ROOT / "LICENSE"


def test_the_readme_has_the_sections_that_certification_asks_for():
    assert re.findall(r"(?m)^## (.+)$", README) == [
        "Description", "Requirements", "Installation", "Use Cases", "Testing", "Support", "Release Notes and Roadmap", "Related Information",
        "License Information",
    ]  # fmt: skip
    assert "make demo" in README and "make test" in README


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_are_whole_addresses_and_lead_somewhere(document):
    text = (ROOT / document).read_text()
    inline = re.findall(r"\]\(([^)]+)\)", text)
    definitions = dict(re.findall(r"(?m)^\[([^\]]+)\]: (\S+)$", text))
    body = re.sub(r"(?ms)^```.*?^```", "", text)
    for label in re.findall(r"\[[^\]]+\]\[([^\]]+)\]", body):
        assert label in definitions, label
    for address in [*inline, *definitions.values()]:
        assert address.startswith("https://"), address
        match = re.fullmatch(REPOSITORY + r"/(?:blob|tree)/main/(.+)", address)
        assert not match or (ROOT / match[1]).exists(), address


def test_the_readme_names_every_playbook_module_and_plugin():
    for kind, names in {"playbooks": {path.stem for path in (ROOT / "playbooks").glob("*.yml")},
                        "modules": {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")},
                        "inventory": {path.stem for path in (ROOT / "plugins" / "inventory").glob("*.py")}}.items():
        assert {name for name in names if not re.search(rf"`(edge_encryption\.clone\.)?{name}`", README)} == set(), kind


def test_the_metadata_is_complete():
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[a-z0-9.]+)?", galaxy["version"])
    assert galaxy["dependencies"] == {} and (ROOT / galaxy["license_file"]).is_file() and (ROOT / galaxy["readme"]).is_file()
    assert all(galaxy[name].startswith(REPOSITORY) for name in ("repository", "homepage", "issues", "documentation"))
    assert all(re.fullmatch(r"[a-z0-9]{1,64}", tag) for tag in galaxy["tags"]) and "security" in galaxy["tags"]
    assert yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"] == ">=2.16.0"


def test_the_action_group_holds_every_module_with_an_instance():
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["instance"]
    fragment = "edge_encryption.clone."
    having = []
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        documentation = yaml.safe_load(re.search(r'DOCUMENTATION = r?"""(.*?)"""', path.read_text(), re.DOTALL).group(1))
        fragments = documentation["extends_documentation_fragment"]
        assert (fragment + "instance" in fragments) == (fragment + "attributes.instance_group" in fragments), path
        if fragment + "instance" in fragments:
            having.append(path.stem)
    assert group == having


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_a_role_introduces_itself(role):
    """Galaxy refuses a role without a readme and a description."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    information = yaml.safe_load((ROOT / "roles" / role / "meta" / "main.yml").read_text())["galaxy_info"]
    text = (ROOT / "roles" / role / "README.md").read_text()
    assert information["description"] in text and text.startswith(f"# edge_encryption.clone.{role}\n")
    assert re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", text) == [(name, spec["short_description"]) for name, spec in specs.items()]
    task = yaml.safe_load(re.search(r"(?ms)^```yaml\n(.*?)^```", text)[1])[0]
    entry = task["ansible.builtin.include_role"].get("tasks_from", "main")
    required = {name for name, option in specs[entry]["options"].items() if option.get("required")}
    assert required <= set(task["vars"]) <= set(specs[entry]["options"])
