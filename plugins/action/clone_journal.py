# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell the journal who this controller is, and break the hold of a controller that is proven gone."""

from ansible_collections.edge_encryption.clone.plugins.module_utils._journal_calls import WRITE
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._controller import is_gone, this_controller
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._journal_action import JournalActionBase


class ActionModule(JournalActionBase):
    MODULE = "edge_encryption.clone.clone_journal"
    CALL = WRITE

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        args.setdefault("owner", this_controller())
        result = self._ask(args, task_vars)
        lock = result.get("lock")
        if result.get("failed") and lock and is_gone(lock["owner"]):
            args["force_unlock"] = lock["owner"]
            result = self._ask(args, task_vars)
        return result
