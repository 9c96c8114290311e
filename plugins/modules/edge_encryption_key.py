#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_encryption_key
short_description: Manage the list of encryption keys of an instance
description:
  - Adds a key to I(Encryption Key Configuration), waits until it is Available, makes it the default of its size, or deletes it from the list.
  - The list holds aliases, not keys. Put the key itself into the keystores of the proxies first, see M(edge_encryption.clone.edge_keystore_entry).
  - The documentation says that a key that is Available, and one that was a default, cannot be deleted from the list. An Available key becomes Unavailable
    once no proxy has it any more. Whether a former default can be deleted then is up to the instance, see O(must_go).
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.instance_group
  - edge_encryption.clone.instance
  - edge_encryption.clone.keys
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  alias:
    description: Alias of the key, the same on every proxy.
    type: str
    required: true
  size:
    description: Bits of the key. Required when it is not in the list yet.
    type: int
    choices: [128, 256]
  type:
    description: Where the proxies have the key, as the instance calls it.
    type: str
    default: Keystore
  state:
    description:
      - V(present) makes sure that the key is in the list.
      - V(available) also waits until every proxy that is online holds it.
      - V(default) also makes it the default of its size. New values are encrypted with it from then on, and until the others are rotated, filters only
        find values under the default key (documentation page "Encryption key rotation").
      - V(absent) waits until no proxy holds the key and deletes it from the list.
    type: str
    choices: [present, available, default, absent]
    default: present
  must_go:
    description:
      - Whether O(state=absent) fails when the instance refuses to delete the key. Otherwise it is a warning, and RV(listed) is V(true).
    type: bool
    default: true
  timeout:
    description: Seconds to wait for the status of the key to change.
    type: int
    default: 120
requirements:
  - requests
author:
  - edge_encryption.clone contributors (@edge-encryption)
seealso:
  - module: edge_encryption.clone.edge_encryption_key_info
  - module: edge_encryption.clone.edge_key_rotation
"""

EXAMPLES = r"""
- name: Encrypt with the target's own key from now on
  edge_encryption.clone.edge_encryption_key:
    instance: "{{ acmetest }}"
    alias: aes256test
    size: 256
    state: default

- name: Take the source's key off the list
  edge_encryption.clone.edge_encryption_key:
    instance: "{{ acmetest }}"
    alias: aes256prod
    state: absent
"""

RETURN = r"""
key:
  description: The key as in RV(edge_encryption.clone.edge_encryption_key_info#module:entries), empty when it is not in the list.
  returned: success
  type: dict
listed:
  description: Whether the key is in the list afterwards.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils._encryption_keys import EncryptionKeys, KeyStays
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec


def ensure(keys, params, check):
    """Return whether something was, or would be, changed."""
    alias, state = params["alias"], params["state"]
    key, changed = keys.find(alias), False
    if key is None:
        if not params["size"]:
            raise EdgeError("key " + alias, "is not in the list of the instance.", "Say its size to add it.")
        if check:
            return True
        keys.register(alias, params["size"], params["type"])
        key, changed = keys.find(alias), True
    if params["size"] not in (None, key["size"]):
        raise EdgeError("key " + alias, "is in the list with {} bits, not {}.".format(key["size"], params["size"]), "Give the other key another alias.")
    if check:
        return changed or (state == "default" and not key["default"])
    if state != "present":
        key = keys.wait(alias, True, params["timeout"])
    if state == "default" and not key["default"]:
        keys.make_default(key)
        changed = True
    return changed


def remove(keys, params, check, warn):
    key = keys.find(params["alias"])
    if key is None or check:
        return key is not None
    try:
        if not key["default"]:
            key = keys.wait(params["alias"], False, params["timeout"])
        keys.forget(key)
    except KeyStays as error:
        if params["must_go"] or key["default"] or key["available"]:
            raise
        warn(str(error))
        return False
    return True


def shown(key):
    return {name: key[name] for name in ("alias", "size", "type", "status", "default")} if key else {}


def main():
    module = AnsibleModule(
        argument_spec={
            "instance": instance_spec(),
            "key_fields": {"type": "dict", "default": {}, "no_log": False},
            "alias": {"type": "str", "required": True},
            "size": {"type": "int", "choices": [128, 256]},
            "type": {"type": "str", "default": "Keystore"},
            "state": {"type": "str", "choices": ["present", "available", "default", "absent"], "default": "present"},
            "must_go": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    params, check = module.params, module.check_mode
    try:
        keys = EncryptionKeys(client_of(params["instance"]), params["key_fields"])
        before = keys.find(params["alias"])
        if params["state"] == "absent":
            changed = remove(keys, params, check, module.warn)
            wanted = {}
        else:
            changed = ensure(keys, params, check)
            wanted = dict(shown(before) or {"alias": params["alias"], "size": params["size"], "type": params["type"], "default": False})
            wanted["default"] = wanted["default"] or params["state"] == "default"
        after = keys.find(params["alias"])
    except EdgeError as error:
        module.fail_json(**error.to_result())
    diff = {"before": shown(before), "after": wanted if check and changed else shown(after)}
    module.exit_json(changed=changed, key=after or {}, listed=after is not None, diff=diff)


if __name__ == "__main__":
    main()
