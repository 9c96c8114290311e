# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's stand-in of the Edge Encryption proxy. What it follows and what it chose itself: see the lab's README."""

VERSION = "27.0.0.0"
