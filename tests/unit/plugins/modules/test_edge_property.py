# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import stat

import pytest

CONTENT = """# Edge Encryption
edgeencryption.proxy.name = proxy1
# edgeencryption.proxy.signature.verify = true
edgeencryption.db.password = hunter22
edgeencryption.proxy.https.port=8443\r
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home" / "conf").mkdir(parents=True)
    path = tmp_path / "home" / "conf" / "edgeencryption.properties"
    path.write_bytes(CONTENT.encode())
    path.chmod(0o640)
    return path


def edit(run_module, home, check=False, diff=False, **args):
    return run_module("edge_property", dict(home=str(home.parents[1]), **args), check=check, diff=diff)


def test_set_several(run_module, home):
    wanted = {"edgeencryption.proxy.signature.verify": False, "edgeencryption.proxy.https.port": 443, "new": "x"}
    predicted = edit(run_module, home, check=True, diff=True, properties=wanted)
    assert predicted["changed"] and home.read_bytes() == CONTENT.encode()
    result = edit(run_module, home, diff=True, properties=wanted)
    assert result["changed"] and result["changed_names"] == list(wanted)
    assert result["diff"] == predicted["diff"] and result["properties"] == predicted["properties"]
    assert result["properties"]["edgeencryption.proxy.https.port"] == {"before": "8443", "after": "443"}
    expected = CONTENT.replace("# edgeencryption.proxy.signature.verify = true", "edgeencryption.proxy.signature.verify = false")
    assert home.read_bytes() == (expected.replace("8443", "443") + "new = x\n").encode()
    assert stat.S_IMODE(home.stat().st_mode) == 0o640 and "backup_file" not in result

    again = edit(run_module, home, diff=True, properties=wanted)
    assert not again["changed"] and again["changed_names"] == [] and again["diff"]["before"] == again["diff"]["after"] == ""
    assert not edit(run_module, home, check=True, properties=wanted)["changed"]


def test_remove(run_module, home):
    names = ["edgeencryption.proxy.name", "never.there"]
    assert edit(run_module, home, check=True, state="absent", names=names)["changed"]
    result = edit(run_module, home, state="absent", names=names)
    assert result["changed_names"] == names[:1]
    assert home.read_bytes() == CONTENT.replace("edgeencryption.proxy.name = proxy1\n", "").encode()
    assert not edit(run_module, home, state="absent", names=names)["changed"]


def test_backup(run_module, home):
    result = edit(run_module, home, properties={"a": "1"}, backup=True)
    with open(result["backup_file"], "rb") as stream:
        assert stream.read() == CONTENT.encode()
    assert stat.S_IMODE(os.stat(result["backup_file"]).st_mode) == 0o600
    assert "backup_file" not in edit(run_module, home, properties={"a": "1"}, backup=True)
    assert "backup_file" not in edit(run_module, home, check=True, properties={"a": "2"}, backup=True)
    assert len(os.listdir(str(home.parent))) == 2


def test_secrets_are_in_no_output(run_module, home):
    wanted = {"edgeencryption.db.password": "s3cret-new", "my.token": "t0ken", "plain": "visible"}
    result = edit(run_module, home, diff=True, properties=wanted, secret_names=["token"])
    assert result["changed"]
    text = str(result)
    assert "s3cret-new" not in text and "hunter22" not in text and "t0ken" not in text
    assert result["properties"]["plain"]["after"] == "visible" and result["invocation"]["module_args"]["properties"]["plain"] == "visible"
    assert result["properties"]["edgeencryption.db.password"] == {"before": "********", "after": "********"}
    assert "s3cret-new" in home.read_text()


def test_values_do_not_reach_the_system_log(run_module, home, monkeypatch):
    from ansible.module_utils import basic

    logged = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(msg))
    edit(run_module, home, properties={"edgeencryption.db.password": "s3cret-new"})
    assert logged and not any("s3cret-new" in line for line in logged)


def test_duplicates_are_told(run_module, home):
    home.write_text("a=1\na=2\n")
    result = edit(run_module, home, properties={"a": "3"})
    assert home.read_text() == "a=1\na=3\n"
    assert any("a is set more than once" in str(warning) for warning in result["warnings"])


@pytest.mark.parametrize(
    "args, text",
    [
        ({"properties": {"a": None}}, "must be a string"),
        ({"properties": {"a": "1"}, "file": "conf/other"}, "the properties file does not exist"),
        ({}, "properties"),
        ({"state": "absent"}, "names"),
    ],
)
def test_errors(run_module, home, args, text):
    result = edit(run_module, home, **args)
    assert result.failed and text in result["msg"]
    assert home.read_bytes() == CONTENT.encode()


def test_other_file_by_absolute_path(run_module, home, tmp_path):
    other = tmp_path / "other.properties"
    other.write_text("a=é\n", encoding="utf-8")
    assert edit(run_module, home, file=str(other), encoding="utf-8", properties={"b": "2"})["changed"]
    assert other.read_text(encoding="utf-8") == "a=é\nb=2\n"


def test_write_that_does_not_arrive(run_module, home, monkeypatch):
    from ansible_collections.edge_encryption.clone.plugins.module_utils import _files

    monkeypatch.setattr(_files, "write_atomic", lambda *args, **kwargs: None)
    result = edit(run_module, home, properties={"a": "1"})
    assert result.failed and "not as wanted: a" in result["msg"]


@pytest.fixture
def inspector(tmp_path):
    """A command that notes what it was given, and refuses a file in which something is bad."""
    program = tmp_path / "inspector"
    program.write_text('#!/bin/sh\necho "$@" > {0}/seen\nstat -c %a "$2" >> {0}/seen\ncat "$2"\n! grep -q bad "$2"\n'.format(tmp_path))
    program.chmod(0o755)
    return program


def test_validate_sees_the_edited_file_before_it_is_there(run_module, home, inspector):
    result = edit(run_module, home, properties={"a": "good"}, validate=str(inspector) + " -x %s")
    assert result["changed"] and "a = good" in home.read_text()
    arguments, mode = (inspector.parent / "seen").read_text().splitlines()
    assert arguments.startswith("-x " + str(home.parent / ".edgeencryption.properties.")) and mode == "600"


def test_validate_that_refuses_leaves_everything(run_module, home, inspector):
    wanted = {"a": "bad", "x.password": "s3cret-new"}
    result = edit(run_module, home, properties=wanted, backup=True, validate=str(inspector) + " -x %s")
    assert result.failed and "validate refused the edited file (1)" in result["msg"] and "proxy1" in result["msg"]
    assert "hunter22" not in str(result) and "s3cret-new" not in str(result)
    assert home.read_bytes() == CONTENT.encode() and os.listdir(str(home.parent)) == [home.name]


def test_validate_is_not_run_in_check_mode_or_when_nothing_changes(run_module, home, inspector):
    assert edit(run_module, home, check=True, properties={"a": "bad"}, validate=str(inspector) + " -x %s")["changed"]
    assert not edit(run_module, home, properties={"edgeencryption.proxy.name": "proxy1"}, validate=str(inspector) + " -x %s")["changed"]
    assert not (inspector.parent / "seen").exists()


@pytest.mark.parametrize("command, text", [("true", "it lacks %s"), ("/no/such/program %s", "No such file"), ("'%s", "No closing quotation")])
def test_validate_that_cannot_be_run(run_module, home, command, text):
    result = edit(run_module, home, properties={"a": "1"}, validate=command)
    assert result.failed and text in result["msg"]
    assert home.read_bytes() == CONTENT.encode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_mode_are_kept(run_module, home):
    os.chown(str(home), 1234, 2345)
    edit(run_module, home, properties={"a": "1"})
    found = home.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)
