#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: proxy_service
short_description: Start, stop or restart an Edge Encryption proxy and prove it
description:
  - A proxy counts as started when a new process of it runs, accepts connections, logs no failure that KB0621218 documents, and
    all of this is still so O(settle) seconds later. Its start script reports success before any of that is known.
  - A proxy counts as stopped when its processes, known by number and start time, have ended and nothing listens on its port.
  - A start that fails leaves the proxy as it is then, and returns the last lines of its log.
  - Can hold a proxy down, so that no person, watchdog or reboot starts it.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.proxy_home
  - edge_encryption.clone.proxy_home.service
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows whether the proxy runs and whether it is held.
  idempotent:
    support: partial
    details:
      - O(state=restarted) always restarts.
options:
  state:
    description: What the proxy shall do. With V(started) a proxy that runs already only has to be reachable.
    type: str
    choices: [started, stopped, restarted]
    required: true
  hold:
    description:
      - With V(true) a stopped proxy is held down. C(startup.sh) is moved aside to C(startup.sh.held) and replaced by a stub that
        explains itself and fails. A systemd unit gets a drop-in that refuses its start as long as C(startup.sh.held) exists; C(systemctl
        mask) cannot be used, because it fails for unit files in C(/etc/systemd/system), the place that KB0622995 names.
        The hold comes first and the stop second, so that nothing can start the proxy in between.
      - A unit that refuses its start anyway while C(startup.sh.held) exists, by a drop-in that an administrator has put there for good, is left as it
        is. Without the right to write to C(/etc/systemd/system) there has to be one; the module fails without it before it has changed anything.
      - With V(false) the original C(startup.sh) is put back byte for byte, and a masked unit is unmasked.
      - Without it, holds stay as they are, and starting a held proxy fails.
    type: bool
  timeout:
    description: Seconds within which the proxy must be up, or down.
    type: float
    default: 120
  settle:
    description: Seconds for which a started proxy must stay up without a failure in its log.
    type: float
    default: 3
  kill:
    description:
      - Whether a proxy may be ended with SIGKILL when it does not stop within O(timeout) seconds and ignores SIGTERM for ten more.
      - Without it, the module fails instead.
    type: bool
    default: false
  require_authenticated:
    description:
      - Whether it is a failure when the started proxy logs that it has not yet been authenticated by its instance. Somebody has to
        select Authenticate in its record on the instance then.
      - With V(false) the module succeeds with RV(status.authenticated=false).
    type: bool
    default: true
seealso:
  - module: edge_encryption.clone.proxy_service_info
  - module: edge_encryption.clone.edge_property
"""

EXAMPLES = r"""
- name: Stop a target proxy and keep it down while its instance is being cloned
  edge_encryption.clone.proxy_service:
    home: /opt/EdgeProxy_443
    state: stopped
    hold: true

- name: Start it again
  edge_encryption.clone.proxy_service:
    home: /opt/EdgeProxy_443
    state: started
    hold: false
    timeout: 300

- name: Restart a proxy that systemd runs
  edge_encryption.clone.proxy_service:
    home: /opt/EdgeProxy_443
    unit: edge.service
    state: restarted
"""

RETURN = r"""
status:
  description: What the proxy does. In check mode, what it does now.
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
timings:
  description: Seconds that each step took. A step that was not needed is missing.
  returned: success
  type: dict
  contains:
    stop_s:
      description: From the stop command until processes and port were gone.
      type: float
      sample: 4.1
    start_s:
      description: From the start command until the proxy was proven to be up, O(settle) included.
      type: float
      sample: 27.9
log_offset:
  description:
    - Position in the log before the proxy was started, else before it was stopped, else at the end.
    - To be used as O(edge_encryption.clone.proxy_service_info#module:since_offset).
  returned: always, unless the options are wrong
  type: str
  sample: "1835043:20480"
log_failures:
  description: Lines of the log since RV(log_offset) that KB0621218 documents as failures, at most 200, secrets masked.
  returned: always, unless the options are wrong
  type: list
  elements: str
  sample: []
validation:
  description: The rules and configurations whose signature failed according to these lines.
  returned: always, unless the options are wrong
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
  returned: always, unless the options are wrong
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _service
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            home=dict(type="path", required=True),
            state=dict(type="str", choices=["started", "stopped", "restarted"], required=True),
            hold=dict(type="bool"),
            manager=dict(type="str", choices=["auto", "scripts", "systemd"], default="auto"),
            unit=dict(type="str"),
            pid_file=dict(type="path", default="bin/edgeencryption.pid"),
            host=dict(type="str"),
            port=dict(type="int"),
            log_file=dict(type="path", default="logs/edgeencryption.log"),
            timeout=dict(type="float", default=120),
            settle=dict(type="float", default=3),
            kill=dict(type="bool", default=False),
            require_authenticated=dict(type="bool", default=True),
        ),
        supports_check_mode=True,
    )
    if module.params["hold"] and module.params["state"] != "stopped":
        module.fail_json(msg="hold=true goes with state=stopped only.")
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except EdgeError as exc:
        module.fail_json(**exc.to_result())


def run(params: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    service = _service.Service(_service.locate(params))
    limits = _service.Limits(params["timeout"], params["settle"], params["kill"], params["require_authenticated"])
    state, hold = params["state"], params["hold"]
    before = service.status()
    if state == "restarted" or (state == "started" and not before["running"]):
        service.check_startable(held_matters=hold is None)

    changed = False
    if hold is not None:
        changed = service.hold(check_mode) if hold else service.release(check_mode)
    timings = {}
    if state in ("stopped", "restarted"):
        timings["stop_s"] = service.stop(limits, check_mode)
    if state in ("started", "restarted"):
        timings["start_s"] = service.start(limits, check_mode)
    timings = {name: seconds for name, seconds in timings.items() if seconds is not None}

    after = dict(before, running=state != "stopped", held=before["held"] if hold is None else hold) if check_mode else service.status()
    findings = service.findings(since=service.log_offset)
    return dict(
        changed=changed or bool(timings),
        status=before if check_mode else after,
        timings=timings,
        log_offset=service.log_offset,
        log_failures=findings.failures,
        validation=findings.validation,
        log_tail=service.log_tail(),
        diff={name: {key: status[key] for key in ("running", "held")} for name, status in (("before", before), ("after", after))},
    )


if __name__ == "__main__":
    main()
