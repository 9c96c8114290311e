# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private lab for a whole clone."""

from ansible_collections.edge_encryption.clone.tests.e2e.conftest import bench, small

__all__ = ["bench", "small"]
