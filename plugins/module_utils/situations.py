"""What has happened to a service: rules over what all places see of it, each of which says why it holds or why not. Pure.

A conclusion needs two facts from different places. The first rule that holds is the situation; the reasons of those before it are
what was refuted. What may lead to giving up commits asks for more than a doubt: that nobody can write, and no sign of life.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, Union

from .inert import inert
from .lsn import parse_lsn
from .scene import (
    DAMAGED_LOG,
    DAMAGED_SAID,
    NO_ANSWER,
    NO_ROOM,
    NO_TABLE,
    READ_ONLY,
    STARTING,
    TOO_MANY,
    UNREACHABLE,
    Scene,
)

Answer = Union["list[dict[str, str]]", str]  # the facts for it, or why it is not so

PAGE, TICKET, NOTHING = "page", "ticket", "none"
DELAY = "recovery_min_apply_delay"
KNOCKS = {"silent": "does not answer a greeting", "refused": "refuses connections", "well": "answers"}


def fact(by: str, says: str) -> "dict[str, str]":
    """What one place saw, without anything that a terminal obeys: some of it was written by strangers."""
    return {"by": by, "says": inert(says)[:300]}


def _clients(s: Scene) -> "list[dict[str, str]]":
    """What clients saw fail."""
    writes = [
        fact(place, "a write through the service's name fails: %s" % seen["problem"])
        for place, seen in s.refused_writes().items()
    ]
    calls = [fact(place, "%s: %s" % (name, seen.get("problem"))) for (place, name), seen in s.failed_calls().items()]
    nobody = (
        [fact("controller", "no place that writes through the service's name could look")] if s.nobody_writes() else []
    )
    return writes + calls + nobody


def _knocks(s: Scene, host: str, *did: str) -> "list[dict[str, str]]":
    """Places to which the port of a host does one of these things."""
    return [fact(p, "the server of %s %s" % (host, KNOCKS[d])) for p, d in s.knocked(host).items() if d in did]


def _unseen(s: Scene, host: str) -> "list[dict[str, str]]":
    """That nobody can look at a host, and what its power is said to be."""
    said = s.looks.get(host, {}).get(UNREACHABLE)
    found = [fact("controller", "%s does not answer: %s" % (host, said))] if said else []
    power = s.known.get("power", {}).get(host)
    return found + ([fact("power of %s" % host, str(power["said"]))] if power else [])


def _where(s: Scene) -> "tuple[str, Mapping[str, Any]]":
    """The primary and what its host says; nameless when nobody knows it."""
    primary = s.primary()
    return (primary, s.server(primary)) if primary else ("", {})


def blind(s: Scene) -> Answer:
    """Whoever looks sees nobody."""
    seen = [host for host in s.looks if not s.silent(host)]
    if seen or not s.looks:
        return "%s can be looked at" % ", ".join(sorted(seen)[:3])
    return [fact("controller", "%s does not answer: %s" % (host, look[UNREACHABLE])) for host, look in s.looks.items()]


def two_primaries(s: Scene) -> Answer:
    """Two hosts take writes for one database system."""
    found = s.in_role("primary")
    systems = {s.server(host).get("system_identifier") for host in found}
    if len(found) < 2 or len(systems) == len(found):
        return "no two hosts accept writes"
    return [
        fact(host, "is primary on timeline %s at %s" % (s.server(host)["timeline"], s.server(host)["lsn"]))
        for host in found
    ]


def region_gone(s: Scene) -> Answer:
    """The region of the primary is lost, or cut off from everybody."""
    lost, primary = s.lost_regions(), s.primary()
    if not lost:
        answering = sorted(host for host in s.looks if not s.silent(host))
        return "of every region some host gives a sign of life (%s)" % ", ".join(answering[:4])
    if primary is None or s.region(primary) not in lost:
        return "%s is lost, and the primary is not known to be in it" % ", ".join(lost)
    if not s.writes_lost():
        return "%s cannot be looked at, and somebody can write" % ", ".join(lost)
    gone = s.members(s.region(primary))
    return [f for host in gone for f in (*_unseen(s, host), *_knocks(s, host, "silent"))] + _clients(s)


def everything_lost(s: Scene) -> Answer:
    """No host has a copy of the database that could serve."""
    copies = s.in_role("primary", "standby", "unresponsive", "stopped")
    if copies:
        return "%s has a copy of the database" % ", ".join(copies)
    unsure = [host for host in s.hosts if "unanswered_s" in s.server(host) or (s.silent(host) and s.lives(host))]
    if unsure:
        return "%s may have one, and cannot be asked" % ", ".join(unsure)
    if not s.writes_lost():
        return "somebody can write"
    empty = [fact(host, "holds no cluster") for host in s.in_role("spare")]
    gone = [f for host in s.hosts if s.silent(host) for f in _unseen(s, host)]
    return gone + empty + _clients(s)


def partitioned(s: Scene) -> Answer:
    """The primary lives, and its clients do not reach it."""
    primary = s.primary()
    if primary is None or not s.writes_lost():
        return "somebody can write" if primary else "nobody knows who was primary"
    answered = [p for p, w in s.refused_writes().items() if w["state"] or not NO_ANSWER.search(str(w["problem"]))]
    deaf = [place for place in s.deaf(primary) if place not in answered]
    if answered or len(deaf) < 2:
        return "the primary is reached from %s" % (", ".join(answered) or "all but %s" % (", ".join(deaf) or "nobody"))
    if s.silent(primary) and not s.lives(primary):
        return "%s gives no sign of life" % primary
    if not s.silent(primary) and s.server(primary).get("role") != "primary":
        return "%s can be looked at, and is no primary that answers" % primary
    own = [] if s.silent(primary) else [fact(primary, "is primary and answers itself")]
    cut = [fact(place, "does not reach the server of %s" % primary) for place in deaf]
    return [*own, *_unseen(s, primary), *cut, *_knocks(s, primary, "well"), *_clients(s)]


def host_gone(s: Scene) -> Answer:
    """The host of the primary is gone."""
    primary = s.primary()
    if primary is None or not s.silent(primary):
        return "the host of the primary answers" if primary else "nobody knows who was primary"
    if s.lives(primary):
        return "%s gives a sign of life" % primary
    if not s.writes_lost():
        return "somebody can write"
    lost = [fact(h, "streams from nobody any more") for h in s.in_role("standby") if not s.server(h).get("streaming")]
    return [*_unseen(s, primary), *_knocks(s, primary, "silent"), *lost, *_clients(s)]


def data_gone(s: Scene) -> Answer:
    """The primary's data are gone, and its host is there."""
    primary, server = _where(s)
    if server.get("role") != "spare":
        return "the host of the primary holds a cluster, or cannot be looked at"
    if not s.writes_lost():
        return "somebody can write"
    return [fact(primary, "holds no cluster any more"), *_knocks(s, primary, "refused"), *_clients(s)]


def recovering(s: Scene) -> Answer:
    """The primary is starting: it recovers by itself."""
    primary, server = _where(s)
    if server.get("status") != "starting" and not STARTING.search(str(server.get("problem") or "")):
        return "no server says that it is starting"
    told = [fact(place, said) for place, said in s.told(STARTING).items()]
    return [
        fact(primary, "its server says that it is starting"),
        *told,
        *_clients(s),
        *_knocks(s, primary, "refused", "well"),
    ]


def full(s: Scene) -> Answer:
    """The primary's disk has no room, and so it takes no writes."""
    primary, server = _where(s)
    out = [disk for disk in server.get("disks") or [] if disk["free_bytes"] < s.limits["disk_free_bytes"]]
    told = [fact(place, str(w["problem"])) for place, w in s.refused_writes().items() if w["state"] == NO_ROOM]
    if not s.hurt():
        return "clients are served"
    if not out and not told:
        return "no disk of the primary is full"
    rooms = [fact(primary, "%s has %d MB free" % (disk["folder"], disk["free_bytes"] >> 20)) for disk in out]
    logged = [fact(primary, line) for line in s.logged(primary, re.compile("No space left"))]
    return [*rooms, *told, *logged, *_clients(s)]


def damaged(s: Scene) -> Answer:
    """What the primary stores is wrong."""
    primary, server = _where(s)
    told = [fact(place, said) for place, said in s.told(DAMAGED_SAID).items()]
    logged = [fact("%s, log" % primary, line) for line in s.logged(primary, DAMAGED_LOG)]
    before = int(s.known.get("checksum_failures", {}).get(primary, 0))
    now = int(server.get("checksum_failures") or 0)
    if not told and not logged and now <= before:
        return "nobody says that what is stored is wrong"
    counted = (
        [fact(primary, "counts %d checksum failures, %d more than before" % (now, now - before))]
        if now > before
        else []
    )
    return [*told, *logged, *counted]


def stopped(s: Scene) -> Answer:
    """The primary's server does not run; its host and its data are there."""
    primary, server = _where(s)
    refused = _knocks(s, primary, "refused")
    unlooked = s.silent(primary) and len(refused) >= 2 if primary else False
    if server.get("role") != "stopped" and not unlooked:
        return "the primary's server %s" % ("runs" if server.get("role") else "cannot be looked at")
    if not s.writes_lost():
        return "somebody can write"
    own = [] if unlooked else [fact(primary, "its server does not run: %s" % server.get("problem"))]
    return [*own, *_unseen(s, primary), *refused, *_clients(s)]


def hung(s: Scene) -> Answer:
    """The primary's server runs and answers nobody."""
    primary, _server = _where(s)
    if not primary or not s.hangs(primary):
        return "the primary's server answers, or does not run"
    if not s.writes_lost():
        return "somebody can write"
    return [fact(primary, "its server runs and does not answer"), *_knocks(s, primary, "silent"), *_clients(s)]


def no_connections(s: Scene) -> Answer:
    """Every connection is taken."""
    primary, server = _where(s)
    told = [fact(p, str(w["problem"])) for p, w in s.refused_writes().items() if w["state"] == TOO_MANY or _too_many(w)]
    told += [fact(place, str(call["problem"])) for (place, _n), call in s.failed_calls().items() if _too_many(call)]
    if not told:
        return "nobody is refused for want of connections"
    settings = server.get("settings") or {}
    most = int(settings.get("max_connections") or 0) - int(settings.get("superuser_reserved_connections") or 0)
    taken = int(server.get("sessions") or 0)
    used = [fact(primary, "%d of %d connections are taken" % (taken, most))] if most and taken >= most else []
    own = [fact(primary, str(server["problem"]))] if _too_many(server) else []
    return [*used, *own, *told]


def _too_many(seen: "Mapping[str, Any]") -> bool:
    said = str(seen.get("problem"))
    return "too many clients" in said or "remaining connection slots" in said or "too many connections" in said


def read_only(s: Scene) -> Answer:
    """The primary refuses writes because it was told to."""
    primary, server = _where(s)
    refused = [
        fact(place, str(w["problem"]))
        for place, w in s.refused_writes().items()
        if w["state"] == READ_ONLY and not w["in_recovery"]
    ]
    if not refused:
        return "no primary refuses writes as read only"
    on = (server.get("settings") or {}).get("default_transaction_read_only") == "on"
    return [*([fact(primary, "default_transaction_read_only is on")] if on else []), *refused]


def wrong_role(s: Scene) -> Answer:
    """The service's name leads to a standby, and the primary is somewhere else."""
    led = [
        fact(place, "the service's name leads to %s, which is a standby" % w["server"])
        for place, w in s.writers().items()
        if w["in_recovery"]
    ]
    running = s.in_role("primary")
    if not led or not s.cannot_write():
        return "the service's name leads nobody to a standby" if not led else "the others can write"
    if len(running) != 1:
        return "the service's name leads to a standby, and no host is primary"
    return [*led, fact(running[0], "is primary and answers"), *_clients(s)]


def names_silent(s: Scene) -> Answer:
    """Nobody says where the service is."""
    names = {
        place: look.get("name") or {}
        for place, look in s.looks.items()
        if place in (s.promise.get("writers") or s.looks)
    }
    gone = {place: said for place, said in names.items() if said.get("problem") or "unanswered_s" in said}
    if len(gone) < 2 or not s.cannot_write():
        return "the service's name is answered where clients stand"
    told = [
        fact(place, "the service's name is not answered: %s" % (said.get("problem") or "no answer"))
        for place, said in gone.items()
    ]
    return told + _clients(s)


def misled(s: Scene) -> Answer:
    """The service's name leads to a host that is not its primary."""
    running = s.in_role("primary")
    if len(running) != 1:
        return "there is no one primary for the service's name to lead to"
    proxies = set(s.promise.get("proxies") or [])
    off = {p: led for p, led in s.led_to().items() if led and running[0] not in led and not proxies & set(led)}
    if not off or not s.hurt():
        return (
            "the service's name leads elsewhere, and clients are served"
            if off
            else "the service's name leads to the primary"
        )
    told = [fact(place, "the service's name leads to %s" % ", ".join(led)) for place, led in off.items()]
    return [*told, fact(running[0], "is primary and answers"), *_clients(s)]


def unconfirmed(s: Scene) -> Answer:
    """Commits wait for a standby that does not confirm them."""
    primary, server = _where(s)
    waiting = int(server.get("unconfirmed") or 0)
    if not waiting or not s.cannot_write():
        return "no commit waits for a standby" if not waiting else "clients can write"
    wants = (server.get("settings") or {}).get("synchronous_standby_names")
    return [fact(primary, "%d commits wait to be confirmed by %s" % (waiting, wants)), *_clients(s)]


def table_gone(s: Scene) -> Answer:
    """A table that the application asks for is not there."""
    if s.cannot_write():
        return "writes fail as well"
    told = [
        fact(place, "%s: %s" % (name, call["problem"]))
        for (place, name), call in s.failed_calls().items()
        if NO_TABLE.search(str(call.get("problem")))
    ]
    primary, server = _where(s)
    # an application that connects anew after each such answer may be too busy to say what it misses; one line alone may be anybody's
    misses = server.get("misses") or []
    logged = [fact("%s, log" % primary, misses[-1])] if len(misses) > 1 and s.cannot_call() else []
    return [*(told or _clients(s)), *logged] if told or logged else "the application misses no table"


def stale_content(s: Scene) -> Answer:
    """The application answers with old content."""
    aged = [
        fact(place, "%s: %s" % (name, call["problem"]))
        for (place, name), call in s.failed_calls().items()
        if call.get("age_s") is not None
    ]
    return aged or "what the application shows is fresh"


def application_only(s: Scene) -> Answer:
    """The database serves, and the application does not."""
    if not s.cannot_call():
        return "the application answers"
    well = [fact(p, "writes through the service's name and reads it back") for p, w in s.writers().items() if w["ok"]]
    if s.cannot_write() or not well:
        return "writes fail as well" if s.cannot_write() else "no place writes, which would tell the two apart"
    primary, server = _where(s)
    blocked = [fact(primary, "%s sessions wait for locks" % server["blocked"])] if server.get("blocked") else []
    return [*_clients(s), *well, *blocked]


def unseen(s: Scene) -> Answer:
    """Clients are not served, and nothing that is seen says why."""
    return _clients(s) if s.hurt() else "clients are served"


def slow(s: Scene) -> Answer:
    """What clients ask takes far longer than it usually does."""
    took = [(place, "write", seen) for place, seen in s.writers().items()]
    took += [(place, name, seen) for (place, name), seen in s.calls().items()]
    late = [
        fact(place, "%s takes %.1f s" % (name, seen["took_s"]))
        for place, name, seen in took
        if seen.get("ok") and float(seen["took_s"]) > _patience(s, place, name)
    ]
    return late or "what clients ask takes no longer than usual"


def _patience(s: Scene, place: str, name: str) -> float:
    """From how many seconds an answer is slow, by what is usual there."""
    usual = float(s.known.get("baseline", {}).get(place, {}).get(name, 0.0))
    return max(s.limits["slow_s"], s.limits["slow_factor"] * usual)


def stale(s: Scene) -> Answer:
    """A standby is further behind than it may be."""
    primary, server = _where(s)
    behind = []
    for host in s.in_role("standby") if server.get("role") == "primary" else []:
        seen = s.server(host)
        lag = parse_lsn(server["lsn"]) - parse_lsn(seen["lsn"])
        if lag <= s.limits["lag_bytes"] or int((seen.get("settings") or {}).get(DELAY) or 0):
            continue
        paused = "" if seen.get("replay") in (None, "not paused") else "; replay is paused"
        behind.append(fact(host, "has replayed up to %s%s" % (seen["lsn"], paused)))
        behind.append(fact(primary, "is at %s, %d MB further" % (server["lsn"], lag >> 20)))
    return behind or "no standby is far behind"


def standby_lost(s: Scene) -> Answer:
    """A standby that was there follows no more, or what it stores is wrong."""
    primary, server = _where(s)
    found = []
    for host in s.known.get("standbys", []):
        seen = s.server(host)
        damage = s.logged(host, DAMAGED_LOG)
        if host not in s.hosts or seen.get("role") == "primary":
            continue  # taken out of the inventory, or promoted
        if seen.get("role") == "standby" and seen.get("streaming") and not damage:
            continue
        said = damage[0] if damage else "is %s, and streams from nobody" % (seen.get("role") or "not to be asked")
        found += _unseen(s, host) if s.silent(host) else [fact(host, said)]
        if server.get("role") == "primary":
            found.append(fact(primary, "%d standbys follow it" % len(server.get("followers") or [])))
    return found or "every standby that was there follows"


def unarchived(s: Scene) -> Answer:
    """WAL cannot be archived."""
    primary, server = _where(s)
    seen = server.get("archiver") or {}
    if not seen.get("failed_s") or seen["failed_s"] <= (seen.get("archived_s") or 0.0):
        return "WAL is archived"
    return [fact(primary, "WAL was not archived at the last attempt")]


def filling(s: Scene) -> Answer:
    """A disk of a database host is nearly full."""
    found = [
        fact(host, "%s has %d %% free" % (disk["folder"], 100 * disk["free_bytes"] / disk["bytes"]))
        for host in s.states()
        for disk in s.server(host).get("disks") or []
        if disk["bytes"] and disk["free_bytes"] < s.limits["disk_free_share"] * disk["bytes"]
    ]
    return found or "every disk has room"


RULES: "tuple[tuple[str, str, Callable[[Scene], Answer]], ...]" = (
    ("blind", PAGE, blind),
    ("two_primaries", PAGE, two_primaries),
    ("region_gone", PAGE, region_gone),
    ("everything_lost", PAGE, everything_lost),
    ("partitioned", PAGE, partitioned),
    ("host_gone", PAGE, host_gone),
    ("data_gone", PAGE, data_gone),
    ("recovering", PAGE, recovering),
    ("full", PAGE, full),
    ("damaged", PAGE, damaged),
    ("stopped", PAGE, stopped),
    ("hung", PAGE, hung),
    ("unconfirmed", PAGE, unconfirmed),  # what waits holds its connection, so that none may be left
    ("no_connections", PAGE, no_connections),
    ("read_only", PAGE, read_only),
    ("wrong_role", PAGE, wrong_role),
    ("names_silent", PAGE, names_silent),
    ("misled", PAGE, misled),
    ("table_gone", PAGE, table_gone),
    ("stale_content", PAGE, stale_content),
    ("application_only", PAGE, application_only),
    ("unseen", PAGE, unseen),
    ("slow", PAGE, slow),
    ("stale", TICKET, stale),
    ("standby_lost", TICKET, standby_lost),
    ("unarchived", TICKET, unarchived),
    ("filling", TICKET, filling),
)
ALONE = ("blind", "unarchived", "filling", "standby_lost", "unseen")  # what one place is enough for
SAYS = {name: str(rule.__doc__).splitlines()[0] for name, _level, rule in RULES}


def judge(s: Scene) -> "dict[str, Any]":
    """The situation: C(state), C(level), C(says), C(about), C(facts), C(refuted) [{state, why}], C(doubts), what one place alone saw,
    C(lost_regions) and C(followed), whether a standby follows the primary, or did while all was well.
    """
    lame = "is not equipped, cannot write: %s; playbooks/keep_watch.yml equips it"
    refuted, doubts = [], [fact(place, lame % why) for place, why in s.unequipped().items()]
    for state, level, rule in RULES:
        answer = rule(s)
        if isinstance(answer, str):
            refuted.append({"state": state, "why": answer})
            continue
        if _sources(answer, state) < 2 and state not in ALONE:
            refuted.append({"state": state, "why": "only one place says so: %s" % answer[0]["says"]})
            doubts += answer
            continue
        return {
            "state": state,
            "level": level,
            "says": SAYS[state],
            "facts": _distinct(answer),
            **_more(s, refuted, doubts),
        }
    well = [fact(p, "writes through the service's name and reads it back") for p, w in s.writers().items() if w["ok"]]
    found = {"state": "well", "level": NOTHING, "says": "Nothing is wrong.", "facts": well}
    return {**found, **_more(s, refuted, doubts + _clients(s))}


def _more(s: Scene, refuted: "list[dict[str, str]]", doubts: "list[dict[str, str]]") -> "dict[str, Any]":
    streaming = any(s.server(host).get("streaming") for host in s.in_role("standby"))
    return {
        "about": s.primary(),
        "refuted": refuted,
        "doubts": _distinct(doubts),
        "lost_regions": s.lost_regions(),
        "followed": streaming or bool(s.known.get("followed")),
        "reached": _reached(s),
    }


def _reached(s: Scene) -> bool:
    """Whether a standby that streams reaches the primary's server at this moment: a receiver notices a cut after a minute only."""
    primary = s.primary()
    if primary is None:
        return False
    knocked = s.knocked(primary)
    return any(s.server(host).get("streaming") and knocked.get(host) == "well" for host in s.in_role("standby"))


def _sources(answer: "list[dict[str, str]]", state: str) -> int:
    """From how many places it is said. Of damage a server's log, its counter and a client are three, though two are of one host."""
    return len({said["by"] if state == "damaged" else said["by"].split(",")[0] for said in answer})


def _distinct(facts: "list[dict[str, str]]") -> "list[dict[str, str]]":
    """The facts, each once, in their order."""
    return list({(said["by"], said["says"]): said for said in facts}.values())
