# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """Where the journal of a clone is kept."""

    DOCUMENTATION = r"""
options:
  path:
    description:
      - Folder of all journals on the host that runs the module. It must outlive the run, so do not put it into a container that forgets.
      - Made with mode V(0700); the files in it get V(0600).
    type: path
    required: true
  target:
    description: Name of the target instance, as its property C(instance_name) says.
    type: str
    required: true
"""
