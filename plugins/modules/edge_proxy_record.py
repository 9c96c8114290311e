#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_proxy_record
short_description: Manage the record of an Edge Encryption proxy on its instance
description:
  - Makes sure that an instance has a record of a proxy, with the right host and port, and that it is authenticated, or that it has none.
  - A clone replaces these records by those of the source, so that the target no longer knows its proxies.
  - A proxy makes its own record when it starts, and must then be authenticated on the instance (documentation page "Authenticate an Edge
    Encryption proxy"). It is not documented whether that can be done by REST. If the instance does not store the status, the module
    fails and says where to click.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.proxy_records
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the proxy, its property C(edgeencryption.proxy.name).
    type: str
    required: true
  host:
    description: Host of the proxy, its property C(edgeencryption.proxy.host). Left alone if not given.
    type: str
  port:
    description: Port of the proxy. Left alone if not given.
    type: int
  status:
    description: Status that the record must have. Left alone if not given.
    type: str
    choices: [Authenticated, Unauthenticated]
  state:
    description: Whether there must be a record.
    type: str
    choices: [present, absent]
    default: present
  status_timeout:
    description: Seconds to wait while the status is V(Pending), because the proxy has to answer first.
    type: int
    default: 60
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Put the record of a proxy back after a clone
  edge_encryption.clone.edge_proxy_record:
    instance: "{{ acmetest }}"
    name: edge_target_1
    host: edge1.test.example.com
    port: 8443
    status: Authenticated

- name: Remove the source's proxies
  edge_encryption.clone.edge_proxy_record:
    instance: "{{ acmetest }}"
    name: edge_source_1
    state: absent
"""

RETURN = r"""
record:
  description: The record as it is now (in check mode, as it would be). Empty when it is absent.
  returned: success
  type: dict
  contains:
    sys_id:
      description: The record.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    name:
      description: Name of the proxy.
      type: str
      sample: edge_target_1
    host:
      description: Its host.
      type: str
      sample: edge1.test.example.com
    port:
      description: Its port.
      type: str
      sample: "8443"
    status:
      description: V(Unauthenticated), V(Pending) or V(Authenticated).
      type: str
      sample: Authenticated
    online:
      description: Whether the instance hears of the proxy.
      type: str
      sample: "true"
    last_response_on:
      description: When it last did (UTC).
      type: str
      sample: "2026-01-31 23:59:59"
status:
  description: The status that the record has instead of O(status).
  returned: when the status did not stick
  type: str
  sample: Unauthenticated
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import ProxyRecords, records_spec


def run(params, check):
    records = ProxyRecords(client_of(params["instance"]), params["table"], params["field_names"])
    if params["state"] == "absent":
        return records.remove(params["name"], check)
    wanted = {name: str(params[name]) for name in ("name", "host", "port", "status") if params[name] is not None}
    return records.ensure(wanted, check, params["status_timeout"])


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "name": {"type": "str", "required": True},
            "host": {"type": "str"},
            "port": {"type": "int"},
            "status": {"type": "str", "choices": ["Authenticated", "Unauthenticated"]},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "status_timeout": {"type": "int", "default": 60},
            **records_spec(),
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        change = run(module.params, module.check_mode)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=change.changed, record=change.after, diff={"before": change.before, "after": change.after})


if __name__ == "__main__":
    main()
