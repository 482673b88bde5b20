"""Realistic evidence packs: a drill with two approvers, an override, a step left out and a takeover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dumping import key_pair
from pgrescue import close, record
from pgrescue.core import approvals
from pgrescue.evidence import pack
from pgrescue.evidence.settings import Settings
from run_fixture import DIGEST, Synthetic, Timeline, complete_loss, wall

PRIVATE, PUBLIC = key_pair()
FENCE = {
    "host": "a1",
    "fenced": False,
    "overridden": "The provider says that the machine is off.",
    "said": "-",
    "evidence": [],
}


def approval(run: str, by: str, way: str, reason: str, verdict: str = "approved") -> dict[str, Any]:
    return {
        "schema_version": 1, "run": run, "gate": "plan", "plan_digest": DIGEST, "verdict": verdict, "by": by,
        "way": way, "reason": reason, "given": wall(7.9), "expires": wall(907.9),
    }  # fmt: skip


def busy_timeline() -> Timeline:
    """The good drill, in which a step was left out and somebody else went on with the run."""
    timeline = complete_loss()
    timeline.event(31, "start", status="ok", actor="omar@laptop", boot_id="5f0c2f5e-0000-4000-8000-000000000002")
    timeline.event(31.2, "decision", "protect", "rebuild_standbys", status="skipped", detail="No host is free.")
    timeline.event(33, "end", status="ok", exit_code=0, actor="omar@laptop")
    return timeline


def written(root: Path, **parts: Any) -> Path:
    """A record that is not closed yet."""
    directory = Synthetic(**{"timeline": busy_timeline(), **parts}).write(root)
    run = json.loads((directory / "run.json").read_text())
    run["broke_glass"] = [{"gate": "plan", "by": "lena@ctl", "reason": "nobody answers", "at": wall(6)}]
    (directory / "run.json").write_text(json.dumps(run, indent=2))
    for one in (
        approval(run["id"], "lena@ctl", "confirm", ""),
        approval(run["id"], "omar@laptop", "approval", "The client agreed."),
    ):
        approvals.write(str(directory), one)
    (directory / "fence-a1.json").write_text(json.dumps(FENCE, indent=2))
    return directory


def key_file(root: Path, pem: str = PRIVATE) -> Path:
    path = root / "evidence.pem"
    path.write_text(pem)
    return path


def sealed(root: Path, key: Path | None, **parts: Any) -> Path:
    """A closed record, sealed with this key or by nobody."""
    directory = written(root, **parts)
    close.finish(directory)
    if key is not None:
        (directory / "seal-1.dsse.json").unlink()
        pack.close(record.load(directory), Settings(key_file=key))
    return directory
