# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Which rights an account needs and which of them it lacks, told as the GRANT that helps."""

import re
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._db import Session, quote_name
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

SOURCE = ("SELECT", "SHOW VIEW", "TRIGGER")
TARGET = ("SELECT", "INSERT", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES", "TRIGGER", "CREATE VIEW", "SHOW VIEW")
_GRANT = re.compile(r"^(GRANT|REVOKE) (.+?) ON (?:TABLE )?(`(?:[^`]|``)*`|\*)\.(\*|`(?:[^`]|``)*`) (?:TO|FROM) ")


class PrivilegeError(EdgeError):
    """The account lacks a right."""


class Grants:
    """The rights of the account of a session, as SHOW GRANTS tells them (those of its active roles included).

    Args:
        account: whose rights they are.
        statements: as SHOW GRANTS has them.
        literal: a name with C(%), C(_) or a backslash stands for no other, as with MySQL's C(partial_revokes) ("Privilege Restriction Using Partial
            Revokes" in its manual).
    """

    def __init__(self, account: str, statements: t.Iterable[str], literal: bool = False) -> None:
        self.account = account
        self._literal = literal
        self._grants = []  # type: t.List[t.Tuple[str, t.Set[str]]]
        self._exceptions = []  # type: t.List[t.Tuple[str, t.Set[str]]]
        for statement in statements:
            found = _GRANT.match(statement)
            # A right on a single table does not carry a database.
            if found and found.group(4) == "*":
                rights = {right.strip().upper() for right in found.group(2).split(",")}
                kind = self._grants if found.group(1) == "GRANT" else self._exceptions
                kind.append((found.group(3).strip("`").replace("``", "`"), rights))

    @classmethod
    def read(cls, session: Session) -> "Grants":
        literal = session.variables("partial_revokes").get("partial_revokes") == "ON"
        return cls(session.value("SELECT CURRENT_USER()"), [row[0] for row in session.rows("SHOW GRANTS")], literal)

    def holds(self, right: str, schema: str = "*") -> bool:
        """Tell whether the account holds a right on a database, or for V(*) globally."""
        # What is revoked of a database is an exception from what is granted globally.
        excepted = any(right in rights and schema != "*" and _like(pattern, schema, True) for pattern, rights in self._exceptions)
        for pattern, rights in self._grants:
            everywhere = pattern == "*" and not excepted
            if everywhere or (pattern != "*" and schema != "*" and _like(pattern, schema, self._literal)):
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
        return self.missing(SOURCE, self._only(database), [database])

    def missing_on_target(self, database: str, others: t.Iterable[str], delta: bool = False) -> t.List[str]:
        """Return what is missing on the database, on those made beside it, and to see who is connected.

        A delta alone changes rows, and only in schemas that this collection made.
        """
        statements = self.missing(TARGET, self._only(database), [database])
        beside = {"`{0}\\_%`.*".format(_escape(database)): list(others)}
        if self._literal:
            beside = {self._only(name): [name] for name in others}
        for pattern, names in beside.items():
            statements += self.missing(TARGET + (("DELETE",) if delta else ()), pattern, names)
        return statements + self.missing(["PROCESS"], "*.*", ["*"])

    def _only(self, schema: str) -> str:
        """Return how a GRANT names one database and no other."""
        return "{0}.*".format(quote_name(schema) if self._literal else "`{0}`".format(_escape(schema)))

    def _quoted(self) -> str:
        user, dummy, host = self.account.rpartition("@")
        return "'{0}'@'{1}'".format(user.replace("'", "''"), host.replace("'", "''"))


def require(thing: str, statements: t.Sequence[str]) -> None:
    if statements:
        raise PrivilegeError(thing, "the account lacks rights.", "Run there: {0};".format("; ".join(statements)), missing_privileges=list(statements))


def _escape(name: str) -> str:
    return name.replace("`", "``").replace("_", "\\_").replace("%", "\\%")


def _like(pattern: str, name: str, literal: bool) -> bool:
    """Match a database name against the pattern of a grant: MySQL's LIKE with its backslash, or the very name, in which a backslash is one too."""
    if literal:
        return pattern == name
    parts = re.findall(r"\\.|.", pattern)
    expression = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    return re.match(expression + r"\Z", name, re.IGNORECASE) is not None
