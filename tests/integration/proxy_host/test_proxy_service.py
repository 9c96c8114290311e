# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""proxy_service against real processes, ports and logs."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


WARN = "WARN This Edge Encryption proxy has not yet been authenticated by the instance."
STARTUP_FAILURE = (
    "ERROR Error occured during proxy startup: Failed get edge encryption configuration from the ServiceNow instance: "
    'Encryption configuration for field \'"change_request"."short_description"\' failed signature validation. '
    "Contact support to restore the encryption configurations."
)
RULE_FAILURE = "ERROR Edge Encryption rule : 'Customer's rule' does not have a valid signature"


def service(run_module, home, state, check=False, diff=False, **args):
    return run_module("proxy_service", home.args(state=state, **args), check=check, diff=diff)


def info(run_module, home, **args):
    options = home.args(**args)
    for name in ("settle", "timeout"):
        options.pop(name)
    return run_module("proxy_service_info", options)


def test_starts_stops_and_is_idempotent(run_module, home):
    predicted = service(run_module, home, "started", check=True, diff=True)
    assert predicted["changed"] and predicted["diff"]["before"]["running"] is False and predicted["diff"]["after"]["running"] is True
    assert not home.processes()

    started = service(run_module, home, "started")
    assert started["changed"], started
    status = started["status"]
    assert status["running"] and status["listening"] and status["authenticated"] and not status["held"]
    assert status["pid"] == home.pid() and status["port"] == home.port and status["manager"] == "scripts"
    assert abs(time.time() - time.mktime(time.strptime(status["started_at"], "%Y-%m-%dT%H:%M:%SZ")) + time.timezone) < 10
    assert 0.3 <= started["timings"]["start_s"] < 8 and "stop_s" not in started["timings"]

    again = service(run_module, home, "started")
    assert not again["changed"] and again["status"]["pid"] == status["pid"] and again["timings"] == {}
    assert not service(run_module, home, "started", check=True)["changed"]

    assert service(run_module, home, "stopped", check=True)["changed"] and home.listens()
    stopped = service(run_module, home, "stopped")
    assert stopped["changed"] and not stopped["status"]["running"] and not home.processes()
    assert not service(run_module, home, "stopped")["changed"]
    assert not service(run_module, home, "stopped", check=True)["changed"]


def test_restarted_is_a_new_process(run_module, home):
    first = home.start_by_hand()
    result = service(run_module, home, "restarted")
    assert result["changed"] and result["status"]["pid"] not in (None, first)
    assert set(result["timings"]) == {"start_s", "stop_s"} and home.processes() == [result["status"]["pid"]]


def test_wrapper_with_a_child_is_stopped_with_it(run_module, home):
    home.knobs(child=True)
    started = service(run_module, home, "started")
    assert started["status"]["listening"] and len(home.processes()) == 2
    assert service(run_module, home, "stopped")["changed"]
    assert not home.processes()


def test_slow_start_is_waited_for(run_module, home):
    home.knobs(delay=1.5)
    assert service(run_module, home, "started")["timings"]["start_s"] > 1.5


def test_start_beyond_the_deadline_fails(run_module, home):
    home.knobs(delay=30)
    result = service(run_module, home, "started", timeout=1)
    assert result.failed and "not started within 1 seconds: it runs as process" in result["msg"]


def test_running_but_deaf_is_not_started(run_module, home):
    home.knobs(delay=30)
    subprocess.run([str(home.path / "startup.sh")], check=True, stdout=subprocess.DEVNULL)
    result = service(run_module, home, "started", timeout=1)
    assert result.failed and "does not listen" in result["msg"]


def test_death_right_after_the_script_reported_success(run_module, home):
    home.knobs(die_early=True, delay=0.5)
    result = service(run_module, home, "started")
    assert result.failed and "ended while it was starting" in result["msg"]
    assert "giving up" in result["msg"] and "pa55" not in str(result)
    assert any("giving up" in line for line in result["log_tail"])


def test_death_during_the_settle_time(run_module, home):
    home.knobs(die_late=True)
    result = service(run_module, home, "started", settle=2)
    assert result.failed and "ended while it was starting" in result["msg"]


def test_failing_start_script(run_module, home):
    (home.path / "bin" / "start_fails").touch()
    result = service(run_module, home, "started")
    assert result.failed and "ended with code 127" in result["msg"] and "wrapper-linux-x86-32: not found" in result["msg"]


def test_missing_start_script(run_module, home):
    (home.path / "startup.sh").unlink()
    assert "there is no startup.sh" in service(run_module, home, "started")["msg"]


@pytest.mark.parametrize("late", [False, True])
def test_failure_lines_fail_the_start(run_module, home, late):
    home.log.write_text("2026-01-01 00:00:00,000 ERROR Error occurred during proxy startup: an old one\n")
    home.knobs(**{"late_lines" if late else "lines": [RULE_FAILURE, STARTUP_FAILURE]})
    result = service(run_module, home, "started", settle=3)
    assert result.failed and "reported a failure while starting" in result["msg"]
    assert not any("an old one" in line for line in result["log_failures"])
    found = info(run_module, home, since_offset=result["log_offset"])
    for _unused in range(20):
        if len(found["validation"]) == 2:
            break
        time.sleep(0.1)
        found = info(run_module, home, since_offset=result["log_offset"])
    assert found["validation"] == [
        {"kind": "rule", "name": "Customer's rule"},
        {"kind": "configuration", "name": "change_request.short_description"},
    ]
    assert len(found["log_failures"]) == 2


def test_old_failure_lines_do_not_count(run_module, home):
    home.log.write_text("2026-01-01 00:00:00,000 " + STARTUP_FAILURE + "\n")
    result = service(run_module, home, "started")
    assert result["changed"] and result["log_failures"] == []
    assert info(run_module, home)["log_failures"] == []


@pytest.mark.parametrize("where", ["lines", "lines_after_rotation"])
def test_failure_lines_are_found_across_rotation(run_module, home, where):
    home.log.write_text("old\n" * 1000)
    home.knobs(rotate=True, **{where: [STARTUP_FAILURE]})
    result = service(run_module, home, "started")
    assert result.failed and "failed signature validation" in result["log_failures"][0]


def test_not_authenticated_is_its_own_error(run_module, home):
    home.knobs(deaf=True, lines=[WARN])
    result = service(run_module, home, "started")
    assert result.failed and "select Authenticate" in result["msg"] and home.processes()
    again = service(run_module, home, "started")
    assert again.failed and "select Authenticate" in again["msg"]
    accepted = service(run_module, home, "started", require_authenticated=False)
    assert not accepted.failed and not accepted["changed"]
    assert accepted["status"]["authenticated"] is False and accepted["status"]["running"] and not accepted["status"]["listening"]
    assert info(run_module, home)["status"]["authenticated"] is False


def test_authenticated_in_the_meantime(run_module, home):
    home.knobs(lines=[WARN], delay=0.2)
    assert service(run_module, home, "started", settle=1)["status"]["authenticated"] is True


def test_port_in_use_is_told_before_the_start(run_module, home):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", home.port))
        squatter.listen(1)
        result = service(run_module, home, "started")
        assert result.failed and "in use by process {0} (".format(os.getpid()) in result["msg"]
        assert service(run_module, home, "started", check=True).failed
        # Something that serves on the proxy's port may be the proxy: not stopped.
        assert service(run_module, home, "stopped").failed
    assert not home.processes() and not home.pid_file.exists()


def test_a_dead_pid_file_is_replaced(run_module, home):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    home.pid_file.write_text(str(process.pid))
    assert service(run_module, home, "started")["changed"]
    assert home.pid() != process.pid


def test_a_reused_pid_is_left_alone(run_module, home):
    with subprocess.Popen(["sleep", "60"]) as foreign:
        try:
            home.pid_file.write_text(str(foreign.pid))
            os.utime(str(home.pid_file), (time.time() - 3600, time.time() - 3600))
            stopped = service(run_module, home, "stopped")
            assert not stopped["changed"] and not stopped["status"]["running"]
            started = service(run_module, home, "started")
            assert started["changed"] and started["status"]["pid"] != foreign.pid
            assert service(run_module, home, "stopped")["changed"]
            assert foreign.poll() is None
        finally:
            foreign.kill()


def test_a_reused_pid_is_not_stopped_in_place_of_the_proxy(run_module, home):
    pid = home.start_by_hand()
    with subprocess.Popen(["sleep", "60"], cwd="/") as foreign:
        try:
            home.pid_file.write_text(str(foreign.pid))
            os.utime(str(home.pid_file), (time.time() - 3600, time.time() - 3600))
            assert info(run_module, home)["status"]["pid"] == pid
            assert service(run_module, home, "stopped", timeout=2)["changed"]
            assert foreign.poll() is None and not home.processes()
        finally:
            foreign.kill()


def test_lost_pid_file_does_not_hide_the_process(run_module, home):
    pid = home.start_by_hand()
    home.pid_file.unlink()
    assert info(run_module, home)["status"]["pid"] == pid
    # shutdown.sh cannot find it either, so SIGTERM has to do.
    assert service(run_module, home, "stopped", timeout=1)["changed"] and not home.processes()


def test_hanging_shutdown_ends_with_sigterm(run_module, home):
    home.start_by_hand()
    (home.path / "bin" / "shutdown_hangs").touch()
    result = service(run_module, home, "stopped", timeout=1)
    assert result["changed"] and result["timings"]["stop_s"] >= 1 and not home.processes()


def test_sigkill_needs_consent(run_module, home):
    home.knobs(ignore_term=True)
    pid = home.start_by_hand()
    (home.path / "bin" / "shutdown_hangs").touch()
    refused = service(run_module, home, "stopped", timeout=0.5)
    assert refused.failed and "kill=true" in refused["msg"] and home.processes() == [pid]
    assert service(run_module, home, "stopped", timeout=0.5, kill=True)["changed"]
    assert not home.processes()


def test_hold_and_release(run_module, home):
    home.start_by_hand()
    script = home.path / "startup.sh"
    before, mode = script.read_bytes(), script.stat().st_mode
    assert service(run_module, home, "stopped", hold=True, check=True)["changed"] and script.read_bytes() == before
    held = service(run_module, home, "stopped", hold=True)
    assert held["changed"] and held["status"]["held"]
    assert not service(run_module, home, "stopped", hold=True)["changed"]
    assert not service(run_module, home, "stopped")["changed"]

    by_hand = subprocess.run([str(script)], stderr=subprocess.PIPE)  # pylint: disable=subprocess-run-check
    assert by_hand.returncode == 1 and b"held down" in by_hand.stderr and not home.processes()
    for check in (True, False):
        refused = service(run_module, home, "started", check=check)
        assert refused.failed and "hold=false" in refused["msg"]

    assert service(run_module, home, "started", hold=False, check=True)["changed"]
    started = service(run_module, home, "started", hold=False)
    assert started["changed"] and not started["status"]["held"] and started["status"]["listening"]
    assert script.read_bytes() == before and script.stat().st_mode == mode and not (home.path / "startup.sh.held").exists()
    assert not service(run_module, home, "started", hold=False)["changed"]


def test_held_proxy_is_not_stopped_by_a_refused_restart(run_module, home):
    pid = home.start_by_hand()
    script, aside = home.path / "startup.sh", home.path / "startup.sh.held"
    script.rename(aside)  # as a hold that was killed after its first step
    assert service(run_module, home, "restarted").failed
    assert home.processes() == [pid]
    assert service(run_module, home, "stopped", hold=True)["changed"]
    assert script.read_bytes().startswith(b"#!/bin/sh\n# Held by")
    assert service(run_module, home, "restarted", hold=False)["status"]["listening"]


def test_hold_is_for_stopped_proxies(run_module, home):
    assert "state=stopped only" in service(run_module, home, "started", hold=True)["msg"]


def test_stop_notices_a_watchdog(run_module, home):
    home.start_by_hand()
    home.script("shutdown.sh", (home.path / "shutdown.sh").read_text() + "./startup.sh\n")
    result = service(run_module, home, "stopped", settle=3)
    assert result.failed and "has taken the place" in result["msg"]


def test_info_of_a_stopped_proxy(run_module, home):
    found = info(run_module, home)
    assert found["status"] == {
        "running": False, "pid": None, "started_at": None, "listening": False, "host": "127.0.0.1", "port": home.port,
        "held": False, "authenticated": None, "manager": "scripts", "unit": None,
    }  # fmt: skip
    assert found["log_tail"] == [] and not found["changed"]


def test_the_clock_of_the_host_is_compared(run_module, home):
    behind = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
    assert -7202 < info(run_module, home, reference_time=behind)["clock_skew_s"] <= -7199
    assert "clock_skew_s" not in info(run_module, home)
    assert "the time 'noon': cannot be read." in info(run_module, home, reference_time="noon")["msg"]


def test_unknown_port_is_told(run_module, home):
    (home.path / "conf" / "edgeencryption.properties").write_text("# edgeencryption.proxy.https.port = 443\n")
    assert "no usable port" in info(run_module, home)["msg"]
    assert not info(run_module, home, port=home.port).failed


def test_no_such_home(run_module, tmp_path):
    result = run_module("proxy_service", {"home": str(tmp_path / "nowhere"), "state": "started"})
    assert result.failed and "no such install directory" in result["msg"]


def test_child_that_outlives_its_wrapper_is_noticed(run_module, home):
    home.knobs(child=True)
    home.start_by_hand()
    wrapper = home.pid()
    os.kill(wrapper, signal.SIGKILL)
    wait_for(lambda: wrapper not in home.processes())
    found = info(run_module, home)["status"]
    assert found["running"] and found["pid"] != wrapper
    assert service(run_module, home, "stopped", timeout=1)["changed"] and not home.processes()
