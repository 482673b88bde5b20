"""The shapes of a record: what passes from one room to the next, as `docs/contracts.md` says it.

What others write is read generously (unknown keys survive, unknown words are kept) and published
strictly (the exported JSON Schemas list every key and every word), so that a newer component never
stops a report at three in the morning, and a misspelt key still fails a test.

Times are aware datetimes, written as RFC 3339 UTC with microseconds. Durations are seconds. A key
whose value was not measured is absent, never null: dump with `dump()`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

PHASES = ("detect", "decide", "prepare", "restore", "validate", "resume")
MILESTONES = (
    "declared",
    "traffic_stopped",
    "restored",
    "writable",
    "validated",
    "endpoint_switched",
    "application_resumed",
    "service_healthy",
)
SCHEMA_VERSION = 1


def rfc3339(moment: datetime) -> str:
    """The moment as RFC 3339 in UTC with microseconds, `2026-11-24T01:20:50.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _words(*words: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(words)})


Instant = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SignedSeconds = Annotated[float, Field(allow_inf_nan=False)]
Token = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PhaseName = Annotated[str, _words(*PHASES, "protect")]  # what is done after the recovery time belongs to it
EventKind = Annotated[str, _words("start", "end", "note", "decision", "approval", "fault", "milestone")]
Verdict = Literal["met", "missed"]
Result = Literal["passed", "failed", "void", "aborted"]


class Model(BaseModel):
    """A record: unknown keys are kept when read, and forbidden in the published schema."""

    model_config = ConfigDict(
        extra="allow", coerce_numbers_to_str=True, json_schema_extra={"additionalProperties": False}
    )

    def dump(self) -> dict[str, Any]:
        """This record as JSON values, without the keys that were not measured."""
        return self.model_dump(mode="json", exclude_none=True)


class Objectives(Model):
    """What the service is promised, in seconds, and the budget of each phase."""

    rto_s: Seconds | SkipJsonSchema[None] = None
    rpo_s: Seconds | SkipJsonSchema[None] = None
    phases: dict[str, Seconds] = Field(default_factory=dict)


class BrokenGlass(Model):
    """Somebody went on at a gate without the second person that the policy wants."""

    gate: str
    by: str
    reason: str
    at: Instant


class Run(Model):
    """`run.json`: one execution of a plan. While it is open, `result` and `exit_code` are absent."""

    schema_version: int = SCHEMA_VERSION
    id: str
    kind: Literal["incident", "drill", "proof"]
    procedure: str
    scenario: str | SkipJsonSchema[None] = None
    service: str
    system_identifier: str | SkipJsonSchema[None] = None
    operator: str | SkipJsonSchema[None] = None
    inventory: str | SkipJsonSchema[None] = None  # that it was played with, as the next command shall name it
    versions: dict[str, str] = Field(default_factory=dict)
    plan_digest: Sha256 | SkipJsonSchema[None] = None
    objectives: Objectives = Field(default_factory=Objectives)
    broke_glass: list[BrokenGlass] = Field(default_factory=list)
    result: Result | SkipJsonSchema[None] = None
    exit_code: int | SkipJsonSchema[None] = None


class Event(Model):
    """One line of `timeline.jsonl`. `monotonic_ns` compares only within one `boot_id`."""

    seq: int
    wall: Instant
    monotonic_ns: int
    host: str | None = None
    actor: str | None = None
    phase: PhaseName | None = None
    step: str | None = None
    event: EventKind
    status: str | None = None
    prev: Sha256
    detail: str | None = None
    exit_code: int | None = None
    changed: bool | None = None
    boot_id: str | None = None


class Check(Model):
    """One validation: what was expected, what was seen, and the verdict."""

    name: str
    tier: Literal["must", "should"]
    expected: Any = None
    observed: Any = None
    verdict: Literal["passed", "failed", "truncated"]
    host: str | None = None
    duration_s: Seconds | SkipJsonSchema[None] = None


class Candidate(Model):
    """A backup that a plan may restore; the first of a plan's list is the one it chose."""

    label: str
    repo: int | None = None
    type: str | None = None
    started: Instant | SkipJsonSchema[None] = None
    stopped: Instant | SkipJsonSchema[None] = None
    wal_start: str | None = None
    wal_stop: str | None = None
    lsn_stop: str | None = None  # where it is consistent
    segment_bytes: int | SkipJsonSchema[None] = None
    size_bytes: int | SkipJsonSchema[None] = None
    stored_bytes: int | SkipJsonSchema[None] = None  # what it added to its repository
    timeline: int | SkipJsonSchema[None] = None
    system_identifier: str | SkipJsonSchema[None] = None
    reaches: str | None = None  # the last segment that can be replayed from it
    proof: str | None = None
    proven: Instant | SkipJsonSchema[None] = None


class PassedOver(Model):
    """A backup that was looked at and not chosen, and why."""

    label: str
    repo: int | None = None
    reason: str


class ArchiveEnd(Model):
    """The newest archived WAL that a restore can reach."""

    segment: str | None = None
    time: Instant | SkipJsonSchema[None] = None


class RecoveryTarget(Model):
    """Where replay ends: pgBackRest's type of target, and its value when it has one."""

    type: str
    value: str | None = None
    inclusive: bool = True

    @property
    def instant(self) -> datetime | None:
        """When that was; None where the target is none of time, or its value was changed into none."""
        try:
            return datetime.fromisoformat(self.value) if self.type == "time" and self.value else None
        except ValueError:
            return None


class Way(Model):
    """A way back: what it loses at most, how long such a run usually took, and what it changes."""

    method: str
    host: str | SkipJsonSchema[None] = None
    repository: int | SkipJsonSchema[None] = None
    backup: str | SkipJsonSchema[None] = None
    loses_bytes: int | SkipJsonSchema[None] = None
    loses_s: Seconds | SkipJsonSchema[None] = None
    takes_s: Seconds | SkipJsonSchema[None] = None
    takes_p95_s: Seconds | SkipJsonSchema[None] = None  # what all but one in twenty would not exceed
    changes: list[str] | SkipJsonSchema[None] = None
    closed: str | SkipJsonSchema[None] = None  # why it is not taken


class DamagedIndex(Model):
    """An index that is made again: how a person and how SQL names it."""

    database: str
    name: str
    sql: str
    method: str


class Plan(Model):
    """`plan.json`: the procedure bound to its targets."""

    schema_version: int = SCHEMA_VERSION
    run: str
    made: Instant | SkipJsonSchema[None] = None  # a plan that is old is not begun with
    procedure: str
    service: str
    method: str | SkipJsonSchema[None] = None  # promote, restore, logical, return or reindex; absent from proofs
    ways: list[Way] | SkipJsonSchema[None] = None  # all that were looked at, the chosen one first
    planned: bool | SkipJsonSchema[None] = None  # the primary was well and is left on purpose
    lost_regions: list[str] | SkipJsonSchema[None] = None  # of which no host answered
    fence: list[str] | SkipJsonSchema[None] = None  # hosts on which a client could write
    undoes: str | SkipJsonSchema[None] = None  # the run that is taken back
    left: str | None = None  # the primary that is left, where it is known
    through: str | None = None  # the tool that decides who is primary and promotes, such as Patroni
    received: str | SkipJsonSchema[None] = None  # how far the standby that is promoted had received WAL
    damage: dict[str, list[str]] | SkipJsonSchema[None] = None  # host: what is damaged there
    indexes: list[DamagedIndex] | SkipJsonSchema[None] = None  # those that are made again
    safety_copy: str | SkipJsonSchema[None] = None  # a backup of the damaged cluster, or its old place, kept as it is
    warm_from: str | None = None  # an older copy on the target, of which a restore takes what is the same
    kept: dict[str, str] | SkipJsonSchema[None] = None  # host: the old place
    system_identifier: str | None = None  # a dump may not know it
    target_host: str | None = None
    target_address: str | None = None
    data_directory: str | None = None
    postgres_version: int | None = None
    target_timeline: int | None = None
    candidates: list[Candidate] = Field(default_factory=list)
    passed_over: list[PassedOver] = Field(default_factory=list)
    unreachable: dict[str, str] = Field(default_factory=dict)  # repository: what it said instead of an answer
    archive_end: ArchiveEnd | SkipJsonSchema[None] = None
    recovery_target: RecoveryTarget | SkipJsonSchema[None] = None  # the end of the archive when absent
    unfence: bool | SkipJsonSchema[None] = None  # the server that is started was fenced by an earlier run
    application_scale: int | SkipJsonSchema[None] = None
    clients: Literal["stopped", "asking", "held"] | SkipJsonSchema[None] = None
    live_host: str | SkipJsonSchema[None] = None  # whose tables lost rows
    database: str | SkipJsonSchema[None] = None
    tables: list[str] | SkipJsonSchema[None] = None
    changes: list[str] = Field(default_factory=list)
    irreversible: list[str] = Field(default_factory=list)
    undo: str | SkipJsonSchema[None] = None  # how it is taken back, where that is not as of every recovery


class Approval(Model):
    """`approval-*.json`: that somebody wants a plan carried out, or not. It counts for one gate and for a while."""

    schema_version: int = SCHEMA_VERSION
    run: str
    gate: str
    plan_digest: Sha256
    verdict: Literal["approved", "denied", "broke_glass"]
    by: str
    way: Literal["confirm", "terminal", "approval", "break_glass", "policy"]
    reason: str
    given: Instant
    expires: Instant


class Window(Model):
    """`window.json`: how long the old side is kept fenced, so that the run can be taken back."""

    schema_version: int = SCHEMA_VERSION
    run: str
    opened: Instant
    closes: Instant
    old_side: list[str]
    rollback: list[str]  # what taking the run back does
    closed: Instant | SkipJsonSchema[None] = None  # before its time
    closed_by: str | SkipJsonSchema[None] = None
    reason: str | SkipJsonSchema[None] = None


class Pause(Model):
    """`pause.json`: that the run shall stop before its next phase."""

    by: str
    at: Instant
    reason: str


class Skip(Model):
    """One entry of `skips.json`: a step that is left out."""

    step: str
    by: str
    at: Instant
    reason: str


class Reconciliation(Model):
    """`reconciliation.json`: acknowledged tokens held against the rows that came back.

    Tokens below `floor` were not looked for. `acknowledged` counts the tokens that were.
    """

    floor: int | SkipJsonSchema[None] = None
    acknowledged: int = Field(ge=0)
    present_max: int | SkipJsonSchema[None] = None
    missing_before_recovery_point: list[Token] = Field(default_factory=list)
    missing_after_recovery_point: list[Token] = Field(default_factory=list)


class Clock(Model):
    """Which clock timed the outage. `offset_s` is the witness's clock minus the controller's."""

    source: str
    offset_s: SignedSeconds | SkipJsonSchema[None] = None
    uncertainty_s: Seconds | SkipJsonSchema[None] = None


class Verdicts(Model):
    """Each objective against what was measured; absent where nothing was measured."""

    rto: Verdict | SkipJsonSchema[None] = None
    rpo: Verdict | SkipJsonSchema[None] = None
    phases: dict[str, Verdict] = Field(default_factory=dict)


class Measurement(Model):
    """`measurement.json`: figures measured from where the client stands."""

    rta_s: Seconds | SkipJsonSchema[None] = None
    rpa_s: Seconds | SkipJsonSchema[None] = None
    phases: dict[str, Seconds] = Field(default_factory=dict)
    detection_s: Seconds | SkipJsonSchema[None] = None
    human_wait_s: Seconds | SkipJsonSchema[None] = None
    acknowledged: int | SkipJsonSchema[None] = None
    lost_acknowledged: int | SkipJsonSchema[None] = None
    lost_acknowledged_before_recovery_point: int | SkipJsonSchema[None] = None
    recovery_point: Instant | SkipJsonSchema[None] = None
    last_success_before: Instant | SkipJsonSchema[None] = None
    first_success_after: Instant | SkipJsonSchema[None] = None
    data_bytes: int | SkipJsonSchema[None] = None
    clock: Clock | SkipJsonSchema[None] = None
    verdicts: Verdicts = Field(default_factory=Verdicts)
