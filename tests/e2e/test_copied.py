# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The signature option copied_key: the target signs and verifies with the source's key."""

import re
import typing as t
from pathlib import Path

import jks
import pytest

from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, ask
from ansible_collections.edge_encryption.clone.tests.e2e.test_killed import ends_green, kill_at
from edgelab import proxy_home

pytestmark = pytest.mark.long


def signature_keys(bench: Bench, side: str) -> dict:
    """Return the certificate of each key pair in the keystore of a side's first proxy."""
    keystore = Path(bench.lab["proxies"][side][0]["home"]) / "keystore" / "keystore.jceks"
    pairs = jks.KeyStore.load(str(keystore), bench.lab["keystore_password"][side]).private_keys
    return {alias: pair.cert_chain[0][1] for alias, pair in pairs.items()}


def key_alias(bench: Bench) -> str:
    properties = Path(bench.lab["proxies"]["target"][0]["home"]) / "conf" / "edgeencryption.properties"
    return re.search(r"(?m)^edgeencryption\.proxy\.signature\.keystore\.keyalias\s*=\s*(\S+)", properties.read_text())[1]


def assert_source_key(bench: Bench, alias: str) -> None:
    own, found = signature_keys(bench, "source")[proxy_home.SIGNATURE_ALIAS], signature_keys(bench, "target")
    assert key_alias(bench) == alias and found[alias] == own
    state = ask("GET", bench.lab["proxies"]["target"][0]["control_url"] + "/state")
    assert state["verify"] == {"configurations": True, "rules": True} and not state["locked"]


def test_in_the_place_of_the_targets_key(small: Bench) -> None:
    small.variables["edge_signature_option"] = "copied_key"
    small.schedule()
    run = small.run()
    assert run.returncode == 0, run.output[-5000:]
    assert_source_key(small, proxy_home.SIGNATURE_ALIAS)
    assert set(signature_keys(small, "target")) == {proxy_home.SIGNATURE_ALIAS}
    assert run.report["signatures"]["option"] == "copied_key"
    home = Path(small.lab["proxies"]["target"][0]["home"])
    assert not [change for change in run.changes if "Let the proxy sign" in change] and list((home / "keystore").glob("*.bak"))
    again = small.run("-e", f"edge_clone_number={small.number}", keep_report=True)
    assert again.returncode == 0 and again.changes == []


@pytest.mark.parametrize("seconds", [(0, 2), (1, 3), (4.5,)])
def test_under_another_alias_even_when_killed(small: Bench, seconds: t.Sequence[float]) -> None:
    small.variables.update(edge_signature_option="copied_key", edge_signature_alias="ProdSign")
    own = signature_keys(small, "target")[proxy_home.SIGNATURE_ALIAS]
    small.schedule()
    for after in seconds:
        kill_at(small, "t55_keys", after)
    ends_green(small)
    assert key_alias(small) == "prodsign"  # as the keystore has it
    found = signature_keys(small, "target")
    assert found == {proxy_home.SIGNATURE_ALIAS: own, "prodsign": signature_keys(small, "source")[proxy_home.SIGNATURE_ALIAS]}
    assert not ask("GET", small.lab["proxies"]["target"][0]["control_url"] + "/state")["locked"]
