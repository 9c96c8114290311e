# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmarks do what they measure. They run seldom, and what they call may have changed since."""

import pytest

from ansible_collections.edge_encryption.clone.tests.bench import hosts, resign, token_db


def test_a_proxy_is_stopped_configured_and_started_in_both_ways():
    measured = hosts.measure(1, 1)
    # A task of ours in the place of a command and a wait, and what the role says of its arguments.
    assert {act: found["tasks_a_host"] for act, found in measured["ours"].items()} == {"stop": 4, "configure": 1, "start": 3}
    assert {act: found["tasks_a_host"] for act, found in measured["by_hand"].items()} == {"stop": 2, "configure": 1, "start": 2}


def test_a_token_database_is_copied_in_all_of_our_ways(tmp_path):
    bench = token_db.Bench(tmp_path, peers=tmp_path)
    try:
        bench.add(0, 2000)
        bench.settle()
        for engine in ("rows", "tablespaces"):
            assert bench.ours(engine)["rows_added"] == -1  # no delta
        assert [found["rows_added"] for found in bench.delta("append", 2000, 1)] == [20]
    finally:
        bench.stop()


@pytest.mark.long
def test_records_are_signed_anew_in_both_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(resign, "FOLDER", tmp_path)
    measured = resign.measure(records=100, sample=4)
    assert 0 < measured["most_inactive"] <= resign.CONCURRENCY and measured["reconnects"] == 0
