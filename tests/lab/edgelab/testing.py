# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: a lab of its own for each test module that asks for one.

A test file takes it with C(pytest_plugins = ("edgelab.testing",)).
"""

import contextlib
import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest

from edgelab.lab import Info, Lab


@contextlib.contextmanager
def private_lab() -> t.Iterator[Lab]:
    """Make the folder of a lab, not brought up yet; take it down on every path, and remove the folder."""
    # Neither pytest's folder nor TMPDIR, which can be long: the path of a server's socket has to fit into 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="edgelab-", dir="/tmp"))
    lab = Lab(folder)
    try:
        yield lab
    finally:
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def the_lab() -> t.Iterator[Lab]:
    """A private lab, up."""
    with private_lab() as lab:
        lab.up()
        yield lab


@pytest.fixture(scope="module")
def lab(the_lab: Lab) -> Info:
    """What lab.json says of the private lab."""
    return the_lab.info()
