# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """The MySQL or MariaDB server that holds a token database."""

    DOCUMENTATION = r"""
options:
  login_host:
    description: Host name or address of the database server.
    type: str
    default: localhost
  login_port:
    description: TCP port of the database server.
    type: int
    default: 3306
  login_user:
    description: Account to log in with. The rights that it needs are listed in the notes.
    type: str
    required: true
  login_password:
    description: Password of O(login_user).
    type: str
    required: true
  ca_cert:
    description:
      - PEM file with the certificate authorities that the server's certificate is checked against.
      - The connection always uses TLS and verifies the server's name, unless O(check_hostname=false) or O(use_tls=false).
    type: path
  check_hostname:
    description: Whether the name in the server's certificate must equal O(login_host).
    type: bool
    default: true
  use_tls:
    description:
      - Whether to encrypt the connection.
      - Clear text crosses this connection, so turn it off only for a server on the same host.
    type: bool
    default: true
  connect_timeout:
    description: Seconds to wait for the connection.
    type: int
    default: 30
  database:
    description: Name of the token database, the proxy property C(edgeencryption.db.name).
    type: str
    default: edgeencryption
requirements:
  - PyMySQL >= 1.0 (with C(cryptography) for MySQL's C(caching_sha2_password))
"""

    REPLICAS = r"""
options:
  replicas:
    description:
      - Replicas of the server. The same account logs in to them, and needs no rights there.
      - They are told by global transaction ids how far they have to be, so the server must write these (MariaDB always does in its binary
        log; for MySQL, C(gtid_mode=ON)).
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Host name or address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        default: 3306
"""
