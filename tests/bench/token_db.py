# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long it takes to copy a token database, against the tools that people use today, in alternating rounds on the same two servers.

All modules, ours and ``mysql_db``, are called by a playbook, and the whole playbook counts; mydumper and myloader are called as they are. A
figure is the median of its rounds, of locks and of the cut-over the worst one. ``full_stage_s`` and the two of delta staging are what the module itself took.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
import typing as t

from ansible_collections.edge_encryption.clone.tests.integration import conftest, mariadb

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench"
DATABASE = "edgeencryption"
MODULE = "edge_encryption.clone.mysql_token_db_sync"
KEY = "a long key, but only for the benchmark"
THREADS = 2
# As an administrator would have it: durable commits, a buffer pool that the smaller database fits into.
SERVER = [
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=256M",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-flush-method=O_DIRECT",
    "--sync-frm=ON",
]
SCHEMA = (
    "CREATE DATABASE edgeencryption CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "CREATE TABLE edgeencryption.db_id (id CHAR(36) PRIMARY KEY, created DATETIME NOT NULL)",
    "CREATE TABLE edgeencryption.edge_token_map (id BIGINT AUTO_INCREMENT PRIMARY KEY, token VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    " NOT NULL, value TEXT, pattern VARCHAR(64), created_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY token (token),"
    " KEY pattern (pattern, created_on), KEY value (value(32)))",
    "CREATE TABLE edgeencryption.token_map (id BIGINT AUTO_INCREMENT PRIMARY KEY, field VARCHAR(160) NOT NULL, order_token BINARY(8) NOT NULL,"
    " cipher VARBINARY(600), created_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY field (field, order_token))",
    "INSERT INTO edgeencryption.db_id VALUES ('prod', '2026-01-01 00:00:00')",
)
ADD = (
    "INSERT INTO edgeencryption.edge_token_map (token, value, pattern, created_on) SELECT SHA2(seq, 256), CONCAT('Customer ', MD5(seq), ' ', SHA2(-seq, 256)),"
    " ELT(seq % 3 + 1, 'SSN', 'CARD', 'PHONE'), '2024-01-01' + INTERVAL seq SECOND FROM seq_{0}_to_{1}",
    "INSERT INTO edgeencryption.token_map (field, order_token, cipher, created_on) SELECT ELT(seq % 5 + 1, 'incident.u_account', 'incident.u_name',"
    " 'sys_user.email', 'sn_customerservice_case.u_iban', 'x'), UNHEX(LPAD(HEX(seq * 7), 16, '0')), UNHEX(SHA2(CONCAT('c', seq), 512)),"
    " '2024-01-01' + INTERVAL seq SECOND FROM seq_{2}_to_{3}",
)


class Memory(threading.Thread):
    """Watches the peak memory of our module's processes, wherever ansible starts them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            for folder in pathlib.Path("/proc").iterdir():
                if folder.name.isdigit():
                    with contextlib.suppress(OSError):
                        if b"AnsiballZ_mysql_token_db_sync" in (folder / "cmdline").read_bytes():
                            peak = [line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM")]
                            self.peak_mb = max(self.peak_mb, *(int(line.split()[1]) / 1024 for line in peak))

    def __enter__(self) -> "Memory":
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._over.set()
        self.join()


class Bench:
    """Two servers, and every way to copy the database from one to the other."""

    def __init__(self, folder: pathlib.Path, peers: pathlib.Path) -> None:
        self.folder, self.peers = folder, peers
        self.snapshots = folder / "snapshots"
        self.runs = 0
        self.next_row = 0
        self.source, self.target = (mariadb.MariaDb(folder / name, SERVER) for name in ("source", "target"))
        for server in (self.source, self.target):
            mariadb.install(server.directory, folder / "template")
            server.start()
        self.source.sql("CREATE USER 'edge_clone_read'@'127.0.0.1' IDENTIFIED BY 'read-password' REQUIRE SSL")
        self.target.sql("CREATE USER 'edge_clone_write'@'127.0.0.1' IDENTIFIED BY 'write-password' REQUIRE SSL")
        self.source.sql(*SCHEMA)
        self.source.sql(conftest.READ, "GRANT RELOAD, PROCESS ON *.* TO 'edge_clone_read'@'127.0.0.1'")
        self.target.sql(
            "CREATE DATABASE edgeencryption",
            conftest.RIGHTS.format("`edgeencryption`"),
            conftest.RIGHTS.format("`edgeencryption\\_%`").replace("INSERT,", "INSERT, DELETE,"),
            "GRANT PROCESS ON *.* TO 'edge_clone_write'@'127.0.0.1'",
        )
        # The peers' account: what they need is theirs to say.
        for server in (self.source, self.target):
            server.sql("CREATE USER 'peer'@'127.0.0.1' IDENTIFIED BY 'peer-password' REQUIRE SSL", "GRANT ALL ON *.* TO 'peer'@'127.0.0.1'")

    def stop(self) -> None:
        self.source.stop()
        self.target.stop()

    def add(self, first: int, rows: int) -> None:
        """Add rows, 7 in edge_token_map for 3 in token_map."""
        end = first + rows - 1
        self.next_row = end + 1
        for statement in ADD:
            self.source.sql("USE edgeencryption", statement.format(first * 7 // 10 + 1, end * 7 // 10 + 1, first * 3 // 10 + 1, end * 3 // 10 + 1))

    def change(self, share: float, seed: int) -> None:
        """Change rows at random places."""
        self.source.sql("UPDATE edgeencryption.edge_token_map SET value = REVERSE(value) WHERE RAND({0}) < {1}".format(seed, share))
        self.source.sql("UPDATE edgeencryption.token_map SET cipher = REVERSE(cipher) WHERE RAND({0}) < {1}".format(seed, share))

    def checksums(self, server: mariadb.MariaDb) -> t.List[t.Any]:
        return [server.sql("CHECKSUM TABLE edgeencryption.{0} EXTENDED".format(name))[0][1] for name in ("db_id", "edge_token_map", "token_map")]

    # -- ours

    def task(self, side: str, state: str, **options: t.Any) -> t.Dict[str, t.Any]:
        """Return a task of our module."""
        login = self.source.login("edge_clone_read", "read-password") if side == "source" else self.target.login("edge_clone_write", "write-password")
        arguments = dict(login, state=state, snapshot_dir=str(self.snapshots), **options)
        if state in ("snapshotted", "staged"):
            arguments.update(encryption_key=KEY, workers=THREADS)
        return {MODULE: arguments, "register": state}

    def settle(self) -> None:
        """Have the source write all its pages, as it has long done with those of a real one: mariadb-backup recovers what is only in its log."""
        self.source.stop()
        self.source.start()

    def ours(self, engine: str = "rows", **options: t.Any) -> t.Dict[str, float]:
        """Snapshot, stage, cut over; seconds by name."""
        self.runs += 1
        run_id = "bench-{0}".format(self.runs)
        shutil.rmtree(str(self.snapshots), ignore_errors=True)
        tasks = [
            self.task("source", "snapshotted", engine=engine),
            self.task("target", "staged", snapshot="{{ snapshotted.snapshot.id }}", run_id=run_id, **options),
            self.task("target", "cut_over", run_id=run_id),
        ]
        seconds, (snapshot, staged, swapped) = self._playbook(tasks, pathlib.Path(sys.executable).parent)
        assert self.checksums(self.source) == self.checksums(self.target)
        self.prune(keep=swapped["previous_schema"])
        return {
            "ours_s": seconds,
            "snapshot_s": snapshot["timings"]["total_s"],
            "stage_s": staged["timings"]["total_s"],
            "cut_over_s": swapped["timings"]["total_s"],
            "lock_s": snapshot["timings"]["lock_s"],
            "rows_added": staged.get("delta", {}).get("rows_added", -1),
        }

    def prune(self, keep: str) -> None:
        for (name,) in self.target.sql("SHOW DATABASES LIKE 'edgeencryption\\_%'"):
            if name != keep:
                self.target.sql("DROP DATABASE `{0}`".format(name))

    def delta(self, kind: str, rows: int, rounds: int) -> t.List[t.Dict[str, float]]:
        """Stage with what was replaced, when one row of a hundred has come or changed since."""
        found = []
        for number in range(rounds):
            self.ours(delta=True, keep_for=0)  # what it replaces is as the source is
            if kind == "append":
                self.add(self.next_row, rows // 100)
            else:
                self.change(0.01, number)
            found.append(self.ours(delta=True, keep_for=0))
            assert found[-1]["rows_added"] < rows // 50, found
        return found

    # -- the peers

    def mysql_db(self) -> float:
        """Dump and import with the module of the collection community.mysql."""
        file = self.folder / "dump.sql.gz"
        tasks = []
        for server, state, options in ((self.source, "dump", {"single_transaction": True}), (self.target, "import", {})):
            login = server.login("peer", "peer-password")
            tasks.append({"community.mysql.mysql_db": dict(login, name=DATABASE, state=state, target=str(file), **options)})
        seconds = self._playbook(tasks, self.peers / "bin")[0]
        assert self.checksums(self.source) == self.checksums(self.target)
        file.unlink()
        return seconds

    def mydumper(self) -> float:
        """Dump and load with Debian's mydumper and myloader, which compare nothing."""
        folder = self.folder / "mydumper"
        shutil.rmtree(str(folder), ignore_errors=True)
        started = time.monotonic()
        common = ["--threads", str(THREADS), "--host", "127.0.0.1", "--user", "peer", "--password", "peer-password", "--ssl"]
        self._run(["mydumper", *common, "--port", str(self.source.port), "--ca", str(self.source.directory / "ca.pem"), "--database", DATABASE,
                   "--outputdir", str(folder), "--rows", "20000", "--compress"])  # fmt: skip
        self._run(["myloader", *common, "--port", str(self.target.port), "--ca", str(self.target.directory / "ca.pem"), "--directory", str(folder),
                   "--overwrite-tables"])  # fmt: skip
        seconds = time.monotonic() - started
        assert self.checksums(self.source) == self.checksums(self.target)
        return seconds

    def _playbook(self, tasks: t.Sequence[t.Dict[str, t.Any]], binaries: pathlib.Path) -> t.Tuple[float, t.List[t.Dict[str, t.Any]]]:
        """Return the seconds of a playbook and the result of each task."""
        playbook = self.folder / "playbook.yml"
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}
        playbook.write_text(json.dumps([play]))
        environment = dict(os.environ, ANSIBLE_PIPELINING="false", ANSIBLE_STDOUT_CALLBACK="minimal")
        environment.update(ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_NOCOLOR="true", ANSIBLE_PYTHON_INTERPRETER=str(binaries / "python"))
        started = time.monotonic()
        command = [str(binaries / "ansible-playbook"), str(playbook)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        seconds = time.monotonic() - started
        output = done.stdout.decode()
        assert done.returncode == 0, output[-3000:]
        # The callback "minimal" prints "localhost | CHANGED => {...}".
        results = [json.JSONDecoder().raw_decode(output, found.end() - 1)[0] for found in re.finditer(r"^localhost \| .* => \{", output, re.MULTILINE)]
        assert len(results) == len(tasks), output[-3000:]
        return seconds, results

    @staticmethod
    def _run(command: t.Sequence[str]) -> None:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, done.stdout.decode()[-3000:]


def measure(rows: int, rounds: int, peers: pathlib.Path) -> t.Dict[str, t.Any]:
    """Return the figures of one size."""
    folder = FOLDER / "servers"
    shutil.rmtree(str(folder), ignore_errors=True)
    folder.mkdir(parents=True)
    bench = Bench(folder, peers)
    try:
        say("{0} rows: filling the source".format(rows))
        bench.add(0, rows)
        bench.settle()
        ours, tablespaces, mysql_db, mydumper = [], [], [], []
        said = "round {0}: {1} {ours_s:.1f} s (snapshot {snapshot_s:.1f}, lock {lock_s:.3f}, stage {stage_s:.1f}, cut-over {cut_over_s:.3f})"
        with Memory() as memory:
            for number in range(1, rounds + 1):
                ours.append(bench.ours())
                say(said.format(number, "our rows", **ours[-1]))
                tablespaces.append(bench.ours("tablespaces"))
                say(said.format(number, "our files", **tablespaces[-1]))
                mysql_db.append(bench.mysql_db())
                say("round {0}: mysql_db {1:.1f} s".format(number, mysql_db[-1]))
                mydumper.append(bench.mydumper())
                say("round {0}: mydumper and myloader {1:.1f} s".format(number, mydumper[-1]))
            appended = bench.delta("append", rows, rounds)
            say("delta staging, 1 % appended: {0}".format(", ".join("{stage_s:.1f} s".format(**entry) for entry in appended)))
            changed = bench.delta("random", rows, rounds)
            say("delta staging, 1 % changed: {0}".format(", ".join("{stage_s:.1f} s".format(**entry) for entry in changed)))
    finally:
        bench.stop()
        shutil.rmtree(str(folder), ignore_errors=True)
    median, of_files = ({name: statistics.median(entry[name] for entry in found) for name in found[0]} for found in (ours, tablespaces))
    return {
        "rows": rows,
        "rounds": rounds,
        "ours_s": round(median["ours_s"], 2),
        "mysql_db_s": round(statistics.median(mysql_db), 2),
        "mydumper_s": round(statistics.median(mydumper), 2),
        "snapshot_s": round(median["snapshot_s"], 2),
        "tablespaces_s": round(of_files["ours_s"], 2),
        "tablespaces_snapshot_s": round(of_files["snapshot_s"], 2),
        "tablespaces_stage_s": round(of_files["stage_s"], 2),
        "read_lock_s": max(entry["lock_s"] for entry in ours),
        "tablespaces_lock_s": max(entry["lock_s"] for entry in tablespaces),
        "cut_over_s": max(entry["cut_over_s"] for entry in ours + tablespaces),
        "full_stage_s": round(median["stage_s"], 2),
        "delta_append_1pct_s": round(statistics.median(entry["stage_s"] for entry in appended), 2),
        "delta_random_1pct_s": round(statistics.median(entry["stage_s"] for entry in changed), 2),
        "peak_rss_mb": round(memory.peak_mb),
    }


def peers_environment() -> pathlib.Path:
    """Return a virtual environment with the ansible package, which holds community.mysql."""
    folder = FOLDER / "peers"
    if not (folder / "bin" / "ansible").exists():
        say("setting up the peers in {0}".format(folder))
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", "ansible", "PyMySQL"], check=True)
    missing = [name for name in ("mydumper", "myloader", "mariadb-dump") if not shutil.which(name)]
    if missing:
        sys.exit("{0} not found: apt-get install mydumper mariadb-client".format(", ".join(missing)))
    return folder


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000000, 5000000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    peers = peers_environment()
    server = subprocess.run(["mariadbd", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "server": server}
    results = []
    for rows in options.rows:
        results.append(measure(rows, options.rounds, peers))
        (FOLDER / "token_db.json").write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    say(json.dumps(results, indent=2))
    say("Written to {0}".format(FOLDER / "token_db.json"))


if __name__ == "__main__":
    main()
