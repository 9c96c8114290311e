#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_property
short_description: Set or remove properties of an Edge Encryption proxy
description:
  - Edits C(conf/edgeencryption.properties) of an Edge Encryption proxy, or another Java properties file.
  - Only the logical line of a changed property is touched. Every other byte of the file stays as it is, comments, order,
    separators, line ends and continuation lines included.
  - The proxy reads the file when it starts. Restart it after a change, for instance with M(edge_encryption.clone.proxy_service).
author:
  - edge_encryption.clone contributors (@edge-encryption)
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.proxy_home
  - edge_encryption.clone.proxy_home.properties
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Only the touched properties are shown, and secret values are masked.
  idempotent:
    support: full
options:
  state:
    description:
      - With V(present) the properties of O(properties) have their values.
      - With V(absent) no property named in O(names) is set, so that the proxy's default applies.
    type: str
    choices: [present, absent]
    default: present
  properties:
    description:
      - Names and values to set. Booleans are written as C(true) and C(false).
      - When a name occurs more than once in the file, the last one is in effect in Java, and that one is edited.
    type: dict
  names:
    description:
      - Names to remove. Every occurrence is removed, because an earlier one would come into effect otherwise.
    type: list
    elements: str
  uncomment:
    description:
      - Whether a property that is not set yet takes the place of its commented-out default, C(# name = value), when there is one.
      - Otherwise it is added at the end of the file. The proxy's own file ships with commented-out defaults.
    type: bool
    default: true
  backup:
    description: Whether to keep the file as it was beside it, readable by its owner only.
    type: bool
    default: false
  validate:
    description:
      - Command that looks at the edited file before it takes the place of the old one. C(%s) stands for its name.
      - It is run without a shell, and not in check mode. When it fails, nothing is changed.
    type: str
seealso:
  - module: edge_encryption.clone.edge_property_info
  - module: edge_encryption.clone.proxy_service
"""

EXAMPLES = r"""
- name: Let a proxy start although signatures do not fit yet (KB0621218)
  edge_encryption.clone.edge_property:
    home: /opt/EdgeProxy_443
    properties:
      edgeencryption.proxy.skip.config.validate: true
      edgeencryption.proxy.signature.verify: false
    backup: true

- name: Turn validation on again
  edge_encryption.clone.edge_property:
    home: /opt/EdgeProxy_443
    state: absent
    names:
      - edgeencryption.proxy.skip.config.validate
      - edgeencryption.proxy.signature.verify

- name: Unlock the proxy, unless the file would become one that a check of our own refuses
  edge_encryption.clone.edge_property:
    home: /opt/EdgeProxy_443
    properties:
      edgeencryption.proxy.locked: false
    validate: /usr/local/bin/check_edge_properties %s

- name: Use the static initialization vector of the source
  edge_encryption.clone.edge_property:
    home: /opt/EdgeProxy_443
    properties:
      edgeencryption.encrypter.static.iv: "{{ source_static_iv }}"
  no_log: true
"""

RETURN = r"""
properties:
  description: What each named property was and is. A secret value is masked, a property that is not set is null.
  returned: success
  type: dict
  sample:
    edgeencryption.proxy.signature.verify:
      before:
      after: "false"
    edgeencryption.keystore.password:
      before: "********"
      after: "********"
changed_names:
  description: Names of the properties that were set or removed.
  returned: success
  type: list
  elements: str
  sample: [edgeencryption.proxy.signature.verify]
backup_file:
  description: Where the file is kept as it was.
  returned: when O(backup=true) and something changed
  type: str
  sample: /opt/EdgeProxy_443/conf/edgeencryption.properties.20260102T030405Z.bak
"""

import os
import shlex
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
            state=dict(type="str", choices=["present", "absent"], default="present"),
            # Keeps the values out of the system log; harmless ones become visible again in results below.
            properties=dict(type="dict", no_log=True),
            names=dict(type="list", elements="str"),
            uncomment=dict(type="bool", default=True),
            backup=dict(type="bool", default=False),
            validate=dict(type="str"),
        ),
        required_if=[("state", "present", ["properties"]), ("state", "absent", ["names"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except EdgeError as exc:
        module.fail_json(**exc.to_result())


def run(module: AnsibleModule) -> t.Dict[str, t.Any]:
    params = module.params
    secrets = _properties.SecretNames(params["secret_names"])
    if params["state"] == "present":
        wanted = {name: _properties.to_text(value, name) for name, value in params["properties"].items()}
    else:
        wanted = dict.fromkeys(params["names"])
    module.no_log_values = {value for name, value in wanted.items() if value and name in secrets}

    path = os.path.join(params["home"], params["file"])
    content = _files.read(path, "properties file")
    edit = _properties.edit(content, path, wanted, params["encoding"], params["uncomment"])
    for name in edit.duplicates:
        module.warn("{0}: {1} is set more than once; Java uses the last one.".format(path, name))

    result = dict(changed=bool(edit.changed), changed_names=edit.changed, properties=edit.report(secrets))  # type: t.Dict[str, t.Any]
    if module._diff:
        result["diff"] = edit.diff(secrets, path)
    if edit.changed and not module.check_mode:

        def ready(temp: str) -> None:
            if params["validate"] is not None:
                validate(module, path, temp, edit, secrets)
            if params["backup"]:
                result["backup_file"] = _files.backup(path, content)

        _files.write_atomic(path, edit.content, expected=content, inspect=ready)
        edit.verify(_files.read(path, "properties file"))
    return result


def validate(module: AnsibleModule, path: str, temp: str, edit: _properties.Edit, secrets: _properties.SecretNames) -> None:
    command = module.params["validate"]
    if "%s" not in command:
        raise EdgeError("validate", "it lacks %s, which stands for the file.", "Add it.")
    try:
        argv = [part.replace("%s", temp) for part in shlex.split(command)]
        code, out, err = module.run_command(argv, handle_exceptions=False)
    except (ValueError, OSError) as exc:
        raise EdgeError("validate", "it cannot be run: {0}.".format(exc), "Correct the command.") from exc
    if code != 0:
        output = secrets.clean(edit.after, out + err).strip() or "no output"
        raise EdgeError(path, "validate refused the edited file ({0}): {1}".format(code, output), "Nothing was changed.")


if __name__ == "__main__":
    main()
