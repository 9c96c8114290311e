#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_token_job_info
short_description: List the Edge Encryption jobs that rewrote tokens in some time
description:
  - Lists executions of order token repair and database recovery jobs on an instance that ran at some time between O(begin) and O(end).
  - They rewrite tokens of order-preserving values, in the token database and in the records (documentation page "Edge Encryption jobs"). A snapshot of the
    token database that such a job separates from the backup of the instance does not fit it.
notes:
  - Neither the columns of these tables nor the values of the job type are documented. A job is told by words in its type or its name, and RV(unknown_because)
    says when something could not be read. That is not a proof of absence.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
options:
  begin:
    description: Begin of the time to look at, in UTC, such as V(2026-01-31 22:00:00) or V(2026-01-31T22:00:00Z).
    type: str
    required: true
  end:
    description: End of it.
    type: str
    required: true
  fields:
    description: Columns that have another name than C(job) of C(sys_encryption_job_execution), C(job_type) and C(name) of C(sysauto_encryption_job).
    type: dict
    default: {}
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Look for jobs that rewrote tokens between backup and snapshot
  edge_encryption.clone.edge_token_job_info:
    instance: "{{ acmeprod }}"
    begin: "2026-01-31 22:00:00"
    end: "2026-01-31 23:10:00"
  register: rewritten
"""

RETURN = r"""
jobs:
  description: The executions, by C(sys_id).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the job.
      type: str
      sample: Repair tokens of incident
    job_type:
      description: Its type, as the instance has it.
      type: str
      sample: order_token_repair
    began:
      description: When the execution was created (UTC).
      type: str
      sample: "2026-01-31 22:30:00"
    last_seen:
      description: When its record was last updated (UTC).
      type: str
      sample: "2026-01-31 22:31:00"
unknown_because:
  description: Why RV(jobs) may lack some, otherwise empty.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._token_jobs import between


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "begin": {"type": "str", "required": True},
            "end": {"type": "str", "required": True},
            "fields": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    params = module.params
    try:
        result = between(client_of(params["instance"]), params["begin"], params["end"], params["fields"])
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
