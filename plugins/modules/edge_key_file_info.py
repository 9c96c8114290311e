#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_key_file_info
short_description: List the AES keys of an Edge Encryption proxy's file store
description:
  - Lists the keys in the folder that the property C(edgeencryption.keyfile.directory) names, by fingerprint (documentation page "Create a file store").
  - With O(export), it also returns the keys themselves. Run it with C(no_log=true) then.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
options:
  home:
    description: Install directory of the proxy, to which O(directory) is relative.
    type: path
  directory:
    description: Folder of the key files.
    type: path
    default: keys
  export:
    description: Whether to return the keys in RV(exported).
    type: bool
    default: false
seealso:
  - module: edge_encryption.clone.edge_key_file
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: List the keys of a file store
  edge_encryption.clone.edge_key_file_info:
    home: /opt/EdgeProxy_443
  register: store
"""

RETURN = r"""
entries:
  description: The keys.
  returned: success
  type: list
  elements: dict
  contains:
    alias:
      description: Name of the file.
      type: str
      sample: aes128
    size:
      description: Bits of the key.
      type: int
      sample: 128
    fingerprint:
      description: SHA-256 (hexadecimal) of the key, comparable with that of a secret key in RV(edge_encryption.clone.edge_keystore_info#module:entries).
      type: str
exported:
  description: The keys themselves, as base64, by alias.
  returned: when O(export=true)
  type: dict
"""

import base64
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _key_files
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def run(params):
    keys = _key_files.read_all(os.path.join(params["home"] or "", params["directory"]))
    result = {"changed": False, "entries": [key.summary() for key in keys]}
    if params["export"]:
        result["exported"] = {key.alias: base64.b64encode(key.key).decode("ascii") for key in keys}
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path"},
            "directory": {"type": "path", "default": "keys"},
            "export": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
