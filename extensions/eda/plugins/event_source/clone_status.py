# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: clone_status
short_description: Clones to an instance as events, and the moment at which its proxies must go down
description:
  - Asks the source instance about the clones to one target, and puts an event on the queue for each change of a clone's state or scheduled start.
  - It also tells the moment O(stop_lead) before the scheduled start, because a rulebook cannot wait for a time. It does so on time when the source does not
    answer, and at once when the clone was seen too late.
  - A change is told at least once. What was told is kept in O(cursor), which is written after the event was put on the queue. After a restart the last event of
    each clone is told again, with RV(again=true), because what it began may have been cut off. Whatever acts on events must be idempotent, as the playbooks of
    this collection are.
  - The first time of all, clones that ended before are left alone, but for those that ended within O(repeat_for).
  - Two changes between two looks are one event.
  - No answer, errors of the server, maintenance pages, a hibernating instance and rate limits are logged and survived; a rate limit for as long as it
    asks. A refused login, an unknown target, clones that cannot be read, wrong arguments and a file that cannot be written end the source.
  - No secret is logged or goes into an event. Text of the instance goes into events without the marks of templates.
extends_documentation_fragment:
  - edge_encryption.clone.instance
options:
  instance:
    description:
      - The source instance, as for the modules. What is missing comes from the same environment variables.
      - The account needs C(clone_admin) to read clones, and read access to C(instance); nothing else.
    required: false
    default: {}
  target:
    description: Name of the target instance, as the source's table of instances has it.
    type: str
    required: true
  table:
    description:
      - Where to look for clones. With V(auto) in both tables, and one that cannot be read is named in the log.
      - Where an instance keeps each clone in both, name one; each change is told twice otherwise.
    type: str
    choices: [auto, clone_instance, sn_instance_clone_request]
    default: auto
  stop_lead:
    description: Seconds before the scheduled start at which the target proxies must be down.
    type: int
    default: 600
  notice:
    description:
      - Seconds before that moment at which RV(happened=due) is told, since a run needs a while until it comes to the proxies.
      - The run itself waits for the moment.
    type: int
    default: 300
  interval:
    description: Seconds between two looks. A look is three requests, or two with one O(table).
    type: float
    default: 60
  cursor:
    description:
      - File that remembers what was told; mode 0600, replaced in one step. Its folder must be there and survive a restart.
      - Each source needs a file of its own.
    type: path
    required: true
  repeat_for:
    description: Seconds for which the last event of a clone that has ended is told again after a restart.
    type: int
    default: 86400
requirements:
  - requests, ansible-core
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Tell of clones to acmetest
  hosts: all
  sources:
    - edge_encryption.clone.clone_status:
        instance:
          host: https://acmeprod.service-now.com
          username: edge.events
          password: "{{ acmeprod_password }}"
        target: acmetest
        cursor: /var/lib/edge_clone/events/acmetest.json
  rules:
    - name: Say so
      condition: event.happened == "scheduled"
      action:
        debug:
          msg: "Clone {{ event.clone.number }} starts at {{ event.clone.scheduled }}."
"""

RETURN = r"""
id:
  description: Name of the event. An event that is told again has the same one.
  type: str
  sample: CLN0001234/due/Scheduled/2026-01-31T22:00:00Z
happened:
  description:
    - V(waiting) (Draft, Requested, Hold, or no scheduled start), V(scheduled), V(started), V(completed), V(ended) (canceled, failed or rolled back) and
      V(unknown) (a state that is not documented) are states of a clone, by RV(clone.state).
    - V(due) means that the target proxies must go down, by the clock. V(gone) means that an open clone is no longer listed.
  type: str
again:
  description: Whether it was told before a restart.
  type: bool
known:
  description: Whether another event of this clone was told before.
  type: bool
seen:
  description: When it was first told, in UTC by the clock of the source instance (header C(Date) of its answers).
  type: str
previous:
  description: State and scheduled start (RV(clone.state), RV(clone.scheduled)) that were told before. V(null) if there were none.
  type: dict
stop_at:
  description: Scheduled start less O(stop_lead); from the real start if none was scheduled. V(null) if neither is known.
  type: str
due:
  description: Whether that moment, less O(notice), has come, or the clone runs.
  type: bool
late:
  description: Whether RV(due) was told more than a minute after RV(stop_at), or not before the start.
  type: bool
late_s:
  description: Seconds since RV(stop_at), if RV(late).
  type: int
clone:
  description: The clone.
  type: dict
  contains:
    number:
      description: Its number (C(clone_id) or C(request_id)).
      type: str
    table:
      description: The table it is in.
      type: str
    sys_id:
      description: Its record.
      type: str
    state:
      description: Its state, as the instance says it (C(state)).
      type: str
    phase:
      description: V(waiting), V(running), V(completed), V(failed), V(canceled) or V(unknown), from the state by the documentation page "Clone states".
      type: str
    message:
      description: What the instance says about the state (C(message)).
      type: str
    stage:
      description: The stage it is in, by its record (C(stage)) or else its log. V(null) if neither tells.
      type: str
    scheduled:
      description: When it is to start (C(scheduled), UTC).
      type: str
    started:
      description: When it started (C(started), UTC).
      type: str
    completed:
      description: When it was completed (C(completed), UTC).
      type: str
    source:
      description: Name of the source instance (C(source_instance), table C(instance)).
      type: str
    target:
      description: Name of the target instance (C(target_instance), table C(instance)).
      type: str
    target_production:
      description: Whether the source has the target down as production (C(production) of that record). V(null) if it does not say.
      type: bool
    target_data:
      description: V(untouched), V(replaced), V(rolled_back) or V(unknown), from state, stage and log as in M(edge_encryption.clone.instance_clone_info).
      type: str
    cancelable:
      description: Whether it can still be canceled, from state, stage and log.
      type: bool
"""

import asyncio
import logging
import os
import sys
import typing as t

# ansible-rulebook runs this file from its path and knows nothing of collections, so what it shares with the modules has to be put on the path.
_COLLECTIONS = os.path.abspath(__file__).split(os.sep + "ansible_collections" + os.sep)[0]
if _COLLECTIONS not in sys.path:
    sys.path.append(_COLLECTIONS)

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import Clones  # noqa: E402
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._clone_watch import CloneWatch  # noqa: E402
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._events import Cursor, Source, checked, client_for  # noqa: E402

SPEC = {
    "target": {"type": "str", "required": True},
    "table": {"type": "str", "choices": ["auto", "clone_instance", "sn_instance_clone_request"], "default": "auto"},
    "stop_lead": {"type": "int", "default": 600},
    "notice": {"type": "int", "default": 300},
    "repeat_for": {"type": "int", "default": 86400},
}


async def main(queue: "asyncio.Queue[t.Any]", args: t.Dict[str, t.Any]) -> None:
    """Put events on the queue until it is canceled or cannot go on."""
    params = checked(args, SPEC)
    client = client_for(params)
    watch = CloneWatch(Clones(client, params["table"]), params["target"], params["stop_lead"], params["notice"], params["repeat_for"])
    cursor = Cursor(params["cursor"], {"instance": client.url, "clones to": params["target"]})
    await Source(queue, watch, cursor, params["interval"], logging.getLogger("edge_encryption.clone.clone_status")).run()
