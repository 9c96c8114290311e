#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_encrypted_data_info
short_description: List the encrypted data of an instance and what a clone would bring of it
description:
  - Lists the encryption configurations and tokenization patterns of an instance, says which of them need the token database, and which encrypted data a clone
    would bring, given what its profile excludes.
  - Two empty lists are proofs. With RV(tokens_needed) empty, the token database need not go along. With RV(in_the_clone) empty, no encrypted data is in
    the clone, so that the target can keep its own keys.
  - Inactive configurations count like active ones, since what was encrypted before stays so.
  - Excluding a table empties its children (documentation page "Clone exclusions, preservers, cleanup scripts"), so a column counts as left out when its
    table or one that it extends is excluded. Its history in C(sys_audit) must be left out as well, because audit records hold the encrypted
    values (documentation page "Encryption key rotation").
  - Patterns apply to any string field, so no exclusion covers them.
notes:
  - The names of the columns and of the table of patterns are not documented, see O(configuration_fields) and O(pattern_table). What cannot be read is never
    taken for absent.
  - Equality-preserving encryption counts as needing the token database, because the documentation contradicts itself there (pages "Encryption
    types" and "Proxy installer").
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
options:
  exclusions:
    description: The tables that the clone excludes, as RV(edge_encryption.clone.instance_clone_info#module:clone.exclusions).
    type: list
    elements: str
    default: []
  attachments_excluded:
    description: Whether the clone excludes attachment data, which is an option of its request.
    type: bool
    default: false
  audit_excluded:
    description: Whether the clone excludes audit and log data, which is an option of its request.
    type: bool
    default: false
  preserved:
    description: The tables that the clone preserves on the target, as in RV(edge_encryption.clone.instance_clone_info#module:clone.preservers).
    type: list
    elements: str
    default: []
  configuration_fields:
    description:
      - Columns of C(sys_encryption_configuration) that have another name than C(table), C(column), C(encryption_type) and C(active), as pairs of
        that name and the real one.
    type: dict
    default: {}
  pattern_table:
    description: Table of the tokenization patterns, with a column C(name).
    type: str
    default: sys_encryption_pattern
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: See what encrypted data this clone would bring
  edge_encryption.clone.edge_encrypted_data_info:
    instance:
      host: https://acmeprod.service-now.com
      username: edge.automation
      password: "{{ acmeprod_password }}"
    exclusions: "{{ due.clone.exclusions }}"
    attachments_excluded: "{{ due.clone.options.filter_attachment_data }}"
  register: encrypted

- name: Go on only when there is none
  ansible.builtin.assert:
    that: encrypted.in_the_clone | length == 0
"""

RETURN = r"""
configurations:
  description: Every encryption configuration.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Table and column, or table and C(attachment).
      type: str
      sample: incident.short_description
    table:
      description: The table.
      type: str
      sample: incident
    column:
      description: The column, V(null) for attachments.
      type: str
      sample: short_description
    kind:
      description: V(column) or V(attachment).
      type: str
      sample: column
    encryption_type:
      description: The encryption type, as the instance calls it.
      type: str
      sample: standard_128
    active:
      description: Whether it is active.
      type: bool
    needs_tokens:
      description: What needs the token database, empty when nothing does.
      type: str
      sample: incident.u_account (order_preserving_128)
    brought_because:
      description: Why the clone would bring its data, empty when it would not.
      type: str
      sample: the table incident is not excluded.
patterns:
  description: Names of all tokenization patterns. V(null) when they cannot be read.
  returned: success
  type: list
  elements: str
  sample: [SSN]
patterns_unknown_because:
  description: Why RV(patterns) is V(null), otherwise empty.
  returned: success
  type: str
tokens_needed:
  description: What needs the token database.
  returned: success
  type: list
  elements: str
  sample: ["the tokenization pattern SSN", "incident.u_account (order_preserving_128)"]
preserved:
  description:
    - Those of O(preserved) whose rows hold values that an active configuration of this instance encrypts. A configuration counts for the tables that extend its
      own, and one of attachments for the tables of attachments. Preserving a table does not preserve those that extend it.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The preserved table.
      type: str
      sample: incident
    encrypted:
      description: What is encrypted there.
      type: list
      elements: str
      sample: [incident.short_description]
in_the_clone:
  description: What encrypted data the clone would bring, and why.
  returned: success
  type: list
  elements: str
  sample: ["incident.short_description: the table incident is not excluded."]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._encrypted_data import PATTERNS, Left, survey
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def run(params):
    left = Left(frozenset(params["exclusions"]), params["attachments_excluded"], params["audit_excluded"])
    return survey(client_of(params["instance"]), left, params["configuration_fields"], params["pattern_table"], params["preserved"])


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "exclusions": {"type": "list", "elements": "str", "default": []},
            "attachments_excluded": {"type": "bool", "default": False},
            "audit_excluded": {"type": "bool", "default": False},
            "preserved": {"type": "list", "elements": "str", "default": []},
            "configuration_fields": {"type": "dict", "default": {}},
            "pattern_table": {"type": "str", "default": PATTERNS},
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
