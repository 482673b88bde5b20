"""Whether a cluster that is about to start as a primary may: an old primary that comes back must not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

HOST, REPOSITORY = "host", "repository"
START, REFUSE = "start", "refuse"


@dataclass(frozen=True)
class Heard:
    """What one of those who may know of another primary said.

    `timeline` is the newest that it knows of this database system, None when it knows none: a host whose port is closed has no
    server, a repository may be empty. `answered` is false for silence, which a cut network is as well.
    """

    who: str
    kind: str
    answered: bool
    timeline: Optional[int] = None
    primary: bool = False
    said: str = ""
    succeeded: bool = (
        False  # another database system is there instead: a repository goes on with it, a host's primary is it
    )


def against(own: int, heard: Sequence[Heard]) -> "list[str]":
    """What speaks against a start: a newer timeline, or another primary on the same one."""
    found = []
    for one in heard:
        if not one.answered or one.timeline is None:
            continue
        if one.timeline > own:
            found.append("%s is on timeline %d" % (one.who, one.timeline))
        elif one.primary and one.timeline == own:
            found.append("%s is a primary on timeline %d as well" % (one.who, own))
    return found


def is_sure(heard: Sequence[Heard]) -> bool:
    """Whether a newer primary would have been heard of.

    Every repository would know it, for a promotion archives its history file first. Or every other host was there to be asked
    and one at least, or a repository, knows the database: a host that is up without a server is no primary now.
    """
    repositories = [one for one in heard if one.kind == REPOSITORY]
    hosts = [one for one in heard if one.kind == HOST]
    if repositories and all(one.answered for one in repositories):
        return True
    if not hosts:
        return not repositories  # nobody else was ever there
    return all(one.answered for one in hosts) and any(one.answered and one.timeline is not None for one in heard)


@dataclass(frozen=True)
class Verdict:
    """Whether to start, in a sentence; `sure` when no more answers would change it."""

    start: bool
    sure: bool
    said: str


def successors(heard: Sequence[Heard]) -> "list[str]":
    """Who has another database system in the place of this one: it may have been made for a dump when this one was given up."""
    said = {REPOSITORY: "%s goes on with another database system", HOST: "%s is a primary of another database system"}
    return [said[one.kind] % one.who for one in heard if one.answered and one.succeeded]


def decide(own: int, heard: Sequence[Heard], unsure: str, anyway: bool = False) -> Verdict:
    """The verdict on a start as a primary on timeline `own`.

    `unsure` says what to do when too few answer; `anyway` is a person's word, which counts against silence and successors.
    """
    problems = against(own, heard)
    if problems:
        return Verdict(
            False,
            True,
            "This server does not start: it is on timeline %d and %s. It is an old primary that came back, and what is written "
            "here would be lost. Nothing was changed. Take it back as a standby: ansible-playbook playbooks/rejoin.yml -e "
            "service=<service> -e rejoin_host=<this host>" % (own, "; ".join(problems)),
        )
    replaced = successors(heard)
    if replaced and not anyway:
        return Verdict(
            False,
            True,
            "This server does not start: %s. It may have been given up for a dump, and what is written here would be lost. Nothing "
            "was changed. Which of the two is right a person knows; if it is this one: touch /run/pgrescue-start-anyway, start it, "
            "and remove the file." % "; ".join(replaced),
        )
    answered = ", ".join(one.who for one in heard if one.answered) or "nobody"
    if is_sure(heard):
        return Verdict(
            True, True, "This server starts as a primary on timeline %d: %s know(s) of no newer one" % (own, answered)
        )
    silent = "; ".join("%s: %s" % (one.who, one.said or "silent") for one in heard if not one.answered)
    if anyway or unsure == START:
        return Verdict(True, False, "This server starts as a primary although not all could be asked (%s)" % silent)
    return Verdict(
        False,
        False,
        "This server does not start: whether another one was promoted is not known, for not all could be asked (%s; %s knew of "
        "none). Nothing was changed. Start it again when they answer; or, when you know that no other primary is there: "
        "touch /run/pgrescue-start-anyway, start it, and remove the file." % (silent, answered),
    )
