"""`people.json`: who had a part in a run, and how the record knows it."""

from __future__ import annotations

from pgrescue.core import approvals
from pgrescue.evidence.models import Approver, People, Person
from pgrescue.models import Approval
from pgrescue.record import Record

_WAYS = {
    "confirm": "gave the service's name as a variable",
    "terminal": "typed the service's name at a terminal",
    "approval": "wrote an approval from a machine that reads the record's stores",
    "break_glass": "went on without a second person",
    "policy": "nobody was asked: the inventory lets this procedure go on",
}
_NAMED = "PGRESCUE_OPERATOR, or the name and host of whoever started the run"


def of(record: Record) -> People:
    """The people of a run. A second person is another name: alice@bastion and alice@laptop are one."""
    operator, observer = record.run.operator, (record.run.model_extra or {}).get("observer")
    counted, _wrong = approvals.read(str(record.directory))  # one that was changed counts for nothing at a gate either
    given = [Approval.model_validate(one) for one in counted]
    others = [
        one
        for one in given
        if one.verdict == "approved" and one.way in ("approval", "terminal", "confirm")
        and operator and approvals.person(one.by) != approvals.person(operator)
    ]  # fmt: skip
    return People(
        run=record.run.id,
        operator=Person(name=operator, known=_NAMED) if operator else None,
        approvers=[
            Approver(
                name=one.by, known=_WAYS[one.way], gate=one.gate, verdict=one.verdict, at=one.given, reason=one.reason
            )
            for one in given
        ],
        observer=Person(name=str(observer), known="run.json names them") if observer else None,
        second_person=bool(others) if operator else None,
    )
