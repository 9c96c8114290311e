# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact that users install: built from what git knows, installed into an empty folder, and used from there."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "venv" / "release" / "bin"
NAME = "edge_encryption.clone"
LARGEST = 1000000  # bytes


def run(*command, cwd, home, path="", timeout=300):
    """Run a command that knows no other collection and no configuration of the user."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    environment.update(HOME=str(home), ANSIBLE_HOME=str(home / ".ansible"), ANSIBLE_COLLECTIONS_PATH=path or str(home / "none"), ANSIBLE_NOCOLOR="1")
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (command, done.stdout[-4000:], done.stderr[-4000:])
    return done


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of what git knows."""
    folder = tmp_path_factory.mktemp("copy")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    packed = subprocess.run(["tar", "--null", "--files-from=-", "-cf", "-"], cwd=ROOT, input=names, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-xf", "-", "-C", str(folder)], input=packed, check=True)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def artifact(copy, home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    run("ansible-galaxy", "collection", "build", "--output-path", folder, cwd=copy, home=home)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(artifact, home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("collections")
    run("ansible-galaxy", "collection", "install", "--offline", "-p", folder, artifact, cwd=folder, home=home)
    return folder


@pytest.fixture
def use(installed, home):
    """Return a function that runs a command as somebody who has nothing but the installed collection."""
    return lambda *command: run(*command, cwd=home, home=home, path=str(installed))


def plugins(kind):
    names = {path.stem for path in (ROOT / "plugins" / kind).glob("*.py")}
    if kind == "filter":
        names = {path.stem for path in (ROOT / "plugins" / kind).glob("*.yml")}
    assert names, kind
    return sorted(f"{NAME}.{name}" for name in names)


def playbooks():
    return sorted(f"{NAME}.{path.stem}" for path in (ROOT / "playbooks").glob("*.yml"))


def roles():
    return sorted(f"{NAME}.{path.name}" for path in (ROOT / "roles").iterdir())


def test_the_artifact_is_small_and_holds_nothing_of_the_workshop(artifact):
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert artifact.name == f"edge_encryption-clone-{version}.tar.gz"
    assert artifact.stat().st_size < LARGEST, artifact.stat().st_size
    with tarfile.open(artifact) as content:
        names = [member.name for member in content.getmembers()]
    workshop = r"\.(?!ansible-lint$)|build/|collections/|extensions/molecule|Makefile|pyproject|.*__pycache__|.*\.(pyc|gz)$"
    tests = "lab|e2e|eda|bench|browser|guard|integration|release|output"
    assert [name for name in names if re.match(rf"{workshop}|tests/({tests})", name)] == []
    assert {"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "meta/runtime.yml", "requirements.txt"} <= set(names)
    # What users call or read is all there.
    for folder in ("plugins", "roles", "playbooks", "extensions/eda", "extensions/patterns", "docs/docsite", "examples", "changelogs", "meta"):
        there = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert there - set(names) == set()


@pytest.mark.parametrize("kind", ["module", "filter", "inventory", "role"])
def test_every_plugin_and_role_is_documented_where_it_is_installed(use, kind):
    wanted = roles() if kind == "role" else plugins({"module": "modules"}.get(kind, kind))
    listed = json.loads(use("ansible-doc", "-t", kind, "-l", "-j", NAME).stdout)
    assert sorted(listed) == wanted
    documented = json.loads(use("ansible-doc", "-t", kind, "-j", *wanted).stdout)
    assert sorted(documented) == wanted
    for name, text in documented.items():
        assert text.get("entry_points") if kind == "role" else text["doc"]["short_description"] and text["doc"]["options"] is not None, name


@pytest.mark.parametrize("playbook", playbooks())
def test_a_playbook_is_found_and_understood_where_it_is_installed(use, installed, playbook):
    collection = installed / "ansible_collections" / "edge_encryption" / "clone"
    done = use("ansible-playbook", playbook, "--syntax-check", "-i", collection / "examples" / "project" / "inventory")
    assert f"playbook: {collection}/playbooks/{playbook.rpartition('.')[2]}.yml" in done.stdout, done.stdout


def test_the_example_project_is_understood_with_the_installed_collection(use, installed):
    """From its own folder, where its ansible.cfg is."""
    project = installed / "ansible_collections" / "edge_encryption" / "clone" / "examples" / "project"
    done = use("env", "-C", project, "ansible-playbook", "clone_with_tokenization.yml", "--syntax-check")
    assert "playbook: clone_with_tokenization.yml" in done.stdout and "Could not match supplied host pattern" not in done.stdout + done.stderr


def test_a_project_for_an_automation_platform_is_understood(use, installed, tmp_path):
    """The example project with the playbooks of the pattern beside its ansible.cfg, as the pattern's README asks for."""
    collection = installed / "ansible_collections" / "edge_encryption" / "clone"
    shutil.copytree(collection / "examples" / "project", tmp_path, dirs_exist_ok=True)
    thin = sorted(path for path in (collection / "extensions" / "patterns").glob("*/playbooks/*.yml") if not path.name.endswith(".meta.yml"))
    assert [path.stem for path in thin] == sorted(name.rpartition(".")[2] for name in playbooks())
    for path in thin:
        shutil.copy(path, tmp_path)
    done = use("env", "-C", tmp_path, "ansible-playbook", "--syntax-check", *[path.name for path in thin])
    assert [line for line in done.stdout.splitlines() if line] == [f"playbook: {path.name}" for path in thin], done.stdout


def test_every_name_that_the_documentation_uses_exists():
    """Modules, filters, roles, playbooks, guides and the parts of the documentation that plugins share."""
    known = {name.rpartition(".")[2] for kind in ("modules", "filter", "inventory") for name in plugins(kind)}
    known |= {name.rpartition(".")[2] for name in roles() + playbooks()}
    known |= {path.stem for path in (ROOT / "plugins" / "doc_fragments").glob("*.py")}
    known |= {path.stem for pattern in ("rulebooks/*.yml", "plugins/event_source/*.py") for path in (ROOT / "extensions" / "eda").glob(pattern)}
    known |= set(yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"])
    known |= {"docsite", "plugins", "git"}
    documents = list(ROOT.glob("*.md"))
    for folder in ("docs", "roles", "plugins", "playbooks", "extensions/eda", "extensions/patterns", "examples"):
        documents += (ROOT / folder).rglob("*")
    unknown = set()
    for path in (path for path in documents if path.is_file() and path.suffix in (".md", ".rst", ".yml", ".py", ".j2")):
        text = path.read_text()
        names = re.findall(r"(?<!ansible_collections\.)\bedge_encryption\.clone\.(\w+)", text)
        guides = re.findall(r"edge_encryption\.clone\.docsite\.(\w+)", text)
        unknown |= {(str(path.relative_to(ROOT)), name) for name in names if name not in known}
        unknown |= {(str(path.relative_to(ROOT)), name) for name in guides if not (ROOT / "docs" / "docsite" / "rst" / f"{name}.rst").is_file()}
    assert unknown == set()


# The tools that a release goes through


def tool(name):
    assert (TOOLS / name).exists(), "make release-check sets up the tools"
    return TOOLS / name


def test_the_changelog_and_its_fragments_are_what_antsibull_reads(copy, home):
    run(tool("antsibull-changelog"), "lint", cwd=copy, home=home)
    # A release can be made of them.
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    run(tool("antsibull-changelog"), "release", "--version", version, cwd=copy, home=home, path=str(copy))
    text = (copy / "CHANGELOG.md").read_text()
    assert f"v{version.replace('.', chr(92) + '.')}" in text and "### Major Changes" in text, text[:2000]


def test_every_file_has_a_licence_by_the_specification_of_reuse(copy, home):
    run(tool("reuse"), "--root", copy, "lint", cwd=copy, home=home)


def test_galaxy_would_import_it_without_a_word(artifact, home):
    """As Ansible Galaxy and Automation Hub do: content, documentation, ansible-lint with the production profile. The importer gives ansible-lint 180 s."""
    environment = ["env", f"PATH={TOOLS}{os.pathsep}{os.environ['PATH']}", "GALAXY_IMPORTER_RUN_FLAKE8=false"]
    done = run(*environment, tool("python"), "-m", "galaxy_importer.main", artifact, cwd=artifact.parent, home=home, timeout=600)
    said = done.stdout + done.stderr
    assert "Importer processing completed successfully" in said and "...ansible-lint run complete" in said, said[-4000:]
    assert [line for line in said.splitlines() if re.match(r"(WARNING|ERROR|CRITICAL)", line)] == []
