# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is against copying files, and how mariadb-backup is listened to and logged in."""

import os
import stat
import subprocess

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _hot_copy, _privileges, _tablespaces
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Login, Server
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import Table

LOGIN = Login("tokens.example.com", 3307, "edge_clone_read", "secret", "/etc/pki/ca.pem")
GRANTS = "GRANT RELOAD, PROCESS ON *.* TO `edge_clone_read`@`%`"
PLAIN = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"


class FakeSession:
    """Answers with variables; nothing else may be asked for but InnoDB's tables."""

    def __init__(self, login=LOGIN, **variables):
        self.login, self.vendor = login, "mariadb"
        self._variables = dict({"wsrep_on": "OFF", "innodb_file_per_table": "ON", "innodb_encrypt_tables": "OFF", "innodb_page_size": "16384"}, **variables)

    def variables(self, *names):
        return {name: self._variables[name] for name in names if name in self._variables}

    def rows(self, sql, args):
        assert "INNODB_SYS_TABLES" in sql
        return []


@pytest.fixture
def directory(tmp_path, monkeypatch):
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "t.ibd").write_bytes(b"pages")
    program = tmp_path / "mariadb-backup"
    program.write_text("#!/bin/sh\necho 'mariadb-backup based on MariaDB server 10.11.6-MariaDB'\n")
    program.chmod(0o755)
    monkeypatch.setattr(_tablespaces, "find_program", lambda: str(program))
    return tmp_path


def server(directory, vendor="mariadb", version="10.11.19-MariaDB", binary_log=False):
    return Server(vendor, version, {"datadir": str(directory) + "/"}, False, True, 16777216, False, binary_log, "a@%")


def against_source(directory, create=PLAIN, grants=GRANTS, session=None, name="t", **options):
    table = Table(name, create, [], "PRIMARY", ["id"], 1, 1)
    return _tablespaces.reasons_against_source(
        session or FakeSession(), server(directory, **options), _privileges.Grants("a@%", [grants]), "edge", [table]
    )


def test_nothing_is_against_plain_tables(directory):
    assert against_source(directory) == [] == _tablespaces.reasons_against_target(FakeSession(), server(directory))


@pytest.mark.parametrize(
    "create, words",
    [
        (PLAIN + "\n PARTITION BY HASH (`id`)\nPARTITIONS 2", "the table t is partitioned"),
        (PLAIN + " DATA DIRECTORY='/other/'", "the table t lies outside the data directory"),
        (PLAIN + " `ENCRYPTED`=YES", "the table t has an encrypted tablespace"),
        (PLAIN.replace("PRIMARY KEY (`id`)", "PRIMARY KEY (`id`),\n  FULLTEXT KEY `w` (`w`)"), "the table t has an index that its file does not hold"),
        (PLAIN.replace("PRIMARY KEY (`id`)", "PRIMARY KEY (`id`),\n  SPATIAL KEY `w` (`w`)"), "the table t has an index that its file does not hold"),
    ],
)
def test_tables_that_files_do_not_carry(directory, create, words):
    assert against_source(directory, create) == [words]


def test_words_within_a_comment_are_no_definition(directory):
    comment = PLAIN + " COMMENT=' PARTITION BY us'"
    assert against_source(directory, comment.replace("NOT NULL", "NOT NULL COMMENT 'FULLTEXT KEY in a DATA DIRECTORY=x'")) == []


@pytest.mark.parametrize("name, value", [("wsrep_on", "ON"), ("innodb_file_per_table", "OFF"), ("innodb_encrypt_tables", "FORCE")])
def test_settings_that_are_against_it(directory, name, value):
    session = FakeSession(**{name: value})
    assert len(against_source(directory, session=session)) == len(_tablespaces.reasons_against_target(session, server(directory))) == 1


def test_what_is_missing_is_named(directory, monkeypatch):
    assert against_source(directory, vendor="mysql") == ["the server is no MariaDB"]
    assert against_source(directory, grants="GRANT RELOAD ON *.* TO `a`@`%`") == ["the account lacks PROCESS on *.*"]
    assert against_source(directory, grants="GRANT USAGE ON *.* TO `a`@`%`") == ["the account lacks RELOAD and PROCESS on *.*"]
    assert against_source(directory, name="gone") == ["{0}/edge/gone.ibd cannot be read on this host".format(directory)]
    assert "is not of the server's release 10.6" in against_source(directory, version="10.6.1-MariaDB")[0]
    assert "without checking its host name" in against_source(directory, session=FakeSession(LOGIN._replace(check_hostname=False)))[0]
    assert against_source(directory, session=FakeSession(LOGIN._replace(check_hostname=False, use_tls=False))) == []
    monkeypatch.setattr(_tablespaces, "find_program", lambda: None)
    assert against_source(directory) == ["mariadb-backup is not installed on this host"]


def test_a_target_with_a_binary_log_or_out_of_sight(directory):
    assert _tablespaces.reasons_against_target(FakeSession(), server(directory, binary_log=True)) == [
        "the server writes a binary log, which an import does not enter"
    ]
    assert "cannot be read on this host" in _tablespaces.reasons_against_target(FakeSession(), server(directory / "gone"))[0]


def test_another_user_s_directory_is_out_of_reach(directory, monkeypatch):
    monkeypatch.setattr(_tablespaces.os, "getuid", lambda: 12345)
    assert "only root and the owner of" in _tablespaces.reasons_against_target(FakeSession(), server(directory))[0]


def test_a_pair_must_be_alike():
    one = {"vendor": "mariadb", "release": [10, 11], "page_size": 16384}
    assert _tablespaces.reasons_against_pair(one, dict(one)) == []
    assert _tablespaces.reasons_against_pair(one, dict(one, release=[10, 6])) == ["the releases of source and target differ"]
    assert len(_tablespaces.reasons_against_pair(one, {"vendor": "mysql", "release": [8, 0], "page_size": 4096})) == 3


def test_the_login_file_is_private(tmp_path):
    path = tmp_path / "login.cnf"
    _tablespaces.make_login_file(str(path), LOGIN)
    assert stat.S_IMODE(os.stat(str(path)).st_mode) == 0o600 and "ssl-verify-server-cert" in path.read_text().split()
    with pytest.raises(FileExistsError):
        _tablespaces.make_login_file(str(path), LOGIN)


def test_lines_come_as_they_are_said_and_silence_shows(monkeypatch):
    monkeypatch.setattr(_hot_copy, "_TICK", 0.05)
    reader, writer = os.pipe()
    lines = iter(_hot_copy._Lines(reader))
    os.write(writer, b"one\ntwo\nth")
    assert [next(lines), next(lines)] == [b"one", b"two"]
    assert next(lines) == b""
    os.write(writer, b"ree\nfour")
    os.close(writer)
    assert list(lines) == [b"three", b"four"]
    os.close(reader)


def test_a_program_waits_until_it_was_heard(tmp_path, monkeypatch):
    """It may say one thing more, and no two, as long as nobody reads: so the moment that it speaks of lasts."""
    told = tmp_path / "told"
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nfor word in one two three four; do echo $word >&2; echo $word >> {0}; done\n".format(told))
    program.chmod(0o755)
    monkeypatch.setattr(_tablespaces, "find_program", lambda: str(program))
    monkeypatch.setattr(_hot_copy, "_TICK", 0.3)
    copy = _hot_copy.HotCopy(LOGIN, "/data", "edge", str(tmp_path), [], 1)
    heard = []
    with pytest.raises(_hot_copy.HotCopyError), copy._started([str(program)]) as lines:
        for line in lines:
            heard.append((line, [] if len(heard) else _said_after_a_while(told)))
    assert [line for line, dummy in heard] == [b"one", b"two", b"three", b"four"]
    assert heard[0][1] == ["one", "two"]


def _said_after_a_while(path):
    subprocess.run(["sleep", "0.5"], check=True)
    return path.read_text().split()
