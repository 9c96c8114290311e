#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_settings_copy_info
short_description: Find the copies of settings and keys that lie on a proxy's host
description:
  - Finds the backups that the modules of this collection made of C(conf/edgeencryption.properties), of the two keystores that it names
    (C(edgeencryption.keystore.path) and C(edgeencryption.proxy.signature.keystore.path)) and of the keys of a file store
    (C(edgeencryption.keyfile.directory), C(keys) when it is not set), and whatever else a run left behind.
  - The copies hold keys and passwords. Delete them when they are not needed any more.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.proxy_home
options:
  since:
    description:
      - Time in UTC, such as V(2026-01-02T03:04:05Z). Backups that were made before it are left out.
      - All backups are returned without it.
    type: str
seealso:
  - module: edge_encryption.clone.edge_settings_copy
  - module: edge_encryption.clone.edge_cache
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Find what lies beside the keys of a proxy
  edge_encryption.clone.edge_settings_copy_info:
    home: /opt/EdgeProxy_443
  register: copies

- name: Delete the backups
  ansible.builtin.file:
    path: "{{ item }}"
    state: absent
  loop: "{{ copies.backups }}"
"""

RETURN = r"""
backups:
  description: Backups of properties, keystores and key files, each beside its file and named after the time (UTC) at which it was made.
  returned: success
  type: list
  elements: str
  sample: [/opt/EdgeProxy_443/keystore/keystore.jceks.20260131T235959Z.bak]
leftovers:
  description:
    - The folders C(before_clone), which M(edge_encryption.clone.edge_settings_copy) fills before a clone, and C(before_roll_back), caches that
      M(edge_encryption.clone.edge_cache) moved aside, and what a kill left half written.
  returned: success
  type: list
  elements: str
  sample: [/opt/EdgeProxy_443/before_clone]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _settings
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of


def run(params):
    return _settings.copies(params["home"], seconds_of(params["since"]) if params["since"] else 0.0)._asdict()


def main():
    module = AnsibleModule(argument_spec={"home": {"type": "path", "required": True}, "since": {"type": "str"}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **run(module.params))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
