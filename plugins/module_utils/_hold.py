# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Holds a proxy down: nobody, no watchdog and no reboot can start it until it is released.

startup.sh gives way to a stub that explains itself and fails. A systemd unit gets a drop-in that refuses a start while the
original lies aside. `systemctl mask` would not do: for a unit file in /etc/systemd/system, which is where KB0622995 puts it,
it fails, and with --runtime it succeeds without any effect. The stub alone would not do either: Restart=always would call it
again and again.

Who may not write to /etc/systemd/system has the same drop-in put there once, for good: it refuses nothing unless the original lies aside.
"""

import os
import re
import stat
import subprocess
import typing as t

from ._errors import EdgeError

# Utils know no AnsibleModule, and its run_command has neither a timeout nor a session of its own.
# pylint: disable=ansible-bad-function

_MARK = b"# Held by edge_encryption.clone.proxy_service"
_STUB = (
    b"#!/bin/sh\n" + _MARK + b"\n"
    b"echo 'This Edge Encryption proxy is held down, because its instance is being cloned.' >&2\n"
    b"echo 'Release it with edge_encryption.clone.proxy_service, hold=false; by hand: rename startup.sh.held to startup.sh.' >&2\n"
    b"exit 1\n"
)
UNIT_FOLDER = "/etc/systemd/system"


class HoldError(EdgeError):
    """A proxy cannot be held down or released."""


class ScriptHold:
    """The hold on startup.sh. Each of its two steps leaves a proxy that cannot be started, so a kill in between is safe."""

    def __init__(self, home: str) -> None:
        self.script = os.path.join(home, "startup.sh")
        self.aside = self.script + ".held"

    def held(self) -> bool:
        """Tell whether startup.sh is out of the way."""
        if self._is_stub():
            return True
        return os.path.lexists(self.aside) and not os.path.lexists(self.script)

    def complete(self) -> bool:
        """Tell whether the stub is in place too."""
        return self._is_stub() and os.path.lexists(self.aside)

    def hold(self) -> None:
        """Move the script aside and put the stub in its place."""
        try:
            if not self._is_stub() and os.path.lexists(self.script):
                os.replace(self.script, self.aside)
            found = os.stat(self.aside)
            temp = self.script + ".new"
            with open(temp, "wb") as stream:
                stream.write(_STUB)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temp, stat.S_IMODE(found.st_mode))
            if os.geteuid() == 0:
                os.chown(temp, found.st_uid, found.st_gid)
            os.replace(temp, self.script)
        except OSError as exc:
            raise HoldError(self.script, "the proxy cannot be held down: {0}.".format(exc.strerror)) from exc

    def release(self) -> None:
        """Put the original back, byte for byte: it is the same file."""
        try:
            os.replace(self.aside, self.script)
        except OSError as exc:
            raise HoldError(
                self.aside, "the original startup.sh cannot be put back: {0}.".format(exc.strerror), "Restore it from a backup."
            ) from exc

    def _is_stub(self) -> bool:
        try:
            with open(self.script, "rb") as stream:
                return _MARK in stream.read(200)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise HoldError(self.script, "it cannot be read: {0}.".format(exc.strerror)) from exc


class UnitHold:
    """The hold on a systemd unit: its start is refused while the original startup.sh lies aside."""

    def __init__(self, unit: str, home: str) -> None:
        self._unit = unit
        self.path = os.path.join(UNIT_FOLDER, unit + ".d", "zz-edge-encryption-clone-hold.conf")
        aside = ScriptHold(home).aside.replace("%", "%%")
        self._line = "AssertPathExists=!" + aside
        self._content = "{0}\n[Unit]\n{1}\n".format(_MARK.decode(), self._line)

    def held(self) -> bool:
        """Tell whether the drop-in of a hold is in place."""
        return os.path.exists(self.path)

    def standing(self) -> bool:
        """Tell whether the unit refuses a start anyway while the original lies aside, as systemd has read it."""
        text = systemctl("cat", self._unit)
        asserted = re.search("^{0}$".format(re.escape(self._line)), text, re.MULTILINE) is not None
        return asserted and unit_state(self._unit)["NeedDaemonReload"] == "no"

    def possible(self) -> bool:
        """Tell whether this user can hold the unit: it refuses a start already, or would once the original lies aside, or its drop-in can be written."""
        return self.held() or self.standing() or os.access(UNIT_FOLDER, os.W_OK)

    def hold(self) -> None:
        """Write the drop-in and make systemd read it."""
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            temp = self.path + ".new"  # systemd reads *.conf only
            with open(temp, "w") as stream:
                stream.write(self._content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temp, 0o644)
            os.replace(temp, self.path)
        except OSError as exc:
            raise HoldError(
                self.path,
                "the unit cannot be held down: {0}.".format(exc.strerror),
                "Run this as root, or have a drop-in of the unit hold for good: {0}. See the guide on least privilege.".format(self._line),
            ) from exc
        systemctl("daemon-reload")

    def release(self) -> None:
        """Take the drop-in away."""
        try:
            os.unlink(self.path)
            if not os.listdir(os.path.dirname(self.path)):
                os.rmdir(os.path.dirname(self.path))
        except OSError as exc:
            raise HoldError(
                self.path, "the unit cannot be released: {0}.".format(exc.strerror), "Run this as root, as when it was held down."
            ) from exc
        systemctl("daemon-reload")


def systemctl(*arguments: str) -> str:
    """Run systemctl and return what it printed."""
    command = ["systemctl", "--no-ask-password"] + list(arguments)
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    except FileNotFoundError:
        raise HoldError("systemctl", "not found on this host.", "Set manager=scripts.") from None
    except subprocess.TimeoutExpired:
        raise HoldError("systemctl " + arguments[0], "it did not answer within 60 seconds.") from None
    if done.returncode != 0:
        raise HoldError("systemctl " + " ".join(arguments), "it failed: {0}".format(done.stdout.decode("utf-8", "replace").strip()))
    return done.stdout.decode("utf-8", "replace")


def command_of(action: str, unit: str) -> t.List[str]:
    """Return the command that starts or stops a unit: through sudo where this user may run exactly that; else systemd decides (polkit)."""
    command = ["systemctl", action, unit]
    if os.geteuid() != 0:
        try:
            listed = subprocess.run(["sudo", "-n", "-l"] + command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            listed = None
        if listed is not None and listed.returncode == 0:
            return ["sudo", "-n"] + command
    return ["systemctl", "--no-ask-password", action, unit]


def unit_state(unit: str) -> t.Dict[str, str]:
    """Return LoadState, ActiveState, MainPID and NeedDaemonReload of a unit."""
    text = systemctl("show", unit, "--property=LoadState,ActiveState,MainPID,NeedDaemonReload")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
