# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing hosts up and down: the guard first, a reason where it cannot be done, and nothing left whatever dies. Whole runs: tests/e2e/test_hosts.py."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edgelab.hosts import guard, network, root
from edgelab.hosts.host import PROPAGATED, cgroups
from edgelab.hosts.site import ADDRESSES, Hosts
from edgelab.processes import LabError

LAB = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder():
    """A folder with a short path; the hosts of a test are taken down on every path."""
    path = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    yield path / "lab"
    if os.geteuid() == 0:
        take_down(Hosts(path / "lab"), wipe=True)
    root.remove(path)


def take_down(hosts, wipe=False):
    with hosts.down(wipe):
        pass


def left():
    """What bringing hosts up makes on this machine, as far as it is there."""
    routes = guard.ip("route", "show", "type", "unreachable").split("\n")
    processes = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if is_nspawn(path)]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - overlay " in line and "/hosts/edge_" in line]
    groups = [str(group.parent) for group in cgroups("any") if group.parent.exists()]
    return [*PROPAGATED.glob("edge-*"), *(route for route in routes if route.startswith(str(guard.NETWORK))), *network.names(), *processes, *mounts, *groups]


def is_nspawn(path):
    try:
        return path.read_bytes().startswith(b"systemd-nspawn\0") and b"--machine=edge-" in path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- refusals


def refusal(folder):
    with pytest.raises(LabError) as raised:
        with Hosts(folder).up():
            pytest.fail("it came up")
    return str(raised.value)


def test_only_root_boots_hosts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refusal(tmp_path) == "hosts are booted and shut down by root only"


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "systemd-nspawn" else f"/usr/bin/{name}")
    assert refusal(tmp_path).startswith("systemd-nspawn not found: tests/install-debian-packages ")


def test_another_python_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    assert "must be a virtual environment of Debian bookworm's own /usr/bin/python3" in refusal(tmp_path)


@pytest.mark.parametrize("what", ["network namespaces", "overlays in this folder"])
def test_a_machine_that_cannot_is_refused_with_the_reason(tmp_path, monkeypatch, what):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "prefix", "/a/venv")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(root, "PYTHON", "{}.{}".format(*sys.version_info))
    failing = "--net" if what == "network namespaces" else "--mount"
    monkeypatch.setattr(subprocess, "run", lambda command, **_options: subprocess.CompletedProcess(command, int(failing in command), "", "not permitted\n"))
    assert refusal(tmp_path) == f"this machine has no {what}, which hosts need: not permitted"


@pytest.mark.parametrize("service, name", [(False, "sudoers-login"), (True, "sudoers-service")])
def test_the_lab_uses_exactly_the_rights_that_the_guide_lists(service, name):
    guide = (LAB.parents[1] / "docs" / "docsite" / "rst" / "guide_least_privilege.rst").read_text()
    blocks = [line.strip() for line in guide.splitlines() if line.startswith("    ") and " NOPASSWD: " in line]
    assert blocks[service] + "\n" == (root.PARTS / name).read_text() and len(blocks) == 2


def test_the_hold_for_good_is_that_of_the_guide():
    guide = (LAB.parents[1] / "docs" / "docsite" / "rst" / "guide_least_privilege.rst").read_text()
    drop_in = (root.PARTS / "hold.conf").read_text().replace("{home}", "/opt/edge/EdgeProxy_443")
    assert "".join(f"    {line}\n" for line in drop_in.splitlines()) in guide


# -- for real, as root


@pytest.mark.long
@pytest.mark.xdist_group("hosts")
def test_nothing_starts_without_the_guard(folder, monkeypatch):
    assert left() == []
    monkeypatch.setattr(guard, "put_up", lambda: None)
    assert "unreachable is missing, so nothing is started" in refusal(folder)
    assert left() == []
    host = Hosts(folder).hosts["edge_target_1"]
    with pytest.raises(LabError, match="unreachable is missing, so nothing is started"):
        host.start()
    assert left() == [] and not host.process.pid


@pytest.mark.long
@pytest.mark.xdist_group("hosts")
def test_a_route_that_leads_to_a_lab_address_is_found():
    guard.put_up()
    try:
        guard.ip("route", "add", "10.77.0.21/32", "dev", "lo")
        with pytest.raises(LabError, match="10.77.0.21 can be reached from here"):
            guard.require()
    finally:
        guard.ip("route", "del", "10.77.0.21/32", "dev", "lo")
        guard.take_down()


@pytest.mark.long
@pytest.mark.xdist_group("hosts")
def test_up_down_and_up_again_leaves_nothing_and_forgets_nothing(folder):
    hosts = Hosts(folder)
    with hosts.up():
        first = {name: host.leader for name, host in hosts.hosts.items()}
    assert len(set(first.values())) == len(ADDRESSES) and None not in first.values()
    with Hosts(folder).up():  # what runs is left alone
        assert {name: host.leader for name, host in hosts.hosts.items()} == first
    hosts.hosts["edge_target_1"].run("touch", "/etc/kept")
    with pytest.raises(LabError, match=f"down --hosts --dir {folder}"):
        with Hosts(folder.with_name("other")).up():
            pytest.fail("two labs on one network")
    take_down(hosts)
    assert left() == []
    with hosts.up():
        hosts.hosts["edge_target_1"].run("test", "-e", "/etc/kept")
    take_down(hosts, wipe=True)
    assert left() == [] and not (folder / "hosts").exists()
    take_down(hosts, wipe=True)


@pytest.mark.long
@pytest.mark.xdist_group("hosts")
@pytest.mark.parametrize("seconds", [0.2, 0.7, 1.2, 2.5, None])
def test_whatever_a_kill_leaves_is_taken_down(folder, seconds):
    """Killed after so many seconds of bringing up, then (None) with hosts that were killed as well."""
    program = f"from pathlib import Path; from edgelab.hosts.site import Hosts\nwith Hosts(Path({str(folder)!r})).up(): print('up', flush=True)"
    root.build()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(LAB)))
    try:
        if seconds is None:
            assert process.stdout.readline() == b"up\n"
            for host in random.sample(list(Hosts(folder).hosts.values()), 3):
                os.kill(host.process.pid, signal.SIGKILL)
        else:
            time.sleep(seconds)
    finally:
        process.kill()
        process.communicate()
    take_down(Hosts(folder))
    assert left() == []
    if seconds is None:
        with Hosts(folder).up():
            pass
        take_down(Hosts(folder))
        assert left() == []
