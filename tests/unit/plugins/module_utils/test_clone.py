# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json
import time

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import (
    CLEANUP_JOB,
    Ambiguous,
    CloneFailed,
    Clones,
    Follower,
    NoClone,
    TimedOut,
    phase_of,
)
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials, LoginRefused
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import FakeInstance, Fault, fake  # noqa: F401  # pylint: disable=unused-import

BACKUP = "Backup b7 of acmeprod: started 2026-01-02 03:04:05, completed 2026-01-02 03:04:35 (UTC)"


@pytest.fixture
def source(fake):  # noqa: F811
    """A source with an open legacy clone to acmetest, an old one, and one to another target."""
    fake.prod = fake.add("instance", instance_name="acmeprod", production="true")
    fake.test = fake.add("instance", instance_name="acmetest", production="false")
    fake.other = fake.add("instance", instance_name="acmedev", production="false")
    fake.profile = fake.add("clone_profile", name="Edge")
    keep = fake.add("clone_data_preserver", name="Edge properties", table="sys_properties", condition="nameSTARTSWITHedge")
    fake.add("clone_profile_preservers", profile=fake.profile, preserver=keep)
    fake.add("clone_profile_exclusions", profile=fake.profile, exclusion=fake.add("clone_data_exclude", name="sys_attachment"))
    fake.tables["clone_log"] = {}
    fake.clone = add_clone(fake, "CLN2", "Scheduled", profile=fake.profile, scheduled="2026-01-02 10:00:00")
    add_clone(fake, "CLN1", "Completed")
    add_clone(fake, "CLN3", "Scheduled", target_instance=fake.other)
    return fake


@pytest.fixture
def target():
    with FakeInstance("acmetest") as instance:
        instance.tables["sys_trigger"] = {}
        yield instance


def add_clone(fake, number, state, table="clone_instance", **fields):  # noqa: F811
    values = dict(
        state=state,
        target_instance=fake.test,
        source_instance=fake.prod,
        scheduled="",
        started="",
        completed="",
        message="",
        profile="",
        exclude_large_data="true",
        clone_type="backup-based",
    )
    number_field = "clone_id" if table == "clone_instance" else "request_id"
    return fake.add(table, **dict(values, **dict(fields, **{number_field: number})))


def clones_of(fake, **settings):  # noqa: F811
    return Clones(Client(fake.url, Credentials("edge.automation", "pw"), attempts=2, sleep=lambda seconds: None), **settings)


def follower_of(source, target=None, script=(), timeout=100, grace=0, interval=1):
    """A follower whose pauses play the script: one step a pause."""
    steps = list(script)
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if steps:
            steps.pop(0)()

    client = Client(target.url, Credentials("edge.automation", "pw"), attempts=1) if target else None
    follower = Follower(clones_of(source), client, Progress(None, "clone"), timeout, interval, grace, sleep=pause)
    follower.pauses = pauses
    follower.steps = steps
    return follower


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("Draft", "waiting"),
        ("Requested", "waiting"),
        ("Hold", "waiting"),
        ("ACTIVE", "running"),
        ("completed", "completed"),
        ("Canceled", "canceled"),
        ("Error", "failed"),
        ("rolling_back", "failed"),
        ("Rollback-Requested", "failed"),
        ("Rolled back", "failed"),
        ("Complete with warnings", "unknown"),
        ("", "unknown"),
    ],
)
def test_states(state, phase):
    assert phase_of(state) == phase


def test_by_number(source):
    clones = clones_of(source)
    clone = clones.read(clones.find("CLN2", None))
    assert (clone["number"], clone["table"], clone["phase"]) == ("CLN2", "clone_instance", "waiting")
    assert (clone["source"], clone["target"], clone["target_production"]) == ("acmeprod", "acmetest", False)
    assert clone["scheduled"] == "2026-01-02T10:00:00Z" and clone["started"] is None
    assert clone["profile"] == "Edge" and clone["exclusions"] == ["sys_attachment"]
    assert clone["preservers"] == [{"name": "Edge properties", "table": "sys_properties", "condition": "nameSTARTSWITHedge"}]
    assert clone["options"] == {"exclude_large_data": True, "clone_type": "backup-based"}


def test_by_target_only_open_ones_count(source):
    clones = clones_of(source)
    assert clones.find(None, "ACMETEST").sys_id == source.clone
    assert [entry["number"] for entry in clones.candidates] and {entry["number"] for entry in clones.candidates} == {"CLN1", "CLN2"}


def test_the_console_table(source):
    add_clone(source, "ICR7", "Requested", table="sn_instance_clone_request")
    clones = clones_of(source)
    assert clones.find("ICR7", None).table.name == "sn_instance_clone_request"
    with pytest.raises(Ambiguous) as caught:
        clones.find(None, "acmetest")
    assert len(caught.value.context["candidates"]) == 3
    assert clones_of(source, table="clone_instance").find(None, "acmetest").sys_id == source.clone


def test_the_same_number_in_both_tables(source):
    add_clone(source, "CLN2", "Requested", table="sn_instance_clone_request")
    with pytest.raises(Ambiguous):
        clones_of(source).find("CLN2", None)


def test_no_such_number(source):
    with pytest.raises(NoClone, match="no clone of number CLN9"):
        clones_of(source).find("CLN9", None)


def test_no_open_clone(source):
    source.row("clone_instance", source.clone)["state"] = "Completed"
    with pytest.raises(NoClone, match="no open clone to acmetest") as caught:
        clones_of(source).find(None, "acmetest")
    assert {entry["number"] for entry in caught.value.context["candidates"]} == {"CLN1", "CLN2"}


def test_an_unknown_target(source):
    with pytest.raises(NoClone, match="acmedev, acmeprod, acmetest"):
        clones_of(source).find(None, "acmetset")


def test_neither_table_can_be_read(source):
    source.denied[("GET", "clone_instance")] = (403, "Insufficient rights to query records")
    with pytest.raises(NoClone, match="clone_admin"):
        clones_of(source).find("CLN2", None)


def test_a_number_field_of_another_name(source):
    source.unreadable.add(("clone_instance", "clone_id"))
    with pytest.raises(NoClone, match="clone_id"):
        clones_of(source).find("CLN2", None)


def log(fake, *messages):  # noqa: F811
    for message in messages:
        fake.add("clone_log", clone=fake.clone, message=message, sys_created_on="2026-01-02 10:00:00")


def read(fake, **settings):  # noqa: F811
    clones = clones_of(fake, **settings)
    return clones.read(clones.find("CLN2", None))


def test_backup_time(source):
    log(source, "Stage: Backup", BACKUP, "Stage: Restore 40 %")
    clone = read(source)
    assert (clone["backup_started"], clone["backup_completed"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:04:35Z")
    assert clone["backup_unknown_because"] is None
    assert clone["stage"] == "Restore"
    assert clone["log"][0]["time"] == "2026-01-02T10:00:00Z"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "no line"),
        (["Backup started 2026-01-02 03:04:05, completed 2026-01-02 03:04:35"], "no line"),
        ([BACKUP, BACKUP.replace("03:04:35", "03:04:36")], "2 different backups"),
        ([BACKUP.replace("03:04:35", "02:04:36")], "no sense"),
    ],
)
def test_backup_time_that_is_not_known(source, messages, reason):
    log(source, *messages)
    clone = read(source)
    assert clone["backup_completed"] is None
    assert reason in clone["backup_unknown_because"]


def test_backup_time_said_twice_is_no_contradiction(source):
    log(source, BACKUP, BACKUP)
    assert read(source)["backup_completed"]


def test_backup_pattern(source):
    log(source, "restoring from 2026-01-02 03:04:05/2026-01-02 03:04:35 UTC")
    clone = read(source, backup_pattern=r"from (?P<started>\S+ \S+)/(?P<completed>\S+ \S+)")
    assert clone["backup_completed"] == "2026-01-02T03:04:35Z"
    for pattern in ("(", "no groups"):
        with pytest.raises(EdgeError, match="backup_pattern"):
            read(source, backup_pattern=pattern)


def test_a_log_that_may_not_be_read(source):
    source.denied[("GET", "clone_log")] = (403, "Insufficient rights to query records")
    assert "403" in read(source)["backup_unknown_because"]


# Following


def becomes(source, state, **fields):
    return lambda: source.row("clone_instance", source.clone).update(state=state, **fields)


def test_scheduled_and_active_and_completed(source):
    assert follower_of(source).follow("CLN2", None, "scheduled")["state"] == "Scheduled"
    follower = follower_of(source, script=[lambda: None, becomes(source, "Active")])
    assert follower.follow(None, "acmetest", "active")["phase"] == "running"
    assert follower.pauses == [1, 1]
    assert follower_of(source, script=[becomes(source, "completed")]).follow("CLN2", None, "completed")["phase"] == "completed"
    assert follower_of(source).follow("CLN2", None, "scheduled")["phase"] == "completed"


@pytest.mark.parametrize("state", ["Error", "Canceled", "Rolling back"])
def test_a_clone_that_fails(source, state):
    follower = follower_of(source, script=[becomes(source, state, message="disk full")])
    with pytest.raises(CloneFailed, match="disk full") as caught:
        follower.follow("CLN2", None, "completed")
    assert caught.value.context["clone"]["state"] == state


def test_an_unknown_state_is_neither_success_nor_failure(source):
    follower = follower_of(source, script=[becomes(source, "Halfway"), becomes(source, "Completed")])
    assert follower.follow("CLN2", None, "completed")["state"] == "Completed"
    assert "Halfway" in follower.warnings[0]


def test_hold_waits_and_says_why(source):
    source.row("clone_instance", source.clone).update(state="Hold", message="no token")
    with pytest.raises(TimedOut, match="no token"):
        follower_of(source, timeout=2, interval=3).follow("CLN2", None, "active")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset_before", count=4),
        Fault("html", status=200, count=4),
        Fault("status", status=503, count=4),
        Fault("html", status=502, count=4),
        Fault("partial_json", count=4),
        Fault("status", status=429, headers={"Retry-After": "900"}, count=2),
    ],
    ids=lambda fault: "{0.kind}-{0.status}".format(fault),  # pylint: disable=unnecessary-lambda
)
def test_the_source_is_away_for_a_while(source, fault):
    source.faults.append(fault)
    assert follower_of(source).follow("CLN2", None, "scheduled")["state"] == "Scheduled"


def test_a_source_that_refuses_the_login_ends_it(source):
    source.users["edge.automation"] = "other"
    with pytest.raises(LoginRefused):
        follower_of(source).follow("CLN2", None, "scheduled")


def test_ready(source, target):
    """The job appears late, then ends; the target is down and refuses the login meanwhile."""
    job = []
    follower = follower_of(
        source,
        target,
        grace=3600,
        script=[
            becomes(source, "Active"),
            becomes(source, "Completed", completed=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())),
            lambda: target.faults.append(Fault("status", status=503, count=1)),
            lambda: target.users.update({"edge.automation": "source-password"}),
            lambda: None,
            lambda: target.users.update({"edge.automation": "pw"}),
            lambda: job.append(target.add("sys_trigger", name=CLEANUP_JOB, state="0")),
            lambda: None,
            lambda: target.tables["sys_trigger"].clear(),  # pylint: disable=unnecessary-lambda
        ],
    )
    clone = follower.follow("CLN2", None, "ready")
    assert clone["phase"] == "completed"
    assert follower.steps == []
    assert follower.cleanup_running is False


def test_ready_without_a_job_waits_for_the_grace_only(source, target):
    becomes(source, "Completed", completed="2026-01-01 00:00:00")()
    assert follower_of(source, target, grace=60).follow("CLN2", None, "ready")
    becomes(source, "Completed", completed=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()))()
    with pytest.raises(TimedOut, match="may still start"):
        follower_of(source, target, grace=60, timeout=0).follow("CLN2", None, "ready")


def test_tries_become_rare_while_the_target_refuses_the_login(source, target):
    becomes(source, "Completed", completed="2026-01-01 00:00:00")()
    target.users["edge.automation"] = "other"
    follower = follower_of(
        source, target, script=[lambda: None] * 6 + [lambda: target.users.update({"edge.automation": "pw"})], interval=10
    )
    follower.timeout = 10000
    follower.follow("CLN2", None, "ready")
    assert follower.pauses == [20, 40, 80, 160, 300, 300, 300]


def test_ready_needs_the_right_target(source, target):
    becomes(source, "Completed", completed="2026-01-01 00:00:00")()
    target.tables["sys_properties"].clear()
    target.add("sys_properties", name="instance_name", value="acmedev")
    with pytest.raises(TimedOut, match="calls itself acmedev"):
        follower_of(source, target, timeout=0).follow("CLN2", None, "ready")


def test_jobs_that_may_not_be_seen(source, target):
    becomes(source, "Completed", completed="2026-01-01 00:00:00")()
    target.hidden.add(target.add("sys_trigger", name=CLEANUP_JOB, state="0"))
    with pytest.raises(EdgeError, match="sys_trigger"):
        follower_of(source, target).follow("CLN2", None, "ready")


def test_progress_lines(source, tmp_path):
    path = tmp_path / "progress"
    follower = follower_of(source, script=[becomes(source, "Active"), lambda: None, becomes(source, "Completed")])
    follower.progress = Progress(str(path), "clone")
    follower.follow("CLN2", None, "completed")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["state"] for line in lines] == ["Scheduled", "Active", "Completed"]
    assert set(lines[0]) == {"step", "state", "stage", "done", "total", "unit", "bytes", "seconds"}


# What the target holds


@pytest.mark.parametrize(
    ("state", "fields", "messages", "holds"),
    [
        ("Scheduled", {}, [], "untouched"),
        ("Canceled", {"started": ""}, [], "untouched"),
        ("Canceled", {"started": "2026-01-02 10:00:00"}, [], "unknown"),
        ("Canceled", {"started": "2026-01-02 10:00:00"}, ["Stage started: Restore"], "untouched"),
        ("Error", {"started": "2026-01-02 10:00:00"}, ["Stage started: Preservers", "Stage Preservers failed"], "untouched"),
        ("Error", {"started": "2026-01-02 10:00:00"}, ["Stage started: Preservers", "Stage started: Node repoint"], "unknown"),
        ("Error", {"started": "2026-01-02 10:00:00"}, ["Stage started: Post Clone"], "replaced"),
        ("Error", {"started": "2026-01-02 10:00:00", "stage": "Node repoint"}, ["Stage started: Restore"], "unknown"),
        ("Error", {"started": "2026-01-02 10:00:00", "completed": "2026-01-02 12:00:00"}, ["Stage started: Restore"], "unknown"),
        ("Error", {}, [], "untouched"),
        ("Active", {"started": "2026-01-02 10:00:00"}, ["Stage started: Restore"], "untouched"),
        ("Wobbling", {"started": "2026-01-02 10:00:00"}, ["Stage started: Restore"], "unknown"),
        ("Completed", {}, [], "replaced"),
        ("Rolling back", {}, ["Stage started: Restore"], "unknown"),
        ("Rollback failure", {}, [], "unknown"),
        ("rolled_back", {}, [], "rolled_back"),
    ],
)
def test_what_the_target_holds(source, state, fields, messages, holds):
    source.row("clone_instance", source.clone).update(fields, state=state)
    log(source, *messages)
    clone = read(source)
    assert clone["target_data"] == holds
    assert clone["cancelable"] is (state in ("Scheduled", "Active"))


def test_without_a_log_nothing_is_proven(source):
    source.row("clone_instance", source.clone).update(state="Error", stage="Restore", started="2026-01-02 10:00:00")
    assert read(source)["target_data"] == "untouched"
    source.denied[("GET", "clone_log")] = (403, "Insufficient rights to query records")
    assert read(source)["target_data"] == "unknown"


def test_how_long_it_can_be_rolled_back(source):
    assert read(source)["roll_back_until"] is None
    source.row("clone_instance", source.clone).update(state="Completed", completed="2026-01-30 23:30:00")
    clone = read(source)
    assert (clone["roll_back_until"], clone["roll_back_until_if_sharded"]) == ("2026-02-06T23:30:00Z", "2026-02-01T23:30:00Z")
