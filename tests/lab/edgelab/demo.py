# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: a clone of the lab's production instance over its test instance, from plain text to plain text.

Started by `make demo`, or by `make demo-hosts` for the lab whose proxies have a booted system each: then the run goes over SSH. Everything
that it shows is read from the lab and from the report of the run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from edgelab import demo_data
from edgelab.inventory import PLAYBOOK, write_inventory
from edgelab.lab import Info, lab_of

BUILD = Path("build")
START_IN = 3600  # seconds from scheduling the clone to its start; it is brought forward once t00 to t20 are done, however long they take here


def say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--hosts", action="store_true", help="with a booted system for each proxy")
    arguments = parser.parse_args()
    suffix = "-hosts" if arguments.hosts else ""
    folder = (BUILD / f"demo{suffix}").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    # A demo begins with instances that were never cloned.
    lab = lab_of(arguments.hosts)
    lab.down(wipe=True)
    try:
        info = lab.up()
        with lab.site.inside():
            return demonstrate(info, folder, lab.site.prefix)
    finally:
        if arguments.keep:
            say(f"the lab stays up; `make lab{suffix}-status` shows it, `make lab{suffix}-down` ends it")
        else:
            lab.down()


def demonstrate(lab: Info, folder: Path, prefix: t.List[str]) -> int:
    source, target = lab["instances"]["source"]["name"], lab["instances"]["target"]["name"]
    say(f"writing records through a proxy of {source} and of {target}: every encryption type, pattern tokens, attachments, emoji, long text")
    canaries = demo_data.write_source(lab, 40)
    demo_data.write_target(lab, 10)
    say(f"users of {target} keep writing through the load balancer during all of it")
    demo_data.start_traffic(lab)
    backup = demo_data.take_backup(lab)
    say(f"nightly backup of {source} ended at {backup['completed']} UTC")
    number = demo_data.schedule_clone(lab, START_IN)
    say(f"clone {number} of {source} over {target} is scheduled; its target signs with another key, so everything must be signed anew")
    inventory = write_inventory(lab, folder, edge_verify_records=demo_data.verify_records())
    lead = json.loads(inventory.read_text())["all"]["vars"]["edge_stop_lead"]
    command = [*prefix, "ansible-playbook", PLAYBOOK, "-i", str(inventory), "-e", f"edge_confirm_target={target}"]
    say("$ " + " ".join(command))
    began = time.monotonic()
    run = subprocess.Popen(command, env=dict(os.environ, ANSIBLE_DISPLAY_SKIPPED_HOSTS="false", ANSIBLE_PIPELINING="true"))
    try:
        while run.poll() is None and not waits(folder):
            time.sleep(0.5)
        if run.poll() is None:
            demo_data.bring_forward(lab, number, lead + 5)
            say(f"the run waits for the clone, which now starts in {lead + 5} s; the proxies go down {lead} s before it")
        run.wait()
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    say(f"the playbook ended with {run.returncode} after {time.monotonic() - began:.0f} s")
    traffic = demo_data.stop_traffic(lab)
    report_file = folder / "report.json"
    if not report_file.exists():
        say("there is no report: the run was refused before it began")
        return run.returncode or 1
    report = json.loads(report_file.read_text())
    show(lab, canaries[0], traffic, report)
    say(f"result: {report['result']}; the report is {report_file.with_suffix('.html')} (JSON beside it)")
    return run.returncode or (0 if report["result"] == "green" else 1)


def waits(folder: Path) -> bool:
    """Tell whether the journal says that the run waits for the moment at which the proxies go down."""
    lines = [line for file in folder.rglob("journal.jsonl") for line in file.read_text().splitlines(keepends=True)]
    return any(json.loads(line).get("step") == "t30_clone_start" for line in lines if line.endswith("\n"))


def show(lab: dict, first: dict, traffic: dict, report: dict) -> None:
    """Print what a user would look at: one record through a proxy and without one, and whether clear text ever reached the target."""
    print()
    print(f"Record {first['number']} on {lab['instances']['target']['name']}, through a proxy and without one:")
    through = demo_data.read_through(lab, "target", first["table"], first["sys_id"])
    direct = demo_data.read_direct(lab, "target", first["table"], first["sys_id"])
    for field in demo_data.ENCRYPTED_FIELDS:
        print(f"  {field:18} {through[field][:34]!r:38} {direct[field][:46]!r}")
    print(f"Users' writes to the target: {traffic['ok']} done, {traffic['refused'] + traffic['failed']} turned away while it was out of service.")
    print(f"Requests that brought users' clear text to the target instance: {len(demo_data.clear_text_requests(lab))}")
    print()
    for step in report["steps"]:
        print(f"  {step['id']:18} {step['status']:8} {(step['started'] or '')[11:19]:8} {(step['ended'] or '')[11:19]:8} {step['error'] or step['title']}")
    print()


if __name__ == "__main__":
    sys.exit(main())
