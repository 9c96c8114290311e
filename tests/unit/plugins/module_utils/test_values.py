# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import hashlib
import hmac

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing
from ansible_collections.edge_encryption.clone.plugins.module_utils._values import Values, Wanted, wanted_of
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

SECRET = "Jane Doe, 123-45-6789"
SALT = "0123456789abcdef"


@pytest.fixture
def values(fake):  # noqa: F811
    fake.one = fake.add("incident", description="edge:s:k:Zm9v", note=SECRET, empty="", short="edge:s:k:YWI", state="1")
    fake.clear = {"edge:s:k:Zm9v": SECRET, "edge:s:k:YWI": "YW"}
    client = Client(fake.url, Credentials("edge.automation", "pw"))
    return Values(client, client.sibling(fake.proxy_url), SALT)


def read(values, fields, **wanted):
    found = values.read(Wanted(**dict({"table": "incident", "query": None, "fields": fields, "attachments": False, "limit": 5}, **wanted)))
    assert SECRET not in repr(found)
    return found


def test_an_encrypted_value(fake, values):  # noqa: F811
    (entry,) = read(values, ["description"], sys_id=fake.one)
    assert entry == {
        "table": "incident",
        "sys_id": fake.one,
        "field": "description",
        "missing": False,
        "empty": False,
        "digest": hmac.new(SALT.encode(), SECRET.encode(), hashlib.sha256).hexdigest(),
        "cipher_text_without_proxy": True,
        "sys_mod_count": 0,
    }


def test_a_value_in_clear_text(fake, values):  # noqa: F811
    assert read(values, ["note"], sys_id=fake.one)[0]["cipher_text_without_proxy"] is False


def test_a_clear_text_within_what_the_instance_has(fake, values):  # noqa: F811
    fake.row("incident", fake.one)["note"] = "prefix " + SECRET
    fake.clear["prefix " + SECRET] = SECRET
    assert read(values, ["note"], sys_id=fake.one)[0]["cipher_text_without_proxy"] is False


def test_a_short_value_may_occur_in_cipher_text_by_chance(fake, values):  # noqa: F811
    assert read(values, ["short"], sys_id=fake.one)[0]["cipher_text_without_proxy"] is True


def test_an_empty_value(fake, values):  # noqa: F811
    (entry,) = read(values, ["empty"], sys_id=fake.one)
    assert (entry["empty"], entry["digest"], entry["cipher_text_without_proxy"]) == (True, None, None)


def test_a_missing_record(values):
    (entry,) = read(values, ["description"], sys_id="f" * 32)
    assert (entry["missing"], entry["empty"], entry["digest"]) == (True, None, None)


def test_an_unknown_field(fake, values):  # noqa: F811
    with pytest.raises(FieldsMissing, match="descripton"):
        read(values, ["descripton"], sys_id=fake.one)


def test_a_query_is_limited(fake, values):  # noqa: F811
    for number in range(5):
        fake.add("incident", description="x{}".format(number), state="2")
    found = read(values, ["description", "state"], sys_id=None, query="state=2", limit=3)
    assert len(found) == 6
    assert [entry["sys_id"] for entry in found[::2]] == sorted(entry["sys_id"] for entry in found[::2])


def test_attachments(fake, values):  # noqa: F811
    sys_id = fake.add("sys_attachment", table_name="incident", table_sys_id=fake.one)
    fake.add("sys_attachment", table_name="incident", table_sys_id="other")
    fake.files[sys_id] = (b"\x00clear\xff", b"EDGEATT1secret")
    (entry,) = read(values, [], sys_id=fake.one, attachments=True)
    assert entry["field"] == "attachment/" + sys_id
    assert entry["digest"] == hmac.new(SALT.encode(), b"\x00clear\xff", hashlib.sha256).hexdigest()
    assert entry["cipher_text_without_proxy"] is True


def test_nothing_asked_for():
    with pytest.raises(EdgeError):
        wanted_of({"table": "incident", "sys_id": "1", "query": None, "fields": [], "attachments": False, "limit": 1})


def test_a_short_salt(fake):  # noqa: F811
    with pytest.raises(EdgeError, match="16 characters"):
        Values(None, None, "short")


def test_a_short_value_in_clear_text(fake, values):  # noqa: F811
    assert read(values, ["state"], sys_id=fake.one)[0]["cipher_text_without_proxy"] is False
