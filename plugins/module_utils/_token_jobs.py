# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""Jobs that rewrite tokens: order token repair and database recovery (documentation page "Edge Encryption jobs")."""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._http import Client, StatusError
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import FieldsMissing, Listing, Table, renamed

JOBS, EXECUTIONS = "sysauto_encryption_job", "sys_encryption_job_execution"
# Neither columns nor values are documented; the jobs' names in the menu are.
FIELDS = {"job": "job", "job_type": "job_type", "name": "name"}
REWRITING = (("token", "repair"), ("database", "recovery"))


def between(client: Client, begin: str, end: str, fields: t.Optional[t.Mapping[str, t.Any]] = None) -> t.Dict[str, t.Any]:
    """Return which of these jobs ran at some time from C(begin) to C(end).

    Args:
        begin: UTC, C(2026-01-31 22:00:00) or ISO 8601.
        end: likewise.
        fields: columns that have another name than in C(FIELDS).
    Returns:
        C(jobs), each with C(name), C(job_type), C(began) and C(last_seen), and C(unknown_because), empty when the jobs could all be read.
    Raises:
        EdgeError: C(fields) has a name that is none in C(FIELDS).
    """
    names = renamed(FIELDS, fields)
    try:
        executions = Table(client, EXECUTIONS).list("", [names["job"], "sys_created_on", "sys_updated_on"])
        jobs = Table(client, JOBS).list("", [names["job_type"], names["name"]])
    except (StatusError, FieldsMissing) as error:
        if isinstance(error, StatusError) and error.transient:
            raise
        return {"jobs": [], "unknown_because": str(error)}
    known = {row["sys_id"]: row for row in jobs.rows}
    first, last = _plain(begin), _plain(end)
    there = [row for row in executions.rows if row["sys_created_on"] <= last and row["sys_updated_on"] >= first]
    reason = _hidden(EXECUTIONS, executions) or _hidden(JOBS, jobs)
    if not reason and any(row[names["job"]] not in known for row in there):
        reason = "{}: an execution names a job that cannot be read.".format(EXECUTIONS)
    found = []
    for row in there:
        job = known.get(row[names["job"]])
        if job and _rewrites(job[names["job_type"]], job[names["name"]]):
            found.append({"name": job[names["name"]], "job_type": job[names["job_type"]], "began": row["sys_created_on"], "last_seen": row["sys_updated_on"]})
    return {"jobs": found, "unknown_because": reason}


def _plain(stamp: str) -> str:
    """Return a time as the Table API writes it, so that the two can be compared as text."""
    return stamp.replace("T", " ")[:19]


def _hidden(table: str, listing: Listing) -> str:
    return "{}: {} of its records may not be read.".format(table, listing.hidden) if listing.hidden else ""


def _rewrites(*texts: str) -> bool:
    """Tell by type and name, because nobody knows how either is written."""
    folded = [text.lower() for text in texts]
    return any(all(word in text for word in words) for words in REWRITING for text in folded)
