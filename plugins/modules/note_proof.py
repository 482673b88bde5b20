#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Note beside a dump what was proven of it."""

from __future__ import annotations

DOCUMENTATION = """
module: note_proof
short_description: Note beside a dump what was proven of it
description:
  - Writes C(proof.json) beside the manifest in every store that holds the dump. M(pgrescue.runbooks.dump_catalog) shows it, and
    M(pgrescue.runbooks.expire_dumps) keeps the newest proven dumps.
  - Fails with exit code 3 when no store holds the dump, and with 5 when a store that does took no note.
options:
  service: {description: The service the dump belongs to., type: str, required: true}
  id: {description: The dump., type: str, required: true}
  state: {description: What was proven., type: str, choices: [unproven, restored, validated, failed], required: true}
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
    """Write the note where the dump is."""
    folder, body = dumps.folder(p["service"], p["id"]), records.canonical(proof)

    def put(bucket: buckets.Bucket) -> bool:
        there = folder + dumps.MANIFEST in bucket.sizes(folder)
        if there and write:
            bucket.put_bytes(folder + dumps.PROOF, body)
        return there

    answers, failed = buckets.each([buckets.Bucket(store) for store in p["stores"]], put)
    if failed:
        said = "; ".join("%s: %s" % item for item in sorted(failed.items()))
        raise guards.Stop("The proof of dump %s is not noted everywhere: %s." % (p["id"], said), guards.STEP_FAILED)
    held = sorted(name for name, there in answers.items() if there)
    if not held:
        raise guards.Stop(
            "No store holds dump %s of %s. Nothing was changed." % (p["id"], p["service"]), guards.PRECONDITION
        )
    return held


def main() -> None:
    """Write it, and say where."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "id": {"type": "str", "required": True},
            "stores": stores.ARGUMENT,
            "state": {"type": "str", "choices": ["unproven", "restored", "validated", "failed"], "required": True},
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
