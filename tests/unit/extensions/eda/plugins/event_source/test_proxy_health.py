# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source proxy_health with its real client, against an instance that is a real server on the loopback."""

import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.edge_encryption.clone.extensions.eda.plugins.event_source import proxy_health
from ansible_collections.edge_encryption.clone.tests.unit.extensions.eda.plugins.event_source.watching import dies, warnings, watch
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import Fault, fake  # noqa: F401  # pylint: disable=unused-import

TABLE = "sys_encryption_proxy"


def utc(seconds_ago):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - seconds_ago))


def add(fake, name, **fields):  # noqa: F811
    values = dict(host=f"{name}.example.com", port="8443", status="Authenticated", online="true", last_response_on=utc(1))
    return fake.row(TABLE, fake.add(TABLE, name=name, **dict(values, **fields)))


@pytest.fixture
def target(fake):  # noqa: F811
    fake.one, fake.two = add(fake, "proxy_1"), add(fake, "proxy_2")
    return fake


@pytest.fixture
def args(target, tmp_path):
    return {"instance": target.instance, "interval": 0.02, "cursor": str(tmp_path / "cursor.json")}


def told(event):
    return event["proxy"]["name"], event["happened"]


def test_each_change_is_told_once(target, args):
    async def script(feed):
        await feed.quiet(target)
        target.one["online"] = "false"
        seen = [await feed.next()]
        await feed.quiet(target)
        target.one["online"] = "true"
        seen.append(await feed.next())
        target.two["status"] = "Pending"
        seen.append(await feed.next())
        await feed.quiet(target)
        del target.tables[TABLE][target.two["sys_id"]]
        seen.append(await feed.next())
        add(target, "proxy_3")
        seen.append(await feed.next())
        await feed.quiet(target)
        return seen

    events = watch(proxy_health.main, args, script)
    assert [told(event) for event in events] == [("proxy_1", "lost"), ("proxy_1", "back"), ("proxy_2", "status"), ("proxy_2", "gone"), ("proxy_3", "new")]
    assert events[0]["previous"] == {"status": "Authenticated", "heard": True} and events[0]["proxy"]["heard"] is False
    assert events[2]["proxy"]["status"] == "Pending" and events[0]["instance"] == target.url


def test_the_first_time_only_what_is_wrong_is_told(target, args):
    target.two["online"] = "false"

    async def script(feed):
        event = await feed.next()
        await feed.quiet(target)
        return event

    event = watch(proxy_health.main, args, script)
    assert told(event) == ("proxy_2", "lost") and event["previous"] is None


def test_a_restart_repeats_nothing_and_loses_nothing(target, args):
    watch(proxy_health.main, args, lambda feed: feed.quiet(target))
    target.one["online"] = "false"

    async def script(feed):
        event = await feed.next()
        await feed.quiet(target)
        return event

    assert told(watch(proxy_health.main, args, script)) == ("proxy_1", "lost")
    watch(proxy_health.main, args, lambda feed: feed.quiet(target))
    assert oct(Path(args["cursor"]).stat().st_mode & 0o777) == "0o600"


def test_heartbeats_are_no_news_and_write_nothing(target, args):
    async def script(feed):
        await feed.quiet(target)
        before = Path(args["cursor"]).stat().st_ino
        target.one["last_response_on"] = utc(0)
        await feed.quiet(target)
        assert Path(args["cursor"]).stat().st_ino == before

    watch(proxy_health.main, args, script)


def test_a_proxy_that_has_been_silent_for_too_long_is_lost_whatever_its_record_says(target, args):
    target.one["last_response_on"] = utc(200)
    event = watch(proxy_health.main, dict(args, silent_after=120), lambda feed: feed.next())
    assert told(event) == ("proxy_1", "lost") and event["proxy"]["online"] == "true"
    Path(args["cursor"]).unlink()
    watch(proxy_health.main, args, lambda feed: feed.quiet(target))


def test_a_record_without_a_heartbeat_ends_it(target, args):
    for row in target.tables[TABLE].values():
        del row["online"]
    assert "does not say whether the instance hears of it. Set field_names.online" in dies(proxy_health.main, args)
    for row in target.tables[TABLE].values():
        row["u_alive"] = "true"
    watch(proxy_health.main, dict(args, field_names={"online": "u_alive"}), lambda feed: feed.quiet(target))


def test_records_that_may_not_be_read_end_it(target, args):
    target.hidden.add(target.two["sys_id"])
    assert "may not read 1 of its records" in dies(proxy_health.main, args)


def test_a_login_may_be_refused_for_a_while_once_it_has_worked(target, args, caplog):
    """A clone replaces the accounts of its target. Accounts lock, so the tries become rare."""
    async def script(feed):
        await feed.quiet(target)
        password, target.users["edge.automation"] = target.users["edge.automation"], "of the source"
        asked = len(target.requests)
        await feed.none_while(lambda: len(target.requests) < asked + 6)
        target.one["online"] = "false"
        target.users["edge.automation"] = password
        return await feed.next()

    began = time.monotonic()
    assert told(watch(proxy_health.main, args, script)) == ("proxy_1", "lost")
    assert time.monotonic() - began > 0.04 + 0.08
    assert len([line for line in warnings(caplog) if "the login was refused" in line]) == 1


def test_a_login_that_never_worked_ends_it(target, args):
    args["instance"] = dict(args["instance"], password="wrong-one")
    said = dies(proxy_health.main, args)
    assert "the login was refused (401)" in said and "wrong-one" not in said and len(target.requests) == 1


def test_downtime_is_survived(target, args, caplog):
    async def script(feed):
        await feed.quiet(target)
        fault = Fault("html", status=503, count=3)
        target.faults.append(fault)
        await feed.none_while(lambda: fault.count > 0)
        target.one["online"] = "false"
        return await feed.next()

    assert told(watch(proxy_health.main, args, script)) == ("proxy_1", "lost")
    assert "It answers again." in warnings(caplog)


def test_the_documentation_lists_options_and_fields(target, args):
    documentation = yaml.safe_load(proxy_health.DOCUMENTATION)
    assert set(documentation["options"]) | {"table", "field_names"} == {*proxy_health.SPEC, "instance", "interval", "cursor"}
    target.one["online"] = "false"
    event = watch(proxy_health.main, args, lambda feed: feed.next())
    fields = yaml.safe_load(proxy_health.RETURN)
    assert set(fields) == set(event) and set(fields["proxy"]["contains"]) == set(event["proxy"])
