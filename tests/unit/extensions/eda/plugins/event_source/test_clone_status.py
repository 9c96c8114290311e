# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source clone_status with its real client, against an instance that is a real server on the loopback."""

import asyncio
import http.server
import json
import re
import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.edge_encryption.clone.extensions.eda.plugins.event_source import clone_status
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import seconds_of
from ansible_collections.edge_encryption.clone.tests.unit.extensions.eda.plugins.event_source.watching import Killed, dies, warnings, watch
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import Fault, fake  # noqa: F401  # pylint: disable=unused-import

SECRET = "pw-of-the-source"
HOUR = 3600


def utc(seconds_from_now):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + seconds_from_now))


@pytest.fixture
def source(fake):  # noqa: F811
    """A source that has two targets, and no clone yet."""
    fake.users["edge.automation"] = SECRET
    fake.prod = fake.add("instance", instance_name="acmeprod", production="true")
    fake.test = fake.add("instance", instance_name="acmetest", production="false")
    fake.other = fake.add("instance", instance_name="acmedev", production="false")
    fake.tables["clone_instance"], fake.tables["clone_log"] = {}, {}
    return fake


@pytest.fixture
def args(source, tmp_path):
    # The console's table is not there, as on older releases.
    return {"instance": source.instance, "target": "acmetest", "interval": 0.02, "cursor": str(tmp_path / "cursor.json"), "stop_lead": 600, "notice": 300}


def add(source, number, state, scheduled=2 * HOUR, **fields):
    values = dict(state=state, target_instance=source.test, source_instance=source.prod, scheduled=utc(scheduled) if scheduled is not None else "",
                  started="", completed="", message="", profile="", stage="")  # fmt: skip
    return source.add("clone_instance", clone_id=number, **dict(values, **fields))


def told(event):
    return event["clone"]["number"], event["happened"]


def begin(args):
    """Start once, so that a cursor is there: what comes later is new."""

    async def script(feed):
        await feed.none_while(lambda: not Path(args["cursor"]).exists())

    watch(clone_status.main, args, script)


# Each change once


def test_each_change_of_a_clone_is_told_once(source, args):
    async def script(feed):
        await feed.quiet(source)
        clone = source.row("clone_instance", add(source, "CLN1", "Requested", scheduled=None))
        seen = [await feed.next()]
        await feed.quiet(source)
        clone.update(state="Scheduled", scheduled=utc(2 * HOUR))
        seen.append(await feed.next())
        await feed.quiet(source)
        clone.update(state="Active", started=utc(0), stage="Restore")
        seen += [await feed.next(), await feed.next()]
        await feed.quiet(source)
        clone.update(state="Completed", completed=utc(0), stage="Post Clone")
        seen.append(await feed.next())
        await feed.quiet(source)
        return seen

    events = watch(clone_status.main, args, script)
    assert [told(event) for event in events] == [("CLN1", each) for each in ("waiting", "scheduled", "started", "due", "completed")]
    assert [event["known"] for event in events] == [False, True, True, True, True]
    assert [event["again"] for event in events] == [False] * 5
    assert [event["due"] for event in events] == [False, False, True, True, False]
    assert events[0]["previous"] is None and events[1]["previous"] == {"state": "Requested", "scheduled": None}
    assert len({event["id"] for event in events}) == 5
    clone = events[2]["clone"]
    assert {name: clone[name] for name in ("number", "table", "state", "phase", "stage", "source", "target", "target_production", "target_data")} == {
        "number": "CLN1", "table": "clone_instance", "state": "Active", "phase": "running", "stage": "Restore", "source": "acmeprod", "target": "acmetest",
        "target_production": False, "target_data": "untouched",
    }  # fmt: skip
    assert seconds_of(events[1]["clone"]["scheduled"]) - seconds_of(events[1]["stop_at"]) == 600


def test_clones_to_another_target_are_none_of_its_business(source, args):
    async def script(feed):
        add(source, "CLN1", "Scheduled", target_instance=source.other)
        await feed.quiet(source)
        add(source, "CLN2", "Scheduled")
        return await feed.next()

    assert told(watch(clone_status.main, args, script)) == ("CLN2", "scheduled")


def test_a_clone_of_the_console_is_told_by_its_own_number(source, args):
    async def script(feed):
        source.add("sn_instance_clone_request", request_id="CR7", state="Scheduled", target_instance=source.test, scheduled=utc(HOUR), started="", completed="")
        return await feed.next()

    source.tables["sn_instance_clone_request"], source.tables["sn_instance_clone_log"] = {}, {}
    event = watch(clone_status.main, dict(args, table="sn_instance_clone_request"), script)
    assert told(event) == ("CR7", "scheduled") and event["clone"]["table"] == "sn_instance_clone_request"


def test_what_ended_long_ago_is_left_alone_the_first_time(source, args):
    async def script(feed):
        seen = [await feed.next(), await feed.next()]
        await feed.quiet(source)
        return seen

    add(source, "CLN1", "Completed", -9 * 24 * HOUR, completed=utc(-9 * 24 * HOUR))
    add(source, "CLN2", "Canceled", -30 * HOUR)
    add(source, "CLN3", "Completed", -3 * HOUR, completed=utc(-2 * HOUR))
    add(source, "CLN4", "Scheduled")
    events = watch(clone_status.main, args, script)
    assert sorted((*told(event), event["known"]) for event in events) == [("CLN3", "completed", False), ("CLN4", "scheduled", False)]


def test_a_clone_that_came_and_ended_while_nobody_looked_is_told_as_unknown(source, args):
    begin(args)
    add(source, "CLN1", "Completed", -50 * HOUR, completed=utc(-48 * HOUR))
    event = watch(clone_status.main, args, lambda feed: feed.next())
    assert (*told(event), event["known"]) == ("CLN1", "completed", False)


@pytest.mark.parametrize(("state", "stage", "log", "target_data"), [
    ("Canceled", "Preservers", ["Preservers"], "untouched"), ("Error", "Post Clone", ["Post Clone"], "replaced"), ("Rolled back", "", [], "rolled_back"),
])  # fmt: skip
def test_a_clone_that_ended_early_says_what_its_target_holds(source, args, state, stage, log, target_data):
    clone = add(source, "CLN1", "Active", -60, started=utc(-60))

    async def script(feed):
        assert [told(await feed.next()) for dummy in range(2)] == [("CLN1", "started"), ("CLN1", "due")]
        for line in log:
            source.add("clone_log", clone=clone, message=line, sys_created_on=utc(-30))
        source.row("clone_instance", clone).update(state=state, stage=stage, message="because")
        event = await feed.next()
        await feed.quiet(source)
        return event

    event = watch(clone_status.main, args, script)
    assert event["happened"] == "ended" and event["clone"]["target_data"] == target_data and event["clone"]["message"] == "because"
    assert not event["due"] and not event["late"]


def test_a_state_that_is_not_documented_is_told_as_unknown(source, args):
    add(source, "CLN1", "Dreaming")
    event = watch(clone_status.main, args, lambda feed: feed.next())
    assert told(event) == ("CLN1", "unknown") and not event["due"]


def test_an_open_clone_that_is_listed_no_more_is_told_once(source, args):
    clone = add(source, "CLN1", "Scheduled")

    async def script(feed):
        await feed.next()
        del source.tables["clone_instance"][clone]
        event = await feed.next()
        await feed.quiet(source)
        return event

    event = watch(clone_status.main, args, script)
    assert told(event) == ("CLN1", "gone") and not event["due"]


def test_what_may_not_be_read_any_more_is_not_gone(source, args, caplog):
    clone = add(source, "CLN1", "Scheduled")

    async def script(feed):
        await feed.next()
        source.hidden.add(clone)
        await feed.quiet(source)

    watch(clone_status.main, args, script)
    assert any("clones are hidden by access rules" in line for line in warnings(caplog))


# The moment to stop


def test_the_stop_is_told_when_it_is_due_without_a_look(source, args):
    add(source, "CLN1", "Scheduled", 102)
    args.update(stop_lead=60, notice=40, interval=30)

    async def script(feed):
        first, asked = await feed.next(), len(source.requests)
        second = await feed.next()
        assert len([path for dummy, path in source.paths()[asked:] if path.endswith("clone_instance")]) == 0
        return first, second, time.time()

    first, second, at = watch(clone_status.main, args, script)
    assert (told(first), first["due"]) == (("CLN1", "scheduled"), False) and (told(second), second["due"], second["late"]) == (("CLN1", "due"), True, False)
    stop = seconds_of(second["stop_at"])
    assert stop == seconds_of(second["clone"]["scheduled"]) - 60 and -2 <= at - (stop - 40) <= 3


def test_a_clone_that_has_started_is_due_and_late_at_once(source, args):
    add(source, "CLN1", "Active", -100, started=utc(-100))

    async def script(feed):
        seen = [await feed.next(), await feed.next()]
        await feed.quiet(source)
        return seen

    started, due = watch(clone_status.main, args, script)
    assert told(started) == ("CLN1", "started") and told(due) == ("CLN1", "due")
    assert due["late"] and 695 <= due["late_s"] <= 710


def test_a_stop_that_was_told_in_time_is_not_late_when_the_clone_starts(source, args):
    clone = source.row("clone_instance", add(source, "CLN1", "Scheduled", 800))

    async def script(feed):
        seen = [await feed.next(), await feed.next()]
        clone.update(state="Active", started=utc(0))
        seen.append(await feed.next())
        await feed.quiet(source)
        return seen

    events = watch(clone_status.main, args, script)
    assert [event["happened"] for event in events] == ["scheduled", "due", "started"]
    assert [(event["due"], event["late"]) for event in events] == [(True, False)] * 3


def test_a_stop_that_is_told_too_late_before_the_start_says_so(source, args):
    add(source, "CLN1", "Scheduled", 300)

    async def script(feed):
        return [await feed.next(), await feed.next()]

    dummy, due = watch(clone_status.main, args, script)
    assert due["late"] and 295 <= due["late_s"] <= 310


def test_a_start_that_was_put_off_is_another_moment(source, args):
    clone = source.row("clone_instance", add(source, "CLN1", "Scheduled", 700))

    async def script(feed):
        seen = [await feed.next(), await feed.next()]
        clone["scheduled"] = utc(5 * HOUR)
        seen.append(await feed.next())
        await feed.quiet(source)
        clone["scheduled"] = utc(650)
        seen += [await feed.next(), await feed.next()]
        clone["scheduled"] = utc(640)  # the run that waits for it sees that itself
        seen.append(await feed.next())
        await feed.quiet(source)
        return seen

    events = watch(clone_status.main, args, script)
    assert [(event["happened"], event["due"]) for event in events] == [
        ("scheduled", True), ("due", True), ("scheduled", False), ("scheduled", True), ("due", True), ("scheduled", True),
    ]  # fmt: skip
    assert events[2]["previous"]["scheduled"] == events[1]["clone"]["scheduled"]


@pytest.mark.parametrize("state", ["Hold", "Draft", "Requested"])
def test_a_clone_that_will_not_start_by_itself_is_never_due(source, args, state):
    add(source, "CLN1", state, 10)

    async def script(feed):
        event = await feed.next()
        await feed.quiet(source)
        return event

    assert told(watch(clone_status.main, args, script)) == ("CLN1", "waiting")


def test_the_clock_of_the_source_counts(source, args, monkeypatch):
    """A source whose clock is an hour ahead starts the clone an hour before this machine would say so."""
    real = http.server.BaseHTTPRequestHandler.date_time_string
    monkeypatch.setattr(http.server.BaseHTTPRequestHandler, "date_time_string", lambda self, timestamp=None: real(self, time.time() + HOUR))
    add(source, "CLN1", "Scheduled", HOUR + 700)

    async def script(feed):
        return [await feed.next(), await feed.next()]

    events = watch(clone_status.main, args, script)
    assert [event["happened"] for event in events] == ["scheduled", "due"]
    assert abs(seconds_of(events[0]["seen"]) - time.time() - HOUR) < 5


# Restarts


class Queue(asyncio.Queue):
    """A queue; the process is killed once so many events are on it, before anything else happens."""

    def __init__(self, deadly):
        super().__init__()
        self.deadly = deadly

    async def put(self, item):
        await super().put(item)
        if self.qsize() == self.deadly:
            raise Killed


def on_queue(queue):
    return [queue.get_nowait() for dummy in range(queue.qsize())]


def test_killed_between_queue_and_cursor_nothing_is_lost(source, args):
    add(source, "CLN1", "Scheduled")
    add(source, "CLN2", "Completed", -9 * 24 * HOUR, completed=utc(-9 * 24 * HOUR))

    async def run():
        queue = Queue(deadly=1)
        with pytest.raises(Killed):
            await clone_status.main(queue, dict(args))
        return on_queue(queue)

    (first,) = asyncio.run(run())

    async def script(feed):
        event = await feed.next()
        await feed.quiet(source)
        return event

    again = watch(clone_status.main, args, script)
    assert again["id"] == first["id"] and told(again) == ("CLN1", "scheduled")


def test_after_a_restart_the_last_event_comes_again_and_no_older_one(source, args):
    clone = source.row("clone_instance", add(source, "CLN1", "Requested"))
    for number in range(5, 9):
        add(source, f"CLN{number}", "Completed", -9 * 24 * HOUR, completed=utc(-9 * 24 * HOUR))

    async def first(feed):
        await feed.next()
        clone["state"] = "Scheduled"
        event = await feed.next()
        await feed.quiet(source)
        return event

    async def second(feed):
        event = await feed.next()
        await feed.quiet(source)
        return event

    before = watch(clone_status.main, args, first)
    after = watch(clone_status.main, args, second)
    assert before["happened"] == "scheduled" and after == dict(before, again=True)
    assert watch(clone_status.main, args, second) == after


def test_what_changed_during_a_restart_is_told_instead(source, args):
    clone = source.row("clone_instance", add(source, "CLN1", "Active", -60, started=utc(-60)))

    async def first(feed):
        assert [told(await feed.next()) for dummy in range(2)] == [("CLN1", "started"), ("CLN1", "due")]
        await feed.quiet(source)

    async def second(feed):
        event = await feed.next()
        await feed.quiet(source)
        return event

    watch(clone_status.main, args, first)
    clone.update(state="Completed", completed=utc(0))
    event = watch(clone_status.main, args, second)
    assert told(event) == ("CLN1", "completed") and not event["again"] and event["known"]
    assert watch(clone_status.main, args, second) == dict(event, again=True)
    # What ended long enough ago is at rest.
    watch(clone_status.main, dict(args, repeat_for=0), lambda feed: feed.quiet(source))


def test_after_a_restart_the_stop_is_told_though_the_source_does_not_answer(source, args):
    add(source, "CLN1", "Scheduled", 903)

    async def script(feed):
        await feed.next()
        await feed.quiet(source)

    watch(clone_status.main, args, script)
    source.faults.append(Fault("html", status=503, count=None))
    event = watch(clone_status.main, args, lambda feed: feed.next())
    assert told(event) == ("CLN1", "due") and not event["late"]


def test_the_cursor_is_private_and_holds_no_secret(source, args):
    add(source, "CLN1", "Scheduled")
    watch(clone_status.main, args, lambda feed: feed.next())
    cursor = Path(args["cursor"])
    assert oct(cursor.stat().st_mode & 0o777) == "0o600"
    assert SECRET not in cursor.read_text() and json.loads(cursor.read_text())["about"] == {"instance": source.url, "clones to": "acmetest"}
    assert [path.name for path in cursor.parent.iterdir()] == [cursor.name]


def test_a_look_without_news_writes_nothing(source, args):
    add(source, "CLN1", "Scheduled")

    async def script(feed):
        await feed.next()
        await feed.quiet(source)
        before = Path(args["cursor"]).stat()
        await feed.quiet(source)
        assert Path(args["cursor"]).stat().st_ino == before.st_ino

    watch(clone_status.main, args, script)


# What it survives


@pytest.mark.parametrize(("fault", "said"), [
    (Fault("reset_before", count=4), "the connection failed"),
    (Fault("html", status=503, count=4), "the answer was 503"),
    (Fault("html", status=200, count=4), "is a page instead of JSON"),
    (Fault("html", status=200, body="<html>Instance Hibernating page</html>", count=4), "the instance hibernates"),
    (Fault("partial_json", count=4), "damaged or cut off"),
    (Fault("status", status=500, count=4), "the answer was 500"),
    (Fault("status", status=429, count=4), "the answer was 429"),
])  # fmt: skip
@pytest.mark.parametrize("at_first", [True, False])
def test_what_passes_is_survived_and_said_once(source, args, caplog, fault, said, at_first):
    fault.count = 4
    if at_first:
        source.faults.append(fault)

    async def script(feed):
        await feed.none_while(lambda: not Path(args["cursor"]).exists())
        if not at_first:
            source.faults.append(fault)
            await feed.none_while(lambda: fault.count > 0)
        add(source, "CLN1", "Scheduled")
        return await feed.next()

    assert told(watch(clone_status.main, args, script)) == ("CLN1", "scheduled")
    lines = [line for line in warnings(caplog) if said in line]
    assert len(lines) == 1 and "The next look is in" in lines[0]
    assert "It answers again." in warnings(caplog)
    assert SECRET not in caplog.text


def test_a_rate_limit_is_kept_to_and_time_goes_on(source, args):
    """Nothing is asked for as long as the instance wants it, but the moment to stop is told."""
    add(source, "CLN1", "Scheduled", 903)
    limit = Fault("status", status=429, headers={"Retry-After": "30"}, count=None)

    async def script(feed):
        assert told(await feed.next()) == ("CLN1", "scheduled")
        source.faults.append(limit)
        asked = len(source.requests)
        await feed.none_while(lambda: len(source.requests) == asked)
        event = await feed.next()
        return event, len(source.requests) - asked

    event, asked = watch(clone_status.main, args, script)
    assert told(event) == ("CLN1", "due") and asked <= 2


def test_a_rate_limit_of_a_second_lasts_a_second(source, args):
    source.faults.append(Fault("status", status=429, headers={"Retry-After": "1"}))
    add(source, "CLN1", "Scheduled")
    began = time.monotonic()
    watch(clone_status.main, args, lambda feed: feed.next())
    assert time.monotonic() - began >= 1


def test_a_token_that_expired_is_replaced(source, args):
    source.clients["id"] = "client secret"
    args["instance"] = {"host": source.url, "client_id": "id", "client_secret": "client secret", "grant_type": "client_credentials"}

    async def script(feed):
        await feed.quiet(source)
        source.tokens.clear()
        await feed.quiet(source)
        add(source, "CLN1", "Scheduled")
        return await feed.next()

    assert told(watch(clone_status.main, args, script)) == ("CLN1", "scheduled")


# What it does not survive


def test_a_wrong_password_ends_it_after_one_try(source, args):
    args["instance"] = dict(args["instance"], password="wrong-one")
    said = dies(clone_status.main, args)
    assert said.startswith("LoginRefused") and "the login was refused (401). Check user edge.automation" in said
    assert "wrong-one" not in said and len(source.requests) == 1


def test_a_login_that_is_refused_later_ends_it(source, args):
    async def script(feed):
        await feed.quiet(source)
        source.users["edge.automation"] = "another"
        await feed.next()

    with pytest.raises(Exception, match="the login was refused"):
        watch(clone_status.main, args, script)


def test_an_unknown_target_ends_it(source, args):
    assert "acmetset: is no instance that" in dies(clone_status.main, dict(args, target="acmetset"))


def test_tables_that_cannot_be_read_end_it(source, args):
    source.denied[("GET", "clone_instance")] = (403, "Operation Failed")
    assert "no table of clones can be read" in dies(clone_status.main, args)


def test_a_number_that_is_none_ends_it(source, args):
    """It would become a variable of a playbook and the name of a folder."""
    add(source, "{{ lookup('pipe', 'id') }}", "Scheduled")
    assert "is none. Somebody should look" in dies(clone_status.main, args)


def test_text_of_the_instance_is_no_template(source, args):
    add(source, "CLN1", "Hold", message="{{ 7 * 7 }} {% if %} {# x #} {{{ y }}}")
    event = watch(clone_status.main, args, lambda feed: feed.next())
    assert event["clone"]["message"] == "{ { 7 * 7 }} { % if %} { # x #} { { { y }}}"


@pytest.mark.parametrize(("wrong", "said"), [
    ({"target": None}, "target"),
    ({"cursor": None}, "cursor"),
    ({"targets": "acmetest"}, "has targets, which is not known. Use cursor, instance, interval, notice, repeat_for, stop_lead, table, target."),
    ({"instance": "https://acmeprod"}, "instance: it is no dictionary"),
    ({"instance": {"hots": "x"}}, "instance: has hots, which is not known"),
    ({"instance": {"host": "acmeprod", "username": "u", "password": SECRET}}, "acmeprod: is no address"),
    ({"instance": {"username": "u", "password": SECRET}}, "it lacks host. Or set SN_HOST"),
    ({"table": "clone_history"}, "table"),
    ({"interval": 0}, "interval: it must be more than 0"),
    ({"stop_lead": "ten minutes"}, "stop_lead"),
    ({"cursor": "/nowhere/cursor.json"}, "its folder is not there or cannot be written to"),
])  # fmt: skip
def test_wrong_arguments_end_it(args, wrong, said):
    answer = dies(clone_status.main, {name: value for name, value in {**args, **wrong}.items() if value is not None})
    assert said in answer and SECRET not in answer


@pytest.mark.parametrize(("content", "said"), [
    ("{", "is no cursor"), ("[]", "is no cursor"), ('{"format": 9, "about": {}, "memory": {}}', "another format"),
    ('{"format": 1, "about": {"clones to": "acmedev"}, "memory": {}}', "it is about clones to acmedev, not about clones to acmetest, instance http"),
])  # fmt: skip
def test_a_cursor_of_something_else_ends_it_and_stays(args, content, said):
    Path(args["cursor"]).write_text(content)
    assert said in dies(clone_status.main, args)
    assert Path(args["cursor"]).read_text() == content


def test_what_is_missing_comes_from_the_environment(source, args, monkeypatch):
    for name, value in {"SN_HOST": source.url, "SN_USERNAME": "edge.automation", "SN_PASSWORD": SECRET}.items():
        monkeypatch.setenv(name, value)
    add(source, "CLN1", "Scheduled")
    given = {name: value for name, value in args.items() if name != "instance"}
    assert told(watch(clone_status.main, given, lambda feed: feed.next())) == ("CLN1", "scheduled")


def test_what_ansible_rulebook_adds_is_no_argument(source, args):
    add(source, "CLN1", "Scheduled")
    watch(clone_status.main, dict(args, feedback=True, eda_feedback_queue=asyncio.Queue()), lambda feed: feed.next())


# Documentation


def test_the_documentation_lists_options_and_fields(source, args):
    documentation = yaml.safe_load(clone_status.DOCUMENTATION)
    assert set(documentation["options"]) == {*clone_status.SPEC, "instance", "interval", "cursor"}
    for name, option in clone_status.SPEC.items():
        said = documentation["options"][name]
        assert {key: said.get(key) for key in option} == option, name
    assert set(instance_spec()["options"]) >= set(yaml.safe_load(clone_status.EXAMPLES)[0]["sources"][0]["edge_encryption.clone.clone_status"]["instance"])
    add(source, "CLN1", "Scheduled")
    event = watch(clone_status.main, args, lambda feed: feed.next())
    fields = yaml.safe_load(clone_status.RETURN)
    assert set(fields) == set(event) and set(fields["clone"]["contains"]) == set(event["clone"])
    for happened in ("waiting", "scheduled", "started", "completed", "ended", "unknown", "due", "gone"):
        assert re.search(rf"V\({happened}\)", " ".join(fields["happened"]["description"]))
