"""Who may let a paused copy be promoted, and at which position. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import damage
from .guards import NEEDS_A_PERSON, VALIDATION_FAILED, Stop


def approval(request: Mapping[str, Any], noted: Optional[Mapping[str, Any]], run: str) -> "tuple[dict[str, Any], bool]":
    """The approval of the point where the copy stands, and whether it is new; a refusal without one.

    `request`: the arguments of M(approve_target). `noted`: an approval that an earlier attempt wrote down.
    """
    standing, bad = request["standing"], request["damage"]["damaged"]
    if not standing["in_recovery"]:
        if not noted:
            raise Stop("The copy was promoted, and nobody approved a point. It is not to be used.")
        return dict(noted), False
    if bad:
        raise Stop(
            "The copy is damaged too, at %s: %s. It was not promoted. Take an older backup in another run: "
            "-e corruption_backup_before=..."
            % (standing["lsn"], damage.shortened([damage.in_words(one) for one in bad])),
            VALIDATION_FAILED,
        )
    if noted and noted["lsn"] == standing["lsn"]:
        return dict(noted), False
    if request["approved"] and request["approved"] != standing["lsn"]:
        raise Stop(
            "The copy stands at %s, and %s was approved. It was not promoted. Look at it again."
            % (standing["lsn"], request["approved"])
        )
    if not request["approved"] and request["inspect"]:
        raise Stop(in_words(request, run), NEEDS_A_PERSON)
    by = (request["operator"] or "a person") if request["approved"] else "the checks of the copy"
    return {"lsn": standing["lsn"], "by": by}, True


def in_words(request: Mapping[str, Any], run: str) -> str:
    """What a person sees who is asked whether this is the point."""
    standing, counted = request["standing"], request["standing"]["counts"]
    rows = ", ".join("%s: %s" % item for item in sorted(counted.items())) or "No tables were named to be counted"
    left = damage.shortened(request["damage"]["unknown"])
    return (
        "The copy is paused at %s; the last transaction in it ended at %s. %s. Nothing damaged was found on it%s. Look at it, then "
        "promote it there: -e run_id=%s -e target_approved=%s. Or go on to a later point: playbooks/move_target.yml -e run_id=%s "
        "-e move_to=..."
        % (
            standing["lsn"],
            standing["time"] or "an unknown time",
            rows,
            "; not known: %s" % left if left else "",
            run,
            standing["lsn"],
            run,
        )
    )


def note(request: Mapping[str, Any], given: Optional[Mapping[str, Any]]) -> "dict[str, Any]":
    """What `target.json` says."""
    found = {key: request["damage"][key] for key in ("damaged", "unknown")}
    return {"standing": request["standing"], "damage": found, **({"approval": dict(given)} if given else {})}
