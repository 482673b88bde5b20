"""The one layer that runs pgBackRest on a host."""

from __future__ import annotations

from typing import Any

from .postgres import wait_until

LOCKED = "[050]"  # another of its processes is at work here


def run(module: Any, stanza: str, *arguments: str, patience_s: float = 3600, **more: Any) -> "tuple[int, str, str]":
    """Run a command of pgBackRest: its exit code, output, and what it complained about. `more` goes to run_command.

    While another process of the same kind is at work it is waited for: a controller that was killed leaves what it had
    started on a host running.
    """
    answer: "list[tuple[int, str, str]]" = []

    def ran() -> bool:
        answer[:] = [
            module.run_command(["pgbackrest", "--stanza=" + stanza, "--log-level-file=off", *arguments], **more)
        ]
        return LOCKED not in answer[0][1] + answer[0][2]

    wait_until(ran, patience_s, poll_s=0.5)
    return answer[0]
