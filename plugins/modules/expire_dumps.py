#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Remove the dumps that a policy gives up, and what unfinished ones left behind."""

from __future__ import annotations

DOCUMENTATION = """
module: expire_dumps
short_description: Remove the dumps that a policy gives up, and what unfinished ones left behind
description:
  - Never removes the newest proven dumps, the newest in any store, one that began less than a day ago, one that is held (an object
    C(hold.json) or C(hold/<run>.json) in its folder in any store), or one whose manifest does not verify. Takes no new dump.
  - Refuses (exit code 4) while all dumps of the service are held (C(dumps/<service>/hold.json) in any store), and (exit code 3)
    when a store cannot be asked, for it may know of a hold or a proof. Nothing is changed then.
options:
  service: {description: The service whose dumps expire., type: str, required: true}
  public_keys: {description: Ed25519 public keys in PEM that may have signed., type: list, elements: str, required: true}
  policy:
    description:
      - C(rungs), each with C(every) (day, week, month or year) and C(days), keep the newest dump of every such period for so long.
        One that began less than a day ago stays in any case.
      - C(proven) is how many of the newest proven dumps stay in any case.
    type: dict
    required: true
  unfinished_after_days: {description: After how many days an unfinished dump or upload is removed., type: int, default: 2}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: 'The dry run: answers what would go, and removes nothing.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Expire dumps
  pgrescue.runbooks.expire_dumps:
    service: shop
    stores: "{{ dump_stores }}"
    public_keys: "{{ dump_public_keys }}"
    policy: {rungs: [{every: day, days: 30}, {every: month, days: 365}], proven: 3}
"""

RETURN = """
expired: {description: 'Dumps that went, oldest first, each with the reason.', returned: success, type: list, elements: dict}
held: {description: 'Dumps that are held, and stay whatever their age, each with its holds.', returned: success, type: dict}
kept: {description: 'Dumps that stay, newest first, each with the reason.', returned: success, type: list, elements: dict}
refused: {description: Copies that do not verify and are left for a person., returned: success, type: list, elements: dict}
removed:
  description: The keys that went from each store, those of unfinished dumps included.
  returned: success
  type: dict
aborted_uploads: {description: Uploads that were given up., returned: success, type: list, elements: dict}
freed_bytes: {description: The size of what went., returned: success, type: int}
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    buckets,
    dump_store,
    dumps,
    guards,
    retention,
    stores,
    times,
)


def plan(p: "dict[str, object]", seen: "dict[str, object]") -> "dict[str, object]":
    """What goes, from which store."""
    now = datetime.now(timezone.utc)
    if seen["unreachable"]:
        said = "; ".join("%s: %s" % item for item in sorted(seen["unreachable"].items()))
        raise guards.Stop(
            "Nothing expires while a store cannot be asked (%s). Nothing was changed." % said, guards.PRECONDITION
        )
    retention.held(seen["holds"])
    catalog = dumps.catalog(seen["copies"], now, 0)
    decided = retention.ladder(catalog["dumps"], p["policy"], now)
    going = {entry["id"] for entry in decided["expire"]}
    held = dumps.holds(seen["copies"])
    good = {(store, entry["id"]) for entry in catalog["dumps"] for store in entry["stores"]}
    left = {
        (copy["store"], copy["id"])
        for copy in catalog["unfinished"]
        if retention.old_enough(dumps.began(copy["id"]), now, p["unfinished_after_days"])
    }
    removed: "dict[str, list[str]]" = {}
    freed = 0
    for copy in sorted(seen["copies"], key=lambda c: c["id"]):
        where = (copy["store"], copy["id"])
        if (where in good and copy["id"] in going) or (where in left and copy["id"] not in held):
            # without its manifest a dump is unfinished: one that is removed half is never offered, and goes next time
            names = sorted(copy["objects"], key=lambda name: (name != dumps.MANIFEST, name))
            removed.setdefault(copy["store"], []).extend(dumps.folder(p["service"], copy["id"]) + n for n in names)
            freed += sum(copy["objects"].values())
    ended = [
        u for u in seen["uploads"] if retention.old_enough(times.moment(u["begun"]), now, p["unfinished_after_days"])
    ]
    return {
        "expired": decided["expire"],
        "kept": decided["keep"],
        "held": held,
        "refused": catalog["refused"],
        "removed": removed,
        "aborted_uploads": ended,
        "freed_bytes": freed,
    }


def act(p: "dict[str, object]", decided: "dict[str, object]") -> None:
    """Remove it."""

    def clear(bucket: buckets.Bucket) -> None:
        bucket.delete(decided["removed"].get(bucket.name, []))
        for upload in decided["aborted_uploads"]:
            if upload["store"] == bucket.name:
                bucket.abort(upload["key"], upload["upload"])

    failed = buckets.each([buckets.Bucket(store) for store in p["stores"]], clear)[1]
    if failed:
        said = "; ".join("%s: %s" % item for item in sorted(failed.items()))
        raise guards.Stop("Not all that expired is gone: %s. The same call goes on." % said, guards.STEP_FAILED)


def main() -> None:
    """Look, decide, remove."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "stores": stores.ARGUMENT,
            "public_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "policy": {"type": "dict", "required": True},
            "unfinished_after_days": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        decided = plan(p, dump_store.observe(p["stores"], p["service"], p["public_keys"]))
        if not module.check_mode:
            act(p, decided)
    except guards.Stop as stop:
        guards.fail(module, stop)
    said = ["Dump %(id)s expired: %(reason)s" % entry for entry in decided["expired"]]
    said += [
        "Dump %s was passed over, for it is held: %s" % (dump, note.get("reason", "no reason given"))
        for dump, notes in sorted(decided["held"].items())
        for note in notes
    ]
    notes = [{"event": "decision", "detail": line} for line in said]
    module.exit_json(changed=bool(decided["removed"] or decided["aborted_uploads"]), journal=notes, **decided)


if __name__ == "__main__":
    main()
