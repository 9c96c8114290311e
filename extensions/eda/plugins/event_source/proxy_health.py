# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: proxy_health
short_description: Edge Encryption proxies that an instance hears of no more, or again, as events
description:
  - Asks an instance for its proxy records, and puts an event on the queue for each proxy whose heartbeat is lost or back, or whose status changed.
  - A change is told at least once. What was told is kept in O(cursor), which is written after the event was put on the queue.
  - The first time of all, only proxies that the instance does not hear of are told.
  - While a clone holds the proxies of its target down, and from its end until its step t57, when the target has the proxy records of the source, changes are
    told like any others.
  - It survives what the source C(clone_status) survives, and a login that is refused once it has worked, because a clone replaces the
    accounts of its target. Tries become rare then, up to one in 300 seconds. A login that is refused at first ends the source.
extends_documentation_fragment:
  - edge_encryption.clone.instance
  - edge_encryption.clone.proxy_records
options:
  instance:
    description:
      - The instance whose proxies are watched, as for the modules. What is missing comes from the same environment variables.
      - The account needs to read O(table), nothing else.
    required: false
    default: {}
  silent_after:
    description:
      - Seconds after C(last_response_on) at which a proxy counts as lost, whatever its field C(online) says.
      - V(0) goes by C(online) alone. How often an instance writes C(last_response_on) is not documented; look before you set it.
    type: int
    default: 0
  interval:
    description: Seconds between two looks. A look is one request.
    type: float
    default: 60
  cursor:
    description:
      - File that remembers what was told; mode 0600, replaced in one step. Its folder must be there and survive a restart.
      - Each source needs a file of its own.
    type: path
    required: true
requirements:
  - requests, ansible-core
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Tell of the proxies of acmetest
  hosts: all
  sources:
    - edge_encryption.clone.proxy_health:
        instance:
          host: https://acmetest.service-now.com
          username: edge.events
          password: "{{ acmetest_password }}"
        cursor: /var/lib/edge_clone/events/proxies_of_acmetest.json
  rules:
    - name: Say so
      condition: event.happened == "lost"
      action:
        debug:
          msg: "{{ event.instance }} has not heard of {{ event.proxy.name }} since {{ event.proxy.last_response_on }}."
"""

RETURN = r"""
id:
  description: Name of the event. An event that is told again has the same one.
  type: str
happened:
  description:
    - V(lost) and V(back) follow the heartbeat. V(status) means that only the status changed. V(new) and V(gone) are about the record.
  type: str
seen:
  description: When it was seen, in UTC by the clock of the instance (header C(Date) of its answers).
  type: str
instance:
  description: The address that was asked.
  type: str
previous:
  description: Status and heartbeat (C(status), C(heard)) that were told before. V(null) if there were none.
  type: dict
proxy:
  description: The proxy, from its record.
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    host:
      description: Its host.
      type: str
    port:
      description: Its port.
      type: str
    status:
      description: Its status, such as V(Authenticated).
      type: str
    online:
      description: What the record says of its heartbeat.
      type: str
    last_response_on:
      description: When the instance heard of it last (UTC).
      type: str
    sys_id:
      description: Its record.
      type: str
    heard:
      description: Whether the instance hears of it, by C(online) and O(silent_after).
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

from ansible_collections.edge_encryption.clone.plugins.module_utils._registration import ProxyRecords, records_spec  # noqa: E402
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._events import Cursor, Source, checked, client_for  # noqa: E402
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._proxy_watch import ProxyWatch  # noqa: E402

SPEC = dict(records_spec(), silent_after={"type": "int", "default": 0})


async def main(queue: "asyncio.Queue[t.Any]", args: t.Dict[str, t.Any]) -> None:
    """Put events on the queue until it is canceled or cannot go on."""
    params = checked(args, SPEC)
    client = client_for(params)
    watch = ProxyWatch(ProxyRecords(client, params["table"], params["field_names"]), params["silent_after"])
    cursor = Cursor(params["cursor"], {"instance": client.url, "proxies in": params["table"]})
    await Source(queue, watch, cursor, params["interval"], logging.getLogger("edge_encryption.clone.proxy_health"), login_may_fail=True).run()
