# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""The plan of a clone: who does what when, which keys match, what follows from that, and how long it will take.

A time that nobody can know yet is not guessed. Each step hangs on an anchor (now, the clone's start, the clone's end) by an
offset, and gets a time of day as soon as its anchor has one.
"""

import typing as t

from ansible_collections.edge_encryption.clone.plugins.module_utils._timeline import STEPS, TOKEN_STEPS, in_words, seconds_of, stamp_of

FORMAT = 1
Facts = t.Dict[str, t.Any]
Plan = t.Dict[str, t.Any]

RULE_TABLES = {"sys_encryption_rule", "sys_encryption_configuration"}
NOW, CLONE_START, CLONE_END = "now", "clone_start", "clone_end"
MIN_ROWS = 10000  # with fewer, a run says nothing about the rate: it is all overhead
RUNS = 5  # earlier runs that are looked at

# Rows a second by make bench-token-db with 1,000,000 rows on 2 cores, both servers on one machine.
SNAPSHOT_RATE, STAGE_RATE = 500000.0, 180000.0
RATES_FROM = "stated default: make bench-token-db, both servers on one machine with 2 cores; a network makes it slower"
# Seconds of the other steps, most of it Ansible: (for the step, for each target proxy, for each rule and configuration that is signed).
DEFAULTS = {
    "t00_preflight": (20, 5, 0.0), "t10_source_backup": (5, 0, 0.0), "t20_before_clone": (15, 0, 0.0), "t30_clone_start": (60, 5, 0.0),
    "t35_stage": (5, 0, 0.0), "t40_wait_clone": (60, 0, 0.0), "t50_clone_end": (10, 0, 0.0), "t55_keys": (15, 10, 0.0),
    "t57_registration": (15, 0, 0.0), "t60_start_proxies": (120, 5, 0.0), "t70_signatures": (30, 60, 0.5), "t80_rotate_key": (600, 60, 0.0),
    "t90_verify": (30, 10, 0.0), "t95_open": (10, 2, 0.0), "t99_report": (5, 0, 0.0),
}  # fmt: skip
DEFAULT_FROM = "stated default"
RUNNER, SOURCE, TARGETS = "runner", "source", "targets"
# Where a step runs when that is not the runner alone.
PLACES = {
    "t00_preflight": (RUNNER, SOURCE, TARGETS), "t30_clone_start": (RUNNER, TARGETS), "t55_keys": (SOURCE, TARGETS), "t60_start_proxies": (TARGETS,),
    "t70_signatures": (RUNNER, TARGETS), "t80_rotate_key": (RUNNER, TARGETS),
    "t90_verify": (RUNNER, TARGETS), "t95_open": (TARGETS,),
}  # fmt: skip


def build_plan(facts: Facts) -> Plan:
    """Return the plan.

    Args:
        facts: C(now) (seconds), C(target), C(clone) (empty when none is requested), C(planned_start), C(backup_time), C(stop_lead_s), C(options)
            (encryption, signatures, tokenization), C(runner), C(source_proxy) and C(target_proxies) (name, keys, signature_key), C(records) to
            sign, C(database) (rows, tables, bytes), C(tokens_needed) or None, C(missing), and C(runs) of this target, oldest first.
    """
    measured = [run for run in facts["runs"] if run["result"] == "green"][-RUNS:]
    database = _database(facts, measured)
    steps = _steps(facts, measured, database)
    keys = compare_keys(facts["source_proxy"], facts["target_proxies"])
    signatures = compare_signature_keys(facts["source_proxy"], facts["target_proxies"])
    clone = facts["clone"]
    return {
        "format": FORMAT,
        "made": stamp_of(facts["now"]),
        "target": facts["target"],
        "clone": {name: clone.get(name) for name in ("number", "state", "source", "scheduled", "started")} if clone else {},
        "clone_start": _stamp(_start(facts)),
        "clone_s": _clone_seconds(measured),
        "stop_lead_s": facts["stop_lead_s"],
        "options": facts["options"],
        "steps": steps,
        "keys": keys,
        "signature_keys": signatures,
        "recommended": {
            "playbook": _playbook(facts),
            "encryption": recommend_encryption(facts["options"], keys),
            "signatures": recommend_signatures(facts["options"], signatures, clone),
        },
        "missing": list(facts["missing"]) + _missing_times(facts),
        "database": database,
        "outage": _outage(facts, steps, measured),
    }


# -- keys ------------------------------------------------------------------------------------------------------


def compare_keys(source: t.Dict[str, t.Any], targets: t.List[t.Dict[str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    """Hold each encryption key of the source against each target proxy, by fingerprint: V(same), V(missing) or V(different)."""
    return [
        {
            "alias": key["alias"],
            "size": key.get("size"),
            "fingerprint": key["fingerprint"],
            "targets": {proxy["name"]: _state(key, [known for known in proxy["keys"] if known["alias"] == key["alias"]]) for proxy in targets},
        }
        for key in source["keys"]
    ]


def compare_signature_keys(source: t.Dict[str, t.Any], targets: t.List[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """Hold the source's signature key against that of each target proxy, whatever its alias."""
    key = source["signature_key"]
    return {
        "alias": key.get("alias"),
        "fingerprint": key.get("fingerprint"),
        "targets": {proxy["name"]: _state(key, [proxy["signature_key"]] if proxy["signature_key"] else []) for proxy in targets},
    }


def _state(key: t.Dict[str, t.Any], found: t.List[t.Dict[str, t.Any]]) -> str:
    if not found:
        return "missing"
    return "same" if found[0]["fingerprint"] == key.get("fingerprint") else "different"


def recommend_encryption(options: t.Dict[str, t.Any], keys: t.List[t.Dict[str, t.Any]]) -> t.Dict[str, str]:
    """Return the encryption option that fits the keys, and why."""
    if options["encryption"] == "preserved_key":
        return {"option": "preserved_key", "reason": "it was chosen, and is right as long as nothing encrypted is in the clone, which t00 proves."}
    if not keys:
        return {"option": "manual", "reason": "the source has no encryption key in a keystore or file store; bring those of its key manager by hand."}
    option = "rotated_key" if options["encryption"] == "rotated_key" else "same_key"
    states = {state for key in keys for state in key["targets"].values()}
    if "different" in states:
        clashes = sorted({key["alias"] for key in keys if "different" in key["targets"].values()})
        return {
            "option": option,
            "reason": "but first rename the target's own key {}: it is another key under the alias of the source's.".format(", ".join(clashes)),
        }
    if "missing" in states:
        return {"option": option, "reason": "source keys are missing on a target proxy, and no alias is taken by another key."}
    return {"option": option, "reason": "every key of the source is on every target proxy already, so nothing has to be copied."}


def recommend_signatures(options: t.Dict[str, t.Any], keys: t.Dict[str, t.Any], clone: t.Dict[str, t.Any]) -> t.Dict[str, str]:
    """Return the signature option that fits the keys and the clone's profile, and why."""
    if set(keys["targets"].values()) == {"same"}:
        return {"option": "copied_key", "reason": "the target proxies sign with the source's key already, so every signature of the clone fits."}
    if RULE_TABLES <= set(clone.get("exclusions") or []):
        return {"option": "recreated", "reason": "the clone's profile leaves rules and configurations out, so the target's own have to be kept."}
    if options["signatures"] == "copied_key":
        return {"option": "copied_key", "reason": "the keys differ, and copying has the fewest moving parts. It lets the target sign for production."}
    return {"option": "resigned", "reason": "the keys differ and are to stay apart, and the clone brings the source's rules and configurations."}


def _playbook(facts: Facts) -> t.Dict[str, str]:
    prefix = "edge_encryption.clone."
    if facts["options"]["encryption"] == "preserved_key":
        return {"name": prefix + "clone_without_encrypted_data", "reason": "the target keeps its own keys."}
    if facts["options"]["encryption"] == "rotated_key":
        return {"name": prefix + "clone_rotate_key", "reason": "the target gets a key of its own."}
    needed = facts["tokens_needed"]
    if needed is None:
        return {"name": prefix + "clone_with_tokenization", "reason": "it is right in any case; whether anything on the source needs tokens was not looked at."}
    if needed:
        return {"name": prefix + "clone_with_tokenization", "reason": "tokens are needed by {}.".format(", ".join(needed))}
    return {"name": prefix + "clone_same_key", "reason": "no value of the source needs a token."}


# -- times -----------------------------------------------------------------------------------------------------


def _steps(facts: Facts, measured: t.List[t.Dict[str, t.Any]], database: t.Dict[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    start, clone_s = _start(facts), _clone_seconds(measured)
    anchors = {NOW: facts["now"], CLONE_START: start, CLONE_END: start + clone_s if start is not None and clone_s is not None else None}
    steps, anchor, offset = [], NOW, 0.0
    for step, title in STEPS:
        rotated = facts["options"]["encryption"] == "rotated_key"
        if (step == "t80_rotate_key" and not rotated) or (step in TOKEN_STEPS and not facts["options"]["tokenization"]):
            continue
        seconds, source = _duration(step, facts, measured, database)
        if step == "t10_source_backup" and facts["backup_time"]:
            offset = max(offset, seconds_of(facts["backup_time"]) - facts["now"])
        elif step == "t30_clone_start":
            anchor, offset = CLONE_START, -float(facts["stop_lead_s"])
        elif step == "t35_stage":
            offset = max(offset, 0.0)  # the clone's log names the backup once the clone has started
        elif step == "t50_clone_end" or (anchor == CLONE_START and step == "t55_keys"):
            anchor, offset = CLONE_END, _duration("t40_wait_clone", facts, measured, database)[0]
        at = anchors[anchor]
        begin = None if at is None else at + offset
        end = None if begin is None else begin + seconds
        if step == "t40_wait_clone":
            end = None if anchors[CLONE_END] is None else anchors[CLONE_END] + seconds
        steps.append({
            "id": step, "title": title, "hosts": _hosts(step, facts), "anchor": anchor, "offset_s": round(offset, 1), "duration_s": round(seconds, 1),
            "duration_from": source, "planned_start": _stamp(begin), "planned_end": _stamp(end),
        })  # fmt: skip
        offset += seconds
    return steps


def _hosts(step: str, facts: Facts) -> t.List[str]:
    names = {RUNNER: [facts["runner"]], SOURCE: [facts["source_proxy"]["name"]], TARGETS: [proxy["name"] for proxy in facts["target_proxies"]]}
    return [name for place in PLACES.get(step, (RUNNER,)) for name in names[place] if name]


def _start(facts: Facts) -> t.Optional[float]:
    stamp = facts["clone"].get("started") or facts["clone"].get("scheduled") or facts["planned_start"]
    return seconds_of(stamp) if stamp else None


def _stamp(moment: t.Optional[float]) -> t.Optional[str]:
    return None if moment is None else stamp_of(moment)


def _missing_times(facts: Facts) -> t.List[str]:
    if facts["clone"]:
        return []
    return ["No clone to {} is waiting or running. Request one on the source instance.".format(facts["target"])]


def _clone_seconds(measured: t.List[t.Dict[str, t.Any]]) -> t.Optional[float]:
    """How long the clone itself took in earlier runs; nothing else tells."""
    found = []
    for run in measured:
        clone = _evidence(run, "t40_wait_clone").get("clone") or {}
        if clone.get("started") and clone.get("completed"):
            found.append(seconds_of(clone["completed"]) - seconds_of(clone["started"]))
    return _median(found) if found else None


def _duration(step: str, facts: Facts, measured: t.List[t.Dict[str, t.Any]], database: t.Dict[str, t.Any]) -> t.Tuple[float, str]:
    if step in ("t10_source_backup", "t35_stage"):
        fixed = DEFAULTS[step][0]
        return fixed + database["snapshot_s" if step == "t10_source_backup" else "stage_s"], database["from"]
    took = []
    for run in measured:
        attempts = (run["steps"].get(step) or {}).get("attempts", [])
        # A step that waits for the clone tells nothing about itself, nor does one that was interrupted; with other options a step does something else.
        same = _evidence(run, "t00_preflight").get("options") in (None, facts["options"])
        if same and step not in ("t30_clone_start", "t40_wait_clone") and len(attempts) == 1 and attempts[0]["ended"]:
            took.append(seconds_of(attempts[0]["ended"]) - seconds_of(attempts[0]["started"]))
    if took:
        return _median(took), "measured in {} earlier run{}".format(len(took), "" if len(took) == 1 else "s")
    if step == "t70_signatures" and facts["options"]["signatures"] == "copied_key":
        return 5.0, DEFAULT_FROM
    fixed, a_proxy, a_record = DEFAULTS[step]
    return fixed + a_proxy * len(facts["target_proxies"]) + a_record * facts["records"], DEFAULT_FROM


def _database(facts: Facts, measured: t.List[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """How long the rows take, at the rates of the earlier runs that moved enough of them."""
    rows = facts["database"].get("rows", 0)
    snapshot, stage, swap = [], [], []
    for run in measured:
        found = _evidence(run, "t35_stage")
        taken, timings = found.get("snapshot") or {}, found.get("timings") or {}
        if (taken.get("rows") or 0) < MIN_ROWS or not timings.get("load_s"):
            continue
        snapshot.append(taken["rows"] / max(seconds_of(taken["ended"]) - seconds_of(taken["began"]), 0.001))
        stage.append(taken["rows"] / (timings["load_s"] + timings.get("check_s", 0)))
        swap.append((_evidence(run, "t50_clone_end").get("timings") or {}).get("swap_s", 0))
    source = "measured in {} earlier run{}".format(len(stage), "" if len(stage) == 1 else "s") if stage else RATES_FROM
    return {
        "rows": rows,
        "tables": facts["database"].get("tables", 0),
        "bytes": facts["database"].get("bytes", 0),
        "snapshot_s": round(rows / (_median(snapshot) if snapshot else SNAPSHOT_RATE), 1),
        "stage_s": round(rows / (_median(stage) if stage else STAGE_RATE), 1),
        "swap_s": round(_median(swap), 3) if swap else 0.1,
        "from": source,
    }


def _outage(facts: Facts, steps: t.List[t.Dict[str, t.Any]], measured: t.List[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """From the moment at which the proxies go down to the moment at which they are back in service."""
    first = [step for step in steps if step["id"] == "t30_clone_start"][0]
    last = [step for step in steps if step["id"] == "t95_open"][0]
    after = last["offset_s"] + last["duration_s"]
    known, clone_s = facts["stop_lead_s"] + after, _clone_seconds(measured)
    if clone_s is None:
        text = f"{in_words(known)} and as long as the clone itself takes, which no earlier run tells"
    else:
        text = f"{in_words(known + clone_s)}, of which the clone itself takes {in_words(clone_s)}, as in earlier runs"
    return {
        "began": first["planned_start"],
        "ended": last["planned_end"],
        "without_clone_s": round(known, 1),
        "seconds": None if clone_s is None else round(known + clone_s, 1),
        "text": text,
    }


def _evidence(run: t.Dict[str, t.Any], step: str) -> t.Dict[str, t.Any]:
    return (run["steps"].get(step) or {}).get("evidence") or {}


def _median(numbers: t.Sequence[float]) -> float:
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0
