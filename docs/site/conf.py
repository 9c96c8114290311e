# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Appended to the conf.py that antsibull-docs writes: the site is built without network. What Ansible's own pages are referred to for is in elsewhere.rst.
intersphinx_mapping = {}
