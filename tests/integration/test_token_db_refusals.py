# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input and bad circumstances: one line that names the cause and the way out, and nothing changed."""

import contextlib
import fcntl
import hashlib
import json
import pathlib
import shutil
import socket
import threading
import time

import pymysql
import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _artefact, _db, _privileges, _schema_journal, _snapshot
from ansible_collections.edge_encryption.clone.tests.integration.conftest import SECRET

RUN = "acmetest/C-1"
pytestmark = pytest.mark.mysql


@pytest.fixture
def before(site):
    """Return the target's content, and check at the end that the test left it alone."""
    content = site.content(site.target)
    yield content
    assert site.content(site.target) == content


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"login_port": 1}, "cannot connect"),
        ({"login_host": "no-such-host.invalid"}, "cannot connect"),
        ({"login_password": "wrong-password"}, "refused the login"),
        ({"login_user": "nobody"}, "refused the login"),
        ({"ca_cert": None}, "no trusted TLS connection"),
        ({"ca_cert": "/no/such/ca.pem"}, "cannot be read as CA certificates"),
        ({"login_host": "localhost"}, "no trusted TLS connection"),
        ({"use_tls": False}, "refused the login"),
        ({"database": "edge_nowhere"}, "lacks rights"),
    ],
)
def test_connections_that_cannot_be(site, before, options, expected):
    message = site.refused("source", "snapshotted", **options)
    assert expected in message and "wrong-password" not in message


def test_a_host_name_that_differs_from_the_certificate_can_be_allowed(site):
    assert site.ok("source", "snapshotted", login_host="localhost", check_hostname=False)["changed"]


def test_a_server_without_tls_gets_no_password(site):
    """The greeting of a server without TLS; anything that the client sends afterwards would hold the answer to its challenge."""
    greeting = b"\x0a5.5.5-10.11\0" + b"\1\0\0\0" + b"a" * 8 + b"\0" + b"\xff\xf7" + b"\x08" + b"\2\0" + b"\xff\x81" + b"\x15" + b"\0" * 10
    greeting += b"b" * 12 + b"\0mysql_native_password\0"
    received = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)

        def serve():
            connection = listener.accept()[0]
            with connection:
                connection.sendall(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
                received.append(connection.recv(100))

        server = threading.Thread(target=serve)
        server.start()
        message = site.refused("source", "snapshotted", login_port=listener.getsockname()[1])
        server.join()
    assert "TLS" in message and received == [b""]


def test_a_missing_right_is_named_with_its_grant(site, before):
    site.source.sql("REVOKE TRIGGER ON edgeencryption.* FROM 'edge_clone_read'@'127.0.0.1'")
    message = site.refused("source", "snapshotted")
    assert "GRANT TRIGGER ON `edgeencryption`.* TO 'edge_clone_read'@'127.0.0.1'" in message
    site.source.sql(message[message.index("GRANT") :].rstrip(";"))
    snapshot = site.snapshot()["snapshot"]["id"]
    for right, place in (("PROCESS", "*.*"), ("DROP", "edgeencryption.*"), ("INSERT", "`edgeencryption\\_%`.*")):
        site.target.sql("REVOKE {0} ON {1} FROM 'edge_clone_write'@'127.0.0.1'".format(right, place))
        grant = "GRANT {0} ON {1} TO 'edge_clone_write'@'127.0.0.1'".format(right, place.replace("edgeencryption.*", "`edgeencryption`.*"))
        for state, options in (("staged", {"snapshot": snapshot}), ("cut_over", {"run_id": RUN}), ("rolled_back", {"run_id": RUN})):
            assert grant in site.refused("target", state, **options)
        site.target.sql(grant)
    site.ok("target", "staged", snapshot=snapshot, check=True)


def test_the_rights_in_the_documentation_are_those_that_are_asked_for(site):
    from ansible_collections.edge_encryption.clone.plugins.modules import mysql_token_db_sync

    notes = " ".join(mysql_token_db_sync.DOCUMENTATION.split())
    assert "GRANT {0} ON".format(", ".join(_privileges.SOURCE)) in notes
    assert "GRANT {0})".format(", ".join(_privileges.TARGET)) in notes


def test_read_only_target(site, before):
    snapshot = site.snapshot()["snapshot"]["id"]
    site.target.sql("SET GLOBAL read_only = ON")
    try:
        assert "read-only" in site.refused("target", "staged", snapshot=snapshot)
        assert "read-only" in site.refused("target", "cut_over", run_id=RUN)
    finally:
        site.target.sql("SET GLOBAL read_only = OFF")


def test_source_equals_target(site):
    content = site.content(site.source)
    snapshot = site.snapshot()["snapshot"]["id"]
    login = site.source.login("edge_clone_write", "write-password")
    site.source.sql("GRANT ALL ON *.* TO 'edge_clone_write'@'127.0.0.1'")
    assert "taken from" in site.refused("source", "staged", snapshot=snapshot, **login)
    assert "no complete snapshot of another database" in site.refused("source", "staged", backup_time="2026-01-01 00:00:00", **login)
    assert site.content(site.source) == content


def test_snapshots_of_other_vendors_and_unknown_collations(site, vendor, before, monkeypatch):
    other, collation = {"mysql": ("mariadb", "utf8mb4_uca1400_ai_ci"), "mariadb": ("mysql", "utf8mb4_0900_ai_ci")}[vendor]
    original = _artefact.Writer.finish

    def finish(self, manifest):
        if written:
            manifest["server"]["vendor"] = written
        manifest["tables"][0]["columns"] = [column[:3] + [collation] + column[4:] for column in map(list, manifest["tables"][0]["columns"])]
        return original(self, manifest)

    monkeypatch.setattr(_artefact.Writer, "finish", finish)
    for written, expected in ((other, "same vendor"), ("", collation)):
        assert expected in site.refused("target", "staged", snapshot=site.snapshot()["snapshot"]["id"])


def test_a_snapshot_of_another_server_is_never_taken_for_the_sources(site, monkeypatch):
    """As when one folder serves two pairs of instances, or the source has moved."""
    original = _artefact.Writer.finish

    def finish(self, manifest):
        manifest["server"]["identity"] = dict(manifest["server"]["identity"], hostname="elsewhere")
        return original(self, manifest)

    def identity(snapshot):
        return json.loads((pathlib.Path(snapshot["path"]) / "manifest.json").read_text())["server"]["identity"]

    def staged(**options):
        return dict(options, backup_time=when)

    when = site.source.sql("SELECT UTC_TIMESTAMP()")[0][0].strftime("%Y-%m-%d %H:%M:%S")
    with monkeypatch.context() as patched:
        patched.setattr(_artefact.Writer, "finish", finish)
        foreign = site.snapshot()["snapshot"]
    alone = site.refused("target", "staged", **staged(source_server=dict(identity(foreign), hostname="tokens1")))
    assert "holds snapshots of elsewhere:" in alone and "and none of tokens1:" in alone
    own = site.snapshot()["snapshot"]
    assert "holds snapshots of several servers: " in site.refused("target", "staged", **staged())
    assert "and none of tokens1:" in site.refused("target", "staged", **staged(source_server=dict(identity(own), hostname="tokens1")))
    # The foreign one is older, so that it would be taken otherwise.
    assert site.ok("target", "staged", **staged(source_server=identity(own)))["snapshot"]["id"] == own["id"]
    assert site.ok("target", "staged", **staged(source_server=identity(foreign)))["snapshot"]["id"] == foreign["id"]
    assert site.ok("target", "staged", **staged(source_server=identity(own), snapshot=foreign["id"]))["snapshot"]["id"] == foreign["id"]


def test_replicas_are_refused_as_a_source(site, monkeypatch):
    original = _snapshot.read_server
    monkeypatch.setattr(_snapshot, "read_server", lambda session: original(session)._replace(replica=True))
    assert "is a replica" in site.refused("source", "snapshotted")


def test_damaged_artefacts(site, before):
    path = pathlib.Path(site.snapshot()["snapshot"]["path"])

    def damaged(name, change):
        copy = path.parent / "damaged"
        shutil.copytree(str(path), str(copy))
        change(copy / name)
        try:
            return site.refused("target", "staged", snapshot="damaged")
        finally:
            shutil.rmtree(str(copy))
            site.target.sql("DROP DATABASE IF EXISTS edgeencryption_stage")

    def flip(file):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)

    def rewrite(**changes):
        def change(file):
            data = json.loads(file.read_text())
            data.update(changes)
            data["digest"] = hashlib.sha256(_artefact._canonical(data)).hexdigest()
            file.write_text(json.dumps(data))

        return change

    def swap(file):
        file.write_bytes((file.parent / "000002.chunk").read_bytes())

    assert "truncated or altered" in damaged("000001.chunk", flip)
    assert "truncated or altered" in damaged("000001.chunk", lambda file: file.write_bytes(file.read_bytes()[:-1]))
    assert "cannot be read" in damaged("000001.chunk", lambda file: file.unlink())
    assert "truncated or altered" in damaged("000001.chunk", swap)
    assert "truncated or altered" in damaged("manifest.json", flip)
    assert "truncated or altered" in damaged("manifest.json", lambda file: file.write_text(file.read_text()[:500]))
    assert "not a complete snapshot" in damaged("manifest.json", lambda file: file.unlink())
    assert "altered by somebody" in damaged("manifest.json", rewrite(began="2030-01-01T00:00:00.000000Z"))
    assert "not a complete snapshot" in site.refused("target", "staged", snapshot="20200101T000000Z-000000")
    assert "is a path" in site.refused("target", "staged", snapshot="../elsewhere")


def test_keys(site, before, tmp_path):
    snapshot = site.snapshot()["snapshot"]["id"]
    assert "not the one" in site.refused("target", "staged", snapshot=snapshot, encryption_key="another key that is long enough")
    assert "no key was given" in site.refused("target", "staged", snapshot=snapshot, unencrypted=True)
    assert "shorter than" in site.refused("target", "staged", snapshot=snapshot, encryption_key="tiny-key")
    assert "no encryption key" in site.refused("source", "snapshotted", encryption_key=None)
    file = tmp_path / "key"
    file.write_text(SECRET + "\n")
    file.chmod(0o644)
    assert "every user" in site.refused("target", "staged", snapshot=snapshot, encryption_key_file=str(file))
    file.chmod(0o600)
    site.ok("target", "staged", snapshot=snapshot, encryption_key_file=str(file))
    assert "cannot be read" in site.refused("target", "staged", snapshot=snapshot, encryption_key_file=str(tmp_path / "none"))


def test_too_little_space_is_found_before_reading(site, monkeypatch, tmp_path):
    monkeypatch.setattr(_artefact, "free_bytes", lambda directory: 1000)
    assert "too little space" in site.refused("source", "snapshotted")
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_a_disk_that_fills_up_leaves_no_snapshot(site, monkeypatch, tmp_path):
    original, written = _artefact.os.fsync, []

    def fsync(handle):
        written.append(handle)
        if len(written) > 3:
            raise OSError(28, "No space left on device")
        original(handle)

    with monkeypatch.context() as patch:
        patch.setattr(_artefact.os, "fsync", fsync)
        assert "No space left on device" in site.refused("source", "snapshotted")
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_what_a_killed_snapshot_left_is_removed_but_not_one_under_way(site, tmp_path):
    for name in ("dead.part", "alive.part"):
        (tmp_path / "snapshots" / name).mkdir(parents=True)
        (tmp_path / "snapshots" / name / "lock").touch()
    with open(str(tmp_path / "snapshots" / "alive.part" / "lock")) as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        snapshot = site.snapshot()["snapshot"]["id"]
        assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {"alive.part", snapshot}


def test_cut_over_needs_a_complete_stage_of_its_own_run(site, before):
    assert "no completely staged" in site.refused("target", "cut_over", run_id=RUN)
    site.ok("target", "staged", snapshot=site.snapshot()["snapshot"]["id"], run_id="other")
    assert "staged for the run other" in site.refused("target", "cut_over", run_id=RUN)
    site.target.sql("INSERT INTO edgeencryption_stage.edge_clone_journal (at, phase, snapshot, run_id, detail) VALUES (NOW(), 'loading', 'x', 'other', '{}')")
    assert "no completely staged" in site.refused("target", "cut_over", run_id="other")
    assert "nothing to go back to" in site.refused("target", "rolled_back", run_id=RUN)


def test_a_schema_of_a_newer_release_is_left_alone(site, before):
    snapshot = site.snapshot()["snapshot"]["id"]
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    journal = "edgeencryption_stage.edge_clone_journal"
    assert '"format": 1' in site.target.sql("SELECT detail FROM {0} ORDER BY seq DESC LIMIT 1".format(journal))[0][0]
    site.target.sql(
        "INSERT INTO {0} (at, phase, snapshot, run_id, detail) SELECT at, phase, snapshot, run_id, REPLACE(detail, '\"format\": 1', '\"format\": 2')"
        " FROM {0} ORDER BY seq DESC LIMIT 1".format(journal)
    )
    for state, options in (("cut_over", {}), ("discarded", {}), ("staged", {"snapshot": snapshot})):
        said = site.refused("target", state, run_id=RUN, **options)
        assert journal + ": has format 2, and this release of edge_encryption.clone knows none above 1" in said, state


def test_schemas_of_others_are_left_alone(site, before):
    site.target.sql("CREATE DATABASE edgeencryption_stage", "CREATE TABLE edgeencryption_stage.theirs (id INT)")
    snapshot = site.snapshot()["snapshot"]["id"]
    assert "not made by this collection" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN, stage_schema="edgeencryption_shadow")
    assert "not made by" in site.refused("target", "cut_over", run_id=RUN, stage_schema="edgeencryption_shadow", previous_schema="edgeencryption_stage")
    for schema in ("edgeencryption", "edgeencryption_stage", "edgeencryption_shadow"):
        site.refused("target", "pruned", previous_schema=schema, keep_for=0)
    assert site.schemas() == ["edgeencryption", "edgeencryption_shadow", "edgeencryption_stage"]


def test_clients_that_are_connected_are_named(site):
    site.ok("target", "staged", snapshot=site.snapshot()["snapshot"]["id"], run_id=RUN)
    content = site.content(site.target)
    tls = {"ssl_ca": str(site.target.directory / "ca.pem")}
    with contextlib.closing(
        pymysql.connect(host="127.0.0.1", port=site.target.port, user="edge_proxy", password="proxy-password", database="edgeencryption", **tls)
    ) as proxy:
        for check in (True, False):
            message = site.refused("target", "cut_over", run_id=RUN, check=check)
            assert "edge_proxy@127.0.0.1" in message and "(id {0})".format(proxy.thread_id()) in message
        assert site.content(site.target) == content
        assert site.ok("target", "cut_over", run_id=RUN, allow_connected=True)["changed"]
        # Already so: nothing to refuse, although the proxies run again.
        assert not site.ok("target", "cut_over", run_id=RUN)["changed"]
        assert "edge_proxy" in site.refused("target", "rolled_back", run_id=RUN)
    time.sleep(0.1)
    assert site.ok("target", "rolled_back", run_id=RUN)["changed"]


def test_a_transaction_that_holds_the_tables_is_named_and_all_is_put_back(site, before):
    site.target.sql(
        "CREATE DEFINER = 'edge_proxy'@'127.0.0.1' TRIGGER edgeencryption.t BEFORE INSERT ON edgeencryption.db_id FOR EACH ROW SET NEW.created = NOW()",
        "CREATE DEFINER = 'edge_proxy'@'127.0.0.1' VIEW edgeencryption.v AS SELECT id FROM edgeencryption.db_id",
    )
    site.ok("target", "staged", snapshot=site.snapshot()["snapshot"]["id"], run_id=RUN)
    with contextlib.closing(site.target.admin()) as reader:
        reader.cursor().execute("BEGIN")
        reader.cursor().execute("SELECT * FROM edgeencryption.db_id")
        started = time.monotonic()
        message = site.refused("target", "cut_over", run_id=RUN, lock_wait_timeout=1)
        assert "root@localhost (id {0}".format(reader.thread_id()) in message and time.monotonic() - started < 5
    assert site.schemas() == ["edgeencryption", "edgeencryption_stage"]
    assert site.target.sql("SELECT id FROM edgeencryption.v") == [("test",)]
    assert len(site.target.sql("SHOW TRIGGERS FROM edgeencryption")) == 1
    site.target.sql("DROP TRIGGER edgeencryption.t", "DROP VIEW edgeencryption.v")


def test_going_back_without_the_instance_needs_force(site):
    site.clone(RUN)
    live = site.content(site.target)
    assert "was not rolled back" in site.refused("target", "rolled_back", run_id=RUN, instance_rolled_back=False)
    assert "was not rolled back" in site.refused("target", "rolled_back", run_id=RUN, instance_rolled_back=False, force_mismatch="yes")
    assert site.content(site.target) == live
    assert site.ok("target", "rolled_back", run_id=RUN, instance_rolled_back=False, force_mismatch="edgeencryption")["changed"]


def test_two_runs_at_once(site, before, monkeypatch):
    snapshot = site.snapshot()["snapshot"]["id"]
    with contextlib.closing(site.target.admin()) as other:
        other.cursor().execute("SELECT GET_LOCK('edge_clone:{0}', 0)".format(hashlib.sha256(b"edgeencryption").hexdigest()[:32]))
        monkeypatch.setattr(_schema_journal, "LOCK_PATIENCE", 1)
        message = site.refused("target", "staged", snapshot=snapshot)
    assert "another run" in message and str(other.thread_id()) in message


def test_live_tables_that_somebody_replaced_are_not_taken_for_ours(site):
    site.clone(RUN)
    site.target.sql("USE edgeencryption", "CREATE TABLE other LIKE token_map", "DROP TABLE token_map", "RENAME TABLE other TO token_map")
    assert "no longer those" in site.refused("target", "cut_over", run_id=RUN)


def test_names_of_runs_that_collide_are_found(site):
    done = site.clone("a")
    site.ok("target", "staged", snapshot=site.snapshot()["snapshot"]["id"], run_id="b")
    assert "belongs to the run a" in site.refused("target", "cut_over", run_id="b", previous_schema=done["previous_schema"])


def test_options_that_belong_together(site):
    for state, options, expected in (
        ("cut_over", {}, "run_id"),
        ("rolled_back", {}, "run_id"),
        ("pruned", {}, "previous_schema"),
        ("staged", {"snapshot_dir": None, "snapshot": "x"}, "snapshot_dir"),
        ("snapshotted", {"encryption_key": SECRET, "unencrypted": True}, "although unencrypted"),
        ("staged", {"encryption_key": SECRET, "encryption_key_file": "/key"}, "mutually exclusive"),
        ("staged", {"backup_time": "yesterday"}, "not a time in UTC"),
        ("staged", {"backup_time": "2026-01-01 00:00:00+02:00"}, "not a time in UTC"),
    ):
        assert expected in site.refused("target", state, **options)


def test_errors_of_statements_do_not_quote_rows(site):
    with pytest.raises(pymysql.err.IntegrityError) as raised:
        site.source.sql("INSERT INTO edgeencryption.db_id VALUES ('prod', NOW())")
    assert "prod" in str(raised.value)
    assert _db.describe(raised.value) == (1062, "error 1062 DUP_ENTRY")


@pytest.mark.long
@pytest.mark.mysql(False)
@pytest.mark.parametrize("vendor", ["mysql"], scope="session", indirect=True)
def test_views_of_a_system_user_are_named_and_put_back(site, before):
    site.target.sql(
        "CREATE DEFINER = 'edge_proxy'@'127.0.0.1' VIEW edgeencryption.a AS SELECT id FROM edgeencryption.db_id",
        "CREATE DEFINER = 'root'@'localhost' VIEW edgeencryption.b AS SELECT id FROM edgeencryption.db_id",
    )
    site.ok("target", "staged", snapshot=site.snapshot()["snapshot"]["id"], run_id=RUN)
    message = site.refused("target", "cut_over", run_id=RUN)
    assert message.startswith("view edgeencryption.b: ") and "SYSTEM_USER" in message
    assert [row[0] for row in site.target.sql("SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'edgeencryption' ORDER BY 1")] == ["a", "b"]
    assert site.schemas() == ["edgeencryption", "edgeencryption_stage"]
    site.target.sql("DROP VIEW edgeencryption.a", "DROP VIEW edgeencryption.b")
