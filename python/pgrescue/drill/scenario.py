"""A drill's scenario, from `drills/<name>.yml`: what is broken, what must be seen of it, what counts as passed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pgrescue.models import Seconds

DRILLS = Path(__file__).resolve().parents[3] / "drills"
PROMISED = "promised"  # the limit is the service's own objective
Limit = Seconds | Literal["promised"]
Stop = Literal["another_service_is_ill", "incident_elsewhere", "somebody_stops"]
PLAIN = ("recovered", "validated", "nothing_lost", "nothing_lost_before_point", "steady_after")
TIMED = ("rto_within", "rpo_within", "detection_within", "first_correct_action_within")
BY_PHASE = "phase_within"


class ScenarioError(Exception):
    """A scenario that is not there or cannot be read; the message says what is wrong with it."""


class Rule(BaseModel):
    """A named rule. `limit` is seconds or `promised`; of `phase_within` also seconds by phase."""

    model_config = ConfigDict(extra="forbid")
    rule: Literal[
        "recovered",
        "validated",
        "nothing_lost",
        "nothing_lost_before_point",
        "steady_after",
        "rto_within",
        "rpo_within",
        "detection_within",
        "first_correct_action_within",
        "phase_within",
    ]
    limit: Limit | dict[str, Seconds] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Rule:
        if (self.limit is None) != (self.rule in PLAIN):
            raise ValueError(f"{self.rule} takes {'no limit' if self.rule in PLAIN else 'a limit'}")
        if isinstance(self.limit, dict) and self.rule != BY_PHASE:
            raise ValueError(f"{self.rule} takes seconds, or {PROMISED}")
        if isinstance(self.limit, float | int) and self.rule == BY_PHASE:
            raise ValueError(f"{self.rule} takes seconds by phase, or {PROMISED}")
        if self.limit == PROMISED and self.rule in ("detection_within", "first_correct_action_within"):
            raise ValueError(f"nothing is promised of {self.rule}: give seconds")
        return self


def _rule(said: Any) -> Any:
    """`recovered` or `{rto_within: 60}`, as people write it, with its parts named."""
    if isinstance(said, str):
        return {"rule": said}
    if isinstance(said, Mapping) and len(said) == 1 and "rule" not in said:
        name, limit = next(iter(said.items()))
        return {"rule": name, "limit": limit}
    return said


Rules = list[Annotated[Rule, BeforeValidator(_rule)]]


class Scenario(BaseModel):
    """One drill as data. `expects` is what must be seen of the fault, or the drill is void."""

    model_config = ConfigDict(extra="forbid")
    name: str
    says: str
    objective: str
    procedure: str
    expected_rto_s: Seconds
    expects: Literal["outage", "rows_lost", "damage", "nothing"]
    must: Rules = Field(min_length=1)
    nice: Rules = Field(default_factory=list)
    steady_state: str
    fault: str | None = None
    fault_variables: dict[str, Any] = Field(default_factory=dict)
    repair: list[str] = Field(default_factory=list)
    within_s: float = Field(gt=0, allow_inf_nan=False)
    variables: dict[str, Any] = Field(default_factory=dict)
    just_before: list[str] = Field(default_factory=list)
    stop_when: list[Stop] = Field(min_length=1)
    correct: list[str] = Field(default_factory=list)
    blind: bool = True
    fails_on_purpose: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Scenario:
        if self.fault is None and self.expects != "nothing":
            raise ValueError(f"{self.name} breaks nothing, so it can expect nothing")
        return self

    @property
    def answers(self) -> list[str]:
        """The procedures that are right for it."""
        return self.correct or [self.procedure]

    def dump(self) -> dict[str, Any]:
        """As JSON values, without what is not said."""
        return self.model_dump(mode="json", exclude_none=True)


def names() -> list[str]:
    """Every drill there is."""
    return sorted(path.stem for path in DRILLS.glob("*.yml") if path.stem != "programme")


def raw(name: str) -> dict[str, Any]:
    """The drill's data as it is written."""
    text = (DRILLS / f"{name}.yml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def load(name: str) -> Scenario:
    """The scenario of this name. Raises ScenarioError."""
    if name not in names():
        raise ScenarioError(f"There is no drill {name}; there are {', '.join(names())}. Nothing was changed.")
    try:
        return Scenario(name=name, **raw(name))
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"])
        raise ScenarioError(f"drills/{name}.yml: {where}: {first['msg']}. Nothing was changed.") from error
