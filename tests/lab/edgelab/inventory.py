# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory that describes the lab to the collection, in the shape of the example project."""

import json
import typing as t
from pathlib import Path

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
PLAYBOOK = "edge_encryption.clone.clone_with_tokenization"
EDGE_SECRET = "a secret of the lab that encrypts snapshots"


def write_inventory(lab: t.Dict[str, t.Any], folder: Path, **overrides: t.Any) -> Path:
    """Write an inventory for the lab.

    Args:
        lab: what lab.json says.
        folder: where the inventory, the state and the report of runs go; made 0700, since it holds the lab's passwords.
        overrides: variables of group all that differ from the default.
    Returns:
        The inventory file.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = {
        "all": {
            "vars": {**local, **variables(lab, folder), **overrides},
            "children": {
                "edge_runner": {"hosts": {"runner": {}}},
                "edge_source_proxies": _proxies(lab, "source", folder),
                "edge_target_proxies": _proxies(lab, "target", folder),
            },
        }
    }
    path = folder / "inventory.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(inventory, indent=2))
    return path


def variables(lab: t.Dict[str, t.Any], folder: Path) -> t.Dict[str, t.Any]:
    """Return the variables of group all: what a user writes into group_vars/all."""
    target = lab["instances"]["target"]
    return {
        "edge_target_name": target["name"],
        "edge_source_instance": _instance(lab, "source"),
        "edge_target_instance": _instance(lab, "target"),
        "edge_service_account": {"username": "edge.proxy", "password": target["users"]["edge.proxy"]},
        "edge_source_token_db": _token_db(lab, "source"),
        "edge_target_token_db": _token_db(lab, "target"),
        "edge_secret": EDGE_SECRET,
        "edge_state_dir": str(folder / "state"),
        "edge_report_path": str(folder / "report.json"),
        "edge_encryption_option": "same_key",
        "edge_signature_option": "resigned",
        "edge_proxy_ca_path": lab["ca"],
        "edge_out_of_service_tasks": str(HOOKS / "drain.yml"),
        "edge_in_service_tasks": str(HOOKS / "enable.yml"),
        "edge_balancer_control_url": lab["balancer"]["control_url"],
        # The lab's clone takes seconds where a real one takes hours.
        "edge_stop_lead": 60 if lab.get("ssh") else 20,
        "edge_poll_interval": 1,
        "edge_clone_timeout": 300,
        "edge_proxy_timeout": 30,
    }


def _instance(lab: t.Dict[str, t.Any], side: str) -> t.Dict[str, t.Any]:
    instance = lab["instances"][side]
    return {"host": instance["url"], "username": instance["username"], "password": instance["password"], "ca_path": lab["ca"]}


def _token_db(lab: t.Dict[str, t.Any], side: str) -> t.Dict[str, t.Any]:
    db = lab["token_db"][side]
    return {
        "login_host": db["host"], "login_port": db["port"], "login_user": db["user"], "login_password": db["password"], "ca_cert": db["ca"],
        "database": db["database"],
    }


def _proxies(lab: t.Dict[str, t.Any], side: str, folder: Path) -> t.Dict[str, t.Any]:
    hosts = {proxy["name"]: {"edge_home": proxy["home"], "edge_url": proxy["url"]} for proxy in lab["proxies"][side]}
    keystore = {"edge_keystore_password": lab["keystore_password"][side]}
    if not lab.get("ssh"):
        return {"hosts": hosts, "vars": keystore}
    for proxy in lab["proxies"][side]:
        hosts[proxy["name"]]["ansible_host"] = proxy["address"]
    return {"hosts": hosts, "vars": {**keystore, **_over_ssh(lab["ssh"], folder)}}


def _over_ssh(ssh: t.Dict[str, str], folder: Path) -> t.Dict[str, t.Any]:
    """Return how a user logs in to the hosts, as the guide "Least privilege" says."""
    options = {
        "UserKnownHostsFile": ssh["known_hosts"], "StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes", "PasswordAuthentication": "no",
        # A host that falls silent counts as lost after 15 s.
        "ConnectTimeout": 10, "ServerAliveInterval": 5, "ServerAliveCountMax": 3,
    }  # fmt: skip
    return {
        "ansible_connection": "ssh",
        "ansible_user": ssh["user"],
        "ansible_ssh_private_key_file": ssh["key"],
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
        "ansible_control_path_dir": str(folder / "cp"),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "ansible_become": True,
        "ansible_become_user": ssh["proxy_user"],
    }
