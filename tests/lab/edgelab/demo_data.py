# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the demo and the tests write, schedule and read in the lab, as users of it would."""

import datetime
import typing as t

import requests

TABLE = "incident"
ENCRYPTED_FIELDS = ("short_description", "description", "u_customer_name", "u_account", "u_tax_id")
CONTRACTS = "u_contract"
LONG_TEXT = "A long description, with an umlaut ü, a smiling face 😀 and a family 👨‍👩‍👧. " * 40
MARKER = "traffic-"  # begins every text that the lab's users write into an encrypted field

Lab = t.Dict[str, t.Any]
Row = t.Dict[str, str]


def session(lab: Lab, side: str, user: str = "demo.user") -> requests.Session:
    """Return a session that logs in to the instance of a side, or to its proxies, with basic authentication."""
    client = requests.Session()
    client.trust_env = False
    client.auth = (user, lab["instances"][side]["users"][user])
    client.verify = lab["ca"]
    client.headers.update({"Accept": "application/json", "Content-Type": "application/json"})
    return client


def write_source(lab: Lab, count: int) -> t.List[Row]:
    """Write incidents and a contract through a source proxy; every tenth incident gets an attachment. Returns what was written, sys_ids included."""
    return _write(lab, "source", count, "prod")


def write_target(lab: Lab, count: int) -> t.List[Row]:
    """Write records through a target proxy before the clone, so that the target has tokens of its own."""
    return _write(lab, "target", count, "test")


def _write(lab: Lab, side: str, count: int, word: str) -> t.List[Row]:
    url = lab["proxies"][side][0]["url"]
    written = []
    with session(lab, side) as client:
        for number in range(count):
            record = {
                "number": f"DEMO{number:07d}",
                "short_description": f"Payroll {word} {number}: 工资 💶",
                "description": LONG_TEXT if number % 5 == 0 else f"Details of {word} case {number}",
                "u_customer_name": f"Customer {word} {number % 7}",
                "u_account": f"ACC-{(number * 7919) % 100000:05d}",
                "u_tax_id": f"tax {100 + number % 900}-{number % 100:02d}-{1000 + number % 9000}",
            }
            answer = client.post(f"{url}/api/now/table/{TABLE}", json=record)
            answer.raise_for_status()
            record = dict(record, table=TABLE, sys_id=answer.json()["result"]["sys_id"])
            if number % 10 == 0:
                client.post(f"{url}/api/now/attachment/file", data=f"attachment of {word} {number} ".encode() * 500, headers={"Content-Type": "text/plain"},
                            params={"table_name": TABLE, "table_sys_id": record["sys_id"], "file_name": "contract.txt"}).raise_for_status()
            written.append(record)
        contract = {"u_number": "DEMO0000001", "u_name": f"{word} contract", "u_notes": f"Notes of {word}, tax 987-65-4321"}
        client.post(f"{url}/api/now/table/{CONTRACTS}", json=contract).raise_for_status()
    return written


def verify_records(count: int = 40) -> t.List[t.Dict[str, t.Any]]:
    """What a user would name in edge_verify_records for these records; sorted by the order-preserving field, so that sorting is proven as well."""
    return [
        {"table": TABLE, "query": "numberSTARTSWITHDEMO^ORDERBYu_account", "fields": list(ENCRYPTED_FIELDS), "attachments": True, "limit": count},
        {"table": CONTRACTS, "query": "u_numberSTARTSWITHDEMO^ORDERBYu_number", "fields": ["u_notes"], "limit": 10},
    ]


def take_backup(lab: Lab, side: str = "source") -> t.Dict[str, str]:
    """Take the nightly backup of an instance now; returns its id, start and end."""
    return _control("POST", lab["instances"][side]["control_url"] + "/backup")


def schedule_clone(lab: Lab, in_seconds: float, **options: str) -> str:
    """Request a clone of the source over the target, as a clone admin would; returns its number."""
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=in_seconds)
    source = lab["instances"]["source"]
    with session(lab, "source", source["username"]) as client:
        target = client.get(f"{source['url']}/api/now/table/instance", params={"sysparm_query": f"instance_name={lab['instances']['target']['name']}"})
        target.raise_for_status()
        request = dict({
            "target_instance": target.json()["result"][0]["sys_id"], "scheduled": f"{start:%Y-%m-%d %H:%M:%S}", "state": "Requested",
            "preserve_users_and_related_tables": "true", "filter_attachment_data": "false",
        }, **options)
        answer = client.post(f"{source['url']}/api/now/table/clone_instance", json=request)
        answer.raise_for_status()
        return answer.json()["result"]["clone_id"]


def bring_forward(lab: Lab, number: str, in_seconds: float) -> None:
    """Let a clone that is scheduled start earlier, as its owner can."""
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=in_seconds)
    source = lab["instances"]["source"]
    with session(lab, "source", source["username"]) as client:
        table = f"{source['url']}/api/now/table/clone_instance"
        found = client.get(table, params={"sysparm_query": f"clone_id={number}"})
        found.raise_for_status()
        client.patch(f"{table}/{found.json()['result'][0]['sys_id']}", json={"scheduled": f"{start:%Y-%m-%d %H:%M:%S}"}).raise_for_status()


def read_through(lab: Lab, side: str, table: str, sys_id: str, proxy: int = 0) -> Row:
    """Read a record through a proxy of a side."""
    return _read(lab, side, lab["proxies"][side][proxy]["url"], table, sys_id)


def read_direct(lab: Lab, side: str, table: str, sys_id: str) -> Row:
    """Read a record from the instance itself."""
    return _read(lab, side, lab["instances"][side]["url"], table, sys_id)


def _read(lab: Lab, side: str, url: str, table: str, sys_id: str) -> Row:
    with session(lab, side) as client:
        answer = client.get(f"{url}/api/now/table/{table}/{sys_id}")
        answer.raise_for_status()
        return answer.json()["result"]


def start_traffic(lab: Lab) -> None:
    """Let users write through the target's load balancer, all the time."""
    _control("POST", lab["traffic"]["control_url"] + "/start")


def stop_traffic(lab: Lab) -> t.Dict[str, int]:
    """Let them stop; returns how many writes were sent, done, refused, and failed."""
    return _control("POST", lab["traffic"]["control_url"] + "/stop")


def clear_text_requests(lab: Lab, side: str = "target") -> t.List[t.Dict[str, t.Any]]:
    """Return the requests that brought users' clear text of an encrypted field to an instance; there must be none."""
    log = _control("GET", lab["instances"][side]["control_url"] + "/requests")["requests"]
    return [request for request in log if MARKER in (request["body"] or "")]


def _control(method: str, url: str, **body: t.Any) -> t.Any:
    answer = requests.request(method, url, json=body or None, timeout=60)
    answer.raise_for_status()
    return answer.json()
