# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs over SSH, against proxies that systemd runs on booted hosts, with the rights that the guide lists and no others.

On a machine that cannot boot hosts these tests fail, with the reason. They are not skipped.
"""

import errno
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import (
    ANSIBLE_PLAYBOOK,
    Bench,
    Run,
    Watch,
    environment,
    epoch,
    running_proxies,
    wait_until,
)
from ansible_collections.edge_encryption.clone.tests.unit.plugins.plugin_utils.test_progress import assert_shown, slow_playbook
from edgelab import demo_data
from edgelab.hosts import guard, network
from edgelab.hosts.host import UNIT, Host
from edgelab.inventory import write_inventory
from edgelab.lab import Lab, lab_of

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("hosts")]  # one machine has one network of hosts

TARGETS = ("edge_target_1", "edge_target_2", "edge_target_3")
STOP_LEAD = 60  # seconds; over SSH, on a busy machine
ELSEWHERE = "192.0.2.1"  # an address of documentation, as any outside the lab


@pytest.fixture(scope="module")
def keeper() -> t.Iterator[Lab]:
    """A lab with hosts, up."""
    folder = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    lab = lab_of(True, folder / "lab")
    try:
        lab.up()
        yield lab
    finally:
        lab.down(wipe=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def filled(keeper: Lab) -> t.List[t.Dict[str, str]]:
    with keeper.site.inside():
        return Bench(keeper.folder.parent, keeper).fill()


@pytest.fixture
def bench(keeper: Lab, filled: t.List[t.Dict[str, str]]) -> t.Iterator[Bench]:
    """A user of that lab, who lives where it can be reached."""
    with keeper.site.inside():
        bench = Bench(keeper.folder.parent, keeper)
        bench.stop_lead = STOP_LEAD
        bench.variables.update(edge_stop_lead=STOP_LEAD, edge_verify_records=demo_data.verify_records(len(filled)))
        yield bench


def connect(address: str, port: int) -> int:
    """Return the error of a connection, 0 when it stands."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((address, port))


# -- nothing leaves the machine


def test_lab_addresses_lead_nowhere_from_outside(keeper: Lab) -> None:
    ports = [(host.address, 22) for host in keeper.site.hosts.values()]
    ports += [(proxy["address"], proxy["port"]) for side in keeper.info()["proxies"].values() for proxy in side]
    ports += [(network.ADDRESS, side["port"]) for side in keeper.info()["token_db"].values()]
    with keeper.site.inside():
        assert {connect(*port) for port in ports} == {0}
    began = time.monotonic()
    assert {connect(*port) for port in [*ports, ("10.77.0.99", 22)]} == {errno.EHOSTUNREACH}
    assert time.monotonic() - began < 1


def test_no_way_leads_out_of_the_network_of_hosts(keeper: Lab) -> None:
    assert network.names() == sorted([network.CONTROL, *map(network.namespace, keeper.site.hosts)])
    for name in network.names():
        with network.inside(name):
            assert connect(ELSEWHERE, 53) == errno.ENETUNREACH


def test_the_guard_stands_and_goes_last(keeper: Lab) -> None:
    guard.require()
    with pytest.raises(Exception, match="lives in a namespace of the lab"), keeper.site.inside():
        keeper.down()
    assert {host.process.pid is not None for host in keeper.site.hosts.values()} == {True}


# -- hosts


def test_a_host_is_a_system_of_its_own(keeper: Lab) -> None:
    addresses = set()
    for host in keeper.site.hosts.values():
        assert host.run("cat", "/proc/1/comm").strip() == "systemd"
        assert host.run("systemctl", "is-system-running").strip() == "running"
        for library in ("requests", "pymysql", "edgelab"):  # what a module must do without
            assert host.attempt("/usr/bin/python3", "-c", f"import {library}").returncode != 0
        addresses.add(host.address)
    assert len(addresses) == 5


def test_progress_is_shown_of_a_module_that_runs_elsewhere_as_somebody_else(bench: Bench, tmp_path: Path) -> None:
    slow_playbook(tmp_path)
    inventory = write_inventory(bench.lab, tmp_path / "run")
    command = [str(ANSIBLE_PLAYBOOK), "-i", str(inventory), "--limit", TARGETS[0], "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(bench.collections), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert_shown(done.stdout, TARGETS[0])


def ssh(keeper: Lab, address: str, command: str, user: str = "deploy") -> "subprocess.CompletedProcess[str]":
    known = keeper.site.ssh
    options = [f"UserKnownHostsFile={known['known_hosts']}", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "BatchMode=yes"]
    login = ["ssh", "-i", known["key"], *(part for option in options for part in ("-o", option)), f"{user}@{address}", command]
    with keeper.site.inside():
        return subprocess.run(login, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def test_who_logs_in_can_do_what_the_guide_lists_and_no_more(keeper: Lab) -> None:
    target, source = keeper.site.hosts["edge_target_1"].address, keeper.site.hosts["edge_source_1"].address
    assert "deploy" in ssh(keeper, target, "id -un").stdout
    for user in ("root", "edge"):
        refused = ssh(keeper, target, "true", user)
        assert refused.returncode == 255 and "Permission denied" in refused.stdout
    for command in ("sudo -n true", "sudo -n systemctl stop edge.service", "cat /opt/edge/edge_target_1/conf/edgeencryption.properties"):
        assert ssh(keeper, target, command).returncode != 0, command

    def as_edge(address: str, command: str) -> int:
        return ssh(keeper, address, f"sudo -n -u edge /bin/sh -c '{command}'").returncode

    assert as_edge(target, "test -r /opt/edge/edge_target_1/conf/edgeencryption.properties && sudo -n systemctl start edge.service") == 0
    for command in (
        "sudo -n true", "sudo -n systemctl restart edge.service", "sudo -n systemctl stop ssh.service", "sudo -n systemctl edit edge.service",
        "systemctl --no-ask-password stop edge.service", "touch /etc/systemd/system/edge.service.d/other.conf",
    ):  # fmt: skip
        assert as_edge(target, command) != 0, command
    assert as_edge(source, "test -r /opt/edge/edge_source_1/conf/edgeencryption.properties") == 0
    assert as_edge(source, "sudo -n systemctl start edge.service") != 0


def test_systemd_does_not_restart_a_proxy_that_is_held(keeper: Lab) -> None:
    host = keeper.site.hosts["edge_target_1"]
    script = "/opt/edge/edge_target_1/startup.sh"

    def pid() -> int:
        return int(host.run("systemctl", "show", "--property=MainPID", "--value", UNIT))

    kill = ("systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT)
    first = pid()
    host.run(*kill)
    wait_until(lambda: pid() not in (0, first), 30)  # this is what Restart=always does
    host.run("mv", script, script + ".held")
    try:
        host.run(*kill)
        wait_until(lambda: host.run("systemctl", "show", "--property=ActiveState", "--value", UNIT).strip() in ("failed", "inactive"), 30)
        time.sleep(5)  # longer than RestartSec
        assert pid() == 0 and not running_proxies([Path("/opt/edge/edge_target_1")])
    finally:
        host.run("mv", script + ".held", script)
        host.run("systemctl", "start", UNIT)
    with keeper.site.inside():
        wait_until(lambda: keeper.proxy_healthy("edge_target_1"))


def module(bench: Bench, host: str, name: str, options: str = "") -> t.Dict[str, t.Any]:
    """Run one module on a host, as a user would, and return what it said."""
    inventory = write_inventory(bench.lab, bench.folder / "module")
    command = [ANSIBLE_PLAYBOOK.with_name("ansible"), host, "-i", inventory, "-m", f"edge_encryption.clone.{name}", "-a", f"home={{{{ edge_home }}}} {options}"]
    variables = dict(environment(bench.collections), ANSIBLE_LOAD_CALLBACK_PLUGINS="true", ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal")
    done = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads("{" + done.stdout.partition("=> {")[2])


def test_a_hold_that_is_not_possible_changes_nothing_and_says_what_is_missing(bench: Bench, keeper: Lab) -> None:
    host, home = keeper.site.hosts["edge_target_2"], bench.proxies("target")[1]
    before = running_proxies([home])
    assert before and module(bench, host.name, "proxy_service_info")["can_hold"]
    drop_in = f"/etc/systemd/system/{UNIT}.d/hold.conf"
    content = host.run("cat", drop_in)
    host.run("rm", drop_in)
    host.run("systemctl", "daemon-reload")
    try:
        assert not module(bench, host.name, "proxy_service_info")["can_hold"]
        refused = module(bench, host.name, "proxy_service", "state=stopped hold=true")
        assert f"AssertPathExists=!{home}/startup.sh.held" in refused["msg"] and "as root" in refused["msg"]
        assert running_proxies([home]) == before and "startup.sh.held" not in host.run("ls", str(home))
    finally:
        host.run("sh", "-c", f"printf %s '{content}' > {drop_in}")
        host.run("systemctl", "daemon-reload")
    assert module(bench, host.name, "proxy_service_info")["can_hold"]


def test_proxies_are_restarted_one_after_the_other_and_users_notice_nothing(bench: Bench, keeper: Lab) -> None:
    def pids() -> t.List[str]:
        return [keeper.site.hosts[name].run("systemctl", "show", "--property=MainPID", "--value", UNIT).strip() for name in TARGETS]

    before = pids()
    demo_data.start_traffic(bench.lab)
    run = bench.play("edge_encryption.clone.restart_proxies")
    users = demo_data.stop_traffic(bench.lab)
    assert run.returncode == 0, run.output[-5000:]
    assert users["sent"] == users["ok"] > 10, users
    assert "0" not in pids() and not set(before) & set(pids())


# -- runs


def green(bench: Bench, run: Run, canaries: t.List[t.Dict[str, str]]) -> None:
    """The run is green, and so is what a user sees."""
    assert run.returncode == 0, run.output[-5000:]
    assert run.report and run.report["result"] == "green" and run.report["open"] == []
    verify = run.report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] > 40
    for number in range(len(TARGETS)):
        through = demo_data.read_through(bench.lab, "target", canaries[0]["table"], canaries[0]["sys_id"], number)
        assert {field: through[field] for field in demo_data.ENCRYPTED_FIELDS} == {field: canaries[0][field] for field in demo_data.ENCRYPTED_FIELDS}
    assert demo_data.clear_text_requests(bench.lab) == []


def down_from_stop_to_start(run: Run, watch: Watch) -> None:
    began, ended = epoch(run.step("t30_clone_start")["ended"]), epoch(run.step("t60_start_proxies")["started"])
    between = [names for moment, names in watch.seen if began <= moment <= ended]
    assert len(between) > 50 and set(between) == {()}


def test_the_main_job_over_ssh_is_green(bench: Bench, keeper: Lab, filled: t.List[t.Dict[str, str]]) -> None:
    bench.schedule()
    demo_data.start_traffic(bench.lab)
    with Watch(bench.proxies("target"), bench.secrets()) as watch:
        run = bench.run("-vvv", state="ssh")
    demo_data.stop_traffic(bench.lab)
    green(bench, run, filled)
    down_from_stop_to_start(run, watch)
    assert watch.leaks == set()
    # Who logged in to which host, and as whom each module ran there.
    connections = set(re.findall(r"<([\d.]+)> ESTABLISH SSH CONNECTION FOR USER: (\w+)", run.output))
    assert connections == {(host.address, "deploy") for host in keeper.site.hosts.values()}
    assert set(re.findall(r"sudo -H -S -n +-u (\w+)", run.output)) == {"edge"}
    again = bench.run("-e", f"edge_clone_number={bench.number}", state="ssh", keep_report=True)
    assert again.returncode == 0 and again.changes == [], (again.changes, again.output[-3000:])


def test_a_host_that_reboots_stays_down_and_one_that_is_cut_off_stops_the_run_until_it_is_back(
    bench: Bench, keeper: Lab, filled: t.List[t.Dict[str, str]]
) -> None:
    hosts: t.Dict[str, Host] = keeper.site.hosts
    rebooted, lost = hosts["edge_target_2"], hosts["edge_target_3"]
    bench.schedule()

    def happens() -> None:
        network.cut(lost.address, True)
        rebooted.reboot()
        # As a watchdog or a person would: systemd itself, the unit by hand, the script by hand.
        assert "Assertion failed" in rebooted.attempt("systemctl", "start", UNIT).stdout
        assert "held down" in rebooted.attempt("/opt/edge/edge_target_2/startup.sh").stdout

    try:
        with Watch(bench.proxies("target"), {}) as watch, bench.when("t40_wait_clone", happens, state="lost") as meddler:
            stopped = bench.run(state="lost")
        assert meddler.done and stopped.returncode != 0, stopped.output[-5000:]
        assert stopped.recap[lost.name]["unreachable"] == 1, stopped.recap
        assert {stopped.recap[name]["unreachable"] for name in TARGETS if name != lost.name} == {0}
        assert stopped.report and stopped.report["result"] == "red"
        assert stopped.step("t55_keys")["error"] == f"{lost.name} could not be reached any more" and stopped.step("t57_registration")["status"] == "not_run"
        # Every proxy stayed down: the one that cannot be reached as well, since it is held.
        held = next(epoch(event["time"]) for event in bench.journal("lost") if event.get("step") == "t30_clone_start" and event["status"] == "done")
        seen = {names for moment, names in watch.seen if moment > held}
        assert seen == {()} and not running_proxies(bench.proxies("target"))
        safe = bench.play("edge_encryption.clone.make_safe", state="lost")
        assert safe.returncode != 0 and f"NOT PROVEN: {lost.name}" in safe.output and "target proxies must be down" in safe.output
    finally:
        network.cut(lost.address, False)
    assert not running_proxies(bench.proxies("target"))
    again = bench.run("-e", f"edge_clone_number={bench.number}", state="lost")
    green(bench, again, filled)
