# ruff: noqa: E501 - records read better one to a line
"""Write a year of records as a service leaves them: drills, proofs, incidents, rehearsals, attempts to back up, findings.

    python tests/year.py DIR            write the year to look at it
    python tests/year.py --golden       write tests/golden/month.txt anew

The same seed gives the same bytes. The data grows by the same amount each day, and a restore takes what its size costs, so
that the day on which it outgrows the objective is known exactly.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pgrescue.drill import scenario
from pgrescue.manifest import write_manifest
from pgrescue.models import rfc3339
from run_fixture import BOOT, ZERO, Timeline

SERVICE = "shop"
BEGIN = datetime(2025, 12, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
MONTH = "2026-11"
RTO_S, RPO_S = 3600.0, 86400.0
SEGMENT = 16 * 1024 * 1024
PROCEDURES = ("corruption", "complete_loss", "partial_loss", "region_failure")
PEOPLE = ("lena@ctl", "omar@laptop", "kim@ctl")
GOLDEN = Path(__file__).parent / "golden/month.txt"


@dataclass
class Year:
    """What is written, and what it was made from."""

    seed: int = 1
    begin: datetime = BEGIN
    end: datetime = NOW
    first_bytes: float = 60e9
    per_day: float = 4e8
    speed: float = 1e8  # bytes a second that a restore fetches
    replay_s: float = 90.0
    others_s: float = 60.0  # of a recovery beside fetch and replay

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def data_bytes(self, at: datetime) -> int:
        """How large the data is."""
        return round(self.first_bytes + self.per_day * ((at - self.begin) / timedelta(days=1)))

    def outgrown(self) -> datetime:
        """When a recovery takes as long as was promised."""
        most = (RTO_S - self.replay_s - self.others_s) * self.speed
        return self.begin + timedelta(days=(most - self.first_bytes) / self.per_day)

    def write(self, runs: Path) -> Path:
        """Write it all below this folder, and return the folder."""
        runs.mkdir(parents=True, exist_ok=True)
        self._attempts(runs)
        events: list[dict[str, Any]] = []
        for number, at in enumerate(self._days(every=9)):
            self._drill(runs, at + timedelta(hours=10, minutes=number), number, events)
        for at in self._days(every=7):
            self.run(runs, at + timedelta(hours=3), "prove", kind="proof", rta=False)
        for number, at in enumerate(self._days(every=23)):
            self._incident(runs, at + timedelta(hours=2, minutes=7 * number), number, events)
        for number, at in enumerate(self._days(every=30)):
            self._rehearsal(runs, at + timedelta(hours=9), number)
        lines = sorted(events, key=lambda event: str(event["at"]))
        _put_lines(runs / "findings" / f"{SERVICE}.jsonl", lines)
        return runs

    def _days(self, every: int) -> Iterator[datetime]:
        at = self.begin
        while at < self.end:
            yield at
            at += timedelta(days=every)

    def _attempts(self, runs: Path) -> None:
        lines = []
        for number, at in enumerate(self._days(every=1)):
            for repository in ("1", "2"):
                ended = at + timedelta(hours=2, seconds=self.chance.uniform(300, 900))
                size = self.data_bytes(at)
                kind = "full" if number % 7 == 0 else "diff"
                attempt: dict[str, Any] = {"at": rfc3339(ended), "repository": repository, "kind": kind}
                if number % 41 == 11 or self.chance.random() < 0.01:
                    lines.append({**attempt, "result": "failed", "duration_s": 40.5, "reason": "the store was silent"})
                    if self.chance.random() < 0.5:
                        continue
                    attempt["at"] = rfc3339(ended + timedelta(minutes=30))
                took = round(self.chance.uniform(200, 400) + size / 5e8, 3)
                stored = round(size * (0.4 if kind == "full" else 0.03))
                lines.append(
                    {**attempt, "result": "passed", "duration_s": took, "size_bytes": size, "stored_bytes": stored}
                )
        _put_lines(runs / "attempts" / f"{SERVICE}.jsonl", sorted(lines, key=lambda line: str(line["at"])))

    def _drill(self, runs: Path, at: datetime, number: int, events: list[dict[str, Any]]) -> None:
        procedure = PROCEDURES[number % 4]
        result = "failed" if number % 7 == 5 else "void" if number % 19 == 17 else "passed"
        findings = None
        if number % 5 != 4:
            findings = [self._finding(at, procedure, n, number, events) for n in range(number % 3)]
        self.run(
            runs, at, procedure, kind="drill", result=result, findings=findings,
            slow=number % 11 == 8, rta=procedure != "partial_loss", approvals=number % 2, resumed=number % 13 == 3,
            judged=number % 38 != 0,
        )  # fmt: skip

    def _finding(
        self, at: datetime, procedure: str, n: int, number: int, events: list[dict[str, Any]]
    ) -> dict[str, Any]:
        name = f"F-{number:03d}-{n}"
        due = at + timedelta(days=30)
        if (number + n) % 3:
            later = at + timedelta(days=8 + 9 * n, hours=5)
            events.append({"at": rfc3339(later), "by": "lena@ctl", "id": name, "state": "open", "owner": "omar@laptop"})
            state = "accepted" if number % 8 == 6 else "done"
            if later + timedelta(days=2) < self.end:
                events.append(
                    {
                        "at": rfc3339(later + timedelta(days=2)),
                        "by": "omar@laptop",
                        "id": name,
                        "state": state,
                        "reason": "done",
                    }
                )
        return {
            "id": name, "run": "", "service": SERVICE, "title": f"{procedure.replace('_', ' ')}: finding {n}",
            "severity": ("high", "medium", "low")[(number + n) % 3], "owner": PEOPLE[number % 3], "due": f"{due:%Y-%m-%d}",
            "state": "open", "opened": rfc3339(at + timedelta(hours=1)),
        }  # fmt: skip

    def _incident(self, runs: Path, at: datetime, number: int, events: list[dict[str, Any]]) -> None:
        name = f"{at:%Y%m%dT%H%M%SZ}-{SERVICE}"
        recovered = number % 3 != 2
        linked = []
        if recovered:
            finding = self._finding(at, "incident", 0, 500 + number, events)
            linked = [
                self.run(
                    runs, at + timedelta(seconds=80), "failover", kind="incident", lost=number % 2, findings=[finding]
                )
            ]
        incident = {
            "schema_version": 1, "id": name, "service": SERVICE, "kind": "incident", "state": "primary_lost",
            "says": "The primary is lost.", "level": "page", "started": rfc3339(at),
            "detected": rfc3339(at + timedelta(seconds=8 + number)), "acknowledged": rfc3339(at + timedelta(seconds=70 + 9 * number)),
            "acknowledged_by": PEOPLE[number % 3], "mitigated": rfc3339(at + timedelta(seconds=240 + number)),
            "resolved": rfc3339(at + timedelta(hours=1)), "runs": linked, "outages": 1,
            **({"cause": f"disk {number} failed"} if number % 2 else {}),
        }  # fmt: skip
        _put(runs / "incidents" / name / "incident.json", incident)

    def _rehearsal(self, runs: Path, at: datetime, number: int) -> None:
        passed = number % 6 != 4
        channels: dict[str, Any] = {"slack": 0.812, "pager": 1.25 if passed else "HTTP 500"}
        said = {
            "schema_version": 1,
            "service": SERVICE,
            "at": rfc3339(at),
            "passed": passed,
            "noticed": True,
            "channels": channels,
        }
        _put(runs / "rehearsals" / f"{at:%Y%m%dT%H%M%SZ}-{SERVICE}-rehearsal.json", said)

    def run(
        self,
        runs: Path,
        at: datetime,
        procedure: str,
        *,
        kind: str,
        result: str = "passed",
        findings: list[dict[str, Any]] | None = None,
        slow: bool = False,
        rta: bool = True,
        lost: int = 3,
        approvals: int = 0,
        resumed: bool = False,
        judged: bool = True,
    ) -> str:
        """One run with its timeline, sealed; its id."""
        size = self.data_bytes(at)
        fetch, wal = size / self.speed * self.chance.uniform(0.98, 1.02), 40 * SEGMENT
        took = fetch + self.replay_s + self.others_s + (RTO_S if slow else 0.0)
        name = f"{at:%Y%m%dT%H%M%SZ}-{SERVICE}-{procedure}"
        folder = runs / name
        folder.mkdir()
        label = f"{at:%Y%m%d}-020000F"
        (folder / "timeline.jsonl").write_bytes(
            _timeline(at, fetch, self.replay_s, label, wal, result, approvals, resumed).bytes
        )
        measured: dict[str, Any] = {
            "data_bytes": size,
            "phases": {"restore": round(fetch + self.replay_s, 3), "validate": 12.5},
        }
        if rta and result != "void" and kind != "proof":
            verdict = "missed" if took > RTO_S else "met"
            measured |= {"rta_s": round(took, 3), "rpa_s": round(2.5 * lost, 3), "detection_s": 4.5, "acknowledged": 5000,
                         "lost_acknowledged": lost, "lost_acknowledged_before_recovery_point": 0, "human_wait_s": 30.0 * approvals,
                         "verdicts": {"rto": verdict, "rpo": "met", "phases": {"restore": "met"}}}  # fmt: skip
            result = "failed" if verdict == "missed" else result
        code = {"passed": 0, "failed": 7 if slow else 5, "void": 9}[result]
        run = {
            "schema_version": 1, "id": name, "kind": kind, "procedure": procedure, "scenario": procedure, "service": SERVICE,
            "operator": self.chance.choice(PEOPLE), "objectives": {"rto_s": RTO_S, "rpo_s": RPO_S, "phases": {"restore": 2400}},
            "result": result, "exit_code": code,
        }  # fmt: skip
        candidate = {"label": label, "repo": 1, "size_bytes": size, "segment_bytes": SEGMENT,
                     "wal_start": "000000010000000000000010", "wal_stop": "000000010000000000000011"}  # fmt: skip
        ways = [
            {"method": "promote", "host": "db2", **({"closed": "it is too far behind"} if lost == 0 else {})},
            {"method": "restore"},
        ]
        plan = {
            "schema_version": 1,
            "run": name,
            "procedure": procedure,
            "service": SERVICE,
            "candidates": [candidate],
            "ways": ways,
        }
        _put(folder / "run.json", run)
        if kind == "drill" and judged:
            _put(folder / "drill.json", {"scenario": scenario.load(procedure).dump(), "state": "ended"})
        _put(folder / "measurement.json", measured)
        _put(folder / "plan.json", plan)
        _put(folder / "checks.json", [{"name": "checksums", "tier": "must", "verdict": "passed"}])
        if findings is not None:
            _put(folder / "findings.json", [{**finding, "run": name} for finding in findings])
        write_manifest(folder)
        return name


def _timeline(
    at: datetime, fetch: float, replay: float, label: str, wal: int, result: str, approvals: int, resumed: bool
) -> Timeline:
    """A restore, as the journal of one reads."""
    told, zero = Timeline(), (at - ZERO).total_seconds()
    told.start(zero, boot=BOOT)
    told.event(zero + 1, "start", "detect")
    told.step("detect", "Observe the service", zero + 1, zero + 3)
    told.event(zero + 4, "end", "detect", status="ok")
    if approvals:
        told.event(zero + 5, "decision", "decide", "restore", status="waiting")
        told.event(zero + 35, "approval", "decide", "restore", status="approved", actor="omar@laptop")
        told.event(zero + 35, "approval", "decide", "restore", status="passed", actor="omar@laptop")
    if resumed:
        told.start(zero + 40, boot=BOOT)
    began = zero + 45
    told.event(began, "start", "restore")
    told.step("restore", "Restore the backup", began, began + fetch, "changed")
    told.event(began + fetch, "decision", "restore", detail=f"Backup {label} from repository 1, full, restored")
    told.milestone(began + fetch, "restored", "restore")
    started = began + fetch
    told.step("restore", "Start the server, replaying the archive", started, started + replay, "changed")
    position = f"{(16 * SEGMENT + wal) >> 32:X}/{(16 * SEGMENT + wal) & 0xFFFFFFFF:X}"
    told.event(started + replay, "milestone", "restore", "writable", detail=f"replayed to {position}")
    told.event(started + replay, "end", "restore", status="ok" if result != "failed" else "failed")
    told.event(started + replay + 15, "end", status="ok" if result != "failed" else "failed")
    return told


def _put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def _put_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def report(runs: Path, month: str = MONTH) -> str:
    """The Markdown of a month of these records."""
    from pgrescue.ledger import index, monthly, render

    index.refresh(runs)
    return render.markdown(monthly.report(runs, SERVICE, month, NOW)[0])


def main() -> None:
    """Write what is asked for."""
    if sys.argv[1:] == ["--golden"]:
        with tempfile.TemporaryDirectory() as folder:
            GOLDEN.write_text(report(Year().write(Path(folder))), encoding="utf-8")
        print(GOLDEN)
    else:
        print(Year().write(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
