#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_token_db_info
short_description: Look at an Edge Encryption token database
description:
  - Tells what a database server holds of a token database, what M(edge_encryption.clone.mysql_token_db_sync) has made beside it,
    which rights the account lacks for it, and who is connected.
  - Needs no right beyond a login; what the account may not see is missing from the result.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.attributes.info_module
  - edge_encryption.clone.token_db
  - edge_encryption.clone.token_db.replicas
options:
  snapshot_dir:
    description: Directory of snapshots on the host that runs this module, to be listed as well.
    type: path
  checksums:
    description: Read every row, for exact numbers of rows and for checksums. Without it, RV(tables[].rows) is the server's estimate.
    type: bool
    default: false
  delta:
    description: Count what the option C(delta) of M(edge_encryption.clone.mysql_token_db_sync) needs among the rights of a target as well.
    type: bool
    default: false
seealso:
  - module: edge_encryption.clone.mysql_token_db_sync
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Look at the token database of the target
  edge_encryption.clone.mysql_token_db_info:
    login_host: tokens.test.example.com
    login_user: edge_clone_write
    login_password: "{{ target_password }}"
    ca_cert: /etc/pki/tokens.pem
  register: token_db

- name: Stop when a right is missing
  ansible.builtin.assert:
    that: token_db.missing_privileges.target | length == 0
    fail_msg: "{{ token_db.missing_privileges.target | join('; ') }}"
"""

RETURN = r"""
server:
  description: The server, as it describes itself.
  returned: success
  type: dict
  contains:
    vendor:
      description: V(mysql) or V(mariadb).
      type: str
      sample: mariadb
    version:
      description: Its version.
      type: str
      sample: 10.11.6-MariaDB-log
    identity:
      description: What tells this server from others, by name of the server's variable.
      type: dict
      sample: {"server_uid": "pgaDltRzGv30QoyXnINnt9R2Mrs=", "hostname": "tokens1", "port": "3306", "datadir": "/var/lib/mysql/"}
    read_only:
      description: Whether it refuses writes.
      type: bool
      sample: false
    local_infile:
      description: Whether it takes C(LOAD DATA LOCAL).
      type: bool
      sample: true
    max_allowed_packet:
      description: Size of the largest statement or row in bytes.
      type: int
      sample: 16777216
    replica:
      description: Whether it replicates from another server.
      type: bool
      sample: false
    account:
      description: The account that the login was taken for.
      type: str
      sample: edge_clone_write@10.0.0.%
    binary_log:
      description: Whether it writes a binary log.
      type: bool
      sample: true
schemas:
  description: The token database, and the schemas that were made beside it.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the schema.
      type: str
      sample: edgeencryption_stage
    kind:
      description: V(live), V(stage), or V(previous) for one that keeps replaced tables.
      type: str
      sample: stage
    exists:
      description: Whether it exists and the account may see it.
      type: bool
      sample: true
    bytes:
      description: The server's estimate of its size in bytes.
      type: int
      sample: 471859200
    run_id:
      description: The run that it was made for.
      type: str
      sample: acmetest/CLONE0010001
    snapshot:
      description: ID of the snapshot that it has to do with.
      type: str
      sample: 20260102T030436Z-1a2b3c
    phase:
      description: Last line of its journal.
      type: str
      sample: complete
tables:
  description: Tables of the token database.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the table.
      type: str
      sample: edge_token_map
    engine:
      description: Its storage engine.
      type: str
      sample: InnoDB
    rows:
      description: Number of rows, exact only with O(checksums=true).
      type: int
      sample: 700000
    bytes:
      description: The server's estimate of its size in bytes.
      type: int
      sample: 314572800
    checksum:
      description: Checksum of its rows, in the manner of M(edge_encryption.clone.mysql_token_db_sync).
      returned: O(checksums=true)
      type: str
      sample: 00000000000000000000b0a4d5e1f7c2
snapshots:
  description: Complete snapshots in O(snapshot_dir), oldest first, described as in RV(edge_encryption.clone.mysql_token_db_sync#module:snapshot).
  returned: O(snapshot_dir) is given
  type: list
  elements: dict
  sample: []
staged:
  description:
    - What is in the shadow schema - its C(schema), C(snapshot), C(run_id), whether it is C(complete), and C(at), the UTC time of that.
    - Null for nothing.
  returned: success
  type: dict
  sample: {"schema": "edgeencryption_stage", "snapshot": "20260102T030436Z-1a2b3c", "run_id": "acmetest/CLONE0010001", "complete": true,
    "at": "2026-01-02T03:10:00.000000Z"}
previous:
  description: Schemas that keep replaced tables.
  returned: success
  type: list
  elements: dict
  contains:
    schema:
      description: Name of the schema.
      type: str
      sample: edgeencryption_prev_acmetest_clone0010001_1a2b3c4d
    run_id:
      description: The run that replaced them.
      type: str
      sample: acmetest/CLONE0010001
    kind:
      description: V(cut_over) when a cut-over replaced them, V(rolled_back) when a roll-back did.
      type: str
      sample: cut_over
    snapshot:
      description: ID of the snapshot that the run put live.
      type: str
      sample: 20260102T030436Z-1a2b3c
    phase:
      description: V(complete), V(planned) for an exchange that was interrupted, V(undone) when it was rolled back.
      type: str
      sample: complete
    at:
      description: Time of that in UTC.
      type: str
      sample: "2026-01-02T05:00:00.000000Z"
    tables:
      description: Names of the tables.
      type: list
      elements: str
      sample: [db_id, edge_token_map, token_map]
snapshot_dir_free_bytes:
  description: Bytes that are free where the snapshots go.
  returned: when O(snapshot_dir) is given
  type: int
  sample: 85899345920
tablespaces:
  description: Whether this host can have the server's files copied or imported, as C(engine) of M(edge_encryption.clone.mysql_token_db_sync) may ask for.
  returned: success
  type: dict
  contains:
    vendor:
      description: V(mysql) or V(mariadb). It must be the same on both sides.
      type: str
      sample: mariadb
    release:
      description: Major and minor version. It must be the same on both sides.
      type: list
      elements: int
      sample: [10, 11]
    page_size:
      description: Size of InnoDB's pages in bytes. It must be the same on both sides.
      type: int
      sample: 16384
    source:
      description: What is against copying the files of this server's token database. Empty when nothing is.
      type: list
      elements: str
      sample: ["mariadb-backup is not installed on this host"]
    target:
      description: What is against importing files on this server. Empty when nothing is.
      type: list
      elements: str
      sample: ["the server writes a binary log, which an import does not enter"]
missing_privileges:
  description: The C(GRANT) statements that the account lacks in order to be used for the C(source), or for the C(target).
  returned: success
  type: dict
  sample: {"source": ["GRANT RELOAD ON *.* TO 'edge_clone_write'@'10.0.0.%'"], "target": []}
connections:
  description: Others that are connected to the token database. Null when the account lacks C(PROCESS) and so cannot know.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Connection ID.
      type: int
      sample: 4711
    user:
      description: User name.
      type: str
      sample: edge_proxy
    host:
      description: Host and port that it comes from.
      type: str
      sample: 10.0.0.7:53210
    command:
      description: What it does.
      type: str
      sample: Sleep
    seconds:
      description: Since how many seconds.
      type: int
      sample: 12
replicas:
  description: What O(replicas) names.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: Host name or address.
      type: str
      sample: tokens2.test.example.com
    port:
      description: TCP port.
      type: int
      sample: 3306
    applied:
      description: Whether it has applied all that the server had written to its binary log when this module asked.
      type: bool
      sample: true
    waited_s:
      description: Seconds that the question took.
      type: float
      sample: 0.012
utc_now:
  description: The server's clock, in UTC.
  returned: success
  type: str
  sample: "2026-01-02T03:04:05.123456Z"
clock_skew_s:
  description: Seconds by which the server's clock is ahead of the clock of the host that runs this module.
  returned: success
  type: float
  sample: 0.012
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils import _artefact, _db, _status
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            _db.LOGIN_OPTIONS,
            snapshot_dir={"type": "path"},
            checksums={"type": "bool", "default": False},
            delta={"type": "bool", "default": False},
            replicas=_db.REPLICAS_OPTION,
        ),
        supports_check_mode=True,
    )
    if _db.PYMYSQL_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("PyMySQL"), exception=_db.PYMYSQL_IMPORT_ERROR)
    if _artefact.LIBRARY_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("zstandard and cryptography"), exception=_artefact.LIBRARY_IMPORT_ERROR)
    params = module.params
    try:
        login = _db.make_login(params)
        found = _status.look(login, params["database"], params["snapshot_dir"], params["checksums"], params["delta"], params["replicas"])
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
