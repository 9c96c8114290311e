#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_value_info
short_description: Fingerprint values as they are with and without a proxy
description:
  - Reads values of records through an Edge Encryption proxy, which shows them in clear text, and from the instance itself, which has
    cipher text or tokens, and returns fingerprints.
  - Equal fingerprints with the same O(salt) mean equal clear text, so that values on the source and on its clone can be compared.
  - No value ever appears in the result, in an error or in a log.
notes:
  - The account of O(instance) needs to read the records, on both ways.
  - The result holds no secrets, but a fingerprint of a value that is easy to guess can be tried out by whoever knows O(salt).
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.proxy
options:
  records:
    description: The records to read.
    type: list
    elements: dict
    required: true
    suboptions:
      table:
        description: The table.
        type: str
        required: true
      sys_id:
        description: The record. Mutually exclusive with O(records[].query).
        type: str
      query:
        description:
          - Encoded query for several records, which are taken by C(sys_id) up to O(records[].limit).
          - It is asked of the instance itself, so it cannot use encrypted fields.
        type: str
      limit:
        description: How many records of O(records[].query) to read.
        type: int
        default: 10
      fields:
        description: The fields to read.
        type: list
        elements: str
        default: []
      attachments:
        description: Whether to read the contents of the record's attachments, too.
        type: bool
        default: false
  salt:
    description: Key of the fingerprints, at least 16 characters. Use a random one for each comparison.
    type: str
    required: true
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Fingerprint a few incidents
  edge_encryption.clone.edge_value_info:
    instance: "{{ acmetest }}"
    proxy_url: https://edge1.test.example.com:8443
    salt: "{{ comparison_salt }}"
    records:
      - table: incident
        query: numberSTARTSWITHINC00
        limit: 20
        fields: [short_description, u_tax_id]
        attachments: true
  register: values

- name: Nothing may be readable without a proxy
  ansible.builtin.assert:
    that: values.entries | selectattr('cipher_text_without_proxy', 'equalto', false) | length == 0
"""

RETURN = r"""
entries:
  description: One entry a record and field, or attachment.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The table.
      type: str
      sample: incident
    sys_id:
      description: The record.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    field:
      description: The field, or C(attachment/) and the C(sys_id) of the attachment.
      type: str
      sample: short_description
    missing:
      description: Whether the record is not there, on one of the two ways at least.
      type: bool
    empty:
      description: Whether the value is empty. V(null) if the record is missing.
      type: bool
    digest:
      description: HMAC-SHA256 (hexadecimal) of the value through the proxy. V(null) if it is empty or missing.
      type: str
    cipher_text_without_proxy:
      description:
        - Whether the instance itself has something else, that does not contain the value. V(null) if the value is empty or missing.
        - For values of less than 4 bytes it says only whether the instance has something else.
        - V(false) also means that the proxy does not decrypt the value.
      type: bool
    sys_mod_count:
      description: How often the record was updated. V(null) for an attachment, which is never changed, or if the record is missing.
      type: int
      sample: 3
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec, proxy_client, proxy_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._values import Values, wanted_of


def run(params):
    direct = client_of(params["instance"])
    values = Values(direct, proxy_client(direct, params["proxy_url"], params["proxy_ca_path"]), params["salt"])
    return [entry for record in params["records"] for entry in values.read(wanted_of(record))]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            proxy_spec(),
            instance=instance_spec(),
            records={
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "table": {"type": "str", "required": True},
                    "sys_id": {"type": "str"},
                    "query": {"type": "str"},
                    "limit": {"type": "int", "default": 10},
                    "fields": {"type": "list", "elements": "str", "default": []},
                    "attachments": {"type": "bool", "default": False},
                },
                "required_one_of": [("sys_id", "query")],
                "mutually_exclusive": [("sys_id", "query")],
            },
            salt={"type": "str", "required": True, "no_log": True},
        ),
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        entries = run(module.params)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, entries=entries)


if __name__ == "__main__":
    main()
