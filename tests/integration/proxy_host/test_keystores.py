# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore modules against the real keytool, with keytool and pyjks as judges of the reader."""

import base64
import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

import jks
import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils import _jceks

PASSWORD = "changeme"
OTHER = "other-Passw0rd"
TRANSFER = "transfer-pa55"


class Store:
    """A keystore made by keytool."""

    def __init__(self, keytool: str, path: pathlib.Path, password: str, kind: str = "jceks") -> None:
        self._keytool, self.path, self.password, self._kind = keytool, path, password, kind

    def run(self, *arguments: str) -> str:
        # Few iterations, for speed; two tests below take many.
        few = "-J-Djdk.jceks.iterationCount=10000"
        command = [
            self._keytool,
            "-J-Duser.language=en",
            "-J-XX:TieredStopAtLevel=1",
            few,
            *arguments,
            "-keystore",
            str(self.path),
            "-storetype",
            self._kind,
            "-storepass",
            self.password,
        ]
        return subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout.decode()

    def secret(self, alias: str, size: int = 128, *more: str) -> None:
        self.run("-genseckey", "-alias", alias, "-keyalg", "aes", "-keysize", str(size), *more)

    def pair(self, alias: str, algorithm: str = "rsa", *more: str) -> None:
        self.run("-genkeypair", "-alias", alias, "-keyalg", algorithm, "-dname", "CN=" + alias, *more)

    def certificate(self, alias: str, of: str) -> None:
        self.run("-exportcert", "-alias", of, "-file", str(self.path) + ".der")
        self.run("-importcert", "-noprompt", "-alias", alias, "-file", str(self.path) + ".der")

    def args(self, **values: object) -> dict:
        return dict(dict(path=str(self.path), password=self.password), **values)

    def raw_key(self, alias: str) -> bytes:
        """Return a secret key as pyjks decrypts it."""
        key = jks.KeyStore.load(str(self.path), self.password).secret_keys[alias]
        return key.key


@pytest.fixture(scope="module")
def made(keytool, tmp_path_factory):
    """Return a source and a target keystore; tests work on copies."""
    folder = tmp_path_factory.mktemp("made")
    source = Store(keytool, folder / "source.jceks", OTHER)
    source.secret("aes128prod")
    source.secret("aes256prod", 256)
    source.pair("edgesign")
    source.pair("curve", "ec")
    source.certificate("servicenow", "edgesign")
    source.run("-genseckey", "-alias", "tripledes", "-keyalg", "desede")
    source.secret("stray", 128, "-keypass", "another-password")
    target = Store(keytool, folder / "target.jceks", PASSWORD)
    target.secret("aes128test")
    target.pair("edgesign")
    return source, target


@pytest.fixture
def stores(made, keytool, tmp_path):
    found = []
    for store in made:
        path = tmp_path / store.path.name
        shutil.copy(str(store.path), str(path))
        found.append(Store(keytool, path, store.password))
    found[1].path.chmod(0o640)
    return found


@pytest.fixture(autouse=True)
def no_traces(tmp_path, monkeypatch):
    """Temporary files are gone on every path."""
    folder = tmp_path / "tmpdir"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
    assert not [name for name in os.listdir(str(tmp_path)) if name.startswith(".")]


def copy(run_module, source, target, alias="aes256prod", check=False, diff=False, **args):
    options = dict(target.args(alias=alias, source_path=str(source.path), source_password=source.password), **args)
    return run_module("edge_keystore_entry", options, check=check, diff=diff)


def listed(run_module, store, **args):
    result = run_module("edge_keystore_info", store.args(**args))
    assert not result.failed, result
    return {entry["alias"]: entry for entry in result["entries"]}


def test_listing_agrees_with_keytool_and_pyjks(run_module, stores):
    source = stores[0]
    entries = listed(run_module, source)
    printed = source.run("-list")
    for alias, kind in re.findall(r"^(\w+), .*, (\w+), $", printed, re.MULTILINE):
        known = {"SecretKeyEntry": "secret_key", "PrivateKeyEntry": "private_key", "trustedCertEntry": "trusted_certificate"}
        assert entries[alias]["type"] == known[kind]
    assert len(entries) == 7 and "contains 7 entries" in printed
    digests = re.findall(r"^(\w+), .*\nCertificate fingerprint \(SHA-256\): (\S+)", printed, re.MULTILINE)
    assert {alias: digest.replace(":", "").lower() for alias, digest in digests} == {
        alias: entry["fingerprint"] for alias, entry in entries.items() if entry["type"] != "secret_key"
    }
    for alias in ("aes128prod", "aes256prod", "tripledes"):
        assert entries[alias]["fingerprint"] == hashlib.sha256(source.raw_key(alias)).hexdigest()
    shown = {alias: (entry["algorithm"], entry["size"], entry["key_password_matches"]) for alias, entry in entries.items()}
    assert shown == {
        "aes128prod": ("AES", 128, True),
        "aes256prod": ("AES", 256, True),
        "edgesign": ("RSA", 2048, True),
        "curve": ("EC", 256, True),
        "servicenow": ("RSA", 2048, None),
        "tripledes": ("DESede", 192, True),
        "stray": (None, None, False),
    }


def test_listing_of_some_aliases(run_module, stores):
    result = run_module("edge_keystore_info", stores[0].args(aliases=["AES128prod", "nobody"]))
    assert [entry["alias"] for entry in result["entries"]] == ["aes128prod"] and result["missing"] == ["nobody"]


@pytest.mark.parametrize(
    "alias",
    ["aes256prod", "edgesign", "servicenow"]
    + [pytest.param(alias, marks=pytest.mark.long) for alias in ("aes128prod", "curve", "tripledes")],
)
def test_copy(run_module, stores, alias):
    source, target = stores
    new = alias + "2"
    before = listed(run_module, target)
    assert copy(run_module, source, target, new, check=True, source_alias=alias)["changed"]
    assert listed(run_module, target) == before

    result = copy(run_module, source, target, new, diff=True, source_alias=alias)
    assert result["changed"], result
    expected = dict(listed(run_module, source)[alias], alias=new)
    after = listed(run_module, target)
    assert {name: value for name, value in after[new].items() if name != "created"} == {k: v for k, v in expected.items() if k != "created"}
    assert result["fingerprint"] == expected["fingerprint"] and result["entry_type"] == expected["type"]
    assert result["diff"]["after"]["fingerprint"] == expected["fingerprint"] and result["diff"]["before"] == {}
    after.pop(new)
    assert after == before
    assert stat.S_IMODE(target.path.stat().st_mode) == 0o640
    backup = pathlib.Path(result["backup_file"])
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert listed(run_module, Store("", backup, PASSWORD)) == before
    assert new in target.run("-list")  # Java opens the store

    again = copy(run_module, source, target, new, source_alias=alias)
    assert not again["changed"] and "backup_file" not in again
    assert not copy(run_module, source, target, new, check=True, source_alias=alias)["changed"]


def test_key_and_store_password_are_equal_after_the_copy(run_module, stores):
    source, target = stores
    copy(run_module, source, target, "edgesign2", source_alias="edgesign")
    # keytool asks for a key password only when it differs.
    target.run("-certreq", "-alias", "edgesign2", "-keypass", PASSWORD)


def test_other_material_is_refused_unless_replace(run_module, stores):
    source, target = stores
    before = target.path.read_bytes()
    for check in (True, False):
        refused = copy(run_module, source, target, "edgesign", check=check)
        assert refused.failed and "other material" in refused["msg"] and "replace=true" in refused["msg"]
    assert target.path.read_bytes() == before
    replaced = copy(run_module, source, target, "edgesign", replace=True)
    assert replaced["changed"]
    assert listed(run_module, target)["edgesign"]["fingerprint"] == listed(run_module, source)["edgesign"]["fingerprint"]
    assert pathlib.Path(replaced["backup_file"]).read_bytes() == before


def test_alias_in_capitals_is_the_same_alias(run_module, stores):
    source, target = stores
    assert copy(run_module, source, target, "AES256Prod")["alias"] == "aes256prod"
    assert not copy(run_module, source, target, "aes256prod")["changed"]


def test_entry_with_its_own_password_is_refused(run_module, stores):
    source, target = stores
    result = copy(run_module, source, target, "stray")
    assert result.failed and "another password than the keystore" in result["msg"]
    target.secret("stray", 128, "-keypass", "another-password")
    taken = copy(run_module, source, target, "stray", source_alias="aes128prod")
    assert taken.failed and "cannot be compared" in taken["msg"]


def test_export_and_import_of_the_container(run_module, stores):
    source, target = stores
    exported = run_module("edge_keystore_info", source.args(export={"aliases": ["aes256prod", "edgesign"], "password": TRANSFER}))
    assert not exported["changed"]
    container = base64.b64decode(exported["container"])
    inside = _jceks.parse(container, TRANSFER, "container")
    assert sorted(inside) == ["aes256prod", "edgesign"]
    assert TRANSFER not in str(exported) and OTHER not in str(exported)

    options = target.args(alias="aes256prod", source_content=exported["container"], source_password=TRANSFER)
    assert run_module("edge_keystore_entry", options)["changed"]
    assert target.raw_key("aes256prod") == source.raw_key("aes256prod")
    wrong = run_module("edge_keystore_entry", dict(options, source_password="wrong-password"))
    assert wrong.failed and "password does not fit" in wrong["msg"]


@pytest.mark.parametrize(
    "export, text",
    [({"aliases": ["aes128prod"], "password": "short"}, "fewer than 6"), ({"aliases": ["no"], "password": TRANSFER}, "no entry no")],
)
def test_export_that_cannot_be(run_module, stores, export, text):
    result = run_module("edge_keystore_info", stores[0].args(export=export))
    assert result.failed and text in result["msg"]


def test_no_password_in_argv_or_environment_and_no_open_key_on_disk(run_module, stores, keytool, tmp_path):
    spy, seen, kept = tmp_path / "keytool", tmp_path / "seen", tmp_path / "kept"
    kept.mkdir()
    # Notes argv and environment, and keeps a copy of each file that is there while keytool runs and after it.
    spy.write_text(
        '#!/bin/sh\n{{ printf "%s\\n" "$@"; env; }} >> {0}\nkeep() {{ for f in $(find {2}/tmpdir {2}/.*.tmp -type f 2>/dev/null);'
        ' do cp "$f" {3}/$1.$$.$(basename $(dirname $f)).$(basename $f); done; }}\nkeep before\n{1} "$@"\ncode=$?\nkeep after\nexit $code\n'.format(
            seen, keytool, tmp_path, kept
        )
    )
    spy.chmod(0o755)
    source, target = stores
    assert copy(run_module, source, target, keytool=str(spy))["changed"]
    exported = run_module("edge_keystore_info", source.args(keytool=str(spy), export={"aliases": ["edgesign"], "password": TRANSFER}))
    assert exported["container"]
    text = seen.read_text()
    assert text.count("-importkeystore") == 2
    assert not any(secret in text for secret in (PASSWORD, OTHER, TRANSFER))
    raw = source.raw_key("aes256prod")
    (private,) = [key.pkey for alias, key in jks.KeyStore.load(str(source.path), OTHER).private_keys.items() if alias == "edgesign"]
    files = [path.read_bytes() for path in kept.iterdir()]
    assert len(files) >= 4 and all(content.startswith(b"\xce\xce\xce\xce") for content in files if content)
    secrets = [raw, private, private[-64:]] + [secret.encode() for secret in (PASSWORD, OTHER, TRANSFER)]
    assert not [secret for secret in secrets for content in files if secret in content]


@pytest.mark.parametrize(
    "script, text",
    [
        ("exit 0", "reported success, but the entry aes256prod is not as in the source"),
        (
            'while [ "$1" != -deststorepass:file ]; do shift; done; echo "keytool error: $(cat "$2")"; exit 1',
            "-importkeystore failed: keytool error: ********",
        ),
    ],
)
def test_keytool_is_not_trusted(run_module, stores, tmp_path, script, text):
    fake = tmp_path / "keytool"
    fake.write_text("#!/bin/sh\n{0}\n".format(script))
    fake.chmod(0o755)
    source, target = stores
    before = target.path.read_bytes()
    result = copy(run_module, source, target, keytool=str(fake))
    assert result.failed and text in result["msg"]
    assert target.path.read_bytes() == before


def test_keytool_that_damages_other_entries(run_module, stores, keytool, tmp_path):
    fake = tmp_path / "keytool"
    fake.write_text(
        '#!/bin/sh\n{0} "$@" || exit 1\nwhile [ "$1" != -destkeystore ]; do shift; done\n'
        '{0} -delete -alias aes128test -keystore "$2" -storetype jceks -storepass {1}\n'.format(keytool, PASSWORD)
    )
    fake.chmod(0o755)
    source, target = stores
    result = copy(run_module, source, target, keytool=str(fake))
    assert result.failed and "changed other entries" in result["msg"]
    assert "aes128test" in listed(run_module, target)


def test_keytool_of_the_proxy_comes_first(run_module, stores, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "java" / "jre" / "bin").mkdir(parents=True)
    source, target = stores
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = copy(run_module, source, target, home=str(home))
    assert missing.failed and "Install a Java runtime" in missing["msg"]
    assert copy(run_module, source, target, home=str(home), check=True).failed
    (home / "java" / "jre" / "bin" / "keytool").write_text("#!/bin/sh\necho own one; exit 3\n")
    (home / "java" / "jre" / "bin" / "keytool").chmod(0o755)
    assert "own one" in copy(run_module, source, target, home=str(home))["msg"]


def test_paths_relative_to_home(run_module, stores):
    target = stores[1]
    result = run_module("edge_keystore_info", {"home": str(target.path.parent), "path": target.path.name, "password": PASSWORD})
    assert len(result["entries"]) == 2


@pytest.mark.parametrize("kind, name", [("jks", "JKS"), ("pkcs12", "PKCS12")])
def test_other_types_are_named(run_module, keytool, tmp_path, kind, name):
    store = Store(keytool, tmp_path / "other", PASSWORD, kind)
    store.pair("edgesign", "rsa")
    result = run_module("edge_keystore_info", store.args())
    assert result.failed and "of the type {0}, not JCEKS".format(name) in result["msg"]


def test_many_iterations(run_module, keytool, tmp_path):
    store = Store(keytool, tmp_path / "slow.jceks", PASSWORD)
    store.secret("slow", 128, "-J-Djdk.jceks.iterationCount=1000000")
    assert listed(run_module, store)["slow"]["fingerprint"] == hashlib.sha256(store.raw_key("slow")).hexdigest()


@pytest.mark.long
def test_the_most_iterations_that_java_writes(run_module, keytool, tmp_path):
    store = Store(keytool, tmp_path / "slowest.jceks", PASSWORD)
    store.secret("slow", 128, "-J-Djdk.jceks.iterationCount=5000000")
    assert listed(run_module, store)["slow"]["key_password_matches"]


def test_equal_salt_halves_as_pyjks_reads_them():
    for salt in (b"\x01\x02\x03\x04" * 2, b"\x01\x02\x03\x04\x05\x06\x07\x08"):
        assert b"".join(jks.sun_crypto._jce_pbe_derive_key_and_iv(PASSWORD, salt, 7)) == _jceks._derive(salt, 7, PASSWORD, "x")
