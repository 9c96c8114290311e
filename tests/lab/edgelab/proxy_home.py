# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the install directory of a proxy: documented file names, a properties file that looks like the shipped one, real keystores.

A side (source or target) has one keystore; build it once with M(build_keystore) and give it to every home of the side.
"""

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

LAB_PATH = pathlib.Path(__file__).resolve().parent.parent
SIGNATURE_ALIAS = "edgesign"
SERVICENOW_ALIAS = "servicenow"
TIME_SCALE = 0.1  # 10 s between heartbeats become 1 s, 5 s between polls 0.5 s

# The shipped file: every documented property, the optional ones commented out with their defaults. %(name)s is filled in by build_home.
PROPERTIES = """\
# Edge Encryption proxy configuration.
# Restart the proxy after any change.

# ------------------------------------------------------------------
# Target: the one ServiceNow instance of this proxy. Must be the same on every proxy.
# ------------------------------------------------------------------
edgeencryption.target.host = %(target.host)s
edgeencryption.target.port = %(target.port)s
edgeencryption.target.protocol = %(target.protocol)s
# User with the role edge_encryption
edgeencryption.target.username = %(target.username)s
edgeencryption.target.password = %(target.password)s

# ------------------------------------------------------------------
# Proxy
# ------------------------------------------------------------------
edgeencryption.proxy.name = %(proxy.name)s
edgeencryption.proxy.host = %(proxy.host)s
# edgeencryption.proxy.http.port = 80
edgeencryption.proxy.https.port = %(proxy.https.port)s
# edgeencryption.proxy.locked = false
# edgeencryption.proxy.idle.timeout = 300
# edgeencryption.proxy.keepalive.interval = 10

# Load balancer
# edgeencryption.proxy.rewrite.location.host =
# edgeencryption.proxy.rewrite.location.https.port =

# Server certificate
# edgeencryption.proxy.https.cert.alias =
# edgeencryption.proxy.https.keystore.path = keystore/keystore.jceks
# edgeencryption.proxy.https.keystore.password = changeme

# Signature key pair. Must be the same on every proxy.
edgeencryption.proxy.signature.keystore.path = keystore/keystore.jceks
edgeencryption.proxy.signature.keystore.password = %(proxy.signature.keystore.password)s
edgeencryption.proxy.signature.keystore.keyalias = %(proxy.signature.keystore.keyalias)s

# ------------------------------------------------------------------
# Encryption keys
# ------------------------------------------------------------------
# Java KeyStore
edgeencryption.keystore.path = keystore/keystore.jceks
edgeencryption.keystore.password = %(keystore.password)s

# File store: the name of a file is the alias of its key
# edgeencryption.keyfile.directory = keys

# SafeNet KeySecure
# edgeencryption.nae.enabled = false
# edgeencryption.nae.server =
# edgeencryption.nae.port = 9000
# edgeencryption.nae.protocol = ssl
# edgeencryption.nae.keystore.path =
# edgeencryption.nae.keystore.password =
# edgeencryption.nae.username =
# edgeencryption.nae.password =
# edgeencryption.nae.client.certificate =

# Enterprise key management
# edgeencryption.ekm.provider.classname =
# edgeencryption.thirdparty.vendor.library.path =
# edgeencryption.ekm.provider.rsa.wrapping.key.alias =

# Must be the same on every proxy.
edgeencryption.customer.assigned.known.cleartext = %(customer.assigned.known.cleartext)s
# Exactly 16 ASCII characters
edgeencryption.encrypter.static.iv = %(encrypter.static.iv)s

# Name of a file in conf/ with the passphrase of obfuscated passwords
# edgeencryption.encrypter.properties.password =

# ------------------------------------------------------------------
# Proxy database. Must be the same on every proxy.
# ------------------------------------------------------------------
%(database)s
# edgeencryption.db.bootstrap.file = edgeencryption_bootstrap.sql

# ------------------------------------------------------------------
# Outbound web proxy
# ------------------------------------------------------------------
# edgeencryption.webproxy.host =
# edgeencryption.webproxy.port =
# edgeencryption.webproxy.user =
# edgeencryption.webproxy.password =

# ------------------------------------------------------------------
# Behaviour
# ------------------------------------------------------------------
# Do not change
# edgeencryption.config.poll.interval = 5
# edgeencryption.register.retry.count = 0
# edgeencryption.rules.dir = cache/rules
# edgeencryption.jobs.concurrency = 4
# edgeencryption.jobs.requests_per_second = 10
# edgeencryption.attachments.request.timeout.seconds = 300
# edgeencryption.encryption.order_preserving.cache.enable = false
# edgeencryption.encryption.order_preserving.cache.size = 10000
# edgeencryption.tokenization.exclusion.list =
# edgeencryption.request.buffer.size = 32768
# edgeencryption.httpclient.request.buffer.size = 32768
# edgeencryption.httpclient.header.size = 32768
# edgeencryption.stat.collection.enabled = true
# edgeencryption.stat.collection.interval = 60
"""

DATABASE = """\
edgeencryption.db.url = jdbc:mysql://%(host)s:%(port)s
edgeencryption.db.user = %(user)s
edgeencryption.db.password = %(password)s
edgeencryption.db.name = %(name)s"""

NO_DATABASE = """\
# edgeencryption.db.url = jdbc:mysql://localhost:3306
# edgeencryption.db.user =
# edgeencryption.db.password =
# edgeencryption.db.name = edgeencryption"""

WRAPPER_CONF = """\
# Java Service Wrapper
wrapper.java.command=java
wrapper.java.mainclass=com.snc.edgeencryption.EdgeEncryptionProxy
wrapper.java.additional.1=-Dfile.encoding=UTF-8
wrapper.java.additional.2=-Xms512m
wrapper.java.additional.3=-Xmx4096m
wrapper.logfile=../logs/wrapper.log
wrapper.pidfile=../bin/edgeencryption.pid
wrapper.shutdown.timeout=30
wrapper.ntservice.name=EdgeEncryption_%(name)s
wrapper.ntservice.displayname=Edge Encryption %(name)s
wrapper.ntservice.description=Edge Encryption
"""

LOG4J2 = """\
status = error
appender.rolling.type = RollingFile
appender.rolling.name = edge
appender.rolling.fileName = logs/edgeencryption.log
appender.rolling.filePattern = logs/edgeencryption-%i.log
appender.rolling.layout.type = PatternLayout
appender.rolling.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %p %m%n
logger.edge.name = com.snc.edgeencryption
logger.edge.level = info
"""

BOOTSTRAP_SQL = """\
CREATE TABLE IF NOT EXISTS db_id (
  id CHAR(36) NOT NULL PRIMARY KEY,
  created DATETIME NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS edge_token_map (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  token VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
  value TEXT NOT NULL,
  pattern VARCHAR(64) NOT NULL,
  created_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS token_map (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  field VARCHAR(160) NOT NULL,
  order_token BINARY(8) NOT NULL,
  cipher VARBINARY(2048) NOT NULL,
  created_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY field_order (field, order_token),
  KEY field_cipher (field, cipher(255))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
"""

_SCRIPT = """\
#!/bin/sh
# %(title)s
home=$(cd "$(dirname "$0")" && pwd -P)
setting() { sed -n "s/^ *\\"$1\\": *\\"\\(.*\\)\\",\\{0,1\\}$/\\1/p" "$home/conf/lab.json"; }
PYTHONPATH=$(setting pythonpath)
export PYTHONPATH
exec "$(setting python)" -m edgelab.proxy --home "$home" %(action)s
"""


# -- keys


def servicenow_key(directory):
    """Create (once) the key pair that stands for ServiceNow's own; return the paths of the private key and of the certificate."""
    directory = pathlib.Path(directory)
    key_file, certificate_file = directory / "servicenow.key", directory / "servicenow.pem"
    if not certificate_file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ServiceNow")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=3650))
            .sign(key, hashes.SHA256())
        )
        key_file.touch(mode=0o600)
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


def keytool(*arguments, store, password, key_password=None):
    """Run one keytool command on a JCEKS store; passwords go through the environment."""
    environment = dict(os.environ, EDGE_STOREPASS=password, EDGE_KEYPASS=key_password or password, LC_ALL="C")
    command = ["keytool", *arguments, "-keystore", str(store), "-storetype", "jceks", "-storepass:env", "EDGE_STOREPASS"]
    if "-genkeypair" in arguments or "-genseckey" in arguments:
        command += ["-keypass:env", "EDGE_KEYPASS"]
    command += ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"keytool {arguments[0]}: {done.stdout}{done.stderr}")


def build_keystore(path, password, *, servicenow_certificate, secret_keys=None, signature_alias=SIGNATURE_ALIAS):
    """Create keystore.jceks: the shipped certificate C(servicenow), AES keys (alias -> bits), the signature key pair."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # keytool writes the store anew on every call, so a half-made one must not be mistaken for the real one.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as work:
        store = pathlib.Path(work) / "keystore.jceks"
        keytool(
            "-importcert", "-noprompt", "-alias", SERVICENOW_ALIAS, "-file", str(servicenow_certificate), store=store, password=password
        )
        for alias, bits in (secret_keys or {}).items():
            keytool("-genseckey", "-alias", alias, "-keyalg", "aes", "-keysize", str(bits), store=store, password=password)
        if signature_alias:
            keytool(
                "-genkeypair",
                "-alias",
                signature_alias,
                "-keyalg",
                "rsa",
                "-keysize",
                "2048",
                "-validity",
                "3650",
                "-dname",
                "CN=Edge Encryption signature",
                store=store,
                password=password,
            )
        store.chmod(0o600)
        os.replace(store, path)
    return path


def signature_private_key(keystore, password, alias=SIGNATURE_ALIAS):
    """Read the private key that signs a side's rules, to seed an instance with."""
    entry = jks.KeyStore.load(str(keystore), password).private_keys[alias]
    return serialization.load_der_private_key(entry.pkey_pkcs8, None)


# -- home


def build_home(
    home,
    *,
    name,
    host="127.0.0.1",
    port,
    control_port,
    target,
    keystore,
    keystore_password,
    static_iv,
    known_cleartext,
    ca,
    tls_cert,
    tls_key,
    python=sys.executable,
    pythonpath=LAB_PATH,
    database=None,
    db_ca=None,
    signature_alias=SIGNATURE_ALIAS,
    file_keys=None,
    time_scale=TIME_SCALE,
    knobs=None,
    properties=None,
):
    """Create an install directory and return its path.

    target: dict of host, port, username, password (and protocol); database: dict of host, port, user, password, name, or None;
    host is the address that the proxy listens on; ca, tls_cert, tls_key, python and pythonpath are paths as the proxy finds them.
    file_keys: alias -> key bytes for keys/ (and switches the file store on); properties: further lines, names without prefix.
    """
    home = pathlib.Path(home)
    for folder in ("bin", "cache", "conf", "keys", "keystore", "logs", "sql"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(keystore, home / "keystore" / "keystore.jceks")
    (home / "keystore" / "keystore.jceks").chmod(0o600)
    for alias, key in (file_keys or {}).items():
        (home / "keys" / alias).write_bytes(key)
        (home / "keys" / alias).chmod(0o600)
    values = {f"target.{key}": value for key, value in dict({"protocol": "https"}, **target).items()}
    values.update(
        {
            "proxy.name": name,
            "proxy.host": host,
            "proxy.https.port": port,
            "proxy.signature.keystore.password": keystore_password,
            "proxy.signature.keystore.keyalias": signature_alias,
            "keystore.password": keystore_password,
            "customer.assigned.known.cleartext": known_cleartext,
            "encrypter.static.iv": static_iv,
        }
    )
    values = {key: _escape(str(value)) for key, value in values.items()}
    if database:
        values["database"] = DATABASE % {key: _escape(str(value)) for key, value in dict({"name": "edgeencryption"}, **database).items()}
    else:
        values["database"] = NO_DATABASE
    text = PROPERTIES % values
    extra = dict(properties or {})
    if file_keys:
        extra.setdefault("keyfile.directory", "keys")
    for key, value in extra.items():
        text = set_property(text, f"edgeencryption.{key}", value)
    _private(home / "conf" / "edgeencryption.properties", text)
    (home / "conf" / "wrapper.conf").write_text(WRAPPER_CONF % {"name": name}, encoding="ascii")
    (home / "conf" / "log4j2.properties").write_text(LOG4J2, encoding="ascii")
    (home / "sql" / "edgeencryption_bootstrap.sql").write_text(BOOTSTRAP_SQL, encoding="ascii")
    lab = {
        "bind": host,
        "control_port": control_port,
        "python": str(python),
        "pythonpath": str(pythonpath),
        "ca": str(ca),
        "db_ca": str(db_ca or ca),
        "tls_cert": str(tls_cert),
        "tls_key": str(tls_key),
        "time_scale": time_scale,
        "knobs": knobs or {},
    }
    (home / "conf" / "lab.json").write_text(json.dumps(lab, indent=2) + "\n", encoding="utf-8")
    for script, title, action in (
        ("startup.sh", "Starts the Edge Encryption proxy", "start"),
        ("shutdown.sh", "Stops the Edge Encryption proxy", "stop"),
    ):
        (home / script).write_text(_SCRIPT % {"title": title, "action": action}, encoding="ascii")
        (home / script).chmod(0o755)
    return home


def set_property(text, name, value):
    """Set C(name) in the text of a properties file: in place, or in place of its commented-out default, or at the end."""
    line = f"{name} = {_escape(value)}"
    lines = text.split("\n")
    for number, old in enumerate(lines):
        if old.lstrip("# ").split("=")[0].strip() == name:
            lines[number] = line
            return "\n".join(lines)
    return text.rstrip("\n") + f"\n{line}\n"


def set_knobs(home, **knobs):
    """Set knobs of a proxy that is not running (a running one has its control port)."""
    path = pathlib.Path(home) / "conf" / "lab.json"
    lab = json.loads(path.read_text(encoding="utf-8"))
    lab["knobs"] = dict(lab.get("knobs") or {}, **knobs)
    path.write_text(json.dumps(lab, indent=2) + "\n", encoding="utf-8")


def _escape(value):
    """A value by the grammar of java.util.Properties."""
    text = value.replace("\\", "\\\\")
    if text[:1] in (" ", "\t"):
        text = "\\" + text
    return "".join(char if char.isascii() else "".join(f"\\u{unit:04x}" for unit in _utf16(char)) for char in text)


def _utf16(char):
    data = char.encode("utf-16-be")
    return [int.from_bytes(data[index : index + 2], "big") for index in range(0, len(data), 2)]


def _private(path, text):
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
