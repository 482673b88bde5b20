"""`drill.json` of a run: the scenario, what was seen before and after, whether it was stopped or drawn blind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from pgrescue.drill.scenario import Scenario
from pgrescue.models import SCHEMA_VERSION, Instant, Model, Seconds, Sha256

FILE = "drill.json"


class Steady(Model):
    """Whether the steady state held, as its playbook found it."""

    held: bool
    at: Instant


class Stopped(Model):
    """That the drill was called off: by a stop condition, or by a person."""

    by: str
    at: Instant
    reason: str


class Opened(Model):
    """What was drawn. `salt` makes the commitment one that nobody can guess."""

    salt: str
    service: str
    scenario: str
    at: Instant  # when the fault was to come
    candidates: list[str]
    within_s: Seconds
    seed: int | SkipJsonSchema[None] = None


class Draw(Model):
    """A blind drill's draw: the commitment from before, and what was opened afterwards."""

    drill: str  # its directory in runs/drills
    commitment: Sha256
    committed: Instant
    opened: Opened | SkipJsonSchema[None] = None


class Verified(Model):
    """What a drill that passes proves something of: it must be proven again when one of these changes."""

    procedure_sha256: Sha256
    postgresql: str | SkipJsonSchema[None] = None
    extensions: dict[str, str] | SkipJsonSchema[None] = None


class Next(Model):
    """The drill that is planned after this one."""

    scenario: str
    date: str  # YYYY-MM-DD


class Drill(Model):
    """`drill.json`. While `ended` is absent the drill goes on and is not judged."""

    schema_version: int = SCHEMA_VERSION
    scenario: Scenario
    state: Literal["open", "ended"] = "open"
    fault: Instant | SkipJsonSchema[None] = None
    fault_failed: str | SkipJsonSchema[None] = None  # what said that the fault did not take effect
    steady_before: Steady | SkipJsonSchema[None] = None
    steady_after: Steady | SkipJsonSchema[None] = None
    cleaned_up: bool | SkipJsonSchema[None] = None
    stopped: Stopped | SkipJsonSchema[None] = None
    blind: Draw | SkipJsonSchema[None] = None
    found_out_s: Seconds | SkipJsonSchema[None] = None  # from the fault until somebody said what is wrong
    found_out: str | SkipJsonSchema[None] = None
    first_correct_action_s: Seconds | SkipJsonSchema[None] = None
    other_actions: list[str] = Field(default_factory=list)  # runs of other procedures that people began first
    verified: Verified | SkipJsonSchema[None] = None
    next: Next | SkipJsonSchema[None] = None
    owner: str | SkipJsonSchema[None] = None  # of what it shows to be wrong

    @property
    def put_back(self) -> bool:
        """Whether it has ended and what it broke was put back, as far as it has a repair."""
        return self.state == "ended" and self.steady_after is not None and self.cleaned_up is not False

    @property
    def judged(self) -> bool:
        """Whether its rules told how it went: it has ended, and was not to fail, which no rules tell from passing."""
        return self.state == "ended" and self.scenario.fails_on_purpose is None
