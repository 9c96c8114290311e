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
from edgelab.proxy.testing import CONFIGURATIONS, CUSTOMER_PASSWORD, RULES, MariaDb, eventually

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


def configuration(lab, column):
    return next(row for row in lab.instance.rows(CONFIGURATIONS) if row["column"] == column)


def rule(lab, name):
    return next(row for row in lab.instance.rows(RULES) if row["name"] == name)


def break_signature(lab, row, table):
    row["signature"] = signing.sign(lab.keystores.other_key, table, row)
    lab.instance.version += 1


def unverified(home):
    home.set(proxy__skip__config__validate="true", proxy__signature__verify="false")


# -- start and stop


def test_start_and_stop(lab):
    home = lab.home()
    began = time.monotonic()
    done = home.script("startup.sh")
    assert done.returncode == 0 and time.monotonic() - began < 2
    pid = int(home.pid_file.read_text())
    eventually(home.listening)
    assert home.script("startup.sh").returncode == 1
    assert home.state()["pid"] == pid == int(home.pid_file.read_text())
    assert home.state()["status"] == "Authenticated" and not home.state()["locked"]
    registration = lab.instance.registrations[0]
    assert {(key["alias"], key["size"], key["type"]) for key in registration["keys"]} == {
        ("aes128prod", 128, "Keystore"),
        ("aes256prod", 256, "Keystore"),
    }
    assert registration["name"] == "edge_1" and registration["db_id"] == home.state()["db_id"]
    eventually(lambda: lab.instance.heartbeats)
    assert lab.instance.heartbeats[0]["db_id"] == registration["db_id"]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARN|ERROR) ", line) for line in home.log.splitlines())
    assert "Wrapper Started as Daemon" in (home.home / "logs" / "wrapper.log").read_text()
    done = home.stop()
    assert done.returncode == 0 and "Stopped" in done.stdout
    assert not home.listening() and not home.pid_file.exists()
    assert not os.path.exists(f"/proc/{pid}/exe"), "the process is gone (or a zombie, where nobody reaps)"
    assert home.stop().returncode == 0


@pytest.mark.long
def test_a_stale_pid_file_does_not_hinder(lab):
    home = lab.home()
    home.pid_file.write_text(f"{os.getpid()}\n")
    home.start()
    assert home.state()["pid"] == int(home.pid_file.read_text()) != os.getpid()


def test_nothing_secret_on_the_command_line(lab):
    home = lab.home().start()
    with open(f"/proc/{home.state()['pid']}/cmdline", "rb") as stream:
        command = stream.read()
    assert CUSTOMER_PASSWORD.encode() not in command and b"service" not in command


@pytest.mark.long
def test_a_rotated_log_is_opened_anew(lab):
    home = lab.home().start()
    (home.home / "logs" / "edgeencryption.log").rename(home.home / "logs" / "edgeencryption.log.1")
    home.stop()
    assert "stopping" in home.log


@pytest.mark.long
def test_knobs_of_the_start(lab):
    home = lab.home(knobs={"start_delay": 1, "crash_after_start": 0.3, "startup_error_spelling": "occured"})
    began = time.monotonic()
    home.start()
    assert time.monotonic() - began > 1
    eventually(lambda: not home.listening())
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
    break_signature(lab, rule(lab, "Customer rule"), RULES)
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
def test_does_not_start(lab, properties, message):
    home = lab.home()
    home.set(**properties)
    log = home.start_in_vain()
    assert STARTUP in log and message in log
    assert "exited with code 1" in (home.home / "logs" / "wrapper.log").read_text()


@pytest.mark.long
@pytest.mark.parametrize("alias", ["aes128prod", "edgesign"])
def test_a_key_with_a_password_of_its_own_breaks_the_start(lab, tmp_path, alias):
    store = shutil.copy(lab.keystores.customer, tmp_path / "odd.jceks")
    proxy_home.keytool("-delete", "-alias", alias, store=store, password=CUSTOMER_PASSWORD)
    kind = (
        ("-genseckey", "-keyalg", "aes", "-keysize", "128") if alias != "edgesign" else ("-genkeypair", "-keyalg", "rsa", "-dname", "CN=x")
    )
    proxy_home.keytool(*kind, "-alias", alias, store=store, password=CUSTOMER_PASSWORD, key_password="another one")
    assert f"UnrecoverableKeyException: Given final block not properly padded (alias '{alias}')" in lab.home(keystore=store).start_in_vain()


@pytest.mark.long
def test_a_port_in_use(lab):
    first = lab.home().start()
    second = lab.home("edge_2")
    second.set(proxy__https__port=str(first.port))
    assert second.script("startup.sh").returncode == 0
    eventually(lambda: not second.pid_file.exists())
    assert STARTUP + "java.net.BindException" in second.log


def test_a_bad_configuration_keeps_it_from_starting(lab):
    home = lab.home()
    break_signature(lab, configuration(lab, "short_description"), CONFIGURATIONS)
    log = home.start_in_vain()
    assert STARTUP + "Failed get edge encryption configuration from the ServiceNow instance: " + BAD_CONFIGURATION in log


@pytest.mark.long
def test_an_unsigned_configuration_is_a_null_pointer(lab):
    home = lab.home()
    configuration(lab, "short_description")["signature"] = ""
    log = home.start_in_vain()
    assert (
        "java.lang.NullPointerException" in log
        and "EncryptedFieldsManager.verifyConfigurationSignatures" in log
        and BAD_CONFIGURATION in log
    )


@pytest.mark.parametrize("name", ["Customer rule", "Customer rule, inactive", "REST JSON"])
def test_a_bad_rule_keeps_it_from_starting(lab, name):
    home = lab.home()
    break_signature(lab, rule(lab, name), RULES)
    log = home.start_in_vain()
    assert f"ERROR Edge Encryption rule : '{name}' does not have a valid signature" in log and BAD_RULES in log and STARTUP in log


@pytest.mark.long
def test_a_changed_record_fails_with_its_old_signature(lab):
    home = lab.home()
    rule(lab, "Customer rule")["active"] = "false"
    assert "'Customer rule' does not have a valid signature" in home.start_in_vain()


def test_base_rules_are_servicenows(lab):
    """Signed with the customer's key, a base rule is as wrong as with any other."""
    home = lab.home()
    row = rule(lab, "REST JSON")
    row["signature"] = signing.sign(lab.key, RULES, row)
    assert "'REST JSON' does not have a valid signature" in home.start_in_vain()


# -- without verification


@pytest.mark.long
def test_starts_unverified_only_with_both_properties(lab):
    home = lab.home()
    for row in lab.instance.rows(RULES):
        break_signature(lab, row, RULES)
    for row in lab.instance.rows(CONFIGURATIONS):
        break_signature(lab, row, CONFIGURATIONS)
    home.set(proxy__signature__verify="false")
    assert BAD_CONFIGURATION in home.start_in_vain()
    home.unset("proxy__signature__verify")
    home.set(proxy__skip__config__validate="true")
    assert BAD_RULES in home.start_in_vain()
    home.set(proxy__signature__verify="false")
    home.start()
    assert home.state()["verify"] == {"configurations": False, "rules": False}
    assert lab.stored("incident", home.create("incident", {"short_description": "a"})["sys_id"])["short_description"].startswith("edge:s:")


@pytest.mark.long
def test_properties_count_at_the_start_only(lab):
    home = lab.home().start()
    unverified(home)
    break_signature(lab, rule(lab, "Customer rule"), RULES)
    eventually(lambda: home.state()["locked"])
    home.stop()
    home.start()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    time.sleep(1)
    assert home.listening() and not home.state()["locked"]
    home.stop()
    assert BAD_RULES in home.start_in_vain()


# -- locking


def test_locks_itself_while_running_and_recovers(lab):
    home = lab.home().start()
    row = rule(lab, "Customer rule")
    new = lab.instance.configure(lab.key, "incident", "state", "standard_128")
    break_signature(lab, row, RULES)
    eventually(lambda: home.state()["locked"])
    assert home.state()["locked_by"] == "signature"
    assert "'Customer rule' does not have a valid signature" in home.log and BAD_RULES in home.log
    stored = lab.stored("incident", home.create("incident", {"short_description": "a", "state": "1"})["sys_id"])
    assert stored["short_description"].startswith("edge:s:") and stored["state"] == "1", "it goes on with the old configuration"
    eventually(lambda: lab.instance.heartbeats and lab.instance.heartbeats[-1]["locked"])

    lines = len(home.log)
    answer = home.session.patch(f"{home.url}/api/now/table/{RULES}/{row['sys_id']}", json={"active": "false"}, timeout=10)
    assert answer.status_code == 200 and signing.verify(lab.key.public_key(), RULES, row)
    eventually(lambda: not home.state()["locked"])
    assert "ERROR" not in home.log[lines:]
    assert lab.stored("incident", home.create("incident", {"state": "1"})["sys_id"])["state"].startswith("edge:s:")
    assert new["sys_id"] in (home.home / "cache" / "encryptionconfiguration.json").read_text()


@pytest.mark.long
def test_locked_by_its_property(lab):
    home = lab.home()
    home.set(proxy__locked="true")
    home.start()
    assert home.state()["locked_by"] == "property"
    row = rule(lab, "Customer rule")
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


def test_cache_of_another_key(lab):
    """The clone's case: the proxies get the source's signature key, the records carry its signatures, the cache is from before."""
    home = lab.home().start()
    home.stop()
    shutil.copy(lab.keystores.other, home.home / "keystore" / "keystore.jceks")
    home.set(keystore__password="otherpass", proxy__signature__keystore__password="otherpass")
    for table in (RULES, CONFIGURATIONS):
        for row in lab.instance.rows(table):
            if row["sys_created_by"] != "glide.maint":
                break_signature(lab, row, table)
    log = home.start_in_vain()
    assert BAD_CONFIGURATION in log and "'Customer rule' does not have a valid signature" in log and "REST JSON" not in log
    home.empty_cache()
    home.start()
    home.stop()
    home.start()


def test_cache_written_without_verification(lab):
    """KB0621218: after the repair the cache has to be emptied."""
    home = lab.home()
    unverified(home)
    home.start()
    home.stop()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    log = home.start_in_vain()
    assert BAD_CONFIGURATION in log and "'REST JSON' does not have a valid signature" in log
    home.empty_cache()
    home.start()


@pytest.mark.long
def test_cached_rules_alone_are_enough(lab):
    """Emptying only the top level of cache/ leaves the rules behind."""
    home = lab.home()
    unverified(home)
    home.start()
    home.stop()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    (home.home / "cache" / "encryptionconfiguration.json").unlink()
    assert BAD_RULES in home.start_in_vain()


@pytest.mark.long
def test_a_good_cache_is_kept(lab):
    home = lab.home().start()
    home.stop()
    lab.instance.rule(lab.key, "New rule")
    home.start()
    assert len(list((home.home / "cache" / "rules").iterdir())) == 4


@pytest.mark.long
def test_deletions_are_checked(lab):
    home = lab.home().start()
    gone = rule(lab, "Customer rule")
    del lab.instance.tables[RULES][gone["sys_id"]]
    lab.instance.version += 1
    eventually(lambda: home.state()["locked"])
    home.stop()
    assert "'Customer rule' does not have a valid signature" in home.start_in_vain()
    home.empty_cache()
    home.start()
    other = rule(lab, "Customer rule, inactive")
    assert home.session.delete(f"{home.url}/api/now/table/{RULES}/{other['sys_id']}", timeout=10).status_code == 204
    time.sleep(0.6)
    assert not home.state()["locked"], "a deletion through the proxy is its own"
    home.stop()
    home.start()


# -- authentication


def test_refuses_clients_until_authenticated(lab):
    lab.instance.status = "Unauthenticated"
    home = lab.home()
    assert home.script("startup.sh").returncode == 0
    eventually(lambda: NOT_AUTHENTICATED in home.log)
    assert "Please navigate to the matching Proxy record on your ServiceNow instance and authenticate it." in home.log
    assert home.state()["status"] == "Unauthenticated" and not home.state()["listening"] and not home.listening()
    lab.instance.status = "Pending"
    eventually(lambda: home.state()["status"] == "Pending")
    assert not home.listening()
    lab.instance.status = "Authenticated"
    eventually(home.listening)
    lab.instance.status = "Unauthenticated"
    eventually(lambda: not home.listening())
    assert home.log.count(NOT_AUTHENTICATED) == 2
    lab.instance.status = "Authenticated"
    eventually(home.listening)
    assert home.stop().returncode == 0


@pytest.mark.long
def test_stops_while_unauthenticated(lab):
    lab.instance.status = "Unauthenticated"
    home = lab.home()
    home.script("startup.sh")
    eventually(lambda: NOT_AUTHENTICATED in home.log)
    assert home.stop().returncode == 0 and not home.pid_file.exists()


@pytest.mark.long
def test_keep_alive_trouble(lab):
    home = lab.home().start()
    lab.instance.heartbeat_delay = 3
    line = (
        "ERROR Received error in response for keep-alive request. Please check the connectivity between the Edge proxy and the ServiceNow "
        "instance. Result : java.util.concurrent.TimeoutException: Total timeout elapsed"
    )
    eventually(lambda: line in home.log)
    lab.instance.heartbeat_delay = 0
    lab.instance.service_password = "changed by a clone"
    eventually(lambda: "Result : HTTP status 401" in home.log)
    assert home.listening()


# -- keys


@pytest.mark.long
def test_without_the_key_or_with_another_iv_cipher_text_stays(lab, tmp_path):
    home = lab.home().start()
    created = home.create("incident", {"short_description": "a", "u_customer_name": "b", "u_account": "c"})
    stored = lab.stored("incident", created["sys_id"])
    home.stop()

    store = shutil.copy(lab.keystores.customer, tmp_path / "less.jceks")
    proxy_home.keytool("-delete", "-alias", "aes128prod", store=store, password=CUSTOMER_PASSWORD)
    less = lab.home("less", keystore=store).start()
    row = less.read("incident", created["sys_id"])
    assert (
        row["short_description"] == stored["short_description"]
        and row["u_account"] == stored["u_account"]
        and row["u_customer_name"] == "b"
    )
    assert "Default encryption key 'aes128prod' (AES 128) is not available on this proxy" in less.log
    answer = less.session.post(f"{less.url}/api/now/table/incident", json={"short_description": "clear"}, timeout=10)
    assert answer.status_code == 500 and "No default AES-128 key" in answer.json()["error"]["detail"]

    other_iv = lab.home("other_iv", static_iv="fedcba9876543210").start()
    row = other_iv.read("incident", created["sys_id"])
    assert row["short_description"] == "a" and row["u_customer_name"] != "b" and row["u_account"] != "c"
    answer = other_iv.session.post(f"{other_iv.url}/api/now/table/incident", json={"u_account": "d"}, timeout=10)
    assert answer.status_code == 500 and "static IV" in answer.json()["error"]["detail"]


@pytest.mark.long
def test_file_store(lab):
    lab.instance.default_keys = {"128": "filekey", "256": "aes256prod"}
    home = lab.home(file_keys={"filekey": b"0123456789abcdef"}).start()
    assert {"filekey": "File", "aes256prod": "Keystore"}.items() <= {
        key["alias"]: key["type"] for key in lab.instance.registrations[-1]["keys"]
    }.items()
    created = home.create("incident", {"short_description": "a"})
    assert lab.stored("incident", created["sys_id"])["short_description"].startswith("edge:s:filekey:")
    home.stop()
    (home.home / "keys" / "filekey").write_bytes(b"0123456789abcdef\n")
    assert "Encryption key 'filekey' must be exactly 16 or 32 bytes long" in home.start_in_vain()


@pytest.mark.long
def test_server_certificate_in_the_keystore(lab, tmp_path):
    store = shutil.copy(lab.keystores.customer, tmp_path / "https.jceks")
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
    home = lab.home(
        keystore=store,
        tls_cert="/none",
        tls_key="/none",
        properties={"proxy.https.cert.alias": "web", "proxy.https.keystore.password": CUSTOMER_PASSWORD},
    ).start()
    home.session.verify = str(tmp_path / "web.pem")
    assert home.create("incident", {"short_description": "a"})["short_description"] == "a"


# -- the database


@pytest.mark.long
def test_database_down(lab, authority, tmp_path):
    (tmp_path / "db").mkdir()
    server = MariaDb(tmp_path / "db", authority)
    try:
        home = lab.home(database=server.database()).start()
        before = home.create("incident", {"u_account": "known", "u_tax_id": "123-45-6789"})
        server.stop()
        lost = home.create("incident", {"u_account": "lost", "short_description": "a"})
        assert lab.stored("incident", lost["sys_id"])["u_account"].startswith("edge:o:0000000000000000:")
        assert home.read("incident", lost["sys_id"])["u_account"] == "lost"
        answer = home.session.post(f"{home.url}/api/now/table/incident", json={"u_tax_id": "987-65-4321"}, timeout=30)
        assert answer.status_code == 500 and "987-65-4321" not in answer.text
        assert home.read("incident", before["sys_id"])["u_tax_id"] == lab.stored("incident", before["sys_id"])["u_tax_id"] != "123-45-6789"
        server.start()
        after = home.create("incident", {"u_account": "lost"})
        assert not lab.stored("incident", after["sys_id"])["u_account"].startswith("edge:o:0000000000000000:")
        assert home.read("incident", before["sys_id"])["u_tax_id"] == "123-45-6789"
    finally:
        server.stop()


@pytest.mark.long
def test_without_a_database(lab):
    home = lab.home(database=None).start()
    assert home.state()["db_id"] is None
    assert lab.stored("incident", home.create("incident", {"u_account": "a"})["sys_id"])["u_account"].startswith("edge:o:0000000000000000:")
    assert home.session.post(f"{home.url}/api/now/table/incident", json={"u_tax_id": "987-65-4321"}, timeout=30).status_code == 500


@pytest.mark.long
def test_another_db_id(lab):
    home = lab.home().start()
    old = home.state()["db_id"]

    def change(value):
        lab.mariadb.rows(lab.database, "UPDATE db_id SET id = %s", value)

    change("11111111-0000-0000-0000-000000000000")
    warning = f"The proxy database is another one: its db_id is 11111111-0000-0000-0000-000000000000, expected {old}"
    eventually(lambda: "WARN " + warning in home.log)
    home.stop()
    home.start()
    assert home.log.count(warning) == 2
    home.knobs(db_id_check="ignore")
    change(old)
    eventually(lambda: home.state()["db_id"] == old)
    home.knobs(db_id_check="refuse")
    change("22222222-0000-0000-0000-000000000000")
    eventually(lambda: not home.listening())
    eventually(lambda: not home.pid_file.exists())
    assert "its db_id is 22222222-0000-0000-0000-000000000000" in home.start_in_vain()
    home.empty_cache()
    home.start()
