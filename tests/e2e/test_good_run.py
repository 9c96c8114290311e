# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One good run while users write all the time, looked at from all sides. Every test reads what that run left."""

import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import (
    Bench,
    Row,
    Run,
    Watch,
    ask,
    checksums,
    epoch,
    hashes,
    running_proxies,
    wait_until,
)
from edgelab import demo_data

MAX_INACTIVE = 4
RULES = ("sys_encryption_rule", "sys_encryption_configuration")
STEPS = (
    "t00_preflight", "t10_source_backup", "t20_before_clone", "t30_clone_start", "t35_stage", "t40_wait_clone", "t50_clone_end", "t55_keys",
    "t57_registration", "t60_start_proxies", "t70_signatures", "t80_rotate_key", "t90_verify", "t95_open", "t99_report",
)  # fmt: skip


class Good(t.NamedTuple):
    """The run, and what was seen before, during and after it."""

    bench: Bench
    canaries: t.List[t.Dict[str, str]]
    before: Row
    planned: Run  # plan_clone, for which nobody confirmed the target
    plan: Row
    changed_by_plan: bool
    run: Run
    watch: Watch
    traffic_at_end: Row

    def time(self, step: str, moment: str = "ended") -> float:
        return epoch(self.run.step(step)[moment])

    def requests(self, side: str, *methods: str) -> t.List[Row]:
        return [request for request in self.bench.requests(side) if not methods or request["method"] in methods]


@pytest.fixture(scope="module")
def good(shared: Bench) -> t.Iterator[Good]:
    bench = shared
    bench.keep_target_proxies(2)  # one that starts alone, and the others; the demo has three
    bench.variables["edge_stop_lead"] = bench.stop_lead = 40  # stopping three proxies takes this long on a busy machine
    canaries = bench.fill(20)
    bench.schedule()
    untouched = bench.world()
    planned = bench.play("edge_encryption.clone.plan_clone", state="plan")
    plan_file = bench.folder / "plan" / "state" / "plan.json"
    plan = json.loads(plan_file.read_text()) if plan_file.exists() else {}
    changed_by_plan = bench.world() != untouched or list(plan_file.parent.rglob("*")) != [plan_file]
    traffic = bench.lab["traffic"]["control_url"]
    demo_data.start_traffic(bench.lab)
    before = {
        "source homes": {home.name: hashes(home) for home in bench.proxies("source")},
        "source proxies": running_proxies(bench.proxies("source")),
        "source database": checksums(bench.token_db("source")),
        "source schemas": bench.schemas("source"),
        "rules": {row["sys_id"]: row["active"] for table in RULES for row in bench.raw("source", table)},
    }
    bench.control("source", "DELETE", "/requests")
    with Watch(bench.proxies("target"), bench.secrets()) as watch:
        run = bench.run("-vvv")
    assert run.returncode == 0, run.message + run.output[-5000:]
    done = ask("GET", traffic + "/stats")
    wait_until(lambda: ask("GET", traffic + "/stats")["ok"] > done["ok"] + 3)
    demo_data.stop_traffic(bench.lab)
    yield Good(bench, canaries, before, planned, plan, changed_by_plan, run, watch, done)


def test_the_report_says_what_happened(good: Good) -> None:
    report = good.run.report
    assert report is not None and report["result"] == "green" and report["open"] == []
    assert report["run_id"] == f"acmetest/{good.bench.number}"
    assert tuple(step["id"] for step in report["steps"]) == STEPS
    done = [step for step in report["steps"] if step["id"] != "t80_rotate_key"]
    assert {step["status"] for step in done} == {"done"}
    times = [moment for step in done for moment in (epoch(step["started"]), epoch(step["ended"]))]
    assert times == sorted(times)
    assert report["token_db"]["tables"] == 3 and report["token_db"]["verified"] is True
    assert report["token_db"]["rows"] == sum(good.bench.token_db("source").query(f"SELECT COUNT(*) FROM edgeencryption.{table}")[0][0]
                                             for table in ("db_id", "edge_token_map", "token_map"))  # fmt: skip
    assert report["signatures"]["records"] == len(good.before["rules"]) == 18
    assert report["signatures"]["resigned"] == 14  # all but the four that ServiceNow signed
    verify = report["verify"]
    assert verify["records"] == verify["readable_through_proxy"] == verify["cipher_text_without_proxy"] == 20 * 5 + 2 + 1
    assert verify["failures"] == []


def test_the_plan_changed_nothing_and_says_who_does_what_when(good: Good) -> None:
    assert good.planned.returncode == 0, good.planned.output[-3000:]
    assert good.planned.changes == [] and not good.changed_by_plan
    file = good.bench.folder / "plan" / "state" / "plan.json"
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    plan = good.plan
    assert [step["id"] for step in plan["steps"]] == [step for step in STEPS if step != "t80_rotate_key"]
    stop = next(step for step in plan["steps"] if step["id"] == "t30_clone_start")
    targets = ["edge_target_1", "edge_target_2"]
    assert stop["hosts"] == ["runner", *targets] and epoch(plan["clone_start"]) - epoch(stop["planned_start"]) == good.bench.stop_lead
    assert plan["missing"] == []
    assert {key["alias"]: set(key["targets"].values()) for key in plan["keys"]} == {"aes128prod": {"missing"}, "aes256prod": {"missing"}}
    assert plan["signature_keys"]["targets"] == dict.fromkeys(targets, "different")
    assert {name: choice.get("option", choice.get("name")) for name, choice in plan["recommended"].items()} == {
        "playbook": "edge_encryption.clone.clone_with_tokenization", "encryption": "same_key", "signatures": "resigned"
    }  # fmt: skip
    assert plan["database"]["rows"] > 10 and "stated default" in plan["database"]["from"]
    assert "aes128prod (128 bit, " in good.planned.output and "edge_target_1 missing, edge_target_2 missing" in good.planned.output


def test_the_report_holds_the_plan_against_what_happened(good: Good) -> None:
    steps = {step["id"]: step for step in good.run.report["steps"]}
    assert {step for step, told in steps.items() if told["planned"]} == set(STEPS) - {"t80_rotate_key"}
    assert epoch(steps["t50_clone_end"]["planned"]["start"]) > epoch(good.run.report["clone"]["completed"])
    assert {check["result"] for check in good.run.report["checks"]} == {"passed"}


def test_the_report_can_be_read_as_a_page(good: Good) -> None:
    page = good.bench.folder / "run" / "report.html"
    assert oct(page.stat().st_mode & 0o777) == "0o600"
    html = page.read_text()
    assert "<strong>Green</strong>" in html and "t50 clone end" in html and "https:" not in html and "http:" not in html
    assert str(page) in good.run.output


def test_the_snapshot_began_after_the_backup_that_the_clone_used(good: Good) -> None:
    staged = good.run.step("t35_stage")["evidence"]
    assert epoch(staged["clone"]["backup_completed"]) == epoch(good.bench.backup["completed"] + "Z")
    assert epoch(staged["snapshot"]["began"]) >= epoch(staged["clone"]["backup_completed"])


def test_every_canary_is_readable_through_every_target_proxy_and_by_nobody_else(good: Good) -> None:
    lab = good.bench.lab
    assert len(good.canaries) == 20
    for canary in good.canaries:
        direct = demo_data.read_direct(lab, "target", canary["table"], canary["sys_id"])
        for number in range(len(lab["proxies"]["target"])):
            through = demo_data.read_through(lab, "target", canary["table"], canary["sys_id"], number)
            assert {field: through[field] for field in demo_data.ENCRYPTED_FIELDS} == {field: canary[field] for field in demo_data.ENCRYPTED_FIELDS}
        for field in demo_data.ENCRYPTED_FIELDS:
            clear = canary[field] if field != "u_tax_id" else canary[field].split()[-1]
            assert clear not in direct[field]


def test_attachments_are_readable_through_a_proxy_only(good: Good) -> None:
    lab = good.bench.lab
    clear = {f"attachment of prod {number} ".encode() * 500 for number in (0, 10)}
    with demo_data.session(lab, "target") as client:
        listing = client.get(lab["instances"]["target"]["url"] + "/api/now/attachment", params={"sysparm_query": "table_name=incident"}).json()["result"]
        paths = [f"/api/now/attachment/{row['sys_id']}/file" for row in listing]
        for proxy in lab["proxies"]["target"]:
            assert {client.get(proxy["url"] + path).content for path in paths} == clear
        direct = [client.get(lab["instances"]["target"]["url"] + path).content for path in paths]
    assert len(direct) == 2 and not [content for content in direct if b"attachment of" in content]


def test_no_clear_text_ever_reached_the_target(good: Good) -> None:
    written = ask("GET", good.bench.lab["traffic"]["control_url"] + "/written")["written"]
    # At a few writes a second: users did write before the outage and after it.
    assert len([row for row in written if row["time"] < good.time("t30_clone_start", "started")]) > 5
    assert len([row for row in written if row["time"] > good.time("t95_open")]) > 3
    bodies = [json.loads(request["body"]) for request in good.requests("target", "POST") if request["path"] == "/api/now/table/incident"]
    assert len(bodies) > 10
    assert demo_data.clear_text_requests(good.bench.lab) == []
    for body in bodies:
        assert not [field for field in ("short_description", "description", "u_customer_name", "u_account") if not body[field].startswith("edge:")]
    assert not {body["u_tax_id"] for body in bodies} & {row["fields"]["u_tax_id"] for row in written}


def test_no_target_proxy_ran_between_its_stop_and_the_exchange_of_tokens(good: Good) -> None:
    down = [names for moment, names in good.watch.seen if good.time("t30_clone_start") <= moment <= good.time("t60_start_proxies", "started")]
    assert len(down) > 50 and set(down) == {()}
    assert good.time("t50_clone_end") < good.time("t60_start_proxies", "started")
    names = {home.name for home in good.bench.proxies("target")}
    calls = [request for request in good.requests("target") if request["via_proxy"] in names or request["path"].startswith("/edge/")]
    assert not [call for call in calls if good.time("t30_clone_start") <= epoch(call["time"]) <= good.time("t50_clone_end")]
    assert [call for call in calls if epoch(call["time"]) > good.time("t60_start_proxies")]


def test_the_proxies_ran_until_shortly_before_the_clone_and_were_down_when_it_started(good: Good) -> None:
    clone = good.run.report["clone"]
    last = max(moment for moment, names in good.watch.seen if names and moment < epoch(clone["completed"]))
    assert good.time("t30_clone_start", "started") < last < epoch(clone["started"])


def test_no_user_reached_a_target_proxy_between_the_stop_and_the_verification(good: Good) -> None:
    began, ended = good.time("t30_clone_start"), good.time("t95_open", "started")
    assert not [request for request in good.requests("target") if request["user"] == "demo.user" and began <= epoch(request["time"]) <= ended]
    connections = ask("GET", good.bench.lab["balancer"]["control_url"] + "/requests")["requests"]
    outage = [connection["status"] for connection in connections if began <= epoch(connection["time"]) <= ended]
    assert len(outage) > 5 and set(outage) == {502}
    for proxy in good.bench.lab["proxies"]["target"]:
        log = ask("GET", proxy["control_url"] + "/requests")["requests"]
        assert not [request for request in log if request["user"] == "demo.user" and epoch(request["time"]) <= ended]


def test_few_rules_were_inactive_at_a_time_and_all_are_as_before(good: Good) -> None:
    active = dict(good.before["rules"])
    most, patches = 0, 0
    inactive = {sys_id for sys_id, state in active.items() if state == "false"}
    for request in good.requests("target", "PATCH", "PUT", "POST"):
        match = re.fullmatch(r"/api/now/table/(?:{})/(\w+)".format("|".join(RULES)), request["path"])
        if match and request["status"] == 200:
            patches += 1
            active[match[1]] = json.loads(request["body"]).get("active", active[match[1]])
            most = max(most, len([sys_id for sys_id, state in active.items() if state == "false" and sys_id not in inactive]))
    assert patches >= 26 and 1 <= most <= MAX_INACTIVE
    assert active == good.before["rules"]
    assert {row["sys_id"]: row["active"] for table in RULES for row in good.bench.raw("target", table)} == good.before["rules"]


def test_the_source_was_only_read(good: Good) -> None:
    bench = good.bench
    writes = [request for request in good.requests("source") if request["method"] not in ("GET", "HEAD") and not request["path"].startswith("/edge/")]
    assert writes == []
    assert {home.name: hashes(home) for home in bench.proxies("source")} == good.before["source homes"]
    assert running_proxies(bench.proxies("source")) == good.before["source proxies"]
    assert checksums(bench.token_db("source")) == good.before["source database"]
    assert bench.schemas("source") == good.before["source schemas"]


def test_validation_is_on_and_the_caches_were_moved_aside(good: Good) -> None:
    for proxy in good.bench.lab["proxies"]["target"]:
        home = Path(proxy["home"])
        properties = (home / "conf" / "edgeencryption.properties").read_text()
        assert not re.search(r"^\s*edgeencryption\.proxy\.(skip\.config\.validate|signature\.verify)", properties, re.MULTILINE)
        state = ask("GET", proxy["control_url"] + "/state")
        assert state["verify"] and not state["locked"] and state["status"] == "Authenticated"
        assert [aside for aside in home.glob("cache.*") if any(aside.iterdir())]
        assert not list((home / "conf").glob("*.tmp")) and not list(home.rglob(".*tmp*"))


def test_the_previous_tokens_are_kept(good: Good) -> None:
    kept = [name for name in good.bench.schemas("target") if name == good.run.report["token_db"]["previous_schema"]]
    assert len(kept) == 1
    before, now = good.bench.tokens("target", kept[0]), good.bench.tokens("target")
    assert len(before) >= 4 and {value for _token, value in before} & {f"{100 + number}-{number:02d}-{1000 + number}" for number in range(4)}
    assert good.bench.tokens("source") <= now  # users have added theirs since
    assert not before & now


def test_journal_and_snapshots_are_private(good: Good) -> None:
    state = good.bench.folder / "run" / "state"
    paths = [state, *state.rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_file()} == {"0o600"}
    assert oct((good.bench.folder / "run" / "report.json").stat().st_mode & 0o777) == "0o600"
    assert len(list(state.rglob("manifest*"))) >= 2


def test_no_secret_is_shown_or_left_behind(good: Good) -> None:
    secrets = good.bench.secrets()
    assert len(secrets) > 15
    assert "TASK [edge_encryption.clone.encryption_same_key : Pack the keys]" in good.run.output and len(good.run.output) > 100000
    assert [what for what, secret in secrets.items() if secret in good.run.output] == []
    assert good.watch.leaks == set() and [line for line in good.watch.command_lines if "keytool" in line]
    files = [path for path in (good.bench.folder / "run").rglob("*") if path.is_file() and path.name not in ("inventory.json", "output.txt")]
    assert len(files) > 5
    assert [(path.name, what) for path in files for what, secret in secrets.items() if secret.encode() in path.read_bytes()] == []
    values = [value.encode() for canary in good.canaries for value in (canary["short_description"], canary["u_customer_name"], canary["u_tax_id"].split()[-1])]
    assert [path.name for path in files if any(value in path.read_bytes() for value in values)] == []


# The two below start the playbook again, so they come last; both leave everything as it is.


def _looked_at(good: Good) -> Row:
    state = good.bench.folder / "run" / "state"
    return {**good.bench.world(), "state": {str(path): path.read_bytes() for path in state.rglob("*") if path.is_file()}}


@pytest.mark.parametrize("arguments", [(), pytest.param(("--check",), marks=pytest.mark.long)], ids=["again", "check"])
def test_a_second_run_changes_nothing(good: Good, arguments: t.Tuple[str, ...]) -> None:
    before = _looked_at(good)
    again = good.bench.run("-e", f"edge_clone_number={good.bench.number}", *arguments, keep_report=True)
    assert again.returncode == 0, again.output[-3000:]
    assert again.changes == []
    assert {host: numbers["changed"] for host, numbers in again.recap.items()} == dict.fromkeys(good.run.recap, 0)
    assert _looked_at(good) == before
    assert again.report == good.run.report


def test_without_a_number_and_without_a_waiting_clone_it_is_an_error(good: Good) -> None:
    refused = good.bench.run()
    assert refused.returncode != 0
    assert "there is no open clone to acmetest" in refused.message and "one of them can be named by its number" in refused.message


@pytest.mark.long
@pytest.mark.parametrize("clone", ["none", "scheduled"])
def test_check_mode_passes_before_a_clone(bench: Bench, clone: str) -> None:
    bench.fill(2)
    if clone == "scheduled":
        bench.schedule()
        bench.wait_until_scheduled()
    before = bench.world()
    checked = bench.run("--check")
    assert checked.returncode == 0, checked.output[-3000:]
    assert "cannot be known before" in checked.output
    assert bench.world() == before and not (bench.folder / "run" / "state").exists()


@pytest.mark.long
def test_a_plan_lists_everything_that_is_missing_at_once(bench: Bench) -> None:
    gone = bench.lab["proxies"]["target"][2]["name"]
    before = bench.world()
    nowhere = bench.folder / "nowhere.json"
    nowhere.write_text(json.dumps({"all": {"hosts": {gone: {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    nothing = json.dumps({"edge_verify_records": [], "edge_users_kept_away": False})
    planned = bench.play("edge_encryption.clone.plan_clone", "-i", str(nowhere), "-e", nothing)
    assert planned.returncode == 0, planned.output[-3000:]
    assert bench.world() == before
    plan = json.loads((bench.folder / "run" / "state" / "plan.json").read_text())
    for says in ("edge_verify_records is empty", "Nothing says how users are kept away", "No clone to acmetest", f"{gone} cannot be reached by Ansible"):
        assert [point for point in plan["missing"] if says in point], (says, plan["missing"])
    assert len(plan["missing"]) == 4
    assert {step["planned_start"] for step in plan["steps"] if step["anchor"] != "now"} == {None}
    checked = bench.play("edge_encryption.clone.plan_clone", "--check", state="check")
    assert checked.returncode == 0 and not (bench.folder / "check" / "state").exists()
