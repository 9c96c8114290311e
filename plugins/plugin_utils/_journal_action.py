# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""An action that reads or writes the journal without a module where the journal is on this very host.

Each step of the timeline reads the journal and writes to it twice, and a module costs more to start than that takes. A module still
runs on any other host, as another user, and in the background.
"""

import json
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._journal_calls import Call

Result = t.Dict[str, t.Any]


class JournalActionBase(ActionBase):
    """Answer as the module of the same name would.

    Attributes:
        MODULE: fully qualified name of the module.
        CALL: what it is asked and answers.
    """

    MODULE = ""
    CALL = None  # type: t.Optional[Call]

    def _ask(self, args: t.Dict[str, t.Any], task_vars: t.Optional[dict]) -> Result:
        if self.CALL and self._is_this_process_enough():
            return answer(self.MODULE, self.CALL, args, self._play_context.check_mode)
        return self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars)

    def _is_this_process_enough(self) -> bool:
        """Tell whether a module would run on this host, as this user and in this environment."""
        task = self._task
        return self._connection.transport == "local" and not self._connection.become and not task.async_val and not any(task.environment or ())


def answer(name: str, call: Call, args: t.Dict[str, t.Any], check: bool) -> Result:
    """Return what a module would, which gets its arguments as JSON and checks them in the same way."""
    plain = json.loads(json.dumps(args, default=str))
    checked = ArgumentSpecValidator(call.options, required_if=call.required_if).validate(plain)
    # With its invocation, as every result of a module.
    result = {"invocation": {"module_args": checked.validated_parameters}}  # type: Result
    if checked.error_messages:
        unknown = isinstance(checked.errors[0], UnsupportedError)
        return dict(result, failed=True, msg=("Unsupported parameters for ({0}) module: ".format(name) if unknown else "") + checked.errors.msg)
    try:
        return dict(result, **call.run(checked.validated_parameters, check))
    except EdgeError as error:
        return dict(result, failed=True, **error.to_result())
