"""What a guard says when it refuses, and with which exit code. The codes are in docs/contracts.md."""

from __future__ import annotations

from typing import Any, NoReturn

PRECONDITION = 3
REFUSED = 4
STEP_FAILED = 5
VALIDATION_FAILED = 6
NEEDS_A_PERSON = 9


class Stop(Exception):
    """Raised by a pure core; `fail` turns it into the module's answer.

    `disproves`: what was restored is wrong itself, by what its engine or PostgreSQL says of it.
    """

    def __init__(self, message: str, exit_code: int = REFUSED, disproves: bool = False) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.disproves = disproves


def fail(module: Any, stop: Stop, **facts: Any) -> NoReturn:
    """End the module as failed with the sentence and exit code of `stop`."""
    more = {"disproves": True} if stop.disproves else {}
    module.fail_json(msg=str(stop), exit_code=stop.exit_code, **more, **facts)
    raise SystemExit(1)  # fail_json has already ended the process; this tells the type checker
