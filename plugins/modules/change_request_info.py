#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: change_request_info
short_description: Read whether a change request is approved and when it may be implemented
description:
  - Reads state, approval and planned hours of one change request, so that a playbook can keep to them.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
options:
  number:
    description: Number of the change request.
    type: str
    required: true
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Look at the change request of tonight
  edge_encryption.clone.change_request_info:
    instance: "{{ acmeprod }}"
    number: CHG0030001
  register: change

- name: Refuse to go on before it is approved
  ansible.builtin.assert:
    that: change.change_request.approval == 'approved'
"""

RETURN = r"""
change_request:
  description: The change request.
  returned: success
  type: dict
  contains:
    number:
      description: Its number.
      type: str
      sample: CHG0030001
    state:
      description: Its state in words (documentation page "Change request state model"). A state that the page does not name is as the instance has it.
      type: str
      sample: Implement
    approval:
      description: Its approval, as the instance has it.
      type: str
      sample: approved
    planned_start:
      description: Planned start (UTC, ISO 8601), V(null) if it is not set.
      type: str
      sample: "2026-01-31T22:00:00Z"
    planned_end:
      description: Planned end (UTC, ISO 8601), V(null) if it is not set.
      type: str
      sample: "2026-02-01T04:00:00Z"
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._change_request import read
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def main():
    module = AnsibleModule(
        argument_spec={"instance": instance_spec(), "number": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        change_request = read(client_of(module.params["instance"]), module.params["number"])
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, change_request=change_request)


if __name__ == "__main__":
    main()
