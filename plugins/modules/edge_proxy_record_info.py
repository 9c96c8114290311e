#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_proxy_record_info
short_description: List the Edge Encryption proxies that an instance knows
description:
  - Lists the records of the Edge Encryption proxies of an instance, their status and when they were heard of last.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.proxy_records
options:
  name:
    description: Name of a proxy. Default is all of them.
    type: str
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: See which proxies the target knows
  edge_encryption.clone.edge_proxy_record_info:
    instance: "{{ acmetest }}"
  register: known

- ansible.builtin.assert:
    that: known.records | rejectattr('status', 'equalto', 'Authenticated') | length == 0
"""

RETURN = r"""
records:
  description: The records by name.
  returned: success
  type: list
  elements: dict
  contains:
    sys_id:
      description: The record.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    name:
      description: Name of the proxy.
      type: str
      sample: edge_target_1
    host:
      description: Its host.
      type: str
      sample: edge1.test.example.com
    port:
      description: Its port.
      type: str
      sample: "8443"
    status:
      description: V(Unauthenticated), V(Pending) or V(Authenticated).
      type: str
      sample: Authenticated
    online:
      description: Whether the instance hears of the proxy.
      type: str
      sample: "true"
    last_response_on:
      description: When it last did (UTC).
      type: str
      sample: "2026-01-31 23:59:59"
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import ProxyRecords, records_spec


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "name": {"type": "str"},
            **records_spec(),
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    params = module.params
    try:
        records = ProxyRecords(client_of(params["instance"]), params["table"], params["field_names"]).list(params["name"])
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, records=records)


if __name__ == "__main__":
    main()
