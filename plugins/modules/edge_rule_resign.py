#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_rule_resign
short_description: Re-sign Edge Encryption rules and configurations through a proxy
description:
  - Makes a proxy sign rules and encryption configurations anew, as is needed when the proxies have another signature key than the one
    that the records were signed with, such as after a clone.
  - It does what KB0621218 ("failed signature validation") tells to do by hand, record by record. It turns C(Active) off and on again,
    through the address of a proxy.
  - Before anything else, records are re-signed one at a time as canaries, of each table an inactive and an active one. Unless each of them
    then carries a new signature, only these are touched and the module fails with the reason.
  - No more than O(max_inactive) records are off at any moment, and each is journaled in O(state_file) before it is touched. Run again
    with the same file after a crash, and the records that were off are turned on before anything else happens. SIGTERM and SIGINT end
    the run after the records in hand.
  - At the end every record is read from the instance and compared with what it was.
  - The batch API is never used, because a proxy cannot handle it (documentation page "Edge Encryption limitations").
notes:
  - Users should be locked out meanwhile. While a rule or configuration is off, what it encrypts could reach the instance as clear text.
  - It is not documented whether a proxy signs what comes by REST, nor whether a REST session may write these tables. Both are found out
    with the canaries. The documentation (page "Edge Encryption configuration") wants a user with the elevated role C(security_admin),
    logged in through a proxy.
  - Records signed by ServiceNow, that is those of the base system, verify with a key that each proxy has, so they need no new signature.
  - The proxies must run while this module works, so their signature validation must be off if the signatures are bad.
  - The names of the columns are not documented. C(active) and the C(sys_) fields are required, the others are looked up.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.proxy
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(scope=customer) and the same O(state_file), records that nobody has changed since are skipped. Otherwise everything in the scope
        is re-signed again.
options:
  scope:
    description:
      - Which records are re-signed. Base records never are, whatever the scope. They are signed with ServiceNow's key and proxies check
        them with the certificate they ship with (KB0621218), so that a new signature would spoil them and make upgrades skip them.
      - V(customer) are all others, active or not, but for those that O(state_file) says were re-signed and nobody has changed since.
      - V(failing) are those in O(failing).
      - V(all) are all others even if they were re-signed before, for instance because the proxies have yet another signature key.
    type: str
    choices: [customer, failing, all]
    default: customer
  failing:
    description:
      - The records whose signature fails, as the logs of the proxies name them in
        RV(edge_encryption.clone.proxy_service_info#module:validation). Required with O(scope=failing).
      - Every rule of a name is meant, as the log has no more than the name. A name that no record has is a warning, because the log also
        complains about records that were deleted, which emptying the cache settles. A base record is an error.
    type: list
    elements: dict
    suboptions:
      kind:
        description: What it is.
        type: str
        choices: [rule, configuration]
        required: true
      name:
        description: Name of the rule; table and column of the configuration, or table and type where it has no column.
        type: str
        required: true
  tables:
    description: The tables whose records are re-signed.
    type: list
    elements: str
    default: [sys_encryption_rule, sys_encryption_configuration]
  base_query:
    description:
      - Encoded query that tells the records of the base system. They are never touched.
      - Conditions may be joined by C(^), C(^OR) and C(^NQ), with the operators V(=), V(!=), V(IN), V(NOT IN), V(STARTSWITH), V(ENDSWITH),
        V(LIKE), V(NOT LIKE), V(ISEMPTY) and V(ISNOTEMPTY).
      - The module refuses to work when no record of V(sys_encryption_rule) matches, or when a record that does not match was created by an
        account of the base system (V(glide.maint), V(maint), V(system)). It lists them in RV(undecided). With O(scope=failing) only the
        second matters, and only for records in O(failing).
    type: str
    default: sys_created_by=glide.maint
  no_base_records:
    description: Says that there are no other base records than those that O(base_query) tells.
    type: bool
    default: false
  signature_field:
    description: The field that holds the signature. Default is the only readable field with C(signature) in its name.
    type: str
  canary_proof:
    description:
      - What proves that a record was re-signed.
      - V(signature) means that the signature must change when the record does.
      - V(update) is satisfied with an update of the record where the signature cannot be read. Prove the signatures by the log of a
        restarted proxy then.
    type: str
    choices: [signature, update]
    default: signature
  inactive:
    description:
      - What to do with records that are inactive. A proxy validates them, too.
      - V(touch) never activates them. The record is written with the values it has; if that does not make the proxy sign it, C(order) (else
        C(description), C(short_description) or C(comments)) is changed and put back. When there is none of them and nothing has
        changed, the record may have had this signature already. That is taken for granted, with a warning, when it is so for all other
        records; otherwise it is an error.
      - V(toggle) activates them for a moment, as KB0621218 does.
      - V(skip) leaves them alone and reports them.
    type: str
    choices: [skip, touch, toggle]
    default: touch
  max_inactive:
    description:
      - How many records may be off at the same moment. It is also the number of parallel sessions.
      - An instance serves few REST requests at once, so more than V(8) is hardly faster.
    type: int
    default: 4
  transport:
    description:
      - How to write.
      - V(table_api) uses the Table API.
      - V(form) does what the form view in a browser does, for proxies that sign only that.
      - V(auto) tries V(table_api) with the first canary, and V(form) if that does not get it signed.
    type: str
    choices: [auto, table_api, form]
    default: auto
  restore_timeout:
    description: Seconds to keep trying when a record cannot be put back to what it was.
    type: int
    default: 600
  state_file:
    description: Journal of the work, on the host where the module runs. Made with mode 0600 if it does not exist. It holds no secrets.
    type: path
    required: true
  progress_file:
    description: File to append a JSON line to, at most once a second, that says how far the work is.
    type: path
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Re-sign everything after a clone
  edge_encryption.clone.edge_rule_resign:
    instance:
      host: https://acmetest.service-now.com
      username: edge.automation
      password: "{{ acmetest_password }}"
    proxy_url: https://edge1.test.example.com:8443
    state_file: /var/lib/edge_clone/acmetest-resign.jsonl
    max_inactive: 2
  register: resigned

- name: Ask the proxies which signatures fail
  edge_encryption.clone.proxy_service_info:
    home: "{{ hostvars[item].edge_home }}"
  delegate_to: "{{ item }}"
  loop: "{{ groups['edge_target_proxies'] }}"
  register: proxies

- name: Re-sign those
  edge_encryption.clone.edge_rule_resign:
    instance: "{{ acmetest }}"
    proxy_url: https://edge1.test.example.com:8443
    state_file: /var/lib/edge_clone/acmetest-resign.jsonl
    scope: failing
    failing: "{{ proxies.results | map(attribute='validation') | flatten | unique }}"

- name: See what would be done
  edge_encryption.clone.edge_rule_resign:
    instance: "{{ acmetest }}"
    proxy_url: https://edge1.test.example.com:8443
    state_file: /var/lib/edge_clone/acmetest-resign.jsonl
  check_mode: true
"""

RETURN = r"""
records:
  description: Every record of O(tables), in no particular order.
  returned: when the records could be read
  type: list
  elements: dict
  contains:
    table:
      description: The table.
      type: str
      sample: sys_encryption_rule
    sys_id:
      description: The record.
      type: str
      sample: 6816f79cc0a8016401c5a33be04be441
    name:
      description: Name of the rule, or table and column of the configuration.
      type: str
      sample: incident.short_description
    active:
      description: Whether the record is active, before as after.
      type: bool
    base:
      description: Whether it is a record of the base system.
      type: bool
    resigned:
      description: Whether this run re-signed it. Always V(false) in check mode.
      type: bool
    skipped:
      description: Why it was left alone, or V(null).
      type: str
      sample: base record, signed by ServiceNow
    error:
      description: What is wrong with it, or V(null).
      type: str
    signature_before:
      description: SHA-256 (hexadecimal) of the signature before, V(null) if it cannot be read.
      type: str
    signature_after:
      description: The same of the signature afterwards.
      type: str
totals:
  description: Numbers of records.
  returned: when the records could be read
  type: dict
  contains:
    records:
      description: All.
      type: int
    resigned:
      description: Re-signed by this run.
      type: int
    skipped:
      description: Left alone, base records not counted.
      type: int
    base:
      description: Of the base system.
      type: int
    failed:
      description: Those with an error.
      type: int
recovered:
  description: Records that a killed run had in hand, and that this one put back first.
  returned: when the records could be read
  type: list
  elements: str
transport:
  description: The transport that was used last.
  returned: when the records could be read
  type: str
  sample: table_api
instance_name:
  description: Name of the instance, as it says itself on both ways.
  returned: when the records could be read
  type: str
  sample: acmetest
seconds:
  description: Duration in seconds.
  returned: when the records could be read
  type: float
  sample: 12.3
undecided:
  description: Records of which it cannot be told whether they came with the base system.
  returned: when the module refuses to work for this reason
  type: list
  elements: dict
canary:
  description: The record that could not be re-signed.
  returned: when a canary failed
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec, proxy_client, proxy_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._resign import Settings, resign
from ansible_collections.edge_encryption.clone.plugins.module_utils._rules import BASE_QUERY, TABLES


def run(params, check):
    direct = client_of(params["instance"], longest_pause=params["restore_timeout"])
    edge = proxy_client(direct, params["proxy_url"], params["proxy_ca_path"])
    settings = Settings(
        scope=params["scope"],
        failing=frozenset((entry["kind"], entry["name"]) for entry in params["failing"] or ()),
        tables=params["tables"],
        base_query=params["base_query"],
        no_base_records=params["no_base_records"],
        signature_field=params["signature_field"],
        inactive=params["inactive"],
        max_inactive=params["max_inactive"],
        transport=params["transport"],
        signature_required=params["canary_proof"] == "signature",
        restore_timeout=params["restore_timeout"],
    )
    return resign(direct, edge, settings, params["state_file"], Progress(params["progress_file"], "resign"), check)


def diff_of(records, check):
    done = [entry for entry in records if entry["resigned"] or (check and not entry["skipped"] and not entry["error"])]
    names = ["{table} {name}".format(**entry) for entry in done]
    return {
        "before": "".join("{} signed before\n".format(name) for name in names),
        "after": "".join("{} signed by this proxy\n".format(name) for name in names),
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            proxy_spec(),
            instance=instance_spec(),
            scope={"type": "str", "choices": ["customer", "failing", "all"], "default": "customer"},
            failing={
                "type": "list",
                "elements": "dict",
                "options": {
                    "kind": {"type": "str", "choices": ["rule", "configuration"], "required": True},
                    "name": {"type": "str", "required": True},
                },
            },
            tables={"type": "list", "elements": "str", "default": list(TABLES)},
            base_query={"type": "str", "default": BASE_QUERY},
            no_base_records={"type": "bool", "default": False},
            signature_field={"type": "str"},
            canary_proof={"type": "str", "choices": ["signature", "update"], "default": "signature"},
            inactive={"type": "str", "choices": ["skip", "touch", "toggle"], "default": "touch"},
            max_inactive={"type": "int", "default": 4},
            transport={"type": "str", "choices": ["auto", "table_api", "form"], "default": "auto"},
            restore_timeout={"type": "int", "default": 600},
            state_file={"type": "path", "required": True},
            progress_file={"type": "path"},
        ),
        required_if=[("scope", "failing", ["failing"])],
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    if module.params["max_inactive"] < 1:
        module.fail_json(msg="max_inactive must be at least 1.")
    try:
        result, trouble = run(module.params, module.check_mode)
        for warning in result.pop("warnings"):
            module.warn(warning)
        if module._diff:
            result["diff"] = diff_of(result["records"], module.check_mode)
        if isinstance(trouble, EdgeError):
            module.fail_json(**dict(result, **trouble.to_result()))
    except EdgeError as error:
        module.fail_json(**error.to_result())
    if trouble:
        raise trouble
    module.exit_json(**result)


if __name__ == "__main__":
    main()
