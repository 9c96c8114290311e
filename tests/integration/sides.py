# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source and a target instance of the lab, with one target proxy: what the modules that talk REST are tried against."""

import json

from edgelab import proxy_home, signing
from edgelab.instance import seed
from edgelab.instance.testing import free_port, make_pair
from edgelab.proxy.testing import Home

RULES, CONFIGURATIONS = "sys_encryption_rule", "sys_encryption_configuration"
VALIDATION_OFF = {"proxy.skip.config.validate": "true", "proxy.signature.verify": "false"}


class Sides:
    """A source and a target instance. The target's proxy signs with a key of its own, but its records are signed with the source's."""

    def __init__(self, directory, keystores, mariadb=None, properties=None):
        self.source, self.target = make_pair(directory)
        self.keystores = keystores
        signatures = signing.sign_rows(seed.signed_rows(), keystores.customer_key, keystores.servicenow_key)
        for node in (self.source, self.target):
            (node.directory / "seed.json").write_text(json.dumps({"signatures": signatures}))
            node.start()
        self.proxy = self._proxy(directory, mariadb, properties or {})
        self.proxy.start()

    def _proxy(self, directory, mariadb, properties):
        port, control_port, config = free_port(), free_port(), self.target.config
        home = proxy_home.build_home(
            directory / "edge_target_1",
            name="edge_target_1",
            port=port,
            control_port=control_port,
            target={"host": "127.0.0.1", "port": config["port"], "username": "edge.proxy", "password": self.target.password("edge.proxy")},
            keystore=self.keystores.other,
            keystore_password="otherpass",
            static_iv="0123456789abcdef",
            known_cleartext="known",
            ca=config["ca"],
            tls_cert=config["tls_cert"],
            tls_key=config["tls_key"],
            database=mariadb.database() if mariadb else None,
            db_ca=mariadb._authority.ca if mariadb else None,
            properties=dict(VALIDATION_OFF, **properties),
        )
        return Home(home, type("Files", (), {"ca": config["ca"]}), port, control_port)

    def instance(self, node, user="edge.automation"):
        return {"host": node.url, "username": user, "password": node.password(user), "ca_path": node.config["ca"]}

    def resign(self, tmp_path, **options):
        arguments = {"instance": self.instance(self.target), "proxy_url": self.proxy.url, "state_file": str(tmp_path / "state")}
        return dict(arguments, **options)

    def add_records(self, rules, configurations):
        """Add records of the customer's, active and signed with the source's key."""
        made = {
            RULES: [
                {"name": "Rule {}".format(number), "order": str(1000 + number), "condition": "return true;", "script": "request.encrypt();"}
                for number in range(rules)
            ],
            CONFIGURATIONS: [
                {"table": "incident", "type": "column", "column": "u_column_{}".format(number), "encryption_type": "standard_128"}
                for number in range(configurations)
            ],
        }
        for table, rows in made.items():
            for number, row in enumerate(rows):
                row.update(sys_id="{:032x}".format(0xF0000000 + number), active="true", sys_created_by="security.officer", sys_mod_count="0")
                row["signature"] = signing.sign(self.keystores.customer_key, table, row)
            self.target.put(table, *rows)

    def records(self):
        return {(table, sys_id): row for table in (RULES, CONFIGURATIONS) for sys_id, row in self.target.raw(table).items()}

    def valid(self, table, row):
        base = row["sys_created_by"] == "glide.maint"
        key = self.keystores.servicenow_key if base else self.keystores.other_key
        return signing.verify(key.public_key(), table, row)

    def close(self):
        self.proxy.kill()
        self.source.stop()
        self.target.stop()


def assert_resigned(sides, before):
    for key, row in sides.records().items():
        assert sides.valid(key[0], row), row
        assert row["active"] == before[key]["active"]
        if row["sys_created_by"] == "glide.maint":
            assert row == before[key]


def most_off(sides, before):
    """Return how many records that were active before were off at once, by the instance's own record of requests."""
    off, most = set(), 0
    for request in sides.target.control("GET", "/requests")["requests"]:
        parts = request["path"].split("/")
        if request["method"] != "PATCH" or request["status"] != 200 or (parts[-2], parts[-1]) not in before:
            continue
        assert request["via_proxy"] == "edge_target_1"
        active = json.loads(request["body"]).get("active")
        if active == "false" and before[parts[-2], parts[-1]]["active"] == "true":
            off.add(parts[-1])
        elif active == "true":
            assert before[parts[-2], parts[-1]]["active"] == "true", "an inactive record was activated"
            off.discard(parts[-1])
        most = max(most, len(off))
    assert not off
    return most
