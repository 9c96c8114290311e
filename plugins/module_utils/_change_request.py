# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What a change request says about whether its change may be made."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._clone import iso
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import Table, equals

TABLE = "change_request"
# Documentation page "Change request state model".
STATES = {
    "-5": "New", "-4": "Assess", "-3": "Authorize", "-2": "Scheduled", "-1": "Implement", "0": "Review", "3": "Closed", "4": "Canceled",
}  # fmt: skip


def read(client: Client, number: str) -> t.Dict[str, t.Any]:
    """Return number, state in words, approval, and planned start and end (UTC, ISO 8601, None if not set) of a change request.

    Raises:
        EdgeError: there is none of that number that the account may read.
    """
    row = Table(client, TABLE).one(equals(number=number), ["number", "state", "approval", "start_date", "end_date"])
    if row is None:
        who = client.credentials.username or "the account"
        raise EdgeError(number, "there is no such change request on {}, or {} may not read it.".format(client.name, who), "Correct the number.")
    return {
        "number": row["number"],
        "state": STATES.get(row["state"], row["state"]),
        "approval": row["approval"],
        "planned_start": iso(row["start_date"]),
        "planned_end": iso(row["end_date"]),
    }
