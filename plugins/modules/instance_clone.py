#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: instance_clone
short_description: Request a clone of an instance, or cancel one
description:
  - Requests a clone on its source instance, unless a clone with the same settings is open already, and follows the request until the instance has
    scheduled it. A request that the instance holds back fails with the reason.
  - ServiceNow documents no interface for this. Inserting into V(clone_instance) is what the community does; from release Australia on, clones are no longer
    requested there (documentation page "Exploring instance clone"), and the columns of V(sn_instance_clone_request) are documented nowhere. The supported way
    is to request the clone in the Clone Admin Console and to find it with M(edge_encryption.clone.instance_clone_info).
  - An instance ignores columns that it does not know. So a request is made as a draft, which is deleted again unless it shows every setting.
  - Refused are a target that is not down as a non-production instance, the source itself, a clone that is too near to another one of the same target, and a
    second clone while one is open with other settings.
  - A clone is rolled back by a person on the instance, not by this module.
notes:
  - The account needs the role C(clone_admin) on the source. Whether a request without an authentication of the target, which only the form makes, is scheduled
    or held back depends on the release.
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
  state:
    description:
      - V(requested) - there is one open clone to O(target) with these settings.
      - V(canceled) - the clone O(number) is canceled. That is possible until the stage I(Node repoint).
    type: str
    choices: [requested, canceled]
    default: requested
  number:
    description: Number of the clone, for O(state=canceled).
    type: str
  target:
    description: Name of the target instance, as the source's table of instances has it, for O(state=requested).
    type: str
  table:
    description: Table of a new request.
    type: str
    choices: [clone_instance, sn_instance_clone_request]
    default: clone_instance
  columns:
    description:
      - Names of columns of O(table) where they differ, as a dictionary with the keys V(target_instance), V(scheduled), V(profile), V(email) and V(state).
    type: dict
    default: {}
  scheduled:
    description: Start of the clone in UTC, in the form V(2026-01-31 22:00:00).
    type: str
  start_in:
    description:
      - Seconds until the start of a clone that is requested now. An open clone may have any start.
      - Without it and without O(scheduled), the clone starts as soon as it can.
    type: int
  profile:
    description: Name of the clone profile.
    type: str
  email:
    description: Addresses that the instance notifies.
    type: str
  options:
    description:
      - Further columns of the request, such as V(preserve_users_and_related_tables). Which column chooses an on-demand backup is documented nowhere; look it
        up on your instance.
    type: dict
    default: {}
  min_days:
    description: Days that must lie between the starts of two clones to one target. The documentation says 5.
    type: float
    default: 5
  wait_timeout:
    description: Seconds to wait until the instance has scheduled the request or holds it back.
    type: int
    default: 300
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Request a clone for tonight
  edge_encryption.clone.instance_clone:
    instance: "{{ acmeprod }}"
    target: acmetest
    profile: Edge
    scheduled: "2026-01-31 22:00:00"
    options:
      preserve_users_and_related_tables: true
  register: requested

- name: Cancel it
  edge_encryption.clone.instance_clone:
    instance: "{{ acmeprod }}"
    state: canceled
    number: "{{ requested.clone.number }}"
"""

RETURN = r"""
clone:
  description:
    - The clone, as RV(edge_encryption.clone.instance_clone_info#module:clone).
    - In check mode, what is known of a clone that would be requested, with an empty number.
  returned: success, and when the instance holds it back
  type: dict
  sample: {"number": "CLONE0001001", "state": "Scheduled", "scheduled": "2026-01-31T22:00:00Z"}
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import iso
from ansible_collections.edge_encryption.clone.plugins.module_utils._clone_request import Requests, Wanted
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(params, check):
    requests = Requests(client_of(params["instance"]), params["table"], params["columns"], params["min_days"], params["wait_timeout"])
    if params["state"] == "canceled":
        changed, clone = requests.cancel(params["number"], check)
        before, after = ({"state": "open"}, {"state": "Canceled"}) if changed else ({}, {})
    else:
        if params["scheduled"] and not iso(params["scheduled"]):
            raise EdgeError("scheduled", "{} is no time.".format(params["scheduled"]), "Write it in UTC as 2026-01-31 22:00:00.")
        options = {name: text(value) for name, value in params["options"].items()}
        wanted = Wanted(params["target"], params["scheduled"], params["start_in"], params["profile"], params["email"], options)
        changed, clone, after = requests.request(wanted, check)
        before = {}
    return {"changed": changed, "clone": clone, "diff": {"before": before, "after": after}}


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "state": {"type": "str", "choices": ["requested", "canceled"], "default": "requested"},
            "number": {"type": "str"},
            "target": {"type": "str"},
            "table": {"type": "str", "choices": ["clone_instance", "sn_instance_clone_request"], "default": "clone_instance"},
            "columns": {"type": "dict", "default": {}},
            "scheduled": {"type": "str"},
            "start_in": {"type": "int"},
            "profile": {"type": "str"},
            "email": {"type": "str"},
            "options": {"type": "dict", "default": {}},
            "min_days": {"type": "float", "default": 5},
            "wait_timeout": {"type": "int", "default": 300},
        },
        required_if=[("state", "requested", ("target",)), ("state", "canceled", ("number",))],
        mutually_exclusive=[("number", "target"), ("scheduled", "start_in")],
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        result = run(module.params, module.check_mode)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
