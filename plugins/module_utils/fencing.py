"""Whether an old primary is proven not to accept writes. Pure.

A proof has a means, the way in which it was come by. Two proofs of one means are one: what deceives the one deceives the other.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Iterable, Mapping, Optional, Sequence

from .guards import Stop

SERVICE, POWER, NETWORK, REPLICATION = "service", "power", "network", "replication"
MEANS = (SERVICE, POWER, NETWORK, REPLICATION)
# What a cut network cannot feign. Silence of a port and a standby that lost its primary are what a partition looks like, with
# the primary well and serving the clients on its side.
STRONG = (SERVICE, POWER)
NEEDED = 2

REFUSED, SILENT, ACCEPTED = "refused", "silent", "accepted"


@dataclass(frozen=True)
class Evidence:
    """What one means says: it proves the fence, or disproves it, or neither."""

    means: str
    proven: bool
    said: str
    disproved: bool = False

    def as_dict(self) -> "dict[str, Any]":
        return asdict(self)


def of(facts: Mapping[str, Any]) -> Evidence:
    """The evidence in a module's answer."""
    return Evidence(str(facts["means"]), bool(facts["proven"]), str(facts["said"]), bool(facts.get("disproved", False)))


def service(
    host: str, active: str, start: str, alive: bool, cluster_state: Optional[str], kept_by: str = "start.conf"
) -> Evidence:
    """What the host of the old primary says: the state of its unit and of its cluster, a live process, and what start.conf wants.

    `kept_by` is the file that keeps it from starting, where that is another one.
    """
    problems = []
    if alive:
        problems.append("a server process runs on its data directory")
    if active not in ("inactive", "failed"):
        problems.append("its unit is %s" % active)
    if start != "disabled":
        problems.append("%s says %s: it would start again" % (kept_by, start or "nothing"))
    # one that was killed leaves 'in production' behind; that no process lives is what counts
    stood = cluster_state or "there is no cluster"
    if problems:
        return Evidence(SERVICE, False, "%s: %s" % (host, "; ".join(problems)), disproved=alive)
    return Evidence(
        SERVICE,
        True,
        "%s says that its server is stopped (unit %s, no process, cluster %s) and will not start (%s disabled)"
        % (host, active, stood, kept_by),
    )


def power(said: str, off: str, code: int = 0) -> Evidence:
    """What the command that asks for the power state answered; `off` is the expression that means that it is off."""
    words = " ".join(said.split())[:200]
    if code:
        return Evidence(POWER, False, "the power state is not known: the command ended with %d: %s" % (code, words))
    if off and re.search(off, said, re.MULTILINE):
        return Evidence(POWER, True, "the power is off: %s" % words)
    return Evidence(POWER, False, "the power is not off: %s" % (words or "the command said nothing"))


def network(host: str, seen: Mapping[str, str]) -> Evidence:
    """What the port looked like from each vantage point; all of them are one means, for one cut may silence them all."""
    told = ", ".join("%s from %s" % (seen[place], place) for place in sorted(seen))
    if ACCEPTED in seen.values():
        return Evidence(NETWORK, False, "the port of %s accepts connections: %s" % (host, told), disproved=True)
    if len(seen) < NEEDED:
        return Evidence(NETWORK, False, "the port of %s was asked from %s alone" % (host, told or "nowhere"))
    return Evidence(NETWORK, True, "nobody is let in at the port of %s: %s" % (host, told))


def replication(standby: str, streaming: bool, moved: bool) -> Evidence:
    """Whether the standby's connection to the old primary is gone; one that still brings something disproves the fence."""
    if not streaming:
        return Evidence(REPLICATION, True, "%s has lost its primary" % standby)
    if moved:
        return Evidence(REPLICATION, False, "%s still receives from its primary" % standby, disproved=True)
    return Evidence(
        REPLICATION, False, "%s holds a connection to its primary, which was silent while it was watched" % standby
    )


def proofs(evidence: Iterable[Evidence]) -> "dict[str, Evidence]":
    """One proof for each means that has one; a means of which any evidence says the contrary has none."""
    known = [one for one in evidence if one.means in MEANS]
    doubted = {one.means for one in known if not one.proven}
    return {one.means: one for one in known if one.proven and one.means not in doubted}


def problem(evidence: Sequence[Evidence]) -> Optional[str]:
    """Why the fence is not proven; None when it is."""
    against = [one.said for one in evidence if one.disproved]
    if against:
        return "it is disproved: %s" % "; ".join(against)
    found = proofs(evidence)
    if len(found) < NEEDED:
        return "%d independent proof(s) of %d" % (len(found), NEEDED)
    if not set(found) & set(STRONG):
        return "silence is all there is, and a cut network looks the same"
    return None


def judge(host: str, evidence: Sequence[Evidence], override: str = "") -> "dict[str, Any]":
    """The verdict on a fence, with a sentence for the journal; a refusal unless it is proven or a person accepts the risk."""
    why = problem(evidence)
    found = proofs(evidence)
    proven = [found[means].said for means in MEANS if means in found]
    rest = [one.said for one in evidence if one.means not in found]
    rest += ["no evidence by %s" % means for means in MEANS if means not in {one.means for one in evidence}]
    told = "Proven: %s. Not proven: %s." % ("; ".join(proven) or "nothing", "; ".join(rest) or "nothing")
    if why and not override.strip():
        raise Stop(
            "%s is not proven to be fenced: %s. %s Nothing was promoted. Stop its server or switch its power off, then go on "
            'with this run; or accept that two primaries may take writes: -e fence_override="reason".'
            % (host, why, told)
        )
    if why:
        told = "A person accepts that %s may still take writes (%s): %s. %s" % (host, why, override.strip(), told)
    else:
        told = "%s is fenced. %s" % (host, told)
    return {"fenced": not why, "overridden": override.strip() if why else "", "said": told}
