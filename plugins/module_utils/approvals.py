"""Approvals: records beside a plan that say who wants it. Each counts for one gate of one plan, and for a while."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Optional, Sequence

from . import journal, records, times
from .guards import PRECONDITION, Stop

PREFIX = "approval-"
SKEW_S = 60  # what two people's clocks may differ
APPROVED, DENIED, BROKE_GLASS = "approved", "denied", "broke_glass"
ENDED = ("passed", "void", "aborted")  # results of a run that nobody goes on with
RECOVERED = (0, 7)  # exit codes of a run that has passed all its gates

ARGUMENTS: "dict[str, Any]" = {  # of a module that looks at a gate
    "run_dir": {"type": "path", "required": True},
    "gate": {"type": "str", "default": "plan"},
    "operator": {"type": "str", "required": True},
    "policy": {
        "type": "dict",
        "required": True,
        "options": {
            "second_person": {"type": "bool", "required": True},
            "expires_s": {"type": "float", "required": True},
            "plan_expires_s": {"type": "float", "required": True},
            "unattended": {"type": "bool", "default": False},
        },
    },
}


@dataclass(frozen=True)
class Gate:
    """A point that a run passes only when people want it to, by the policy of its service."""

    name: str
    run: str
    procedure: str
    service: str
    plan_digest: str
    planned_s: float  # when the plan was made, in epoch seconds
    operator: str
    second_person: bool
    expires_s: float
    plan_expires_s: float
    unattended: bool = False  # the inventory lets this procedure go on without asking the operator
    begun: bool = False  # something was changed already, so that an old plan is the one to go on with

    @property
    def approve(self) -> str:
        """The command with which somebody approves."""
        named = "" if self.name == "plan" else " " + self.name
        return 'pgrescue approve %s%s --reason "..."' % (self.run, named)


def at(run_dir: str, name: str, operator: str, policy: Mapping[str, Any]) -> Gate:
    """The gate of this name, before the plan that the run's directory holds."""
    path = os.path.join(run_dir, "plan.json")
    run = os.path.basename(run_dir)
    if not os.path.exists(path):
        raise Stop("Run %s has no plan yet, so there is nothing to approve. Nothing was changed." % run)
    plan = records.read_json(path)
    if not plan.get("made"):
        raise Stop("The plan of run %s does not say when it was made. Nothing was changed. Plan again." % run)
    if min(policy["expires_s"], policy["plan_expires_s"]) <= 0:
        raise Stop(
            "service_gates: an approval and a plan must count for some seconds. Nothing was changed.", PRECONDITION
        )
    return Gate(
        name=name,
        run=run,
        procedure=plan["procedure"],
        service=plan["service"],
        plan_digest=records.digest(plan),
        planned_s=times.epoch_s(plan["made"]),
        operator=operator,
        second_person=bool(policy["second_person"]),
        expires_s=float(policy["expires_s"]),
        plan_expires_s=float(policy["plan_expires_s"]),
        unattended=bool(policy.get("unattended")),
        begun=journal.has_begun(os.path.join(run_dir, "timeline.jsonl")),
    )


def person(identity: str) -> str:
    """Who somebody is, wherever they sit: alice@bastion and alice@laptop are one."""
    return identity.partition("@")[0].strip().lower()


def record(gate: Gate, by: str, way: str, reason: str, verdict: str = APPROVED) -> "dict[str, Any]":
    """An approval that is given now."""
    given = journal.now()
    return {
        "schema_version": 1,
        "run": gate.run,
        "gate": gate.name,
        "plan_digest": gate.plan_digest,
        "verdict": verdict,
        "by": by,
        "way": way,
        "reason": reason,
        "given": given,
        "expires": journal.stamp(times.epoch_s(given) + gate.expires_s),
    }


def file_name(approval: Mapping[str, Any]) -> str:
    """What the file of an approval is called: by its content, so that copies from elsewhere never replace one another."""
    return "%s%s.json" % (PREFIX, records.digest(approval)[:16])


def write(run_dir: str, approval: Mapping[str, Any]) -> str:
    """Put an approval into a run's directory; its path."""
    path = os.path.join(run_dir, file_name(approval))
    records.write_json(path, approval)
    return path


def read(run_dir: str) -> "tuple[list[dict[str, Any]], list[str]]":
    """The approvals in a run's directory, the oldest first, and why some files count for nothing."""
    found, wrong = [], []
    for name in sorted(n for n in os.listdir(run_dir) if n.startswith(PREFIX) and n.endswith(".json")):
        try:
            approval = records.read_json(os.path.join(run_dir, name))
            times.epoch_s(approval["given"]), times.epoch_s(approval["expires"])
            said = [approval[key] for key in ("gate", "plan_digest", "verdict", "by", "way")]
        except (ValueError, KeyError, TypeError, AttributeError):
            wrong.append("%s cannot be read and counts for nothing" % name)
            continue
        if file_name(approval) != name or not all(isinstance(word, str) for word in said):
            wrong.append("%s was changed after it was given and counts for nothing" % name)
            continue
        found.append(approval)
    return sorted(found, key=lambda approval: times.epoch_s(approval["given"])), wrong


def check_typed(gate: Gate, confirm: Optional[str]) -> None:
    """Refuse another name than the service's: whoever typed it meant something else."""
    if confirm and confirm != gate.service:
        raise refusal(gate, ["operator"], [], confirm)


def offered(gate: Gate, confirm: Optional[str]) -> "list[dict[str, Any]]":
    """What the operator says with the service's name; where the inventory lets the procedure go on alone, it speaks for him."""
    if confirm == gate.service:
        return [record(gate, gate.operator, "confirm", "typed the service's name")]
    if gate.unattended:
        return [record(gate, gate.operator, "policy", "service_unattended has %s" % gate.procedure)]
    return []


def broken_glass(gate: Gate, reason: Optional[str]) -> "list[dict[str, Any]]":
    """What the operator says where there is no second person, with the reason why."""
    said = (reason or "").strip()
    return [record(gate, gate.operator, "break_glass", said, BROKE_GLASS)] if said else []


def why_void(gate: Gate, approval: Mapping[str, Any], now_s: float) -> str:
    """Why an approval does not count at this gate now; empty when it does."""
    by, given_s = approval["by"], times.epoch_s(approval["given"])
    if approval["gate"] != gate.name:
        return "that of %s is for gate %s" % (by, approval["gate"])
    if approval["plan_digest"] != gate.plan_digest:
        return "that of %s is for another plan" % by
    if not person(by):
        return "%s names nobody" % file_name(approval)
    if given_s > now_s + SKEW_S:
        return "that of %s is from the future: look at the clocks" % by
    # an approval cannot say itself that it lasts longer than the policy lets it
    until = min(times.epoch_s(approval["expires"]), given_s + gate.expires_s)
    return "that of %s expired at %s" % (by, journal.stamp(until)) if now_s > until else ""


def counting(
    gate: Gate, found: Iterable[Mapping[str, Any]], now_s: float
) -> "tuple[list[Mapping[str, Any]], list[str]]":
    """The approvals that count at the gate now, and why the others do not."""
    good, void = [], []
    for approval in found:
        reason = why_void(gate, approval, now_s)
        if reason:
            void.append(reason)
        else:
            good.append(approval)
    return good, void


def bound(gate: Gate, found: Iterable[Mapping[str, Any]]) -> "list[Mapping[str, Any]]":
    """What was said of this gate and this plan, whenever that was: a no stays one."""
    return [a for a in found if (a["gate"], a["plan_digest"]) == (gate.name, gate.plan_digest)]


def check_fresh(gate: Gate, now_s: float) -> None:
    """Refuse a plan that was made long ago, as long as nothing was begun: the world it was made from may be gone."""
    age = now_s - gate.planned_s
    if age > gate.plan_expires_s and not gate.begun:
        raise Stop(
            "The plan of run %s was made %d s ago and counts for %d s: what it was made from may have changed. Nothing was changed. "
            "Plan again: pgrescue recover %s -s %s" % (gate.run, age, gate.plan_expires_s, gate.procedure, gate.service)
        )


def check_not_denied(gate: Gate, good: Iterable[Mapping[str, Any]]) -> None:
    """Refuse what somebody said no to."""
    for approval in good:
        if approval["verdict"] == DENIED:
            raise Stop(
                "Gate %s: %s said no: %s. Nothing was changed here. Plan again: pgrescue recover %s -s %s"
                % (gate.name, approval["by"], approval.get("reason") or "no reason", gate.procedure, gate.service)
            )


def lacking(gate: Gate, good: Iterable[Mapping[str, Any]]) -> "list[str]":
    """Who has not approved yet, in the words `operator` and `second_person`; nobody when the gate is open."""
    yes = [approval for approval in good if approval["verdict"] != DENIED]
    own = [a for a in yes if person(a["by"]) == person(gate.operator) and a["verdict"] == APPROVED]
    others = [a for a in yes if person(a["by"]) != person(gate.operator) and vouched(a)]
    waived = any(a["verdict"] == BROKE_GLASS for a in yes if person(a["by"]) == person(gate.operator))
    missing = [] if own or (others and not gate.second_person) else ["operator"]
    if gate.second_person and not others and not waived:
        missing.append("second_person")
    return missing


def vouched(approval: Mapping[str, Any]) -> bool:
    """Whether somebody gave a reason of their own: the name that one types to begin is none."""
    return approval["way"] == "approval" and bool(str(approval.get("reason") or "").strip())


def refusal(gate: Gate, missing: "list[str]", notes: Iterable[str], confirm: Optional[str]) -> Stop:
    """The sentence for a gate that stays shut, with the next command."""
    why = "; ".join(notes)
    why = " (%s)" % why if why else ""
    if "operator" in missing:
        typed = "%r was typed" % confirm if confirm else "nobody confirmed it"
        return Stop(
            "Gate %s: this run changes %s and needs its name typed: -e confirm=%s; %s%s. Nothing was changed here."
            % (gate.name, gate.service, gate.service, typed, why)
        )
    return Stop(
        "Gate %s: the policy of %s wants a second person with a reason besides %s%s. Nothing was changed here. Somebody else: %s  "
        'Then: pgrescue resume %s  Nobody there: -e break_glass="why"'
        % (gate.name, gate.service, gate.operator, why, gate.approve, gate.run)
    )


def has_passed(run_dir: str, gate: Gate) -> bool:
    """Whether the run passed this gate with this very plan and has gone on since, as its timeline says."""
    passed = False
    for event in journal.events(os.path.join(run_dir, "timeline.jsonl")):
        if event["event"] == "approval" and event["step"] == gate.name and event["status"] == "passed":
            passed = event.get("detail") == passed_as(gate)
        elif (
            passed
            and event["event"] == "start"
            and event["phase"] not in (None, *journal.LOOKING)
            and not event["step"]
        ):
            return True
    return False


def passed_as(gate: Gate) -> str:
    """What the timeline says of a gate that was passed."""
    return "plan " + gate.plan_digest


def told(gate: Gate, good: Iterable[Mapping[str, Any]]) -> "list[dict[str, Any]]":
    """What the timeline shall say when a gate was passed."""
    events = [
        {
            "event": "decision" if a["verdict"] == BROKE_GLASS else "approval",
            "step": gate.name,
            "status": a["verdict"],
            "detail": "%s, by %s: %s" % (a["by"], a["way"], a["reason"] or "no reason given"),
        }
        for a in good
    ]
    return [*events, {"event": "approval", "step": gate.name, "status": "passed", "detail": passed_as(gate)}]


def asked(gate: Gate, missing: "list[str]", wait_s: float, shows: "Sequence[str]" = ()) -> "list[dict[str, Any]]":
    """What the timeline shall say while people are waited for: a sentence, and the same for programs."""
    who = " and ".join(word.replace("_", " ") for word in missing)
    facts = {"gate": gate.name, "lacking": missing, "expires_s": gate.expires_s, "wait_s": wait_s, "shows": list(shows)}
    said = "waits up to %d s for the %s: %s" % (wait_s, who, gate.approve)
    return [
        {"event": "note", "step": "gate", "detail": json.dumps(facts)},
        {"event": "decision", "step": gate.name, "status": "waiting", "detail": said},
    ]
