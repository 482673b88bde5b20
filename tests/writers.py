"""Clients that write one row after the other from a lab host; a bench and a campaign share them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from lab_hosts import HOUSE, on, podman

WRITER = HOUSE / "lab/files/writer.py"
TABLE = """
DROP TABLE IF EXISTS writes;
CREATE TABLE writes (token uuid PRIMARY KEY, side text NOT NULL);
GRANT ALL ON writes TO PUBLIC;
"""


def make_table(primary: str, database: str) -> None:
    """Make the table that they write to, anew."""
    on(primary, f"psql -Xq -v ON_ERROR_STOP=1 -d {database} <<'SQL'\n{TABLE}\nSQL\n")


def inside(host: str, *command: str, text: str | None = None) -> str:
    """Run a command on a lab host whatever its network does; its output."""
    return podman("exec", *(["--interactive"] if text else []), f"pgrescue-{host}", *command, text=text)


def wait[Found](look: Callable[[], Found | None], deadline_s: float, otherwise: str) -> Found:
    """What `look` finds, once it does."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.2)  # between two looks
    sys.exit(f"{otherwise} within {deadline_s:.0f} s")


class Client:
    """A client that writes from a lab host, through the name in `dsn` or to an address that it holds on to."""

    def __init__(self, host: str, dsn: str, side: str, *address: str) -> None:
        self.host, self.unit, self.log = host, f"writer_{side}", f"/var/tmp/writer_{side}.log"
        inside(host, "tee", "/var/tmp/writer.py", text=WRITER.read_text())
        # nothing of an earlier one
        inside(
            host,
            "sh",
            "-c",
            f"! systemctl is-active --quiet {self.unit} || systemctl stop {self.unit}; rm -f {self.log}",
        )
        command = ["/usr/bin/python3", "/var/tmp/writer.py", dsn, self.log, side, *address]
        inside(host, "systemd-run", "--quiet", "--collect", f"--unit={self.unit}", *command)

    def _told(self) -> list[dict[str, Any]]:
        lines = inside(self.host, "sh", "-c", f"test ! -e {self.log} || cat {self.log}").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def acknowledged(self) -> dict[str, float]:
        """When each token was acknowledged (wall clock of the machine that all hosts share)."""
        return {one["token"]: one["at"] for one in self._told() if "token" in one}

    def errors(self) -> list[str]:
        """What it was told instead."""
        return [one["error"] for one in self._told() if "error" in one]

    def writes(self) -> None:
        """Wait until it has been told of some more."""
        before = len(self.acknowledged())
        wait(lambda: len(self.acknowledged()) >= before + 5, 30, f"the client on {self.host} does not write")

    def back_after(self, fault: float) -> float:
        """Seconds from the fault until it was told of a commit again, after a second in which it was told of none."""

        def back() -> float | None:
            told = sorted(at for at in self.acknowledged().values() if at > fault - 5)
            return next((later for earlier, later in pairwise(told) if later > fault and later - earlier > 1), None)

        return round(wait(back, 180, f"nobody on {self.host} writes") - fault, 3)

    def stop(self) -> None:
        inside(self.host, "systemctl", "stop", self.unit)
