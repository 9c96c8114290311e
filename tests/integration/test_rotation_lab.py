# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation to other keys against an instance and two proxies of the lab, which re-encrypt for real."""

import threading

import pytest

from ansible_collections.edge_encryption.clone.tests.unit.conftest import run_module as run_module_fixture  # noqa: F401  # pylint: disable=unused-import
from edgelab.processes import wait_for
from edgelab.proxy.testing import CUSTOMER_PASSWORD
from edgelab.rotation_testing import OLD, OWN

pytest_plugins = ("edgelab.proxy.testing", "edgelab.rotation_testing")


@pytest.fixture
def run(request, rotating):
    """Run a module as the least privileged account that can do it."""
    run_module = request.getfixturevalue("run_module_fixture")
    node = rotating.node
    role = next(row["sys_id"] for row in node.raw("sys_user_role").values() if row["name"] == "security_admin")
    user = next(row["sys_id"] for row in node.raw("sys_user").values() if row["user_name"] == "edge.automation")
    node.put("sys_user_has_role", {"user": user, "role": role})
    login = {"host": node.url, "username": "edge.automation", "password": node.password("edge.automation"), "ca_path": node.config["ca"]}

    def with_instance(name, check=False, **options):
        if name == "edge_key_rotation":
            options.setdefault("poll_interval", 0.2)
            options.setdefault("start_timeout", 20)
        return run_module(name, dict(options, instance=login), check=check, diff=True)

    return with_instance


def to_own_keys(run):
    for alias in OWN:
        result = run("edge_encryption_key", alias=alias, size=int(alias[3:6]), state="default", timeout=20)
        assert not result.failed and result["changed"] and result["key"]["default"], result


def defaults_are_known(rotating):
    """Wait until the proxies encrypt with the new defaults. Until then they may leave values, which the module takes in a second go."""
    wait_for(lambda: all(rotating.default_of(home) == set(OWN) for home in rotating.homes), "the proxies encrypt with them")


def keystore(home):
    return {"path": str(home.home / "keystore" / "keystore.jceks"), "password": CUSTOMER_PASSWORD}


def test_from_the_sources_keys_to_ones_own(rotating, run, request):
    written = rotating.write(4)
    clear = [value for values in written.values() for value in values.values()]
    assert run("edge_encryption_key", alias=OWN[0], state="default", check=True).failed  # its size is not known
    assert run("edge_encryption_key", check=True, alias=OWN[0], size=128, state="default")["changed"] and OWN[0] not in rotating.keys()
    refused = run("edge_key_rotation", job_type="single", alias=OLD[0])
    assert refused.failed and "is a default key" in refused["msg"]
    to_own_keys(run)
    assert not run("edge_encryption_key", alias=OWN[0], size=128, state="default")["changed"]
    usage = run("edge_key_usage_info")
    assert usage["totals"] == {OLD[0]: 9, OLD[1]: 8} and usage["unknown"] == 0 and usage["complete"]
    defaults_are_known(rotating)

    planned = run("edge_key_rotation", job_type="mass", check=True)
    assert planned["changed"] and planned["before"] == 16 and not rotating.node.raw("sysauto_encryption_job")
    single = run("edge_key_rotation", job_type="single", alias=OLD[0])
    assert not single.failed and (single["before"], single["remaining"], single["done"], single["total"]) == (8, 0, 4, 4), single
    mass = run("edge_key_rotation", job_type="mass")
    assert not mass.failed and mass["usage"]["totals"] == {OWN[0]: 8, OWN[1]: 8}, mass
    attachments = run("edge_key_rotation", job_type="attachment", table="incident")
    assert not attachments.failed and attachments["before"] == 1 and attachments["remaining"] == 0, attachments
    for options in ({"job_type": "single", "alias": OLD[0]}, {"job_type": "mass"}, {"job_type": "attachment", "table": "incident"}):
        again = run("edge_key_rotation", **options)
        assert not again.failed and not again["changed"], again
    assert not [value for value in clear for result in (usage, single, mass, attachments) if value in str(result)]

    stays = run("edge_encryption_key", alias=OLD[0], state="absent", timeout=0)
    assert stays.failed and "held by edge_source_1, edge_source_2" in stays["msg"]
    run_module = request.getfixturevalue("run_module_fixture")
    for home in rotating.homes:
        home.stop()
        for alias in OLD:
            assert not run_module("edge_keystore_entry", dict(keystore(home), alias=alias, state="absent", keep=list(OWN))).failed
        home.start()
    for alias in OLD:
        gone = run("edge_encryption_key", alias=alias, state="absent", timeout=20)
        assert not gone.failed and gone["changed"] and not gone["listed"], gone
        assert not run("edge_encryption_key", alias=alias, state="absent")["changed"]
    assert {sys_id: rotating.read(sys_id) for sys_id in written} == written
    assert [key["alias"] for key in run("edge_encryption_key_info")["entries"]] == list(OWN)


@pytest.mark.long
def test_what_goes_wrong_is_said_and_nothing_is_taken_for_done(rotating, run):
    written = rotating.write(3)
    to_own_keys(run)
    defaults_are_known(rotating)
    bad = sorted(written)[0]
    rotating.node.knobs(rotation_failures=[bad])
    failed = run("edge_key_rotation", job_type="mass")
    assert failed.failed and failed["remaining"] == 4, failed
    assert failed["failed_records"] == [{"table": "incident", "sys_id": bad, "reason": "Data too long for the column"}]
    rotating.node.knobs(rotation_failures=[], rotation_end_state="Sleeping")
    unknown = run("edge_key_rotation", job_type="mass")
    assert unknown.failed and "'Sleeping', which is not known" in unknown["msg"], unknown
    told = run("edge_key_rotation", job_type="mass", states={"done": ["sleeping"]})
    assert not told.failed and not told["changed"], told
    rotating.node.put("incident", {"sys_id": bad, "description": "clear text of old"})
    doubtful = run("edge_key_rotation", job_type="mass")
    assert doubtful.failed and "incident.description (1)" in doubtful["msg"] and "clear text of old" not in str(doubtful)
    wrong = run("edge_key_rotation", job_type="mass", allow_unknown=True, states={"done": ["sleeping"]}, fields={"execution_state": "nowhere"})
    assert wrong.failed and "nowhere" in wrong["msg"]
    rotating.node.knobs(former_defaults_stay=True)
    rotating.drop_from_proxies(*OLD)
    listed = run("edge_encryption_key", alias=OLD[0], state="absent", must_go=False, timeout=20)
    assert not listed.failed and listed["listed"] and not listed["changed"] and "stays in the list" in str(listed["warnings"])


@pytest.mark.long
def test_a_job_whose_proxy_is_killed_is_taken_up_again(rotating, run):
    rotating.write(6)
    to_own_keys(run)
    rotating.node.knobs(rotation_chunk_size=1, rotation_chunk_seconds=0.6)
    results = []
    follower = threading.Thread(target=lambda: results.append(run("edge_key_rotation", job_type="mass", restarts=3)))
    follower.start()

    def execution():
        return next(iter(rotating.node.raw("sys_encryption_job_execution").values()), {"processed": "0"})

    wait_for(lambda: int(execution()["processed"]) >= 2, "two records are done", 30)
    worker = rotating.node.raw("sys_encryption_proxy")[execution()["proxy"]]["name"]
    next(home for home in rotating.homes if home.home.name == worker).kill()
    follower.join(60)
    assert results and not results[0].failed and results[0]["remaining"] == 0, results
    first = min(rotating.node.raw("sys_encryption_job_execution").values(), key=lambda row: row["sys_created_on"])
    assert (first["processed"], first["state"]) == ("6", "complete")  # the one that lost its proxy
