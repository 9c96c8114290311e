#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_key_usage_info
short_description: Count the stored values under each encryption key
description:
  - Reads encrypted columns, their history in C(sys_audit), and attachments from the instance itself, where they are cipher text, and counts how many name
    which key.
  - No value ever appears in the result, in an error or in a log.
  - Inactive encryption configurations are read as well, since what was encrypted before they were switched off still is.
notes:
  - Give the account read access to the tables and to C(sys_audit). Records that may not be read are an error, because they could be under any key.
  - Values of tokenization patterns are no cipher text. Their tokens are in the token database and have nothing to do with a key.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.keys
  - edge_encryption.clone.keys.values
options:
  tables:
    description: Tables to read. All with an encryption configuration if empty.
    type: list
    elements: str
    default: []
  limit:
    description: How many records, and how many attachments, of each table to read. V(0) reads all, and only that is a proof.
    type: int
    default: 0
  audit:
    description: Whether to read the history of encrypted columns.
    type: bool
    default: true
  attachments:
    description: Whether to read attachments. Each is transferred as a whole.
    type: bool
    default: true
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
seealso:
  - module: edge_encryption.clone.edge_key_rotation
"""

EXAMPLES = r"""
- name: Prove that nothing is under the source's key any more
  edge_encryption.clone.edge_key_usage_info:
    instance: "{{ acmetest }}"
  register: usage
  failed_when: usage.unknown > 0 or 'aes256prod' in usage.totals
"""

RETURN = r"""
places:
  description: The counts by column, by audited column, and by table of attachments.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The table, C(sys_audit) for history, C(sys_attachment) for attachments.
      type: str
      sample: incident
    field:
      description: The column; for history C(table.column), for attachments the table that they belong to.
      type: str
      sample: short_description
    aliases:
      description: How many values there are by alias.
      type: dict
      sample: {"aes128test": 1204}
    unknown:
      description: How many values name no key that is known.
      type: int
      sample: 0
totals:
  description: How many values there are by alias.
  returned: success
  type: dict
  sample: {"aes128test": 1204, "aes256test": 1203}
unknown:
  description: How many values name no key that is known, such as clear text from before the encryption.
  returned: success
  type: int
  sample: 0
complete:
  description: Whether everything was read.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._encryption_keys import EncryptionKeys
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._key_usage import Reader, Scope, scan


def run(params):
    client = client_of(params["instance"])
    aliases = {key["alias"] for key in EncryptionKeys(client, params["key_fields"]).list()}
    scope = Scope(True, params["audit"], params["attachments"], tuple(params["tables"]), params["limit"])
    return scan(client, Reader(aliases, params["alias_pattern"]), scope, params["configuration_fields"]).as_dict()


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "key_fields": {"type": "dict", "default": {}, "no_log": False},
            "alias_pattern": {"type": "str"},
            "configuration_fields": {"type": "dict", "default": {}},
            "tables": {"type": "list", "elements": "str", "default": []},
            "limit": {"type": "int", "default": 0},
            "audit": {"type": "bool", "default": True},
            "attachments": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        result = run(module.params)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
