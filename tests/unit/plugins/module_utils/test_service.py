# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options and machine facts; starting and stopping is tested with real processes in tests/integration/proxy_host."""

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _hold, _service
from ansible_collections.edge_encryption.clone.plugins.module_utils._service import ServiceError

OPTIONS = dict(manager="auto", unit=None, pid_file="bin/p.pid", host=None, port=None, log_file="/var/log/edge.log")


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home" / "conf").mkdir(parents=True)
    (tmp_path / "system").mkdir()
    monkeypatch.setattr(_service, "_SYSTEMD_RUNS", str(tmp_path / "system"))
    monkeypatch.setattr(_service, "_UNIT_FOLDERS", (str(tmp_path / "system"), "/no/such/folder"))
    monkeypatch.setattr(_hold, "unit_state", lambda unit: {"LoadState": "loaded"})
    return tmp_path / "home"


def locate(home, text="edgeencryption.proxy.https.port = 8443\n", **options):
    (home / "conf" / "edgeencryption.properties").write_text(text)
    return _service.locate(dict(OPTIONS, home=str(home), **options))


def unit(home, name, start):
    (home.parent / "system" / name).write_text("[Service]\nExecStart={0}\n".format(start))


def test_defaults_out_of_the_properties(home):
    found = locate(home, "edgeencryption.proxy.host = edge1\nedgeencryption.proxy.http.port=80\nedgeencryption.proxy.https.port = 8443\n")
    assert (found.host, found.port, found.manager, found.unit) == ("edge1", 8443, "scripts", None)
    assert found.pid_file == str(home / "bin" / "p.pid") and found.log_file == "/var/log/edge.log"
    assert locate(home, "edgeencryption.proxy.http.port=80\n")[4:6] == ("127.0.0.1", 80)
    assert locate(home, host="h", port=1)[4:6] == ("h", 1)


def test_secrets_of_the_properties_are_masked(home):
    mask = locate(home, "edgeencryption.proxy.https.port=1\nedgeencryption.db.password=hunter22\n").mask
    assert mask("login with hunter22 failed") == "login with ******** failed"


@pytest.mark.parametrize("text", ["", "edgeencryption.proxy.https.port=abc\n", "edgeencryption.proxy.https.port=70000\n"])
def test_no_usable_port(home, text):
    with pytest.raises(ServiceError, match="no usable port"):
        locate(home, text)


def test_properties_are_not_needed_when_host_and_port_are_given(home):
    assert _service.locate(dict(OPTIONS, home=str(home), host="h", port=1)).port == 1
    with pytest.raises(_service.EdgeError, match="the properties file does not exist"):
        _service.locate(dict(OPTIONS, home=str(home), host="h"))


def test_unit_of_this_home_only(home):
    unit(home, "a.service", '/usr/bin/authbind --deep "{0}2/startup.sh"'.format(home))
    unit(home, "b.service", "{0}/startup.sh.old".format(home))
    unit(home, "c.timer", "{0}/startup.sh".format(home))
    assert locate(home).manager == "scripts"
    unit(home, "edge.service", '/usr/bin/authbind --deep "{0}/startup.sh"'.format(home))
    found = locate(home)
    assert (found.manager, found.unit) == ("systemd", "edge.service")
    assert locate(home, manager="scripts").unit is None
    unit(home, "edge2.service", "{0}/startup.sh".format(home))
    with pytest.raises(ServiceError, match="several systemd units start this proxy: edge.service, edge2.service"):
        locate(home)
    assert locate(home, unit="edge2").unit == "edge2.service"


def test_systemd_without_a_unit(home, monkeypatch):
    with pytest.raises(ServiceError, match="no systemd unit starts this proxy"):
        locate(home, manager="systemd")
    monkeypatch.setattr(_hold, "unit_state", lambda unit: {"LoadState": "not-found"})
    with pytest.raises(ServiceError, match="does not know this unit"):
        locate(home, unit="edge")


def test_no_home(home):
    with pytest.raises(ServiceError, match="no such install directory"):
        _service.locate(dict(OPTIONS, home=str(home / "no")))


def test_a_closed_port_and_one_that_hangs_up_are_not_reachable():
    import socket
    import threading

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not _service._reachable("127.0.0.1", port)
        server.listen(5)
        assert _service._reachable("127.0.0.1", port)
        server.accept()[0].close()
        thread = threading.Thread(target=lambda: server.accept()[0].close())  # pylint: disable=unnecessary-lambda
        thread.start()
        assert not _service._reachable("127.0.0.1", port)
        thread.join()
