# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a clone: verified again, rolled back, pruned; and made safe when a run ended badly."""

import json
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, hashes, running_proxies, wait_until
from ansible_collections.edge_encryption.clone.tests.e2e.test_killed import kill_at
from edgelab import demo_data

ROLL_BACK, VERIFY, MAKE_SAFE, PRUNE, CLEAN_UP = (
    f"edge_encryption.clone.{name}" for name in ("roll_back_clone", "verify_clone", "make_safe", "prune_clone", "clean_up_clone")
)
CONFIRMED = ("-e", "edge_confirm_target=acmetest")


@pytest.mark.long
def test_a_clone_is_verified_rolled_back_and_pruned(small: Bench) -> None:
    home = small.proxies("target")[0]
    before = {"files": {name: digest for name, digest in hashes(home).items() if name.startswith(("conf/", "keystore/"))}, "tokens": small.tokens("target")}
    own = [row for row in small.raw("target", "incident") if row["number"].startswith("DEMO")]
    number = ("-e", f"edge_clone_number={small.schedule()}")

    done = small.run()
    assert done.returncode == 0, done.output[-3000:]
    verified = small.play(VERIFY)
    assert verified.returncode == 0, verified.output[-3000:]
    assert "0 changed or deleted since" in verified.output and "not as at the clone: none" in verified.output and verified.changes == []

    # One record is written anew through a proxy, another one in clear text without one.
    changed, leaked = [row for row in small.raw("target", "incident") if row["number"].startswith("DEMO")][:2]
    with demo_data.session(small.lab, "target") as client:
        url = f"{small.lab['proxies']['target'][0]['url']}/api/now/table/incident/{changed['sys_id']}"
        client.patch(url, json={"short_description": "written since"}).raise_for_status()
    verified = small.play(VERIFY)
    assert verified.returncode == 0 and "0 changed or deleted since" not in verified.output, verified.output[-3000:]
    small.control("target", "POST", "/raw/incident", {"rows": [dict(leaked, short_description="clear text", sys_mod_count="99")]})
    verified = small.play(VERIFY)
    assert verified.returncode != 0 and f"incident {leaked['sys_id']} short_description was changed since" in verified.message

    # Not before the instance itself is rolled back.
    refused = small.play(ROLL_BACK, *number, *CONFIRMED)
    assert refused.returncode != 0 and f"Clone {small.number} is Completed on acmeprod, not rolled back" in refused.message
    assert small.tokens("target") != before["tokens"] and running_proxies([home])
    refused = small.play(ROLL_BACK, *number)
    assert refused.returncode != 0 and "confirm the target" in refused.message

    small.change_request(state="Rollback Requested")
    wait_until(lambda: next(row for row in small.raw("source", "clone_instance") if row["clone_id"] == small.number)["state"] == "Rolled back")
    back = small.play(ROLL_BACK, *number, *CONFIRMED)
    assert back.returncode == 0, back.output[-5000:]
    assert small.tokens("target") == before["tokens"]
    after = hashes(home)
    assert {name: after.get(name) for name in before["files"]} == before["files"]
    for row in own:
        assert demo_data.read_through(small.lab, "target", "incident", row["sys_id"])["short_description"].startswith("Payroll test")
    assert [event["event"] for event in small.journal()][-2:] == ["rolling_back", "closed"] and small.journal()[-1]["result"] == "rolled_back"

    again = small.play(ROLL_BACK, *number, *CONFIRMED)
    assert again.returncode == 0 and again.changes == [], (again.changes, again.output[-3000:])
    refused = small.run(*number)
    assert refused.returncode != 0 and "was rolled back" in refused.message

    young = small.play(PRUNE, *number, *CONFIRMED)
    assert young.returncode != 0 and "because an instance can be rolled back for 7 days" in young.message
    assert (home / "before_clone" / "acmetest" / small.number).is_dir()
    pruned = small.play(PRUNE, *number, *CONFIRMED, "-e", "edge_keep_for=0")
    assert pruned.returncode == 0, pruned.output[-3000:]
    assert list(home.rglob("before_clone/*/*")) == list(home.rglob("before_roll_back/*/*")) == []
    assert list(home.rglob("*.bak")) == []


@pytest.mark.long
def test_nothing_is_left_once_it_is_cleaned_up(small: Bench) -> None:
    """Files and schemas that were there before the clone are there afterwards, and no others, but for those that a proxy writes itself."""
    home = small.proxies("target")[0]

    def there() -> t.Set[str]:
        runner = {str(path) for path in (small.folder / "run" / "state").rglob("*")}
        return {name for name in hashes(home) if not name.startswith(("logs/", "cache/", "bin/", "balancer"))} | runner | set(small.schemas("target"))

    before = there()
    small.schedule()
    done = small.run()
    assert done.returncode == 0, done.output[-3000:]
    tokens, left = small.tokens("target"), there() - before
    assert [name for name in left if name.startswith("edgeencryption_prev")] and [name for name in left if name.endswith(".bak")]
    listed = small.play(CLEAN_UP)
    assert listed.returncode == 0 and listed.changes == [] and there() - before == left, listed.output[-3000:]
    young = small.play(CLEAN_UP, *CONFIRMED)
    assert young.returncode != 0 and f"acmetest/{small.number} ended less than 691200 s ago" in young.message and there() - before == left
    cleaned = small.play(CLEAN_UP, *CONFIRMED, "-e", "edge_keep_for=0")
    assert cleaned.returncode == 0, cleaned.output[-3000:]
    assert there() - before <= {str(small.folder / "run" / "state")} and before - there() == set()
    assert small.tokens("target") == tokens and running_proxies([home])
    again = small.play(CLEAN_UP, *CONFIRMED, "-e", "edge_keep_for=0")
    assert again.returncode == 0 and again.changes == [] and "Beside the token database: nothing." in again.output, again.output[-3000:]


@pytest.mark.long
def test_what_is_not_down_is_taken_down_and_what_cannot_be_reached_is_named(bench: Bench) -> None:
    bench.fill(2)
    bench.schedule()
    nothing = bench.play(MAKE_SAFE)
    assert nothing.returncode == 0 and "No run of acmetest is open" in nothing.output, nothing.output[-3000:]
    homes = bench.proxies("target")
    kill_at(bench, "t30_clone_start", when=lambda: len(running_proxies(homes)) < 3)
    assert running_proxies(homes)
    safe = bench.play(MAKE_SAFE)
    assert safe.returncode == 0, safe.output[-3000:]
    assert not running_proxies(homes)
    assert "the target proxies must be down" in safe.output and "the target's own tokens, untouched" in safe.output
    assert f"-e edge_clone_number={bench.number}" in safe.output

    # A host that cannot be reached any more.
    unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    content = json.loads((bench.folder / "run" / "inventory.json").read_text())
    content["all"]["children"]["edge_target_proxies"]["hosts"][homes[1].name].update(unreachable)
    lost = bench.folder / "lost.json"
    lost.touch(mode=0o600)
    lost.write_text(json.dumps(content))
    unsafe = bench.play(MAKE_SAFE, "-i", str(lost))
    assert unsafe.returncode != 0, unsafe.output[-3000:]
    assert f"NOT PROVEN: {homes[1].name} could not be reached or stopped: unreachable" in unsafe.output
    assert f"{homes[1].name}: it is not proven that these proxies are down" in unsafe.message
