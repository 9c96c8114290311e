#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_service_account
short_description: Make the account work that Edge Encryption proxies log in with
description:
  - Makes sure that the account in the proxies' property C(edgeencryption.target.username) exists, is active and not locked out, has its
    role (documentation page "Edge Encryption proxy server properties"), and that its password is accepted.
  - A clone replaces the target's accounts by those of the source, so that the target's proxies can no longer log in.
  - The password is tried once, by logging in. Only if it is refused it is set, and tried again.
notes:
  - The account of O(instance) needs to write C(sys_user) and C(sys_user_has_role), which the role C(user_admin) usually allows.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  username:
    description: Name of the account.
    type: str
    required: true
  password:
    description: Password that the account must have.
    type: str
    required: true
  role:
    description: Role that the account must have.
    type: str
    default: edge_encryption
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Let the proxies log in again after a clone
  edge_encryption.clone.edge_service_account:
    instance: "{{ acmetest }}"
    username: edge.proxy
    password: "{{ edge_proxy_password }}"
"""

RETURN = r"""
proven:
  description: Whether a login with the password succeeded. In check mode, whether it does now.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import ServiceAccount


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "role": {"type": "str", "default": "edge_encryption"},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    params = module.params
    try:
        account = ServiceAccount(client_of(params["instance"]), params["username"], params["password"], params["role"])
        change, proven = account.ensure(module.check_mode)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=change.changed, proven=proven, diff={"before": change.before, "after": change.after})


if __name__ == "__main__":
    main()
