#!/usr/bin/python
# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_token_db_sync
short_description: Copy an Edge Encryption token database to another server
description:
  - Takes a consistent snapshot of the token database of the source, loads it into a shadow schema beside the live database of the target,
    puts it live with one atomic C(RENAME TABLE), and can go back.
  - The token database of Edge Encryption holds the only copy of clear text that was tokenized by patterns
    (see I(Edge Encryption components) in the documentation of ServiceNow), so nothing is ever overwritten or dropped
    except with O(state=pruned); and what O(state=discarded) drops is a copy.
  - Any schema of InnoDB tables is copied, with its views and triggers. Routines and events are left out and named in RV(left_out).
  - Each O(state) first looks whether it is already reached. An interrupted call is completed by the same call.
extends_documentation_fragment:
  - edge_encryption.clone.attributes
  - edge_encryption.clone.token_db
  - edge_encryption.clone.token_db.replicas
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows rows and checksum of each table. For O(state=cut_over) and O(state=rolled_back) every row of the live tables is read for it.
  idempotent:
    support: full
    details:
      - With O(state=snapshotted), a call with neither O(backup_time) nor O(run_id) takes a new snapshot each time.
options:
  state:
    description:
      - V(snapshotted) - a snapshot of O(database) on this server is in O(snapshot_dir).
        With O(backup_time), one that the time rule allows; otherwise one that was taken with the same O(run_id).
      - V(staged) - a snapshot is loaded into O(stage_schema) on this server, and every chunk verified there by rows and checksum.
      - V(discarded) - O(stage_schema) is dropped if it was staged with the same O(run_id), because the clone that it was staged for never replaced the data of
        its instance.
      - V(cut_over) - the staged tables are live, the replaced ones are in O(previous_schema).
      - V(rolled_back) - the tables that the cut-over of O(run_id) replaced are live again, and what it had put live is kept in a schema of its own.
      - V(pruned) - O(previous_schema) is dropped. Refused before O(keep_for) has passed.
    type: str
    required: true
    choices: [snapshotted, staged, discarded, cut_over, rolled_back, pruned]
  snapshot_dir:
    description: Directory of the snapshots, on the host that runs this module. Needed for O(state=snapshotted) and O(state=staged).
    type: path
  snapshot:
    description: ID of the snapshot to stage or, for O(state=cut_over), that must be the staged one.
    type: str
  engine:
    description:
      - What O(state=snapshotted) copies, and which snapshots O(state=staged) may choose. One that O(snapshot) names is staged whatever it holds.
      - V(rows) - the rows, over O(workers) connections. Works on every server, and is the only one that O(delta) can use.
      - V(tablespaces) - the files of the tables, which C(mariadb-backup) copies while the source is being written to, and which the target imports. The
        hash of each row is read from the source as well, at the moment of the copy, and every row is measured on the target. It takes less time, but
        only works on MariaDB, where the module runs as root or as the owner of the server's data directory, and not with a binary log on the target, Galera,
        encrypted, partitioned or full-text tables, or two servers of different releases.
      - V(auto) - files when nothing is against it, otherwise rows. RV(tablespaces_refused) tells what is against it.
    type: str
    default: rows
    choices: [auto, rows, tablespaces]
  target_tablespaces:
    description:
      - What RV(edge_encryption.clone.mysql_token_db_info#module:tablespaces) is on the target, for O(state=snapshotted).
      - With O(engine=auto), files are copied only when the target can import them.
    type: dict
  source_server:
    description:
      - The server that the snapshot to stage must be of, as RV(edge_encryption.clone.mysql_token_db_info#module:server.identity) describes it.
      - Snapshots of other servers are passed over. Without it, O(snapshot_dir) must hold snapshots of one server, or O(snapshot) names one.
    type: dict
  backup_time:
    description:
      - End of the instance backup that the clone uses, in UTC, such as V(2026-01-02 03:04:05).
      - The oldest snapshot that began at or after this time plus O(margin) is used. An older one may lack tokens that the cloned instance contains.
    type: str
  margin:
    description: Seconds to add to O(backup_time), at least the difference between the clocks of the instance and of the database server.
    type: float
    default: 0
  max_lag:
    description: Seconds by which a snapshot may begin later than O(backup_time) plus O(margin).
    type: float
    default: 14400
  run_id:
    description: Name of the run, such as V(acmetest/CLONE0010001). Needed for O(state=cut_over) and O(state=rolled_back).
    type: str
  encryption_key:
    description:
      - Key that the snapshots are encrypted with (AES-256-GCM), at least 16 characters.
      - Never logged, and never part of a command line.
    type: str
  encryption_key_file:
    description: File that holds the key instead. It must not be open to other users.
    type: path
  unencrypted:
    description: Take the snapshot without encryption and without a key. Its files then hold clear text of ServiceNow records.
    type: bool
    default: false
  stage_schema:
    description: Name of the shadow schema. The default is the name of O(database) followed by C(_stage).
    type: str
  previous_schema:
    description:
      - Name of the schema that keeps the tables which a cut-over replaced.
      - The default is made of O(database), C(_prev) and O(run_id).
    type: str
  keep_tables:
    description:
      - Tables of the target that stay in place instead of being replaced, such as V(db_id).
      - A table that the snapshot does not know must be named here, otherwise it is an error.
    type: list
    elements: str
    default: []
  delta:
    description:
      - Begin O(state=staged) with the tables that an earlier run replaced, and change in them only the rows that differ from the snapshot.
      - The youngest schema is taken that keeps replaced tables, belongs to another run and is older than O(keep_for). It is gone afterwards, so
        that earlier run can no longer be rolled back. Without such a schema, everything is loaded.
      - Every row is compared by its checksum, so the result is the same as without this option. It needs C(DELETE) on the schemas beside O(database).
      - Without effect on a snapshot of files (see O(engine)).
    type: bool
    default: false
  allow_connected:
    description: Exchange the tables although other clients are connected to O(database). By default the proxies must be down.
    type: bool
    default: false
  allow_same_server:
    description: Stage a snapshot into the database that it was taken from, to restore a safety snapshot of the target.
    type: bool
    default: false
  instance_rolled_back:
    description:
      - Whether the instance has been rolled back to before the clone. Then O(state=rolled_back) brings back the tokens that belong to it.
      - With the cloned instance in place, going back makes every value unreadable that has a token; it is refused unless O(force_mismatch) is given.
    type: bool
    default: false
  force_mismatch:
    description: The name in O(database), to go back (O(state=rolled_back)) although the instance was not rolled back.
    type: str
  workers:
    description: Number of connections that copy at the same time.
    type: int
    default: 2
  chunk_bytes:
    description: Size to aim at for the text of a chunk.
    type: int
    default: 4194304
  lock_wait_timeout:
    description:
      - Seconds to wait for locks on tables.
      - The read lock of a snapshot is tried for in short attempts during this time, so that writers do not queue up behind it.
      - With O(engine=tablespaces), the time for each of the backup locks that only DDL waits for; nobody is kept from committing for more than 5 seconds.
    type: int
    default: 10
  replica_timeout:
    description:
      - Seconds within which all of O(replicas) together must have applied the whole stage, before O(state=cut_over) or O(state=rolled_back)
        exchanges tables. The tables stay as they are when it is not enough.
      - With O(state=staged) and in check mode, replicas only have to be reachable.
    type: float
    default: 600
  keep_snapshots:
    description:
      - Number of snapshots of this database to leave in O(snapshot_dir) after a new one has been taken.
      - One that is younger than O(keep_for) is never removed. By default none is removed.
    type: int
  keep_for:
    description: Seconds that replaced tables and surplus snapshots are kept at least. The default is 8 days, since an instance can be rolled back for 7.
    type: float
    default: 691200
  progress_file:
    description: File to append the progress to, as one JSON object a line, once a second. It holds counts only.
    type: path
requirements:
  - zstandard
  - cryptography
notes:
  - >-
    Rights on the source: C(GRANT SELECT, SHOW VIEW, TRIGGER ON `edgeencryption`.*) and C(GRANT RELOAD ON *.*). Without C(RELOAD), C(LOCK TABLES) on
    the database is used; without that, a single connection. C(PROCESS) is optional and lets long statements be found before locking.
  - >-
    Rights on the target: C(GRANT SELECT, INSERT, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, CREATE VIEW, SHOW VIEW) both on
    C(`edgeencryption`.*) and on C(`edgeencryption\_%`.*), and C(GRANT PROCESS ON *.*). With O(delta), C(DELETE) on the latter too.
    A safety snapshot there needs the rights of a source.
  - >-
    With O(engine=tablespaces), C(PROCESS) and C(RELOAD) are needed on the source, and C(mariadb-backup) of the server's release on the
    host that runs this module. The copied files lie in O(snapshot_dir) in clear text until they are encrypted and removed; a run that was
    killed leaves them to the next one to remove.
  - >-
    Views and triggers are created with the account of this module as definer, since the original one need not exist on the target. Should the database
    have any, grant this account what they need in order to run. The tables of Edge Encryption come without. A server that writes a binary log
    lets an account without C(SUPER) create triggers only with C(log_bin_trust_function_creators=ON) (error 1419); O(state=staged) finds that out
    before it loads anything. On MySQL, views and triggers whose definer holds C(SYSTEM_USER) can be exchanged only by an account that holds it too.
  - >-
    A MySQL column of type C(json) is copied exactly; values in it that no JSON text stands for (dates, decimals, as functions can
    make them) are refused before anything is read.
  - The rows are loaded with C(LOAD DATA LOCAL) where the server allows it, otherwise with C(INSERT). RV(load_method) tells which.
seealso:
  - module: edge_encryption.clone.mysql_token_db_info
author:
  - edge_encryption.clone contributors (@edge-encryption)
"""

EXAMPLES = r"""
- name: Take a snapshot of the source after its nightly backup
  edge_encryption.clone.mysql_token_db_sync:
    state: snapshotted
    login_host: tokens.prod.example.com
    login_user: edge_clone_read
    login_password: "{{ source_password }}"
    ca_cert: /etc/pki/tokens.pem
    snapshot_dir: /var/lib/edge_clone/snapshots
    encryption_key_file: /etc/edge_clone/snapshot.key
    backup_time: "{{ clone.backup_completed }}"

- name: Look whether the target can import files
  edge_encryption.clone.mysql_token_db_info:
    login_host: tokens.test.example.com
    login_user: edge_clone_write
    login_password: "{{ target_password }}"
    ca_cert: /etc/pki/tokens.pem
  register: target_db

- name: Take a snapshot of the files, or of the rows where that cannot be
  edge_encryption.clone.mysql_token_db_sync:
    state: snapshotted
    engine: auto
    target_tablespaces: "{{ target_db.tablespaces }}"
    login_host: tokens.prod.example.com
    login_user: edge_clone_read
    login_password: "{{ source_password }}"
    ca_cert: /etc/pki/tokens.pem
    snapshot_dir: /var/lib/edge_clone/snapshots
    encryption_key_file: /etc/edge_clone/snapshot.key
    run_id: acmetest/CLONE0010001

- name: Load it beside the live database of the target
  edge_encryption.clone.mysql_token_db_sync:
    state: staged
    login_host: tokens.test.example.com
    login_user: edge_clone_write
    login_password: "{{ target_password }}"
    ca_cert: /etc/pki/tokens.pem
    snapshot_dir: /var/lib/edge_clone/snapshots
    encryption_key_file: /etc/edge_clone/snapshot.key
    backup_time: "{{ clone.backup_completed }}"
    run_id: acmetest/CLONE0010001

- name: Put it live on a server that two others replicate, once they hold it as well
  edge_encryption.clone.mysql_token_db_sync:
    state: cut_over
    login_host: tokens1.test.example.com
    login_user: edge_clone_write
    login_password: "{{ target_password }}"
    ca_cert: /etc/pki/tokens.pem
    run_id: acmetest/CLONE0010001
    replicas:
      - host: tokens2.test.example.com
      - host: tokens3.test.example.com

- name: Put it live while the proxies are down
  edge_encryption.clone.mysql_token_db_sync:
    state: cut_over
    login_host: tokens.test.example.com
    login_user: edge_clone_write
    login_password: "{{ target_password }}"
    ca_cert: /etc/pki/tokens.pem
    run_id: acmetest/CLONE0010001
    backup_time: "{{ clone.backup_completed }}"
"""

RETURN = r"""
snapshot:
  description: The snapshot that was taken, staged or put live. For the states that need no O(snapshot_dir), only its C(id) and C(began).
  returned: success, except for O(state=pruned), O(state=discarded) and for a new snapshot in check mode
  type: dict
  contains:
    id:
      description: Name of its directory.
      type: str
      sample: 20260102T030436Z-1a2b3c
    path:
      description: Its directory.
      type: str
      sample: /var/lib/edge_clone/snapshots/20260102T030436Z-1a2b3c
    database:
      description: The database that it was taken from.
      type: str
      sample: edgeencryption
    began:
      description: Time in UTC by the database server's clock. What was committed before is in the snapshot.
      type: str
      sample: "2026-01-02T03:04:36.123456Z"
    ended:
      description: Time in UTC at which the last row had been read.
      type: str
      sample: "2026-01-02T03:04:39.123456Z"
    run_id:
      description: The O(run_id) that it was taken for.
      type: str
      sample: acmetest/CLONE0010001
    server_version:
      description: Version of the server that it was taken from.
      type: str
      sample: 10.11.6-MariaDB-log
    engine:
      description: V(rows), or V(tablespaces) for files.
      type: str
      sample: rows
    encrypted:
      description: Whether its files are encrypted.
      type: bool
      sample: true
    tables:
      description: Number of tables.
      type: int
      sample: 3
    rows:
      description: Number of rows.
      type: int
      sample: 1000000
    bytes:
      description: Size of its files in bytes.
      type: int
      sample: 198180864
tables:
  description: Rows and checksum of each table that was copied. Empty for O(state=rolled_back).
  returned: success, except for O(state=pruned), O(state=discarded) and for a new snapshot in check mode
  type: list
  elements: dict
  contains:
    name:
      description: Name of the table.
      type: str
      sample: edge_token_map
    rows:
      description: Number of rows.
      type: int
      sample: 700000
    checksum:
      description: Sum of 64 bits of the SHA-256 of each row, in hexadecimal digits. It does not depend on order.
      type: str
      sample: 00000000000000000000b0a4d5e1f7c2
verified:
  description: Whether every chunk was found on the target with the rows and checksum of the snapshot, and the tables are where they should be.
  returned: O(state=staged), O(state=cut_over) and O(state=rolled_back)
  type: bool
  sample: true
stage_schema:
  description: The shadow schema.
  returned: O(state=staged) and O(state=discarded)
  type: str
  sample: edgeencryption_stage
previous_schema:
  description: The schema that keeps the tables which were replaced or, for O(state=pruned), that is gone.
  returned: O(state=cut_over), O(state=rolled_back) and O(state=pruned)
  type: str
  sample: edgeencryption_prev_acmetest_clone0010001_1a2b3c4d
tablespaces_refused:
  description: What was against copying files, when O(engine) asked for them.
  returned: O(state=snapshotted) and changed
  type: list
  elements: str
  sample: ["the server is no MariaDB"]
load_method:
  description: V(load_data) for C(LOAD DATA LOCAL), V(insert) for multi-row C(INSERT), V(import_tablespace) for C(ALTER TABLE ... IMPORT TABLESPACE).
  returned: O(state=staged) and changed
  type: str
  sample: load_data
chunks_resumed:
  description: Number of chunks that an interrupted call had already loaded and verified.
  returned: O(state=staged) and changed
  type: int
  sample: 0
delta:
  description: What O(delta) saved.
  returned: O(state=staged), changed, and such a schema was there
  type: dict
  contains:
    schema:
      description: The schema whose tables were used.
      type: str
      sample: edgeencryption_prev_acmetest_clone0010001_1a2b3c4d
    rows_kept:
      description: Number of rows that were there already.
      type: int
      sample: 990000
    rows_added:
      description: Number of rows that came from the snapshot.
      type: int
      sample: 10000
    rows_removed:
      description: Number of rows that the snapshot lacks, or has with other values.
      type: int
      sample: 12
binary_log_bytes:
  description:
    - Bytes of rows that the stage wrote, which is about what the server's binary log grew by. V(0) when it writes none.
    - One transaction holds one chunk, or all of a table without a key.
  returned: O(state=staged) and changed
  type: int
  sample: 231088859
replicas:
  description: What O(replicas) names, before the exchange.
  returned: O(state=cut_over) and O(state=rolled_back), and not yet done before
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
      description: Whether it has applied everything. Always V(true) outside check mode.
      type: bool
      sample: true
    waited_s:
      description: Seconds that it was waited for.
      type: float
      sample: 0.412
left_out:
  description: Routines and events of the database, as far as the account may see them. They are not part of a snapshot.
  returned: O(state=snapshotted), except for a new snapshot in check mode
  type: list
  elements: str
  sample: ["procedure cleanup"]
removed_snapshots:
  description: IDs of the snapshots that O(keep_snapshots) removed.
  returned: O(state=snapshotted) and changed
  type: list
  elements: str
  sample: []
timings:
  description:
    - Durations in seconds, by name. C(lock_s) is how long the read lock was held, C(lock_wait_s) how long it was waited for, C(swap_s) how long the
      exchange of the tables took.
    - A snapshot consists of C(freeze_s) (with files, they are copied in it), C(read_s) and C(seal_s); a stage of C(compare_s) and C(load_s), or of
      C(copy_s), C(import_s), C(verify_s) and C(checkpoint_s) with files, and of C(check_s).
    - C(method) says how the snapshot was made consistent - V(global_read_lock), V(table_read_lock), V(one_connection) or V(backup_stage).
  returned: changed
  type: dict
  sample: {"lock_s": 0.004, "lock_wait_s": 0.001, "method": "global_read_lock", "total_s": 2.412}
"""


from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.edge_encryption.clone.plugins.module_utils import _artefact, _db, _sync
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._parallel import Progress as Counter
from ansible_collections.edge_encryption.clone.plugins.module_utils._progress import Progress


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            _db.LOGIN_OPTIONS,
            state={"type": "str", "required": True, "choices": ["snapshotted", "staged", "discarded", "cut_over", "rolled_back", "pruned"]},
            snapshot_dir={"type": "path"},
            snapshot={"type": "str"},
            engine={"type": "str", "default": "rows", "choices": ["auto", "rows", "tablespaces"]},
            target_tablespaces={"type": "dict"},
            backup_time={"type": "str"},
            margin={"type": "float", "default": 0},
            max_lag={"type": "float", "default": 14400},
            run_id={"type": "str"},
            encryption_key={"type": "str", "no_log": True},
            encryption_key_file={"type": "path", "no_log": False},
            unencrypted={"type": "bool", "default": False},
            stage_schema={"type": "str"},
            previous_schema={"type": "str"},
            keep_tables={"type": "list", "elements": "str", "default": []},
            delta={"type": "bool", "default": False},
            allow_connected={"type": "bool", "default": False},
            source_server={"type": "dict"},
            allow_same_server={"type": "bool", "default": False},
            instance_rolled_back={"type": "bool", "default": False},
            force_mismatch={"type": "str"},
            workers={"type": "int", "default": 2},
            chunk_bytes={"type": "int", "default": 4194304},
            lock_wait_timeout={"type": "int", "default": 10},
            replicas=_db.REPLICAS_OPTION,
            replica_timeout={"type": "float", "default": 600},
            keep_snapshots={"type": "int"},
            keep_for={"type": "float", "default": 691200},
            progress_file={"type": "path"},
        ),
        required_if=[
            ("state", "snapshotted", ["snapshot_dir"]),
            ("state", "staged", ["snapshot_dir"]),
            ("state", "discarded", ["run_id"]),
            ("state", "cut_over", ["run_id"]),
            ("state", "rolled_back", ["run_id"]),
            ("state", "pruned", ["previous_schema", "run_id"], True),
        ],
        mutually_exclusive=[("encryption_key", "encryption_key_file")],
        supports_check_mode=True,
    )
    if _db.PYMYSQL_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("PyMySQL"), exception=_db.PYMYSQL_IMPORT_ERROR)
    if _artefact.LIBRARY_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("zstandard and cryptography"), exception=_artefact.LIBRARY_IMPORT_ERROR)
    params = module.params
    request = _sync.Request(login=_db.make_login(params), **{name: value for name, value in params.items() if name in _sync.Request._fields})
    lines = Progress(params["progress_file"], "token database")
    units = {"replicas": "replicas", "copy": "bytes", "seal": "bytes", "import": "tables", "checkpoint": "bytes"}
    progress = Counter(lambda step, done, total, size: lines.report(step, done=done, total=total, unit=units.get(step, "rows"), size=size))
    try:
        with progress.ticking():
            result = getattr(_sync, params["state"])(request, module.check_mode, module._diff, progress)
    except EdgeError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
