# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """The ServiceNow instance a module talks to."""

    # Same names and environment variables as servicenow.itsm, so that an existing credential works unchanged.
    DOCUMENTATION = r"""
options:
  instance:
    description:
      - The ServiceNow instance and how to log in to it.
      - Option names and environment variables are those of the C(servicenow.itsm) collection.
      - Client certificates are not offered, because an instance with Edge Encryption does not support them.
    type: dict
    required: true
    suboptions:
      host:
        description:
          - Base URL of the instance, such as V(https://acmetest.service-now.com).
          - Falls back to the environment variable E(SN_HOST).
        type: str
      username:
        description:
          - User name for basic authentication or for the C(password) grant.
          - Falls back to the environment variable E(SN_USERNAME).
        type: str
      password:
        description:
          - Password of O(instance.username).
          - Falls back to the environment variable E(SN_PASSWORD).
        type: str
      grant_type:
        description:
          - OAuth grant to use when O(instance.client_id) is given.
          - Falls back to the environment variable E(SN_GRANT_TYPE).
        type: str
        choices: [password, client_credentials]
        default: password
      client_id:
        description:
          - OAuth client ID. Without it, basic authentication is used.
          - Falls back to the environment variable E(SN_CLIENT_ID).
        type: str
      client_secret:
        description:
          - OAuth client secret of O(instance.client_id).
          - Falls back to the environment variable E(SN_CLIENT_SECRET).
        type: str
      timeout:
        description:
          - Seconds to wait for a connection, and again for each answer.
          - Falls back to the environment variable E(SN_TIMEOUT).
        type: float
        default: 30
      validate_certs:
        description: Whether to verify the TLS certificate of the instance.
        type: bool
        default: true
      ca_path:
        description: PEM file with the certificate authorities to trust instead of the system's.
        type: path
"""
