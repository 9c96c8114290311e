#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_keystore_entry
short_description: Manage a key in the keystore of an Edge Encryption proxy
description:
  - Makes sure that a JCEKS keystore holds the same entry as another one, a secret key, a key pair or a certificate, or that it does not hold an AES key
    any more.
  - Entries are compared by their key material, and copied or deleted with Java's C(keytool).
  - The work is done on a copy beside the keystore and read back. The keystore is replaced in one step, or not at all.
  - The proxy reads keystores when it starts. Restart it after a change.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.proxy_home.keystore
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows type, algorithm, size and fingerprint of the entry.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) copies the entry.
      - V(absent) takes a secret key out. Values that are still encrypted with it cannot be read any more by this proxy, so rotate them first, see
        M(edge_encryption.clone.edge_key_rotation). The only secret key of a keystore, entries of other kinds and O(keep) are never taken out.
        The keystore as it was is kept, see RV(backup_file), and with it the key.
    type: str
    choices: [present, absent]
    default: present
  keep:
    description: Aliases that O(state=absent) refuses, such as the default keys of the instance.
    type: list
    elements: str
    default: []
  alias:
    description:
      - Alias of the entry in O(path). Java keeps aliases of a JCEKS keystore in lower case.
      - Encrypted values carry the alias of their key, so a key must keep its alias when it goes to another proxy.
    type: str
    required: true
  source_path:
    description: The JCEKS keystore on the same host to copy from.
    type: path
  source_content:
    description:
      - The JCEKS keystore to copy from as base64, such as RV(edge_encryption.clone.edge_keystore_info#module:container).
    type: str
  source_password:
    description: Password of the keystore to copy from, and of the key in it. Required with O(state=present).
    type: str
  source_alias:
    description: Alias of the entry to copy. Defaults to O(alias).
    type: str
  replace:
    description:
      - Whether an entry O(alias) with other material may be replaced.
      - What was encrypted with the replaced key cannot be read any more without it, so the module refuses this by default.
        The keystore as it was is always kept, see RV(backup_file).
    type: bool
    default: false
requirements:
  - Java's C(keytool), of any release that reads JCEKS (8 to 25 do)
seealso:
  - module: edge_encryption.clone.edge_keystore_info
  - module: edge_encryption.clone.edge_key_rotation
"""

EXAMPLES = r"""
- name: Take the encryption key out of a source proxy, protected by a transfer password
  edge_encryption.clone.edge_keystore_info:
    home: /opt/EdgeProxy_443
    path: keystore/keystore.jceks
    password: "{{ source_store_password }}"
    export:
      aliases: [aes256prod]
      password: "{{ transfer_password }}"
  delegate_to: source-proxy-1
  register: source_keystore

- name: Put it into the keystore of a target proxy under the same alias
  edge_encryption.clone.edge_keystore_entry:
    home: /opt/EdgeProxy_443
    path: keystore/keystore.jceks
    password: "{{ target_store_password }}"
    alias: aes256prod
    source_content: "{{ source_keystore.container }}"
    source_password: "{{ transfer_password }}"

- name: Take the source's key out when no value needs it any more
  edge_encryption.clone.edge_keystore_entry:
    home: /opt/EdgeProxy_443
    path: keystore/keystore.jceks
    password: "{{ target_store_password }}"
    alias: aes256prod
    state: absent
    keep: "{{ target_keys.entries | selectattr('default') | map(attribute='alias') | list }}"
"""

RETURN = r"""
alias:
  description: Alias of the entry as the keystore has it.
  returned: success
  type: str
  sample: aes256prod
entry_type:
  description: Kind of the entry, V(secret_key), V(private_key) or V(trusted_certificate).
  returned: success, unless there was no entry to take out
  type: str
  sample: secret_key
fingerprint:
  description:
    - SHA-256 in hexadecimal digits, of the raw bytes of a secret key, else of the (first) certificate as C(keytool -list) prints it.
  returned: success, unless there was no entry to take out
  type: str
  sample: 6a735407babc4de11e5cda19b07c191c360ad4f311a6ca0f88ad21986b51d393
backup_file:
  description: Where the keystore is kept as it was.
  returned: when something changed, but not in check mode
  type: str
  sample: /opt/EdgeProxy_443/keystore/keystore.jceks.20260102T030405Z.bak
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _files, _jceks, _keytool
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            home=dict(type="path"),
            path=dict(type="path", required=True),
            password=dict(type="str", required=True, no_log=True),
            keytool=dict(type="path"),
            alias=dict(type="str", required=True),
            source_path=dict(type="path"),
            source_content=dict(type="str", no_log=True),
            source_password=dict(type="str", no_log=True),
            source_alias=dict(type="str"),
            replace=dict(type="bool", default=False),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            keep=dict(type="list", elements="str", default=[], no_log=False),
        ),
        required_if=[("state", "present", ["source_password"]), ("state", "present", ["source_path", "source_content"], True)],
        mutually_exclusive=[("source_path", "source_content")],
        supports_check_mode=True,
    )
    try:
        act = run if module.params["state"] == "present" else remove
        module.exit_json(**act(module.params, module.check_mode))
    except EdgeError as exc:
        module.fail_json(**exc.to_result())


def run(params: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    path = os.path.join(params["home"] or "", params["path"])
    alias = _jceks.normalize(params["alias"])
    source_alias = params["source_alias"] or alias
    if params["source_path"]:
        content, name = _files.read(params["source_path"], "source keystore"), params["source_path"]
    else:
        content, name = _jceks.from_base64(params["source_content"], "source_content"), "source_content"
    source = _keytool.Source(content, params["source_password"], name)
    wanted = source.entry(source_alias)

    before = _files.read(path, "keystore")
    present = _jceks.parse(before, params["password"], path, [alias]).get(alias)
    result = dict(changed=False, alias=alias, entry_type=wanted.type, fingerprint=wanted.fingerprint)  # type: t.Dict[str, t.Any]
    result["diff"] = dict(before=_keytool.summary(present), after=_keytool.summary(wanted), before_header=path, after_header=path)
    if present is not None and present.identity == wanted.identity:
        return result
    if present is not None and not params["replace"]:
        raise _keytool.refusal(path, present, wanted)
    keytool = _keytool.find(params["home"], params["keytool"])
    result["changed"] = True
    if not check_mode:
        result["backup_file"] = _files.backup(path, before)
        _keytool.copy_entry(keytool, source, source_alias, path, params["password"], alias)
    return result


def remove(params: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    path = os.path.join(params["home"] or "", params["path"])
    alias = _jceks.normalize(params["alias"])
    before = _files.read(path, "keystore")
    entries = _jceks.parse(before, params["password"], path)
    present = entries.get(alias)
    if present is None:
        return dict(changed=False, alias=alias, diff=dict(before={}, after={}, before_header=path, after_header=path))
    if alias in [_jceks.normalize(kept) for kept in params["keep"]]:
        raise _jceks.KeystoreError(path, "the entry {0} is one to keep.".format(alias), "New values are encrypted with a default key.")
    if present.type != "secret_key":
        raise _jceks.KeystoreError(path, "the entry {0} is no secret key.".format(alias), "Only encryption keys are taken out.")
    if [entry.alias for entry in entries.values() if entry.type == "secret_key"] == [alias]:
        raise _jceks.KeystoreError(path, "the entry {0} is its only secret key.".format(alias), "Without one the proxy encrypts nothing.")
    result = dict(changed=True, alias=alias, entry_type=present.type, fingerprint=present.fingerprint)  # type: t.Dict[str, t.Any]
    result["diff"] = dict(before=_keytool.summary(present), after={}, before_header=path, after_header=path)
    keytool = _keytool.find(params["home"], params["keytool"])
    if not check_mode:
        result["backup_file"] = _files.backup(path, before)
        _keytool.delete_entry(keytool, path, params["password"], alias)
    return result


if __name__ == "__main__":
    main()
