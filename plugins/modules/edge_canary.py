#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_canary
short_description: Prove that Edge Encryption proxies share their keys, with a record that is deleted again
description:
  - Writes a record with a random value through one proxy, makes sure that the instance itself holds something else, reads the value through every proxy, and
    deletes the record. So it proves encryption, decryption and that the proxies have the same default keys.
  - The value is random and names nobody. Business rules of the table run, and notifications go out as for any new record, unless the instance
    sends none, as after a clone.
notes:
  - The account needs to create, read and delete records of O(table), but no role of Edge Encryption.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is written, so nothing is proven.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each call writes a record and deletes it.
options:
  proxy_urls:
    description: Base URLs of the proxies. The first one writes, all of them read.
    type: list
    elements: str
    required: true
  proxy_ca_path:
    description: PEM file with the certificate authorities to trust for the proxies instead of the system's.
    type: path
  table:
    description: Table of the record.
    type: str
    required: true
  field:
    description: A column of it that an active encryption configuration encrypts, at least 50 characters long.
    type: str
    required: true
  values:
    description: Further fields of the record, such as mandatory ones.
    type: dict
    default: {}
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Prove that both proxies encrypt and decrypt with the same key
  edge_encryption.clone.edge_canary:
    instance:
      host: https://acmetest.service-now.com
      username: edge.canary
      password: "{{ acmetest_canary_password }}"
    proxy_urls: [https://edge1.example.com:8443, https://edge2.example.com:8443]
    table: incident
    field: short_description
"""

RETURN = r"""
canary:
  description: What was proven.
  returned: success, except in check mode
  type: dict
  contains:
    sys_id:
      description: The record, which is deleted.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    read_through:
      description: The proxies that read the value.
      type: list
      elements: str
      sample: ["https://edge1.example.com:8443"]
    cipher_text_without_proxy:
      description: Always V(true); anything else is a failure.
      type: bool
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._canary import Canary
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec, proxy_client


def run(params):
    direct = client_of(params["instance"])
    proxies = [proxy_client(direct, url, params["proxy_ca_path"]) for url in params["proxy_urls"]]
    values = {name: str(value) for name, value in params["values"].items()}
    return Canary(direct, proxies[0], proxies).fly(params["table"], params["field"], values)


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "proxy_urls": {"type": "list", "elements": "str", "required": True},
            "proxy_ca_path": {"type": "path"},
            "table": {"type": "str", "required": True},
            "field": {"type": "str", "required": True},
            "values": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    if not module.params["proxy_urls"]:
        module.fail_json(msg="proxy_urls: no proxy is named, so nothing would be proven.")
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        canary = run(module.params)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=True, canary=canary)


if __name__ == "__main__":
    main()
