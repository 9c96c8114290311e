# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The states of a token database, one after the other, on real servers with the documented rights only."""

import datetime

import pytest

from ansible_collections.edge_encryption.clone.tests.integration.conftest import CLEAR_TEXT, SECRET

RUN = "acmetest/C-1"
pytestmark = pytest.mark.mysql


def utc(**offset):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**offset)).strftime("%Y-%m-%d %H:%M:%S")


def test_cut_over_replaces_everything_and_roll_back_returns_it(site):
    source, before = site.content(site.source), site.content(site.target)
    assert source != before
    snapshot = site.snapshot()
    assert snapshot["changed"] and snapshot["timings"]["method"] == "global_read_lock"
    assert snapshot["timings"]["lock_s"] < 0.2
    staged = site.ok("target", "staged", snapshot=snapshot["snapshot"]["id"], run_id=RUN)
    assert staged["verified"] and staged["load_method"] == "load_data" and staged["tables"] == snapshot["tables"]
    assert site.content(site.target) == before
    done = site.ok("target", "cut_over", run_id=RUN)
    assert done["changed"] and done["verified"] and done["tables"] == snapshot["tables"]
    assert site.content(site.target) == source
    assert {name: value for name, value in site.content(site.target, done["previous_schema"]).items() if name in before} == before
    assert site.schemas() == ["edgeencryption", done["previous_schema"]]
    back = site.ok("target", "rolled_back", run_id=RUN)
    assert back["changed"]
    assert site.content(site.target) == before
    assert {name: value for name, value in site.content(site.target, back["previous_schema"]).items() if name in source} == source
    assert site.schemas() == ["edgeencryption", back["previous_schema"]]


def test_each_state_again_changes_nothing(site):
    moment = utc(seconds=-30)
    first = site.snapshot(backup_time=moment)
    again = site.snapshot(backup_time=moment)
    assert (first["changed"], again["changed"]) == (True, False) and again["snapshot"] == first["snapshot"]
    for state in ("staged", "cut_over"):
        assert site.ok("target", state, run_id=RUN, backup_time=moment)["changed"]
        assert not site.ok("target", state, run_id=RUN, backup_time=moment)["changed"]
    # The proxies have written since: still no change, and nothing is lost by starting the step again.
    site.target.sql("INSERT INTO edgeencryption.edge_token_map (token) VALUES ('new')")
    for state in ("staged", "cut_over"):
        assert not site.ok("target", state, run_id=RUN, backup_time=moment)["changed"]
    assert site.target.sql("SELECT COUNT(*) FROM edgeencryption.edge_token_map WHERE token = 'new'") == [(1,)]
    assert site.ok("target", "rolled_back", run_id=RUN)["changed"]
    back = site.ok("target", "rolled_back", run_id=RUN)
    assert not back["changed"]
    kept = back["previous_schema"]
    assert site.target.sql("SELECT COUNT(*) FROM `{0}`.edge_token_map WHERE token = 'new'".format(kept)) == [(1,)]
    assert "keep_for" in site.refused("target", "pruned", previous_schema=kept)
    assert site.ok("target", "pruned", previous_schema=kept, keep_for=0)["changed"]
    assert not site.ok("target", "pruned", previous_schema=kept, keep_for=0)["changed"]
    assert site.schemas() == ["edgeencryption"]


def test_a_stage_that_no_clone_needs_is_discarded(site):
    before = site.content(site.target)
    assert not site.ok("target", "discarded", run_id=RUN)["changed"]
    snapshot = site.snapshot()["snapshot"]["id"]
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN)
    assert not site.ok("target", "discarded", run_id="acmetest/C-2")["changed"]  # another run's
    assert site.ok("target", "discarded", run_id=RUN, check=True)["changed"]
    assert site.schemas() == ["edgeencryption", "edgeencryption_stage"]
    assert site.ok("target", "discarded", run_id=RUN)["changed"]
    assert not site.ok("target", "discarded", run_id=RUN)["changed"]
    assert site.schemas() == ["edgeencryption"] and site.content(site.target) == before
    assert site.ok("target", "staged", snapshot=snapshot, run_id=RUN)["changed"]


def test_check_mode_tells_what_would_happen_and_does_nothing(site):
    moment = utc(seconds=-30)
    assert site.ok("source", "snapshotted", backup_time=moment, check=True)["changed"]
    assert "no complete snapshot" in site.refused("target", "staged", backup_time=moment, check=True)
    snapshot = site.snapshot(backup_time=moment)
    assert not site.ok("source", "snapshotted", backup_time=moment, check=True)["changed"]
    before = site.content(site.target)
    assert site.ok("target", "staged", backup_time=moment, run_id=RUN, check=True, diff=True)["changed"]
    assert site.schemas() == ["edgeencryption"]
    assert "no completely staged" in site.refused("target", "cut_over", run_id=RUN, check=True)
    site.ok("target", "staged", backup_time=moment, run_id=RUN)
    assert not site.ok("target", "staged", backup_time=moment, run_id=RUN, check=True)["changed"]
    planned = site.ok("target", "cut_over", run_id=RUN, check=True, diff=True)
    assert planned["changed"] and site.content(site.target) == before
    done = site.ok("target", "cut_over", run_id=RUN, diff=True)
    assert done["diff"] == planned["diff"]
    for table in snapshot["tables"]:
        assert "{name} {rows} rows {checksum}".format(**table) in done["diff"]["after"].splitlines()
    assert "edge_token_map 300 rows" in done["diff"]["before"]
    back = site.ok("target", "rolled_back", run_id=RUN, check=True, diff=True)
    assert (back["diff"]["before"], back["diff"]["after"]) == (done["diff"]["after"], done["diff"]["before"])


def test_the_oldest_snapshot_that_began_after_the_backup_is_taken(site):
    early = site.snapshot()["snapshot"]
    moment = site.source.sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")[0][0]
    wanted = site.snapshot()["snapshot"]
    site.snapshot()
    chosen = site.ok("target", "staged", backup_time=moment, run_id=RUN)["snapshot"]
    assert chosen == wanted and chosen != early
    late = utc(hours=1)
    message = site.refused("target", "staged", backup_time=late)
    assert late.replace(" ", "T") in message and "begins at" in message
    assert "a snapshot taken now" in site.refused("source", "snapshotted", backup_time=late)
    assert "max_lag" in site.refused("target", "staged", backup_time=utc(hours=-5))
    assert "max_lag" in site.refused("source", "snapshotted", backup_time=utc(hours=-5))
    assert "margin 3600 s" in site.refused("target", "staged", backup_time=moment, margin=3600)
    assert "not the one that is staged" in site.refused("target", "cut_over", run_id=RUN, snapshot=early["id"])
    assert "the staged snapshot" in site.refused("target", "cut_over", run_id=RUN, backup_time=late)
    assert "backup_time" in site.refused("target", "staged")


def test_kept_tables_stay_in_place(site):
    before, source = site.content(site.target), site.content(site.source)
    site.target.sql("CREATE TABLE edgeencryption.local_only (id INT PRIMARY KEY)")
    snapshot = site.snapshot()["snapshot"]["id"]
    assert "local_only" in site.refused("target", "staged", snapshot=snapshot, run_id=RUN)
    keep = ["db_id", "local_only"]
    site.ok("target", "staged", snapshot=snapshot, run_id=RUN, keep_tables=keep)
    assert "no tables ghost" in site.refused("target", "cut_over", run_id=RUN, keep_tables=keep + ["ghost"])
    site.ok("target", "cut_over", run_id=RUN, keep_tables=keep)
    content = site.content(site.target)
    assert content["db_id"] == before["db_id"] and content["token_map"] == source["token_map"] and "local_only" in content
    site.ok("target", "rolled_back", run_id=RUN)
    content = site.content(site.target)
    assert content.pop("local_only") and content == before


def test_a_safety_snapshot_of_the_target_can_be_put_back(site):
    rights = "GRANT RELOAD ON *.* TO 'edge_clone_write'@'127.0.0.1'"
    site.target.sql(rights)
    before = site.content(site.target)
    safety = site.ok("target", "snapshotted", run_id=RUN)
    assert safety["changed"] and not site.ok("target", "snapshotted", run_id=RUN)["changed"]
    site.clone()
    assert "taken from" in site.refused("target", "staged", snapshot=safety["snapshot"]["id"], run_id="back")
    site.ok("target", "staged", snapshot=safety["snapshot"]["id"], run_id="back", allow_same_server=True)
    site.ok("target", "cut_over", run_id="back")
    assert site.content(site.target) == before


def test_an_empty_target_gets_its_database(site):
    source = site.content(site.source)
    site.target.sql("DROP DATABASE edgeencryption")
    site.clone()
    assert site.content(site.target) == source
    site.ok("target", "rolled_back", run_id=RUN)
    assert site.content(site.target) == {}


def test_retention_removes_only_what_is_surplus_and_old(site):
    old = [site.snapshot()["snapshot"]["id"] for dummy in range(2)]
    assert site.snapshot(keep_snapshots=1)["removed_snapshots"] == []
    assert site.snapshot(keep_snapshots=2, keep_for=0)["removed_snapshots"] == old


def test_the_artefact_holds_no_clear_text_unless_asked_for(site, tmp_path):
    def found():
        return any(CLEAR_TEXT.encode() in path.read_bytes() for path in (tmp_path / "snapshots").rglob("*") if path.is_file())

    path = site.snapshot()["snapshot"]["path"]
    assert not found()
    import pathlib

    import zstandard

    def parts(chunk):
        """Return header, hashes and rows as they lie in the file."""
        data, found = chunk.read_bytes(), []
        for dummy in range(2):
            end = 4 + int.from_bytes(data[:4], "big")
            found.append(data[4:end])
            data = data[end:]
        return [*found, data]

    for chunk in pathlib.Path(path).glob("*.chunk"):
        for data in parts(chunk):
            with pytest.raises(zstandard.ZstdError):
                zstandard.decompress(data)
    manifest = (pathlib.Path(path) / "manifest.json").read_text()
    assert SECRET not in manifest and "after" not in manifest and "prod-1" not in manifest
    assert {oct(item.stat().st_mode & 0o777) for item in pathlib.Path(path).iterdir()} == {"0o600"}
    assert pathlib.Path(path).stat().st_mode & 0o777 == 0o700
    plain = site.snapshot(unencrypted=True)["snapshot"]
    assert not plain["encrypted"]
    text = b"".join(zstandard.ZstdDecompressor().decompressobj().decompress(parts(chunk)[2]) for chunk in pathlib.Path(plain["path"]).glob("*.chunk"))
    assert CLEAR_TEXT.encode() in text
    site.ok("target", "staged", snapshot=plain["id"], encryption_key=SECRET)
