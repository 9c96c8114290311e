# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The steps of a clone, in order: the ids that playbooks, tags, journal, report, docs and tests share."""

import datetime

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

STEPS = (
    ("t00_preflight", "refuse early, print the plan"),
    ("t10_source_backup", "snapshot of the source token database"),
    ("t20_before_clone", "record what the clone will overwrite"),
    ("t30_clone_start", "target proxies down and held down"),
    ("t35_stage", "load the snapshot into a shadow schema"),
    ("t40_wait_clone", "follow the clone to its end"),
    ("t50_clone_end", "the source's tokens in place"),
    ("t55_keys", "encryption and signature keys"),
    ("t57_registration", "service account and proxy records"),
    ("t60_start_proxies", "proxies start, out of service"),
    ("t70_signatures", "every rule and configuration signed"),
    ("t80_rotate_key", "rotation to the target's own key"),
    ("t90_verify", "the clone is readable"),
    ("t95_open", "proxies back in service"),
    ("t99_report", "what happened, what is open"),
)

# Where a step does its work: the columns of the timeline. What is on no system is the controller's.
LANES = (
    ("controller", "Controller"),
    ("source_instance", "Source instance"),
    ("target_instance", "Target instance"),
    ("source_db", "Source MySQL"),
    ("target_db", "Target MySQL"),
    ("target_proxies", "Target proxies"),
)
LANE_OF = {
    "t10_source_backup": "source_db",
    "t20_before_clone": "source_instance",
    "t30_clone_start": "target_proxies",
    "t35_stage": "target_db",
    "t40_wait_clone": "target_instance",
    "t50_clone_end": "target_db",
    "t55_keys": "target_proxies",
    "t57_registration": "target_instance",
    "t60_start_proxies": "target_proxies",
    "t70_signatures": "target_instance",
    "t80_rotate_key": "target_instance",
    "t90_verify": "target_instance",
    "t95_open": "target_proxies",
}
TOKEN_STEPS = ("t10_source_backup", "t35_stage", "t50_clone_end")  # what only a clone with tokenization needs

STEP_IDS = tuple(step for step, _title in STEPS)


class UnknownStep(EdgeError):
    """A step id that is not on the timeline."""


class BadTime(EdgeError):
    """A time that cannot be read."""


def check_step(step: str) -> str:
    """Return C(step) when it is on the timeline.

    Raises:
        UnknownStep: it is not.
    """
    if step not in STEP_IDS:
        raise UnknownStep(f"step {step}", "is not on the timeline.", "The steps are {}.".format(", ".join(STEP_IDS)))
    return step


def seconds_of(stamp: str) -> float:
    """Return the seconds since 1970 of a time in UTC, such as C(2026-01-02T03:04:05.678Z) or C(2026-01-02 03:04:05).

    Raises:
        BadTime: it is no time.
    """
    plain = stamp.replace("T", " ").rstrip("Z")
    try:
        found = datetime.datetime.strptime(plain, "%Y-%m-%d %H:%M:%S.%f" if "." in plain else "%Y-%m-%d %H:%M:%S")
    except ValueError as error:
        raise BadTime(f"the time {stamp!r}", "cannot be read.", "Write it in UTC, such as 2026-01-02 03:04:05.") from error
    return found.replace(tzinfo=datetime.timezone.utc).timestamp()


def stamp_of(seconds: float) -> str:
    """Return the time in UTC as C(2026-01-02T03:04:05Z)."""
    return datetime.datetime.fromtimestamp(round(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_words(seconds: float) -> str:
    """Return a duration such as C(9 h 5 min), by its two largest units."""
    if seconds < 9.95:
        return "{0:.1f} s".format(seconds).replace(".0 s", " s")
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(int(round(seconds / 60.0)), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return "{0} d {1} h".format(*divmod(int(round(seconds / 3600.0)), 24))
