# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._log import Findings, Log, LogError, Masker

RULE = "2017-02-03 12:06:44,749 ERROR Edge Encryption rule : 'It's mine' does not have a valid signature"
CONFIGURATION = (
    "2017-02-03 12:06:44,749 ERROR Error {0} during proxy startup: Failed get edge encryption configuration from the ServiceNow instance: "
    'Encryption configuration for field \'"change_request"."short_description"\' failed signature validation. Contact support.'
)
RECORDS = (
    "2017-02-03 12:06:44,749 ERROR Error in updating sync data manager for Edge Encryption Rules : One or more records failed signature "
    "validation. Will not update the proxy until this is resolved."
)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "edgeencryption.log"
    file.write_text("old 1\nold 2\n")
    return file


def append(path, text):
    with open(str(path), "a") as stream:
        stream.write(text)


def test_only_new_and_complete_lines(path):
    log = Log(str(path))
    append(path, "new 1\nnew")
    assert list(log.lines()) == ["new 1"]
    append(path, " 2\r\n")
    assert list(log.lines()) == ["new 2"] and list(log.lines()) == []


def test_position_survives_as_text(path):
    position = str(Log(str(path)))
    append(path, "new\n")
    assert list(Log(str(path), position).lines()) == ["new"]
    with pytest.raises(LogError, match="no position"):
        Log(str(path), "12")


def test_log_that_does_not_exist_yet(tmp_path):
    path = tmp_path / "edgeencryption.log"
    log = Log(str(path))
    assert list(log.lines()) == [] and log.tail(5) == []
    path.write_text("first\n")
    assert list(log.lines()) == ["first"]


def test_rotation_by_renaming_more_than_once(path):
    log = Log(str(path))
    append(path, "a\n")
    for number, text in enumerate("bc", 1):
        path.rename("{0}.{1}".format(path, number))
        os.utime("{0}.{1}".format(path, number), (number, number))
        path.write_text(text + "\n")
    (path.parent / "other.log").write_text("not this\n")
    assert list(log.lines()) == ["a", "b", "c"]
    append(path, "d\n")
    assert list(log.lines()) == ["d"]


def test_rotation_by_truncation(path):
    log = Log(str(path))
    path.write_text("n\n")
    assert list(log.lines()) == ["n"]


def test_rotated_file_that_was_compressed_away(path):
    log = Log(str(path))
    path.rename(str(path) + ".1")
    path.write_text("n\n")
    (path.parent / "edgeencryption.log.1").rename(str(path) + ".1.gz")
    assert list(log.lines()) == ["n"]


def test_since_a_moment(path):
    moment = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    path.write_text(
        "2026-01-02 03:04:04,999 INFO before\n2026-01-02 03:04:05,000 INFO at\n  a stack trace\n2026-01-02 03:04:06,000 INFO after\n"
    )
    assert [line[-5:] for line in Log(str(path)).since(moment)] == ["FO at", "trace", "after"]
    assert Log(str(path)).since(moment + 3600) == []


@pytest.mark.parametrize("spelling", ["occurred", "occured"])
def test_documented_failures(spelling):
    findings = Findings()
    findings.add(["2026-01-01 00:00:00,000 INFO fine", RULE, RULE, CONFIGURATION.format(spelling), RECORDS])
    assert findings.failures == [RULE, RULE, CONFIGURATION.format(spelling), RECORDS]
    assert findings.validation == [
        {"kind": "rule", "name": "It's mine"},
        {"kind": "configuration", "name": "change_request.short_description"},
    ]
    assert not findings.unauthenticated


def test_not_authenticated_is_no_failure():
    findings = Findings()
    findings.add(["2026 WARN This Edge Encryption proxy has not yet been authenticated by the instance."])
    assert findings.unauthenticated and findings.failures == []


def test_failures_are_bounded():
    findings = Findings()
    findings.add([RECORDS] * 1000)
    assert len(findings.failures) == 200


def test_masking():
    mask = Masker(["s3cret", "s3cret-and-more", "abc"])
    assert mask("x s3cret-and-more s3cret abc") == "x ******** ******** abc"
    assert mask("edgeencryption.db.password = hunter22 rest") == "edgeencryption.db.password = ******** rest"
    assert mask('"password": "hunter22"') == '"password": ********'
    assert mask("jdbc:mysql://edge:hunter22@db:3306/e") == "jdbc:mysql://edge:********@db:3306/e"
    assert mask("the secret of a password") == "the secret of a password"
