# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json
import threading

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.plugin_utils import _progress


@pytest.mark.parametrize("line, expected", [
    ({"step": "clone", "state": "Active", "stage": "Restore", "done": None, "total": None, "seconds": 61.0}, "clone, Active, Restore, 1:01 so far"),
    ({"step": "token database", "state": "stage", "done": 2000, "total": 5000, "unit": "rows", "bytes": 3000000, "seconds": 2.0},
     "token database, stage, 2,000 of 5,000 rows, 3.0 MB, 1,000.0/s, 0:03 left, 0:02 so far"),
    ({"step": "resign", "state": "re-signing", "stage": "", "done": 0, "total": 7, "unit": "records", "seconds": 0.0},
     "resign, re-signing, 0 of 7 records, 0:00 so far"),
    ({"step": "clone", "state": "Active", "seconds": 7322.0}, "clone, Active, 2:02:02 so far"),
])
def test_a_line_says_how_far_the_work_is(line, expected):
    assert _progress.describe(line) == expected


def test_lines_are_printed_while_the_module_runs(tmp_path, monkeypatch):
    path, shown, ended = tmp_path / "progress", [], threading.Event()
    path.touch()
    monkeypatch.setattr(_progress, "INTERVAL", 0.05)
    monkeypatch.setattr(_progress.Display, "display", lambda self, text, **how: shown.append(text))
    printer = threading.Thread(target=_progress._print_progress, args=(str(path), ended, "runner"))
    printer.start()
    progress = Progress(str(path), "clone")
    progress.report("Scheduled")
    ended.wait(0.2)
    with path.open("a") as stream:
        stream.write('{"step": "clone", "sta')  # a line that the module has not finished
    ended.wait(0.2)
    ended.set()
    printer.join()
    assert shown == ["[runner] clone, Scheduled, 0:00 so far"]


def test_every_line_of_a_progress_file_can_be_shown(tmp_path):
    path = tmp_path / "progress"
    progress = Progress(str(path), "token database")
    progress.report("snapshot", done=0, total=10, unit="rows", size=0)
    progress.report("snapshot", done=5, total=10, unit="rows", size=50)  # within a second: left out
    progress.report("snapshot", done=10, total=10, unit="rows", size=100)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["done"] for line in lines] == [0, 10]
    assert all(_progress.describe(line).startswith("token database, snapshot, ") for line in lines)


def test_without_a_file_nothing_is_written():
    Progress(None, "clone").report("Scheduled")
