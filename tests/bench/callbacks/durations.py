# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write how long a playbook spent in the tasks of each module to the file that DURATIONS names, as JSON."""

import collections
import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: durations
type: aggregate
short_description: Seconds by module
description: For benchmarks.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "durations"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._seconds = collections.Counter()
        self._tasks = 0
        self._action, self._since = "begin", time.monotonic()

    def _next(self, action):
        now = time.monotonic()
        self._seconds[self._action] += now - self._since
        self._action, self._since = action, now

    def v2_playbook_on_play_start(self, play):
        self._next("play")

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._tasks += 1
        self._next(task.action)

    def v2_playbook_on_stats(self, stats):
        self._next("end")
        with open(os.environ["DURATIONS"], "w", encoding="utf-8") as stream:
            json.dump({"tasks": self._tasks, "seconds": self._seconds}, stream)
