# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._instance import release_of


@pytest.mark.parametrize(
    ("buildname", "war", "release"),
    [
        ("Zurich", "glide-zurich-07-01-2025__patch4-10-01-2025.zip", "zurich"),
        ("Zurich Patch 4", "", "zurich"),
        ("", "glide-xanadu-07-02-2024__patch11-09-13-2025_09-20-2025_1345.zip", "xanadu"),
        ("", "", ""),
        ("", "12-01-2025.zip", ""),
    ],
)
def test_the_release_of_an_instance(buildname: str, war: str, release: str) -> None:
    assert release_of(buildname, war) == release
