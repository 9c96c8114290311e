# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key rotation in the lab: values are re-encrypted for real, by proxies that need both keys."""

import pytest

from edgelab.instance.rotation import ATTACHMENT, MASS, SINGLE
from edgelab.processes import wait_for
from edgelab.rotation_testing import OLD, OWN

pytest_plugins = ("edgelab.proxy.testing", "edgelab.rotation_testing")


def admin(rotating, method, path, **values):
    return rotating.node.client("admin").request(method, rotating.node.table(path), json=values or None)


@pytest.mark.long
def test_from_one_key_to_another_and_the_old_one_gone(rotating):
    written = rotating.write(8)
    database = rotating.database
    clear = rotating.mariadb.rows(database, "SELECT token, value FROM edge_token_map")
    rotating.register(*OWN)
    assert {rotating.keys()[alias]["status"] for alias in OWN} == {"Unavailable"}
    rotating.make_default(*OWN)
    again = dict(next(iter(written.values())))  # a value that gets a second order token under the new key
    sys_id = rotating.homes[1].session.post(f"{rotating.homes[1].url}/api/now/table/incident", json=again).json()["result"]["sys_id"]
    written[sys_id] = again

    single = rotating.job(SINGLE, OLD[0], name="single")
    assert rotating.ends(single)["processed"] == "8"
    assert rotating.stored(OLD[0]) == 0 and rotating.stored(OLD[1]) == 16  # description and u_customer_name
    mass = rotating.job(MASS, name="mass")
    rotating.ends(mass)
    assert [rotating.stored(alias) for alias in OLD] == [0, 0]
    assert rotating.read_attachment() == b"clear attachment " * 100
    rotating.ends(rotating.job(ATTACHMENT, table="incident", name="attachments"))

    assert admin(rotating, "DELETE", "sys_encryption_key/" + rotating.keys()[OLD[0]]["sys_id"]).status_code == 403  # Available
    rotating.drop_from_proxies(*OLD)
    wait_for(lambda: {rotating.keys()[alias]["status"] for alias in OLD} == {"Unavailable"}, "no proxy has them")
    assert admin(rotating, "DELETE", "sys_encryption_key/" + rotating.keys()[OLD[0]]["sys_id"]).status_code == 204
    assert admin(rotating, "DELETE", "sys_encryption_key/" + rotating.keys()[OWN[0]]["sys_id"]).status_code == 403  # the default
    assert {sys_id: rotating.read(sys_id, home=1) for sys_id in written} == written
    assert rotating.read_attachment(home=1) == b"clear attachment " * 100
    # Filters see every value, since no record and no token is left under the old key.
    account = again["u_account"]
    found = rotating.homes[0].session.get(f"{rotating.homes[0].url}/api/now/table/incident", params={"sysparm_query": f"u_account={account}"}).json()["result"]
    assert len(found) == sum(values["u_account"] == account for values in written.values()) == 2
    assert rotating.mariadb.rows(database, "SELECT token, value FROM edge_token_map") == clear
    former = rotating.mariadb.rows(database, "SELECT COUNT(*) FROM token_map WHERE cipher LIKE 'aes128prod:%%'")
    assert former == ((0,),)
    rotating.node.knobs(former_defaults_stay=True)
    assert admin(rotating, "DELETE", "sys_encryption_key/" + rotating.keys()[OLD[1]]["sys_id"]).status_code == 403


@pytest.mark.long
def test_a_key_that_goes_too_early_takes_its_values_along(rotating):
    written = rotating.write(2)
    rotating.register(*OWN)
    rotating.make_default(*OWN)
    rotating.drop_from_proxies(*OLD)
    assert all(rotating.read(sys_id)["description"].startswith("edge:s:aes256prod:") for sys_id in written)
    failed = rotating.ends(rotating.job(MASS), "complete_with_errors")
    assert failed["failed"] == "2" and rotating.stored(OLD[1]) == 4
    errors = [row["error"] for row in rotating.node.find("sys_encryption_job_execution_chunk", state="failed")]
    assert any("aes128prod" in error for error in errors), errors


def test_records_that_fail_are_listed_and_a_later_run_takes_them(rotating):
    written = rotating.write(3)
    rotating.register(*OWN)
    rotating.make_default(*OWN)
    bad = sorted(written)[0]
    rotating.node.knobs(rotation_failures=[bad])
    job = rotating.job(MASS)
    assert rotating.ends(job, "complete_with_errors")["failed"] == "1"
    (failure,) = rotating.node.find("sys_encryption_job_execution_chunk", state="failed")
    assert (failure["table"], failure["record"]) == ("incident", bad) and rotating.stored(OLD[1]) == 2
    rotating.node.knobs(rotation_failures=[])
    rotating.execute_again(job)
    rotating.ends(job, number=1)
    assert rotating.stored(OLD[0]) == rotating.stored(OLD[1]) == 0


@pytest.mark.long
def test_a_job_whose_proxy_is_killed_goes_on_where_it_stopped(rotating):
    written = rotating.write(6)
    rotating.register(*OWN)
    rotating.make_default(*OWN)
    rotating.node.knobs(rotation_chunk_size=1, rotation_chunk_seconds=0.6, rotation_end_state="Sleeping")
    job = rotating.job(MASS)
    wait_for(lambda: rotating.executions(job) and int(rotating.executions(job)[0]["processed"]) >= 2, "two records are done", 20)
    worker = rotating.node.raw("sys_encryption_proxy")[rotating.executions(job)[0]["proxy"]]["name"]
    next(home for home in rotating.homes if home.home.name == worker).kill()
    stopped = rotating.ends(job, "interrupted")
    assert 2 <= int(stopped["processed"]) < 6
    rotating.execute_again(job)
    ended = rotating.ends(job, "Sleeping")
    assert ended["processed"] == "6" and rotating.stored(OLD[0]) == 0 and len(written) == 6


def test_a_default_must_be_available_and_of_its_size(rotating):
    rotating.register("aes256own", "aes256nowhere")
    wait_for(lambda: rotating.keys()["aes256own"]["status"] == "Available", "the key is Available")
    defaults = {row["size"]: row["sys_id"] for row in rotating.node.raw("sys_encryption_key_configuration").values()}
    for size, alias in (("128", "aes256own"), ("256", "aes256nowhere")):
        path = "sys_encryption_key_configuration/" + defaults[size]
        assert admin(rotating, "PATCH", path, key=rotating.keys()[alias]["sys_id"]).status_code == 403
        assert admin(rotating, "DELETE", path).status_code == 403
