# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab with hosts: every proxy in a booted system of its own, the rest in a network namespace that reaches them and nothing else.

The guard comes first: what is in here starts nothing while the lab's addresses could be reached through this machine's own network.
"""
