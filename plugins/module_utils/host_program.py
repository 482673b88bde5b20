"""What a program of ours that runs on a host without Ansible hands to the core in the place of a module."""

from __future__ import annotations

import os
import subprocess
from typing import Any


class Host:
    """The arguments, and how to run a command."""

    def __init__(self, params: "dict[str, Any]") -> None:
        self.params = params

    def run_command(self, command: "list[str]", environ_update: "Any" = None, **_: Any) -> "tuple[int, str, str]":
        """Exit code, output, and what was complained about."""
        environment = {**os.environ, **(environ_update or {})}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr
