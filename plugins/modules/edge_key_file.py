#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_key_file
short_description: Put an AES key into an Edge Encryption proxy's file store
description:
  - Writes one key file, for its owner only (documentation page "Create a file store").
  - Another key under the same alias is refused, never replaced, because what it has encrypted would be lost.
  - A proxy reads its keys when it starts.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows alias, size and fingerprint, never a key.
  idempotent:
    support: full
options:
  home:
    description: Install directory of the proxy, to which O(directory) is relative.
    type: path
  directory:
    description: Folder of the key files. It must exist.
    type: path
    default: keys
  alias:
    description: Alias of the key, which is the name of its file.
    type: str
    required: true
  content:
    description: The key as base64, 16 or 32 bytes.
    type: str
    required: true
seealso:
  - module: edge_encryption.clone.edge_key_file_info
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Bring the source's key
  edge_encryption.clone.edge_key_file:
    home: /opt/EdgeProxy_443
    alias: aes128
    content: "{{ hostvars['edge-prod-1'].store.exported['aes128'] }}"
  no_log: true
"""

RETURN = r"""
key:
  description: The key that is in place.
  returned: success
  type: dict
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
      description: SHA-256 (hexadecimal) of the key.
      type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _key_files
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def run(params, check_mode):
    key = _key_files.wanted(os.path.join(params["home"] or "", params["directory"]), params["alias"], params["content"])
    changed = _key_files.ensure(key, check_mode)
    summary = key.summary()
    return {"changed": changed, "key": summary, "diff": {"before": {} if changed else summary, "after": summary}}


def main():
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path"},
            "directory": {"type": "path", "default": "keys"},
            "alias": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
