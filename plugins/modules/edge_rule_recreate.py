#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_rule_recreate
short_description: Make exported Edge Encryption rules and configurations anew through a proxy
description:
  - Makes what an export holds and the instance lacks, and puts back what has other values. It writes through the address of a proxy, which
    signs what it lets through with its own key. The result is read back from the instance itself.
  - Records of the base system are never written. Records that the export does not hold are left alone and reported.
  - What an earlier run has made is found on the instance, so a run that was killed is finished by running the module again.
notes:
  - It is not documented whether a proxy signs a record that is made by REST. RV(totals.unsigned) counts those that it did not sign;
    M(edge_encryption.clone.edge_rule_resign) signs them.
  - Keep users away until it is done, because a field whose configuration is missing is not encrypted.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.rules
  - edge_encryption.clone.rules.exported
  - edge_encryption.clone.proxy
attributes:
  check_mode:
    support: full
    details:
      - Nothing goes through the proxy in check mode.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  workers:
    description:
      - How many records are written at the same time, once the first one has been. It is the number of parallel sessions.
      - An instance serves few REST requests at once, so more than V(8) is hardly faster.
    type: int
    default: 4
requirements:
  - requests
seealso:
  - module: edge_encryption.clone.edge_rule_export
  - module: edge_encryption.clone.edge_rule_resign
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Make the rules and configurations of the target anew after a clone that left them out
  edge_encryption.clone.edge_rule_recreate:
    instance: "{{ acmetest }}"
    proxy_url: https://edge1.test.example.com:8443
    path: /var/lib/edge_clone/acmetest-rules.json
  register: recreated
"""

RETURN = r"""
found:
  description: What was there at the beginning, by table in the order of the export, the extra records last.
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: The table.
      type: str
      sample: sys_encryption_rule
    sys_id:
      description: The record on the instance, V(null) if there is none.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    name:
      description: Name of the rule, or table and column of the configuration.
      type: str
      sample: incident.short_description
    active:
      description: Whether the exported record is active; of an extra one, whether that is.
      type: bool
    base:
      description: Whether it is a record of the base system.
      type: bool
    state:
      description: V(same), V(missing), V(different) or V(extra).
      type: str
      sample: missing
    differs:
      description: Columns that have other values than exported.
      type: list
      elements: str
      sample: [script]
    signature:
      description:
        - V(kept) if it is the exported one, V(other) if it is another one, V(none) if there is none.
        - V(null) if it cannot be read, or there is no record.
      type: str
      sample: kept
records:
  description: What is there now, in the form of RV(found). In check mode it equals RV(found).
  returned: success
  type: list
  elements: dict
created:
  description: Number of records that were missing, and are made (in check mode, would be).
  returned: success
  type: int
  sample: 14
updated:
  description: Number of records that were different, and are put back (in check mode, would be).
  returned: success
  type: int
  sample: 0
totals:
  description: Numbers of RV(records).
  returned: success
  type: dict
  contains:
    records:
      description: All.
      type: int
    same:
      description: As exported.
      type: int
    missing:
      description: Exported, but not there.
      type: int
    different:
      description: There, but with other values.
      type: int
    extra:
      description: There, but not exported.
      type: int
    unsigned:
      description: Without a signature, as far as signatures can be read.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils import _recreate
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec, proxy_client, proxy_spec


def run(params, check):
    direct = client_of(params["instance"])
    edge = proxy_client(direct, params["proxy_url"], params["proxy_ca_path"])
    before, after = _recreate.recreate(direct, edge, _recreate.load(params["path"]), check, params["base_query"], params["workers"])
    found = [pair.to_result() for pair in before]
    todo = [pair.state for pair in before if pair.todo]
    names = ["{table} {name}".format(**entry) for pair, entry in zip(before, found) if pair.todo]
    return {
        "changed": bool(todo),
        "found": found,
        "records": [pair.to_result() for pair in after],
        "totals": _recreate.totals(after),
        "created": todo.count("missing"),
        "updated": todo.count("different"),
        "diff": {
            "before": "".join("{} {}\n".format(name, state) for name, state in zip(names, todo)),
            "after": "".join("{} same\n".format(name) for name in names),
        },
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            proxy_spec(),
            instance=instance_spec(),
            path={"type": "path", "required": True},
            base_query={"type": "str", "default": _recreate.BASE_QUERY},
            workers={"type": "int", "default": 4},
        ),
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    if module.params["workers"] < 1:
        module.fail_json(msg="workers must be at least 1.")
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
