# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The C(instance) option: one argument spec, one way to make a client of it."""

import typing as t

from ansible.module_utils.common.parameters import env_fallback

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, Credentials

ENVIRONMENT = {
    "host": "SN_HOST",
    "username": "SN_USERNAME",
    "password": "SN_PASSWORD",
    "grant_type": "SN_GRANT_TYPE",
    "client_id": "SN_CLIENT_ID",
    "client_secret": "SN_CLIENT_SECRET",
    "timeout": "SN_TIMEOUT",
}


def instance_spec(environment: bool = True, required: bool = True) -> t.Dict[str, t.Any]:
    """Return the spec of an C(instance) option.

    A second instance of a module takes nothing from the environment, where the first one's credentials are.
    """
    options = {
        "host": {"type": "str"},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "grant_type": {"type": "str", "choices": ["password", "client_credentials"], "default": "password"},
        "client_id": {"type": "str"},
        "client_secret": {"type": "str", "no_log": True},
        "timeout": {"type": "float", "default": 30},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
    }  # type: t.Dict[str, t.Dict[str, t.Any]]
    if environment:
        for name, variable in ENVIRONMENT.items():
            options[name]["fallback"] = (env_fallback, [variable])
    return {
        "type": "dict",
        "required": required,
        "options": options,
        "required_together": [("client_id", "client_secret")],
        "required_if": [
            ("grant_type", "password", ("username", "password")),
            ("grant_type", "client_credentials", ("client_id", "client_secret")),
        ],
    }


def client_of(instance: t.Mapping[str, t.Any], option: str = "instance", **settings: t.Any) -> Client:
    """Return a client for the value of an C(instance) option."""
    # Checked here, because the spec would let an explicit null pass.
    needed = ["host"] + (["username", "password"] if instance["grant_type"] == "password" else [])
    missing = [name for name in needed if not instance[name]]
    if missing:
        way_out = "" if option != "instance" else "Or set {}.".format(", ".join(ENVIRONMENT[name] for name in missing))
        raise EdgeError(option, "it lacks {}.".format(", ".join(missing)), way_out)
    return Client(
        instance["host"],
        Credentials(
            username=instance["username"],
            password=instance["password"],
            client_id=instance["client_id"],
            client_secret=instance["client_secret"],
            grant_type=instance["grant_type"],
        ),
        verify=instance["validate_certs"] and (instance["ca_path"] or True),
        timeout=instance["timeout"],
        **settings,
    )


def proxy_client(client: Client, proxy_url: str, proxy_ca_path: t.Optional[str]) -> Client:
    """Return a client for the same account through an Edge Encryption proxy."""
    return client.sibling(url=proxy_url, verify=proxy_ca_path if proxy_ca_path and client.verify is not False else None)


def proxy_spec() -> t.Dict[str, t.Any]:
    """Return the options that name a proxy of the instance."""
    return {"proxy_url": {"type": "str", "required": True}, "proxy_ca_path": {"type": "path"}}
