"""The one layer that runs pgBackRest on a host."""

from __future__ import annotations

from typing import Any

from .postgres import wait_until

LOCKED = "[050]"  # another of its processes is at work here
TIMED_OUT = 124  # exit code of timeout(1)
ENDPOINTS = {"type": "dict", "default": {}}  # module argument: repository number and host[:port] of its store


def run(
    module: Any, stanza: str, *arguments: str, patience_s: float = 3600, limit_s: int = 0, **more: Any
) -> "tuple[int, str, str]":
    """Run a command of pgBackRest: its exit code, output, and what it complained about. `more` goes to run_command.

    While another process of the same kind is at work it is waited for: a controller that was killed leaves what it had
    started on a host running. With `limit_s` the command itself may not take longer: its own time-outs add up to minutes.
    """
    limit = ["timeout", "%d" % limit_s] if limit_s else []
    answer: "list[tuple[int, str, str]]" = []

    def ran() -> bool:
        command = [*limit, "pgbackrest", "--stanza=" + stanza, "--log-level-file=off", *arguments]
        answer[:] = [module.run_command(command, **more)]
        return LOCKED not in answer[0][1] + answer[0][2]

    wait_until(ran, patience_s, poll_s=0.5)
    code, out, err = answer[0]
    if limit_s and code == TIMED_OUT:
        err += "pgbackrest %s did not end within %d s" % (" ".join(arguments), limit_s)
    return code, out, err
