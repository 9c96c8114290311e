# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private lab, a user who runs the playbook in it, and what the tests look at afterwards."""

import datetime
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import requests

from edgelab import demo_data, proxy_home, signing
from edgelab.inventory import EDGE_SECRET, PLAYBOOK, write_inventory
from edgelab.lab import Lab
from edgelab.processes import start_time
from edgelab.token_db import TokenDb

COLLECTION = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
# The lab's clone takes about 6 s, then a cleanup job goes on until the run has surely looked once.
CLONE_KNOBS = {"clone_speed": 5, "stage_seconds": {"Cleanup scripts": 40}}
STOP_LEAD = 5
LATER = 3600  # seconds; how far ahead a clone is scheduled that a test starts by rescheduling it

Vars = t.Dict[str, t.Any]
Row = t.Dict[str, t.Any]


class Run(t.NamedTuple):
    """What a run left: its exit code, all it printed, and the report (None when there is none)."""

    returncode: int
    output: str
    report: t.Optional[Row]

    def step(self, name: str) -> Row:
        assert self.report, self.output[-3000:]
        return next(step for step in self.report["steps"] if step["id"] == name)

    @property
    def recap(self) -> t.Dict[str, t.Dict[str, int]]:
        """The numbers of the play recap by host."""
        lines = self.output.partition("PLAY RECAP")[2].splitlines()[1:]
        found = (re.match(r"(\S+) +: (ok=.*)", line) for line in lines)
        return {match[1]: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", match[2])} for match in found if match}

    @property
    def changes(self) -> t.List[str]:
        """Every "task: host" that reports a change."""
        task, found = "", []
        for line in self.output.splitlines():
            begins = re.match(r"TASK \[(.*)\] \*", line)
            task = begins[1] if begins else task
            found += [f"{task}: {host}" for host in re.findall(r"^changed: \[([^\]]+)\]", line)]
        return found

    @property
    def message(self) -> str:
        """What the run says last about its failure."""
        said = re.findall(r"^\[ERROR\]: (.*?)\n(?:Origin|fatal|failed):", self.output, re.DOTALL | re.MULTILINE)
        if not said or "A 'failed_when' expression evaluated to 'True'" in said[-1]:
            # ansible-core before 2.19 has no such line, and 2.21 has this in it; the message is in the result then, which is shown below.
            results = re.findall(r"(?m)^fatal: \[.*?\]: FAILED! => (\{.*\})$", self.output)
            return t.cast(str, json.loads(results[-1])["msg"]) if results else ""
        return said[-1]


class Bench:
    """A lab of its own, with instances that were never cloned, or one that is up already."""

    def __init__(self, folder: Path, keeper: t.Optional[Lab] = None) -> None:
        self.folder = folder
        self._keeper = keeper or Lab(folder / "lab")
        self.lab = keeper.info() if keeper else self._keeper.up()
        self.control("source", "PUT", "/knobs", CLONE_KNOBS)
        self.number = ""
        self.stop_lead = STOP_LEAD  # seconds between the moment a clone is brought forward and its start
        self.collections = COLLECTION / "build" / "collections"
        self.variables: Vars = {"edge_stop_lead": STOP_LEAD, "edge_proxy_timeout": 90}

    def down(self) -> None:
        self._keeper.down()

    # -- the site

    def keep_target_proxies(self, count: int = 1) -> None:
        """Make it a small site, which is cloned faster: the other target proxies are down and in no inventory."""
        for proxy in self.lab["proxies"]["target"][count:]:
            subprocess.run([Path(proxy["home"], "shutdown.sh")], check=True, stdout=subprocess.DEVNULL)
        del self.lab["proxies"]["target"][count:]
        wait_until(lambda: [row["online"] for row in self.raw("target", "sys_encryption_proxy")].count("true") == count)

    def fill(self, count: int = 10) -> t.List[t.Dict[str, str]]:
        """Write records on both sides, take the nightly backup, name the records that prove the clone; returns those of the source."""
        written = demo_data.write_source(self.lab, count)
        demo_data.write_target(self.lab, 4)
        self.backup = demo_data.take_backup(self.lab)
        self.variables["edge_verify_records"] = demo_data.verify_records(count)
        return written

    def schedule(self, in_seconds: float = LATER, **options: str) -> str:
        """Request a clone; returns its number."""
        self.number = demo_data.schedule_clone(self.lab, in_seconds, **options)
        return self.number

    def wait_until_scheduled(self) -> None:
        """Wait until the instance has looked at the request and leaves it alone until the clone starts."""
        wait_until(lambda: next(row for row in self.raw("source", "clone_instance") if row["clone_id"] == self.number)["state"] == "Scheduled")

    def change_request(self, **values: str) -> None:
        """Change the request of the clone, as its owner can at any time."""
        row = next(row for row in self.raw("source", "clone_instance") if row["clone_id"] == self.number)
        self.control("source", "POST", "/raw/clone_instance", {"rows": [dict(row, **values)]})

    def leave_rules_out(
        self,
        tables: t.Sequence[str] = ("sys_encryption_rule", "sys_encryption_configuration"),
        preserved: t.Optional[t.Mapping[str, str]] = None,
    ) -> str:
        """Make a profile that leaves rules and configurations out of a clone, but for the base rules, which it preserves; returns its sys_id."""
        return self.profile(tables, {"sys_encryption_rule": "sys_created_by=glide.maint"} if preserved is None else preserved)

    def profile(self, tables: t.Sequence[str], preserved: t.Mapping[str, str]) -> str:
        """Make a profile that excludes tables from a clone and preserves the target's rows that meet a condition; returns its sys_id."""
        profile = "c" * 32
        excluded = [{"sys_id": f"{number:032x}", "name": table} for number, table in enumerate(tables, 1)]
        kept = [{"sys_id": f"d{number:031x}", "name": table, "table": table, "condition": preserved[table]} for number, table in enumerate(preserved)]
        rows = {
            "clone_profile": [{"sys_id": profile, "name": "Profile of a test"}],
            "clone_data_exclude": excluded,
            "clone_profile_exclusions": [{"sys_id": row["sys_id"], "profile": profile, "exclusion": row["sys_id"]} for row in excluded],
            "clone_data_preserver": kept,
            "clone_profile_preservers": [{"sys_id": row["sys_id"], "profile": profile, "preserver": row["sys_id"]} for row in kept],
        }
        for table, content in rows.items():
            self.control("source", "POST", "/raw/" + table, {"rows": content})
        return profile

    def encrypt_without_tokens(self) -> None:
        """Let both instances be ones that need no token database: standard encryption only, no pattern."""
        for side in ("source", "target"):
            keystore = Path(self.lab["proxies"][side][0]["home"]) / "keystore" / "keystore.jceks"
            key = proxy_home.signature_private_key(keystore, self.lab["keystore_password"][side])
            table = "sys_encryption_configuration"
            rows = [dict(row, encryption_type="standard_" + row["encryption_type"][-3:]) for row in self.raw(side, table)]
            self.control(side, "POST", "/raw/" + table, {"rows": [dict(row, signature=signing.sign(key, table, row)) for row in rows]})
            for row in self.raw(side, "sys_encryption_pattern"):
                self.control(side, "DELETE", "/raw/sys_encryption_pattern/" + row["sys_id"])
            for proxy in self.lab["proxies"][side]:
                cached = Path(proxy["home"]) / "cache"
                wait_until(lambda cached=cached: not [name for name in cached.rglob("*.json") if re.search("equality|order_pres|SSN", name.read_text())])

    def when(self, step: str, act: t.Callable[[], t.Any], status: str = "started", state: str = "run") -> "Meddler":
        """Do something as soon as the journal says that a step has come so far."""

        def reached() -> bool:
            return any(event.get("step") == step and event["status"] == status for event in self.journal(state))

        return Meddler(reached, act)

    def start_clone_when_awaited(self, state: str, over: t.Callable[[], bool]) -> None:
        """Bring the clone forward as soon as a run waits for it, however slow this machine is: it then starts stop_lead seconds later."""
        while not over():
            steps = {event["step"]: event["status"] for event in self.journal(state) if event["event"] == "step"}
            if steps.get("t30_clone_start") == "started":
                start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.stop_lead)
                self.change_request(scheduled=f"{start:%Y-%m-%d %H:%M:%S}")
                return
            time.sleep(0.1)

    # -- the user

    def command(self, *arguments: str, state: str = "run", playbook: str = PLAYBOOK, **overrides: t.Any) -> t.List[str]:
        """Write the inventory and return the command that a user would type; state names the folder of journal, snapshots and report."""
        inventory = write_inventory(self.lab, self.folder / state, **{**self.variables, **overrides})
        confirmed = [] if "edge_confirm_target" in overrides else ["-e", "edge_confirm_target=" + self.lab["instances"]["target"]["name"]]
        return [str(ANSIBLE_PLAYBOOK), playbook, "-i", str(inventory), *confirmed, *arguments]

    def run(self, *arguments: str, state: str = "run", prefix: t.Sequence[str] = (), keep_report: bool = False, **overrides: t.Any) -> Run:
        """Run the playbook to its end; a clone that it waits for begins as soon as it waits."""
        if not keep_report:  # an old report must not be taken for one of this run
            (self.folder / state / "report.json").unlink(missing_ok=True)
        process = self.start(*arguments, state=state, prefix=prefix, **overrides)
        try:
            self.start_clone_when_awaited(state, lambda: process.poll() is not None)
            process.wait()
        finally:
            if process.poll() is None:
                kill_group(process)
        return self.result(process, state)

    def start(self, *arguments: str, state: str = "run", prefix: t.Sequence[str] = (), **overrides: t.Any) -> "subprocess.Popen[bytes]":
        """Start the playbook in a process group of its own."""
        return self._spawn([*prefix, *self.command(*arguments, state=state, **overrides)], state)

    def _spawn(self, command: t.Sequence[str], state: str) -> "subprocess.Popen[bytes]":
        with (self.folder / state / "output.txt").open("wb") as output:
            return subprocess.Popen(command, env=environment(self.collections), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def play(self, playbook: str, *arguments: str, state: str = "run", kill_when: t.Optional[t.Callable[[], t.Any]] = None, **overrides: t.Any) -> Run:
        """Run another playbook of the collection to its end, or kill it as soon as something is so."""
        inventory = write_inventory(self.lab, self.folder / state, **{**self.variables, **overrides})
        process = self._spawn([str(ANSIBLE_PLAYBOOK), playbook, "-i", str(inventory), *arguments], state)
        try:
            if kill_when:
                wait_until(lambda: process.poll() is not None or kill_when(), pause=0.02)
                assert process.poll() is None, self.result(process, state).output[-3000:]
            else:
                process.wait()
        finally:
            if process.poll() is None:
                kill_group(process)
        return self.result(process, state)

    def result(self, process: "subprocess.Popen[bytes]", state: str = "run") -> Run:
        report = self.folder / state / "report.json"
        output = (self.folder / state / "output.txt").read_text()
        return Run(process.returncode, output, json.loads(report.read_text()) if report.exists() else None)

    def leave_out(self, task_file: str) -> None:
        """Run a copy of the collection from now on, in which a file of tasks does nothing."""
        copy = self.folder / "collections" / "ansible_collections" / "edge_encryption" / "clone"
        for part in ("galaxy.yml", "meta", "playbooks", "plugins", "roles"):
            found = COLLECTION / part
            if found.is_dir():
                shutil.copytree(found, copy / part, dirs_exist_ok=True)
            else:
                copy.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, copy / part)
        assert (copy / task_file).is_file()
        (copy / task_file).write_text("---\n- name: Left out by a test\n  ansible.builtin.meta: noop\n")
        self.collections = self.folder / "collections"

    # -- what can be seen

    def control(self, side: str, method: str, path: str, body: t.Any = None) -> t.Any:
        """Ask the control port of an instance."""
        return ask(method, self.lab["instances"][side]["control_url"] + path, body)

    def requests(self, side: str) -> t.List[Row]:
        return self.control(side, "GET", "/requests")["requests"]

    def raw(self, side: str, table: str) -> t.List[Row]:
        return self.control(side, "GET", "/raw/" + table)["rows"]

    def token_db(self, side: str) -> TokenDb:
        return TokenDb(side, Path(self.lab["token_db"][side]["folder"]), self.lab["token_db"][side]["port"])

    def schemas(self, side: str) -> t.List[str]:
        return [name for (name,) in self.token_db(side).query("SHOW DATABASES LIKE 'edgeencryption%%'")]

    def tokens(self, side: str, schema: str = "edgeencryption") -> t.Set[t.Tuple[str, str]]:
        return set(self.token_db(side).query(f"SELECT token, value FROM `{schema}`.edge_token_map"))

    def proxies(self, side: str) -> t.List[Path]:
        return [Path(proxy["home"]) for proxy in self.lab["proxies"][side]]

    def journal(self, state: str = "run") -> t.List[Row]:
        """Return every event of every run of this target in a state folder."""
        files = sorted((self.folder / state / "state" / "journal" / self.lab["instances"]["target"]["name"]).rglob("journal.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def secrets(self) -> t.Dict[str, str]:
        """Return every secret of the lab by what it is."""
        known = json.loads((self.folder / "lab" / "lab.secret.json").read_text())
        nested = {"edge_secret": EDGE_SECRET}
        for kind in ("users", "db_users", "keystore", "static_iv", "known_cleartext"):
            for side, value in known[kind].items():
                for user, secret in value.items() if isinstance(value, dict) else [("", value)]:
                    nested[f"{kind} {side} {user}"] = secret
        return nested

    def world(self) -> Row:
        """Return what a refused run must leave alone."""
        return {
            "running proxies": {home.name: running_proxies([home]) for side in ("source", "target") for home in self.proxies(side)},
            "files of proxies": {home.name: hashes(home) for side in ("source", "target") for home in self.proxies(side)},
            "token databases": {side: checksums(self.token_db(side)) for side in ("source", "target")},
            "records": {
                side: hash_of([self.raw(side, table) for table in ("sys_encryption_rule", "sys_encryption_configuration", "clone_instance", "sys_user")])
                for side in ("source", "target")
            },
            "proxy records": {
                side: [(row["name"], row["status"], row["online"]) for row in self.raw(side, "sys_encryption_proxy")] for side in ("source", "target")
            },
        }


class Watch(threading.Thread):
    """Looks at the processes of this machine all the time: which proxies run, and whether a command line holds a secret."""

    def __init__(self, homes: t.Sequence[Path], secrets: t.Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.homes, self.secrets = homes, secrets
        self.seen: t.List[t.Tuple[float, t.Tuple[str, ...]]] = []  # time, names of the proxies that run
        self.leaks: t.Set[str] = set()
        self.command_lines: t.Set[str] = set()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            lines = command_lines()
            self.seen.append((time.time(), tuple(home.name for home in self.homes if any(_runs(home, line) for line in lines.values()))))
            for line in set(lines.values()) - self.command_lines:
                self.leaks |= {f"{what} in {line}" for what, secret in self.secrets.items() if secret in line}
            self.command_lines |= set(lines.values())

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._over.set()
        self.join()


class Meddler(threading.Thread):
    """Does something at a moment, while a run is under way; as a context, it must have happened by its end."""

    def __init__(self, moment: t.Callable[[], bool], act: t.Callable[[], t.Any]) -> None:
        super().__init__(daemon=True)
        self.moment, self.act, self.done = moment, act, False
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            if self.moment():
                self.act()
                self.done = True
                return

    def __enter__(self) -> "Meddler":
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._over.set()
        self.join()


def environment(collections: Path) -> t.Dict[str, str]:
    return dict(
        os.environ, ANSIBLE_COLLECTIONS_PATH=str(collections), ANSIBLE_PIPELINING="true", ANSIBLE_NOCOLOR="true", ANSIBLE_DISPLAY_SKIPPED_HOSTS="false",
        ANSIBLE_LOCALHOST_WARNING="false",
    )  # fmt: skip


def ask(method: str, url: str, body: t.Any = None) -> t.Any:
    answer = requests.request(method, url, json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End ansible-playbook and all it forked, as the kernel or an operator in despair would; proxies have sessions of their own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(true: t.Callable[[], t.Any], seconds: float = 60, pause: float = 0.1) -> t.Any:
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(pause)


def command_lines() -> t.Dict[int, str]:
    lines = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
    return lines


def running_proxies(homes: t.Iterable[Path]) -> t.Set[t.Tuple[int, t.Optional[str]]]:
    """Return pid and start time of each process of these proxies."""
    lines = command_lines()
    return {(pid, start_time(pid)) for pid, line in lines.items() for home in homes if _runs(home, line) and start_time(pid)}


def _runs(home: Path, command_line: str) -> bool:
    """Tell a proxy from other processes that name its home, such as keytool."""
    return f"edgelab.proxy --home {home}" in command_line


def hashes(home: Path) -> t.Dict[str, str]:
    """Return the digest of each file of an install directory but its logs and pid file."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.parent.name != "logs" and path.suffix != ".pid"
    }


def checksums(database: TokenDb) -> t.Dict[str, t.Any]:
    """Return the checksum of every table in every schema that is not the server's own."""
    tables = database.query(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"
    )
    return {f"{schema}.{name}": database.query(f"CHECKSUM TABLE `{schema}`.`{name}` EXTENDED")[0][1] for schema, name in tables}


def hash_of(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def epoch(stamp: str) -> float:
    """Return the seconds of a time in ISO 8601 and UTC."""
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
