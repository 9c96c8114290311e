# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Whether the files of a database's tables (InnoDB's tablespaces) can be copied from a server, or be imported by one.

Conditions are those of MariaDB's documentation ("InnoDB File-Per-Table Tablespaces", "mariadb-backup Overview"); each reason against it is a
sentence that a person can act on. Only reads.
"""

import os
import re
import shutil
import subprocess
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils import _schema
from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Login, Server, Session
from ansible_collections.edge_encryption.clone.plugins.module_utils._privileges import Grants

# Utils know no AnsibleModule.
# pylint: disable=ansible-bad-function

# What InnoDB writes for a table: its pages, and beside them the description that an import compares with the table's definition.
PAGES, DESCRIPTION = "ibd", "cfg"
KINDS = (PAGES, DESCRIPTION)
# Bytes of redo log that are written in less time than rows are loaded.
_MOST_REDO = 1073741824
# Bytes of the temporary tablespace that a server makes anew when it starts, as mariadb-backup lets one do.
_TEMPORARY = 16777216
_PROGRAMS = ("mariadb-backup", "mariabackup")
_ODD_TABLES = (
    (re.compile(r"^(?:/\*!\d+ )? ?PARTITION BY ", re.MULTILINE), "is partitioned"),
    (re.compile(r"^\).* (?:DATA|INDEX) DIRECTORY=", re.MULTILINE), "lies outside the data directory"),
    (re.compile(r"^\).* `?ENCRYPTED`?=", re.MULTILINE | re.IGNORECASE), "has an encrypted tablespace"),
    (re.compile(r"^ +(?:FULLTEXT|SPATIAL) KEY ", re.MULTILINE), "has an index that its file does not hold"),
)


def find_program() -> t.Optional[str]:
    """Return the path of mariadb-backup on this host."""
    return next((path for path in map(shutil.which, _PROGRAMS) if path), None)


def path_of(data_directory: str, schema: str, table: str, kind: str) -> str:
    """Return where a server keeps a file of a table."""
    return os.path.join(data_directory, _schema.innodb_name(schema), "{0}.{1}".format(_schema.innodb_name(table), kind))


def data_directory(server: Server) -> str:
    return server.identity["datadir"]


def system_bytes(directory: str) -> int:
    """Return the size of what recovery needs beside the tables: system tablespace and undo logs in the data directory, and temporary tables."""
    sizes = [entry.stat().st_size for entry in os.scandir(directory) if entry.name.startswith(("ibdata", "undo"))]
    return sum(sizes) + _TEMPORARY


def page_size(session: Session) -> int:
    return int(session.variables("innodb_page_size").get("innodb_page_size", 0))


def redo_log_bytes(session: Session) -> int:
    return int(session.variables("innodb_log_file_size").get("innodb_log_file_size", 0))


def reasons_against_source(session: Session, server: Server, grants: Grants, schema: str, tables: t.Sequence[_schema.Table]) -> t.List[str]:
    """Return why this host cannot copy the files of the tables while the server writes to them; nothing when it can."""
    reasons = _reasons_against_server(session, server)
    if reasons:
        return reasons
    program = find_program()
    if not program:
        reasons.append("mariadb-backup is not installed on this host")
    elif _release_of(program) != server.release:
        reasons.append("{0} is not of the server's release {1}".format(program, ".".join(map(str, server.release))))
    lacking = [right for right in ("RELOAD", "PROCESS") if not grants.holds(right)]
    if lacking:
        reasons.append("the account lacks {0} on *.*".format(" and ".join(lacking)))
    elif _schema.had_full_text(session, schema):
        reasons.append("the database has or had full-text indexes, which leave a hidden column in their tables")
    if session.login.use_tls and not session.login.check_hostname:
        reasons.append("mariadb-backup cannot trust a certificate without checking its host name")
    for table in tables:
        odd = [words for pattern, words in _ODD_TABLES if pattern.search(table.create)]
        path = path_of(data_directory(server), schema, table.name, PAGES)
        if odd:
            reasons.append("the table {0} {1}".format(table.name, odd[0]))
        elif not os.access(path, os.R_OK):
            reasons.append("{0} cannot be read on this host".format(path))
            break
    return reasons


def reasons_against_target(session: Session, server: Server) -> t.List[str]:
    """Return why this host cannot let the server import files; nothing when it can."""
    reasons = _reasons_against_server(session, server)
    if server.binary_log:
        reasons.append("the server writes a binary log, which an import does not enter")
    if redo_log_bytes(session) > _MOST_REDO:
        reasons.append("its redo log is larger than {0} MiB, and nearly as much must be written to make an import safe".format(_MOST_REDO >> 20))
    directory = data_directory(server)
    try:
        owner = os.stat(directory).st_uid
    except OSError as error:
        return reasons + ["{0} cannot be read on this host ({1})".format(directory, error.strerror)]
    if os.getuid() not in (0, owner) or not os.access(directory, os.W_OK | os.X_OK):
        reasons.append("only root and the owner of {0} can write there".format(directory))
    return reasons


def reasons_against_pair(source: t.Dict[str, t.Any], target: t.Dict[str, t.Any]) -> t.List[str]:
    """Return why the one server cannot import what the other one wrote; both are what C(facts) returns."""
    return [
        "the {0} of source and target differ".format(words)
        for name, words in (("vendor", "vendors"), ("release", "releases"), ("page_size", "page sizes"))
        if source[name] != target[name]
    ]


def facts(session: Session, server: Server) -> t.Dict[str, t.Any]:
    """Return what must be equal on both sides: C(vendor), C(release) as a list of numbers, and C(page_size) in bytes."""
    return {"vendor": server.vendor, "release": list(server.release), "page_size": page_size(session)}


def _reasons_against_server(session: Session, server: Server) -> t.List[str]:
    if server.vendor != "mariadb":
        return ["the server is no MariaDB"]
    found = session.variables("wsrep_on", "innodb_file_per_table", "innodb_encrypt_tables")
    return [
        words
        for name, wanted, words in (
            ("wsrep_on", "OFF", "the server is part of a Galera cluster"),
            ("innodb_file_per_table", "ON", "the server keeps new tables in its system tablespace (innodb_file_per_table=OFF)"),
            ("innodb_encrypt_tables", "OFF", "the server encrypts tablespaces"),
        )
        if found.get(name, wanted) != wanted
    ]


def _release_of(program: str) -> t.Tuple[int, ...]:
    done = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    found = re.search(r"MariaDB server (\d+)\.(\d+)", done.stdout.decode("utf-8", "replace"))
    return (int(found.group(1)), int(found.group(2))) if found else ()


def make_login_file(path: str, login: Login) -> None:
    """Write an option file that lets MariaDB's programs log in, readable by this user only; a password must not be an argument."""
    options = {"protocol": "tcp", "host": login.host, "port": str(login.port), "user": login.user, "password": login.password}
    lines = ["[client]"] + ["{0}={1}".format(name, _quote_option(value)) for name, value in options.items()]
    if login.use_tls:
        lines += ["ssl-verify-server-cert"] + (["ssl-ca={0}".format(_quote_option(login.ca_cert))] if login.ca_cert else [])
    else:
        lines.append("skip-ssl")
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _quote_option(value: str) -> str:
    # "Configuring MariaDB with Option Files": within double quotes, a backslash escapes.
    return '"{0}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))
