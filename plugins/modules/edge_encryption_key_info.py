#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_encryption_key_info
short_description: List the encryption keys that an instance knows
description:
  - Lists the keys of I(Encryption Key Configuration), which of them are defaults, and which proxies hold them. Key material is on the proxies only.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.keys
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
seealso:
  - module: edge_encryption.clone.edge_encryption_key
"""

EXAMPLES = r"""
- name: Read which keys the target knows
  edge_encryption.clone.edge_encryption_key_info:
    instance: "{{ acmetest }}"
  register: known
"""

RETURN = r"""
entries:
  description: Every key, by size and alias.
  returned: success
  type: list
  elements: dict
  contains:
    alias:
      description: The alias.
      type: str
      sample: aes256test
    size:
      description: Bits.
      type: int
      sample: 256
    type:
      description: Where proxies have it, such as V(File) or V(Keystore).
      type: str
      sample: Keystore
    status:
      description: The status, as the instance calls it.
      type: str
      sample: Available
    available:
      description: Whether every proxy that is online holds it.
      type: bool
    default:
      description: Whether new values are encrypted with it.
      type: bool
    held_by:
      description: Names of the proxies that hold it.
      type: list
      elements: str
    lacking:
      description: Names of the proxies that are online and do not hold it.
      type: list
      elements: str
    sys_id:
      description: The record.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._encryption_keys import EncryptionKeys
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def main():
    module = AnsibleModule(
        argument_spec={"instance": instance_spec(), "key_fields": {"type": "dict", "default": {}, "no_log": False}},
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        keys = EncryptionKeys(client_of(module.params["instance"]), module.params["key_fields"]).list()
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, entries=keys)


if __name__ == "__main__":
    main()
