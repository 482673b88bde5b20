#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Read every byte of a dump from each store and compare it with the signed manifest."""

from __future__ import annotations

DOCUMENTATION = """
module: verify_dump
short_description: Read every byte of a dump from each store and compare it with the signed manifest
description:
  - Answers checks, for each store, as C(checks.json) has them. A check that failed is an answer, unless C(require) is given.
  - Only looks. Fails with exit code 3 when no store answers or none holds the dump, and with 6 when C(require) is not met.
options:
  service: {description: The service the dump belongs to., type: str, required: true}
  id: {description: The dump; the newest one with a manifest when left out., type: str}
  public_keys: {description: Ed25519 public keys in PEM that may have signed., type: list, elements: str, required: true}
  min_bytes: {description: A smaller dump is not believed., type: int, default: 1024}
  require: {description: How many stores must hold a copy that is as it was written., type: str, choices: [none, any, all], default: none}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Verify the newest dump
  pgrescue.runbooks.verify_dump: {service: shop, stores: "{{ dump_stores }}", public_keys: "{{ dump_public_keys }}"}
  register:
    dump_checks: _task.result.checks
"""

RETURN = """
id: {description: The dump., returned: success, type: str}
checks: {description: 'What was checked, with C(host) for the store.', returned: success, type: list, elements: dict}
failed_checks: {description: The names of those that failed and must not., returned: success, type: list, elements: str}
verified_stores: {description: Stores whose copy is as it was written., returned: success, type: list, elements: str}
silent_stores: {description: 'Stores that did not answer, each with what was said.', returned: success, type: dict}
"""

import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    buckets,
    dump_store,
    dumps,
    guards,
    stores,
    validation,
)


def signed(copy: "dict[str, object]", payload: "dict[str, object] | None") -> "dict[str, object]":
    """Say whether the manifest of one copy is ours, and the same as the other stores'."""
    said = copy["problem"] or ("signed" if copy["payload"] else "it is missing")
    if copy["payload"] and copy["payload"] != payload:
        said = "signed, but another one than in another store"
    return {**validation.check(dumps.SIGNED, "signed", said, said == "signed"), "host": copy["store"]}


def read(bucket: buckets.Bucket, folder: str, names: "list[str]") -> "dict[str, dict[str, object]]":
    """Read all objects of a copy; their sizes and digests."""
    return buckets.many({name: (lambda n=name: bucket.facts(folder + n)) for name in names})


def verify(p: "dict[str, object]") -> "dict[str, object]":
    """Read the copies of all stores side by side, and judge them."""
    seen = dump_store.observe(p["stores"], p["service"], p["public_keys"])
    whole = [copy for copy in seen["copies"] if dumps.MANIFEST in copy["objects"]]
    wanted = p["id"] or max([copy["id"] for copy in whole], default=None)
    copies = {copy["store"]: copy for copy in seen["copies"] if copy["id"] == wanted}
    if not copies:
        raise guards.Stop("No store holds dump %s of %s." % (wanted or "", p["service"]), guards.PRECONDITION)
    payload = next((copy["payload"] for copy in copies.values() if copy["payload"]), None)
    checks = [signed(copy, payload) for copy in copies.values()]
    checks += [
        {**validation.check(dumps.PRESENT, "the dump", "nothing of it", False), "host": store}
        for store in sorted(set(seen["holds"]) - set(copies))
    ]
    unreachable = dict(seen["unreachable"])
    if payload:
        folder = dumps.folder(p["service"], wanted)
        there = [bucket for bucket in map(buckets.Bucket, p["stores"]) if bucket.name in copies]

        def judged(bucket: buckets.Bucket) -> "list[dict[str, object]]":
            begun = time.monotonic()
            facts = read(bucket, folder, [n for n in copies[bucket.name]["objects"] if not dumps.is_beside(n)])
            lines = dumps.judge_copy(bucket.name, payload, facts, p["min_bytes"])
            return [{**line, "duration_s": round(time.monotonic() - begun, 3)} for line in lines]

        found, failed = buckets.each(there, judged)
        unreachable.update(failed)
        checks += [line for lines in found.values() for line in lines]
        offered = dumps.catalog(seen["copies"], datetime.now(timezone.utc), 0)["dumps"]
        for place, entry in enumerate(offered):
            if entry["id"] == wanted:
                checks.append(dumps.judge_usual(entry, offered[place + 1 :]))
    checks += [
        {**validation.check("the store answers", "it answers", said, False), "host": name}
        for name, said in sorted(unreachable.items())
    ]
    bad = {line.get("host") for line in checks if line["verdict"] == "failed" and line["tier"] == "must"}
    return {
        "id": wanted,
        "checks": checks,
        "failed_checks": sorted({c["name"] for c in checks if c["verdict"] == "failed" and c["tier"] == "must"}),
        "verified_stores": sorted(set(copies) - bad - set(unreachable)),
        "silent_stores": unreachable,
    }


def main() -> None:
    """Look, and say why when there is nothing to see."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "id": {"type": "str"},
            "stores": stores.ARGUMENT,
            "public_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "min_bytes": {"type": "int", "default": 1024},
            "require": {"type": "str", "choices": ["none", "any", "all"], "default": "none"},
        },
        supports_check_mode=True,
    )
    try:
        answer = verify(module.params)
    except guards.Stop as stop:
        guards.fail(module, stop)
    wanted = {"none": 0, "any": 1, "all": len(module.params["stores"])}[module.params["require"]]
    if len(answer["verified_stores"]) < wanted:
        wrong = [c for c in answer["checks"] if c["verdict"] == "failed" and c["tier"] == "must"]
        said = ["%(host)s: %(name)s: %(observed)s" % c for c in wrong]
        said += ["%s: %s" % item for item in sorted(answer["silent_stores"].items())]
        said = said or ["some stores do not hold it"]
        text = "Dump %s is not whole everywhere: %s." % (answer["id"], "; ".join(said))
        guards.fail(module, guards.Stop(text, guards.VALIDATION_FAILED), **answer)
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
