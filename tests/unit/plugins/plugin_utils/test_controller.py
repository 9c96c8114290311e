# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.plugin_utils import _controller
from ansible_collections.edge_encryption.clone.plugins.plugin_utils._controller import INITIAL_NAMESPACE, Place, is_gone, this_controller

HERE = Place("controller.example.com", "5f2a91c0", "9b1d4c22", INITIAL_NAMESPACE)


@pytest.fixture
def other():
    """A process that ends with the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def owner(place, process, start=None):
    return _controller._owner(place, process.pid, start or _controller._start_time(process.pid))


def test_a_controller_is_gone_once_its_process_is(other):
    here = _controller._here()
    name = owner(here, other)
    assert not is_gone(name)
    other.communicate(b"\n")
    assert is_gone(name)


def test_a_number_that_was_given_to_a_later_process_is_another_one(other):
    assert is_gone(owner(_controller._here(), other, start="1"))


@pytest.mark.parametrize(("where", "gone"), [
    ({}, True),
    ({"host": "elsewhere.example.com"}, False),
    ({"machine": "aaaaaaaa"}, False),  # machines may have the same name
    ({"boot": "aaaaaaaa"}, True),  # this one has been started anew since
    ({"boot": "aaaaaaaa", "machine": "-"}, False),
    ({"namespace": "4026532999"}, False),  # a container with the name of its host, or a second one with the same name
    ({"boot": "aaaaaaaa", "namespace": "4026532999"}, False),
])  # fmt: skip
def test_only_a_process_of_this_machine_can_be_proven_gone(monkeypatch, other, where, gone):
    monkeypatch.setattr(_controller, "_here", lambda: HERE)
    name = owner(HERE._replace(**where), other)
    other.communicate(b"\n")
    assert is_gone(name) is gone


@pytest.mark.parametrize("name", ["an operator's name", "controller:4711:88123", "", "controller:x:1@a.b.c"])
def test_what_no_controller_has_written_is_never_gone(name):
    assert not is_gone(name)


def test_a_controller_names_itself():
    assert not is_gone(this_controller())


def test_a_process_of_another_container_is_not_gone(other):
    """Both have the same host name, and in each other's the process is not there: two jobs of an automation platform look like this."""
    code = "from {0} import is_gone; import sys; sys.exit(is_gone({1!r}))".format(_controller.__name__, owner(_controller._here(), other))
    environment = dict(os.environ, PYTHONPATH=str(Path(_controller.__file__).parents[5]))
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    inside = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert inside.returncode == 0, inside.stderr
