# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The site in which molecule tries roles: C(python -m edgelab.molecule up|down --dir DIR).

The lab, records written through its proxies, a nightly backup, a clone that is requested for tomorrow, and an inventory with all that a user would fill in.
"""

import argparse
import shutil
import sys
from pathlib import Path

from edgelab import demo_data
from edgelab.inventory import write_inventory
from edgelab.lab import Lab

RECORDS = 8
TOMORROW = 86400  # seconds


def up(folder: Path) -> None:
    """Bring up a site whose instances were never cloned; its inventory is inventory.json in the folder."""
    down(folder)
    lab = Lab(folder / "lab")
    info = lab.up()
    try:
        demo_data.write_source(info, RECORDS)
        demo_data.write_target(info, RECORDS)
        backup = demo_data.take_backup(info)
        number = demo_data.schedule_clone(info, TOMORROW)
        write_inventory(
            info, folder, edge_verify_records=demo_data.verify_records(RECORDS), edge_backup_time=backup["completed"], edge_clone_number=number,
            edge_users_kept_away=True,
        )
    except BaseException:
        lab.down()
        raise


def down(folder: Path) -> None:
    """Stop the site and forget it, with everything that roles left in it."""
    Lab(folder / "lab").down()
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("--dir", type=Path, required=True)
    given = parser.parse_args()
    {"up": up, "down": down}[given.action](given.dir.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
