# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots on disk: the manifest, the chunks, the cipher, the time rule and retention."""

import datetime
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.edge_encryption.clone.plugins.module_utils import _artefact
from ansible_collections.edge_encryption.clone.plugins.module_utils._artefact import ArtefactError, Cipher, Content, Snapshot, TimeRule

SECRET = b"sixteen or more characters"
T0 = datetime.datetime(2026, 1, 2, 3, 4, 5)


def at(seconds):
    return _artefact.format_time(T0 + datetime.timedelta(seconds=seconds, microseconds=1))


def snapshots(*seconds):
    return [Snapshot("/s/{0}".format(offset), {"id": str(offset), "began": at(offset)}) for offset in seconds]


def content(text, number=1, header=None):
    return Content(header or {"after": None}, number.to_bytes(8, "big"), text)


def write(tmp_path, secret, texts=(b"('1')", b"('2'),('3')")):
    cipher = Cipher.new(secret) if secret else None
    with _artefact.Writer(str(tmp_path), "id1", cipher) as writer:
        chunks = [writer.write("t", number, content(text, number)) for number, text in enumerate(texts, 1)]
        return writer.finish({"database": "d", "began": at(0), "tables": [{"name": "t"}], "chunks": {"t": chunks}})


@pytest.mark.parametrize("secret", [SECRET, None])
def test_a_snapshot_reads_back(tmp_path, secret):
    write(tmp_path, secret)
    found = _artefact.list_snapshots(str(tmp_path))
    assert [snapshot.id for snapshot in found] == ["id1"]
    cipher = found[0].unlock(secret)
    assert [found[0].read("t", chunk, cipher) for chunk in found[0].chunks("t")] == [content(b"('1')"), content(b"('2'),('3')", 2)]
    assert found[0].totals() == [{"name": "t", "rows": 2, "checksum": "0" * 31 + "3"}]
    assert sorted(os.listdir(str(tmp_path / "id1"))) == ["000001.chunk", "000002.chunk", "manifest.json"]


def test_a_snapshot_is_of_one_database_of_one_server():
    snapshot = Snapshot("/s", {"server": {"identity": {"uid": "m"}}, "database": "d"})
    found = [(uid, database) for uid in "amz" for database in "cde" if snapshot.is_of({"uid": uid}, database)]
    assert found == [("m", "d")]


def test_nothing_is_left_of_a_snapshot_that_was_not_finished(tmp_path):
    with pytest.raises(KeyError), _artefact.Writer(str(tmp_path), "id1", None) as writer:
        writer.write("t", 1, content(b"x"))
        raise KeyError
    assert os.listdir(str(tmp_path)) == [] and _artefact.list_snapshots(str(tmp_path)) == []


def test_each_chunk_is_bound_to_its_snapshot_table_and_number():
    cipher = Cipher.new(SECRET)
    sealed = cipher.seal(b"rows", _artefact._place("s", "t", 1, "rows"))
    assert cipher.open(sealed, _artefact._place("s", "t", 1, "rows")) == b"rows"
    for place in (("s", "t", 2, "rows"), ("s", "u", 1, "rows"), ("r", "t", 1, "rows"), ("s", "t", 1, "header")):
        with pytest.raises(_artefact.InvalidTag):
            cipher.open(sealed, _artefact._place(*place))


def test_the_same_text_never_looks_the_same_twice():
    cipher = Cipher.new(SECRET)
    assert len({cipher.seal(b"rows", "p")[: _artefact._NONCE] for dummy in range(500)}) == 500
    assert Cipher.new(SECRET).check != Cipher.new(SECRET).check


def test_a_chunk_put_in_anothers_place_is_found_although_the_manifest_agrees(tmp_path):
    snapshot = write(tmp_path, SECRET, (b"('1')", b"('2')"))
    cipher = snapshot.unlock(SECRET)
    os.replace(str(tmp_path / "id1" / "000002.chunk"), str(tmp_path / "id1" / "000001.chunk"))
    forged = snapshot.chunks("t")[1]._replace(number=1)
    with pytest.raises(ArtefactError, match="does not belong"):
        snapshot.read("t", forged, cipher)


def test_a_wrong_key_and_a_forged_manifest_are_told_apart(tmp_path):
    snapshot = write(tmp_path, SECRET)
    with pytest.raises(ArtefactError, match="not the one"):
        snapshot.unlock(b"another key, long enough")
    snapshot.data["database"] = "other"
    with pytest.raises(ArtefactError, match="altered by somebody"):
        snapshot.unlock(SECRET)


@given(st.binary(min_size=1, max_size=40), st.integers(min_value=0))
@settings(max_examples=40, deadline=None)
def test_any_change_to_a_manifest_is_noticed(tmp_path_factory, change, place):
    directory = tmp_path_factory.mktemp("m")
    write(directory, None)
    path = directory / "id1" / "manifest.json"
    data = path.read_bytes()
    place %= len(data)
    altered = data[:place] + change + data[place + len(change) :]
    path.write_bytes(altered)
    try:
        same = json.loads(altered.decode("utf-8")) == json.loads(data.decode("utf-8"))
    except ValueError:
        same = False
    if not same:
        with pytest.raises(ArtefactError, match="altered"):
            _artefact.load(str(directory / "id1"))


def test_a_snapshot_of_a_newer_release_is_refused_by_its_format(tmp_path):
    """Whatever its digest is: another format may compute it in another way."""
    path = os.path.join(write(tmp_path, SECRET).path, "manifest.json")
    with open(path) as file:
        manifest = json.load(file)
    with open(path, "w") as file:
        json.dump(dict(manifest, format=2), file)
    with pytest.raises(ArtefactError, match="has format 2, and this release of edge_encryption.clone knows none above 1") as caught:
        _artefact.load(os.path.dirname(path))
    assert "or a newer one" in str(caught.value)


def test_ids_sort_by_time_and_differ():
    assert _artefact.new_id("2026-01-02T03:04:05.123456Z").startswith("20260102T030405Z-")
    assert _artefact.new_id(at(0)) != _artefact.new_id(at(0))


@pytest.mark.parametrize("text", [
    "2026-01-02 03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z", "2026-01-02 03:04:05+00:00", " 2026-01-02 03:04:05 UTC",
])
def test_times_in_utc(text):
    assert _artefact.parse_time("x", text) == T0


@pytest.mark.parametrize("text", ["", "now", "2026-01-02", "2026-01-02 03:04:05+02:00", "02.01.2026 03:04:05"])
def test_other_times_are_refused(text):
    with pytest.raises(ArtefactError, match="backup_time: .* not a time in UTC"):
        _artefact.parse_time("backup_time", text)


def test_the_rule_takes_the_oldest_that_is_allowed():
    found = snapshots(-5, 61, 70, 4000)
    assert TimeRule(T0, 0, 3600).choose(found).id == "61"
    assert TimeRule(T0, 65, 3600).choose(found).id == "70"
    assert TimeRule(T0, 100, 3600).choose(found) is None
    assert TimeRule(T0, 0, 60).choose(found) is None
    assert TimeRule(T0, 0, 60).choose([]) is None


def test_the_rule_includes_its_borders_and_names_the_times():
    rule = TimeRule(T0, 10, 100)
    assert [second for second in range(120) if rule.allows(T0 + datetime.timedelta(seconds=second))] == list(range(10, 111))
    for seconds in (10, 110):
        rule.require(T0 + datetime.timedelta(seconds=seconds), "x")
    with pytest.raises(ArtefactError, match=r"2026-01-02T03:04:14Z, before 2026-01-02T03:04:15Z .*margin 10 s"):
        rule.require(T0 + datetime.timedelta(seconds=9), "x")
    with pytest.raises(ArtefactError, match=r"2026-01-02T03:05:56Z, more than max_lag 100 s after 2026-01-02T03:04:15Z"):
        rule.require(T0 + datetime.timedelta(seconds=111), "x")


@given(st.lists(st.integers(-100, 100)), st.integers(0, 50), st.integers(0, 50))
def test_the_rule_never_takes_one_that_began_too_early(offsets, margin, lag):
    chosen = TimeRule(T0, margin, lag).choose(snapshots(*offsets))
    allowed = [offset for offset in offsets if margin <= offset < margin + lag]
    assert (int(chosen.id) if chosen else None) == min(allowed, default=None)


def test_retention_needs_both_number_and_age():
    found = snapshots(0, 10, 20, 30)
    now = T0 + datetime.timedelta(seconds=100)
    assert [item.id for item in _artefact.superfluous(found, 2, 0, now)] == ["0", "10"]
    assert [item.id for item in _artefact.superfluous(found, 2, 95, now)] == ["0"]
    assert _artefact.superfluous(found, 9, 0, now) == []
    assert _artefact.superfluous(found, 0, 70, T0 + datetime.timedelta(seconds=100, microseconds=1)) == found[:3]  # the last one is that old, and not older


def test_keys_are_read_from_option_or_file(tmp_path):
    assert _artefact.read_secret(None, None) is None
    assert _artefact.read_secret(" sixteen or more characters\n", None) == SECRET
    path = tmp_path / "key"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    assert _artefact.read_secret(None, str(path)) == SECRET


def test_a_header_of_any_length_is_read_without_the_rows(tmp_path):
    cipher = Cipher.new(SECRET)
    header = {"after": [os.urandom(9000).hex()], "upto": None}
    with _artefact.Writer(str(tmp_path), "s", cipher) as writer:
        chunk = writer.write("t", 1, content(b"('x')", header=header))
        snapshot = _artefact.Snapshot(writer.part, {"id": "s"})
        assert snapshot.read_index("t", chunk, cipher) == (header, (1).to_bytes(8, "big"))
        assert snapshot.read("t", chunk, cipher) == content(b"('x')", header=header)


def test_a_snapshot_that_does_not_say_what_it_holds_is_one_of_rows():
    older = _artefact.Snapshot("/somewhere", {"id": "20260102T030405Z-1a2b3c", "chunks": {}})
    assert older.engine == "rows" and older.pieces("token_map", "ibd") == []
