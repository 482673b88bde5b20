import json
from pathlib import Path

import jsonschema
import pytest
from pgrescue import models, schemas
from run_fixture import Synthetic

SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


@pytest.mark.parametrize("name", schemas.DOCUMENTS)
def test_committed_schema_is_the_model(name):
    committed = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    assert committed == schemas.schema(name), "run: python -m pgrescue.schemas docs/schema"


def test_every_document_of_a_run_fits_its_schema():
    run = Synthetic()
    documents = {
        "run": [run.run],
        "plan": [run.plan],
        "checks": [run.checks],
        "reconciliation": [run.reconciliation],
    }
    documents["timeline"] = [json.loads(line) for line in run.timeline.lines]
    for name, values in documents.items():
        for value in values:
            jsonschema.validate(value, schemas.schema(name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", Synthetic().run | {"resutl": "passed"}),
        ("run", Synthetic().run | {"result": None}),
        ("run", Synthetic().run | {"result": "success"}),
        ("measurement", {"rta_s": None}),
        ("measurement", {"rta_s": -1}),
        ("timeline", json.loads(Synthetic().timeline.lines[0]) | {"phase": "execute"}),
    ],
)
def test_schema_refuses(name, value):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schemas.schema(name))


def test_unmeasured_is_absent_not_null():
    dumped = models.Measurement(rta_s=27.4).dump()
    assert dumped == {"rta_s": 27.4, "phases": {}, "verdicts": {"phases": {}}}
    jsonschema.validate(dumped, schemas.schema("measurement"))


def test_keys_of_a_newer_writer_survive():
    run = models.Run.model_validate(Synthetic().run | {"ticket": "OPS-1"})
    assert run.dump()["ticket"] == "OPS-1"


def test_times_are_written_in_utc_with_microseconds():
    measured = models.Measurement.model_validate({"recovery_point": "2026-11-24T02:20:50.5+01:00"})
    assert measured.dump()["recovery_point"] == "2026-11-24T01:20:50.500000Z"


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="timezone"):
        models.Measurement.model_validate({"recovery_point": "2026-11-24T02:20:50"})
