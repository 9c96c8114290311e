# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``seed.json`` puts into a new instance."""

import json

from edgelab import signing
from edgelab.instance import passwords
from edgelab.instance.__main__ import main
from edgelab.instance.instance import Instance
from edgelab.instance.seed import signed_rows


def make(tmp_path, monkeypatch, seed, production=True):
    (tmp_path / "instance.json").write_text(json.dumps({"name": "acme", "production": production, "port": 1, "control_port": 2}))
    (tmp_path / "seed.json").write_text(json.dumps(seed))
    monkeypatch.setattr("sys.argv", ["edgelab.instance", "--dir", str(tmp_path), "--seed"])
    main()
    return Instance(tmp_path)


def test_seed_file_overrides_the_built_in_rows(tmp_path, monkeypatch):
    customer, servicenow = signing.generate_key(), signing.generate_key()
    rows = signed_rows()
    rule = rows["sys_encryption_rule"][-1]
    instance = make(
        tmp_path,
        monkeypatch,
        {
            "passwords": {"demo.user": "s3cret"},
            "signatures": signing.sign_rows(rows, customer, servicenow),
            "properties": {"glide.buildname": "Other"},
            "rows": {"u_contract": [{"sys_id": "c" * 32, "u_name": "extra"}], "incident": []},
        },
    )
    store = instance.store
    assert passwords.check_password("s3cret", store.first("sys_user", user_name="demo.user")["user_password"])
    assert passwords.check_password("admin-acme", store.first("sys_user", user_name="admin")["user_password"])
    assert instance.records.property("glide.buildname") == "Other"
    assert instance.records.property("instance_name") == "acme"
    assert store.get("u_contract", "c" * 32)["u_name"] == "extra"
    stored = store.get("sys_encryption_rule", rule["sys_id"])
    assert signing.verify(customer.public_key(), "sys_encryption_rule", stored)
    base = store.first("sys_encryption_rule", name="SOAP")
    assert base["sys_created_by"] == "glide.maint"
    assert signing.verify(servicenow.public_key(), "sys_encryption_rule", base)


def test_both_sides_have_what_the_contract_says(tmp_path, monkeypatch):
    for name, production, alias, roles in (
        ("a", True, "aes128prod", {"clone_admin"}),
        ("b", False, "aes128test", {"clone_admin", "soap", "security_admin", "user_admin"}),
    ):
        directory = tmp_path / name
        directory.mkdir()
        instance = make(directory, monkeypatch, {}, production)
        store = instance.store
        assert instance.acl.roles(store.first("sys_user", user_name="edge.automation")["sys_id"]) == roles
        assert store.first("sys_encryption_key", alias=alias)["type"] == "Keystore"
        assert store.count("sys_encryption_rule") == 12
        assert len(store.find("sys_encryption_rule", active="false")) == 1
        assert instance.records.property("glide.db.clone.allow_clone_target") == str(not production).lower()
        configurations = {(row["column"], row["encryption_type"]) for row in store.find("sys_encryption_configuration", table="incident")}
        assert configurations == {
            ("short_description", "standard_128"),
            ("description", "standard_256"),
            ("u_customer_name", "equality_256"),
            ("u_account", "order_preserving_128"),
            ("", "standard_128"),
        }


def test_a_second_start_does_not_seed_again(tmp_path, monkeypatch):
    instance = make(tmp_path, monkeypatch, {})
    instance.store.remove("u_contract", instance.store.select("u_contract")[0]["sys_id"])
    instance.store.close()
    assert Instance(tmp_path).store.count("u_contract") == 1
