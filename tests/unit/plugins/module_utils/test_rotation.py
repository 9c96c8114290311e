# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys, their usage and their rotation, against a fake instance whose job ends as a test wants it; the lab's instance and proxies rotate for real."""

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._encryption_keys import EncryptionKeys, KeyStays
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials
from ansible_collections.edge_encryption.clone.plugins.module_utils._key_usage import Reader, Scope, scan
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.plugins.module_utils._rotation import FIELDS, JOBS, NotRotated, Rotation, Settings
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

EXECUTIONS, CHUNKS = "sys_encryption_job_execution", "sys_encryption_job_execution_chunk"
TABLES = ("sys_encryption_pattern", "sys_db_object", "sys_encryption_proxy_key", "sys_audit", "sys_attachment", "sys_dictionary")
SECRET = "edge:s:{}:bm9ib2R5LW1heS1zZWUtdGhpcw"


class Side:
    """An instance with an old key and a new default, some values, and a job that a test lets go."""

    def __init__(self, fake, client):  # noqa: F811
        self.fake, self.client = fake, client
        fake.tables.update({table: {} for table in (*TABLES, JOBS, EXECUTIONS, CHUNKS)})
        fake.add("sys_db_object", name=JOBS, super_class="")
        for name, column in FIELDS.items():
            if name.startswith("job_"):
                fake.add("sys_dictionary", name=JOBS, element=column)
        self.old = self.key("old128")
        self.new = self.key("new128")
        self.default = fake.add("sys_encryption_key_configuration", size="128", key=self.new, active="true")
        self.proxy = fake.add("sys_encryption_proxy", name="edge1", online="true")
        for key in (self.old, self.new):
            fake.add("sys_encryption_proxy_key", proxy=self.proxy, key=key)
        fake.add_configuration("incident", "short_description")
        self.values = [fake.add("incident", short_description=SECRET.format("old128"), number=str(number)) for number in range(3)]
        self.script = []  # what happens at each look at the job
        self.looks = 0

    def key(self, alias, status="Available", size="128"):
        return self.fake.add("sys_encryption_key", alias=alias, size=size, type="Keystore", status=status)

    def rotate(self, count=3):
        for sys_id in self.values[:count]:
            self.fake.row("incident", sys_id)["short_description"] = SECRET.format("new128")

    def execution(self, state, done=0, job=None, made="2026-01-01 00:00:00"):
        job = job or next(iter(self.fake.tables[JOBS]))
        return self.fake.add(EXECUTIONS, job=job, state=state, processed=str(done), total="3", sys_created_on=made)

    def sleep(self, seconds):
        self.looks += 1
        assert self.looks < 50, "it waits for ever"
        if self.script:
            self.script.pop(0)()

    def settings(self, **values):
        defaults = dict(
            job_type="mass", alias=None, table=None, name="rotation", start=True, scan_limit=0, audit=True, alias_pattern=None, allow_unknown=False, timeout=5,
            start_timeout=5, poll_interval=0.01, restarts=2, fields={}, states={}, job_types={}, key_fields={}, configuration_fields={},
        )  # fmt: skip
        return Settings(**dict(defaults, **values))

    def run(self, check=False, **values):
        return Rotation(self.client, self.settings(**values), Progress(None, "test"), sleep=self.sleep).run(check)


@pytest.fixture
def side(fake):  # noqa: F811
    with Client(fake.url, Credentials("edge.automation", "pw"), sleep=lambda seconds: None) as client:
        yield Side(fake, client)


def writes(side):
    return [entry for entry in side.fake.requests if entry["method"] != "GET"]


# Keys


def test_keys_and_who_holds_them(side):
    side.fake.add("sys_encryption_proxy", name="edge2", online="true")
    side.fake.add("sys_encryption_proxy", name="gone", online="false")
    (old, new) = sorted(EncryptionKeys(side.client).list(), key=lambda key: key["default"])
    assert (old["alias"], old["available"], old["held_by"], old["lacking"]) == ("old128", True, ["edge1"], ["edge2"])
    assert (new["alias"], new["default"], new["size"]) == ("new128", True, 128)


def test_a_column_of_another_name_is_an_error_and_can_be_said(side):
    for row in side.fake.tables["sys_encryption_key"].values():
        row["u_alias"] = row.pop("alias")
    with pytest.raises(EdgeError, match="alias are not in the answer"):
        EncryptionKeys(side.client).list()
    assert len(EncryptionKeys(side.client, {"alias": "u_alias"}).list()) == 2
    with pytest.raises(EdgeError, match="has nick, which is not known"):
        EncryptionKeys(side.client, {"nick": "u_alias"})


def test_a_key_is_registered_only_in_columns_that_exist(side):
    with pytest.raises(EdgeError, match="has no column alias, size, type"):
        EncryptionKeys(side.client).register("own", 128, "Keystore")
    assert writes(side) == []


def test_waiting_for_a_key_names_the_proxies_that_lack_it(side):
    lonely = side.key("lonely", status="Unavailable")
    keys = EncryptionKeys(side.client, sleep=side.sleep)
    with pytest.raises(EdgeError, match="not held by edge1"):
        keys.wait("lonely", True, 0)
    side.script = [lambda: side.fake.row("sys_encryption_key", lonely).update(status="Available")]
    assert keys.wait("lonely", True, 5)["available"] and side.looks == 1


def test_a_default_is_changed_only_to_an_available_key_of_a_size_with_one_default(side):
    keys = EncryptionKeys(side.client)
    keys.make_default(keys.find("old128"))
    assert side.fake.row("sys_encryption_key_configuration", side.default)["key"] == side.old
    side.key("big", size="256")
    with pytest.raises(EdgeError, match="0 default keys of 256 bits"):
        keys.make_default(keys.find("big"))
    side.key("away", status="Unavailable")
    with pytest.raises(EdgeError, match="cannot be the default"):
        keys.make_default(keys.find("away"))


def test_a_key_in_use_stays(side):
    keys = EncryptionKeys(side.client)
    for alias, why in (("new128", "a default key"), ("old128", "Available")):
        with pytest.raises(KeyStays, match=why):
            keys.forget(keys.find(alias))
    side.fake.row("sys_encryption_key", side.old)["status"] = "Unavailable"
    side.fake.denied["DELETE", "sys_encryption_key"] = (403, "was a default")
    with pytest.raises(KeyStays, match="does not let it be deleted"):
        keys.forget(keys.find("old128"))
    side.fake.denied.clear()
    keys.forget(keys.find("old128"))
    assert keys.find("old128") is None


# Usage


def test_values_are_counted_by_alias_and_never_shown(side):
    side.rotate(1)
    side.fake.add("incident", short_description="", number="4")
    side.fake.add("incident", short_description="clear text of old", number="5")
    side.fake.add("sys_audit", tablename="incident", fieldname="short_description", oldvalue="", newvalue=SECRET.format("old128"))
    side.fake.add("sys_audit", tablename="incident", fieldname="number", oldvalue="1", newvalue="2")
    usage = scan(side.client, Reader(["old128", "new128"], None), Scope()).as_dict()
    assert usage["totals"] == {"old128": 3, "new128": 1} and usage["unknown"] == 1 and usage["complete"]
    assert [(place["table"], place["field"], place["unknown"]) for place in usage["places"]] == [
        ("incident", "short_description", 1), ("sys_audit", "incident.short_description", 0),
    ]  # fmt: skip
    assert "clear text" not in str(usage) and "bm9ib2R5" not in str(usage)


def test_a_sample_is_no_proof(side):
    assert not scan(side.client, Reader(["old128"], None), Scope(limit=2)).complete
    assert scan(side.client, Reader(["old128"], None), Scope(limit=4)).complete


def test_records_that_may_not_be_read_are_an_error(side):
    side.fake.hidden.add(side.values[1])
    with pytest.raises(EdgeError, match="1 of its records may not be read"):
        scan(side.client, Reader(["old128"], None), Scope())


@pytest.mark.parametrize(
    ("value", "alias"),
    [("edge:s:key1:x", "key1"), ("edge:s:key1x:x", "key1x"), ("edge:s:key1xy:x", None), ("akey1", None), ("{key1}x", "key1"), ("no", None)],
)
def test_the_longest_alias_that_stands_alone_counts(value, alias):
    assert Reader(["key1", "key1x"], None).of_text(value) == alias


def test_an_attachment_names_its_key_in_its_beginning():
    reader = Reader(["key1", "key1x"], None)
    assert reader.of_attachment(b"EDGEATT1\x05key1xAB\xff") == "key1x" and reader.of_attachment(b"%PDF" + b" " * 600 + b"key1") is None


@pytest.mark.parametrize(("pattern", "why"), [("(", "is no regular expression"), ("edge", "has no group named alias")])
def test_a_pattern_that_finds_nothing_is_refused(pattern, why):
    with pytest.raises(EdgeError, match=why):
        Reader([], pattern)
    assert Reader([], r"^v1/(?P<alias>\w+)/").of_text("v1/other/x") == "other"


# Rotation


def test_a_rotation_is_started_and_followed_to_its_end(side):
    side.script = [
        lambda: side.execution("Running", 1),
        lambda: (side.rotate(), next(iter(side.fake.tables[EXECUTIONS].values())).update(state="Complete", processed="3")),
    ]
    result = side.run()
    assert result["changed"] and (result["before"], result["remaining"], result["done"], result["total"], result["state"]) == (3, 0, 3, 3, "Complete")
    (job,) = side.fake.tables[JOBS].values()
    assert (job["job_type"], job["run_type"], job["active"]) == ("mass_key_rotation", "once", "true") and job["run_start"]
    before = len(writes(side))
    assert side.run()["changed"] is False and len(writes(side)) == before


def test_nothing_left_is_no_job(side):
    side.rotate()
    result = side.run()
    assert not result["changed"] and result["state"] is None and writes(side) == []


def test_check_mode_counts(side):
    assert side.run(check=True)["changed"] and writes(side) == []


def test_a_job_under_way_is_attached_to_and_not_executed_again(side):
    job = side.fake.add(JOBS, name="rotation", job_type="mass_key_rotation", run_type="once", run_start="", active="true")
    execution = side.execution("in_progress", 2, job)
    side.script = [lambda: (side.rotate(), side.fake.row(EXECUTIONS, execution).update(state="done", processed="3"))]
    assert side.run()["remaining"] == 0 and writes(side) == []


def test_an_interrupted_job_is_executed_again_so_often_and_not_more(side):
    def interrupted():
        side.execution("interrupted", 1, made="2026-01-01 00:00:0{}".format(len(side.fake.tables[EXECUTIONS])))

    side.script = [interrupted] * 3
    with pytest.raises(EdgeError, match="interrupted after 1 of 3 records"):
        side.run(restarts=2)
    assert len([entry for entry in writes(side) if entry["method"] == "PATCH"]) == 3


def test_values_that_a_proxy_left_because_it_did_not_know_the_default_yet(side):
    side.script = [
        lambda: (side.rotate(2), side.execution("complete", 3)),
        lambda: (side.rotate(3), side.execution("complete", 1, made="2026-01-01 00:00:01")),
    ]
    assert side.run()["remaining"] == 0


def test_a_state_that_nobody_knows_is_no_success(side):
    side.script = [lambda: (side.rotate(), side.execution("Sleeping", 3))]
    with pytest.raises(EdgeError, match="'Sleeping', which is not known"):
        side.run()


def test_what_is_said_of_a_state_counts_more_than_what_is_assumed(side):
    side.script = [lambda: (side.rotate(), side.execution("ready", 3))]
    assert side.run(states={"done": ["READY"]})["state"] == "ready"
    with pytest.raises(EdgeError, match="has ended, which is not known"):
        side.run(states={"ended": ["x"]})


def test_records_that_failed_are_named_without_their_values(side):
    def fail():
        side.rotate(2)
        execution = side.execution("complete", 3)
        side.fake.add(CHUNKS, execution=execution, state="Failed", table="incident", record=side.values[2], error="too long: " + "x" * 60)
        side.fake.add(CHUNKS, execution=execution, state="complete", table="", record="", error="")

    side.script = [fail]
    with pytest.raises(NotRotated, match="1 records failed, and 1 values are left under old128") as caught:
        side.run()
    assert caught.value.context["failed_records"] == [{"table": "incident", "sys_id": side.values[2], "reason": "too long: ..."}]


def test_done_without_having_done_it_is_no_success(side):
    side.script = [lambda: side.execution("complete", 3)]
    with pytest.raises(NotRotated, match="0 records failed, and 3 values are left"):
        side.run(restarts=0)


def test_values_without_a_known_key_are_refused_unless_accepted(side):
    side.rotate()
    side.fake.add("incident", short_description="clear", number="9")
    with pytest.raises(NotRotated, match=r"incident.short_description \(1\)"):
        side.run()
    assert not side.run(allow_unknown=True)["changed"]


def test_a_proxy_that_lacks_a_key_is_found_before_the_job_begins(side):
    side.fake.row("sys_encryption_key", side.old)["status"] = "Unavailable"
    with pytest.raises(EdgeError, match="old128: is Unavailable, but every proxy needs it"):
        side.run()
    assert writes(side) == []


@pytest.mark.parametrize(
    ("alias", "why"), [("new128", "is a default key"), ("nowhere", "is not in the list")]
)
def test_a_single_rotation_needs_a_retired_key_of_the_list(side, alias, why):
    with pytest.raises(EdgeError, match=why):
        side.run(job_type="single", alias=alias)


def test_columns_are_looked_up_before_a_job_is_made(side):
    with pytest.raises(EdgeError, match="has no column u_start"):
        side.run(fields={"job_run_start": "u_start"})
    assert writes(side) == []


def test_a_job_of_the_same_name_that_does_something_else(side):
    side.fake.add(JOBS, name="rotation", job_type="order_token_repair", run_type="daily", run_start="", active="true")
    with pytest.raises(EdgeError, match="a job of this name with other job_type"):
        side.run()


def test_an_instance_that_does_not_begin_the_job(side):
    with pytest.raises(EdgeError, match="did not begin the job.*Execute Now"):
        side.run(start_timeout=0)


def test_a_job_that_somebody_else_starts_is_waited_for(side):
    with pytest.raises(EdgeError, match="there is no such job"):
        side.run(start=False)
    side.fake.add(JOBS, name="rotation", job_type="mass_key_rotation", run_type="on_demand", run_start="", active="true")
    side.script = [lambda: (side.rotate(), side.execution("finished", 3))]
    assert side.run(start=False)["remaining"] == 0 and writes(side) == []


def test_a_job_that_takes_too_long_goes_on(side):
    side.script = [lambda: side.execution("running", 1)]
    with pytest.raises(EdgeError, match="1 of 3 records are done. It goes on by itself"):
        side.run(timeout=0)
