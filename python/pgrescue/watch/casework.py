"""What follows from an incident: it is written down, people are told until somebody acknowledges, and it is closed.

Telling never waits for writing down: where the record cannot be written, people are paged all the same and told so.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pgrescue import incidents
from pgrescue.alerting import delivery, draft
from pgrescue.alerting import policy as alert_policy
from pgrescue.alerting.message import Kind, Message, Severity
from pgrescue.watch.told import Told

ACTOR = "pgrescue watch"
Say = Callable[[str], None]
Decide = Callable[[], Mapping[str, Any]]
SEVERITY: dict[str, Severity] = {"page": "critical", "ticket": "warning"}


class Casework:
    """The incident of one service, from the side of whoever watches."""

    def __init__(self, service: str, runs: Path, policy: alert_policy.Policy, decide: Decide, say: Say) -> None:
        self._service, self._runs, self._policy, self._decide, self._say = service, runs, policy, decide, say
        self.case: incidents.Case | None = incidents.open_case(runs, service)
        self._unkept: tuple[str, datetime] | None = (
            None  # key and beginning of an incident that could not be written down
        )
        self._out: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._sender = threading.Thread(target=self._send_all, name="alerts", daemon=True)
        self._sender.start()
        self._told = Told(self.case.folder if self.case else None, say)

    # --- what the watch tells

    def opened(self, situation: Mapping[str, Any], started: datetime | None) -> None:
        """Something has happened: page first, then find out what can be done."""
        try:
            self.case, new = incidents.begin(self._runs, self._service, ACTOR, situation, started)
            if not new:  # a person declared it first, or a watch before this one opened it
                incidents.again(self.case, ACTOR, situation)
        except OSError as error:
            at = incidents.now()
            self._unkept = (f"{at:%Y%m%dT%H%M%SZ}-{self._service}", at)
            self._say(f"the incident cannot be written down: {error}")
        self._told = Told(self.case.folder if self.case else None, self._say)
        self._told.begin_again()
        self._tell_level(0, "opened", situation)
        if situation["level"] == "page":
            threading.Thread(target=self._propose, name="triage", daemon=True).start()

    def changed(self, situation: Mapping[str, Any]) -> None:
        """It is about something else than it seemed, or worse."""
        if self.case is None:
            return
        before = self.case.incident
        worse = situation["level"] == "page" and before.level == "ticket"
        self.case.change(
            ACTOR,
            "note",
            None,
            f"it is about something else: {situation['says']}",
            state=situation["state"],
            says=situation["says"],
            facts=list(situation["facts"]),
            level=situation["level"],
        )
        if worse:
            self._told.begin_again()
            self._tell_level(0, "opened", situation)
        else:
            self._tell("update", situation["says"], self._lines(situation))
        threading.Thread(target=self._propose, name="triage", daemon=True).start()

    def again(self, situation: Mapping[str, Any]) -> None:
        """Clients are cut off once more while it is open: everybody is told anew."""
        if self.case is None:
            return
        incidents.again(self.case, ACTOR, situation)
        self._told.begin_again()
        self._tell_level(0, "opened", situation)

    def over(self) -> None:
        """Clients are served again. What the watch opened it closes; what a person declared a person closes."""
        if self.case is None:
            self._finish_unkept()
            return
        if self.case.incident.mitigated is None:
            incidents.mitigate(self.case, ACTOR)
        if self.case.incident.state == "declared":
            self._tell(
                "update",
                "Clients are served again.",
                ["It was declared by a person and is open until one resolves it."],
            )
            return
        incidents.resolve(self.case, ACTOR, "every place sees the service well again")
        self._close("Every place sees the service well again.")

    def tick(self, situation: Mapping[str, Any] | None, now: datetime | None = None) -> None:
        """Do what time brings: the next level, the next update, what a person did meanwhile."""
        now = now or incidents.now()
        if self.case is None:
            self.case = incidents.open_case(self._runs, self._service)
            if self.case is None:
                self._tick_unkept(situation, now)
                return
            found = self.case.incident
            self._told = Told(self.case.folder, self._say)
            if not self._told.levels:  # declared by a person on this machine
                self._tell_level(0, "opened", {"says": found.says, "facts": found.facts, "level": found.level})
                return
        found = self.case.incident
        if found.resolved:
            self._close(f"Resolved: {self.case.events()[-1].get('detail') or 'by a person'}")
            return
        if found.acknowledged and not self._told.acknowledged:
            self._told.acknowledged = True
            self._tell("acknowledged", f"{found.acknowledged_by} looks after it.", [])
        if found.level == "page":
            begun = max(filter(None, [found.detected, self._began_again()]))
            for level in alert_policy.due_levels(self._policy, begun, found.acknowledged, self._told.levels, now):
                self._tell_level(
                    level,
                    "escalation" if level else "opened",
                    {"says": found.says, "facts": found.facts, "level": "page"},
                )
        self._update_when_due(found, now)

    def stop(self) -> None:
        """Send what is still to be sent, and end."""
        self._out.put(None)
        self._sender.join()

    # --- telling

    def _lines(self, situation: Mapping[str, Any]) -> list[str]:
        return [f"{said['by']}: {said['says']}" for said in situation.get("facts", [])[:8]]

    def _commands(self) -> tuple[str, ...]:
        case = self.case
        if case is None:
            return (f"pgrescue triage -s {self._service}",)
        proposed = [way["command"] for way in case.incident.proposed[:2]]
        return (*proposed, f"pgrescue incident ack {case.folder.name}", f"pgrescue incident show {case.folder.name}")

    def _tell_level(self, level: int, kind: Kind, situation: Mapping[str, Any]) -> None:
        if level in self._told.levels:
            return
        self._told.levels = [*self._told.levels, level]
        if level < len(self._policy.levels):
            lines = self._lines(situation)
            if self._unkept:
                lines.insert(0, "The incident cannot be written down on the machine that watches.")
            message = self._message(kind, SEVERITY[str(situation["level"])], str(situation["says"]), lines)
            self._put(message, [level])
        self._told.keep()

    def _tell(self, kind: Kind, title: str, lines: list[str]) -> None:
        """Tell all who were told before."""
        severity: Severity = "info" if kind in ("resolved", "acknowledged") else "critical"
        message = self._message(kind, severity, title, lines)
        self._put(message, self._told.levels)

    def _put(self, message: Message, levels: list[int]) -> None:
        """Queue a message for those of these levels that there are; what it belongs to may be over when it is sent."""
        there, case, told = [level for level in levels if level < len(self._policy.levels)], self.case, self._told
        self._out.put(lambda: self._send(message, there, case, told))

    def _message(self, kind: Kind, severity: Severity, title: str, lines: list[str]) -> Message:
        key = self.case.folder.name if self.case else self._unkept[0] if self._unkept else self._service
        outages = self.case.incident.outages if self.case else 1
        if outages > 1:
            key = f"{key}/{outages}"  # a pager that was acknowledged must ring again
        return Message(key, kind, severity, self._service, title, tuple(lines), self._commands(), incidents.now())

    def _send(self, message: Message, levels: list[int], case: incidents.Case | None, told: Told) -> None:
        for level in levels:
            sent = delivery.deliver_level(message, level, self._policy, told.threads)
            took = ", ".join(sent.channels)
            said = (
                f"{message.kind} told to {took}" if took else f"{message.kind} could be told to nobody of level {level}"
            )
            self._say(f"{said}{'' if not sent.reasons else ' (' + '; '.join(sent.reasons) + ')'}")
            if case is not None:
                self._written(case, said, sent)
        told.keep()

    def _written(self, case: incidents.Case, said: str, sent: delivery.Delivery) -> None:
        reasons = f": {'; '.join(sent.reasons)}" if sent.reasons else ""
        try:
            case.change(ACTOR, "note", "alert", said + reasons)
        except OSError as error:
            self._say(f"that cannot be written down: {error}")

    def _send_all(self) -> None:
        while (job := self._out.get()) is not None:
            job()

    # --- what can be done

    def _propose(self) -> None:
        """Find out what can be done, and tell it to those who were told what happened."""
        case = self.case
        if case is None:
            return
        try:
            found = self._decide()
        except Exception as error:  # told: nobody waits for a proposal without hearing why there is none
            case.change(ACTOR, "note", None, f"nothing could be proposed: {error}")
            self._say(f"nothing could be proposed: {error}")
            return
        ways = list(found["proposed"])
        said = (
            "; ".join(f"[{n}] {way['do']}: {way['says']}" for n, way in enumerate(ways, 1)) or "nothing is to be done"
        )
        case.change(ACTOR, "note", "proposed", said, proposed=ways, not_offered=list(found["not_offered"]))
        self._say(f"proposed after {found['took_s']} s: {said}")
        lines = [f"[{n}] {way['says']}{_figures(way)}" for n, way in enumerate(ways, 1)]
        self._tell("update", "What can be done:", lines or ["nothing; look again"])

    # --- time

    def _began_again(self) -> datetime | None:
        assert self.case is not None
        seen = [event["wall"] for event in self.case.events() if event.get("step") == "detected"]
        return datetime.fromisoformat(seen[-1]) if seen else None

    def _update_when_due(self, found: incidents.Incident, now: datetime) -> None:
        before = self._told.updated or found.detected or now
        if found.level != "page" or not alert_policy.update_due(self._policy, before, now):
            return
        self._told.updated = now
        self._put(self.status_update(now), self._told.levels)

    def status_update(self, now: datetime) -> Message:
        """The update that is due, drafted from what the incident knows."""
        assert self.case is not None
        found = self.case.incident
        doing = [f"run {name}" for name in found.runs] + ([found.decision] if found.decision else [])
        best = found.proposed[0] if found.proposed else {}
        lost = f"at most {best['loses_s']:.0f} s of commits, by the first proposal" if "loses_s" in best else None
        upcoming = now + timedelta(seconds=self._policy.update_every_s)
        message = draft.status_update(
            draft.Situation(
                found.id,
                self._service,
                SEVERITY[found.level],
                found.says,
                found.started or found.detected or now,
                tuple(doing),
                upcoming,
                now,
                lost,
                self._commands(),
            )
        )
        return message if found.outages == 1 else Message(**{**vars(message), "key": f"{found.id}/{found.outages}"})

    # --- an incident that could not be written down, or is over

    def _tick_unkept(self, situation: Mapping[str, Any] | None, now: datetime) -> None:
        if self._unkept is None or situation is None or situation["level"] != "page":
            return
        for level in alert_policy.due_levels(self._policy, self._unkept[1], None, self._told.levels, now):
            self._tell_level(level, "escalation" if level else "opened", situation)

    def _finish_unkept(self) -> None:
        if self._unkept:
            self._tell("resolved", "Every place sees the service well again.", [])
            self._unkept = None

    def _close(self, said: str) -> None:
        self._tell("resolved", said, [])
        self.case, self._told = None, Told(None, self._say)


def _figures(way: Mapping[str, Any]) -> str:
    took = (
        f", about {way['takes_s']:.0f} s (at worst {way.get('takes_p95_s', way['takes_s']):.0f} s)"
        if "takes_s" in way
        else ""
    )
    return took + (f", loses at most {way['loses_s']:.1f} s" if "loses_s" in way else "")
