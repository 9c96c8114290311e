# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Which rights an account needs and which of them it lacks, told as the GRANT that helps."""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Session
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

SOURCE = ("SELECT", "SHOW VIEW", "TRIGGER")
TARGET = ("SELECT", "INSERT", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES", "TRIGGER", "CREATE VIEW", "SHOW VIEW")
_GRANT = re.compile(r"^GRANT (.+?) ON (?:TABLE )?(`(?:[^`]|``)*`|\*)\.(\*|`(?:[^`]|``)*`) TO ")


class PrivilegeError(EdgeError):
    """The account lacks a right."""


class Grants:
    """The rights of the account of a session, as SHOW GRANTS tells them (those of its active roles included)."""

    def __init__(self, account: str, statements: t.Iterable[str]) -> None:
        self.account = account
        self._grants = []  # type: t.List[t.Tuple[str, t.Set[str]]]
        for statement in statements:
            found = _GRANT.match(statement)
            # A right on a single table does not carry a database.
            if found and found.group(3) == "*":
                rights = {right.strip().upper() for right in found.group(1).split(",")}
                self._grants.append((found.group(2).strip("`").replace("``", "`"), rights))

    @classmethod
    def read(cls, session: Session) -> "Grants":
        return cls(session.value("SELECT CURRENT_USER()"), [row[0] for row in session.rows("SHOW GRANTS")])

    def holds(self, right: str, schema: str = "*") -> bool:
        """Tell whether the account holds a right on a database, or for V(*) globally."""
        for pattern, rights in self._grants:
            if pattern == "*" or (schema != "*" and _like(pattern, schema)):
                if right in rights or "ALL PRIVILEGES" in rights:
                    return True
        return False

    def missing(self, rights: t.Iterable[str], pattern: str, schemas: t.Iterable[str]) -> t.List[str]:
        """Return the GRANT statement that adds what is missing on any of the databases, or nothing."""
        names = list(schemas)
        lacking = [right for right in rights if not all(self.holds(right, name) for name in names)]
        if not lacking:
            return []
        return ["GRANT {0} ON {1} TO {2}".format(", ".join(lacking), pattern, self._quoted())]

    def missing_on_source(self, database: str) -> t.List[str]:
        return self.missing(SOURCE, "`{0}`.*".format(_escape(database)), [database])

    def missing_on_target(self, database: str, others: t.Iterable[str], delta: bool = False) -> t.List[str]:
        """Return what is missing on the database, on those made beside it, and to see who is connected.

        A delta alone changes rows, and only in schemas that this collection made.
        """
        statements = self.missing(TARGET, "`{0}`.*".format(_escape(database)), [database])
        statements += self.missing(TARGET + (("DELETE",) if delta else ()), "`{0}\\_%`.*".format(_escape(database)), others)
        return statements + self.missing(["PROCESS"], "*.*", ["*"])

    def _quoted(self) -> str:
        user, dummy, host = self.account.rpartition("@")
        return "'{0}'@'{1}'".format(user.replace("'", "''"), host.replace("'", "''"))


def require(thing: str, statements: t.Sequence[str]) -> None:
    if statements:
        raise PrivilegeError(thing, "the account lacks rights.", "Run there: {0};".format("; ".join(statements)), missing_privileges=list(statements))


def _escape(name: str) -> str:
    return name.replace("`", "``").replace("_", "\\_").replace("%", "\\%")


def _like(pattern: str, name: str) -> bool:
    """Match a database name against the pattern of a grant (MySQL's LIKE with its backslash)."""
    parts = re.findall(r"\\.|.", pattern)
    expression = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    return re.match(expression + r"\Z", name, re.IGNORECASE) is not None
