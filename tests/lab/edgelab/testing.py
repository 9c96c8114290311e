# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of its own for each test module that asks for one: C(pytest_plugins = ("edgelab.testing",))."""

import shutil
import tempfile
from pathlib import Path

import pytest

from edgelab.lab import Lab


@pytest.fixture(scope="module")
def the_lab():
    """Bring up a private lab and yield it; take it down on every path."""
    # Not pytest's folder: a server's socket has to fit into 107 characters.
    lab = Lab(Path(tempfile.mkdtemp(prefix="edgelab-")))
    try:
        lab.up()
        yield lab
    finally:
        lab.down()
        shutil.rmtree(lab.folder)


@pytest.fixture(scope="module")
def lab(the_lab):
    """What lab.json says of the private lab."""
    return the_lab.info()
