# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake proxy for the tests of proxy_service, and the real keytool."""

import importlib.util
import os
import pathlib
import shutil

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _service
from ansible_collections.edge_encryption.clone.tests.integration.proxy_host.fake_home import FakeHome

# The helper of the unit tests that runs a module's real main().
_spec = importlib.util.spec_from_file_location("unit_conftest", str(pathlib.Path(__file__).parents[2] / "unit" / "conftest.py"))
_unit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_unit)
run_module = _unit.run_module


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(_service, "_POLL", 0.05)
    fake = FakeHome(pathlib.Path(os.path.realpath(str(tmp_path))) / "EdgeProxy_443")
    yield fake
    fake.clean()


@pytest.fixture(scope="session")
def keytool():
    """The real keytool; without it these tests fail, they are not skipped."""
    found = shutil.which("keytool")
    assert found, "keytool is missing: install openjdk-17-jdk-headless"
    return found
