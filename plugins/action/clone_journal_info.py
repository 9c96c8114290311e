# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the journal."""

from ansible_collections.edge_encryption.clone.plugins.module_utils._journal_calls import READ
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._journal_action import JournalActionBase


class ActionModule(JournalActionBase):
    MODULE = "edge_encryption.clone.clone_journal_info"
    CALL = READ

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        return self._ask(dict(self._task.args), task_vars)
