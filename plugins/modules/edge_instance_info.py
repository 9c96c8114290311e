#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_instance_info
short_description: Learn what an instance is before doing anything to it
description:
  - Returns the name and version of an instance, whether it is a production instance, properties, the roles of the account, which tables
    it may read, and how far the clocks are apart.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
options:
  properties:
    description:
      - System properties to return, besides V(glide.buildname), V(glide.war) and V(glide.db.clone.allow_clone_target).
    type: list
    elements: str
    default: []
  tables:
    description: Tables to try to read.
    type: list
    elements: str
    default: []
  production_of:
    description:
      - Name of the instance that RV(production) is about, as the table C(instance) has it. Default is the instance itself.
      - Ask the source about its target, because the source is where clone targets are registered.
    type: str
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Learn what the source knows of the target
  edge_encryption.clone.edge_instance_info:
    instance: "{{ acmeprod }}"
    production_of: acmetest
    tables: [clone_instance, sn_instance_clone_request]
  register: source

- ansible.builtin.assert:
    that: source.production is false
"""

RETURN = r"""
name:
  description: What the instance calls itself (property C(instance_name)), empty if the account may not know.
  returned: success
  type: str
  sample: acmeprod
version:
  description: Property C(glide.buildname), or else C(glide.war).
  returned: success
  type: str
  sample: Zurich
release:
  description: The release family in lower case, from C(glide.buildname) or else C(glide.war). Empty if neither names one.
  returned: success
  type: str
  sample: zurich
production:
  description: Whether the table C(instance) has it, or O(production_of), down as a production instance. V(null) if it does not say.
  returned: success
  type: bool
properties:
  description: The values of the properties. V(null) for those that do not exist or may not be read.
  returned: success
  type: dict
  sample: {"glide.db.clone.allow_clone_target": "true"}
user:
  description: Name of the account, V(null) with the C(client_credentials) grant.
  returned: success
  type: str
  sample: edge.automation
roles:
  description: Roles of the account. V(null) when its name is not known.
  returned: success
  type: list
  elements: str
  sample: [clone_admin]
clock_skew_s:
  description: Seconds that the instance's clock is ahead of this host's, to about a second. V(null) if it sends no time.
  returned: success
  type: float
  sample: -0.4
tables_readable:
  description: For each of O(tables), whether the account may read it.
  returned: success
  type: dict
  sample: {"clone_instance": true}
unreadable_because:
  description: For each table that may not be read, the reason.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance import describe
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "properties": {"type": "list", "elements": "str", "default": []},
            "tables": {"type": "list", "elements": "str", "default": []},
            "production_of": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    params = module.params
    try:
        result = describe(client_of(params["instance"]), params["properties"], params["tables"], params["production_of"])
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
