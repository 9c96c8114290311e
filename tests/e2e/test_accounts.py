# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A clone replaces the users of the target, as it does unless somebody chooses otherwise: the run goes on with another account."""

import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, ask
from ansible_collections.edge_encryption.clone.tests.e2e.test_killed import ends_green, kill_at

pytestmark = pytest.mark.long
ACCOUNT, PASSWORD = "edge.after", "a password of the lab"
ROLES = ("clone_admin", "security_admin", "user_admin", "itil")


@pytest.fixture
def replaced(bench: Bench) -> Bench:
    """A small lab with an account on the source that the clone brings to the target, and a clone that replaces users."""
    bench.keep_target_proxies()
    user: Row = {"sys_id": "a" * 32, "user_name": ACCOUNT, "user_password": PASSWORD, "identity_type": "machine", "active": "true"}
    bench.control("source", "POST", "/raw/sys_user", {"rows": [user]})
    roles = {row["name"]: row["sys_id"] for row in bench.raw("source", "sys_user_role")}
    grants = [{"sys_id": f"b{number:031x}", "user": user["sys_id"], "role": roles[role]} for number, role in enumerate(ROLES)]
    bench.control("source", "POST", "/raw/sys_user_has_role", {"rows": grants})
    bench.fill()
    target = bench.lab["instances"]["target"]
    bench.variables["edge_target_instance_after_clone"] = {"host": target["url"], "username": ACCOUNT, "password": PASSWORD, "ca_path": bench.lab["ca"]}
    bench.schedule(preserve_users_and_related_tables="false")
    return bench


def test_the_run_goes_on_with_an_account_that_the_clone_brings(replaced: Bench) -> None:
    kill_at(replaced, "t40_wait_clone")
    kill_at(replaced, "t57_registration", 1)
    kill_at(replaced, "t70_signatures", 2)
    ends_green(replaced)
    # The proxies log in with the password that they had; nobody changed their properties.
    (proxy,) = replaced.lab["proxies"]["target"]
    state = ask("GET", proxy["control_url"] + "/state")
    assert state["status"] == "Authenticated" and not state["locked"]
    users = {row["user_name"] for row in replaced.raw("target", "sys_user")}
    assert ACCOUNT in users and "edge.proxy" in users
    again = replaced.run("-e", f"edge_clone_number={replaced.number}", keep_report=True)
    assert again.returncode == 0 and again.changes == [], again.changes
    looked = replaced.play("edge_encryption.clone.verify_clone", "-e", f"edge_clone_number={replaced.number}")
    assert looked.returncode == 0, looked.output[-3000:]
