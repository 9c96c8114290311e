# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job with edge_token_db_engine: the files of the token database go along instead of its rows."""

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench

pytestmark = pytest.mark.long


@pytest.mark.parametrize("engine", ["auto", "tablespaces"])
def test_a_clone_by_files(small: Bench, engine: str) -> None:
    small.variables["edge_token_db_engine"] = engine
    small.schedule()
    run = small.run()
    assert run.returncode == 0, run.output[-5000:]
    assert run.report["result"] == "green" and run.report["open"] == [] and run.report["verify"]["failures"] == []
    evidence = {step["id"]: step["evidence"] for step in run.report["steps"]}
    assert evidence["t35_stage"]["snapshot"]["engine"] == "tablespaces"
    assert small.tokens("target") == small.tokens("source")
    again = small.run("-e", f"edge_clone_number={small.number}", keep_report=True)
    assert again.returncode == 0 and again.changes == []


def test_files_that_cannot_be_copied_are_refused_before_anything_is_done(small: Bench) -> None:
    small.variables["edge_token_db_engine"] = "tablespaces"
    small.token_db("source").query("CREATE TABLE edgeencryption.parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2")
    small.schedule()
    run = small.run()
    assert run.returncode != 0 and "The files of the token database cannot be copied: the table parts is partitioned" in run.output, run.output[-5000:]
    assert run.report is None and small.journal() == [] and small.schemas("target") == ["edgeencryption"]
