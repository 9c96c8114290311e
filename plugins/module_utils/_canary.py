# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""A record that is written through one proxy, read through all, looked at without one, and deleted again."""

import secrets
import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import NotFound, Table


class CanaryDied(EdgeError):
    """A proxy did not encrypt the value, or another one cannot read it."""


class Canary:
    """Proves that keys work: what one proxy encrypts now, every proxy decrypts.

    Args:
        direct: the instance, without a proxy.
        writer: the proxy that writes.
        readers: the proxies that must read.
    """

    def __init__(self, direct: Client, writer: Client, readers: t.Sequence[Client]) -> None:
        self.direct, self.writer, self.readers = direct, writer, readers

    def fly(self, table: str, field: str, values: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
        """Write, read and delete one record; C(values) are further fields of it.

        Returns:
            C(sys_id), C(read_through) and C(cipher_text_without_proxy).
        Raises:
            CanaryDied: the instance got clear text, or a proxy gives another value than was written. The record is deleted all the same.
            EdgeError: the record cannot be deleted, which the text says together with what else went wrong.
        """
        word = "edge canary " + secrets.token_hex(16)
        # What comes back through the writing proxy proves nothing yet, so the record is only known by its sys_id here.
        values = dict(values, **{field: word})
        row = Table(self.writer, table).create(values, key=[field], unreadable=sorted(values))
        sys_id = row["sys_id"]
        trouble = None  # type: t.Optional[EdgeError]
        try:
            self._prove(table, sys_id, field, word)
        except EdgeError as error:
            trouble = error
        self._delete(table, sys_id, trouble)
        if trouble:
            raise trouble
        return {"sys_id": sys_id, "read_through": [reader.url for reader in self.readers], "cipher_text_without_proxy": True}

    def _prove(self, table: str, sys_id: str, field: str, word: str) -> None:
        name = "{}.{}".format(table, field)
        stored = Table(self.direct, table).get(sys_id, [field])[field]
        if not stored or word in stored:
            raise CanaryDied(
                name,
                "{} did not encrypt what was written: the instance holds {}.".format(self.writer.name, "the clear text" if stored else "nothing"),
                "Look at the encryption configuration of this field and at the log of the proxy.",
            )
        for reader in self.readers:
            if Table(reader, table).get(sys_id, [field])[field] != word:
                raise CanaryDied(
                    name,
                    "{} cannot read what {} encrypted.".format(reader.name, self.writer.name),
                    "Compare the keys of the two by edge_encryption.clone.edge_keystore_info.",
                )

    def _delete(self, table: str, sys_id: str, trouble: t.Optional[EdgeError]) -> None:
        try:
            Table(self.direct, table).delete(sys_id)
        except NotFound:
            return
        except EdgeError as error:
            before = "{} Moreover: ".format(trouble) if trouble else ""
            raise EdgeError("{} {}".format(table, sys_id), "{}the record cannot be deleted: {}".format(before, error), "Delete it by hand.") from error
