"""`pgrescue triage` and `observe`: facts first, then what can be done, ranked. Acts on nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pgrescue import runner
from pgrescue.outcome import STEP_FAILED
from pgrescue.triage_view import render

FINE, WRONG, NOT_SEEN = 0, 1, 3
LIMIT_S = 60.0  # a host that hangs must not keep whoever waits for an answer


class TriageError(Exception):
    """The service could not be looked at; the message says why."""

    def __init__(self, message: str, code: int = NOT_SEEN) -> None:
        super().__init__(message)
        self.code = code


def look(
    service: str,
    inventory: str,
    known: Mapping[str, Any] | None = None,
    decide: bool = True,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What has happened and, with `decide`, what can be done; `more` are variables of role `watch`.

    Raises TriageError when the playbook does not come to its end.
    """
    began = time.monotonic()
    # what the power of hosts is said to be is asked anew there, and words of strangers are no variables of a playbook
    told = {key: value for key, value in (known or {}).items() if key != "power"}
    variables = {
        "service": service,
        "watch_inventory": inventory,
        **({"watch_known": told} if told else {}),
        **(more or {}),
    }
    play = runner.start(f"playbooks/{'decide' if decide else 'observe'}.yml", inventory, variables)
    failed = play.wait(LIMIT_S)
    found, said, code = play.results(), play.failures(), play.exit_code() if failed else NOT_SEEN
    code = NOT_SEEN if code == STEP_FAILED else code  # a look changes nothing: it could only not be made
    output = "" if said else play.output()
    play.forget()
    if "situation" not in found or (decide and "proposed" not in found):
        why = "; ".join(said) or output
        raise TriageError(why if why.endswith("Nothing was changed.") else f"{why} Nothing was changed.", code)
    return {"service": service, "took_s": round(time.monotonic() - began, 1), **found}


def run(service: str, inventory: str, as_json: bool, decide: bool, console: Console) -> int:
    """Look and print; the exit code: 0 when the service is well, 1 when it is not."""
    with console.status(f"Looking at {service} from all its hosts"):
        found = look(service, inventory, decide=decide)
    if as_json:
        print(json.dumps(found, indent=2), file=console.file)
    else:
        console.print(render(found), highlight=False, soft_wrap=False)
    return FINE if found["situation"]["level"] == "none" else WRONG
