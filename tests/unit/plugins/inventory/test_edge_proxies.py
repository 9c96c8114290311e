# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader

from ansible_collections.edge_encryption.clone.plugins.inventory import edge_proxies
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import FakeInstance, fake  # noqa: F401  # pylint: disable=unused-import

ROOT = Path(__file__).resolve().parents[4]
TABLE = "sys_encryption_proxy"
NAME = edge_proxies.InventoryModule.NAME


@pytest.fixture(scope="module", autouse=True)
def documented_options():
    """Make the options known as the plugin loader does: by the documentation and its fragments."""
    documentation = yaml.safe_load(edge_proxies.DOCUMENTATION)
    options = documentation["options"]
    for fragment in documentation["extends_documentation_fragment"]:
        package = "ansible.plugins" if fragment.startswith("ansible.builtin.") else "ansible_collections.edge_encryption.clone.plugins"
        text = importlib.import_module("{}.doc_fragments.{}".format(package, fragment.rpartition(".")[2])).ModuleDocFragment.DOCUMENTATION
        for name, option in yaml.safe_load(text)["options"].items():
            options[name] = dict(option, **options.get(name, {}))
    options["hostname"]["default"] = trusted(options["hostname"]["default"])
    constants.config.initialize_plugin_configuration_definitions("inventory", NAME, options)


def trusted(template):
    """What stands in a plugin's documentation is trusted, which newer releases want to be told."""
    try:
        from ansible.template import trust_as_template
    except ImportError:
        return template
    return trust_as_template(template)


def add_proxy(instance, name, host=None, **fields):
    values = {"name": name, "host": host or name + ".example.com", "port": "8443", "status": "Authenticated", "online": "true"}
    return instance.add(TABLE, **dict(values, last_response_on="2026-01-31 23:59:59", **fields))


@pytest.fixture
def target(fake):  # noqa: F811
    fake.tables[TABLE] = {}
    for number in (2, 1):
        add_proxy(fake, "edge_target_{}".format(number))
    return fake


class Sources:
    """Inventory files of a test, and what the plugin makes of them."""

    def __init__(self, folder):
        self.folder = folder
        self.inventory = InventoryData()

    def write(self, name, node, **options):
        path = self.folder / (name + ".edge_proxies.yml")
        content = {"plugin": NAME, "group": "edge_target_proxies", "instance": node.instance, **options}
        path.write_text(yaml.safe_dump({option: value for option, value in content.items() if value is not None}))
        return path

    def read(self, path, cache=True):
        plugin = edge_proxies.InventoryModule()
        plugin._load_name, plugin._redirected_names, plugin.ansible_name = NAME, [NAME], NAME  # as the loader does
        assert plugin.verify_file(str(path))
        plugin.parse(self.inventory, DataLoader(), str(path), cache=cache)
        if plugin.get_option("cache"):
            plugin.update_cache_if_changed()
        return self.groups()

    def refused(self, path):
        with pytest.raises(AnsibleParserError) as caught:
            self.read(path)
        return str(caught.value)

    def groups(self):
        return {name: [host.name for host in group.get_hosts()] for name, group in self.inventory.groups.items() if name not in ("all", "ungrouped")}

    def variables(self, host):
        return self.inventory.get_host(host).vars


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path)


def test_each_proxy_is_a_host_of_the_group_by_name(target, sources):
    target.row(TABLE, add_proxy(target, "edge_target_3", online="false", version="Zurich 4.1"))
    assert sources.read(sources.write("target", target)) == {
        "edge_target_proxies": ["edge_target_1", "edge_target_2", "edge_target_3"],
        "edge_target_proxies_online": ["edge_target_1", "edge_target_2"],
        "edge_target_proxies_offline": ["edge_target_3"],
        "edge_target_proxies_version_Zurich_4_1": ["edge_target_3"],
    }
    found = sources.variables("edge_target_3")
    sys_id = next(sys_id for sys_id, row in target.tables[TABLE].items() if row["name"] == "edge_target_3")
    assert (found["ansible_host"], found["edge_url"]) == ("edge_target_3.example.com", "https://edge_target_3.example.com:8443")
    assert found["edge_proxy"] == {
        "name": "edge_target_3", "host": "edge_target_3.example.com", "port": "8443", "status": "Authenticated", "online": False, "version": "Zurich 4.1",
        "last_response_on": "2026-01-31 23:59:59", "sys_id": sys_id, "instance": target.url,
    }  # fmt: skip
    assert sources.variables("edge_target_1")["edge_proxy"]["version"] == ""


def test_only_what_ends_in_edge_proxies_is_for_the_plugin(tmp_path):
    plugin = edge_proxies.InventoryModule()
    for name, wanted in (("edge_proxies.yml", True), ("a.edge_proxies.yaml", True), ("edge_proxies.json", False), ("proxies.yml", False)):
        (tmp_path / name).write_text("{}")
        assert plugin.verify_file(str(tmp_path / name)) is wanted, name
    assert not plugin.verify_file(str(tmp_path / "missing.edge_proxies.yml"))


def test_proxies_that_are_not_wanted_are_left_out(target, sources):
    add_proxy(target, "edge_target_3", online="false")
    add_proxy(target, "edge_target_4", status="Unauthenticated")
    everything = sources.read(sources.write("all", target, group="everything"))
    assert len(everything["everything"]) == 4
    online = sources.read(sources.write("online", target, group="online", only_online=True))
    assert online["online"] == ["edge_target_1", "edge_target_2", "edge_target_4"]
    both = sources.read(sources.write("both", target, group="both", only_online=True, only_authenticated=True))
    assert both["both"] == ["edge_target_1", "edge_target_2"]


def test_nothing_that_is_wanted_is_an_error(target, sources):
    for row in target.tables[TABLE].values():
        row["online"] = "false"
    said = sources.refused(sources.write("target", target, only_online=True))
    assert "the instance knows no proxy that is wanted" in said and "only_online" in said
    assert sources.groups() == {}


def test_a_name_is_an_expression_over_the_host_variables(target, sources):
    assert sources.read(sources.write("host", target, group="by_host", hostname="edge_proxy.host"))["by_host"][0] == "edge_target_1.example.com"
    named = sources.read(sources.write("other", target, group="made", hostname="edge_proxy.name ~ '.test'"))
    assert named["made"] == ["edge_target_1.test", "edge_target_2.test"]
    assert "hostname cannot be evaluated" in sources.refused(sources.write("wrong", target, hostname="edge_proxy.nam"))
    target.tables[TABLE][next(iter(target.tables[TABLE]))]["host"] = ""
    said = sources.refused(sources.write("empty", target, group="empty", hostname="edge_proxy.host"))
    assert "proxy edge_target_2 (" in said and "is '' for it" in said and "empty" not in sources.groups()


def test_two_proxies_with_the_same_name_are_refused(target, sources):
    for row in target.tables[TABLE].values():
        row["host"] = "one.example.com"
    said = sources.refused(sources.write("target", target, hostname="edge_proxy.host"))
    assert "host one.example.com: edge_target_1 on" in said and "Choose another hostname" in said


def test_a_record_without_host_or_port_has_no_url(target, sources):
    add_proxy(target, "edge_target_3", port="")
    target.row(TABLE, add_proxy(target, "edge_target_4"))["host"] = ""
    sources.read(sources.write("target", target))
    assert sources.variables("edge_target_3")["ansible_host"] and "edge_url" not in sources.variables("edge_target_3")
    assert not {"ansible_host", "edge_url"} & set(sources.variables("edge_target_4"))


def test_variables_and_groups_can_be_composed(target, sources):
    options = {
        "compose": {"ansible_host": "edge_proxy.host | replace('example.com', 'mgmt')", "wrong": "nothing.there"},
        "groups": {"first": "edge_proxy.name is match('.*_1')"},
        "keyed_groups": [{"prefix": "status", "key": "edge_proxy.status"}],
    }
    groups = sources.read(sources.write("target", target, **options))
    assert groups["first"] == ["edge_target_1"] and groups["status_Authenticated"] == ["edge_target_1", "edge_target_2"]
    assert sources.variables("edge_target_1")["ansible_host"] == "edge_target_1.mgmt" and "wrong" not in sources.variables("edge_target_1")


def test_strict_tells_what_cannot_be_composed(target, sources):
    with pytest.raises(Exception, match="Could not set wrong for host edge_target_1"):
        sources.read(sources.write("target", target, compose={"wrong": "nothing.there"}, strict=True))


def test_fields_can_have_other_names(target, sources):
    for row in target.tables[TABLE].values():
        row["u_build"] = "4.2"
    groups = sources.read(sources.write("target", target, field_names={"version": "u_build"}))
    assert groups["edge_target_proxies_version_4_2"] == ["edge_target_1", "edge_target_2"]
    assert "field_names: has vers, which is not known" in sources.refused(sources.write("wrong", target, field_names={"vers": "u_build"}))
    assert "the fields u_name are not in the answer" in sources.refused(sources.write("missing", target, field_names={"name": "u_name"}))


def test_records_that_may_not_be_read_are_told(target, sources):
    target.hidden.add(next(iter(target.tables[TABLE])))
    said = sources.refused(sources.write("target", target))
    assert "edge.automation may not read 1 of its records" in said and sources.groups() == {}


def test_the_login_comes_from_the_environment_too(target, sources, monkeypatch):
    for name, value in {"SN_HOST": target.url, "SN_USERNAME": "edge.automation", "SN_PASSWORD": "wrong"}.items():
        monkeypatch.setenv(name, value)
    assert "the login was refused" in sources.refused(sources.write("target", target, instance=None))
    monkeypatch.setenv("SN_PASSWORD", "pw")
    assert sources.read(sources.write("target", target, instance=None))["edge_target_proxies"]
    # What the file says wins.
    monkeypatch.setenv("SN_PASSWORD", "wrong")
    assert sources.read(sources.write("target", target, instance={"password": "pw"}))["edge_target_proxies"]


@pytest.mark.parametrize(("instance", "said"), [
    ({}, "instance: grant_type is password but all of the following are missing: username, password found in instance."),
    ({"username": "u", "password": "p"}, "instance: it lacks host. Or set SN_HOST."),
    ({"hots": "https://x", "username": "u", "password": "p"}, "instance: has hots, which is not known. Use ca_path, client_id,"),
    ({"host": "acmetest", "username": "u", "password": "p"}, "acmetest: is no address."),
    ({"host": "https://{address}", "username": "u", "password": "p"}, "TLS failed"),
    ({"host": "{{{{ nothing }}}}", "username": "u", "password": "p"}, "a template in it cannot be evaluated"),
])  # fmt: skip
def test_a_login_that_cannot_work_names_the_way_out(target, sources, instance, said):
    given = {name: value.format(address=target.url.partition("://")[2]) for name, value in instance.items()}
    refused = sources.refused(sources.write("target", target, instance=given))
    assert said in refused and refused.count("\n") == 0, refused


def test_a_wrong_option_is_refused(target, sources):
    with pytest.raises(Exception, match="group"):
        sources.read(sources.write("target", target, group=None))


CACHED = {"cache": True, "cache_plugin": "jsonfile", "cache_timeout": 0}


def test_the_cache_answers_while_the_instance_cannot(target, sources, tmp_path):
    path = sources.write("target", target, cache_connection=str(tmp_path / "cache"), **CACHED)
    first = sources.read(path)
    before = dict(sources.variables("edge_target_1"))
    target.tables[TABLE].clear()
    sources.inventory = InventoryData()
    asked = len(target.requests)
    assert sources.read(path) == first and sources.variables("edge_target_1") == before and len(target.requests) == asked
    # Taken anew only when that is asked for, or when the question is another one.
    add_proxy(target, "edge_target_9")
    sources.inventory = InventoryData()
    assert sources.read(path, cache=False)["edge_target_proxies"] == ["edge_target_9"]
    sources.inventory = InventoryData()
    assert sources.read(path)["edge_target_proxies"] == ["edge_target_9"]
    sources.write("target", target, cache_connection=str(tmp_path / "cache"), field_names={"version": "u_build"}, **CACHED)
    add_proxy(target, "edge_target_8")
    sources.inventory = InventoryData()
    assert sources.read(path)["edge_target_proxies"] == ["edge_target_8", "edge_target_9"]


def test_no_secret_is_in_a_variable_or_in_the_cache(target, sources, tmp_path):
    target.users["edge.automation"] = "a-Secret-Nobody-May-Find"
    sources.read(sources.write("target", target, cache_connection=str(tmp_path / "cache"), **CACHED))
    kept = "".join(path.read_text() for path in (tmp_path / "cache").iterdir())
    assert "edge_target_1" in kept
    for text in (kept, json.dumps([host.vars for host in sources.inventory.hosts.values()])):
        assert "a-Secret-Nobody-May-Find" not in text and "edge.automation" not in text


def test_the_same_proxy_on_both_sides_is_refused(target, sources):
    """So it is after a clone, until t57 has put the target's own records back."""
    with FakeInstance("acmeprod") as source:
        for row in target.tables[TABLE].values():
            add_proxy(source, row["name"], host=row["host"])
        sources.read(sources.write("source", source, group="edge_source_proxies"))
        for hostname in ("edge_proxy.name", "edge_proxy.host", "edge_proxy.name ~ '.test'"):
            said = sources.refused(sources.write("target", target, hostname=hostname))
            assert "edge_target_1 on {} and edge_target_1 on {} would be the same host".format(source.url, target.url) in said
            assert "until t57 puts its own records back" in said and "edge_target_proxies" not in sources.groups()
        # The same names for other proxies are fine, as long as the hosts are called differently.
        for row in target.tables[TABLE].values():
            row["host"] = "test-" + row["host"]
        assert "would be the same host" in sources.refused(sources.write("target", target))
        assert len(sources.read(sources.write("target", target, hostname="edge_proxy.host"))["edge_target_proxies"]) == 2


CODE = "{{ lookup('ansible.builtin.pipe', 'echo run') }}"


def ansible_inventory(*arguments, **environment):
    command = [sys.executable, "-m", "ansible.cli.inventory", *arguments]
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"), ANSIBLE_NOCOLOR="1", **environment)
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def test_ansible_makes_a_whole_inventory_of_two_files(target, sources, tmp_path):
    """With templates, an encrypted password and a record that tries to run code."""
    vault = tmp_path / "vault"
    vault.write_text("vault-password")
    make = [sys.executable, "-m", "ansible.cli.vault", "encrypt_string", "--vault-password-file", str(vault), "--name", "password", "pw"]
    secret = subprocess.run(make, check=True, capture_output=True, text=True).stdout
    target.row(TABLE, add_proxy(target, "edge_target_3"))["version"] = CODE
    with FakeInstance("acmeprod") as source:
        source.users["edge.automation"] = "source-password"
        add_proxy(source, "edge_source_1")
        inventory = tmp_path / "inventory"
        inventory.mkdir()
        (inventory / "hosts.yml").write_text("all: {children: {edge_runner: {hosts: {runner.example.com: }}}}\n")
        (inventory / "source.edge_proxies.yml").write_text(
            "plugin: {}\ngroup: edge_source_proxies\ninstance:\n  host: {}\n  username: edge.automation\n"
            "  password: \"{{{{ lookup('ansible.builtin.env', 'SOURCE_PASSWORD') }}}}\"\n".format(NAME, source.url)
        )
        (inventory / "target.edge_proxies.yml").write_text(
            "plugin: {}\ngroup: edge_target_proxies\ninstance:\n  host: {}\n  username: '{{{{ user_name }}}}'\n  {}".format(
                NAME, target.url, secret.replace("\n", "\n  ")
            )
        )
        arguments = ["--list", "-i", str(inventory), "--vault-password-file", str(vault), "-e", "user_name=edge.automation"]
        done = ansible_inventory(*arguments, SOURCE_PASSWORD="source-password", ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true")
        assert done.returncode == 0 and "DEPRECAT" not in done.stderr, done.stderr
        found = json.loads(done.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value))
        sides = {"edge_runner": ["runner.example.com"], "edge_source_proxies": ["edge_source_1"]}
        sides["edge_target_proxies"] = ["edge_target_1", "edge_target_2", "edge_target_3"]
        assert {name: found[name]["hosts"] for name in sides} == sides
        assert found["_meta"]["hostvars"]["edge_source_1"]["edge_url"] == "https://edge_source_1.example.com:8443"
        assert found["_meta"]["hostvars"]["edge_target_3"]["edge_proxy"]["version"] == CODE
        assert "source-password" not in done.stdout + done.stderr
        failed = ansible_inventory(*arguments, SOURCE_PASSWORD="wrong", ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true")
        assert failed.returncode != 0 and "the login was refused" in " ".join(failed.stderr.split()), failed.stderr
