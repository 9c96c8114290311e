# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """What every module says about check mode, diff mode and idempotence, written once."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return the truth about what would change, without changing anything.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when diff mode is on.
  idempotent:
    description: Run again with the same arguments on an unchanged system, it reports no change.
"""

    # Use beside the fragment above in a module that only reads.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module only reads.
  diff_mode:
    support: N/A
    details:
      - This module only reads.
  idempotent:
    support: full
    details:
      - This module only reads.
"""

    # Use beside edge_encryption.clone.instance; meta/runtime.yml lists the group.
    INSTANCE_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/edge_encryption.clone.instance) in C(module_defaults) to give O(instance) once for all modules that have it.
    support: full
    membership:
      - edge_encryption.clone.instance
"""
