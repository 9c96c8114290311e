# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """The key list of an instance, and how a stored value names its key."""

    DOCUMENTATION = r"""
options:
  key_fields:
    description:
      - Columns of the key tables that have another name than assumed, as pairs of a name below and the column.
      - C(alias), C(size), C(type) and C(status) of C(sys_encryption_key); C(default_size), C(default_key) and C(default_active) of
        C(sys_encryption_key_configuration); C(held_proxy) and C(held_key) of C(sys_encryption_proxy_key); C(proxy_name) and C(proxy_online) of
        C(sys_encryption_proxy).
    type: dict
    default: {}
notes:
  - Tables are named on the documentation page I(Installed with Edge Encryption), but not their columns. A column that does not exist is an error.
"""

    VALUES = r"""
options:
  alias_pattern:
    description:
      - Regular expression with a group C(alias) that finds the alias of its key in an encrypted value, and in the first 512 bytes of an attachment.
      - Without it, the aliases that the instance lists are looked for. The documentation says that the alias is stored with each value, but not how.
    type: str
  configuration_fields:
    description: Columns of C(sys_encryption_configuration), as O(edge_encryption.clone.edge_encrypted_data_info#module:configuration_fields).
    type: dict
    default: {}
"""
