# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxy trusts: signatures, and its local copies under cache/.

The lab's rule of the cache. Every local copy carries the fingerprint of the key that verified it, or nothing if it was taken over
unverified. At a start with verification on, a record fails if

* its signature does not verify with the key of this proxy (base rules: with ServiceNow's), or
* the cache holds a copy of it that this key did not verify (taken over unverified, or verified by a key since replaced), or
* the cache holds a copy of it and the instance has no such record any more (deletions are checked too).

So a cache from before a change of the key, and one written while verification was off, make the start fail until cache/ is emptied
(step 7 of KB0621218).
"""

import json
import os
import pathlib
import tempfile
from dataclasses import dataclass, field

from .. import signing
from . import keystore

TABLES = {"configurations": "sys_encryption_configuration", "rules": "sys_encryption_rule"}


@dataclass
class Failure:
    """A record that is not to be trusted."""

    kind: str  # configurations | rules
    row: dict

    @property
    def text(self):
        if self.kind == "rules":
            return f"Edge Encryption rule : '{self.row.get('name', '')}' does not have a valid signature"
        column = self.row.get("column") or self.row.get("type", "")
        return (
            f'Encryption configuration for field \'"{self.row.get("table", "")}"."{column}"\' failed signature validation. '
            "Contact support to restore the encryption configurations."
        )

    @property
    def unsigned(self):
        return not self.row.get("signature")


@dataclass
class Copies:
    """The local copies: per kind, sys_id -> {"verified_by", "row"}; and what belongs to them."""

    configurations: dict = field(default_factory=dict)
    rules: dict = field(default_factory=dict)
    extras: dict = field(default_factory=dict)  # version, patterns, default_keys, db_id

    def __bool__(self):
        return bool(self.configurations or self.rules or self.extras)

    def as_configuration(self):
        return dict(
            self.extras,
            configurations=[copy["row"] for copy in self.configurations.values()],
            rules=[copy["row"] for copy in self.rules.values()],
        )


class Cache:
    """cache/encryptionconfiguration.json and one file a rule in the rules directory."""

    def __init__(self, home, rules_directory):
        self.file = pathlib.Path(home) / "cache" / "encryptionconfiguration.json"
        self.rules = rules_directory

    def read(self):
        copies = Copies()
        if self.file.exists():
            stored = json.loads(self.file.read_text(encoding="utf-8"))
            copies.configurations = stored.pop("configurations")
            copies.extras = stored
        if self.rules.is_dir():
            for path in self.rules.glob("*.json"):
                copies.rules[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        return copies

    def write(self, copies):
        self.file.parent.mkdir(exist_ok=True)
        self.rules.mkdir(parents=True, exist_ok=True)
        _write(self.file, dict(copies.extras, configurations=copies.configurations))
        for path in self.rules.glob("*.json"):
            if path.stem not in copies.rules:
                path.unlink()
        for sys_id, copy in copies.rules.items():
            _write(self.rules / f"{sys_id}.json", copy)


def _write(path, content):
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, ensure_ascii=False)
    os.replace(name, path)


class Trust:
    """The keys that signatures are checked with, and what has to be checked."""

    def __init__(self, customer_key, servicenow_key, *, check_configurations, check_rules):
        self._customer = customer_key
        self._servicenow = servicenow_key
        self._customer_print = keystore.fingerprint(customer_key)
        self._servicenow_print = keystore.fingerprint(servicenow_key)
        self.checks = {"configurations": check_configurations, "rules": check_rules}

    def _key(self, kind, row):
        if kind == "rules" and signing.is_base(row):
            return self._servicenow, self._servicenow_print
        return self._customer, self._customer_print

    def failures(self, configuration, copies, deleted=()):
        """Return every record of C(configuration) that fails, and every vanished one (except those in C(deleted))."""
        found = []
        for kind, table in TABLES.items():
            if not self.checks[kind]:
                continue
            known = getattr(copies, kind)
            present = set()
            for row in configuration[kind]:
                present.add(row["sys_id"])
                key, fingerprint = self._key(kind, row)
                copy = known.get(row["sys_id"])
                if not signing.verify(key, table, row) or (copy and copy["verified_by"] != fingerprint):
                    found.append(Failure(kind, row))
            found += [Failure(kind, copy["row"]) for sys_id, copy in known.items() if sys_id not in present and sys_id not in deleted]
        return found

    def copies(self, configuration, db_id):
        """Return what is to be kept of a configuration that was accepted."""

        def keep(kind):
            return {
                row["sys_id"]: {"verified_by": self._key(kind, row)[1] if self.checks[kind] else None, "row": row}
                for row in configuration[kind]
            }

        extras = {name: configuration.get(name) for name in ("version", "patterns", "default_keys")}
        return Copies(keep("configurations"), keep("rules"), dict(extras, db_id=db_id))
