# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's certificate authority and the server certificates it issues for the addresses of a lab."""

import datetime
import ipaddress
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority in a folder, made on first use, for servers on the loopback and on these addresses."""

    def __init__(self, folder: Path, addresses: t.Iterable[str] = ()) -> None:
        self.folder = folder
        self._addresses = sorted({"127.0.0.1", *addresses})
        self.ca = folder / "ca.pem"
        self._key_file = folder / "ca.key"
        if not self.ca.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name("Edge lab CA")
            usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
                                  data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False)
            certificate = (_builder(name, name, key.public_key(), _now() + datetime.timedelta(days=365))
                           .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(usage, critical=True)
                           .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                           .sign(key, hashes.SHA256()))
            _write_key(self._key_file, key)
            self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, expired: bool = False) -> t.Tuple[Path, Path]:
        """Return certificate and key of a server on localhost and all addresses, made on first use."""
        cert_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if not cert_file.exists():
            ca = x509.load_pem_x509_certificate(self.ca.read_bytes())
            ca_key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
            key = ec.generate_private_key(ec.SECP256R1())
            names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(address)) for address in self._addresses)])
            end = _now() + datetime.timedelta(days=-1 if expired else 90)
            certificate = (_builder(_name("localhost"), ca.subject, key.public_key(), end).add_extension(names, critical=False)
                           # Python 3.13 and newer insist on it.
                           .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)  # type: ignore[arg-type]
                           .sign(ca_key, hashes.SHA256()))  # type: ignore[arg-type]
            _write_key(key_file, key)
            cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cert_file, key_file


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, end: datetime.datetime) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key).serial_number(x509.random_serial_number())
            .not_valid_before(_now() - datetime.timedelta(days=2)).not_valid_after(end))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
