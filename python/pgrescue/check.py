"""`pgrescue check`: what `pgrescue status` knows, in a line and an exit code as Nagios and its kin poll them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
LEVELS = {"none": OK, "ticket": WARNING, "page": CRITICAL}
TICKET_SHARE = 0.75  # of the time that may be lost before somebody is paged, as in monitoring/rules
REACTION_S = 1800.0  # how long a person takes, but a quarter of what may be lost at most: exporter_response_s


class Verdict(NamedTuple):
    """The exit code, and the line: what is so, then measurements behind a bar."""

    code: int
    line: str


def judge(said: Mapping[str, Any]) -> Verdict:
    """What to tell of the facts that `status.facts` gathered."""
    now, situation = datetime.fromisoformat(said["at"]), said["situation"]
    code = max(LEVELS[situation["level"]], WARNING if said["degraded"] else OK)
    if situation["level"] == "none" and said["degraded"]:
        words = ["clients are served", *said["degraded"]]  # its own sentence is that nothing is wrong
    else:
        words = [situation["says"], *said["degraded"][1:]]  # the first of them is the situation
    measured = []
    rpo_s = said["objectives"].get("rpo_s")
    if said["recoverable_to"] and rpo_s:
        loss_s = _since(said["recoverable_to"], now)
        page_s = rpo_s - min(REACTION_S, rpo_s / 4)
        ticket_s = TICKET_SHARE * page_s
        code = max(code, CRITICAL if loss_s > page_s else WARNING if loss_s > ticket_s else OK)
        measured.append(f"loss={loss_s:.0f}s;{ticket_s:.0f};{page_s:.0f};0")
    elif said["listed"] and not said["recoverable_to"]:
        code = CRITICAL
        words.append("it could not be recovered to any moment by a backup")
    elif not said["listed"]:
        code = UNKNOWN if code < CRITICAL else code
    ages = [_since(one["stopped"], now) for one in said["repositories"] if one["stopped"]]
    measured += [f"backup_age={min(ages):.0f}s;;;0"] if ages else []
    measured += [f"proven_age={_since(said['proven'], now):.0f}s;;;0"] if said["proven"] else []
    reachable = sum(not one["problem"] for one in said["repositories"])
    measured.append(f"repositories={reachable};;;0;{len(said['repositories'])}")
    text = "; ".join(word.rstrip(".").replace("|", "/").replace("\n", " ") for word in words)
    return Verdict(code, f"{WORDS[code]} {said['service']}: {text} | {' '.join(measured)}")


def unknown(service: str, why: str) -> Verdict:
    """What to tell where nobody could look."""
    return Verdict(UNKNOWN, f"{WORDS[UNKNOWN]} {service}: {' '.join(why.replace('|', '/').split())}")


def _since(text: str, now: datetime) -> float:
    return max((now - datetime.fromisoformat(text)).total_seconds(), 0.0)
