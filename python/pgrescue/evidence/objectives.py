"""`objectives.json`: each promise against what was measured."""

from __future__ import annotations

from pgrescue.evidence.models import Objective, ObjectiveList
from pgrescue.models import Verdict
from pgrescue.record import Record


def of(record: Record) -> ObjectiveList:
    """The objectives that the run was begun with; what has none is left out."""
    promised, measured = record.run.objectives, record.measurement
    verdicts = measured.verdicts
    rows: list[tuple[str, float | None, float | None, Verdict | None]] = [
        ("rto", promised.rto_s, measured.rta_s, verdicts.rto),
        ("rpo", promised.rpo_s, measured.rpa_s, verdicts.rpo),
        *(
            (name, budget, measured.phases.get(name), verdicts.phases.get(name))
            for name, budget in promised.phases.items()
        ),
    ]
    return ObjectiveList(
        run=record.run.id,
        objectives=[
            Objective(
                name=name,
                promised_s=wanted,
                measured_s=took,
                margin_s=None if took is None else round(wanted - took, 6),
                verdict=verdict,
            )
            for name, wanted, took, verdict in rows
            if wanted is not None
        ],
    )
