# ruff: noqa: E501 - records read better one to a line
"""Synthesise a realistic run directory: what a drill that lost its primary leaves behind.

Times are seconds from `ZERO`; the fault is at 0. Every part can be changed before it is written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

ZERO = datetime(2026, 11, 24, 1, 20, 50, tzinfo=UTC)
BOOT = "5f0c2f5e-0000-4000-8000-000000000001"
DIGEST = "9b74c9897bac770ffc029102a200c5de11e9dcd0a8a2c0f0a0b0c0d0e0f01234"
UPTIME_S = 5000.0


def wall(seconds: float) -> str:
    return (ZERO + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    return round((UPTIME_S + seconds) * 1e9)


class Timeline:
    """Writes chained events; `at` is seconds from ZERO."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.skew = 0.0  # what the monotonic clock is ahead of the wall clock

    def event(self, at: float, event: str, phase: str | None = None, step: str | None = None, **more: Any) -> None:
        prev = sha256(self.lines[-1]).hexdigest() if self.lines else "0" * 64
        entry = {
            "seq": len(self.lines),
            "wall": wall(at),
            "monotonic_ns": nanoseconds(at + self.skew),
            "host": more.pop("host", None),
            "actor": more.pop("actor", "lena@ctl"),
            "phase": phase,
            "step": step,
            "event": event,
            "status": more.pop("status", None),
            "prev": prev,
            **more,
        }
        self.lines.append(json.dumps(entry).encode())

    def start(self, at: float, boot: str = BOOT) -> None:
        self.event(at, "start", status="ok", boot_id=boot)

    def phase(
        self, name: str, at: float, until: float, steps: list[tuple[str, float, str]], status: str = "ok"
    ) -> None:
        """A phase with steps of (name, seconds, status) that follow each other."""
        self.event(at, "start", name)
        for step, seconds, outcome in steps:
            self.step(name, step, at, at + seconds, outcome)
            at += seconds
        self.event(until, "end", name, status=status)

    def step(self, phase: str, name: str, at: float, until: float, status: str = "ok", **more: Any) -> None:
        self.event(at, "start", phase, name)
        self.event(until, "end", phase, name, host=more.pop("host", "x1"), status=status, **more)

    def milestone(self, at: float, name: str, phase: str | None = None) -> None:
        self.event(at, "milestone", phase, name)

    @property
    def bytes(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)


class Witness:
    """Writes a witness journal of four probes, each on its own rhythm."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = [
            {
                "event": "start",
                "wall": wall(-20),
                "mono_ns": nanoseconds(-20),
                "boot_id": BOOT,
                "client": "c1",
                "version": "1",
            }
        ]
        self.token = 0
        self.acknowledged: list[int] = []

    def probe(self, probe: str, at: float, ok: bool, took: float = 0.02) -> None:
        entry: dict[str, Any] = {
            "event": "result",
            "probe": probe,
            "ok": ok,
            "start": wall(at),
            "start_ns": nanoseconds(at),
            "end": wall(at + took),
            "end_ns": nanoseconds(at + took),
        }
        if probe == "commit":
            self.token += 1
            entry["token"] = self.token
            self.entries.append(
                {
                    "event": "attempt",
                    "probe": "commit",
                    "token": self.token,
                    "wall": wall(at),
                    "mono_ns": nanoseconds(at),
                }
            )
            if ok:
                self.acknowledged.append(self.token)
        else:
            entry["status"] = 200 if ok else 503
        if not ok:
            entry["error"] = "refused"
        self.entries.append(entry)

    def outage(self, begin: float = -20.0, down: float = 0.0, up: float = 27.0, end: float = 60.0) -> Witness:
        """All four probes every second (commits every half), failing from `down` to `up`."""
        half_seconds = round((end - begin) * 2)
        for tick in range(half_seconds):
            at = begin + tick / 2
            self.probe("commit", at, not down <= at < up)
            if tick % 2 == 0:
                for offset, name in enumerate(("health", "products", "videos"), 1):
                    moment = at + offset / 100
                    self.probe(name, moment, not down <= moment < up)
        return self

    @property
    def bytes(self) -> bytes:
        return b"".join(json.dumps(entry).encode() + b"\n" for entry in self.entries)


def complete_loss() -> Timeline:
    """A drill that went well: 27 s of outage, everything validated."""
    timeline = Timeline()
    timeline.start(-6)
    timeline.event(-5.9, "note", step="clock", detail='{"offset_s": 0.0004, "uncertainty_s": 0.002}')
    timeline.event(-5.9, "note", step="data", detail='{"data_bytes": 1610612736}')
    timeline.event(
        -0.01,
        "fault",
        step="destroy_data_directory",
        status="injected",
        detail="rm -rf of the data directory on a1",
    )
    timeline.event(2, "start", "detect")
    timeline.step("detect", "Observe the service from two places", 2, 4.1, host="ctl")
    timeline.milestone(4.2, "declared", "detect")
    timeline.event(4.3, "end", "detect", status="ok")
    timeline.event(4.3, "start", "decide")
    timeline.step("decide", "Rank the ways back", 4.3, 5.2, host="ctl")
    timeline.event(
        5.3,
        "decision",
        "decide",
        "restore_elsewhere",
        status="waiting",
        detail="Restore shop on x1, losing about 12 s.",
    )
    timeline.event(
        7.9,
        "approval",
        "decide",
        "restore_elsewhere",
        status="approved",
        actor="omar@laptop",
        detail="The client agreed.",
    )
    timeline.event(8, "end", "decide", status="ok")
    timeline.event(8, "start", "prepare")
    timeline.step("prepare", "Stop application traffic", 8, 8.6, "changed", host="app1")
    timeline.milestone(8.6, "traffic_stopped", "prepare")
    timeline.step("prepare", "Prove that the old primary cannot write", 8.6, 9.4, host="a1")
    timeline.event(9.5, "end", "prepare", status="ok")
    timeline.event(9.5, "start", "restore")
    timeline.step("restore", "Choose the newest backup that verifies", 9.5, 10.4)
    timeline.step("restore", "Restore the backup into a new data directory", 10.4, 16.8, "changed")
    timeline.milestone(16.8, "restored", "restore")
    timeline.step("restore", "Replay the archive to its end", 16.8, 20.9, "changed")
    timeline.milestone(20.9, "writable", "restore")
    timeline.event(21, "end", "restore", status="ok")
    timeline.phase(
        "validate",
        21,
        24.2,
        [("Check what must hold", 2.4, "ok"), ("Hold acknowledged commits against the rows", 0.7, "ok")],
    )
    timeline.milestone(24.2, "validated", "validate")
    timeline.event(24.3, "start", "resume")
    timeline.step("resume", "Switch the endpoint to x1", 24.3, 25.8, "changed", host="dns1")
    timeline.milestone(25.8, "endpoint_switched", "resume")
    timeline.step("resume", "Let the application back in", 25.8, 26.9, "changed", host="app1")
    timeline.milestone(26.9, "application_resumed", "resume")
    timeline.event(29.4, "note", actor="lena@ctl", detail="Second cache node was slow to reconnect.")
    timeline.event(30.2, "end", "resume", status="ok")
    timeline.event(30.3, "end", status="ok", exit_code=0)
    return timeline


def failed_restore() -> Timeline:
    """The same drill stopped in restore by an unreadable archive."""
    timeline = Timeline()
    timeline.lines = []
    timeline.start(-6)
    timeline.event(-0.01, "fault", step="destroy_data_directory", status="injected")
    timeline.phase("detect", 2, 4.3, [("Observe the service from two places", 2.1, "ok")])
    timeline.event(8, "start", "restore")
    timeline.step("restore", "Restore the backup into a new data directory", 8, 14.5, "changed")
    timeline.step(
        "restore",
        "Replay the archive to its end",
        14.5,
        19.0,
        "failed",
        exit_code=5,
        detail="Segment 00000001000000000000002A is not in repository 1 <or> 2. Nothing was promoted.",
    )
    timeline.event(19.1, "end", "restore", status="failed")
    timeline.event(19.2, "end", status="failed", exit_code=5)
    return timeline


CHECKS: list[dict[str, Any]] = [
    {"name": "system identifier", "tier": "must", "expected": "7437700000000004471", "observed": "7437700000000004471", "verdict": "passed", "host": "x1", "duration_s": 0.01},
    {"name": "data checksums", "tier": "must", "expected": "no failure", "observed": "0 of 41,203 pages", "verdict": "passed", "host": "x1", "duration_s": 1.1},
    {"name": "indexes against heap (amcheck)", "tier": "must", "expected": 0, "observed": 0, "verdict": "passed", "host": "x1", "duration_s": 0.8},
    {"name": "roles and grants", "tier": "must", "expected": "as in the manifest", "observed": "as in the manifest", "verdict": "passed", "host": "x1", "duration_s": 0.05},
    {"name": "sequences ahead of their columns", "tier": "must", "expected": [], "observed": [], "verdict": "passed", "host": "x1", "duration_s": 0.04},
    {"name": "settings", "tier": "should", "expected": {"shared_buffers": "4GB"}, "observed": {"shared_buffers": "1GB"}, "verdict": "failed", "host": "x1", "duration_s": 0.02},
]  # fmt: skip


@dataclass
class Synthetic:
    """The parts of a run; None leaves a file out."""

    timeline: Timeline = field(default_factory=complete_loss)
    witness: Witness | None = field(default_factory=lambda: Witness().outage())
    checks: list[dict[str, Any]] | None = field(default_factory=lambda: [dict(check) for check in CHECKS])
    lost: int = 14
    holes: list[int] = field(default_factory=list)
    reconciled: bool = True
    planned: bool = True
    kind: str = "drill"
    objectives: dict[str, Any] = field(
        default_factory=lambda: {
            "rto_s": 3600,
            "rpo_s": 86400,
            "phases": {"detect": 300, "decide": 300, "prepare": 300, "restore": 2400, "validate": 300},
        }
    )

    @property
    def run(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "id": "20261124T012044Z-shop-complete_loss",
            "kind": self.kind,
            "procedure": "recover_complete_loss",
            "scenario": "complete_loss",
            "service": "shop",
            "system_identifier": "7437700000000004471",
            "operator": "lena@ctl",
            "versions": {
                "pgrescue": "0.1.0",
                "PostgreSQL": "17.6",
                "pgBackRest": "2.57.0",
                "ansible-core": "2.21.1",
            },
            "plan_digest": DIGEST,
            "objectives": self.objectives,
        }

    @property
    def plan(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "run": self.run["id"],
            "procedure": "recover_complete_loss",
            "service": "shop",
            "system_identifier": "7437700000000004471",
            "target_host": "x1",
            "target_address": "10.89.0.31",
            "data_directory": "/var/lib/postgresql/17/main",
            "postgres_version": 17,
            "target_timeline": 1,
            "candidates": [
                {"label": "20261123-020004F", "repo": 2, "type": "full", "started": wall(-84046), "stopped": wall(-83900),
                 "wal_start": "000000010000000000000021", "wal_stop": "000000010000000000000022", "size_bytes": 1610612736, "timeline": 1}
            ],
            "passed_over": [
                {"label": "20261124-010002I", "repo": 2, "reason": "file base/16384/2619 does not match its checksum"},
                {"label": "20261123-020004F", "repo": 1, "reason": "the repository does not answer"},
            ],
            "archive_end": {"segment": "000000010000000000000029", "time": wall(-7.4)},
            "application_scale": 2,
            "changes": ["x1 gets a new data directory; the old one is kept beside it", "db.shop.example points to x1"],
            "irreversible": ["Commits after the end of the archive are given up"],
        }  # fmt: skip

    @property
    def reconciliation(self) -> dict[str, Any]:
        assert self.witness is not None
        old = [token for token in self.witness.acknowledged if token <= self.newest_old]
        after = old[len(old) - self.lost :] if self.lost else []
        kept = [token for token in old if token not in after and token not in self.holes]
        return {
            "floor": 1,
            "acknowledged": len(old),
            "present_max": max(kept, default=0),
            "missing_before_recovery_point": self.holes,
            "missing_after_recovery_point": after,
        }

    @property
    def newest_old(self) -> int:
        """The last token acknowledged before the first commit failed."""
        assert self.witness is not None
        for entry in self.witness.entries:
            if entry["event"] == "result" and entry["probe"] == "commit" and not entry["ok"]:
                return int(entry["token"]) - 1
        return max(self.witness.acknowledged, default=0)

    def write(self, root: Path) -> Path:
        directory = root / str(self.run["id"])
        directory.mkdir(parents=True)
        _put(directory / "run.json", self.run)
        (directory / "timeline.jsonl").write_bytes(self.timeline.bytes)
        if self.planned:
            _put(directory / "plan.json", self.plan)
        if self.checks is not None:
            _put(directory / "checks.json", self.checks)
        if self.witness is not None:
            (directory / "witness.jsonl").write_bytes(self.witness.bytes)
            if self.reconciled:
                _put(directory / "reconciliation.json", self.reconciliation)
        return directory


def _put(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
