# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: edge_proxies
author: edge_encryption.clone contributors (@edge-encryption)
short_description: Edge Encryption proxies that an instance knows, as hosts
description:
  - Makes a host of each Edge Encryption proxy that a ServiceNow instance knows, so that nobody has to type the list of hosts.
  - The name of the file must end in C(edge_proxies.yml) or C(edge_proxies.yaml).
  - One file asks one instance. Take two of them, with O(group=edge_source_proxies) and O(group=edge_target_proxies), for the playbooks of this collection.
  - "Each host gets the variables C(ansible_host) (host of the record), C(edge_url) (C(https), host and port of the record, when it has both) and
    C(edge_proxy), a dictionary with C(name), C(host), C(port), C(status), C(online) (a boolean), C(version), C(last_response_on) (UTC), C(sys_id) and
    C(instance) (the address that was asked)."
  - "Besides O(group), each host is in the group C(<group>_online) or C(<group>_offline), and in C(<group>_version_<version>) when its record has a version."
  - The hosts come sorted by the name of the proxy. The playbooks take the first one of a group where one is enough.
extends_documentation_fragment:
  - edge_encryption.clone.instance
  - edge_encryption.clone.proxy_records
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [edge_encryption.clone.edge_proxies]
  instance:
    description:
      - The instance to ask and how to log in to it. The account needs to read O(table), nothing else.
      - Option names and environment variables are those of the modules. What is given here wins over the environment.
      - Values may be templates, such as V({{ lookup('ansible.builtin.env', 'SOURCE_SN_PASSWORD'\) }}), and encrypted with Ansible Vault.
      - Nothing of it becomes a variable or goes into the cache.
    required: false
    default: {}
  group:
    description: Group to put the hosts into, such as V(edge_source_proxies) or V(edge_target_proxies).
    type: str
    required: true
  hostname:
    description:
      - Jinja2 expression for the name of a host in the inventory, over the host variables, such as V(edge_proxy.host) or
        V(edge_proxy.name ~ '.example.com').
      - Two proxies with the same name are refused.
    type: str
    default: edge_proxy.name
  only_online:
    description:
      - Whether to leave out proxies that the instance does not hear of.
      - Mind that no proxy of a target is online while a run holds them down. Use O(cache) with it, so that a run that is started again finds them.
    type: bool
    default: false
  only_authenticated:
    description: Whether to leave out proxies whose status is not V(Authenticated).
    type: bool
    default: false
  field_names:
    description:
      - Names of the table's fields, where they differ from the names used here, as O(edge_encryption.clone.edge_proxy_record_info#module:field_names).
      - Also C(version), the field with the version of the proxy, which may be missing.
    type: dict
    default: {}
requirements:
  - requests, on the controller
notes:
  - Without a cache, each start of Ansible asks the instance. While a clone is under way the target does not answer, and until t57 it holds the proxy records
    of the source. So use O(cache) with O(cache_plugin=ansible.builtin.jsonfile) and O(cache_timeout=0), which never expires, and take the list anew before
    a clone, with C(--flush-cache). See the guide "The inventory".
  - A proxy that two files report for two instances is refused.
  - Ansible only warns of an inventory file that fails. Set C(any_unparsed_is_failed=true) in section C(inventory) of C(ansible.cfg).
seealso:
  - module: edge_encryption.clone.edge_proxy_record_info
  - plugin: servicenow.itsm.now
    plugin_type: inventory
    description: Makes hosts of the records of any table.
"""

EXAMPLES = r"""
# inventory/target.edge_proxies.yml: all proxies that the target knows
plugin: edge_encryption.clone.edge_proxies
group: edge_target_proxies
instance:
  host: https://acmetest.service-now.com
  username: edge.automation
  password: "{{ lookup('ansible.builtin.env', 'TARGET_SN_PASSWORD') }}"
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: /var/lib/edge_clone/inventory
cache_timeout: 0

# Another file. The instance and its account come from the environment: SN_HOST, SN_USERNAME, SN_PASSWORD
# plugin: edge_encryption.clone.edge_proxies
# group: edge_proxies

# Another one. Inventory names are those of the hosts, which ssh reaches by another domain; a group a data centre and a status, without proxies that were
# retired
# plugin: edge_encryption.clone.edge_proxies
# group: edge_target_proxies
# only_authenticated: true
# hostname: edge_proxy.host
# compose:
#   ansible_host: edge_proxy.host | regex_replace('\.dmz\.example\.com$', '.mgmt.example.com')
# keyed_groups:
#   - prefix: status
#     key: edge_proxy.status
# groups:
#   frankfurt: edge_proxy.host is search('fra')
# strict: true
"""

import re
import typing as t

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import PROXY_FIELDS, ProxyRecords
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import renamed

SUFFIXES = ("edge_proxies.yml", "edge_proxies.yaml")
FIELDS = dict(PROXY_FIELDS, version="version")
Record = t.Dict[str, t.Any]


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "edge_encryption.clone.edge_proxies"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(SUFFIXES)

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            records = [record for record in self._records(path, cache) if self._wanted(record)]
            if not records:
                # A play without hosts is no error to Ansible, and a run that stops none of the proxies would look fine.
                raise EdgeError(path, "the instance knows no proxy that is wanted.", "Look at only_online, only_authenticated, table and field_names.")
            # All names first, so that a refused file leaves nothing behind.
            hosts = [(self._name(record, variables), variables) for record in records for variables in [_variables(record)]]
            self._refuse_doubles(hosts)
        except EdgeError as error:
            raise AnsibleParserError("edge_proxies: {0}".format(error)) from None  # or newer releases would say it twice
        group = self.inventory.add_group(self.get_option("group"))
        for name, variables in hosts:
            self._add(name, group, variables)

    # -- records -----------------------------------------------------------------------------------------------

    def _records(self, path: str, cache: bool) -> t.List[Record]:
        client, fields = self._client(), renamed(FIELDS, self.get_option("field_names"), "field_names")
        # What is kept for another question is no answer to this one.
        question = {"instance": client.url, "table": self.get_option("table"), "fields": fields}
        key, caching = self.get_cache_key(path), self.get_option("cache")
        if caching and cache:
            known = self._cache.get(key) or {}
            if known.get("question") == question:
                return known["records"]
        with client:
            found = ProxyRecords(client, self.get_option("table"), fields).list()
        records = [dict(record, instance=client.url) for record in found]
        if caching:
            self._cache[key] = {"question": question, "records": records}
        return records

    def _client(self) -> t.Any:
        if REQUESTS_IMPORT_ERROR:
            raise EdgeError("requests", "this Python package is missing on the controller.", "Install it for the Python that runs Ansible.")
        self.templar.available_variables = self._vars  # those of the command line; there are no others yet
        try:
            instance = self.templar.template(self.get_option("instance"))
        except AnsibleError as error:
            raise EdgeError("instance", "a template in it cannot be evaluated: {0}.".format(str(error).rstrip("."))) from error
        # Before ansible-core 2.19, an encrypted value is an object of its own, which decrypts itself.
        plain = (str, int, float, bool, type(None))
        instance = {name: value if isinstance(value, plain) else str(value) for name, value in instance.items()}
        spec = instance_spec()
        renamed(spec["options"], instance, "instance")  # refuses what is not known
        checked = ArgumentSpecValidator({"instance": spec}).validate({"instance": instance})
        if checked.error_messages:
            raise EdgeError("instance", "{0}.".format("; ".join(checked.error_messages).rstrip(".")), "See the options of the plugin.")
        return client_of(checked.validated_parameters["instance"])

    def _wanted(self, record: Record) -> bool:
        return not (
            (self.get_option("only_online") and not _online(record))
            or (self.get_option("only_authenticated") and record["status"].lower() != "authenticated")
        )

    # -- hosts -------------------------------------------------------------------------------------------------

    def _name(self, record: Record, variables: Record) -> str:
        expression, proxy = self.get_option("hostname"), "proxy {0} ({1})".format(record["name"] or "without a name", record["sys_id"])
        try:
            name = self._compose(expression, variables)
        except AnsibleError as error:
            raise EdgeError(proxy, "hostname cannot be evaluated: {0}.".format(str(error).rstrip(".")), "Correct the expression.") from error
        if not isinstance(name, str) or not name:
            raise EdgeError(
                proxy, "hostname, {0}, is {1!r} for it.".format(expression, name), "Complete or delete its record, or choose another expression."
            )
        return name

    def _refuse_doubles(self, hosts: t.List[t.Tuple[str, Record]]) -> None:
        proxies = {name: host.vars["edge_proxy"] for name, host in self.inventory.hosts.items() if "edge_proxy" in host.vars}
        for name, variables in hosts:
            proxy = variables["edge_proxy"]
            for other_name, other in proxies.items():
                if other["instance"] == proxy["instance"]:
                    same = name == other_name and other["sys_id"] != proxy["sys_id"]
                    way_out = "Choose another hostname, or delete a stale record."
                else:
                    same = name == other_name or _identity(other) == _identity(proxy)
                    way_out = (
                        "After a clone, a target knows the source's proxies until t57 puts its own records back: take the list from before the clone"
                        " (see cache). If they are two proxies, choose another hostname."
                    )
                if same:
                    cause = "{0} on {1} and {2} on {3} would be the same host.".format(other["name"], other["instance"], proxy["name"], proxy["instance"])
                    raise EdgeError("host " + name, cause, way_out)
            proxies[name] = proxy

    def _add(self, name: str, group: str, variables: Record) -> None:
        proxy = variables["edge_proxy"]
        groups = [group, "{0}_{1}".format(group, "online" if proxy["online"] else "offline")]
        if proxy["version"]:
            groups.append("{0}_version_{1}".format(group, proxy["version"]))
        for each in groups:
            self.inventory.add_host(name, group=self.inventory.add_group(self._sanitize_group_name(each)))
        for variable, value in variables.items():
            self.inventory.set_variable(name, variable, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def _variables(record: Record) -> Record:
    record = {name: _never_template(value) for name, value in record.items()}
    variables = {"edge_proxy": dict({name: "" for name in FIELDS}, **dict(record, online=_online(record)))}  # type: Record
    if record.get("host"):
        variables["ansible_host"] = record["host"]
        if record.get("port"):
            variables["edge_url"] = _never_template("https://{host}:{port}".format(**record))
    return variables


def _online(record: Record) -> bool:
    return record.get("online", "").lower() in ("true", "1")


def _identity(proxy: Record) -> t.Tuple[str, str, str]:
    return proxy["name"], proxy["host"], proxy["port"]


def _never_template(value: str) -> str:
    # Whoever can write a record must not be able to run code here. Before ansible-core 2.19, variables of an inventory are templates.
    return wrap_var(value) if re.search(r"[{}]", value) else value
