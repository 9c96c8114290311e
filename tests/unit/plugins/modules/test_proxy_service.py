# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of proxy_service and proxy_service_info; what they do is tested with real processes in tests/integration/proxy_host."""

import pytest


@pytest.fixture
def home(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "edgeencryption.properties").write_text("edgeencryption.proxy.https.port = 1\n")
    return {"home": str(tmp_path), "manager": "scripts"}


@pytest.mark.parametrize("state", ["started", "restarted"])
def test_hold_goes_with_stopped(run_module, home, state):
    result = run_module("proxy_service", dict(home, state=state, hold=True))
    assert result.failed and "state=stopped only" in result["msg"]


def test_nothing_to_start(run_module, home):
    for check in (True, False):
        result = run_module("proxy_service", dict(home, state="started"), check=check)
        assert result.failed and "there is no startup.sh" in result["msg"] and result["error"] == "ServiceError"
        assert result["log_tail"] == [] and result["log_offset"] == "0:0"


def test_nothing_to_stop(run_module, home):
    result = run_module("proxy_service", dict(home, state="stopped"))
    assert not result["changed"] and result["timings"] == {} and result["status"]["running"] is False


def test_nothing_to_hold(run_module, home):
    assert "cannot be held down" in run_module("proxy_service", dict(home, state="stopped", hold=True))["msg"]


def test_info(run_module, home, tmp_path):
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "edgeencryption.log"
    log.write_text("ERROR Edge Encryption rule : 'a' does not have a valid signature\n")
    first = run_module("proxy_service_info", home)
    assert first["can_hold"]
    assert first["validation"] == [{"kind": "rule", "name": "a"}] and len(first["log_failures"]) == 1
    since = run_module("proxy_service_info", dict(home, since_offset=first["log_offset"]))
    assert since["validation"] == [] and since["log_failures"] == [] and len(since["log_tail"]) == 1
    assert "no position in a log" in run_module("proxy_service_info", dict(home, since_offset="x"))["msg"]
