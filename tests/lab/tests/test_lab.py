# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab as a whole. The tests share one lab; the last two leave it cloned and down."""

import os
import re
import signal
import stat
from pathlib import Path

import pymysql
import pytest
import requests

from edgelab import demo_data
from edgelab.lab import PROXIES, SIDES
from edgelab.processes import account, wait_for

pytest_plugins = ("edgelab.testing",)

DENIED = {1044, 1142, 1227}  # on a database, on a table, a global privilege
NO_LOGIN = {1045, 1130, 1698, 3159}  # password or TLS of the account, host, method, TLS of the server


def processes(folder):
    """Return the command line by pid of every process that works in a folder."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(str(folder) in part for part in command):
            found[int(path.parent.name)] = command
    return found


def pids(the_lab):
    return {name: state for name, dummy, state in the_lab.status()}


def listening(pid):
    """Return address and port, as the kernel writes them, of the sockets on which a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(descriptor)))
        except FileNotFoundError:  # closed meanwhile
            continue
    rows = [line.split() for family in ("tcp", "tcp6") for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]]
    return {tuple(row[1].split(":")) for row in rows if row[3] == "0A" and row[9] in inodes}


# -- up


def test_up_twice_is_a_no_op(the_lab, lab, capsys):
    before, written = pids(the_lab), the_lab.file.stat().st_mtime_ns
    assert "down" not in before.values()
    assert the_lab.up() == lab
    assert (pids(the_lab), the_lab.file.stat().st_mtime_ns) == (before, written)
    assert "is up already" in capsys.readouterr().out


def test_lab_json_is_private_and_complete(the_lab, lab):
    assert stat.S_IMODE(the_lab.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(the_lab.folder.stat().st_mode) == 0o700
    for side in SIDES:
        assert lab["instances"][side].keys() >= {"name", "url", "username", "password", "control_url", "users"}
        assert lab["token_db"][side].keys() >= {"host", "port", "user", "password", "database", "ca", "pid_file", "socket", "proxy_user", "proxy_password"}
        assert [proxy["name"] for proxy in lab["proxies"][side]] == list(PROXIES[side])
        assert all(proxy.keys() >= {"name", "url", "port", "home", "pid_file", "control_url"} for proxy in lab["proxies"][side])
    assert lab.keys() >= {"ca", "keystore_password"}
    assert lab["balancer"].keys() >= {"url", "control_url"} and "control_url" in lab["traffic"]
    parts = [part for kind in ("instances", "token_db") for part in lab[kind].values()] + [*lab["proxies"]["source"], *lab["proxies"]["target"]]
    known = {int(Path(part["pid_file"]).read_text()) for part in [*parts, lab["balancer"], lab["traffic"]]}
    assert known == set(processes(the_lab.folder))


def test_everything_listens_on_the_loopback_only(the_lab):
    found = {pid: listening(pid) for pid in processes(the_lab.folder)}
    assert len(found) == 11 and all(found.values())
    sockets = set().union(*found.values())
    assert {address for address, dummy in sockets} == {"0100007F"}
    assert {int(port, 16) for dummy, port in sockets} == set(the_lab.known["ports"].values())


def test_what_was_killed_is_repaired(the_lab):
    before = pids(the_lab)
    killed = ("proxy edge_target_2", "load balancer")
    for name in killed:
        os.kill(int(before[name].split()[1]), signal.SIGKILL)
    wait_for(lambda: [name for name, state in pids(the_lab).items() if state == "down"] == list(killed))
    the_lab.up()
    after = pids(the_lab)
    assert "down" not in after.values()
    assert {name for name in after if after[name] != before[name]} == set(killed)


@pytest.mark.long
@pytest.mark.parametrize("name", ["token database source", "instance acmetest", "users"])
def test_any_part_is_repaired(the_lab, lab, name):
    row = demo_data.write_source(lab, 1)[0]
    before = pids(the_lab)
    os.kill(int(before[name].split()[1]), signal.SIGKILL)
    wait_for(lambda: pids(the_lab)[name] == "down")
    the_lab.up()
    assert "down" not in pids(the_lab).values()
    assert demo_data.read_through(lab, "source", row["table"], row["sys_id"])["u_tax_id"] == row["u_tax_id"]


# -- accounts of the token databases


def connect(lab, side, user, password, **tls):
    db = lab["token_db"][side]
    return pymysql.connect(host=db["host"], port=db["port"], user=user, password=password, **(tls or {"ssl_ca": db["ca"], "ssl_verify_cert": True}))


def accounts(lab):
    for side in SIDES:
        db = lab["token_db"][side]
        yield side, db["user"], db["password"]
        yield side, db["proxy_user"], db["proxy_password"]


def refused(lab, side, user, password, statement):
    with connect(lab, side, user, password) as connection, connection.cursor() as cursor:
        with pytest.raises((pymysql.err.OperationalError, pymysql.err.ProgrammingError)) as raised:
            cursor.execute(statement)
    return raised.value.args[0] in DENIED


def test_no_account_works_without_tls(lab):
    for side, user, password in accounts(lab):
        with connect(lab, side, user, password) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM edgeencryption.token_map")
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchone()[1]
        with pytest.raises(pymysql.err.OperationalError) as raised:
            connect(lab, side, user, password, ssl_disabled=True)
        assert raised.value.args[0] in NO_LOGIN


def test_root_logs_in_over_the_socket_only(lab):
    for side in SIDES:
        pymysql.connect(unix_socket=lab["token_db"][side]["socket"], user=account()).close()
        with pytest.raises(pymysql.err.OperationalError) as raised:
            connect(lab, side, "root", "")
        assert raised.value.args[0] in NO_LOGIN


@pytest.mark.parametrize(
    "side, role, statements",
    [
        ("source", "", [
            "INSERT INTO edgeencryption.db_id VALUES ('x', NOW())", "UPDATE edgeencryption.db_id SET id = 'x'", "DELETE FROM edgeencryption.token_map",
            "DROP TABLE edgeencryption.token_map", "CREATE TABLE edgeencryption.t (i INT)", "CREATE DATABASE edgeencryption_x",
            "SELECT * FROM mysql.global_priv"]),
        ("source", "proxy_", [
            "DROP TABLE edgeencryption.token_map", "ALTER TABLE edgeencryption.token_map ADD i INT", "TRUNCATE edgeencryption.token_map",
            "CREATE DATABASE edgeencryption_x"]),
        ("target", "proxy_", ["DROP TABLE edgeencryption.token_map", "CREATE TABLE edgeencryption_x.t (i INT)"]),
        # The underscore in the pattern of the schemas' names is no wildcard.
        ("target", "", [
            "CREATE DATABASE other", "CREATE DATABASE edgeencryptionx", "CREATE TABLE mysql.t (i INT)", "SELECT * FROM mysql.global_priv",
            "CREATE USER u@'127.0.0.1'", "UPDATE edgeencryption.db_id SET id = 'x'"]),
    ],
    ids=["clone_read", "source proxy", "target proxy", "clone_write"],
)
def test_accounts_can_do_no_more_than_they_need(lab, side, role, statements):
    db = lab["token_db"][side]
    allowed = [statement for statement in statements if not refused(lab, side, db[f"{role}user"], db[f"{role}password"], statement)]
    assert allowed == []


def test_the_account_of_the_target_makes_schemas_of_its_own(lab):
    db = lab["token_db"]["target"]
    with connect(lab, "target", db["user"], db["password"]) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE edgeencryption_of_a_test")
        cursor.execute("DROP DATABASE edgeencryption_of_a_test")


# -- the whole chain


def attachment(lab, side, url, sys_id):
    with demo_data.session(lab, side) as client:
        found = client.get(f"{url}/api/now/attachment", params={"sysparm_query": f"table_sys_id={sys_id}"}).json()["result"]
        return client.get(f"{url}/api/now/attachment/{found[0]['sys_id']}/file").content


def test_plain_text_is_cipher_text_without_a_proxy(lab):
    written = demo_data.write_source(lab, 2)[0]
    through = demo_data.read_through(lab, "source", written["table"], written["sys_id"], proxy=1)
    direct = demo_data.read_direct(lab, "source", written["table"], written["sys_id"])
    assert {field: through[field] for field in demo_data.ENCRYPTED_FIELDS} == {field: written[field] for field in demo_data.ENCRYPTED_FIELDS}
    kinds = {"short_description": "s", "description": "s", "u_customer_name": "e", "u_account": "o"}
    assert {field: direct[field][:7] for field in kinds} == {field: f"edge:{kind}:" for field, kind in kinds.items()}
    # A pattern's token has the shape of what it stands for.
    assert re.fullmatch(r"tax \d{3}-\d\d-\d{4}", direct["u_tax_id"]) and direct["u_tax_id"] != written["u_tax_id"]
    instance, proxy = lab["instances"]["source"], lab["proxies"]["source"][1]
    assert attachment(lab, "source", proxy["url"], written["sys_id"]).startswith(b"attachment of prod")
    assert attachment(lab, "source", instance["url"], written["sys_id"]).startswith(b"EDGEATT1")


def test_users_bring_no_clear_text_and_the_check_would_see_it(lab):
    instance = lab["instances"]["target"]
    requests.delete(instance["control_url"] + "/requests", timeout=10).raise_for_status()
    demo_data.start_traffic(lab)
    wait_for(lambda: requests.get(lab["traffic"]["control_url"] + "/stats", timeout=10).json()["ok"] >= 5, "users' writes succeed", 30)
    stats = demo_data.stop_traffic(lab)
    assert stats["ok"] >= 5 and stats["failed"] == 0, stats
    log = requests.get(instance["control_url"] + "/requests", timeout=10).json()["requests"]
    assert sum("short_description" in (entry["body"] or "") for entry in log) >= 5
    assert demo_data.clear_text_requests(lab) == []
    with demo_data.session(lab, "target") as client:
        answer = client.post(f"{instance['url']}/api/now/table/incident", json={"short_description": f"{demo_data.MARKER}by hand"})
    assert answer.status_code == 403
    assert [entry["status"] for entry in demo_data.clear_text_requests(lab)] == [403]


def test_a_clone_alone_leaves_the_values_unreadable(lab):
    """What the collection is for: the proxies of the target have neither the keys nor the tokens of the source."""
    written = demo_data.write_source(lab, 2)[0]
    source, target = lab["instances"]["source"], lab["instances"]["target"]
    requests.put(source["control_url"] + "/knobs", json={"clone_speed": 100}, timeout=10).raise_for_status()
    demo_data.take_backup(lab)
    number = demo_data.schedule_clone(lab, 0)

    def state():
        rows = requests.get(source["control_url"] + "/raw/clone_instance", timeout=10).json()["rows"]
        return next(row["state"] for row in rows if row["clone_id"] == number)

    wait_for(lambda: state() == "Completed", "the clone completes", 60)
    wait_for(lambda: not requests.get(target["control_url"] + "/health", timeout=10).json()["down"], "the target is back")
    through = demo_data.read_through(lab, "target", written["table"], written["sys_id"])
    assert through["number"] == written["number"]
    assert [field for field in demo_data.ENCRYPTED_FIELDS if written[field] in through[field]] == []


# -- down


def test_down_leaves_nothing_that_runs(the_lab):
    assert processes(the_lab.folder)
    the_lab.down()
    assert processes(the_lab.folder) == {}
    assert not the_lab.file.exists()
    assert set(pids(the_lab).values()) == {"down"}
    the_lab.down()
