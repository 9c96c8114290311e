# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """Encryption rules and configurations."""

    DOCUMENTATION = r"""
options:
  base_query:
    description: Encoded query that tells the records of the base system, as in M(edge_encryption.clone.edge_rule_resign).
    type: str
    default: sys_created_by=glide.maint
"""

    # What edge_rule_export wrote.
    EXPORTED = r"""
options:
  path:
    description: The export that M(edge_encryption.clone.edge_rule_export) wrote, on the host where the module runs.
    type: path
    required: true
"""
