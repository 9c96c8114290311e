# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Copies keystore entries with Java's own keytool, and proves the result by reading it back."""

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
import typing as t

from . import _files, _jceks
from ._jceks import Entry, KeystoreError

# Utils know no AnsibleModule, and its run_command has neither a timeout nor a session of its own.
# pylint: disable=ansible-bad-function

# keytool itself demands this of a keystore that it creates.
MIN_PASSWORD = 6
_TIMEOUT = 120
# The JVM ignores LANG for its language. The rest is for a program that lives a second: a third less of it, and other JVMs do without.
_JVM = ("-Duser.language=en", "-Dfile.encoding=UTF-8", "-XX:+IgnoreUnrecognizedVMOptions", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class KeytoolError(KeystoreError):
    """keytool is missing or did not do what it was asked for."""


def find(home: t.Optional[str], explicit: t.Optional[str]) -> str:
    """Return the keytool to use: the given one, the one that ships with the proxy, or the one on the search path."""
    if explicit:
        candidates = [explicit]
    else:
        candidates = [os.path.join(home, "java", "jre", "bin", "keytool")] if home else []
        candidates.append("keytool")
    for candidate in candidates:
        found = shutil.which(candidate)
        if found:
            return found
    raise KeytoolError(
        "keytool",
        "not found; looked for {0}.".format(", ".join(candidates)),
        "Install a Java runtime on this host or name its keytool with the option keytool.",
    )


class Source(t.NamedTuple):
    """The keystore that an entry comes from."""

    content: bytes
    password: str
    name: str  # for errors

    def entry(self, alias: str) -> Entry:
        """Return an entry that can be copied, or say why it cannot."""
        entry = _jceks.parse(self.content, self.password, self.name, [alias]).get(_jceks.normalize(alias))
        if entry is None:
            raise KeystoreError(self.name, "there is no entry {0}.".format(alias))
        if entry.identity is None:
            raise KeystoreError(
                self.name,
                "the key of entry {0} has another password than the keystore.".format(alias),
                "Give it the password of the keystore (KB0623738): keytool -keypasswd.",
            )
        return entry


def copy_entry(keytool: str, source: Source, alias: str, path: str, password: str, new_alias: str) -> None:
    """Put an entry into the keystore at C(path), which keeps all its other entries; the rename at the end is the only visible step."""
    entry = source.entry(alias)
    with _edited(path, password, new_alias) as temp:
        _import(keytool, source, entry, temp, password, new_alias)
        # keytool may return 0 without having done its work.
        copied = _jceks.parse(_files.read(temp, "keystore"), password, path, [new_alias]).get(_jceks.normalize(new_alias))
        if copied is None or copied.identity != entry.identity:
            raise KeytoolError(path, "keytool reported success, but the entry {0} is not as in the source.".format(_jceks.normalize(new_alias)))


def delete_entry(keytool: str, path: str, password: str, alias: str) -> None:
    """Take an entry out of the keystore at C(path), which keeps all its other entries."""
    with _edited(path, password, alias) as temp:
        _run(keytool, ["-delete", "-alias", alias, "-keystore", temp, "-storetype", "jceks"], {"-storepass": password})
        if _jceks.normalize(alias) in _jceks.read_stored(_files.read(temp, "keystore"), password, path):
            raise KeytoolError(path, "keytool reported success, but the entry {0} is still there.".format(alias))


@contextlib.contextmanager
def _edited(path: str, password: str, alias: str) -> t.Iterator[str]:
    """Give a copy of the keystore to edit, which takes its place at the end if no entry but C(alias) was changed, and nobody else changed it."""
    before = _files.read(path, "keystore")
    with _files.temporary_copy(path, before) as temp:
        yield temp
        old, new = (_jceks.read_stored(content, password, path) for content in (before, _files.read(temp, "keystore")))
        name = _jceks.normalize(alias)
        if dict(old, **{name: None}) != dict(new, **{name: None}):
            raise KeytoolError(path, "keytool changed other entries than {0}; the keystore was left as it was.".format(name))
        if _files.read(path, "keystore") != before:
            raise KeystoreError(path, "it was changed by somebody else while it was being edited.", "Run the task again.")
        _files.replace(temp, os.path.realpath(path))


def export(keytool: str, source: Source, aliases: t.Sequence[str], password: str) -> str:
    """Return a new keystore with these entries only, under a password of its own, as base64."""
    if len(password) < MIN_PASSWORD:
        raise KeystoreError("export", "the transfer password has fewer than {0} characters; keytool refuses it.".format(MIN_PASSWORD))
    with private_folder() as folder:
        path = os.path.join(folder, "transfer.jceks")
        entries = [source.entry(alias) for alias in aliases]
        for entry in entries:
            _import(keytool, source, entry, path, password, entry.alias)
        content = _files.read(path, "keystore")
    found = _jceks.parse(content, password, "the exported keystore")
    if {name: item.identity for name, item in found.items()} != {item.alias: item.identity for item in entries}:
        raise KeytoolError(source.name, "the exported keystore does not hold what was asked for.")
    return base64.b64encode(content).decode("ascii")


@contextlib.contextmanager
def private_folder() -> t.Iterator[str]:
    """Give a folder of mode 0700 that is gone at the end."""
    folder = tempfile.mkdtemp(prefix="edge_encryption_")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _import(keytool: str, source: Source, entry: Entry, path: str, password: str, new_alias: str) -> None:
    with private_folder() as folder:
        origin = os.path.join(folder, "source.jceks")
        with open(origin, "wb") as stream:
            stream.write(source.content)
        argv = ["-importkeystore", "-noprompt", "-srckeystore", origin, "-srcstoretype", "jceks", "-destkeystore", path]
        argv += ["-deststoretype", "jceks", "-srcalias", entry.alias, "-destalias", new_alias]
        passwords = {"-srcstorepass": source.password, "-deststorepass": password}
        if entry.type != "trusted_certificate":
            # A certificate has no password of its own; keytool fails when it gets one.
            passwords.update({"-srckeypass": source.password, "-destkeypass": password})
        _run(keytool, argv, passwords)


def _run(keytool: str, argv: t.Sequence[str], passwords: t.Mapping[str, str]) -> None:
    """Run keytool. It reads each password from a pipe as from a file, so that none is in argv, in the environment or on disk."""
    command = [keytool] + ["-J" + option for option in _JVM] + list(argv)
    pipes = []
    try:
        for option, password in passwords.items():
            pipes.append(_pipe(password))
            command += [option + ":file", "/dev/fd/{0}".format(pipes[-1])]
        done = subprocess.run(
            command,
            check=False,
            pass_fds=pipes,
            stdin=subprocess.DEVNULL,  # a question ends in an error, not in a hang
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise KeytoolError(keytool, "it did not end within {0} seconds.".format(_TIMEOUT)) from None
    except OSError as exc:
        raise KeytoolError(keytool, "it cannot be run: {0}.".format(exc.strerror)) from exc
    finally:
        for pipe in pipes:
            os.close(pipe)
    if done.returncode != 0:
        output = done.stdout.decode("utf-8", "replace").strip()
        for secret in passwords.values():
            output = output.replace(secret, "********")
        raise KeytoolError(keytool, "{0} failed: {1}".format(argv[0], output or "no output"))


def _pipe(line: str) -> int:
    """Return the end to read from of a pipe that holds one line."""
    if "\n" in line or "\r" in line:
        raise KeytoolError("password", "it holds a line break, with which keytool cannot be given it.", "Change the keystore password.")
    read, write = os.pipe()
    with os.fdopen(write, "wb") as stream:
        stream.write(line.encode("utf-8") + b"\n")
    return read


def summary(entry: t.Optional[Entry]) -> t.Dict[str, t.Any]:
    """Return what a diff shows of an entry."""
    if entry is None:
        return {}
    return {"type": entry.type, "algorithm": entry.algorithm, "size": entry.size, "fingerprint": entry.fingerprint}


def refusal(path: str, present: Entry, wanted: Entry) -> KeystoreError:
    """Return the error for an alias that is taken."""
    if present.identity is None:
        cause = "the key of entry {0} has another password than the keystore, so it cannot be compared.".format(present.alias)
    else:
        cause = "the entry {0} holds other material than the source.".format(present.alias)
    return KeystoreError(
        path,
        cause,
        "Values encrypted with it would become unreadable; set replace=true only if it is not needed any more.",
        present=summary(present),
        wanted=summary(wanted),
    )
