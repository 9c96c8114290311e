# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxies make of a clone: everything is readable if every step was taken, and not if one was left out."""

import json
import shutil
import types

import pytest

from edgelab import proxy_home, signing
from edgelab.instance import seed
from edgelab.instance.testing import make_pair
from edgelab.processes import free_port, wait_for
from edgelab.proxy.testing import CUSTOMER_PASSWORD, Home

pytest_plugins = ("edgelab.proxy.testing",)
pytestmark = pytest.mark.long

RECORD = {
    "short_description": "standard",
    "description": "standard 256",
    "u_customer_name": "equality",
    "u_account": "order",
    "u_tax_id": "123-45-6789",
}


class Clone:
    """A source and a target with a proxy each; the source cloned over the target, whose proxy is stopped."""

    def __init__(self, directory, mariadb, keystores):
        self.directory, self.mariadb, self.keystores = directory, mariadb, keystores
        self.source, self.target = make_pair(directory)
        self.databases = [mariadb.database(), mariadb.database()]
        for node, key in ((self.source, keystores.customer_key), (self.target, keystores.other_key)):
            signatures = signing.sign_rows(seed.signed_rows(), key, keystores.servicenow_key)
            (node.directory / "seed.json").write_text(json.dumps({"signatures": signatures, "passwords": {"edge.proxy": "proxy"}}))
            node.start()
        self.source.knobs(clone_speed=20)
        self.source_home = self._home("edge_source_1", self.source, keystores.customer, CUSTOMER_PASSWORD, "0123456789abcdef", 0).start()
        self.target_home = self._home("edge_target_1", self.target, keystores.other, "otherpass", "fedcba9876543210", 1).start()
        self.sys_id = self.source_home.create("incident", RECORD)["sys_id"]
        attachment = self.source_home.session.post(
            f"{self.source_home.url}/api/now/attachment/file",
            params={"table_name": "incident", "table_sys_id": self.sys_id, "file_name": "a"},
            data=b"a file",
            headers={"Content-Type": "text/plain"},
            timeout=10,
        )
        self.attachment = attachment.json()["result"]["sys_id"]
        self.target_home.stop()
        self.source.control("POST", "/backup")
        target = self.source.find("instance", instance_name="acmetest")[0]
        row = {"state": "Requested", "target_instance": target["sys_id"], "filter_attachment_data": "false"}
        answer = self.source.client("admin").post(self.source.table("clone_instance"), json=row, timeout=10)
        number = answer.json()["result"]["sys_id"]
        wait_for(lambda: self.source.raw("clone_instance")[number]["state"] == "Completed", "the clone completes", 60)
        wait_for(self.target.healthy, "the target is back")
        for name in ("edge_target_1", "edge_target_2"):
            self.target.put("sys_encryption_proxy", {"name": name, "host": "127.0.0.1", "status": "Authenticated"})
        self._old = directory / "before"
        shutil.copytree(self.target_home.home, self._old)

    def _home(self, name, node, keystore, password, static_iv, number):
        port, control_port = free_port(), free_port()
        config = node.config
        home = proxy_home.build_home(
            self.directory / name,
            name=name,
            port=port,
            control_port=control_port,
            target={"host": "127.0.0.1", "port": config["port"], "username": "edge.proxy", "password": "proxy"},
            keystore=keystore,
            keystore_password=password,
            static_iv=static_iv,
            known_cleartext="known",
            ca=config["ca"],
            tls_cert=config["tls_cert"],
            tls_key=config["tls_key"],
            database=self.databases[number],
            db_ca=self.mariadb._authority.ca,
            time_scale=0.04,
        )
        home = Home(home, types.SimpleNamespace(ca=config["ca"]), port, control_port)
        home.session.auth = ("demo.user", "demo.user-acmeprod")
        return home

    def copy_tokens(self):
        source, target = (database["name"] for database in self.databases)
        with self.mariadb.root() as connection, connection.cursor() as cursor:
            for table in ("db_id", "edge_token_map", "token_map"):
                cursor.execute(f"DELETE FROM {target}.{table}")
                cursor.execute(f"INSERT INTO {target}.{table} SELECT * FROM {source}.{table}")

    def drop_tokens(self):
        with self.mariadb.root() as connection, connection.cursor() as cursor:
            for table in ("edge_token_map", "token_map"):
                cursor.execute(f"DELETE FROM {self.databases[1]['name']}.{table}")

    def put_back(self):
        self.target_home.kill()
        shutil.rmtree(self.target_home.home)
        shutil.copytree(self._old, self.target_home.home)
        self.drop_tokens()
        return self.target_home

    def take(self, home, *, left_out=None):
        """The steps of the option with the source's keys, but for one."""
        if left_out != "tokens":
            self.copy_tokens()
        if left_out == "keys":
            return
        shutil.copy(self.keystores.customer, home.home / "keystore" / "keystore.jceks")
        home.set(keystore__password=CUSTOMER_PASSWORD, proxy__signature__keystore__password=CUSTOMER_PASSWORD)
        if left_out != "static iv":
            home.set(encrypter__static__iv="0123456789abcdef")
        if left_out != "cache":
            home.empty_cache()

    def close(self):
        for home in (self.source_home, self.target_home):
            home.kill()
        for node in (self.source, self.target):
            node.stop()

    def read(self, home):
        row = home.read("incident", self.sys_id)
        file = home.session.get(f"{home.url}/api/now/attachment/{self.attachment}/file", timeout=10).content
        return {name: row[name] for name in RECORD}, file


@pytest.fixture(scope="module")
def cloned(tmp_path_factory, mariadb, keystores):
    made = Clone(tmp_path_factory.mktemp("clone"), mariadb, keystores)
    yield made
    made.close()


@pytest.fixture
def home(cloned):
    return cloned.put_back()


def test_every_step(cloned, home):
    cloned.take(home)
    home.start()
    assert cloned.read(home) == (RECORD, b"a file")
    assert [row["sys_id"] for row in home.query("incident", "u_customer_name=equality^u_account=order^u_account>=order")] == [cloned.sys_id]
    assert home.state()["db_id"] == cloned.source_home.state()["db_id"]
    new = home.create("incident", {"u_account": "new"})["sys_id"]
    assert [row["sys_id"] for row in home.query("incident", "u_accountINnew,order^ORDERBYu_account")] == [new, cloned.sys_id]
    home.stop()
    home.start()
    assert "ERROR" not in home.log


def test_without_the_tokens(cloned, home):
    cloned.take(home, left_out="tokens")
    home.start()
    row, file = cloned.read(home)
    assert row["u_tax_id"] != RECORD["u_tax_id"]
    assert dict(row, u_tax_id=RECORD["u_tax_id"]) == RECORD and file == b"a file"
    assert home.query("incident", "u_account=order") == []


def test_without_the_static_iv(cloned, home):
    cloned.take(home, left_out="static iv")
    home.start()
    row, _file = cloned.read(home)
    assert row["short_description"] == "standard" and row["u_customer_name"] != "equality" and row["u_account"] != "order"
    assert home.query("incident", "u_customer_name=equality") == []


def test_without_emptying_the_cache(cloned, home):
    cloned.take(home, left_out="cache")
    log = home.start_in_vain()
    assert "Error occurred during proxy startup: Failed get edge encryption configuration" in log and "failed signature validation" in log


def test_without_the_signature_key(cloned, home):
    cloned.take(home, left_out="keys")
    home.empty_cache()
    assert "failed signature validation" in home.start_in_vain()


def test_signed_anew_through_the_unverified_proxy(cloned, home):
    """The other option: the AES keys come over, the signature key stays, every record is signed anew, then the cache goes."""
    cloned.take(home)
    shutil.copy(cloned.keystores.other, home.home / "keystore" / "signature.jceks")
    home.set(
        proxy__signature__keystore__path="keystore/signature.jceks",
        proxy__signature__keystore__password="otherpass",
        proxy__skip__config__validate="true",
        proxy__signature__verify="false",
    )
    home.start()
    assert cloned.read(home) == (RECORD, b"a file")
    administrator = ("admin", "admin-acmeprod")
    tables = ("sys_encryption_rule", "sys_encryption_configuration")
    before = {table: cloned.target.raw(table) for table in tables}
    for table in tables:
        for sys_id, row in before[table].items():
            if not signing.is_base(row):
                for active in ("false" if row["active"] == "true" else "true", row["active"]):
                    url = f"{home.url}/api/now/table/{table}/{sys_id}"
                    assert home.session.patch(url, json={"active": active}, auth=administrator, timeout=10).status_code == 200
    home.stop()
    home.unset("proxy__skip__config__validate", "proxy__signature__verify")
    assert "failed signature validation" in home.start_in_vain(), "the cache is from the unverified time"
    home.empty_cache()
    home.start()
    assert cloned.read(home) == (RECORD, b"a file")
    for table in tables:
        after = cloned.target.raw(table)
        assert {sys_id: row["active"] for sys_id, row in after.items()} == {sys_id: row["active"] for sys_id, row in before[table].items()}
    wait_for(lambda: home.state()["status"] == "Authenticated" and not home.state()["locked"])
    for table in tables:  # as the other tests expect it
        cloned.target.put(table, *before[table].values())
