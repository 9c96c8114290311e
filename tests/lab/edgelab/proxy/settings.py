# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxy reads at its start: conf/edgeencryption.properties, and conf/lab.json for what only a lab needs."""

import json
import pathlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import javaproperties

PREFIX = "edgeencryption."


class SettingsError(Exception):
    """A property is missing or cannot be used."""


@dataclass
class Settings:
    """The properties under their documented names (without C(edgeencryption.)), and the lab's own extras."""

    home: pathlib.Path
    properties: dict
    lab: dict = field(repr=False)

    @classmethod
    def load(cls, home):
        home = pathlib.Path(home).resolve()
        # The encoding is that of java.util.Properties.
        with open(home / "conf" / "edgeencryption.properties", encoding="iso-8859-1") as stream:
            properties = {name[len(PREFIX) :]: value for name, value in javaproperties.load(stream).items() if name.startswith(PREFIX)}
        with open(home / "conf" / "lab.json", encoding="utf-8") as stream:
            lab = json.load(stream)
        return cls(home, properties, lab)

    def get(self, name, default=None):
        return self.properties.get(name) or default

    def require(self, name):
        if not self.properties.get(name):
            raise SettingsError(f"Property '{PREFIX}{name}' is not set")
        return self.properties[name]

    def flag(self, name, default=False):
        value = self.get(name)
        return default if value is None else value.strip().lower() == "true"

    def number(self, name, default):
        value = self.get(name, str(default))
        try:
            return int(value)
        except ValueError:
            raise SettingsError(f"Property '{PREFIX}{name}' is not a number") from None

    def path(self, name, default=None):
        value = self.get(name, default)
        return None if value is None else self.home / value

    def seconds(self, name, default, minimum=1):
        """An interval, shortened by the lab's clock."""
        return max(self.number(name, default), minimum) * self.lab.get("time_scale", 1)

    # -- derived

    @property
    def name(self):
        return self.require("proxy.name")

    @property
    def host(self):
        return self.get("proxy.host", "127.0.0.1")

    @property
    def https_port(self):
        return int(self.require("proxy.https.port"))

    @property
    def public_address(self):
        """Host and port that clients use: the load balancer's where there is one."""
        host = self.get("proxy.rewrite.location.host", self.host)
        return f"{host}:{self.get('proxy.rewrite.location.https.port', self.https_port)}"

    @property
    def target(self):
        protocol = self.get("target.protocol", "https")
        return f"{protocol}://{self.require('target.host')}:{self.get('target.port', '443' if protocol == 'https' else '80')}"

    @property
    def static_iv(self):
        value = self.require("encrypter.static.iv")
        if len(value) != 16 or not value.isascii():
            raise SettingsError("Property 'edgeencryption.encrypter.static.iv' must be exactly 16 ASCII characters")
        return value.encode("ascii")

    @property
    def verify_signatures(self):
        return self.flag("proxy.signature.verify", True) and not self.flag("proxy.skip.config.validate")

    @property
    def database(self):
        """Arguments of the MySQL connection, or None if there is no database."""
        url = self.get("db.url")
        if url is None:
            return None
        address = urlsplit(url[len("jdbc:") :] if url.startswith("jdbc:") else url)
        ca = self.lab.get("db_ca", self.lab.get("ca"))
        return {
            "host": address.hostname or "127.0.0.1",
            "port": address.port or 3306,
            "user": self.require("db.user"),
            "password": self.get("db.password", ""),
            "database": self.get("db.name", "edgeencryption"),
            "ssl": {"ca": ca} if ca else None,
        }
