#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_rule_export
short_description: Export the Edge Encryption rules and configurations of an instance to a file
description:
  - Writes all rules and encryption configurations of an instance to a file, in the order in which they take effect, so that
    M(edge_encryption.clone.edge_rule_recreate) can make them anew after a clone that left them out.
  - Every column is exported but those of the platform (C(sys_)) and the signature. A column that refers to another record is exported with
    the key of that record, because its C(sys_id) may be another one after the clone.
  - Can refuse a clone that does not leave the tables out, or that would take the records of the base system away.
notes:
  - The names of the columns are not documented, so they are looked up in C(sys_dictionary). The account must be able to read it.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.rules
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: The file to write, on the host where the module runs. It gets mode 0600, and its folder must exist.
    type: path
    required: true
  tables:
    description:
      - The tables to export. They are made anew in this order.
      - Without it, C(sys_encryption_configuration) by C(table), C(type) and C(column), then C(sys_encryption_rule) by C(name).
      - Which table holds tokenization patterns is not documented. Name all tables here if your clone leaves that one out as well.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the table.
        type: str
        required: true
      key:
        description: Columns that tell its records.
        type: list
        elements: str
        required: true
  exclusions:
    description:
      - Names of the tables that the clone leaves out, as C(exclusions) of RV(edge_encryption.clone.instance_clone_info#module:clone).
      - The module refuses the clone when a table of O(tables) is not among them. Without this option nothing is checked.
    type: list
    elements: str
  preservers:
    description:
      - The data preservers of the clone, as C(preservers) of RV(edge_encryption.clone.instance_clone_info#module:clone).
      - Only looked at together with O(exclusions). The module refuses the clone when a record of the base system is not preserved, since it could
        not be made anew with the signature of ServiceNow. What is preserved and excluded is kept as it is, as the documentation of clone
        exclusions and preservers says.
    type: list
    elements: dict
    default: []
    suboptions:
      table:
        description: The preserved table.
        type: str
        required: true
      name:
        description: Name of the preserver.
        type: str
      condition:
        description: Encoded query that chooses the preserved records. All are preserved if it is empty.
        type: str
requirements:
  - requests
seealso:
  - module: edge_encryption.clone.edge_rule_export_info
  - module: edge_encryption.clone.edge_rule_recreate
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Look at the clone
  edge_encryption.clone.instance_clone_info:
    instance: "{{ acmeprod }}"
    target: acmetest
  register: found

- name: Keep the rules and configurations of the target, if the clone leaves them out
  edge_encryption.clone.edge_rule_export:
    instance: "{{ acmetest }}"
    path: /var/lib/edge_clone/acmetest-rules.json
    exclusions: "{{ found.clone.exclusions }}"
    preservers: "{{ found.clone.preservers }}"
"""

RETURN = r"""
records:
  description: The exported records.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The table.
      type: str
      sample: sys_encryption_rule
    name:
      description: Name of the rule, or table and column of the configuration.
      type: str
      sample: incident.short_description
    active:
      description: Whether the record is active.
      type: bool
    base:
      description: Whether it is a record of the base system.
      type: bool
instance_name:
  description: Name of the instance, as it says itself.
  returned: success
  type: str
  sample: acmetest
not_excluded:
  description: Tables that the clone does not leave out.
  returned: when the clone is refused for this reason
  type: list
  elements: str
not_preserved:
  description: Names of records of the base system that the clone would take away.
  returned: when the clone is refused for this reason
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils import _files, _recreate
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def run(params, check):
    client = client_of(params["instance"])
    keys = {table["name"]: table["key"] for table in params["tables"] or []}
    export = _recreate.export_of(client, keys or _recreate.KEYS, params["base_query"])
    if params["exclusions"] is not None:
        _recreate.refuse_cloned(client, export, params["exclusions"], params["preservers"], params["base_query"])
    path = params["path"]
    before = _files.read(path, "export") if os.path.exists(path) else b""
    after = _recreate.to_bytes(export)
    if after != before and not check:
        _files.write_private(path, after)
    return {
        "changed": after != before,
        "instance_name": export.instance,
        "records": [
            {"table": table, "name": record.name, "active": record.values["active"] == "true", "base": record.base}
            for table, exported in export.tables.items()
            for record in exported.records
        ],
        "diff": {"before_header": path, "after_header": path, "before": before.decode("utf-8", "replace"), "after": after.decode("utf-8")},
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "path": {"type": "path", "required": True},
            "tables": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "key": {"type": "list", "elements": "str", "required": True, "no_log": False},
                },
            },
            "base_query": {"type": "str", "default": _recreate.BASE_QUERY},
            "exclusions": {"type": "list", "elements": "str"},
            "preservers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"table": {"type": "str", "required": True}, "name": {"type": "str"}, "condition": {"type": "str"}},
            },
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
