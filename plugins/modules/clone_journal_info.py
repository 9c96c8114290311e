#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: clone_journal_info
short_description: Read the journal of a clone and the report made of it
description:
  - Reads what a run intended, did and saw, and who holds its target.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.journal
options:
  clone:
    description: Number of the clone. Without it, only RV(runs) and RV(lock) are returned.
    type: str
seealso:
  - module: edge_encryption.clone.clone_journal
"""

EXAMPLES = r"""
- name: What happened in the last clone
  edge_encryption.clone.clone_journal_info:
    path: /var/lib/edge_clone/journal
    target: acmetest
    clone: CLN0001234
  register: journal
"""

RETURN = r"""
run:
  description: The run, as in M(edge_encryption.clone.clone_journal). A clone that has no run has C(opened) V(null).
  returned: when O(clone) is given
  type: dict
  sample:
    run_id: acmetest/CLN0001234
    opened: "2026-01-02T03:04:05.678Z"
    closed: "2026-01-02T05:04:05.678Z"
    result: green
    finished: true
    over: true
    begun: []
    steps: {}
report:
  description:
    - The run as a report. C(steps) holds every step of the timeline in order, with the status V(not_run) for those the journal does not mention.
    - C(open) lists what still needs somebody, C(way_out) the commands for it, C(safety) the state of the target, C(outage) when it was out of service.
    - C(checks) lists what was proven and by what, with the result V(passed), V(failed) or V(not_known).
    - C(attempts) of a step are all its attempts, C(planned) is when it was to happen; V(null) when that is not known.
  returned: when O(clone) is given
  type: dict
  sample:
    format: 1
    result: green
    run_id: acmetest/CLN0001234
    steps:
      - id: t00_preflight
        title: refuse early, print the plan
        status: done
        started: "2026-01-02T03:04:05.678Z"
        ended: "2026-01-02T03:04:15.678Z"
        evidence: {}
        error:
        lane: controller
        attempts:
          - {status: done, started: "2026-01-02T03:04:05.678Z", ended: "2026-01-02T03:04:15.678Z"}
        planned: {start: "2026-01-02T03:04:05Z", end: "2026-01-02T03:04:25Z"}
    open: []
    way_out: []
    safety: The target is in service.
    checks:
      - check: Nothing stood against the run
        step: t00_preflight
        result: passed
        evidence: source acmeprod, target acmetest
    outage:
      began: "2026-01-02T03:04:05.678Z"
      ended: "2026-01-02T05:04:05.678Z"
      planned_began: "2026-01-02T03:04:00Z"
      planned_ended: "2026-01-02T05:10:00Z"
    token_db: {tables: 3, rows: 1200, verified: true}
    signatures: {records: 14, resigned: 14}
    verify: {records: 20, readable_through_proxy: 20, cipher_text_without_proxy: 20}
runs:
  description: Every run of this target, oldest first.
  returned: success
  type: list
  elements: dict
  sample: []
lock:
  description: Who holds the target; V(null) when nobody does.
  returned: success
  type: dict
  sample:
    owner: "controller:4711:88123@5f2a91c0.9b1d4c22.4026531836"
    run_id: acmetest/CLN0001234
    since: "2026-01-02T03:04:05.678Z"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._journal_calls import READ


def main():
    module = AnsibleModule(argument_spec=READ.options, supports_check_mode=True)
    try:
        result = READ.run(module.params, module.check_mode)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
