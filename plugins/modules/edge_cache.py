#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: edge_cache
short_description: Empty the cache of an Edge Encryption proxy
description:
  - A proxy keeps rules and configurations of its instance in C(cache/) of its install directory. After they were signed anew or replaced by a clone,
    it has to read them again (KB0621218).
  - The cache is moved aside, not deleted, so that it can be looked at and put back. An empty one with the same owner and mode takes its place.
  - The proxy should be down. It fills its cache when it starts.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows how many files and folders are right below the cache.
  idempotent:
    support: full
options:
  home:
    description: Install directory of the proxy.
    type: path
    required: true
seealso:
  - module: edge_encryption.clone.proxy_service
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Have the proxy read rules and configurations again when it starts
  edge_encryption.clone.edge_cache:
    home: /opt/EdgeProxy_443
  register: cache

- name: Delete what was in it
  ansible.builtin.file:
    path: "{{ cache.moved_to }}"
    state: absent
  when: cache.moved_to is not none
"""

RETURN = r"""
path:
  description: The cache.
  returned: success
  type: str
  sample: /opt/EdgeProxy_443/cache
entries:
  description: How many files and folders were right below it.
  returned: success
  type: int
  sample: 12
moved_to:
  description: Where they are now, named after the time (UTC); V(null) when there was nothing to move.
  returned: success
  type: str
  sample: /opt/EdgeProxy_443/cache.20260131T235959.123456Z
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.edge_encryption.clone.plugins.module_utils import _cache
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def run(params, check_mode):
    cache = _cache.move_aside(params["home"], write=not check_mode)
    diff = {"before": {"entries": cache.entries}, "after": {"entries": 0}}
    return {"changed": cache.changed, "path": cache.path, "entries": cache.entries, "moved_to": cache.moved_to, "diff": diff}


def main():
    module = AnsibleModule(argument_spec={"home": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except EdgeError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
