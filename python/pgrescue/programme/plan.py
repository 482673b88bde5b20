"""The programme as data, `drills/programme.yml`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pgrescue.drill.scenario import DRILLS, names


class ProgrammeError(Exception):
    """The programme cannot be read; the message says what is wrong with it."""


class Strict(BaseModel):
    """A misspelt key is refused: one that is passed over would be a promise that nobody keeps."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Blocked(Strict):
    """Days on which nothing is broken on purpose, both included."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    why: str

    @model_validator(mode="after")
    def _in_order(self) -> Blocked:
        if self.last < self.first:
            raise ValueError(f"{self.last} is before {self.first}")
        return self


class Obligation(Strict):
    """Something that must pass once in every period. With `scenarios` each period has its own, in turn."""

    name: str
    says: str
    every: Literal["week", "month", "quarter"]
    kind: Literal["drill", "proof"]
    procedures: list[str] = Field(default_factory=list)
    scenarios: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _known(self) -> Obligation:
        unknown = set(self.scenarios) - set(names())
        if unknown:
            raise ValueError(f"there is no drill {', '.join(sorted(unknown))}")
        return self


class Credential(Strict):
    """Something that the people who recover need, and the day it stops working."""

    name: str
    expires: date


class Production(Strict):
    """What the drill's environment is held against."""

    postgresql: str
    data_bytes: int = Field(gt=0)
    extensions: list[str] = Field(default_factory=list)


class Participant(Strict):
    """Somebody who takes part in a drill, and the channel of `service_alerts` through which they are told of it."""

    name: str
    channel: str | None = None


def _participant(said: Any) -> Any:
    """A name alone, as people write it who are told by other means."""
    return {"name": said} if isinstance(said, str) else said


class ServicePlan(Strict):
    """What the programme knows of one service. `going_without`: items of the checklist, and the standing reason."""

    owner: str
    participants: list[Annotated[Participant, BeforeValidator(_participant)]] = Field(default_factory=list)
    credentials: list[Credential] = Field(default_factory=list)
    production: Production | None = None
    going_without: dict[str, str] = Field(default_factory=dict)


class Programme(Strict):
    """All of it. `begun`: periods before that day promise nothing."""

    begun: date
    obligations: list[Obligation]
    blocked: list[Blocked] = Field(default_factory=list)
    review_days: int = 90  # how old a runbook's review may be
    page_days: int = 31  # how old the proof of the way of an alert may be
    tools: list[str] = Field(default_factory=list)
    services: dict[str, ServicePlan]

    @model_validator(mode="after")
    def _told_apart(self) -> Programme:
        called = [one.name for one in self.obligations]
        twice = sorted({name for name in called if called.count(name) > 1})
        if twice:
            raise ValueError(f"two obligations are called {', '.join(twice)}")
        return self

    def why_blocked(self, day: date) -> str | None:
        """Why nothing is broken on a day; None when it may be."""
        return next((one.why for one in self.blocked if one.first <= day <= one.last), None)


def load(path: Path = DRILLS / "programme.yml") -> Programme:
    """The programme. Raises ProgrammeError."""
    try:
        said: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Programme.model_validate(said)
    except FileNotFoundError as error:
        raise ProgrammeError(f"There is no programme {path}. Nothing was changed.") from error
    except (ValidationError, yaml.YAMLError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"])
        raise ProgrammeError(f"{path.name}: {where}: {first['msg']}. Nothing was changed.") from error
