"""Rules about dumps, as the catalogue of the stores lists them."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from .dumps import HOLD
from .findings import finding
from .observed import Service
from .times import epoch_s
from .trend import quantile

PROVEN = ("restored", "validated")
DAY_S = 86400


def loss(service: Service) -> "Iterator[dict[str, Any]]":
    """A dump is of the instant it began at, and no WAL can be replayed on it."""
    if "physical" in service.engines:
        return
    taken = [dump["duration_s"] for dump in service.dumps]
    interval, reaction = service.promise.get("dump_interval_s") or 0, service.promise.get("reaction_s") or 0
    duration = quantile(taken, 0.95) if taken else 0.0
    worst = interval + duration + reaction
    if service.rpo_s is not None and worst > service.rpo_s:
        yield finding(
            "dump-without-wal",
            "error",
            "rpo",
            "Dumps alone lose more than is promised: a failure just before the next one ends loses all since the last one began.",
            "Back up physically with WAL archived (playbooks/protect.yml), or dump more often: no WAL replays on a dump.",
            dump_interval_s=interval,
            dump_p95_s=duration if taken else None,
            reaction_s=reaction,
            worst_loss_s=worst,
            worst_loss_after_one_failed_dump_s=worst + interval,
            rpo_s=service.rpo_s,
        )


def fresh(service: Service) -> "Iterator[dict[str, Any]]":
    """There is a dump that can be restored, no older than its schedule allows, and in more than one store."""
    if not service.dumps:
        yield finding(
            "no-dump",
            "error",
            "protection",
            "There is no dump that can be restored.",
            "pgrescue backup -s %s --engine dump" % service.name,
        )
        return
    newest = service.dumps[0]
    age, interval = service.now_s - epoch_s(newest["finished"]), service.promise.get("dump_interval_s")
    allowed = (interval or 0) + newest["duration_s"] + (service.promise.get("reaction_s") or 0)
    if interval and age > allowed:
        yield finding(
            "dump-late",
            "error",
            "protection",
            "The newest dump is older than the schedule allows.",
            "See what your schedule of playbooks/dump.yml said, then: pgrescue backup -s %s --engine dump"
            % service.name,
            age_s=age,
            allowed_s=allowed,
        )
    if len(newest["stores"]) < 2:
        yield finding(
            "dump-one-store",
            "error",
            "protection",
            "The newest dump is in one store alone.",
            "Name a second store in another region, with credentials of its own, in dump_stores.",
            where=", ".join(newest["stores"]),
        )
    for said in newest.get("anomalies") or []:
        yield finding(
            "dump-unusual",
            "warning",
            "protection",
            "The newest dump is unlike those before it: %s." % said,
            "Find out why before older ones expire; encrypted or deleted data looks like this.",
            where=newest["id"],
        )


def proven(service: Service) -> "Iterator[dict[str, Any]]":
    """A dump that was never restored is a hope."""
    prove = "pgrescue prove -s %s --engine dump" % service.name
    states = [dump["proof"] for dump in service.dumps]
    for dump in service.dumps:
        if dump["proof"]["state"] == "failed":
            yield finding(
                "dump-disproven",
                "error",
                "protection",
                "Dump %s was restored and did not pass; do not count on it." % dump["id"],
                "Read the report of that proof, then take another dump.",
                where=dump["id"],
            )
        for store in dump["proof"].get("failed_in") or []:
            yield finding(
                "dump-disproven",
                "error",
                "protection",
                "The copy of dump %s in %s was restored and did not pass, unlike that in %s."
                % (dump["id"], store, dump["proof"].get("store")),
                "Read the report of that proof, then take another dump.",
                where=store,
            )
        if dump["proof"].get("problem"):
            yield finding(
                "dump-note-unreadable",
                "warning",
                "protection",
                "A note of a proof counts for nothing: %s." % dump["proof"]["problem"],
                "Find out who wrote it, then prove the dump again.",
                where=dump["id"],
            )
    good = [proof for proof in states if proof["state"] in PROVEN]
    if states and not good:
        yield finding(
            "dump-unproven",
            "warning",
            "protection",
            "No dump was ever proven by a restore.",
            prove,
            dumps=len(states),
        )
    elif good and all(proof["stale"] for proof in good):
        yield finding(
            "dump-proof-stale",
            "warning",
            "protection",
            "Every proof of a dump is old, or of another major version than is in use.",
            prove,
            proven=len(good),
        )


def stores(service: Service) -> "Iterator[dict[str, Any]]":
    """Each store answers, and what it holds can be used."""
    for store, said in (service.catalog.get("unreachable") or {}).items():
        yield finding(
            "dump-store-silent",
            "error",
            "protection",
            "The store cannot be asked: %s" % said,
            "Start it, or put its address and credentials right in dump_stores.",
            where=store,
        )
    for copy in service.catalog.get("refused") or []:
        yield finding(
            "dump-refused",
            "error",
            "protection",
            "Dump %s there cannot be used: %s." % (copy["id"], copy["reason"]),
            "Find out who changed it before anything else is trusted; take another dump.",
            where=copy["store"],
        )


def holds(service: Service) -> "Iterator[dict[str, Any]]":
    """What is held does not expire; somebody must let it go again."""
    copies = [*service.dumps, *(service.catalog.get("refused") or []), *(service.catalog.get("unfinished") or [])]
    # a copy that cannot be used tells the holds of its dump again
    held = {(dump["id"], _named(hold)): hold for dump in copies for hold in dump.get("holds") or []}
    for store, hold in sorted((service.catalog.get("held") or {}).items()):
        age = _age(service, hold)
        if age is None or age > DAY_S:
            yield finding(
                "hold-forgotten",
                "warning",
                "protection",
                "No dump expires: all are held by hand %s (%s)." % (_since(age), hold.get("reason", "no reason given")),
                "Remove dumps/%s/%s there when the incident is over." % (service.name, HOLD),
                where=store,
                age_s=age,
            )
    for (dump, _name), hold in held.items():
        age, run = _age(service, hold), hold.get("run")
        if (age is None and not run) or (age is not None and age <= DAY_S):
            continue  # what a person holds without a date is held for good
        yield finding(
            "hold-forgotten",
            "warning",
            "protection",
            "Dump %s is held by %s %s." % (dump, "run " + run if run else "hand", _since(age)),
            "When that run is over: playbooks/expire_dumps.yml -e service=%s -e let_go=%s" % (service.name, run)
            if run
            else "Remove %s from its folder when the incident is over." % HOLD,
            where=dump,
            age_s=age,
        )


def _age(service: Service, hold: Mapping[str, Any]) -> Optional[float]:
    return service.now_s - epoch_s(hold["at"]) if hold.get("at") else None


def _named(hold: Mapping[str, Any]) -> str:
    return str(hold.get("run", hold.get("reason", "")))


def _since(age: Optional[float]) -> str:
    return "for more than a day" if age else "since nobody knows when"


RULES = (loss, fresh, proven, stores, holds)
