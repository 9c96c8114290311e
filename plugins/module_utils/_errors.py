# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The one base class of every error this collection raises on purpose."""


import typing as t


class EdgeError(Exception):
    """Something that the operator can act on.

    Args:
        thing: what it concerns, by the name the operator knows (a host, a file, a table).
        cause: what is wrong, in one sentence.
        way_out: what to do about it, in one sentence; may be empty when the cause says it.
        context: further facts for the result of the module (JSON types only, never a secret).
    """

    def __init__(self, thing: str, cause: str, way_out: str = "", **context: t.Any) -> None:
        super().__init__(thing, cause, way_out)
        self.thing = thing
        self.cause = cause
        self.way_out = way_out
        self.context = context

    def __str__(self) -> str:
        text = f"{self.thing}: {self.cause}"
        return f"{text} {self.way_out}" if self.way_out else text

    def to_result(self) -> t.Dict[str, t.Any]:
        """Return the keyword arguments of C(AnsibleModule.fail_json)."""
        return dict(self.context, msg=str(self), error=type(self).__name__)
