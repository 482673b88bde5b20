#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Ask name servers what a service's name is, and wait until all of them give the new answer."""

from __future__ import annotations

DOCUMENTATION = """
module: endpoint_answers
short_description: Ask name servers what a service's name is, and wait until all of them give the new answer
description:
  - Asks all servers side by side. Without O(expect) it asks once and says what the first of them answers.
  - With O(expect) it waits until every server that answers gives it, for as long as the old answer may live and O(patience_s) more, then
    fails with exit code 5 and names those that still give another. A server that is silent serves nobody the old answer; it is named
    and not waited for. When all are silent it fails with exit code 3.
  - Only looks. Needs dnspython where it runs.
options:
  name: {description: The name to ask for., type: str, required: true}
  type: {description: Type of its record., type: str, choices: [A, AAAA, CNAME], default: A}
  servers: {description: 'Addresses of name servers, each as C(address) or C(address@port).', type: list, elements: str, required: true}
  recursive: {description: Whether they shall ask others; not so of the server that has the zone., type: bool, default: true}
  expect: {description: The values that all shall give., type: list, elements: str}
  old_ttl: {description: How long the answer from before the switch may be kept in seconds., type: int, default: 0}
  patience_s: {description: How long to wait beyond that in seconds., type: int, default: 10}
attributes:
  check_mode: {support: full, description: 'Asks once and expects nothing in check mode, for nothing was switched then.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See that clients are sent to the new server
  pgrescue.runbooks.endpoint_answers:
    name: orders-db.example.org
    servers: [192.0.2.2, 198.51.100.2]
    expect: [192.0.2.13]
    old_ttl: 60
  delegate_to: localhost
"""

RETURN = """
record:
  description: What the first server answers.
  returned: success
  type: dict
  sample: {type: A, ttl: 5, values: [192.0.2.13]}
answers: {description: 'What each server answers, C(values), C(ttl) and C(problem).', returned: always, type: dict}
waited_s: {description: How long it took in seconds., returned: success, type: float}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import endpoints, guards, name_servers, postgres


def main() -> None:
    """Ask, and ask again until all give what is expected."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "type": {"type": "str", "choices": ["A", "AAAA", "CNAME"], "default": "A"},
            "servers": {"type": "list", "elements": "str", "required": True},
            "recursive": {"type": "bool", "default": True},
            "expect": {"type": "list", "elements": "str"},
            "old_ttl": {"type": "int", "default": 0},
            "patience_s": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    p = module.params
    began = time.monotonic()
    answers = name_servers.ask_all(p["servers"], p["name"], p["type"], p["recursive"])
    first = answers[p["servers"][0]] if p["servers"] else {"problem": "no server was named"}
    if p["expect"] is None or module.check_mode:
        if first["problem"]:
            said = "%s does not say what %s is: %s. The endpoint was not changed."
            server = (p["servers"] or ["Nobody"])[0]
            guards.fail(module, guards.Stop(said % (server, p["name"], first["problem"]), guards.PRECONDITION))
        record = {"type": p["type"], "ttl": first["ttl"], "values": first["values"]}
        module.exit_json(changed=False, record=record, answers=answers, waited_s=round(time.monotonic() - began, 3))
    notes = [endpoints.accounting(answers, p["expect"], p["old_ttl"])]

    def all_new() -> bool:
        answers.update(name_servers.ask_all(p["servers"], p["name"], p["type"], p["recursive"]))
        return not endpoints.stale(answers, p["expect"])

    postgres.wait_until(all_new, p["old_ttl"] + p["patience_s"])
    waited = time.monotonic() - began
    stop = endpoints.problem(p["name"], answers, p["expect"], round(waited))
    notes += ["%s could not be asked: %s" % (s, answers[s]["problem"]) for s in endpoints.silent(answers)]
    journal = [{"event": "note", "detail": line} for line in notes]
    if stop:
        guards.fail(module, stop, answers=answers, journal=journal)
    record = {"type": p["type"], "ttl": max(a["ttl"] for a in answers.values()), "values": p["expect"]}
    module.exit_json(changed=False, record=record, answers=answers, waited_s=round(waited, 3), journal=journal)


if __name__ == "__main__":
    main()
