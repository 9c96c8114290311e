#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: proxy_service_info
short_description: Tell whether an Edge Encryption proxy is up, and what its log says
description:
  - Returns whether a proxy runs, can be reached and is held down, and the failures that its log reports.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.proxy_home
  - edge_encryption.clone.proxy_home.service
options:
  since_offset:
    description:
      - Position in the log from which on lines count, RV(edge_encryption.clone.proxy_service#module:log_offset) of an earlier task.
        It holds when the log has been rotated since, unless the rotated file has been compressed or deleted.
      - Without it, lines count since the start of the running proxy, or in the last mebibyte of the log when it does not run.
    type: str
  reference_time:
    description:
      - The time (UTC) that the clock of the host is compared with, such as V(2026-01-02T03:04:05Z). Give the time of the controller at the moment of the task.
      - A time that cannot be read is an error.
    type: str
seealso:
  - module: edge_encryption.clone.proxy_service
"""

EXAMPLES = r"""
- name: Which signatures does the proxy reject since its last start
  edge_encryption.clone.proxy_service_info:
    home: /opt/EdgeProxy_443
  register: proxy

- name: Show them
  ansible.builtin.debug:
    var: proxy.validation
"""

RETURN = r"""
status:
  description: What the proxy does.
  returned: success
  type: dict
  contains:
    running:
      description: Whether its process runs.
      type: bool
      sample: true
    pid:
      description: Number of its process, null when there is none.
      type: int
      sample: 4711
    started_at:
      description: When that process started, UTC, exact to a second.
      type: str
      sample: "2026-01-02T03:04:05Z"
    listening:
      description: Whether the proxy accepts connections on RV(status.host) and RV(status.port).
      type: bool
      sample: true
    host:
      description: Where it must be reached.
      type: str
      sample: proxy1.example.com
    port:
      description: Where it must be reached.
      type: int
      sample: 443
    held:
      description: Whether it is held down.
      type: bool
      sample: false
    authenticated:
      description:
        - V(false) when it runs, cannot be reached and says that its instance has not yet authenticated it.
        - Null when that is not known, because it does not run or is not up yet.
      type: bool
      sample: true
    manager:
      description: How it is started and stopped, V(scripts) or V(systemd).
      type: str
      sample: systemd
    unit:
      description: The systemd unit, null without one.
      type: str
      sample: edge.service
can_hold:
  description:
    - Whether this user could hold the proxy down with O(edge_encryption.clone.proxy_service#module:hold=true).
    - Without the right to write to C(/etc/systemd/system), a unit needs a drop-in for it; see the guide on least privilege.
  returned: success
  type: bool
  sample: true
log_failures:
  description: Lines of the log since O(since_offset) that KB0621218 documents as failures, at most 200, secrets masked.
  returned: success
  type: list
  elements: str
  sample: []
validation:
  description: The rules and configurations whose signature failed according to these lines.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(rule) or V(configuration).
      type: str
      sample: configuration
    name:
      description: Name of the rule, or table and column of the configuration.
      type: str
      sample: change_request.short_description
log_tail:
  description: The last 20 lines of the log, secrets masked.
  returned: success
  type: list
  elements: str
  sample: []
log_offset:
  description: Position at the end of the log.
  returned: success
  type: str
  sample: "1835043:20480"
clock_skew_s:
  description: Seconds by which the clock of the host is ahead of O(reference_time); what Ansible needs to reach the host counts as well.
  returned: success and with O(reference_time)
  type: float
  sample: 0.7
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _service
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            home=dict(type="path", required=True),
            manager=dict(type="str", choices=["auto", "scripts", "systemd"], default="auto"),
            unit=dict(type="str"),
            pid_file=dict(type="path", default="bin/edgeencryption.pid"),
            host=dict(type="str"),
            port=dict(type="int"),
            log_file=dict(type="path", default="logs/edgeencryption.log"),
            since_offset=dict(type="str"),
            reference_time=dict(type="str"),
        ),
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params))
    except EdgeError as exc:
        module.fail_json(**exc.to_result())


def run(params: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    compared = {}
    if params["reference_time"]:
        compared["clock_skew_s"] = round(time.time() - seconds_of(params["reference_time"]), 1)
    service = _service.Service(_service.locate(params))
    findings = service.findings(service.find(), params["since_offset"])
    return dict(
        changed=False,
        status=service.status(),
        can_hold=service.can_hold(),
        log_failures=findings.failures,
        validation=findings.validation,
        log_tail=service.log_tail(),
        log_offset=service.log_offset,
        **compared
    )


if __name__ == "__main__":
    main()
