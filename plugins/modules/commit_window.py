#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Keep the way back open for a while after traffic moved."""

from __future__ import annotations

DOCUMENTATION = """
module: commit_window
short_description: Keep the way back open for a while after traffic moved
description:
  - C(open) writes C(window.json) into the run's directory; until it closes the old side stays fenced and the run can be taken back
    by one command. A window that was opened is not opened again, so that a resumed run does not make it longer.
  - C(closed) closes it before its time.
  - C(check) only looks; with C(wanted) it refuses (exit code 4) while the window is not so, and fails with exit code 3 where the run
    opened none.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  state: {description: What to do., type: str, choices: [open, closed, check], default: check}
  lasts_s: {description: 'How long it stays open, in seconds; needed to open it.', type: float}
  old_side: {description: Hosts that stay fenced., type: list, elements: str, default: []}
  rollback: {description: 'What taking the run back does, in sentences.', type: list, elements: str, default: []}
  by: {description: Who closes it., type: str, default: ''}
  reason: {description: Why it is closed., type: str, default: ''}
  wanted: {description: How it must be., type: str, choices: [open, closed]}
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Keep the way back open for half an hour
  pgrescue.runbooks.commit_window:
    run_dir: runs/20261124T012050Z-shop-switchover
    state: open
    lasts_s: 1800
    old_side: [db1]
    rollback: [db2 is fenced and db1 is primary again]
  delegate_to: localhost

- name: Leave the old side alone while it is the way back
  pgrescue.runbooks.commit_window:
    run_dir: runs/20261124T012050Z-shop-switchover
    wanted: closed
  delegate_to: localhost
"""

RETURN = """
window: {description: 'The window; its schema is docs/schema/window.schema.json. Empty when the run opened none.', returned: success, type: dict}
open: {description: Whether it is open now., returned: success, type: bool}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, windows


def main() -> None:
    """Open, close or look."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["open", "closed", "check"], "default": "check"},
            "lasts_s": {"type": "float"},
            "old_side": {"type": "list", "elements": "str", "default": []},
            "rollback": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": ""},
            "wanted": {"type": "str", "choices": ["open", "closed"]},
        },
        required_if=[("state", "open", ["lasts_s"])],
        supports_check_mode=True,
    )
    p = module.params
    run = os.path.basename(p["run_dir"])
    before = windows.read(p["run_dir"])
    window = before
    said = []
    if p["state"] == "open" and before is None:
        window = windows.opened(run, p["old_side"], p["lasts_s"], p["rollback"])
        said = [
            {"event": "decision", "step": "commit_window", "status": "open", "detail": "until %s" % window["closes"]}
        ]
    try:
        if window is None and (p["state"] == "closed" or p["wanted"]):
            raise guards.Stop("Run %s opened no commit window. Nothing was changed." % run, guards.PRECONDITION)
        if window and p["wanted"]:
            windows.check(window, p["wanted"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    if p["state"] == "closed" and window and windows.state(window) == windows.OPEN:
        window = windows.closed(window, p["by"], p["reason"])
        detail = p["reason"] or "no reason given"
        said = [{"event": "decision", "step": "commit_window", "status": "closed", "detail": detail}]
    if window and window != before and not module.check_mode:
        windows.write(p["run_dir"], window)
    still = bool(window) and windows.state(window) == windows.OPEN
    module.exit_json(changed=window != before, window=window or {}, open=still, journal=said)


if __name__ == "__main__":
    main()
