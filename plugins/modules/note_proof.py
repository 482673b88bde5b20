#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Note beside a dump what was proven of it."""

from __future__ import annotations

DOCUMENTATION = """
module: note_proof
short_description: Note beside a dump what was proven of it
description:
  - Writes C(proof.json) beside the manifest in the stores whose copy was read whole; what was never read is not proven.
    M(pgrescue.runbooks.dump_catalog) shows it, and M(pgrescue.runbooks.expire_dumps) keeps the newest proven dumps.
  - Fails with exit code 3 when no store was read whole or one of them does not have the dump, and with 5 when one took no note.
options:
  service: {description: The service the dump belongs to., type: str, required: true}
  id: {description: The dump., type: str, required: true}
  state: {description: What was proven., type: str, choices: [unproven, restored, validated, failed], required: true}
  read_whole:
    description: Stores whose copy was read whole, as M(pgrescue.runbooks.restore_dump) names them; it is noted in no other.
    type: list
    elements: str
    required: true
  run: {description: The run that proved it., type: str, required: true}
  checks: {description: How many checks passed., type: int, default: 0}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Note that the dump was restored and validated
  pgrescue.runbooks.note_proof:
    service: shop
    id: 20261124T012050Z
    stores: "{{ dump_stores }}"
    state: validated
    read_whole: "{{ dump_restored.read_whole }}"
    run: 20261124T020000Z-shop-prove_dump
    checks: 12
"""

RETURN = """
stores: {description: Stores that hold the note now., returned: success, type: list, elements: str}
proof: {description: The note., returned: success, type: dict}
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import buckets, dumps, guards, records, stores


def note(p: "dict[str, object]", proof: "dict[str, object]", write: bool) -> "list[str]":
    """Write the note where the dump was read."""
    wanted = set(p["read_whole"])
    places = [bucket for bucket in map(buckets.Bucket, p["stores"]) if bucket.name in wanted]
    if not places or len(places) < len(wanted):
        unknown = ", ".join(sorted(wanted - {bucket.name for bucket in places}))
        raise guards.Stop(
            "The proof of dump %s says nothing of any store (%s). Nothing was noted; prove it again."
            % (p["id"], "%s is not among the stores" % unknown if unknown else "none was read whole"),
            guards.PRECONDITION,
        )
    folder, body = dumps.folder(p["service"], p["id"]), records.canonical(proof)

    def put(bucket: buckets.Bucket) -> bool:
        there = folder + dumps.MANIFEST in bucket.sizes(folder)
        if there and write:
            bucket.put_bytes(folder + dumps.PROOF, body)
        return there

    answers, failed = buckets.each(places, put)
    if failed:
        said = "; ".join("%s: %s" % item for item in sorted(failed.items()))
        raise guards.Stop(
            "The proof of dump %s is not noted where it was read: %s." % (p["id"], said), guards.STEP_FAILED
        )
    lost = sorted(name for name, there in answers.items() if not there)
    if lost:
        raise guards.Stop(
            "%s does not hold dump %s of %s any more; its proof is not noted there."
            % (", ".join(lost), p["id"], p["service"]),
            guards.PRECONDITION,
        )
    return sorted(answers)


def main() -> None:
    """Write it, and say where."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "id": {"type": "str", "required": True},
            "stores": stores.ARGUMENT,
            "state": {"type": "str", "choices": ["unproven", "restored", "validated", "failed"], "required": True},
            "read_whole": {"type": "list", "elements": "str", "required": True},
            "run": {"type": "str", "required": True},
            "checks": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    p = module.params
    proof = {**{key: p[key] for key in ("state", "run", "checks")}, "at": dumps.stamp(datetime.now(timezone.utc))}
    try:
        held = note(p, proof, not module.check_mode)
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=True, stores=held, proof=proof)


if __name__ == "__main__":
    main()
