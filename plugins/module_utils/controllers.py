"""Which process is at work on a run, on this machine."""

from __future__ import annotations

import os
from typing import Optional

from . import records

NOTE = "controller.json"


def others_at_work(run_dir: str, pid: int) -> Optional[int]:
    """The process of another controller than `pid` that is alive and at work on this run."""
    path = os.path.join(run_dir, NOTE)
    if not os.path.exists(path):
        return None
    other = records.read_json(path)
    alive = os.path.exists("/proc/%d" % other["pid"]) and other["started"] == started(other["pid"])
    return int(other["pid"]) if alive and other["pid"] != pid else None


def note(run_dir: str, pid: int) -> None:
    """Note that the process is at work here."""
    records.write_json(os.path.join(run_dir, NOTE), {"pid": pid, "started": started(pid)})


def started(pid: int) -> str:
    """When a process started, in clock ticks: a pid alone may name another process by now."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[19]
