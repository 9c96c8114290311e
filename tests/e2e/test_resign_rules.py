# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook resign_rules, without a clone: rules that were signed with another key are signed anew while users work."""

import json
import re
import shlex
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal
from ansible_collections.edge_encryption.clone.tests.e2e.bench import (
    ANSIBLE_PLAYBOOK,
    Bench,
    Meddler,
    Row,
    Run,
    Watch,
    ask,
    environment,
    running_proxies,
    wait_until,
)
from edgelab import demo_data, proxy_home, signing

PLAYBOOK = "edge_encryption.clone.resign_rules"
TABLES = tuple(signing.SIGNED_FIELDS)
PROPERTIES = re.compile(r"^\s*edgeencryption\.proxy\.(?:skip\.config\.validate|signature\.verify)\s*=\s*(\w+)", re.MULTILINE)


def key_of(bench: Bench, side: str) -> t.Any:
    keystore = bench.folder / "lab" / "keys" / side / "keystore.jceks"
    return proxy_home.signature_private_key(keystore, bench.lab["keystore_password"][side])


def records(bench: Bench) -> t.Dict[t.Tuple[str, str], Row]:
    return {(table, row["sys_id"]): row for table in TABLES for row in bench.raw("target", table)}


def sign_with_the_other_key(bench: Bench) -> t.Dict[t.Tuple[str, str], Row]:
    """Sign all records of the customer's with the source's key, so that the target's proxies lock themselves; returns them."""
    key = key_of(bench, "source")
    for (table, _sys_id), row in records(bench).items():
        if not signing.is_base(row):
            bench.control("target", "POST", "/raw/" + table, {"rows": [dict(row, signature=signing.sign(key, table, row))]})
    wait_until(lambda: all(state["locked"] for state in states(bench)))
    return records(bench)


def states(bench: Bench) -> t.List[Row]:
    return [ask("GET", proxy["control_url"] + "/state") for proxy in bench.lab["proxies"]["target"]]


def keep_two_target_proxies(bench: Bench) -> None:
    subprocess.run([Path(bench.lab["proxies"]["target"].pop()["home"], "shutdown.sh")], check=True, stdout=subprocess.DEVNULL)


def signed(bench: Bench) -> bool:
    """Tell whether all records of the customer's are signed with the key of the target's proxies."""
    public = key_of(bench, "target").public_key()
    return all(signing.is_base(row) or signing.verify(public, key[0], row) for key, row in records(bench).items())


def assert_signed(bench: Bench, before: t.Dict[t.Tuple[str, str], Row], caches: int = 2) -> None:
    """Every record is as it was but signed by the target's proxies, which validate and trust it."""
    assert signed(bench)
    for key, row in records(bench).items():
        assert row["active"] == before[key]["active"]
        assert row == before[key] or not signing.is_base(row)
    for state in states(bench):
        assert all(state["verify"].values()) and not state["locked"] and state["status"] == "Authenticated"
    assert len([home for home in bench.proxies("target") if list(home.glob("cache.*"))]) == caches


def validation(bench: Bench) -> t.List[t.List[str]]:
    return [PROPERTIES.findall((home / "conf" / "edgeencryption.properties").read_text()) for home in bench.proxies("target")]


def red(run: Run) -> str:
    assert run.returncode != 0, run.output[-3000:]
    return run.message


def commands_of(message: str) -> t.List[t.List[str]]:
    """Return the commands that a message tells to type, ready to be run."""
    return [shlex.split(line) for line in message.splitlines() if re.match(r" +ansible", line)]


def do(bench: Bench, command: t.Sequence[str]) -> None:
    command = [str(ANSIBLE_PLAYBOOK.with_name(command[0])), *command[1:]]
    done = subprocess.run(command, env=environment(bench.collections), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_it_refuses_what_could_lose_tokens_or_leak_clear_text(shared: Bench) -> None:
    before = shared.world()
    journal = Journal(str(shared.folder / "refused" / "state" / "journal"), "acmetest")
    shared.command(state="refused")
    journal.open("CLN0000001", "test:1:1")
    assert "acmetest/CLN0000001 is not finished" in red(shared.play(PLAYBOOK, state="refused"))
    assert "edge_out_of_service_tasks" in red(shared.play(PLAYBOOK, state="unkept", edge_out_of_service_tasks=None, edge_in_service_tasks=""))
    assert "edge_target_2, edge_target_3 would be left out" in red(shared.play(PLAYBOOK, "--limit", "runner,edge_target_1", state="limited"))
    assert shared.world() == before


@pytest.mark.long
def test_check_mode_lists_the_work(shared: Bench) -> None:
    before = shared.world()
    run = shared.play(PLAYBOOK, "--check", "--diff")
    assert run.returncode == 0, run.output[-5000:]
    assert "sys_encryption_configuration incident.u_account signed by this proxy" in run.output
    assert shared.world() == before


@pytest.mark.long
def test_everything_is_signed_while_users_work(bench: Bench) -> None:
    keep_two_target_proxies(bench)
    before = sign_with_the_other_key(bench)
    demo_data.start_traffic(bench.lab)
    bench.control("target", "DELETE", "/requests")
    with Watch(bench.proxies("target"), bench.secrets()) as watch:
        run = bench.play(PLAYBOOK)
    assert run.returncode == 0, run.output[-5000:]
    done = demo_data.stop_traffic(bench.lab)
    assert_signed(bench, before)
    assert validation(bench) == [[], []]
    # One proxy at a time was down, and each twice.
    down = [tuple(home.name for home in bench.proxies("target") if home.name not in names) for _moment, names in watch.seen]
    assert set(down) == {(), ("edge_target_1",), ("edge_target_2",)}
    starts = [names for names, following in zip(down, down[1:]) if names and not following]
    assert starts == [("edge_target_1",), ("edge_target_2",)] * 2
    # Users wrote meanwhile, but not while a record was off, and never clear text.
    assert done["ok"] > 10 and demo_data.clear_text_requests(bench.lab) == []
    off: t.Set[str] = set()
    for request in bench.requests("target"):
        if request["method"] == "PATCH" and request["status"] == 200:
            (off.add if json.loads(request["body"]).get("active") == "false" else off.discard)(request["path"])
        assert not (off and request["user"] == "demo.user"), request
    assert watch.leaks == set()
    assert not list((bench.folder / "run" / "state").rglob("*.jsonl"))


@pytest.mark.long
def test_a_run_that_breaks_ends_with_the_commands_that_finish_it(bench: Bench) -> None:
    keep_two_target_proxies(bench)
    before = sign_with_the_other_key(bench)
    bench.control("target", "PUT", "/knobs", {"elevation_required": True})
    message = red(bench.play(PLAYBOOK))
    assert "elevated" in message and "validation is off on edge_target_1, edge_target_2." in message and "Not every record is signed" in message
    assert validation(bench) == [["true", "false"], ["true", "false"]]
    bench.control("target", "PUT", "/knobs", {"elevation_required": False})
    again, *by_hand = commands_of(message)
    assert again[0] == "ansible-playbook" and len(by_hand) == 8
    do(bench, again)
    assert_signed(bench, before)
    assert validation(bench) == [[], []]


@pytest.mark.long
def test_a_proxy_that_does_not_restart_ends_the_run_and_can_be_finished_by_hand(bench: Bench) -> None:
    keep_two_target_proxies(bench)
    before = sign_with_the_other_key(bench)
    knobs = bench.lab["proxies"]["target"][1]["control_url"] + "/knobs"
    first = bench.proxies("target")[0]

    def first_validates() -> bool:
        return states(bench)[0]["verify"] == {"configurations": True, "rules": True}

    with Meddler(lambda: not PROPERTIES.search((first / "conf" / "edgeencryption.properties").read_text()) and signed(bench),
                 lambda: ask("PUT", knobs, {"ignore_shutdown": True})) as meddler:  # fmt: skip
        message = red(bench.play(PLAYBOOK, edge_proxy_timeout=15))
    assert meddler.done and first_validates()
    assert "edge_target_2" in message and "validation is off on edge_target_2." in message and "Every record is signed" in message
    assert validation(bench) == [[], ["true", "false"]]
    ask("PUT", knobs, {"ignore_shutdown": False})
    _again, *by_hand = commands_of(message)
    assert {command[1] for command in by_hand} == {"edge_target_2"} and len(by_hand) == 4
    for command in by_hand:
        do(bench, command)
    assert_signed(bench, before, caches=1)
    assert validation(bench) == [[], []]


@pytest.mark.long
@pytest.mark.parametrize("moment", ["off", "signing", "on"])
def test_a_run_that_is_killed_is_finished_by_starting_it_again(bench: Bench, moment: str) -> None:
    """Killed while a proxy is down to lose its validation, while records are being signed, and while a proxy is down to validate."""
    keep_two_target_proxies(bench)
    before = sign_with_the_other_key(bench)
    moments = {
        "off": lambda: len(running_proxies(bench.proxies("target"))) == 1 and not signed(bench),
        "signing": lambda: records(bench) != before,
        "on": lambda: len(running_proxies(bench.proxies("target"))) == 1 and signed(bench),
    }
    bench.play(PLAYBOOK, kill_when=moments[moment])
    run = bench.play(PLAYBOOK, edge_remove_validation_properties=False)
    assert run.returncode == 0, run.output[-5000:]
    assert_signed(bench, before)
    assert validation(bench) == [["false", "true"], ["false", "true"]]
