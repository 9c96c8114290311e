# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ServiceNow instance stand-in: REST APIs, access control, clone engine, control port.

What each idea follows is told in tests/lab/README.md. Start it with ``python -m edgelab.instance --dir DIR``.
"""
