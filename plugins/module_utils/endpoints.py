"""What a service's name points at, what it shall point at, and what must be so before it is put back."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from .guards import NEEDS_A_PERSON, PRECONDITION, STEP_FAILED, Stop


def same(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of a record's values say the same: order, case and a name's last dot do not matter."""
    return {v.lower().rstrip(".") for v in one} == {v.lower().rstrip(".") for v in other}


def shown(values: Iterable[str]) -> str:
    """A record's values in a sentence."""
    return ", ".join(values) or "nothing"


def inverse(name: str, provider: str, now: Mapping[str, Any], address: str, ttl: int) -> "dict[str, Any]":
    """What `endpoint.json` says: the record as it is before anything is changed, and what is about to be published."""
    return {
        "name": name,
        "provider": provider,
        "type": now["type"],
        "ttl": int(now["ttl"]),
        "values": list(now["values"]),
        "published": {"ttl": int(ttl), "values": [address]},
    }


def check_kept(kept: Mapping[str, Any], name: str, address: str) -> None:
    """Refuse when what a run has kept is of another name, or of another switch than this one."""
    if kept["name"] != name or not same(kept["published"]["values"], [address]):
        raise Stop(
            "This run has kept what %s was before it went to %s; now %s shall go to %s. The endpoint was not changed. Begin a "
            "new run." % (kept["name"], shown(kept["published"]["values"]), name, address)
        )


def to_restore(kept: Mapping[str, Any], name: str, now: Mapping[str, Any]) -> "dict[str, Any]":
    """The record to publish so that the name is as it was; a refusal when somebody else has changed it meanwhile."""
    if kept["name"] != name:
        raise Stop("The run has kept what %s was, not %s. The endpoint was not changed." % (kept["name"], name))
    known = (kept["values"], kept["published"]["values"])
    if not any(same(now["values"], values) for values in known):
        raise Stop(
            "%s points at %s: neither at %s, where this run has pointed it, nor at %s, where it was before. Somebody else has "
            "changed it, and it was left as it is. Find out who, then point it by hand."
            % (name, shown(now["values"]), shown(known[1]), shown(known[0])),
            NEEDS_A_PERSON,
        )
    return {"type": kept["type"], "ttl": kept["ttl"], "values": kept["values"]}


Answers = Mapping[str, Mapping[str, Any]]


def stale(answers: Answers, expect: Iterable[str]) -> "list[str]":
    """The servers that answer, and not what is expected."""
    wanted = list(expect)
    return [server for server, said in answers.items() if not said["problem"] and not same(said["values"], wanted)]


def silent(answers: Answers) -> "list[str]":
    """The servers that do not answer."""
    return [server for server, said in answers.items() if said["problem"]]


def accounting(answers: Answers, expect: Iterable[str], old_ttl: int) -> str:
    """How long the old answer may live, in one sentence."""
    old = ["%s (%s, %d s more)" % (s, shown(answers[s]["values"]), answers[s]["ttl"]) for s in stale(answers, expect)]
    said = "Whoever asked just before the switch may keep the old answer for %d s." % old_ttl
    return said + (" It is still given by %s." % "; ".join(old) if old else " None of those asked gives it any more.")


def problem(name: str, answers: Answers, expect: Iterable[str], waited_s: int) -> Optional[Stop]:
    """Why it is not shown that all give the new answer; None when it is."""
    wanted = list(expect)
    old = ["%s (%s)" % (server, shown(answers[server]["values"])) for server in stale(answers, wanted)]
    if old:
        return Stop(
            "After %d s %s is not %s everywhere: %s still give(s) another answer. Clients that ask there are not on the new "
            "server." % (waited_s, name, shown(wanted), "; ".join(old)),
            STEP_FAILED,
        )
    if len(silent(answers)) == len(answers):
        said = "; ".join("%s: %s" % (server, answers[server]["problem"]) for server in answers) or "none was named"
        return Stop("Nobody could be asked what %s is (%s)." % (name, said), PRECONDITION)
    return None
