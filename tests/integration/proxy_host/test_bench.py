# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark of hosts does what it measures: it runs seldom, and what it calls may have changed since."""

from ansible_collections.edge_encryption.clone.tests.bench import hosts


def test_a_proxy_is_stopped_configured_and_started_in_both_ways():
    measured = hosts.measure(1, 1)
    # A task of ours in the place of a command and a wait, and what the role says of its arguments.
    assert {act: found["tasks_a_host"] for act, found in measured["ours"].items()} == {"stop": 4, "configure": 1, "start": 3}
    assert {act: found["tasks_a_host"] for act, found in measured["by_hand"].items()} == {"stop": 2, "configure": 1, "start": 2}
