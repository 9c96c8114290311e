#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_rule_info
short_description: List Edge Encryption rules and configurations
description:
  - Lists all rules and encryption configurations of an instance, whether they are active, whether they came with the base system, and a
    digest of their signature.
  - Two lists taken at different times show what was re-signed, changed, or left off.
notes:
  - The names of the columns are not documented. C(active) and the C(sys_) fields are required, the others are looked up.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.rules
options:
  tables:
    description: The tables to list.
    type: list
    elements: str
    default: [sys_encryption_rule, sys_encryption_configuration]
  signature_field:
    description: The field that holds the signature. Default is the only readable field with C(signature) in its name.
    type: str
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: See which rules are off
  edge_encryption.clone.edge_rule_info:
    instance:
      host: https://acmetest.service-now.com
      username: edge.automation
      password: "{{ acmetest_password }}"
  register: rules

- ansible.builtin.debug:
    msg: "{{ rules.records | rejectattr('active') | map(attribute='name') }}"
"""

RETURN = r"""
records:
  description: Every record of O(tables), by table and C(sys_id).
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The table.
      type: str
      sample: sys_encryption_rule
    sys_id:
      description: The record.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
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
    signature_digest:
      description: SHA-256 (hexadecimal) of the signature, V(null) if it cannot be read.
      type: str
    sys_mod_count:
      description: How often the record was updated.
      type: int
      sample: 3
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import BASE_QUERY, TABLES, survey


def run(params):
    found = survey(client_of(params["instance"]), params["tables"], params["base_query"], params["signature_field"])
    return [
        {
            "table": record.table,
            "sys_id": record.sys_id,
            "name": record.name,
            "active": record.active,
            "base": record.base,
            "signature_digest": record.signature,
            "sys_mod_count": record.mod_count,
        }
        for record in found.records
    ]


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "tables": {"type": "list", "elements": "str", "default": list(TABLES)},
            "base_query": {"type": "str", "default": BASE_QUERY},
            "signature_field": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        records = run(module.params)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, records=records)


if __name__ == "__main__":
    main()
