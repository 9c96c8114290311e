# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Whatever is kept for a later run carries the number of its format, which goes up when an older release would misread it."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def check_format(thing: str, found: t.Any, known: int, error: t.Type[EdgeError] = EdgeError) -> None:
    """Refuse what a newer release wrote.

    Args:
        thing: what carries the number.
        found: the number.
        known: the newest one that this release reads; it reads all older ones.
        error: what to raise.
    Raises:
        EdgeError: or C(error).
    """
    # A boolean is an integer to Python.
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= known:
        raise error(
            thing,
            "has format {0}, and this release of edge_encryption.clone knows none above {1}.".format(found, known),
            "Take the release that wrote it, or a newer one.",
        )
