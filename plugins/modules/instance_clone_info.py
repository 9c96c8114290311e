#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: instance_clone_info
short_description: Find a clone request and follow it until the target can be used
description:
  - Finds a clone on the source instance, by its number or as the only open clone to a target, and returns what it is made of.
  - With O(wait_for) it follows the clone. It survives what happens to both instances meanwhile, such as resets, maintenance pages, rate
    limits and, on the target, refused logins.
  - A clone lives in the table V(clone_instance), or in V(sn_instance_clone_request) if it was requested in the Clone Admin Console
    (KB1425858). Both are searched. Numbers may occur in both.
  - State V(Completed) does not mean that the target can be used. The cleanup scripts run afterwards, as a scheduled job of the target
    (documentation page "Exploring instance clone"). See O(wait_for).
  - A state that the documentation (page "Clone states") does not name counts as RV(clone.phase=unknown), neither as success nor as failure.
notes:
  - The account needs to read the clone tables, which the role C(clone_admin) gives, and C(sys_trigger) and C(sys_properties) on the target.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
options:
  number:
    description: Number of the clone. Mutually exclusive with O(target).
    type: str
  target:
    description:
      - Name of the target instance, as the source's table of instances has it.
      - There must be exactly one clone to it that has not ended.
    type: str
  table:
    description: Where to search. With V(auto) both tables are searched, and one that cannot be read is ignored.
    type: str
    choices: [auto, clone_instance, sn_instance_clone_request]
    default: auto
  target_instance:
    description:
      - The target instance and how to log in to it, for O(wait_for=ready) and RV(cleanup_running).
      - Nothing is taken from the environment for it.
    type: dict
    suboptions:
      host:
        description: Base URL of the target instance.
        type: str
      username:
        description: User name for basic authentication or for the C(password) grant.
        type: str
      password:
        description: Password of O(target_instance.username).
        type: str
      grant_type:
        description: OAuth grant to use when O(target_instance.client_id) is given.
        type: str
        choices: [password, client_credentials]
        default: password
      client_id:
        description: OAuth client ID. Without it, basic authentication is used.
        type: str
      client_secret:
        description: OAuth client secret of O(target_instance.client_id).
        type: str
      timeout:
        description: Seconds to wait for a connection, and again for each answer.
        type: float
        default: 30
      validate_certs:
        description: Whether to verify the TLS certificate of the target instance.
        type: bool
        default: true
      ca_path:
        description: PEM file with the certificate authorities to trust instead of the system's.
        type: path
  wait_for:
    description:
      - How far the clone must be before the module returns. Without it, the module returns at once.
      - V(scheduled), V(active) and V(completed) mean that state, or a later one that is not a failure.
      - V(due) means O(lead) seconds before its scheduled start, or later.
      - V(backup) means that its log says which backup it uses.
      - V(ready) means completed, the job of the cleanup scripts is gone, and O(target_instance) can log in.
      - The module fails when the clone fails or is canceled.
    type: str
    choices: [scheduled, due, active, backup, completed, ready]
  lead:
    description: Seconds before the scheduled start of the clone at which O(wait_for=due) returns.
    type: int
    default: 0
  wait_timeout:
    description: Seconds to wait for O(wait_for).
    type: int
    default: 43200
  poll_interval:
    description:
      - Seconds between two looks.
      - While the target refuses the login they become more, up to V(300), because accounts lock.
    type: int
    default: 10
  cleanup_grace:
    description: Seconds after completion during which the job of the cleanup scripts may yet appear.
    type: int
    default: 60
  backup_pattern:
    description:
      - Python regular expression that finds the times of the backup, in UTC, in a line of the clone's log.
      - It has groups named C(started) and C(completed), in the form V(2026-01-31 23:59:59).
      - The documentation says that the log shows date and time of the backup, but not with which words.
      - The default matches C(Backup ... started TIME, completed TIME (UTC)).
    type: str
  progress_file:
    description: File to append a JSON line to, at most once a second, that says how far the clone is.
    type: path
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Find the clone to acmetest that is due
  edge_encryption.clone.instance_clone_info:
    instance: "{{ acmeprod }}"
    target: acmetest
  register: due

- name: Wait until the target can be used
  edge_encryption.clone.instance_clone_info:
    instance: "{{ acmeprod }}"
    number: "{{ due.clone.number }}"
    target_instance: "{{ acmetest }}"
    wait_for: ready
    wait_timeout: 36000
"""

RETURN = r"""
clone:
  description: The clone. When waiting fails, as it was seen last.
  returned: when the clone was found
  type: dict
  contains:
    number:
      description: Its number.
      type: str
      sample: CLN0001234
    sys_id:
      description: Its record.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    table:
      description: The table it is in.
      type: str
      sample: clone_instance
    state:
      description: Its state, as the instance says it.
      type: str
      sample: Active
    phase:
      description: What the state means, one of V(waiting), V(running), V(completed), V(failed), V(canceled) and V(unknown).
      type: str
      sample: running
    message:
      description: What the instance says about the state, such as the reason for a hold.
      type: str
    target_data:
      description:
        - What the target holds, one of V(untouched) (its own data), V(replaced) (the clone), V(rolled_back) (its own data again) and V(unknown).
        - A clone that ended early left its target V(untouched) if neither its record nor its log names the stage I(Node repoint) or a later one. A log that
          cannot be read, or that ends in that very stage, makes it V(unknown).
      type: str
      sample: untouched
    cancelable:
      description: Whether it can still be canceled, which is so until the stage I(Node repoint).
      type: bool
    roll_back_until:
      description: Until when it can be rolled back, 7 days after its completion. V(null) before that. Only the last clone of a target can be rolled back.
      type: str
      sample: "2026-02-08T02:10:00Z"
    roll_back_until_if_sharded:
      description: The same for a target whose database is sharded, 2 days.
      type: str
    stage:
      description: The stage it is in, by its record or else its log. V(null) if neither tells.
      type: str
      sample: Restore
    scheduled:
      description: When it is to start (UTC, ISO 8601), V(null) if it is not set.
      type: str
      sample: "2026-01-31T22:00:00Z"
    started:
      description: When it started.
      type: str
    completed:
      description: When it was completed.
      type: str
    backup_started:
      description: When the backup that the clone uses was begun. V(null) if the log does not say it unambiguously.
      type: str
    backup_completed:
      description: When that backup was complete.
      type: str
    backup_unknown_because:
      description: Why the times of the backup are V(null).
      type: str
    source:
      description: Name of the source instance.
      type: str
      sample: acmeprod
    target:
      description: Name of the target instance.
      type: str
      sample: acmetest
    target_production:
      description: Whether the source has the target down as a production instance. V(null) if it does not say.
      type: bool
    profile:
      description: Name of the clone profile.
      type: str
    preservers:
      description: The data preservers of the profile.
      type: list
      elements: dict
      contains:
        name:
          description: Its name.
          type: str
        table:
          description: The table whose rows on the target are kept.
          type: str
        condition:
          description: Which rows those are.
          type: str
    exclusions:
      description: The tables that the profile excludes.
      type: list
      elements: str
    options:
      description: The options of the request, by the names of their fields.
      type: dict
      sample: {"exclude_large_data": true}
    log:
      description: Its log.
      type: list
      elements: dict
      contains:
        time:
          description: When (UTC, ISO 8601).
          type: str
        message:
          description: What.
          type: str
cleanup_running:
  description: Whether the job of the cleanup scripts is there. V(null) without O(target_instance), or when the login is refused.
  returned: success
  type: bool
candidates:
  description: The clones with that number or to that target.
  returned: when the search was made
  type: list
  elements: dict
  sample: [{"table": "clone_instance", "sys_id": "6816f79cc0a8016401c5a33be04be441", "number": "CLN0001234", "state": "Completed",
            "phase": "completed", "scheduled": "2026-01-31T22:00:00Z"}]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import BACKUP_PATTERN, Clones, Follower, cleanup_runs
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR, LoginRefused
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress


def look(clones, target, params):
    clone = clones.read(clones.find(params["number"], params["target"]))
    try:
        return clone, cleanup_runs(target) if target else None
    except LoginRefused:
        return clone, None


def run(module, params):
    clones = Clones(client_of(params["instance"]), params["table"], params["backup_pattern"] or BACKUP_PATTERN)
    target = client_of(params["target_instance"], "target_instance", attempts=1) if params["target_instance"] else None
    if params["wait_for"]:
        follower = Follower(
            clones,
            target,
            Progress(params["progress_file"], "clone"),
            timeout=params["wait_timeout"],
            interval=params["poll_interval"],
            grace=params["cleanup_grace"],
            lead=params["lead"],
        )
        clone = follower.follow(params["number"], params["target"], params["wait_for"])
        running = follower.cleanup_running
        for warning in follower.warnings:
            module.warn(warning)
    else:
        clone, running = look(clones, target, params)
    return {"clone": clone, "cleanup_running": running, "candidates": clones.candidates}


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "number": {"type": "str"},
            "target": {"type": "str"},
            "table": {"type": "str", "choices": ["auto", "clone_instance", "sn_instance_clone_request"], "default": "auto"},
            "target_instance": instance_spec(environment=False, required=False),
            "wait_for": {"type": "str", "choices": ["scheduled", "due", "active", "backup", "completed", "ready"]},
            "lead": {"type": "int", "default": 0},
            "wait_timeout": {"type": "int", "default": 43200},
            "poll_interval": {"type": "int", "default": 10},
            "cleanup_grace": {"type": "int", "default": 60},
            "backup_pattern": {"type": "str"},
            "progress_file": {"type": "path"},
        },
        required_one_of=[("number", "target")],
        mutually_exclusive=[("number", "target")],
        required_if=[("wait_for", "ready", ("target_instance",))],
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        result = run(module, module.params)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
