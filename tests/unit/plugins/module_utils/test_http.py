# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import (
    Client,
    Credentials,
    LoginRefused,
    NotTheApi,
    StatusError,
    Unreachable,
)
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import Fault, fake  # noqa: F401  # pylint: disable=unused-import

PATH = "/api/now/table/sys_properties"


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(fake, pauses):  # noqa: F811
    with Client(fake.url, Credentials("edge.automation", "pw"), timeout=2, sleep=pauses.append) as client:
        yield client


def test_one_connection_and_one_session_for_many_requests(fake, client):  # noqa: F811
    for _unused in range(5):
        client.get_json(PATH)
    assert fake.connections == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=429, headers={"Retry-After": "7"}),
        Fault("status", status=503),
        Fault("html", status=502),
        Fault("html", status=200),
        Fault("partial_json"),
        Fault("reset_before"),
        Fault("reset_after"),
        Fault("status", status=200, body='{"result":[],"error":{"message":"Transaction cancelled","detail":"x"}}'),
    ],
    ids=lambda fault: "{0.kind}-{0.status}".format(fault),  # pylint: disable=unnecessary-lambda
)
def test_reading_is_repeated(fake, client, pauses, fault):  # noqa: F811
    fake.faults.append(fault)
    assert client.get_json(PATH)["result"][0]["value"] == "acmetest"
    assert len(pauses) == 1
    if fault.status == 429:
        assert 7 <= pauses[0] <= 8


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status_after", status=500), StatusError),
        (Fault("reset_after"), Unreachable),
        (Fault("partial_json"), NotTheApi),
        (Fault("html", status=200), NotTheApi),
        (Fault("html", status=502), StatusError),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_write_of_unknown_fate_is_not_repeated(fake, client, pauses, fault, error):  # noqa: F811
    fake.faults.append(fault)
    with pytest.raises(error) as caught:
        client.send_json("POST", PATH, {"name": "x"})
    assert caught.value.ambiguous
    assert pauses == []
    assert len(fake.paths("POST")) == 1


def test_a_write_that_was_refused_for_its_rate_is_repeated(fake, client, pauses):  # noqa: F811
    fake.faults.append(Fault("status", method="POST", status=429, headers={"Retry-After": "1"}))
    client.send_json("POST", PATH, {"name": "x"})
    assert len(pauses) == 1


def test_a_pause_beyond_the_cap_is_an_error_that_names_it(fake, client, pauses):  # noqa: F811
    fake.faults.append(Fault("status", status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(StatusError, match="3600 s"):
        client.get_json(PATH)
    assert pauses == []


def test_patience_ends(fake, client, pauses):  # noqa: F811
    fake.faults.append(Fault("status", status=503, count=None))
    with pytest.raises(StatusError) as caught:
        client.get_json(PATH)
    assert caught.value.transient
    assert len(pauses) == 4
    assert all(0 <= pause <= 8 for pause in pauses)


def test_a_wrong_password_is_tried_once_and_never_shown(fake):  # noqa: F811
    client = Client(fake.url, Credentials("edge.automation", "wrong-secret"))
    with pytest.raises(LoginRefused, match="snc_basic_auth_api_access") as caught:
        client.get_json(PATH)
    assert len(fake.requests) == 1
    assert "wrong-secret" not in str(caught.value) + repr(client.credentials) + repr(caught.value.to_result())


def test_a_lost_session_logs_in_again_once(fake, client):  # noqa: F811
    client.get_json(PATH)
    client._session.cookies.set("JSESSIONID", "old", domain="127.0.0.1")
    fake.faults.append(Fault("status", status=401))
    client.get_json(PATH)
    assert [entry["cookie"] for entry in fake.requests] == ["", "JSESSIONID=old", ""]
    fake.faults.append(Fault("status", status=401, count=2))
    with pytest.raises(LoginRefused):
        client.get_json(PATH)


def test_oauth_gets_a_new_token_when_the_old_one_is_gone(fake):  # noqa: F811
    fake.clients["id1"] = "client-secret"
    client = Client(fake.url, Credentials("edge.automation", "pw", "id1", "client-secret"))
    client.get_json(PATH)
    fake.tokens.clear()
    client.get_json(PATH)
    assert fake.paths("POST") == [("POST", "/oauth_token.do")] * 2


def test_oauth_with_a_wrong_client(fake):  # noqa: F811
    client = Client(fake.url, Credentials("edge.automation", "pw", "id1", "client-secret"))
    with pytest.raises(LoginRefused) as caught:
        client.get_json(PATH)
    assert "client-secret" not in str(caught.value)


def test_a_netrc_file_does_not_replace_the_login(fake, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    fake.clients["id1"] = "s"
    Client(fake.url, Credentials("edge.automation", "pw", "id1", "s")).get_json(PATH)
    Client(fake.url, Credentials("edge.automation", "pw")).get_json(PATH)


def test_a_hibernating_instance_is_named_at_once(fake, client, pauses):  # noqa: F811
    fake.faults.append(Fault("html", status=200, body="<html>Instance Hibernating page</html>", count=None))
    with pytest.raises(NotTheApi, match="hibernates"):
        client.get_json(PATH)
    assert pauses == []


def test_a_redirect_is_not_followed(fake, client):  # noqa: F811
    fake.faults.append(Fault("status", status=302, headers={"Location": "https://sso.example.com/"}))
    with pytest.raises(NotTheApi, match="single sign-on"):
        client.get_json(PATH)


def test_nobody_listens(pauses):
    client = Client("http://127.0.0.1:9", Credentials("a", "secret"), sleep=pauses.append)
    with pytest.raises(Unreachable, match="refused") as caught:
        client.send_json("POST", PATH, {})
    # Nothing was sent, so it was safe to try again.
    assert not caught.value.ambiguous
    assert len(pauses) == 4


def test_a_slow_answer_leaves_a_write_in_doubt(fake):  # noqa: F811
    fake.faults.append(Fault("status", seconds=0.5))
    client = Client(fake.url, Credentials("edge.automation", "pw"), timeout=0.1)
    with pytest.raises(Unreachable, match=r"no answer within 0\.1 s") as caught:
        client.send_json("POST", PATH, {})
    assert caught.value.ambiguous


def test_the_clock_of_the_other_side_is_measured(client):
    client.get_json(PATH)
    assert abs(client.clock_skew) < 2


@pytest.mark.parametrize("url", ["acmetest.service-now.com", "ftp://acme", "https://", "https://me:secret@acme"])
def test_addresses_that_are_none(url):
    with pytest.raises(EdgeError) as caught:
        Client(url, Credentials())
    assert "secret" not in str(caught.value)
