# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy's life: start, trust, locking, cache, authentication, database trouble, stop."""

import os
import re
import shutil
import time

import pytest
import requests

from edgelab import proxy_home, signing
from edgelab.processes import wait_for
from edgelab.proxy.testing import CONFIGURATIONS, CUSTOMER_PASSWORD, RULES, MariaDb

pytest_plugins = ("edgelab.proxy.testing",)

STARTUP = "ERROR Error occurred during proxy startup: "
BAD_CONFIGURATION = (
    'Encryption configuration for field \'"incident"."short_description"\' failed signature validation. '
    "Contact support to restore the encryption configurations."
)
BAD_RULES = (
    "ERROR Error in updating sync data manager for Edge Encryption Rules : One or more records failed signature validation. "
    "Will not update the proxy until this is resolved."
)
NOT_AUTHENTICATED = "WARN This Edge Encryption proxy has not yet been authenticated by the instance."


def configuration(side, column):
    return next(row for row in side.instance.rows(CONFIGURATIONS) if row["column"] == column)


def rule(side, name):
    return next(row for row in side.instance.rows(RULES) if row["name"] == name)


def break_signature(side, row, table):
    row["signature"] = signing.sign(side.keystores.other_key, table, row)
    side.instance.version += 1


def unverified(home):
    home.set(proxy__skip__config__validate="true", proxy__signature__verify="false")


# -- start and stop


def test_start_and_stop(side):
    home = side.home()
    assert home.script("startup.sh").returncode == 0
    pid = int(home.pid_file.read_text())
    wait_for(home.listening)
    assert home.script("startup.sh").returncode == 1
    assert home.state()["pid"] == pid == int(home.pid_file.read_text())
    assert home.state()["status"] == "Authenticated" and not home.state()["locked"]
    registration = side.instance.registrations[0]
    assert {(key["alias"], key["size"], key["type"]) for key in registration["keys"]} == {
        ("aes128prod", 128, "Keystore"),
        ("aes256prod", 256, "Keystore"),
    }
    assert registration["name"] == "edge_1" and registration["db_id"] == home.state()["db_id"]
    wait_for(lambda: side.instance.heartbeats)
    assert side.instance.heartbeats[0]["db_id"] == registration["db_id"]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARN|ERROR) ", line) for line in home.log.splitlines())
    assert "Wrapper Started as Daemon" in (home.home / "logs" / "wrapper.log").read_text()
    done = home.stop()
    assert done.returncode == 0 and "Stopped" in done.stdout
    assert not home.listening() and not home.pid_file.exists()
    assert not os.path.exists(f"/proc/{pid}/exe"), "the process is gone (or a zombie, where nobody reaps)"
    assert home.stop().returncode == 0


@pytest.mark.long
def test_a_stale_pid_file_does_not_hinder(side):
    home = side.home()
    home.pid_file.write_text(f"{os.getpid()}\n")
    home.start()
    assert home.state()["pid"] == int(home.pid_file.read_text()) != os.getpid()


def test_nothing_secret_on_the_command_line(side):
    home = side.home().start()
    with open(f"/proc/{home.state()['pid']}/cmdline", "rb") as stream:
        command = stream.read()
    assert CUSTOMER_PASSWORD.encode() not in command and b"service" not in command


@pytest.mark.long
def test_a_rotated_log_is_opened_anew(side):
    home = side.home().start()
    (home.home / "logs" / "edgeencryption.log").rename(home.home / "logs" / "edgeencryption.log.1")
    home.stop()
    assert "stopping" in home.log


@pytest.mark.long
def test_knobs_of_the_start(side):
    home = side.home(knobs={"start_delay": 1, "crash_after_start": 0.3, "startup_error_spelling": "occured"})
    began = time.monotonic()
    home.start()
    assert time.monotonic() - began > 1
    wait_for(lambda: not home.listening())
    assert home.pid_file.exists(), "a crash leaves the pid file behind"
    proxy_home.set_knobs(home.home, crash_after_start=None, start_delay=0)
    home.start()
    home.knobs(ignore_shutdown=True, latency_ms=300)
    began = time.monotonic()
    home.session.get(f"{home.url}/page", timeout=5)
    assert time.monotonic() - began > 0.3
    lab_json = home.home / "conf" / "lab.json"
    lab_json.write_text(lab_json.read_text().replace('"time_scale"', '"stop_seconds": 0.5,\n  "time_scale"'))
    assert home.stop().returncode == 1 and home.listening()
    assert requests.get(f"{home.control}/knobs", timeout=5).json()["latency_ms"] == 300
    home.kill()
    break_signature(side, rule(side, "Customer rule"), RULES)
    assert "ERROR Error occured during proxy startup" in home.start_in_vain()


# -- what keeps it from starting


@pytest.mark.long
@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"keystore__password": "wrong"}, "Keystore was tampered with, or password was incorrect"),
        ({"keystore__path": "keystore/none.jceks"}, "FileNotFoundException"),
        ({"proxy__signature__keystore__keyalias": "none"}, "Key alias 'none' was not found"),
        ({"encrypter__static__iv": "fifteen bytes.."}, "must be exactly 16 ASCII characters"),
        ({"customer__assigned__known__cleartext": ""}, "'edgeencryption.customer.assigned.known.cleartext' is not set"),
        ({"db__password": "wrong"}, "Failed to connect to the proxy database"),
        ({"db__url": "jdbc:mysql://127.0.0.1:1"}, "Failed to connect to the proxy database"),
        (
            {"target__password": "wrong", "register__retry__count": "2"},
            "Failed to register with the ServiceNow instance after 2 attempts: HTTP status 401",
        ),
        ({"target__port": "1", "register__retry__count": "1"}, "Failed to register with the ServiceNow instance after 1 attempts: Client"),
    ],
)
def test_does_not_start(side, properties, message):
    home = side.home()
    home.set(**properties)
    log = home.start_in_vain()
    assert STARTUP in log and message in log
    assert "exited with code 1" in (home.home / "logs" / "wrapper.log").read_text()


@pytest.mark.long
@pytest.mark.parametrize("alias", ["aes128prod", "edgesign"])
def test_a_key_with_a_password_of_its_own_breaks_the_start(side, tmp_path, alias):
    store = shutil.copy(side.keystores.customer, tmp_path / "odd.jceks")
    proxy_home.keytool("-delete", "-alias", alias, store=store, password=CUSTOMER_PASSWORD)
    kind = (
        ("-genseckey", "-keyalg", "aes", "-keysize", "128") if alias != "edgesign" else ("-genkeypair", "-keyalg", "rsa", "-dname", "CN=x")
    )
    proxy_home.keytool(*kind, "-alias", alias, store=store, password=CUSTOMER_PASSWORD, key_password="another one")
    assert f"UnrecoverableKeyException: Given final block not properly padded (alias '{alias}')" in side.home(keystore=store).start_in_vain()


@pytest.mark.long
def test_a_port_in_use(side):
    first = side.home().start()
    second = side.home("edge_2")
    second.set(proxy__https__port=str(first.port))
    assert second.script("startup.sh").returncode == 0
    wait_for(lambda: not second.pid_file.exists())
    assert STARTUP + "java.net.BindException" in second.log


def test_a_bad_configuration_keeps_it_from_starting(side):
    home = side.home()
    break_signature(side, configuration(side, "short_description"), CONFIGURATIONS)
    log = home.start_in_vain()
    assert STARTUP + "Failed get edge encryption configuration from the ServiceNow instance: " + BAD_CONFIGURATION in log


@pytest.mark.long
def test_an_unsigned_configuration_is_a_null_pointer(side):
    home = side.home()
    configuration(side, "short_description")["signature"] = ""
    log = home.start_in_vain()
    assert (
        "java.lang.NullPointerException" in log
        and "EncryptedFieldsManager.verifyConfigurationSignatures" in log
        and BAD_CONFIGURATION in log
    )


@pytest.mark.parametrize("name", ["Customer rule, inactive", *(pytest.param(name, marks=pytest.mark.long) for name in ("Customer rule", "REST JSON"))])
def test_a_bad_rule_keeps_it_from_starting(side, name):
    home = side.home()
    break_signature(side, rule(side, name), RULES)
    log = home.start_in_vain()
    assert f"ERROR Edge Encryption rule : '{name}' does not have a valid signature" in log and BAD_RULES in log and STARTUP in log


@pytest.mark.long
def test_a_changed_record_fails_with_its_old_signature(side):
    home = side.home()
    rule(side, "Customer rule")["active"] = "false"
    assert "'Customer rule' does not have a valid signature" in home.start_in_vain()


def test_base_rules_are_servicenows(side):
    """Signed with the customer's key, a base rule is as wrong as with any other."""
    home = side.home()
    row = rule(side, "REST JSON")
    row["signature"] = signing.sign(side.key, RULES, row)
    assert "'REST JSON' does not have a valid signature" in home.start_in_vain()


# -- without verification


@pytest.mark.long
def test_starts_unverified_only_with_both_properties(side):
    home = side.home()
    for row in side.instance.rows(RULES):
        break_signature(side, row, RULES)
    for row in side.instance.rows(CONFIGURATIONS):
        break_signature(side, row, CONFIGURATIONS)
    home.set(proxy__signature__verify="false")
    assert BAD_CONFIGURATION in home.start_in_vain()
    home.unset("proxy__signature__verify")
    home.set(proxy__skip__config__validate="true")
    assert BAD_RULES in home.start_in_vain()
    home.set(proxy__signature__verify="false")
    home.start()
    assert home.state()["verify"] == {"configurations": False, "rules": False}
    assert side.stored("incident", home.create("incident", {"short_description": "a"})["sys_id"])["short_description"].startswith("edge:s:")


@pytest.mark.long
def test_properties_count_at_the_start_only(side):
    home = side.home().start()
    unverified(home)
    break_signature(side, rule(side, "Customer rule"), RULES)
    wait_for(lambda: home.state()["locked"])
    home.stop()
    home.start()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    time.sleep(1)
    assert home.listening() and not home.state()["locked"]
    home.stop()
    assert BAD_RULES in home.start_in_vain()


# -- locking


@pytest.mark.long
def test_locks_itself_while_running_and_recovers(side):
    home = side.home().start()
    row = rule(side, "Customer rule")
    new = side.instance.configure(side.key, "incident", "state", "standard_128")
    break_signature(side, row, RULES)
    wait_for(lambda: home.state()["locked"])
    assert home.state()["locked_by"] == "signature"
    assert "'Customer rule' does not have a valid signature" in home.log and BAD_RULES in home.log
    stored = side.stored("incident", home.create("incident", {"short_description": "a", "state": "1"})["sys_id"])
    assert stored["short_description"].startswith("edge:s:") and stored["state"] == "1", "it goes on with the old configuration"
    wait_for(lambda: side.instance.heartbeats and side.instance.heartbeats[-1]["locked"])

    lines = len(home.log)
    answer = home.session.patch(f"{home.url}/api/now/table/{RULES}/{row['sys_id']}", json={"active": "false"}, timeout=10)
    assert answer.status_code == 200 and signing.verify(side.key.public_key(), RULES, row)
    wait_for(lambda: not home.state()["locked"])
    assert "ERROR" not in home.log[lines:]
    assert side.stored("incident", home.create("incident", {"state": "1"})["sys_id"])["state"].startswith("edge:s:")
    assert new["sys_id"] in (home.home / "cache" / "encryptionconfiguration.json").read_text()


@pytest.mark.long
def test_locked_by_its_property(side):
    home = side.home()
    home.set(proxy__locked="true")
    home.start()
    assert home.state()["locked_by"] == "property"
    row = rule(side, "Customer rule")
    before = row["signature"]
    home.session.patch(f"{home.url}/api/now/table/{RULES}/{row['sys_id']}", json={"active": "false"}, timeout=10)
    assert row["active"] == "false" and row["signature"] == before, "a locked proxy does not sign"
    time.sleep(0.5)
    assert "ERROR" not in home.log, "nor does it look at changes"
    home.stop()
    home.start()
    home.stop()
    home.empty_cache()
    assert "'Customer rule' does not have a valid signature" in home.start_in_vain(), "without a local copy it takes the instance's"


# -- the cache


@pytest.mark.long
def test_cache_of_another_key(side):
    """The clone's case: the proxies get the source's signature key, the records carry its signatures, the cache is from before."""
    home = side.home().start()
    home.stop()
    shutil.copy(side.keystores.other, home.home / "keystore" / "keystore.jceks")
    home.set(keystore__password="otherpass", proxy__signature__keystore__password="otherpass")
    for table in (RULES, CONFIGURATIONS):
        for row in side.instance.rows(table):
            if row["sys_created_by"] != "glide.maint":
                break_signature(side, row, table)
    log = home.start_in_vain()
    assert BAD_CONFIGURATION in log and "'Customer rule' does not have a valid signature" in log and "REST JSON" not in log
    home.empty_cache()
    home.start()
    home.stop()
    home.start()


@pytest.mark.long
def test_cache_written_without_verification(side):
    """KB0621218: after the repair the cache has to be emptied."""
    home = side.home()
    unverified(home)
    home.start()
    home.stop()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    log = home.start_in_vain()
    assert BAD_CONFIGURATION in log and "'REST JSON' does not have a valid signature" in log
    home.empty_cache()
    home.start()


@pytest.mark.long
def test_cached_rules_alone_are_enough(side):
    """Emptying only the top level of cache/ leaves the rules behind."""
    home = side.home()
    unverified(home)
    home.start()
    home.stop()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    (home.home / "cache" / "encryptionconfiguration.json").unlink()
    assert BAD_RULES in home.start_in_vain()


@pytest.mark.long
def test_a_good_cache_is_kept(side):
    home = side.home().start()
    home.stop()
    side.instance.rule(side.key, "New rule")
    home.start()
    assert len(list((home.home / "cache" / "rules").iterdir())) == 4


@pytest.mark.long
def test_deletions_are_checked(side):
    home = side.home().start()
    gone = rule(side, "Customer rule")
    del side.instance.tables[RULES][gone["sys_id"]]
    side.instance.version += 1
    wait_for(lambda: home.state()["locked"])
    home.stop()
    assert "'Customer rule' does not have a valid signature" in home.start_in_vain()
    home.empty_cache()
    home.start()
    other = rule(side, "Customer rule, inactive")
    assert home.session.delete(f"{home.url}/api/now/table/{RULES}/{other['sys_id']}", timeout=10).status_code == 204
    time.sleep(0.6)
    assert not home.state()["locked"], "a deletion through the proxy is its own"
    home.stop()
    home.start()


# -- authentication


def test_refuses_clients_until_authenticated(side):
    side.instance.status = "Unauthenticated"
    home = side.home()
    assert home.script("startup.sh").returncode == 0
    wait_for(lambda: NOT_AUTHENTICATED in home.log)
    assert "Please navigate to the matching Proxy record on your ServiceNow instance and authenticate it." in home.log
    assert home.state()["status"] == "Unauthenticated" and not home.state()["listening"] and not home.listening()
    side.instance.status = "Pending"
    wait_for(lambda: home.state()["status"] == "Pending")
    assert not home.listening()
    side.instance.status = "Authenticated"
    wait_for(home.listening)
    side.instance.status = "Unauthenticated"
    wait_for(lambda: not home.listening())
    wait_for(lambda: home.log.count(NOT_AUTHENTICATED) == 2)
    side.instance.status = "Authenticated"
    wait_for(home.listening)
    assert home.stop().returncode == 0


@pytest.mark.long
def test_stops_while_unauthenticated(side):
    side.instance.status = "Unauthenticated"
    home = side.home()
    home.script("startup.sh")
    wait_for(lambda: NOT_AUTHENTICATED in home.log)
    assert home.stop().returncode == 0 and not home.pid_file.exists()


@pytest.mark.long
def test_keep_alive_trouble(side):
    home = side.home().start()
    side.instance.heartbeat_delay = 3
    line = (
        "ERROR Received error in response for keep-alive request. Please check the connectivity between the Edge proxy and the ServiceNow "
        "instance. Result : java.util.concurrent.TimeoutException: Total timeout elapsed"
    )
    wait_for(lambda: line in home.log)
    side.instance.heartbeat_delay = 0
    side.instance.service_password = "changed by a clone"
    wait_for(lambda: "Result : HTTP status 401" in home.log)
    assert home.listening()


# -- keys


@pytest.mark.long
def test_without_the_key_or_with_another_iv_cipher_text_stays(side, tmp_path):
    home = side.home().start()
    created = home.create("incident", {"short_description": "a", "u_customer_name": "b", "u_account": "c"})
    stored = side.stored("incident", created["sys_id"])
    home.stop()

    store = shutil.copy(side.keystores.customer, tmp_path / "less.jceks")
    proxy_home.keytool("-delete", "-alias", "aes128prod", store=store, password=CUSTOMER_PASSWORD)
    less = side.home("less", keystore=store).start()
    row = less.read("incident", created["sys_id"])
    assert (
        row["short_description"] == stored["short_description"]
        and row["u_account"] == stored["u_account"]
        and row["u_customer_name"] == "b"
    )
    assert "Default encryption key 'aes128prod' (AES 128) is not available on this proxy" in less.log
    answer = less.session.post(f"{less.url}/api/now/table/incident", json={"short_description": "clear"}, timeout=10)
    assert answer.status_code == 500 and "No default AES-128 key" in answer.json()["error"]["detail"]

    other_iv = side.home("other_iv", static_iv="fedcba9876543210").start()
    row = other_iv.read("incident", created["sys_id"])
    assert row["short_description"] == "a" and row["u_customer_name"] != "b" and row["u_account"] != "c"
    answer = other_iv.session.post(f"{other_iv.url}/api/now/table/incident", json={"u_account": "d"}, timeout=10)
    assert answer.status_code == 500 and "static IV" in answer.json()["error"]["detail"]


@pytest.mark.long
def test_file_store(side):
    side.instance.default_keys = {"128": "filekey", "256": "aes256prod"}
    home = side.home(file_keys={"filekey": b"0123456789abcdef"}).start()
    assert {"filekey": "File", "aes256prod": "Keystore"}.items() <= {
        key["alias"]: key["type"] for key in side.instance.registrations[-1]["keys"]
    }.items()
    created = home.create("incident", {"short_description": "a"})
    assert side.stored("incident", created["sys_id"])["short_description"].startswith("edge:s:filekey:")
    home.stop()
    (home.home / "keys" / "filekey").write_bytes(b"0123456789abcdef\n")
    assert "Encryption key 'filekey' must be exactly 16 or 32 bytes long" in home.start_in_vain()


@pytest.mark.long
def test_server_certificate_in_the_keystore(side, tmp_path):
    store = shutil.copy(side.keystores.customer, tmp_path / "https.jceks")
    proxy_home.keytool(
        "-genkeypair",
        "-alias",
        "web",
        "-keyalg",
        "rsa",
        "-keysize",
        "2048",
        "-dname",
        "CN=from the keystore",
        "-ext",
        "san=ip:127.0.0.1",
        store=store,
        password=CUSTOMER_PASSWORD,
    )
    proxy_home.keytool("-exportcert", "-rfc", "-alias", "web", "-file", str(tmp_path / "web.pem"), store=store, password=CUSTOMER_PASSWORD)
    home = side.home(
        keystore=store,
        tls_cert="/none",
        tls_key="/none",
        properties={"proxy.https.cert.alias": "web", "proxy.https.keystore.password": CUSTOMER_PASSWORD},
    ).start()
    home.session.verify = str(tmp_path / "web.pem")
    assert home.create("incident", {"short_description": "a"})["short_description"] == "a"


# -- the database


@pytest.mark.long
def test_database_down(side, authority, tmp_path):
    (tmp_path / "db").mkdir()
    server = MariaDb(tmp_path / "db", authority)
    try:
        home = side.home(database=server.database()).start()
        before = home.create("incident", {"u_account": "known", "u_tax_id": "123-45-6789"})
        server.stop()
        lost = home.create("incident", {"u_account": "lost", "short_description": "a"})
        assert side.stored("incident", lost["sys_id"])["u_account"].startswith("edge:o:0000000000000000:")
        assert home.read("incident", lost["sys_id"])["u_account"] == "lost"
        answer = home.session.post(f"{home.url}/api/now/table/incident", json={"u_tax_id": "987-65-4321"}, timeout=30)
        assert answer.status_code == 500 and "987-65-4321" not in answer.text
        assert home.read("incident", before["sys_id"])["u_tax_id"] == side.stored("incident", before["sys_id"])["u_tax_id"] != "123-45-6789"
        server.start()
        after = home.create("incident", {"u_account": "lost"})
        assert not side.stored("incident", after["sys_id"])["u_account"].startswith("edge:o:0000000000000000:")
        assert home.read("incident", before["sys_id"])["u_tax_id"] == "123-45-6789"
    finally:
        server.stop()


@pytest.mark.long
def test_without_a_database(side):
    home = side.home(database=None).start()
    assert home.state()["db_id"] is None
    assert side.stored("incident", home.create("incident", {"u_account": "a"})["sys_id"])["u_account"].startswith("edge:o:0000000000000000:")
    assert home.session.post(f"{home.url}/api/now/table/incident", json={"u_tax_id": "987-65-4321"}, timeout=30).status_code == 500


@pytest.mark.long
def test_another_db_id(side):
    home = side.home().start()
    old = home.state()["db_id"]

    def change(value):
        side.mariadb.rows(side.database, "UPDATE db_id SET id = %s", value)

    change("11111111-0000-0000-0000-000000000000")
    warning = f"The proxy database is another one: its db_id is 11111111-0000-0000-0000-000000000000, expected {old}"
    wait_for(lambda: "WARN " + warning in home.log)
    home.stop()
    home.start()
    assert home.log.count(warning) == 2
    home.knobs(db_id_check="ignore")
    change(old)
    wait_for(lambda: home.state()["db_id"] == old)
    home.knobs(db_id_check="refuse")
    change("22222222-0000-0000-0000-000000000000")
    wait_for(lambda: not home.listening())
    wait_for(lambda: not home.pid_file.exists())
    assert "its db_id is 22222222-0000-0000-0000-000000000000" in home.start_in_vain()
    home.empty_cache()
    home.start()
