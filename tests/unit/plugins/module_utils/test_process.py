# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import socket
import subprocess
import sys
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _process
from ansible_collections.edge_encryption.clone.plugins.module_utils._process import Process


@pytest.fixture
def sleeper(tmp_path):
    with subprocess.Popen(["sleep", "60"], cwd=str(tmp_path)) as process:
        yield process
        process.kill()


def test_identity_is_number_and_start(sleeper):
    process = _process.identify(sleeper.pid)
    assert process is not None and process.pid == sleeper.pid and _process.alive(process)
    assert not _process.alive(Process(process.pid, process.started + 1))
    assert abs(_process.started_at(process) - time.time()) < 5
    assert _process.describe(sleeper.pid) == "process {0} (sleep)".format(sleeper.pid)


def test_a_zombie_has_ended(sleeper):
    process = _process.identify(sleeper.pid)
    sleeper.kill()
    deadline = time.monotonic() + 5
    while _process.alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _process.alive(process) and os.path.exists("/proc/{0}".format(sleeper.pid))
    sleeper.wait()
    assert _process.identify(sleeper.pid) is None


def test_name_with_parentheses(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            assert _process.identify(process.pid).started == _process.identify(process.pid).started
            assert "a) R 1 (b" in _process.describe(process.pid)
        finally:
            process.kill()


def test_family(sleeper):
    me = _process.identify(os.getpid())
    family = _process.family(me)
    assert family[0] == me and _process.identify(sleeper.pid) in family
    assert _process.family(_process.identify(sleeper.pid)) == [_process.identify(sleeper.pid)]


def test_belonging_by_working_directory_program_and_argument(sleeper, tmp_path):
    assert _process.belongs_to(sleeper.pid, str(tmp_path))
    assert not _process.belongs_to(sleeper.pid, str(tmp_path / "more"))
    assert not _process.belongs_to(sleeper.pid, str(tmp_path)[:-1])
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, "conf=/srv/EdgeProxy_443/conf/wrapper.conf"], cwd="/") as process:
        try:
            time.sleep(0.2)
            assert _process.belongs_to(process.pid, "/srv/EdgeProxy_443") and not _process.belongs_to(process.pid, "/srv/EdgeProxy_44")
            assert _process.belongs_to(process.pid, os.path.dirname(os.path.realpath(sys.executable)))
        finally:
            process.kill()


@pytest.mark.parametrize(
    "family, bound, asked",
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET, "0.0.0.0", "127.0.0.1"), (socket.AF_INET6, "::", "127.0.0.1")],
)
def test_listeners(family, bound, asked):
    with socket.socket(family) as server:
        server.bind((bound, 0))
        port = server.getsockname()[1]
        assert _process.listening(asked, port) == set()
        server.listen(1)
        inodes = _process.listening(asked, port)
        assert len(inodes) == 1 and _process.owners(inodes) == {os.getpid()}
        assert _process.listening("no such host.invalid", port) == inodes
    assert not inodes & _process.listening(asked, port) and _process.owners(set()) == set()


def test_another_address_is_another_listener():
    with socket.socket() as silent, socket.socket() as server:
        silent.bind(("127.0.0.1", 0))  # bound, so that nobody else on this machine can listen there
        port = silent.getsockname()[1]
        server.bind(("127.0.0.2", port))
        server.listen(1)
        assert _process.listening("127.0.0.1", port) == set() and len(_process.listening("127.0.0.2", port)) == 1


@pytest.mark.parametrize(
    "text, address",
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("0" * 32, "::"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_of_proc(text, address, monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "little")
    assert _process._address(text) == address
