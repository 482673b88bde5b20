"""Rules about what is promised: whether it adds up."""

from __future__ import annotations

from typing import Any, Iterator

from .findings import finding
from .observed import Service

MARGIN_SHARE = 0.05  # of the RTO, left over by the phases' budgets for what no phase holds


def objectives_stated(service: Service) -> "Iterator[dict[str, Any]]":
    """Without a number nothing can be judged."""
    for name, objective in (("rto_s", "rto"), ("rpo_s", "rpo")):
        if not service.objectives.get(name):
            yield finding(
                "objective-missing",
                "error",
                objective,
                "The service promises no %s." % name,
                "Set objectives.%s in the inventory." % name,
            )


def phase_budgets(service: Service) -> "Iterator[dict[str, Any]]":
    """The phases must fit into the recovery time objective, with room to spare."""
    total = sum(service.phases.values())
    if not service.rto_s or not service.phases:
        return
    room = service.rto_s * (1 - MARGIN_SHARE)
    if total > room:
        says = (
            "The phases' budgets add up to more than the recovery time objective."
            if total > service.rto_s
            else "The phases' budgets leave no margin within the recovery time objective."
        )
        longest = max(service.phases, key=lambda name: service.phases[name])
        left = max(service.phases[longest] - (total - room), 0)
        yield finding(
            "phase-budgets",
            "error",
            "rto",
            says,
            "Lower objectives.phases.%s to %d, or raise objectives.rto_s." % (longest, left),
            budgets_s=total,
            rto_s=service.rto_s,
            margin_s=service.rto_s - room,
        )


def endpoint_ttl(service: Service) -> "Iterator[dict[str, Any]]":
    """Clients keep an old address for as long as the name's time to live."""
    ttl = (service.promise.get("endpoint") or {}).get("ttl_s")
    budget = service.phases.get("resume")
    if ttl is None or not budget or ttl <= budget / 2:
        return
    yield finding(
        "endpoint-ttl",
        "error" if ttl > budget else "warning",
        "rto",
        "Clients may go on asking the lost server for longer than resuming may take."
        if ttl > budget
        else "Clients may go on asking the lost server for most of the time that resuming may take.",
        "Set endpoint_ttl to %d or less; it takes effect one old time to live later." % max(int(budget / 10), 1),
        ttl_s=ttl,
        resume_budget_s=budget,
    )


RULES = (objectives_stated, phase_budgets, endpoint_ttl)
