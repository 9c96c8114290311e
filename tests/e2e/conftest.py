# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private labs for whole runs. Their folders have short paths, because the database servers' sockets lie in them."""

import contextlib
import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench


@contextlib.contextmanager
def private_bench() -> t.Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    bench = None
    try:
        bench = Bench(folder)
        yield bench
    finally:
        if bench:
            bench.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench() -> t.Iterator[Bench]:
    """A lab for one test."""
    with private_bench() as one:
        yield one


@pytest.fixture
def small(bench: Bench) -> Bench:
    """A lab with one target proxy, filled: enough for what does not depend on their number."""
    bench.keep_target_proxies()
    bench.canaries = bench.fill()
    return bench


@pytest.fixture(scope="module")
def shared() -> t.Iterator[Bench]:
    """A lab for all tests of a module."""
    with private_bench() as one:
        yield one
