#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Keep a dump from expiring while a run restores or proves it."""

from __future__ import annotations

DOCUMENTATION = """
module: dump_hold
short_description: Keep a dump from expiring while a run restores or proves it
description:
  - Puts a note C(hold/<run>.json) beside the dump in every store that has it, where M(pgrescue.runbooks.expire_dumps) looks,
    whichever host that runs on. One store that has the note is enough for all.
  - A store that does not take it is named and does not keep the run from its work.
  - Taken away when the run is closed, from every dump it held. A hold that was left behind is found by C(pgrescue lint).
  - Fails with exit code 3 when no store has the dump, and with 5 when a store may still have a hold that should go.
options:
  service: {description: The service the dump belongs to., type: str, required: true}
  run: {description: The run for whose sake., type: str, required: true}
  id: {description: The dump; needed unless C(state) is C(absent)., type: str}
  state:
    description: Whether the hold shall be there; C(absent) takes away all holds of the run.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Looks only.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Keep the dump while it is proven
  pgrescue.runbooks.dump_hold:
    service: shop
    stores: "{{ dump_stores }}"
    id: 20261124T012050Z
    run: 20261124T020000Z-shop-prove_dump

- name: Let it go
  pgrescue.runbooks.dump_hold:
    service: shop
    stores: "{{ dump_stores }}"
    run: 20261124T020000Z-shop-prove_dump
    state: absent
"""

RETURN = """
dumps: {description: 'Store, and the dumps there that the run holds, or held until now.', returned: success, type: dict}
silent_stores: {description: 'Stores that did not answer, each with what was said.', returned: success, type: dict}
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import buckets, dump_store, guards, stores


def settle(
    p: "dict[str, object]", places: "list[buckets.Bucket]", write: bool
) -> "tuple[bool, dict[str, list[str]], dict[str, str]]":
    """Whether anything had to be done, the dumps of each store, and the stores that did not answer."""
    if p["state"] == "absent":
        gone, failed = dump_store.let_go(places, p["service"], p["run"], write)
        if failed:
            said = "; ".join("%s: %s" % item for item in sorted(failed.items()))
            raise guards.Stop(
                "Run %s may still hold dumps (%s). The same call goes on." % (p["run"], said), guards.STEP_FAILED
            )
        return any(gone.values()), gone, failed
    put, failed = dump_store.hold(places, p["service"], p["id"], p["run"], datetime.now(timezone.utc), write)
    if not put and not failed:
        raise guards.Stop(
            "No store holds dump %s of %s. Nothing was changed." % (p["id"], p["service"]), guards.PRECONDITION
        )
    return any(put.values()), {store: [p["id"]] for store in put}, failed


def main() -> None:
    """All stores side by side."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "stores": stores.ARGUMENT,
            "run": {"type": "str", "required": True},
            "id": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["id"])],
        supports_check_mode=True,
    )
    places = [buckets.Bucket(store) for store in module.params["stores"]]
    try:
        changed, held, silent = settle(module.params, places, not module.check_mode)
    except guards.Stop as stop:
        guards.fail(module, stop)
    notes = [{"event": "note", "detail": "The dump is not held in %s: %s" % item} for item in sorted(silent.items())]
    module.exit_json(changed=changed, dumps=held, silent_stores=silent, journal=notes)


if __name__ == "__main__":
    main()
