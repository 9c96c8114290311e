# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be tested without Java; the real keytool is used in tests/integration/proxy_host."""

import os
import stat
import tempfile

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _keytool
from ansible_collections.edge_encryption.clone.plugins.module_utils._jceks import Entry
from ansible_collections.edge_encryption.clone.plugins.module_utils._keytool import KeytoolError

ENTRY = Entry("a", "secret_key", "AES", 128, "f1", "2026-01-02T03:04:05Z", True, "i1")


def program(path, text="exit 0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n{0}\n".format(text))
    path.chmod(0o755)
    return str(path)


def test_where_keytool_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    home = str(tmp_path / "home")
    with pytest.raises(KeytoolError, match="not found; looked for {0}/java/jre/bin/keytool, keytool".format(home)):
        _keytool.find(home, None)
    on_path = program(tmp_path / "bin" / "keytool")
    assert _keytool.find(None, None) == on_path == _keytool.find(home, None)
    shipped = program(tmp_path / "home" / "java" / "jre" / "bin" / "keytool")
    assert _keytool.find(home, None) == shipped
    with pytest.raises(KeytoolError, match="looked for /no/keytool"):
        _keytool.find(home, "/no/keytool")


def test_passwords_go_through_pipes(tmp_path):
    script = 'printf "%s\\n" "$@" > {0}/argv; env > {0}/env; while [ "$1" != -x ]; do shift; done; cat "$3" "$5" > {0}/read'
    fake = program(tmp_path / "keytool", script.format(tmp_path))
    before = os.listdir("/proc/self/fd")
    _keytool._run(fake, ["-x"], {"-deststorepass": "s3cret", "-destkeypass": "p\u00e4ss"})
    assert os.listdir("/proc/self/fd") == before
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv[:2] == ["-J-Duser.language=en", "-J-Dfile.encoding=UTF-8"] and all(each.startswith("-J-") for each in argv[: argv.index("-x")])
    assert argv[argv.index("-x") :][1::2] == ["-deststorepass:file", "-destkeypass:file"]
    assert (tmp_path / "read").read_text(encoding="utf-8") == "s3cret\np\u00e4ss\n"
    assert "s3cret" not in (tmp_path / "env").read_text() + (tmp_path / "argv").read_text()


def test_a_password_that_is_no_line(tmp_path):
    with pytest.raises(KeytoolError, match="holds a line break"):
        _keytool._run(program(tmp_path / "keytool"), [], {"-deststorepass": "a\nb"})


def test_keytool_that_waits_for_an_answer_gets_none(tmp_path):
    with pytest.raises(KeytoolError, match="no answer"):
        _keytool._run(program(tmp_path / "keytool", "read line || { echo no answer; exit 1; }"), ["-x"], {})


def test_keytool_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(_keytool, "_TIMEOUT", 0.2)
    with pytest.raises(KeytoolError, match="did not end within"):
        _keytool._run(program(tmp_path / "keytool", "exec sleep 30"), ["-x"], {})


def test_private_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), _keytool.private_folder() as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        raise ZeroDivisionError()
    assert os.listdir(str(tmp_path)) == []


def test_summary_and_refusal_show_no_identity():
    assert _keytool.summary(None) == {}
    assert _keytool.summary(ENTRY) == {"type": "secret_key", "algorithm": "AES", "size": 128, "fingerprint": "f1"}
    other = ENTRY._replace(fingerprint="f2", identity="i2")
    assert "other material" in str(_keytool.refusal("k", ENTRY, other))
    assert "cannot be compared" in str(_keytool.refusal("k", ENTRY._replace(identity=None), other))
    assert _keytool.refusal("k", ENTRY, other).to_result()["wanted"]["fingerprint"] == "f2"
