#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_key_rotation
short_description: Rotate encrypted values to the default keys of an instance
description:
  - Executes a key rotation job of I(Edge Encryption > Maintenance), or attaches to one that is running, follows it to its end, and proves the result.
  - The proxies do the work. Each needs the old key and the new one until it is done, so both must be Available.
  - A job that was interrupted goes on where it stopped when it is executed again, which this module does by itself (documentation page "Encryption key
    rotation"). Run it again whenever it failed.
  - It succeeds only when the job ends in a state that is known to mean that, no record failed, and a scan finds no value under an old key. Then the old
    key can be taken out of the proxies, see M(edge_encryption.clone.edge_keystore_entry).
  - Rotation does not touch the clear text in the token database. Tokens of patterns are not encrypted with these keys.
notes:
  - Neither the columns of the job tables nor the values in them are documented. See O(fields), O(states) and O(job_types). Columns are looked up in
    C(sys_dictionary) before a job is made. A state that is not known is an error, never a success.
  - The job is executed by setting its start to now. Where that is not possible, set O(start=false) and press I(Execute Now) on its form.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.keys
  - edge_encryption.clone.keys.values
attributes:
  check_mode:
    support: full
    details:
      - Counts the values that would be rotated.
  diff_mode:
    support: full
    details:
      - Shows how many values are under which key.
  idempotent:
    support: full
    details:
      - A job is executed only when a value is under an old key. With O(scan_limit), a job is executed unless the last execution ended well.
options:
  job_type:
    description:
      - V(single) rotates the values under O(alias) in all encrypted columns.
      - V(mass) rotates all encrypted columns to the default keys.
      - V(attachment) rotates the attachments of O(table).
    type: str
    choices: [single, mass, attachment]
    required: true
  alias:
    description: The key to rotate away from. It must not be a default any more. Required with O(job_type=single).
    type: str
  table:
    description: The table whose attachments are rotated. Required with O(job_type=attachment).
    type: str
  name:
    description: Name of the job. Defaults to one that is made of type and alias or table. A job with this name is taken up again.
    type: str
  start:
    description: Whether to make and execute the job. Otherwise somebody else does, and this module waits for it.
    type: bool
    default: true
  scan_limit:
    description: How many records of each table to look at before and after. V(0) looks at all.
    type: int
    default: 0
  audit:
    description: Whether to look at the history of encrypted columns as well, which the job also rotates.
    type: bool
    default: true
  allow_unknown:
    description:
      - Whether values may stay that name no key which the instance lists, such as clear text from before the encryption.
    type: bool
    default: false
  timeout:
    description: Seconds that the job may take. It is not stopped after that.
    type: int
    default: 86400
  start_timeout:
    description: Seconds until the instance must have begun the job.
    type: int
    default: 300
  poll_interval:
    description: Seconds between two looks at the job.
    type: float
    default: 10
  restarts:
    description:
      - How often the job is executed again when it was interrupted meanwhile, or when it left values although no record failed, because a proxy had not
        heard of the new default key yet.
    type: int
    default: 3
  fields:
    description:
      - Columns that have another name than assumed, as pairs of a name below and the column.
      - C(job_name), C(job_type), C(job_key), C(job_table), C(job_active), C(job_run_type) and C(job_run_start) of C(sysauto_encryption_job); C(execution_job),
        C(execution_state), C(execution_done) and C(execution_total) of C(sys_encryption_job_execution); C(failure_execution), C(failure_state),
        C(failure_table), C(failure_record) and C(failure_reason) of C(sys_encryption_job_execution_chunk).
    type: dict
    default: {}
  states:
    description: Further states of an execution, or what they mean. Compared without regard to case and underscores.
    type: dict
    default: {}
    suboptions:
      running:
        description: States of a job that goes on by itself.
        type: list
        elements: str
      interrupted:
        description: States of a job that goes on when it is executed again.
        type: list
        elements: str
      done:
        description: States of a job that has ended.
        type: list
        elements: str
      failure:
        description: States of a record that failed.
        type: list
        elements: str
  job_types:
    description: What the instance calls the job types V(single), V(mass) and V(attachment), where it is not C(single_key_rotation) and so on.
    type: dict
    default: {}
  progress_file:
    description: File to append a JSON line to, at most once a second, that says how far the work is.
    type: path
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
seealso:
  - module: edge_encryption.clone.edge_encryption_key
  - module: edge_encryption.clone.edge_key_usage_info
"""

EXAMPLES = r"""
- name: Rotate every column to the default keys
  edge_encryption.clone.edge_key_rotation:
    instance: "{{ acmetest }}"
    job_type: mass

- name: Rotate the attachments of incidents
  edge_encryption.clone.edge_key_rotation:
    instance: "{{ acmetest }}"
    job_type: attachment
    table: incident
"""

RETURN = r"""
job:
  description: Name of the job.
  returned: success, or when values are left
  type: str
  sample: edge_encryption.clone mass
state:
  description: State of its last execution, as the instance calls it. V(null) when there was none.
  returned: success, or when values are left
  type: str
  sample: complete
old_aliases:
  description: The keys that were rotated away from.
  returned: success, or when values are left
  type: list
  elements: str
  sample: [aes128prod, aes256prod]
before:
  description: How many values were under them.
  returned: success, or when values are left
  type: int
  sample: 2407
remaining:
  description: How many values are under them.
  returned: success, or when values are left
  type: int
  sample: 0
done:
  description: How many records the execution has done, as it says itself.
  returned: success, or when values are left
  type: int
total:
  description: How many records the execution had to do.
  returned: success, or when values are left
  type: int
seconds:
  description: Duration in seconds.
  returned: success, or when values are left
  type: float
failed_records:
  description: The records that the job could not rotate.
  returned: success, or when values are left
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
    reason:
      description: What the instance says about it. Words of 40 characters and more are left out, since they could be a value.
      type: str
usage:
  description: What is under which key now, as RV(edge_encryption.clone.edge_key_usage_info#module:places) and what stands beside it.
  returned: success, or when values are left
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._rotation import Rotation, Settings

STATES = ("running", "interrupted", "done", "failure")


def settings_of(params):
    name = params["name"] or " ".join(word for word in ("edge_encryption.clone", params["job_type"], params["alias"] or params["table"]) if word)
    same = set(Settings._fields) - {"name", "configuration_fields", "states"}
    return Settings(
        name=name,
        configuration_fields=params["configuration_fields"],
        states={kind: states for kind, states in (params["states"] or {}).items() if states},
        **{option: params[option] for option in same},
    )


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "key_fields": {"type": "dict", "default": {}, "no_log": False},
            "alias_pattern": {"type": "str"},
            "configuration_fields": {"type": "dict", "default": {}},
            "job_type": {"type": "str", "choices": ["single", "mass", "attachment"], "required": True},
            "alias": {"type": "str"},
            "table": {"type": "str"},
            "name": {"type": "str"},
            "start": {"type": "bool", "default": True},
            "scan_limit": {"type": "int", "default": 0},
            "audit": {"type": "bool", "default": True},
            "allow_unknown": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 86400},
            "start_timeout": {"type": "int", "default": 300},
            "poll_interval": {"type": "float", "default": 10},
            "restarts": {"type": "int", "default": 3},
            "fields": {"type": "dict", "default": {}},
            "states": {"type": "dict", "default": {}, "options": {kind: {"type": "list", "elements": "str"} for kind in STATES}},
            "job_types": {"type": "dict", "default": {}},
            "progress_file": {"type": "path"},
        },
        required_if=[("job_type", "single", ["alias"]), ("job_type", "attachment", ["table"])],
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    params = module.params
    try:
        progress = Progress(params["progress_file"], "key rotation")
        result = Rotation(client_of(params["instance"]), settings_of(params), progress).run(module.check_mode)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    if result["changed"]:
        old = ", ".join(result["old_aliases"])
        left = 0 if module.check_mode else result["remaining"]
        result["diff"] = {"before": "{} values under {}\n".format(result["before"], old), "after": "{} values under {}\n".format(left, old)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
