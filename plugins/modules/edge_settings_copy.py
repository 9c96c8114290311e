#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_settings_copy
short_description: Keep a copy of the settings and keys of an Edge Encryption proxy
description:
  - Copies C(conf/edgeencryption.properties), the two keystores that it names (C(edgeencryption.keystore.path) and
    C(edgeencryption.proxy.signature.keystore.path)) and the keys of a file store (C(edgeencryption.keyfile.directory), C(keys) when it is not set) into
    one folder (documentation page "Edge Encryption proxy properties").
  - Each copy has the whole name of its file below O(dest), mode V(0600). One that is there already is never replaced.
  - The copies hold keys and passwords. Delete them when they are not needed any more.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the names of the copies, never what is in them.
  idempotent:
    support: full
options:
  home:
    description: Install directory of the proxy.
    type: path
    required: true
  dest:
    description: Folder for the copies. It is made when it is missing, mode V(0700).
    type: path
    required: true
seealso:
  - module: edge_encryption.clone.edge_property_info
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Keep what the clone is going to change
  edge_encryption.clone.edge_settings_copy:
    home: /opt/EdgeProxy_443
    dest: /opt/EdgeProxy_443/before_clone/acmetest/CLN0001234
"""

RETURN = r"""
copies:
  description: All copies below O(dest), old and new.
  returned: success
  type: list
  elements: str
  sample: [/opt/EdgeProxy_443/before_clone/acmetest/CLN0001234/opt/EdgeProxy_443/conf/edgeencryption.properties]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _settings
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def run(params, check_mode):
    copies, new = _settings.keep(params["home"], params["dest"], write=not check_mode)
    diff = {"before": {"copies": [copy for copy in copies if copy not in new]}, "after": {"copies": copies}}
    return {"changed": bool(new), "copies": copies, "diff": diff}


def main():
    module = AnsibleModule(
        argument_spec={"home": {"type": "path", "required": True}, "dest": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
