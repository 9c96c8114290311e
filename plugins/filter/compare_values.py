# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that compare what was recorded before a clone with what is there after it."""

from ansible.errors import AnsibleFilterError


def compare_values(expected, actual_by_proxy, changed_since=False):
    """Compare the digests of the source with those that each target proxy gave; see compare_values.yml."""
    failures, records, readable, cipher_text, changed = [], 0, 0, 0, 0
    if not actual_by_proxy:
        raise AnsibleFilterError("compare_values: no target proxy was asked, so nothing is proven.")
    # A preserved row takes the place of the source's. Values without content prove nothing and are not counted.
    wanted = [value for value in {_key(value): value for value in expected}.values() if not value.get("missing") and not value.get("empty")]
    found_by_proxy = [{_key(value): value for value in values} for values in actual_by_proxy]
    for value in wanted:
        records += 1
        found = [values.get(_key(value)) for values in found_by_proxy]
        name = "{table} {sys_id} {field}".format(**value)
        if changed_since and _changed_since(value, found):
            changed += 1
            if any(one and one["cipher_text_without_proxy"] is False for one in found):
                failures.append(name + " was changed since and is the same with and without a proxy: not encrypted, or not readable")
            continue
        if any(one is None or one.get("missing") for one in found):
            failures.append(name + " is not on the target")
            continue
        if all(one["digest"] == value["digest"] for one in found):
            readable += 1
        else:
            owner = "that the target read before the clone" if value.get("preserved") else "of the source"
            failures.append("{0} is unreadable through a target proxy: it is not the value {1}".format(name, owner))
        if all(one["cipher_text_without_proxy"] for one in found):
            cipher_text += 1
        elif value["cipher_text_without_proxy"]:
            failures.append(name + " is readable without a proxy")
    order = [_key(value) for value in wanted if not value.get("preserved")]
    for values in [] if changed else actual_by_proxy:
        found_order = [_key(value) for value in values if _key(value) in set(order)]
        if found_order != [key for key in order if key in set(found_order)]:
            failures.append("the records are not sorted as on the source")
            break
    result = {"records": records, "readable_through_proxy": readable, "cipher_text_without_proxy": cipher_text, "failures": failures}
    return dict(result, changed_since=changed) if changed_since else result


def _changed_since(value, found):
    """Tell whether the record was updated or deleted since its digest was taken."""
    counts = {None if one is None or one.get("missing") else one.get("sys_mod_count") for one in found}
    return value.get("sys_mod_count") is not None and counts != {value["sys_mod_count"]}


def preserved_records(records, preservers):
    """Return what of the chosen records lies in rows that a clone preserves; see preserved_records.yml."""
    found = []
    for preserver in preservers:
        for record in records:
            if record["table"] == preserver["table"]:
                chosen = "sys_id=" + record["sys_id"] if record.get("sys_id") else record.get("query")
                query = "^".join(part for part in (preserver.get("condition"), chosen) if part)
                found.append(dict({name: value for name, value in record.items() if name != "sys_id"}, query=query))
    return found


def rule_states(records):
    """Name every rule and configuration together with whether it is active; see rule_states.yml."""
    return sorted("{table} {name} ({state})".format(table=record["table"], name=record["name"], state="active" if record["active"] else "inactive")
                  for record in records)


def record_states(records, states=None):
    """Name records together with their state in a comparison; see record_states.yml."""
    return ["{table} {name} ({0})".format(", ".join([record["state"]] + record["differs"]), **record)
            for record in records if states is None or record["state"] in states]


def key_states(keys):
    """Name encryption keys together with what must survive a clone; see key_states.yml."""
    return sorted("{alias} ({size} bits, {type}{0})".format(", default" if key["default"] else "", **key) for key in keys)


def _key(value):
    return value["table"], value["sys_id"], value["field"]


class FilterModule:
    def filters(self):
        return {
            "compare_values": compare_values, "key_states": key_states, "preserved_records": preserved_records, "record_states": record_states,
            "rule_states": rule_states,
        }
