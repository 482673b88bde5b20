"""What promoting a standby would give up, as far as it can be known: bytes of WAL, transactions, seconds. Pure.

Nothing is guessed: what could not be known is None, and a limit on it is not kept.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from .guards import Stop
from .lsn import format_lsn, parse_lsn
from .times import epoch_s

LIMITS = ("bytes", "transactions", "seconds")


def last_known(sightings: Sequence[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """The farthest that the old primary was seen: each sighting has `lsn` and `by`, most have `at` (RFC 3339)."""
    known = [one for one in sightings if one.get("lsn")]
    return max(known, key=lambda one: (parse_lsn(one["lsn"]), str(one.get("at") or "")), default=None)


def seconds(sightings: Sequence[Mapping[str, Any]], reached: int) -> Optional[float]:
    """From the last sighting that the standby has reached to the farthest one: at most so much time is given up.

    None where no sighting that it has reached, or not the farthest one, has a time.
    """
    farthest = last_known(sightings)
    if farthest is None or not farthest.get("at"):
        return None
    if parse_lsn(farthest["lsn"]) <= reached:
        return 0.0
    there = [epoch_s(one["at"]) for one in sightings if one.get("at") and parse_lsn(one["lsn"]) <= reached]
    return round(max(epoch_s(farthest["at"]) - max(there), 0.0), 3) if there else None


def of_client(acknowledged: Mapping[str, Any], token: int) -> "tuple[int, Optional[float]]":
    """Commits that a client saw acknowledged beyond the newest one that the standby has, and the seconds between the two.

    `acknowledged` is what M(witness_acknowledged) answers: ranges of tokens, and when the newest ones were acknowledged.
    """
    missing = sum(max(last - max(first, token + 1) + 1, 0) for first, last in acknowledged["ranges"])
    if not missing:
        return 0, 0.0
    times = {int(number): epoch_s(at) for number, at in (acknowledged.get("acks") or {}).items()}
    newest = max(last for _first, last in acknowledged["ranges"])
    if newest not in times or token not in times:
        return missing, None
    return missing, round(max(times[newest] - times[token], 0.0), 3)


def of(
    standby: Mapping[str, Any],
    sightings: Sequence[Mapping[str, Any]],
    acknowledged: Optional[Mapping[str, Any]] = None,
) -> "dict[str, Any]":
    """The loss. `standby` says what it has `received` and `replayed`, and the newest `token` of the witness in it.

    What is received and not replayed yet is not lost: it is replayed before the promotion.
    """
    reached = max(parse_lsn(standby["received"] or "0/0"), parse_lsn(standby["replayed"] or "0/0"))
    farthest = last_known(sightings)
    told: "dict[str, Any]" = {
        "bytes": max(parse_lsn(farthest["lsn"]) - reached, 0) if farthest else None,
        "transactions": None,
        "seconds": seconds(sightings, reached),
        "standby": format_lsn(reached),
        "primary": farthest["lsn"] if farthest else None,
        "seen_by": farthest["by"] if farthest else None,
    }
    if acknowledged and standby.get("token") is not None:
        told["transactions"], late = of_client(acknowledged, int(standby["token"]))
        measured = [one for one in (late, told["seconds"]) if one is not None]
        told["seconds"] = max(measured, default=None)
    return told


def sentence(loss: Mapping[str, Any]) -> str:
    """The loss in words."""
    parts = [
        "%s %s" % ("an unknown number of" if loss[name] is None else "%g" % loss[name], what)
        for name, what in zip(LIMITS, ("bytes of WAL", "transactions that a client saw acknowledged", "seconds"))
    ]
    whence = (
        "the primary was at %(primary)s, as %(seen_by)s saw it" if loss["primary"] else "the primary was never seen"
    )
    return "It would give up %s; the standby is at %s, %s." % (", ".join(parts), loss["standby"], whence % loss)


def check(
    loss: Mapping[str, Any], limits: Mapping[str, Any], accepted: str = "", then: str = "Nothing was promoted."
) -> str:
    """The sentence for the journal; a refusal when a limit is passed, or not known to be kept, and nobody accepts it."""
    over = [
        "%s of %s allowed" % ("an unknown number" if loss[name] is None else "%g" % loss[name], "%g %s" % (limit, name))
        for name, limit in sorted(limits.items())
        if loss[name] is None or loss[name] > float(limit)
    ]
    said = sentence(loss)
    if over and not accepted.strip():
        raise Stop(
            "The promotion would lose more than is promised: %s. %s %s Bring what is missing from the old primary, "
            'promote another standby, or accept the loss: -e accept_loss="reason".' % ("; ".join(over), said, then)
        )
    return said if not over else "%s A person accepts that (%s): %s." % (said, "; ".join(over), accepted.strip())
