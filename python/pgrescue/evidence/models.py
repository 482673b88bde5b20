"""The shapes of an evidence pack's own documents, published as JSON Schemas like those of the record."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from pgrescue.models import Instant, Model, Seconds, Sha256, Verdict

VERSION = 1


class Runbooks(Model):
    """Which runbooks were carried out: the commit they come from, and whether files differed from it."""

    commit: str
    dirty: bool


class Database(Model):
    """A database that the record names, and its size in bytes where the record knows it."""

    name: str
    bytes: int | SkipJsonSchema[None] = None


class Excluded(Model):
    """What the run did not cover, and why."""

    what: str
    why: str


class Sealing(Model):
    """What the inventory says of sealing, paths on the controller that closed the run: for who closes it again."""

    key_file: str | SkipJsonSchema[None] = None
    secrets_file: str | SkipJsonSchema[None] = None
    owner: str | SkipJsonSchema[None] = None


class Scope(Model):
    """`scope.json`: what the run was about. What the record does not know is absent."""

    schema_version: int = VERSION
    run: str
    service: str
    system_identifier: str | SkipJsonSchema[None] = None
    timeline: int | SkipJsonSchema[None] = None
    postgres_version: str | SkipJsonSchema[None] = None
    databases: list[Database] | SkipJsonSchema[None] = None
    data_bytes: int | SkipJsonSchema[None] = None
    hosts: list[str] = Field(default_factory=list)
    regions: list[str] | SkipJsonSchema[None] = None
    plan_digest: Sha256 | SkipJsonSchema[None] = None
    runbooks: Runbooks | SkipJsonSchema[None] = None
    tools: dict[str, str] = Field(default_factory=dict)
    configuration_sha256: Sha256 | SkipJsonSchema[None] = None  # of every file of the inventory
    sealing: Sealing | SkipJsonSchema[None] = None
    attempts: int = 0  # how often the run had been begun or gone on with when this was written
    excluded: list[Excluded] = Field(default_factory=list)


class Person(Model):
    """Somebody who had a part in the run, and how the record knows it."""

    name: str
    known: str


class Approver(Person):
    """Somebody who answered at a gate."""

    gate: str
    verdict: str
    at: Instant
    reason: str


class People(Model):
    """`people.json`. `second_person`: whether somebody else than the operator approved; absent without an operator."""

    schema_version: int = VERSION
    run: str
    operator: Person | SkipJsonSchema[None] = None
    approvers: list[Approver] = Field(default_factory=list)
    observer: Person | SkipJsonSchema[None] = None
    second_person: bool | SkipJsonSchema[None] = None


class Objective(Model):
    """One promise against what was measured, in seconds; what was not measured is absent."""

    name: str  # rto, rpo, or the phase that has a budget
    promised_s: Seconds
    measured_s: Seconds | SkipJsonSchema[None] = None
    margin_s: float | SkipJsonSchema[None] = None
    verdict: Verdict | SkipJsonSchema[None] = None


class ObjectiveList(Model):
    """`objectives.json`: what the service was promised when the run was begun, as `run.json` kept it."""

    schema_version: int = VERSION
    run: str
    source: str = "run.json"
    objectives: list[Objective] = Field(default_factory=list)


class SignOff(Model):
    """`signoff-<n>.json`: that somebody read the record and stands for it, bound to its manifest and newest seal."""

    schema_version: int = VERSION
    run: str
    by: str
    typed_by: str | SkipJsonSchema[None] = None  # whose account it was typed in; `by` is anybody's word
    at: Instant
    reason: str
    manifest_sha256: Sha256
    seal: str | SkipJsonSchema[None] = None
    seal_sha256: Sha256 | SkipJsonSchema[None] = None


class FileBlocks(Model):
    """A file's size and its block digests, each the first 16 hex digits of a block's SHA-256, without separators."""

    bytes: int
    blocks: str


class Blocks(Model):
    """`blocks.json`: where a file was changed. Whether it was, its SHA-256 in the manifest says."""

    schema_version: int = VERSION
    block_bytes: int
    files: dict[str, FileBlocks]


class Leak(Model):
    """A secret that was found; never the secret itself."""

    file: str
    line: int
    kind: str


class TimelineHead(Model):
    """How far the timeline went when it was sealed.

    `head` is the SHA-256 of its last line, `digests` the first 16 hex digits of each line's.
    """

    lines: int
    head: Sha256
    digests: str


class Follows(Model):
    """The seal before this one."""

    name: str
    sha256: Sha256


class Unclean(Model):
    """Secrets that were in the pack when it was sealed all the same, and why somebody wanted that."""

    reason: str
    leaks: list[Leak]


class Predicate(Model):
    """What a seal says of its subjects beside their digests."""

    schema_version: int = VERSION
    run: str
    seal: int
    timeline: TimelineHead | SkipJsonSchema[None] = None
    block_bytes: int
    blocks: dict[str, FileBlocks]  # of what blocks.json cannot hold: itself, the manifest, sign-offs, the seal before
    follows: Follows | SkipJsonSchema[None] = None
    public_key: str | SkipJsonSchema[None] = None  # PEM; absent from a seal that nobody signed
    unclean: Unclean | SkipJsonSchema[None] = None


class DigestSet(Model):
    """The digests of a file; only this one is looked at."""

    sha256: Sha256


class Subject(Model):
    """A file that a seal covers."""

    name: str
    digest: DigestSet


class Statement(Model):
    """The payload of a seal: an in-toto Statement, version 1."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject]
    predicateType: str  # noqa: N815 - in-toto's own name
    predicate: Predicate

    @property
    def digests(self) -> dict[str, str]:
        """File: its SHA-256."""
        return {one.name: one.digest.sha256 for one in self.subject}


class Range(Model):
    """Bytes of a file, the first and the last of them, counted from 0."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class Changed(Model):
    """A file that is not as it was sealed; `ranges` hold every byte that differs, where that can be told."""

    path: str
    kind: Literal["differs", "missing", "extra", "unreadable"]
    ranges: list[Range] = Field(default_factory=list)
    detail: str = ""

    def __str__(self) -> str:
        said = [f"bytes {', '.join(map(str, self.ranges))}"] if self.ranges else []
        return f"{self.path}: {self.kind}" + "".join(f", {part}" for part in [*said, self.detail] if part)


Kind = Literal["changed", "removed", "reordered", "inserted", "cut", "added", "other"]


class ChainBreak(Model):
    """Where the timeline is not what was written: the first event, by its `seq`, and the line at which it shows."""

    kind: Kind
    event: int | SkipJsonSchema[None] = None
    line: int
    says: str


class SealState(Model):
    """What one seal is worth."""

    name: str
    signature: Literal["valid", "unsigned", "invalid"]
    keyid: str | SkipJsonSchema[None] = None
    key_fits: bool | SkipJsonSchema[None] = None  # absent when no key was given
    says: str


class SignOffState(Model):
    """One sign-off, and whether it is for the record as it is now."""

    name: str
    by: str
    typed_by: str | SkipJsonSchema[None] = None
    at: Instant
    current: bool


class TimestampState(Model):
    """What the timestamp of one seal is worth."""

    name: str
    seal: str
    at: Instant | SkipJsonSchema[None] = None
    holds: bool
    authority_fits: bool | SkipJsonSchema[None] = None  # absent when no authority was given
    says: str


class Between(Model):
    """Which files of the record are not the same in two seals that follow each other, as after a run went on."""

    earlier: str
    later: str
    files: list[str]

    def __str__(self) -> str:
        names = (name.removesuffix(".dsse.json") for name in (self.earlier, self.later))
        return f"between {' and '.join(names)}: {', '.join(self.files)} changed"


class Verification(Model):
    """What `pgrescue evidence verify --json` prints."""

    schema_version: int = VERSION
    run: str
    holds: bool
    files: int
    changed: list[Changed] = Field(default_factory=list)
    timeline: ChainBreak | SkipJsonSchema[None] = None  # absent when the chain holds
    seals: list[SealState] = Field(default_factory=list)
    between: list[Between] = Field(default_factory=list)  # no fault: for the reader to judge
    sign_offs: list[SignOffState] = Field(default_factory=list)
    timestamps: list[TimestampState] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)  # what else is wrong, in sentences

    def dump(self) -> dict[str, Any]:
        """As JSON values."""
        return self.model_dump(mode="json", exclude_none=True)
