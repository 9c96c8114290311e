# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import pathlib
import stat

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _hold
from ansible_collections.edge_encryption.clone.plugins.module_utils._hold import HoldError, ScriptHold, UnitHold


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "startup.sh"
    path.write_bytes(b"#!/bin/sh\nexit 0\n\xff")
    path.chmod(0o751)
    return path


def test_hold_and_release_keep_the_very_file(script, tmp_path):
    hold, inode = ScriptHold(str(tmp_path)), script.stat().st_ino
    assert not hold.held() and not hold.complete()
    hold.hold()
    assert hold.held() and hold.complete() and stat.S_IMODE(script.stat().st_mode) == 0o751
    hold.hold()
    assert (tmp_path / "startup.sh.held").stat().st_ino == inode
    hold.release()
    assert not hold.held() and script.stat().st_ino == inode and sorted(os.listdir(str(tmp_path))) == ["startup.sh"]


def test_killed_between_the_two_steps(script, tmp_path, monkeypatch):
    hold = ScriptHold(str(tmp_path))
    original = script.read_bytes()

    def die(path):
        raise KeyboardInterrupt()

    monkeypatch.setattr(os, "stat", die)
    with pytest.raises(KeyboardInterrupt):
        hold.hold()
    monkeypatch.undo()
    assert hold.held() and not hold.complete() and not script.exists()
    hold.hold()
    assert hold.complete()
    hold.release()
    assert script.read_bytes() == original


def test_an_upgrade_while_held_brings_the_newer_script(script, tmp_path):
    hold = ScriptHold(str(tmp_path))
    hold.hold()
    script.write_text("#!/bin/sh\n# upgraded\n")
    assert not hold.held()
    hold.hold()
    hold.release()
    assert "upgraded" in script.read_text()


def test_nothing_to_hold(tmp_path):
    with pytest.raises(HoldError, match="cannot be held down"):
        ScriptHold(str(tmp_path)).hold()
    with pytest.raises(HoldError, match="cannot be put back"):
        ScriptHold(str(tmp_path)).release()


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that notes its arguments."""
    folder = tmp_path / "programs"
    folder.mkdir()
    notes = tmp_path / "notes"
    program = folder / "systemctl"
    program.write_text(
        "#!/bin/sh\n"
        'echo "$*" >> {0}\n'
        '[ "$2" = show ] && printf "LoadState=loaded\\nActiveState=active\\nMainPID=7\\nNeedDaemonReload=%s\\n" "${{RELOAD:-no}}"\n'
        '[ "$2" = cat ] && cat {1}\n'
        '[ "$2" != bad ]\n'.format(notes, tmp_path / "unit")
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "{0}:{1}".format(folder, os.environ["PATH"]))
    monkeypatch.setattr(_hold, "UNIT_FOLDER", str(tmp_path / "system"))
    return notes


def test_unit_hold(tmp_path, systemctl):
    hold = UnitHold("edge.service", "/opt/100%/Edge")
    assert not hold.held()
    hold.hold()
    assert hold.held() and "\n[Unit]\nAssertPathExists=!/opt/100%%/Edge/startup.sh.held\n" in pathlib.Path(hold.path).read_text()
    assert os.listdir(str(tmp_path / "system" / "edge.service.d")) == ["zz-edge-encryption-clone-hold.conf"]
    hold.release()
    assert not hold.held() and os.listdir(str(tmp_path / "system")) == []
    assert systemctl.read_text() == "--no-ask-password daemon-reload\n" * 2


def test_unit_hold_leaves_other_drop_ins(tmp_path, systemctl):
    hold = UnitHold("edge.service", "/opt/Edge")
    hold.hold()
    other = tmp_path / "system" / "edge.service.d" / "limits.conf"
    other.write_text("[Service]\n")
    hold.release()
    assert other.exists()


def test_a_unit_that_holds_for_good_as_systemd_has_read_it(tmp_path, systemctl, monkeypatch):
    hold = UnitHold("edge.service", "/opt/Edge")
    unit = tmp_path / "unit"
    assert not (tmp_path / "system").exists()  # nobody can write there
    unit.write_text("[Unit]\n# AssertPathExists=!/opt/Edge/startup.sh.held\nAssertPathExists=!/opt/Edge2/startup.sh.held\n")
    assert not hold.standing() and not hold.possible()
    unit.write_text("[Unit]\n\n# hold.conf\n[Unit]\nAssertPathExists=!/opt/Edge/startup.sh.held\n")
    assert hold.standing() and hold.possible() and not hold.held()
    monkeypatch.setenv("RELOAD", "yes")
    assert not hold.standing() and not hold.possible()
    (tmp_path / "system").mkdir()
    assert hold.possible()


def test_who_may_not_write_the_drop_in_is_told_of_one_that_holds_for_good(tmp_path, systemctl, monkeypatch):
    (tmp_path / "system").write_text("")  # no folder: nobody can write into it, not even root
    with pytest.raises(HoldError, match="Run this as root, or have a drop-in of the unit hold for good: AssertPathExists=!/opt/Edge/startup.sh.held"):
        UnitHold("edge.service", "/opt/Edge").hold()
    assert not systemctl.exists()


@pytest.mark.parametrize(
    "user, allowed, expected",
    [
        (0, "start edge.service", ["systemctl", "--no-ask-password", "start", "edge.service"]),
        (901, "start edge.service", ["sudo", "-n", "systemctl", "start", "edge.service"]),
        (901, "stop edge.service", ["systemctl", "--no-ask-password", "start", "edge.service"]),
        (901, None, ["systemctl", "--no-ask-password", "start", "edge.service"]),
    ],
    ids=["root", "through sudo", "not through sudo", "no sudo"],
)
def test_who_starts_a_unit(tmp_path, monkeypatch, user, allowed, expected):
    if allowed:
        (tmp_path / "sudo").write_text('#!/bin/sh\n[ "$*" = "-n -l systemctl {0}" ]\n'.format(allowed))
        (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert _hold.command_of("start", "edge.service") == expected


def test_systemctl(systemctl, monkeypatch):
    assert _hold.unit_state("edge.service") == {"LoadState": "loaded", "ActiveState": "active", "MainPID": "7", "NeedDaemonReload": "no"}
    with pytest.raises(HoldError, match="systemctl bad: it failed"):
        _hold.systemctl("bad")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HoldError, match="not found on this host"):
        _hold.systemctl("show")
