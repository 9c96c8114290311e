# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real MySQL servers for the long tier: Debian 12 has none, so they run in a folder with a system of its own, made once and kept."""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.tests.integration import mariadb

ROOT = pathlib.Path(__file__).resolve().parents[2] / "build" / "mysql-root"
# MariaDB makes such tables up by itself; here they are read from a real one.
_NUMBERS = re.compile(r"\bseq_1_to_(\d+)\b")


def make_root() -> pathlib.Path:
    """Return the folder with MySQL's server, filled from Debian unstable when it is not there yet; nothing of it mixes with this host's packages."""
    if os.getuid() != 0:
        pytest.skip("MySQL's server runs in a chroot, for which these tests must be started as root")
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    with open(str(ROOT) + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ROOT.exists():
            if not shutil.which("mmdebstrap"):
                pytest.fail("MySQL's server is fetched with mmdebstrap, which is missing: apt-get install mmdebstrap", pytrace=False)
            part = ROOT.with_name(ROOT.name + ".part")
            shutil.rmtree(str(part), ignore_errors=True)
            command = ["mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"', "--include=mysql-server-core", "sid"]
            done = subprocess.run(command + [str(part)], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                pytest.fail("mmdebstrap could not fetch MySQL's server:\n" + done.stdout.decode(errors="replace")[-2000:], pytrace=False)
            part.rename(ROOT)
    return ROOT


class MySql(mariadb.MariaDb):
    """One server. Its directory is a link into the folder, where the server sees it by another path."""

    def __init__(self, directory: pathlib.Path, options: t.Sequence[str] = ()) -> None:
        super().__init__(directory, options)
        self.inside = "/" + str(directory.resolve().relative_to(ROOT))

    def command(self) -> t.List[str]:
        command = ["chroot", str(ROOT), "/usr/sbin/mysqld", "--no-defaults", "--user=root", "--datadir={0}/data".format(self.inside)]
        command += ["--tmpdir={0}/tmp".format(self.inside), "--socket={0}/s.sock".format(self.inside), "--pid-file={0}/pid".format(self.inside)]
        command += ["--port={0}".format(self.port)]
        command += ["--bind-address=127.0.0.1", "--skip-name-resolve", "--mysqlx=OFF", "--require-secure-transport=ON", "--secure-file-priv=NULL"]
        command += ["--ssl-ca={0}/ca.pem".format(self.inside), "--ssl-cert={0}/server.pem".format(self.inside)]
        command += ["--ssl-key={0}/server.key".format(self.inside), "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"]
        # No power cut is tested here, so nothing needs to reach the disk.
        return command + ["--innodb-flush-method=nosync", "--sync-binlog=0", "--innodb-doublewrite=OFF", "--innodb-redo-log-capacity=64M"]

    def sql(self, *statements: str) -> t.List[t.Tuple[t.Any, ...]]:
        numbers = r"(SELECT seq FROM numbers.numbers WHERE seq <= \1) AS seq_1_to_\1"
        return super().sql(*[_NUMBERS.sub(numbers, statement) for statement in statements])


def install(directory: pathlib.Path, template: pathlib.Path) -> None:
    """Make a data directory within the folder; the template is filled once and then copied."""
    if not template.exists():
        command = ["chroot", str(ROOT), "/usr/sbin/mysqld", "--no-defaults", "--user=root", "--initialize-insecure"]
        command += ["--datadir=/" + str(template.relative_to(ROOT))]
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # The server makes itself another identity when it finds none.
        (template / "auto.cnf").unlink()
    inside = template.parent / directory.name
    inside.mkdir()
    directory.symlink_to(inside)
    (directory / "tmp").mkdir()
    shutil.copytree(str(template), str(directory / "data"))
    mariadb.make_certificates(directory)
