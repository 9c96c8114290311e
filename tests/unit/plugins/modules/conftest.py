# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An instance with rules, for the modules that export them and make them anew; keystores that were made without Java."""

import datetime
import functools
import hashlib
import struct

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

RULES = "sys_encryption_rule"
CONFIGURATIONS = "sys_encryption_configuration"


@pytest.fixture
def described_rules(fake):  # noqa: F811
    columns = {RULES: ("name", "order", "condition", "script", "active", "signature"), CONFIGURATIONS: ("table", "type", "column", "encryption_type", "active")}
    for table, elements in columns.items():
        for element in elements:
            fake.add("sys_dictionary", name=table, element=element, internal_type="string", reference="", active="true")
    fake.add_rule("mine", active=False)
    fake.add_rule("base", sys_created_by="glide.maint")
    fake.add_configuration("incident", "description")
    return fake


@pytest.fixture
def export(run_module, described_rules, tmp_path):
    """Return a function that exports the rules to C(export.path)."""

    def run(check=False, **args):
        return run_module("edge_rule_export", dict({"instance": described_rules.instance, "path": str(run.path)}, **args), check=check, diff=True)

    run.path = tmp_path / "rules.json"
    return run


@functools.lru_cache(maxsize=None)
def certificate(name):
    """Return a certificate for this name, always the same."""
    key = rsa.generate_private_key(65537, 1024)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(7)
    now = datetime.datetime(2026, 1, 1)
    signed = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def jceks(*aliases):
    """Return a JCEKS keystore with the password changeme that holds a certificate under each alias."""
    body = struct.pack(">III", 0xCECECECE, 2, len(aliases))
    for alias in aliases:
        der = certificate(alias)
        body += struct.pack(">IH", 2, len(alias)) + alias.encode() + struct.pack(">qH", 1767323045000, 5) + b"X.509" + struct.pack(">I", len(der)) + der
    return body + hashlib.sha1("changeme".encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


@pytest.fixture
def keystore(tmp_path):
    """Return a function that writes such a keystore."""

    def write(name, *aliases):
        path = tmp_path / name
        path.write_bytes(jceks(*aliases))
        return path

    return write
