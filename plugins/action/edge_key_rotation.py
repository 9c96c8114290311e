# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show the progress of the module of the same name."""

from ansible_collections.edge_encryption.clone.plugins.plugin_utils._progress import ProgressActionBase


class ActionModule(ProgressActionBase):
    MODULE = "edge_encryption.clone.edge_key_rotation"
