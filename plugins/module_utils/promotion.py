"""What must hold before a standby is promoted, and what is true of one that was. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from .guards import STEP_FAILED, Stop
from .timelines import forks

FUNCTION, TRIGGER_FILE = "function", "trigger_file"
WITHOUT_TRIGGER_FILE = 16  # the first major version


def already(state: Mapping[str, Any], expected: int) -> bool:
    """Whether a server is the one that a promotion to timeline `expected` made; a refusal when it is another primary.

    `state` has `in_recovery`, `timeline` and, out of recovery, the text of its `history`.
    """
    if state["in_recovery"]:
        return False
    if state["timeline"] != expected:
        raise Stop(
            "This server is no standby: it is a primary on timeline %s, and the promotion was to make timeline %d. Nothing was "
            "changed. Look at who is primary: playbooks/lint.yml." % (state["timeline"], expected)
        )
    if not forks(state["history"]):
        raise Stop("This server is a primary on timeline %d and was never promoted. Nothing was changed." % expected)
    return True


def check(state: Mapping[str, Any], expected: int) -> None:
    """Refuse to promote a standby that is not where it should be."""
    if state["timeline"] >= expected:
        raise Stop(
            "The standby follows timeline %s already, and the promotion was to make timeline %d: another server was promoted "
            "meanwhile. Nothing was changed. Look at who is primary." % (state["timeline"], expected)
        )
    if state["replay"] not in (None, "not paused"):
        raise Stop(
            "The replay of this standby is %s: somebody stopped it, perhaps to keep a mistake out. Nothing was changed. Go on "
            "with SELECT pg_wal_replay_resume(), or promote another." % state["replay"]
        )


def check_quiet(before: Optional[str], after: Optional[str]) -> None:
    """Refuse while the standby hears from its primary: `before` and `after` say when it did last, by two looks."""
    if after and after != before:
        raise Stop(
            "The standby still hears from its primary, at %s last: whatever said that it is fenced was wrong. Nothing was promoted. "
            "Look at who is primary: playbooks/lint.yml." % after
        )


def check_way(wanted: str, version: int, trigger_file: Optional[str]) -> None:
    """Refuse a way to promote that is not there."""
    if wanted == TRIGGER_FILE and version >= WITHOUT_TRIGGER_FILE:
        raise Stop("PostgreSQL %d has no trigger file any more. Nothing was changed. Use pg_promote()." % version)
    if wanted == TRIGGER_FILE and not trigger_file:
        raise Stop("promote_trigger_file is not set on this standby. Nothing was changed. Use pg_promote().")


def check_result(timeline: int, expected: int) -> None:
    """A promotion that made another timeline than the expected one is done, and nobody knows whose."""
    if timeline != expected:
        raise Stop(
            "The server was promoted to timeline %d, not %d: somebody else has made timelines meanwhile, and which of them holds "
            "what clients wrote is not known. Traffic was not moved. Compare them before going on."
            % (timeline, expected),
            STEP_FAILED,
        )
