# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: an instance with values under the keys of another one, and two proxies that hold those keys and their own.

Needs the fixtures of C(edgelab.proxy.testing).
"""

import json

import pytest

from . import proxy_home, signing
from .instance import seed
from .instance.testing import make_pair
from .processes import free_port, wait_for
from .proxy.testing import CUSTOMER_PASSWORD, Home

OLD, OWN = ("aes128prod", "aes256prod"), ("aes128own", "aes256own")
COLUMNS = ("short_description", "description", "u_customer_name", "u_account")


class Rotating:
    """An instance whose defaults are C(OLD), and two proxies that hold C(OLD) and C(OWN)."""

    def __init__(self, directory, mariadb, keystores):
        self.node, _other = make_pair(directory)
        signatures = signing.sign_rows(seed.signed_rows(), keystores.customer_key, keystores.servicenow_key)
        (self.node.directory / "seed.json").write_text(json.dumps({"signatures": signatures}))
        self.node.start()
        self.mariadb, self.database = mariadb, mariadb.database()
        self.keystore = directory / "keystore.jceks"
        self.keystore.write_bytes(keystores.customer.read_bytes())
        for alias in OWN:
            proxy_home.keytool("-genseckey", "-alias", alias, "-keyalg", "aes", "-keysize", alias[3:6], store=self.keystore, password=CUSTOMER_PASSWORD)
        self.homes = [self._home(directory, name) for name in ("edge_source_1", "edge_source_2")]
        for home in self.homes:
            home.start()
        wait_for(lambda: [row["online"] for row in self.node.raw("sys_encryption_proxy").values()] == ["true", "true"], "both proxies are online")

    def _home(self, directory, name):
        port, control_port, config = free_port(), free_port(), self.node.config
        home = proxy_home.build_home(
            directory / name, name=name, port=port, control_port=control_port,
            target={"host": "127.0.0.1", "port": config["port"], "username": "edge.proxy", "password": self.node.password("edge.proxy")},
            keystore=self.keystore, keystore_password=CUSTOMER_PASSWORD, static_iv="0123456789abcdef", known_cleartext="known", ca=config["ca"],
            tls_cert=config["tls_cert"], tls_key=config["tls_key"], database=self.database, db_ca=mariadb_ca(self.mariadb),
        )  # fmt: skip
        made = Home(home, type("Files", (), {"ca": config["ca"]}), port, control_port)
        made.session.auth = ("demo.user", self.node.password("demo.user"))
        return made

    def close(self):
        for home in self.homes:
            home.kill()
        self.node.stop()

    # -- keys

    def keys(self):
        return {row["alias"]: row for row in self.node.raw("sys_encryption_key").values()}

    def register(self, *aliases):
        self.node.put("sys_encryption_key", *({"alias": alias, "size": alias[3:6], "type": "Keystore"} for alias in aliases))

    def make_default(self, *aliases):
        """Change the defaults, as on the form."""
        wait_for(lambda: all(self.keys()[alias]["status"] == "Available" for alias in aliases), "the keys are Available")
        rows = {row["size"]: row["sys_id"] for row in self.node.raw("sys_encryption_key_configuration").values()}
        for alias in aliases:
            path = self.node.table("sys_encryption_key_configuration/" + rows[alias[3:6]])
            answer = self.node.client("admin").patch(path, json={"key": self.keys()[alias]["sys_id"]})
            assert answer.status_code == 200, answer.text
        wait_for(lambda: all(self.default_of(home) >= set(aliases) for home in self.homes), "the proxies encrypt with them")

    def default_of(self, home):
        return set(json.loads((home.home / "cache" / "encryptionconfiguration.json").read_text()).get("default_keys", {}).values())

    def drop_from_proxies(self, *aliases):
        for home in self.homes:
            home.stop()
            for alias in aliases:
                proxy_home.keytool("-delete", "-alias", alias, store=home.home / "keystore" / "keystore.jceks", password=CUSTOMER_PASSWORD)
            home.start()

    # -- values

    def write(self, count, home=0):
        """Write incidents and one attachment through a proxy; returns the clear values by sys_id."""
        session, url = self.homes[home].session, self.homes[home].url
        written = {}
        for number in range(count):
            values = dict(zip(COLUMNS, (f"short {number}", f"long {number}", f"customer {number % 3}", f"ACC-{(number * 37) % 100:03d}")))
            answer = session.post(f"{url}/api/now/table/incident", json=values)
            assert answer.status_code == 201, answer.text
            written[answer.json()["result"]["sys_id"]] = values
        first = next(iter(written))
        answer = session.post(f"{url}/api/now/attachment/file", data=b"clear attachment " * 100, headers={"Content-Type": "text/plain"},
                              params={"table_name": "incident", "table_sys_id": first, "file_name": "a.txt"})  # fmt: skip
        assert answer.status_code == 201, answer.text
        self.attachment = answer.json()["result"]["sys_id"]
        return written

    def read(self, sys_id, home=0):
        row = self.homes[home].session.get(f"{self.homes[home].url}/api/now/table/incident/{sys_id}").json()["result"]
        return {column: row[column] for column in COLUMNS}

    def read_attachment(self, home=0):
        return self.homes[home].session.get(f"{self.homes[home].url}/api/now/attachment/{self.attachment}/file").content

    def stored(self, alias):
        """Return how many values of incidents are under an alias."""
        return sum(f":{alias}:" in row[column] for row in self.node.raw("incident").values() for column in COLUMNS)

    # -- jobs

    def job(self, kind, key="", table="", name="rotation"):
        row = {"name": name, "job_type": kind, "table": table, "key": self.keys()[key]["sys_id"] if key else "", "run_type": "once"}
        return self.node.put("sysauto_encryption_job", dict(row, run_start="2026-01-01 00:00:00"))[0]

    def execute_again(self, job, stamp="2026-01-01 00:00:01"):
        self.node.put("sysauto_encryption_job", {"sys_id": job["sys_id"], "run_start": stamp})

    def executions(self, job):
        return self.node.find("sys_encryption_job_execution", job=job["sys_id"])

    def ends(self, job, state="complete", number=0):
        wait_for(lambda: [row["state"] for row in self.executions(job)][number:] == [state], f"the rotation is {state}", 30)
        return self.executions(job)[number]


def mariadb_ca(mariadb):
    return mariadb._authority.ca


@pytest.fixture
def rotating(tmp_path, mariadb, keystores):
    made = Rotating(tmp_path, mariadb, keystores)
    yield made
    made.close()
