# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The knobs of an instance, all settable on the control port, kept over a restart."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

STAGES = (
    "Clone build configuration",
    "Preflight checks",
    "Backup",
    "Pre-Clone",
    "Provision DBI",
    "Restore",
    "Exclusions",
    "Preservers",
    "Node repoint",
    "Scheduling scripts",
    "Post Clone",
)
DEFAULTS: dict[str, t.Any] = {
    # Network and load
    "latency_ms": 0,
    "direct_latency_ms": 0,  # on top of it, for clients that come without a proxy
    "jitter_ms": 0,
    "rate_limit": None,  # {"limit": N, "seconds": 3600} per user
    "hibernating": False,
    # Open questions of the documentation, both settings testable
    "elevation_required": False,
    "elevation_refusal": "forbidden",  # or "silent": 200, nothing changed
    "authenticate_by_rest": True,
    "signature_readable": True,
    "invalid_query_returns_no_rows": False,
    # Logging in
    "basic_auth_restricted": False,
    "mfa_users": [],
    "token_seconds": 1799,
    # Clone engine (of the source)
    "clone_ui": "legacy",  # legacy: clone_instance, console: sn_instance_clone_request, both: the two mirror each other
    "clone_speed": 1.0,
    "stage_seconds": {
        "Clone build configuration": 1,
        "Preflight checks": 1,
        "Backup": 5,
        "Pre-Clone": 1,
        "Provision DBI": 2,
        "Restore": 10,
        "Exclusions": 2,
        "Preservers": 2,
        "Node repoint": 3,
        "Scheduling scripts": 1,
        "Post Clone": 2,
        "Cleanup scripts": 3,
        "Rollback": 5,
    },
    "backup_seconds": 0,  # of a nightly backup; not divided by clone_speed
    "clone_min_days": 0,  # the platform says 5
    "clone_error_stage": None,
    "require_security_token": False,  # True: a request without the token of the target stays on Hold
    "cleanup_fails": False,  # the first cleanup script ends in an error
    # Key rotation
    "rotation_chunk_size": 5,
    "rotation_chunk_seconds": 0,  # between two chunks that are handed out
    "rotation_failures": [],  # sys_ids of records that cannot be written back
    "rotation_end_state": None,  # what the state of an execution becomes in the end, whatever came of it
    "former_defaults_stay": False,  # True: a key that was ever a default cannot be deleted from the list, even if no proxy has it any more
    # Node repoint (of the target)
    "down_style": "both",  # status: 503, reset: connections closed, both: in turns
}


class Knobs(t.Dict[str, t.Any]):
    """The settings; a PUT merges into them, one level deep for ``stage_seconds``."""

    def __init__(self, path: Path) -> None:
        super().__init__(json.loads(json.dumps(DEFAULTS)))
        self.path = path
        if path.exists():
            self.merge(json.loads(path.read_text()))

    def merge(self, changes: t.Mapping[str, t.Any]) -> None:
        unknown = set(changes) - set(DEFAULTS)
        if unknown:
            raise ValueError("unknown knob: {}".format(", ".join(sorted(unknown))))
        changes = dict(changes)
        self["stage_seconds"].update(changes.pop("stage_seconds", {}))
        self.update(changes)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self, indent=2))
        partial.replace(self.path)
