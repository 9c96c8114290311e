#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: clone_plan_info
short_description: Plan a clone out of what was found and of how earlier ones went
description:
  - Says which step happens when and where, which keys match, which options follow from that, how long it takes, and what is missing.
  - Rates and durations are the medians of the last green runs in the journal. Where there are none, stated defaults are taken; the plan says which.
  - How long the clone itself takes is known from earlier runs only. Without one, what comes after it hangs on its end and has no time of day.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.journal
options:
  clone:
    description: The clone as RV(edge_encryption.clone.instance_clone_info#module:clone); empty when none is requested yet.
    type: dict
    default: {}
  planned_start:
    description: When the clone is to start, in UTC, for a clone that is not requested yet. Without either, times hang on the start.
    type: str
    default: ""
  backup_time:
    description: When the nightly backup of the source ends, in UTC. The snapshot of the source's tokens does not begin before.
    type: str
    default: ""
  stop_lead:
    description: Seconds before the start of the clone at which the target proxies go down.
    type: int
    default: 600
  encryption_option:
    description: The encryption option of the run.
    type: str
    required: true
  signature_option:
    description: The signature option of the run.
    type: str
    required: true
  tokenization:
    description: Whether the source's token database is brought along.
    type: bool
    default: true
  runner:
    description: Inventory name of the host that reaches instances and databases.
    type: str
    default: ""
  source_proxy:
    description: Inventory name of the source proxy whose keys are held against the target's.
    type: str
    default: ""
  target_proxies:
    description: Inventory names of the target proxies.
    type: list
    elements: str
    default: []
  keystores:
    description: For each proxy by its inventory name, the RV(edge_encryption.clone.edge_keystore_info#module:entries) of its keystore.
    type: dict
    default: {}
  key_files:
    description: For each proxy with a file store, by its inventory name, the RV(edge_encryption.clone.edge_key_file_info#module:entries).
    type: dict
    default: {}
  signing:
    description: For each proxy by its inventory name, the entry of the key that it signs with.
    type: dict
    default: {}
  records:
    description: Number of rules and configurations that would be signed.
    type: int
    default: 0
  database:
    description: Number of C(rows), C(tables) and C(bytes) of the source's token database.
    type: dict
    default: {}
  tokens_needed:
    description:
      - What on the source needs the token database, as RV(edge_encryption.clone.edge_encrypted_data_info#module:tokens_needed).
      - Left out when that is not known.
    type: list
    elements: str
  missing:
    description: What was found to stand against the run.
    type: list
    elements: str
    default: []
seealso:
  - module: edge_encryption.clone.clone_journal_info
"""

EXAMPLES = r"""
- name: Plan the clone
  edge_encryption.clone.clone_plan_info:
    path: /var/lib/edge_clone/journal
    target: acmetest
    clone: "{{ found.clone }}"
    encryption_option: same_key
    signature_option: resigned
    source_proxy: edge_source_1
    target_proxies: [edge_target_1]
    keystores:
      edge_source_1: "{{ source_keystore.entries }}"
      edge_target_1: "{{ target_keystore.entries }}"
    database: {rows: 1200000, tables: 3, bytes: 104857600}
  register: planned
"""

RETURN = r"""
plan:
  description:
    - The plan. Every time is in UTC; one that cannot be known yet is V(null), and the step then hangs on its C(anchor) by C(offset_s) seconds.
    - C(duration_from) and C(database.from) say where a duration comes from.
  returned: success
  type: dict
  sample:
    format: 1
    made: "2026-01-01T20:00:00Z"
    target: acmetest
    clone: {number: CLN0001234, state: Scheduled, scheduled: "2026-01-02T03:00:00Z"}
    clone_start: "2026-01-02T03:00:00Z"
    clone_s: 30120
    stop_lead_s: 600
    options: {encryption: same_key, signatures: resigned, tokenization: true}
    steps:
      - id: t30_clone_start
        title: target proxies down and held down
        hosts: [edge_target_1, edge_target_2]
        anchor: clone_start
        offset_s: -600
        duration_s: 70
        duration_from: stated default
        planned_start: "2026-01-02T02:50:00Z"
        planned_end: "2026-01-02T02:51:10Z"
    keys:
      - alias: aes128prod
        size: 128
        fingerprint: 57562bb7a7c85776024dcc7a43aefdc62e8c35eb64d0b02f198dc58baa2aaf6e
        targets: {edge_target_1: missing, edge_target_2: same}
    signature_keys: {alias: edgesign, fingerprint: 9b1b919280dbf0e1, targets: {edge_target_1: different, edge_target_2: different}}
    recommended:
      playbook: {name: edge_encryption.clone.clone_with_tokenization, reason: tokens are needed by the tokenization pattern SSN.}
      encryption: {option: same_key, reason: "source keys are missing on a target proxy, and no alias is taken by another key."}
      signatures: {option: resigned, reason: "the keys differ and are to stay apart, and the clone brings the source's rules and configurations."}
    missing: []
    database: {rows: 1200000, tables: 3, bytes: 104857600, snapshot_s: 2.4, stage_s: 6.7, swap_s: 0.1, from: measured in 2 earlier runs}
    outage: {began: "2026-01-02T02:50:00Z", ended: "2026-01-02T11:30:00Z", without_clone_s: 1080, seconds: 31200, text: "8 h 40 min"}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._plan import build_plan
from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal


def run(params):
    facts = {name: params[name] for name in (
        "target", "clone", "planned_start", "backup_time", "runner", "records", "database", "tokens_needed", "missing")}
    facts["now"] = time.time()
    facts["stop_lead_s"] = params["stop_lead"]
    facts["source_proxy"] = proxy(params, params["source_proxy"])
    facts["target_proxies"] = [proxy(params, name) for name in params["target_proxies"]]
    facts["options"] = {"encryption": params["encryption_option"], "signatures": params["signature_option"], "tokenization": params["tokenization"]}
    facts["runs"] = Journal(params["path"], params["target"]).runs()
    return {"changed": False, "plan": build_plan(facts)}


def proxy(params, name):
    keys = [entry for entry in params["keystores"].get(name) or [] if entry["type"] == "secret_key"]
    keys += params["key_files"].get(name) or []
    return {"name": name, "keys": keys, "signature_key": params["signing"].get(name) or {}}


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "target": {"type": "str", "required": True},
            "clone": {"type": "dict", "default": {}},
            "planned_start": {"type": "str", "default": ""},
            "backup_time": {"type": "str", "default": ""},
            "stop_lead": {"type": "int", "default": 600},
            "encryption_option": {"type": "str", "required": True},
            "signature_option": {"type": "str", "required": True},
            "tokenization": {"type": "bool", "default": True},
            "runner": {"type": "str", "default": ""},
            "source_proxy": {"type": "str", "default": ""},
            "target_proxies": {"type": "list", "elements": "str", "default": []},
            "keystores": {"type": "dict", "default": {}, "no_log": False},
            "key_files": {"type": "dict", "default": {}, "no_log": False},
            "signing": {"type": "dict", "default": {}},
            "records": {"type": "int", "default": 0},
            "database": {"type": "dict", "default": {}},
            "tokens_needed": {"type": "list", "elements": "str", "no_log": False},
            "missing": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module.params)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
