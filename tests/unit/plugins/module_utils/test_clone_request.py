# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import NoClone
from ansible_collections.edge_encryption.clone.plugins.module_utils._clone_request import RequestRefused, Requests, Wanted
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

START = "2026-03-01 22:00:00"
WANTED = Wanted("acmetest", scheduled=START, profile="Edge", email="a@example.com", options={"preserve_theme": "true"})


@pytest.fixture
def source(fake):  # noqa: F811
    """A source that has never been cloned."""
    fake.row("sys_properties", next(iter(fake.tables["sys_properties"])))["value"] = "acmeprod"
    fake.prod = fake.add("instance", instance_name="acmeprod", production="true")
    fake.test = fake.add("instance", instance_name="acmetest", production="false")
    fake.profile = fake.add("clone_profile", name="Edge")
    for table in ("clone_instance", "clone_log", "clone_profile_preservers", "clone_profile_exclusions", "clone_data_preserver", "clone_data_exclude"):
        fake.tables.setdefault(table, {})
    fake.becomes = {"state": "Scheduled"}
    return fake


@pytest.fixture
def requests_of(source):
    """Requests on it, whose instance looks at a request during the first pause."""

    def decide(_seconds):
        for row in source.tables["clone_instance"].values():
            if row["state"] == "Requested":
                row.update(source.becomes)

    def make(**settings):
        return Requests(Client(source.url, Credentials("edge.automation", "pw"), attempts=2, sleep=lambda seconds: None), sleep=decide, **settings)

    return make


def add_clone(source, state, **fields):
    values = dict(clone_id="CLN1", source_instance=source.prod, scheduled=START, started="", completed="", message="", profile=source.profile,
                  email="a@example.com", preserve_theme="true", target_instance=source.test)  # fmt: skip
    return source.add("clone_instance", state=state, **dict(values, **fields))


def clones(source):
    return list(source.tables["clone_instance"].values())


def number_requests(source):
    """What the instance does with a new row."""
    write = source.add

    def add(into, **fields):
        more = dict(clone_id="CLN7", source_instance=source.prod, started="", completed="", message="") if into == "clone_instance" else {}
        return write(into, **dict(more, **fields))

    source.add = add


def test_a_request_is_a_draft_first_and_read_back(source, requests_of):
    number_requests(source)
    changed, clone, values = requests_of().request(WANTED)
    assert changed and (clone["number"], clone["state"], clone["profile"]) == ("CLN7", "Scheduled", "Edge")
    assert values == {"target_instance": source.test, "scheduled": START, "profile": source.profile, "email": "a@example.com", "preserve_theme": "true"}
    writes = [entry["body"] for entry in source.requests if entry["method"] in ("POST", "PATCH")]
    assert b'"state": "Draft"' in writes[0] and writes[1] == b'{"state": "Requested"}' and len(writes) == 2


def test_an_open_clone_with_these_settings_is_taken(source, requests_of):
    add_clone(source, "Scheduled")
    changed, clone, _values = requests_of().request(WANTED)
    assert not changed and clone["number"] == "CLN1"
    assert {method for method, _path in source.paths()} == {"GET"}
    assert not requests_of().request(WANTED._replace(scheduled=None, start_in=60))[0]


@pytest.mark.parametrize(
    ("other", "names"),
    [(WANTED._replace(email="b@example.com"), "email"), (WANTED._replace(scheduled="2026-03-02 22:00:00"), "scheduled"),
     (WANTED._replace(options={"preserve_theme": "false"}), "preserve_theme"), (WANTED._replace(options={"unknown": "1"}), "unknown")],
)  # fmt: skip
def test_an_open_clone_with_other_settings_is_refused(source, requests_of, other, names):
    add_clone(source, "Scheduled")
    with pytest.raises(RequestRefused, match="CLN1.*open with other settings: " + names):
        requests_of().request(other)


def test_an_interrupted_request_is_completed(source, requests_of):
    add_clone(source, "Draft")
    assert requests_of().request(WANTED, check=True)[0] and clones(source)[0]["state"] == "Draft"
    changed, clone, _values = requests_of().request(WANTED)
    assert changed and clone["state"] == "Scheduled" and len(clones(source)) == 1


def test_an_unknown_column_leaves_nothing_behind(source, requests_of):
    number_requests(source)
    source.drop.add(("clone_instance", "backup_kind"))
    with pytest.raises(RequestRefused, match="columns backup_kind were not stored.*nothing is requested"):
        requests_of().request(WANTED._replace(options={"backup_kind": "on_demand"}))
    assert clones(source) == []


def test_check_mode_writes_nothing(source, requests_of):
    changed, clone, values = requests_of().request(WANTED, check=True)
    assert changed and clone["number"] == "" and clone["profile"] == "Edge" and clone["options"] == {"preserve_theme": True} and values["scheduled"] == START
    assert {method for method, _path in source.paths()} == {"GET"}


def test_a_hold_says_why(source, requests_of):
    number_requests(source)
    source.becomes = {"state": "Hold", "message": "The target has not been authenticated"}
    with pytest.raises(RequestRefused, match="holds it back: The target has not been authenticated"):
        requests_of().request(WANTED)
    with pytest.raises(RequestRefused, match="holds it back"):
        requests_of().request(WANTED)
    assert len(clones(source)) == 1


def test_a_draft_that_stays_one(source, requests_of):
    number_requests(source)
    source.write = lambda *_arguments: None
    with pytest.raises(RequestRefused, match="stays a draft"):
        requests_of(timeout=0).request(WANTED)


@pytest.mark.parametrize(("production", "message"), [("true", "is down as a production instance"), ("", "not down as a non-production")])
def test_production_is_refused(source, requests_of, production, message):
    source.row("instance", source.test)["production"] = production
    with pytest.raises(RequestRefused, match=message):
        requests_of().request(WANTED)
    assert clones(source) == []


def test_the_source_itself_is_refused(source, requests_of):
    source.row("instance", source.prod)["production"] = "false"
    with pytest.raises(RequestRefused, match="is the source itself"):
        requests_of().request(WANTED._replace(target="acmeprod"))


def test_an_unknown_target_or_profile(source, requests_of):
    with pytest.raises(NoClone, match="acmeprod, acmetest"):
        requests_of().request(WANTED._replace(target="acmetset"))
    with pytest.raises(RequestRefused, match="Egde"):
        requests_of().request(WANTED._replace(profile="Egde"))


@pytest.mark.parametrize(
    ("state", "started", "refused"),
    [("Completed", "2026-02-25 22:00:00", True), ("Completed", "2026-02-24 21:59:59", False), ("Canceled", "2026-02-28 22:00:00", False),
     ("Error", "2026-02-28 22:00:00", False), ("Rolled back", "2026-02-28 22:00:00", True)],
)  # fmt: skip
def test_five_days_between_two_clones_of_a_target(source, requests_of, state, started, refused):
    add_clone(source, state, scheduled=started, started=started)
    if refused:
        with pytest.raises(RequestRefused, match="clone CLN1 .*must be 5 days apart"):
            requests_of().request(WANTED, check=True)
    requests_of(min_days=0 if refused else 5).request(WANTED, check=True)


def test_cancel(source, requests_of):
    sys_id = add_clone(source, "Scheduled")
    assert requests_of().cancel("CLN1", check=True)[0] and clones(source)[0]["state"] == "Scheduled"
    changed, clone = requests_of().cancel("CLN1")
    assert changed and clone["state"] == source.row("clone_instance", sys_id)["state"] == "Canceled"
    assert not requests_of().cancel("CLN1")[0]


def test_no_number_cancels_no_clone(source, requests_of):
    add_clone(source, "Scheduled")
    with pytest.raises(EdgeError, match="neither a number nor a target"):
        requests_of().cancel("")
    assert clones(source)[0]["state"] == "Scheduled"


def test_no_cancel_from_the_node_repoint_on(source, requests_of):
    add_clone(source, "Active", started=START, stage="Node repoint")
    with pytest.raises(RequestRefused, match="until the stage Node repoint"):
        requests_of().cancel("CLN1")
    assert clones(source)[0]["state"] == "Active"
