"""Export the JSON Schemas of a record: `python -m pgrescue.schemas docs/schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from pgrescue import findings, incidents, models, schedule
from pgrescue.drill import checklist, samples
from pgrescue.drill.record import Drill
from pgrescue.evidence import models as evidence
from pgrescue.ledger import attempts, figures

DOCUMENTS: dict[str, Any] = {
    "run": models.Run,
    "timeline": models.Event,
    "checks": list[models.Check],
    "measurement": models.Measurement,
    "plan": models.Plan,
    "reconciliation": models.Reconciliation,
    "approval": models.Approval,
    "window": models.Window,
    "pause": models.Pause,
    "skips": list[models.Skip],
    "incident": incidents.Incident,
    "scope": evidence.Scope,
    "people": evidence.People,
    "objectives": evidence.ObjectiveList,
    "signoff": evidence.SignOff,
    "blocks": evidence.Blocks,
    "seal": evidence.Statement,
    "verification": evidence.Verification,
    "drill": Drill,
    "checklist": list[checklist.Item],
    "samples": samples.Samples,
    "findings": list[findings.Finding],
    "finding_event": findings.Event,
    "attempt": attempts.Attempt,
    "month": figures.Month,
    "schedules": schedule.Schedules,
}


class _Published(GenerateJsonSchema):
    """Says nothing of a default that is null: such a key is absent, not null."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        published = super().default_schema(schema)
        if published.get("default", ...) is None:
            del published["default"]
        return published


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one document; `timeline` describes one line."""
    body = TypeAdapter(DOCUMENTS[name]).json_schema(schema_generator=_Published)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **body}


def export(directory: Path) -> list[Path]:
    """Write every schema as `<name>.schema.json` into the directory and return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name in DOCUMENTS:
        path = directory / f"{name}.schema.json"
        path.write_text(json.dumps(schema(name), indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for exported in export(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema")):
        print(exported)
