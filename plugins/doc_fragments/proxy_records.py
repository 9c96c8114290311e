# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """Where an instance keeps what it knows of its proxies."""

    DOCUMENTATION = r"""
options:
  table:
    description: The table of the proxies.
    type: str
    default: sys_encryption_proxy
  field_names:
    description:
      - Names of the table's fields, where they differ from the names used here.
      - Apart from C(last_response_on) they are not documented (page "Installed with Edge Encryption").
    type: dict
    default: {}
    suboptions:
      name:
        description: Field with the name of the proxy.
        type: str
        default: name
      host:
        description: Field with its host.
        type: str
        default: host
      port:
        description: Field with its port.
        type: str
        default: port
      status:
        description: Field with its status.
        type: str
        default: status
      online:
        description: Field that says whether the proxy is heard of.
        type: str
        default: online
"""
