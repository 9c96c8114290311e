#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_property_info
short_description: Read properties of an Edge Encryption proxy
description:
  - Reads C(conf/edgeencryption.properties) of an Edge Encryption proxy, or another Java properties file, as Java would.
  - Secret values are masked. Two hosts can compare them by fingerprint without showing them.
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.proxy_home
  - edge_encryption.clone.proxy_home.properties
options:
  names:
    description: Names to read. All properties that are set are read without it.
    type: list
    elements: str
  reveal:
    description:
      - Names of secret properties whose value is returned in clear text, in order to carry it to another host.
      - Set C(no_log=true) on a task that uses this.
    type: list
    elements: str
    default: []
  fingerprint_salt:
    description:
      - Key of the fingerprints. The same on all hosts that are compared, and a new random one in each run.
      - No fingerprints are returned without it.
    type: str
seealso:
  - module: edge_encryption.clone.edge_property
"""

EXAMPLES = r"""
- name: Read where the proxy listens
  edge_encryption.clone.edge_property_info:
    home: /opt/EdgeProxy_443
    names:
      - edgeencryption.proxy.host
      - edgeencryption.proxy.https.port
  register: listener

- name: Compare the static initialization vector of all proxies without showing it
  edge_encryption.clone.edge_property_info:
    home: /opt/EdgeProxy_443
    names: [edgeencryption.encrypter.static.iv]
    fingerprint_salt: "{{ run_salt }}"
  register: vector
"""

RETURN = r"""
properties:
  description: The properties that are set, by name. A secret value is masked unless O(reveal) names it.
  returned: success
  type: dict
  sample:
    edgeencryption.proxy.https.port: "443"
    edgeencryption.keystore.password: "********"
fingerprints:
  description: HMAC-SHA-256 of each value under O(fingerprint_salt), in hexadecimal digits.
  returned: success
  type: dict
  sample:
    edgeencryption.encrypter.static.iv: 6d1f6b54f0d2ae0bd0b1fcf1b0f1d1f0e0b7a9a1cbb2f0f4d31f8a5b0f6a7c11
missing:
  description: Names out of O(names) that are not set.
  returned: success
  type: list
  elements: str
  sample: [edgeencryption.proxy.signature.verify]
duplicates:
  description: Names that are set more than once. The last one is in effect.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _files, _properties
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            home=dict(type="path", required=True),
            file=dict(type="path", default="conf/edgeencryption.properties"),
            encoding=dict(type="str", choices=["iso-8859-1", "utf-8"], default="iso-8859-1"),
            secret_names=dict(type="list", elements="str", default=[], no_log=False),
            names=dict(type="list", elements="str"),
            reveal=dict(type="list", elements="str", default=[]),
            fingerprint_salt=dict(type="str", no_log=True),
        ),
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params))
    except EdgeError as exc:
        module.fail_json(**exc.to_result())


def run(params: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    secrets = _properties.SecretNames(params["secret_names"])
    path = os.path.join(params["home"], params["file"])
    properties = _properties.Properties(_files.read(path, "properties file"), path, params["encoding"])
    values = properties.values()
    names = list(values) if params["names"] is None else params["names"]
    found = [name for name in names if name in values]
    salt = params["fingerprint_salt"]
    return dict(
        changed=False,
        properties={name: values[name] if name in params["reveal"] else secrets.mask(name, values[name]) for name in found},
        fingerprints={name: _properties.fingerprint(salt, values[name]) for name in found} if salt else {},
        missing=[name for name in names if name not in values],
        duplicates=properties.duplicates(),
    )


if __name__ == "__main__":
    main()
