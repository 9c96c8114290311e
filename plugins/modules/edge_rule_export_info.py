#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_rule_export_info
short_description: Compare exported Edge Encryption rules and configurations with an instance
description:
  - Says for each record of an export whether an instance has it, with the same values and the same signature, and which records the
    instance has beyond it.
  - On the target it shows what a clone left, on the source in what the two instances differ.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.rules
  - edge_encryption.clone.rules.exported
requirements:
  - requests
seealso:
  - module: edge_encryption.clone.edge_rule_export
  - module: edge_encryption.clone.edge_rule_recreate
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: See in what the rules of source and target differ
  edge_encryption.clone.edge_rule_export_info:
    instance: "{{ acmeprod }}"
    path: /var/lib/edge_clone/acmetest-rules.json
  register: compared

- name: Show what differs
  ansible.builtin.debug:
    msg: "{{ compared.records | rejectattr('state', 'eq', 'same') }}"
"""

RETURN = r"""
records:
  description: Every record, by table in the order of the export, the extra ones last.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The table.
      type: str
      sample: sys_encryption_rule
    sys_id:
      description: The record on the instance, V(null) if there is none.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    name:
      description: Name of the rule, or table and column of the configuration.
      type: str
      sample: incident.short_description
    active:
      description: Whether the exported record is active; of an extra one, whether that is.
      type: bool
    base:
      description: Whether it is a record of the base system.
      type: bool
    state:
      description: V(same), V(missing), V(different) or V(extra).
      type: str
      sample: missing
    differs:
      description: Columns that have other values than exported.
      type: list
      elements: str
      sample: [script]
    signature:
      description:
        - V(kept) if it is the exported one, V(other) if it is another one, V(none) if there is none.
        - V(null) if it cannot be read, or there is no record.
      type: str
      sample: kept
totals:
  description: Numbers of records.
  returned: success
  type: dict
  contains:
    records:
      description: All.
      type: int
    same:
      description: As exported.
      type: int
    missing:
      description: Exported, but not there.
      type: int
    different:
      description: There, but with other values.
      type: int
    extra:
      description: There, but not exported.
      type: int
    unsigned:
      description: Without a signature, as far as signatures can be read.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils import _recreate
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def run(params):
    pairs = _recreate.compare(client_of(params["instance"]), _recreate.load(params["path"]), params["base_query"])
    return {"changed": False, "records": [pair.to_result() for pair in pairs], "totals": _recreate.totals(pairs)}


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "path": {"type": "path", "required": True},
            "base_query": {"type": "str", "default": _recreate.BASE_QUERY},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        module.exit_json(**run(module.params))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
