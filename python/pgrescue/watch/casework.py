"""What follows from an incident: people are told until somebody acknowledges, it is written down, and it is closed.

Telling never waits for writing down: where the record cannot be written, people are paged all the same and told so.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pgrescue import incidents
from pgrescue.alerting import draft
from pgrescue.alerting import policy as alert_policy
from pgrescue.alerting.delivery import Delivery
from pgrescue.alerting.message import Kind, Message, Severity
from pgrescue.watch.outbox import TICKETS, Letter, Outbox
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
        self._outbox = Outbox(policy, say)
        self._told = Told(self.case.folder if self.case else None, say)
        self._deciding = threading.Lock()
        # what can be done is told before the end, or not at all: a pager would ring again
        self._ending = threading.RLock()

    def open_level(self) -> str | None:
        """The level of an incident that a watch before this one opened; None when none did."""
        found = self.case.incident if self.case else None
        return found.level if found and found.declared_by is None and found.mitigated is None else None

    # --- what the watch tells

    def opened(self, situation: Mapping[str, Any], started: datetime | None) -> None:
        """Something has happened: page first, then find out what can be done."""
        try:
            self.case, new = incidents.begin(self._runs, self._service, ACTOR, situation, started)
            if not new:  # a person declared it first, or a watch before this one opened it
                incidents.again(self.case, ACTOR, situation)
        except Exception as error:  # said and told: nobody goes without a page because a disk is full
            at = incidents.now()
            self.case, self._unkept = None, (f"{at:%Y%m%dT%H%M%SZ}-{self._service}", at)
            self._say(f"the incident cannot be written down: {error}")
        self._told = Told(self.case.folder if self.case else None, self._say)
        self._told.begin_again()
        self._page(situation)
        if situation["level"] == "page":
            self._propose()

    def changed(self, situation: Mapping[str, Any]) -> None:
        """It is about something else than it seemed, or worse."""
        if self.case is None:  # a person closed it, and it goes on; or it could never be written down
            self.opened(situation, None)
            return
        before = self.case.incident.level
        if situation["level"] == "page" and before == "ticket":
            self._written(lambda case: incidents.again(case, ACTOR, situation))
            self._told.begin_again()
            self._page(situation)
            self._propose()
            return
        said = f"it is about something else: {situation['says']}"
        news = {key: situation[key] for key in ("state", "says", "level")} | {"facts": list(situation["facts"])}
        self._tell("update", str(situation["says"]), _lines(situation))
        self._written(lambda case: case.change(ACTOR, "note", None, said, **news))
        if situation["level"] == "ticket":  # clients are served again; what is left wakes nobody
            self._mitigated()
        else:
            self._propose()

    def over(self) -> None:
        """Clients are served again. What the watch opened it closes; what a person declared a person closes."""
        if self.case is None:
            if self._unkept:
                with self._ending:
                    self._tell("resolved", "Every place sees the service well again.", [])
                    self._unkept = None
            return
        found = self.case.incident
        self._mitigated()
        if found.declared_by:
            said = f"It was declared by {found.declared_by} and is open until a person resolves it."
            self._tell("update", "Clients are served again.", [said])
            return
        if found.resolved is None:
            self._written(lambda case: incidents.resolve(case, ACTOR, "every place sees the service well again"))
        self._close("Every place sees the service well again.")

    def tick(self, situation: Mapping[str, Any] | None, now: datetime | None = None) -> None:
        """Do what time brings: the next level, the next update, what a person did meanwhile."""
        now = now or incidents.now()
        if self.case is None:
            if self._unkept:
                self._escalate(self._unkept[1], None, situation or {}, now)
                return
            self.case = incidents.open_case(self._runs, self._service)  # declared by a person on this machine
            if self.case is None:
                return
            self._told = Told(self.case.folder, self._say)
        found = self.case.incident
        if found.resolved:
            self._close(f"Resolved: {self.case.events()[-1].get('detail') or 'by a person'}")
            return
        if found.acknowledged and not self._told.acknowledged and self._told.levels():
            self._told.acknowledged = True
            self._tell("acknowledged", f"{found.acknowledged_by} looks after it.", [])
        if found.level == "page":
            # who declares an incident has acknowledged it, and still calls those who are called at once
            known = None if found.declared_by and not self._told.levels() else found.acknowledged
            self._escalate(found.began or found.detected or now, known, {"says": found.says, "facts": found.facts}, now)
            self._update_when_due(found, now)

    def stop(self) -> None:
        """Send what is still to be sent, and end."""
        self._outbox.close()

    # --- telling

    def _page(self, situation: Mapping[str, Any]) -> None:
        """Tell those who are told at once; of what wakes nobody, those who want to hear of it."""
        if situation["level"] == "ticket":
            self._send_to(TICKETS, "opened", "warning", situation)
            return
        for number, level in enumerate(self._policy.levels):
            if level.after_s == 0:
                self._send_to(number, "opened", "critical", situation)

    def _escalate(self, since: datetime, known: datetime | None, situation: Mapping[str, Any], now: datetime) -> None:
        for level in alert_policy.due_levels(self._policy, since, known, self._told.settled(), now):
            first = self._policy.levels[level].after_s == 0
            self._send_to(level, "opened" if first else "escalation", "critical", situation)

    def _send_to(self, level: int, kind: Kind, severity: Severity, situation: Mapping[str, Any]) -> None:
        if level not in self._outbox.levels():
            return
        lines = _lines(situation)
        if self._unkept:
            lines.insert(0, "The incident cannot be written down on the machine that watches.")
        told, case = self._told, self.case
        told.sending(level)
        message = self._message(kind, severity, str(situation.get("says", "An incident is open.")), lines)

        def after(sent: Delivery) -> None:
            told.sent(level, sent.delivered)
            self._heard(message, level, sent, case)

        self._outbox.put(Letter(message, level, told.threads, after))

    def _tell(self, kind: Kind, title: str, lines: list[str]) -> None:
        """Tell all who were told before, or are being told."""
        severity: Severity = "info" if kind in ("resolved", "acknowledged") else self._severity()
        self._broadcast(self._message(kind, severity, title, lines))

    def _broadcast(self, message: Message) -> None:
        told, case = self._told, self.case

        def hear(level: int) -> Callable[[Delivery], None]:
            return lambda sent: self._heard(message, level, sent, case)

        for level in dict.fromkeys(told.settled()):
            if level in self._outbox.levels():
                self._outbox.put(Letter(message, level, told.threads, hear(level)))

    def _heard(self, message: Message, level: int, sent: Delivery, case: incidents.Case | None) -> None:
        """Say and write down what became of a message."""
        took = ", ".join(sent.channels)
        said = f"{message.kind} told to {took}" if took else f"{message.kind} could be told to nobody of level {level}"
        said += f" ({'; '.join(sent.reasons)})" if sent.reasons else ""
        self._say(said)
        if case is not None:
            self._written(lambda it: it.change(ACTOR, "note", "alert", said), case)

    def _message(self, kind: Kind, severity: Severity, title: str, lines: list[str]) -> Message:
        found = self.case.incident if self.case else None
        key = found.id if found else self._unkept[0] if self._unkept else self._service
        if found and found.outages > 1:
            key = f"{key}/{found.outages}"  # a pager that was acknowledged must ring again
        return Message(key, kind, severity, self._service, title, tuple(lines), self._commands(), incidents.now())

    def _severity(self) -> Severity:
        return SEVERITY[self.case.incident.level] if self.case else "critical"

    def _commands(self) -> tuple[str, ...]:
        if self.case is None:
            return (f"pgrescue triage -s {self._service}",)
        name, proposed = self.case.folder.name, [way["command"] for way in self.case.incident.proposed[:2]]
        return (*proposed, f"pgrescue incident ack {name}", f"pgrescue incident show {name}")

    # --- what can be done

    def _propose(self) -> None:
        """Find out what can be done, beside everything else, and tell it to those who were told what happened."""
        threading.Thread(target=self._proposed, args=(self.case,), name="triage", daemon=True).start()

    def _proposed(self, case: incidents.Case | None) -> None:
        with self._deciding:  # one at a time: several at once would each take longer
            try:
                found = self._decide()
            except Exception as error:  # told: nobody waits for a proposal without hearing why there is none
                said = f"What can be done could not be found out: {error}"
                self._say(said)
                self._found_out(case, said[:500], [])
                if case is not None:
                    self._written(lambda it: it.change(ACTOR, "note", None, said), case)
                return
        ways = list(found["proposed"])
        said = (
            "; ".join(f"[{n}] {way['do']}: {way['says']}" for n, way in enumerate(ways, 1)) or "nothing is to be done"
        )
        self._say(f"proposed after {found['took_s']} s: {said}")
        others = list(found["not_offered"])
        if case is not None:
            self._written(
                lambda it: it.change(ACTOR, "note", "proposed", said, proposed=ways, not_offered=others), case
            )
        lines = [f"[{n}] {way['says']}{_figures(way)}" for n, way in enumerate(ways, 1)]
        self._found_out(case, "What can be done:", lines or ["nothing; look again"])

    def _found_out(self, case: incidents.Case | None, title: str, lines: list[str]) -> None:
        """Tell what a search that took its time came to, unless it is over by now what was searched for."""
        with self._ending:
            if case is self.case and (case is not None or self._unkept):
                self._tell("update", title, lines)

    # --- time, and the end

    def _update_when_due(self, found: incidents.Incident, now: datetime) -> None:
        before = self._told.updated or found.began or found.detected or now
        if alert_policy.update_due(self._policy, before, now):
            self._told.updated = now
            self._told.keep()
            self._broadcast(self.status_update(found, now))

    def status_update(self, found: incidents.Incident, now: datetime) -> Message:
        """The update that is due, drafted from what the incident knows."""
        doing = [f"run {name}" for name in found.runs] + ([found.decision] if found.decision else [])
        best = found.proposed[0] if found.proposed else {}
        lost = f"at most {best['loses_s']:.0f} s of commits, by the first proposal" if "loses_s" in best else None
        known = draft.Situation(
            key=found.id,
            service=self._service,
            severity=SEVERITY[found.level],
            seen=found.says,
            since=found.started or found.detected or now,
            doing=tuple(doing),
            next_update=now + timedelta(seconds=self._policy.update_every_s),
            now=now,
            lost=lost,
            commands=self._commands(),
        )
        message = draft.status_update(known)
        return message if found.outages == 1 else dataclasses.replace(message, key=f"{found.id}/{found.outages}")

    def _mitigated(self) -> None:
        if self.case is not None and self.case.incident.mitigated is None:
            self._written(lambda case: incidents.mitigate(case, ACTOR))

    def _close(self, said: str) -> None:
        """Tell the end of every outage of it: each had a key of its own."""
        with self._ending:
            outages = self.case.incident.outages if self.case else 1
            last = self._message("resolved", "info", said, [])
            for number in range(1, outages + 1):
                key = last.key.partition("/")[0] + (f"/{number}" if number > 1 else "")
                self._broadcast(dataclasses.replace(last, key=key))
            self.case, self._told = None, Told(None, self._say)

    def _written(self, what: Callable[[incidents.Case], Any], case: incidents.Case | None = None) -> None:
        """Write something down, as far as that can be done."""
        into = case or self.case
        if into is None:
            return
        try:
            what(into)
        except Exception as error:  # said; what is told does not depend on it
            self._say(f"that cannot be written down: {type(error).__name__}: {error}")


def _lines(situation: Mapping[str, Any]) -> list[str]:
    """The facts of a situation, each said once."""
    by: dict[str, list[str]] = {}
    for said in situation.get("facts", []):
        by.setdefault(said["says"], []).append(said["by"])
    return [f"{', '.join(who)}: {says}" for says, who in list(by.items())[:8]]


def _figures(way: Mapping[str, Any]) -> str:
    took = ""
    if "takes_s" in way:
        took = f", about {way['takes_s']:.0f} s (at worst {way.get('takes_p95_s', way['takes_s']):.0f} s)"
    return took + (f", loses at most {way['loses_s']:.1f} s" if "loses_s" in way else "")
