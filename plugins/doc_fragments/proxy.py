# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """The Edge Encryption proxy in front of the instance, for modules that need both ways."""

    DOCUMENTATION = r"""
options:
  proxy_url:
    description:
      - Base URL of an Edge Encryption proxy of the instance, such as V(https://edge1.example.com:8443).
      - The module logs in through it with the account of O(instance).
      - The address of a load balancer will do if it keeps sessions on one proxy.
    type: str
    required: true
  proxy_ca_path:
    description: PEM file with the certificate authorities to trust for O(proxy_url). Default is that of O(instance.ca_path).
    type: path
"""
