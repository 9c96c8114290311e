# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The steps of a clone, in order: the ids that playbooks, tags, journal, report, docs and tests share."""

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

STEP_IDS = tuple(step for step, _title in STEPS)


class UnknownStep(EdgeError):
    """A step id that is not on the timeline."""


def check_step(step: str) -> str:
    """Return C(step) when it is on the timeline.

    Raises:
        UnknownStep: it is not.
    """
    if step not in STEP_IDS:
        raise UnknownStep(f"step {step}", "is not on the timeline.", "The steps are {}.".format(", ".join(STEP_IDS)))
    return step
