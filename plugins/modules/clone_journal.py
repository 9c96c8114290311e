#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: clone_journal
short_description: Keep the journal of a clone and hold its target
description:
  - Opens, writes and closes the journal of one run, which is the pair of a target instance and the number of a clone.
  - An open run holds its target, so that no second run can work on it at the same time.
  - A run that was killed is taken up again by opening it again.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.journal
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Recording O(status=started) again is a new event, because the time at which a step was begun matters.
options:
  clone:
    description: Number of the clone, such as V(CLN0001234).
    type: str
    required: true
  state:
    description:
      - V(opened) begins the run or takes it up again, and holds the target for O(owner).
      - V(rolling_back) begins to go back from a run, finished or not, or goes on with that, and holds the target for O(owner).
      - V(recorded) writes down what became of a step.
      - V(closed) ends the run and lets go of the target.
    type: str
    choices: [opened, rolling_back, recorded, closed]
    required: true
  owner:
    description:
      - Who holds the target.
      - Filled in by the action plugin of the same name with host, process and start time of the controller, so that a playbook does not set it.
    type: str
  force_unlock:
    description:
      - Owner whose hold on the target is broken, exactly as the error message named it.
      - Use it only when that process is gone for certain. A hold of a process on this controller that has ended is broken without it.
    type: str
  step:
    description: The step of the timeline, such as V(t50_clone_end). Required with O(state=recorded).
    type: str
  status:
    description: What became of the step. V(waiting) is for a step that needs a person. Required with O(state=recorded).
    type: str
    choices: [started, done, failed, waiting]
  evidence:
    description: What proves it, in any structure. Never put a secret or a value of a record here.
    type: dict
    default: {}
  error:
    description: Why the step failed or waits.
    type: str
  result:
    description:
      - How the run ended. V(green) finishes it for good, V(red) can be opened again, V(paused) too and nothing is wrong, V(abandoned) gives it up,
        V(rolled_back) says that the target is as before the clone.
      - Required with O(state=closed).
    type: str
    choices: [green, red, paused, abandoned, rolled_back]
seealso:
  - module: edge_encryption.clone.clone_journal_info
"""

EXAMPLES = r"""
- name: Take the target for this clone
  edge_encryption.clone.clone_journal:
    path: /var/lib/edge_clone/journal
    target: acmetest
    clone: CLN0001234
    state: opened

- name: Note that the token database was swapped
  edge_encryption.clone.clone_journal:
    path: /var/lib/edge_clone/journal
    target: acmetest
    clone: CLN0001234
    state: recorded
    step: t50_clone_end
    status: done
    evidence:
      token_db:
        tables: 3
        rows: 1200
        verified: true
"""

RETURN = r"""
run:
  description: The run as the journal tells it after this call.
  returned: success
  type: dict
  sample:
    run_id: acmetest/CLN0001234
    target: acmetest
    clone: CLN0001234
    opened: "2026-01-02T03:04:05.678Z"
    closed:
    result:
    finished: false
    over: false
    begun: [t10_source_backup]
    steps:
      t10_source_backup:
        status: done
        started: "2026-01-02T03:04:06.001Z"
        ended: "2026-01-02T03:05:06.001Z"
        evidence: {}
        error:
        attempts:
          - {status: done, started: "2026-01-02T03:04:06.001Z", ended: "2026-01-02T03:05:06.001Z"}
lock:
  description: Who holds the target, when that is why the call failed.
  returned: when another owner holds the target
  type: dict
  sample:
    owner: "controller:4711:88123@5f2a91c0.9b1d4c22.4026531836"
    run_id: acmetest/CLN0001234
    since: "2026-01-02T03:04:05.678Z"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._journal_calls import WRITE


def main():
    module = AnsibleModule(argument_spec=WRITE.options, required_if=WRITE.required_if, supports_check_mode=True)
    try:
        result = WRITE.run(module.params, module.check_mode)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
