#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_keystore_info
short_description: List the keystore of an Edge Encryption proxy, and take entries out of it
description:
  - Lists the entries of a JCEKS keystore with a fingerprint of each, secret keys included, so that keystores of several hosts
    can be compared without showing a key. C(keytool) prints no fingerprints of secret keys.
  - Can return chosen entries in a keystore of their own, protected by a transfer password, to carry them to another host.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.proxy_home.keystore
options:
  aliases:
    description: Aliases to list. All entries are listed without it.
    type: list
    elements: str
  export:
    description:
      - Entries to return in RV(container).
      - Needs Java's C(keytool).
    type: dict
    suboptions:
      aliases:
        description: Aliases to export.
        type: list
        elements: str
        required: true
      password:
        description: The transfer password, which protects RV(container) and the keys in it. At least six characters.
        type: str
        required: true
seealso:
  - module: edge_encryption.clone.edge_keystore_entry
"""

EXAMPLES = r"""
- name: List the keys of a proxy
  edge_encryption.clone.edge_keystore_info:
    home: /opt/EdgeProxy_443
    path: keystore/keystore.jceks
    password: "{{ store_password }}"
  register: keystore

- name: Every key must have the password of its keystore
  ansible.builtin.assert:
    that: keystore.entries | rejectattr('type', 'eq', 'trusted_certificate') | map(attribute='key_password_matches') is all
"""

RETURN = r"""
entries:
  description: The entries of the keystore.
  returned: success
  type: list
  elements: dict
  contains:
    alias:
      description: Alias, in lower case.
      type: str
      sample: aes256prod
    type:
      description: Kind of the entry, V(secret_key), V(private_key) or V(trusted_certificate).
      type: str
      sample: secret_key
    algorithm:
      description: Algorithm of the key, null when the key cannot be opened.
      type: str
      sample: AES
    size:
      description: Size of the key in bits, null when it is not known.
      type: int
      sample: 256
    fingerprint:
      description:
        - SHA-256 in hexadecimal digits, of the raw bytes of a secret key, else of the (first) certificate as C(keytool -list) prints it.
        - Null for a secret key that cannot be opened with the password of the keystore.
      type: str
      sample: abd9201c10b4e9eaab4387727afcaeb694fec7a54f8ac6809f34ceb789508888
    created:
      description: When the entry was made, UTC.
      type: str
      sample: "2026-01-02T03:04:05Z"
    key_password_matches:
      description: Whether the key opens with the password of the keystore. Null for a certificate.
      type: bool
      sample: true
missing:
  description: Aliases out of O(aliases) that the keystore does not hold.
  returned: success
  type: list
  elements: str
  sample: []
container:
  description: JCEKS keystore with the entries of O(export.aliases) only, as base64, protected by O(export.password).
  returned: when O(export) is given
  type: str
  sample: zs7OzgAAAAIAAAAB
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _files, _jceks, _keytool
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

PUBLIC = ("alias", "type", "algorithm", "size", "fingerprint", "created", "key_password_matches")


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            home=dict(type="path"),
            path=dict(type="path", required=True),
            password=dict(type="str", required=True, no_log=True),
            keytool=dict(type="path"),
            aliases=dict(type="list", elements="str"),
            export=dict(
                type="dict",
                options=dict(
                    aliases=dict(type="list", elements="str", required=True),
                    password=dict(type="str", required=True, no_log=True),
                ),
            ),
        ),
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params))
    except EdgeError as exc:
        module.fail_json(**exc.to_result())


def run(params: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    path = os.path.join(params["home"] or "", params["path"])
    content = _files.read(path, "keystore")
    entries = _jceks.parse(content, params["password"], path, params["aliases"])
    result = dict(
        changed=False,
        entries=[{name: getattr(entry, name) for name in PUBLIC} for entry in entries.values()],
        missing=[alias for alias in params["aliases"] or [] if _jceks.normalize(alias) not in entries],
    )
    if params["export"]:
        source = _keytool.Source(content, params["password"], path)
        keytool = _keytool.find(params["home"], params["keytool"])
        result["container"] = _keytool.export(keytool, source, params["export"]["aliases"], params["export"]["password"])
    return result


if __name__ == "__main__":
    main()
