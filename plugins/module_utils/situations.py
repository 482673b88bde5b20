"""What has happened to a service: rules over what all places see of it, each of which says why it holds or why not. Pure.

A conclusion needs two facts that do not come from the same place. The first rule that holds is the situation; the reasons of those
before it are what was refuted.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Union

from .lsn import parse_lsn
from .scene import DAMAGED, NO_ROOM, NO_TABLE, READ_ONLY, STARTING, TOO_MANY, UNREACHABLE, Scene

Answer = Union["list[dict[str, str]]", str]  # the facts for it, or why it is not so

PAGE, TICKET, NOTHING = "page", "ticket", "none"
DELAY = "recovery_min_apply_delay"


def fact(by: str, says: str) -> "dict[str, str]":
    """What one place saw."""
    return {"by": by, "says": says}


def _clients(s: Scene) -> "list[dict[str, str]]":
    """What clients saw fail."""
    writes = [
        fact(p, "a write through the service's name fails: %s" % seen["problem"])
        for p, seen in s.refused_writes().items()
    ]
    calls = [fact(place, "%s: %s" % (name, seen.get("problem"))) for (place, name), seen in s.failed_calls().items()]
    return writes + calls


def _knocks(s: Scene, host: str, *did: str) -> "list[dict[str, str]]":
    """Places to which the port of a host does one of these things."""
    words = {"silent": "does not answer a greeting", "refused": "refuses connections", "well": "answers"}
    return [fact(p, "the server of %s %s" % (host, words[d])) for p, d in s.knocked(host).items() if d in did]


def _unseen(s: Scene, host: str) -> "list[dict[str, str]]":
    """That nobody can look at a host, and what its power is said to be."""
    said = s.looks.get(host, {}).get(UNREACHABLE)
    found = [fact("controller", "%s does not answer: %s" % (host, said))] if said else []
    power = s.known.get("power", {}).get(host)
    return found + ([fact("power of %s" % host, str(power["said"]))] if power else [])


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
    return [fact(h, "is primary on timeline %s at %s" % (s.server(h)["timeline"], s.server(h)["lsn"])) for h in found]


def region_gone(s: Scene) -> Answer:
    """The region of the primary is lost, or cut off from everybody."""
    lost, primary = s.lost_regions(), s.primary()
    if not lost:
        answering = sorted(host for host in s.looks if not s.silent(host))
        return "of every region some host answers (%s)" % ", ".join(answering[:4])
    if primary is None or s.region(primary) not in lost:
        return "%s is lost, and the primary is not in it" % ", ".join(lost)
    if not s.hurt():
        return "%s cannot be looked at, and clients are served" % ", ".join(lost)
    gone = s.members(s.region(primary))
    return [f for host in gone for f in (*_unseen(s, host), *_knocks(s, host, "silent", "refused"))] + _clients(s)


def everything_lost(s: Scene) -> Answer:
    """No host has a copy of the database that could serve."""
    copies = s.in_role("primary", "standby", "unresponsive", "stopped")
    if copies:
        return "%s has a copy of the database" % ", ".join(copies)
    hanging = [host for host in s.hosts if "unanswered_s" in s.server(host)]
    alive = [h for h in s.hosts if s.silent(h) and (s.serving(h) or _is_on(s, h))]
    if hanging or alive:
        return "%s may have one, and cannot be asked" % ", ".join(hanging + alive)
    if not s.hurt():
        return "clients are served"
    empty = [fact(host, "holds no cluster") for host in s.in_role("spare")]
    gone = [f for host in s.hosts if s.silent(host) for f in _unseen(s, host)]
    return gone + empty + _clients(s)


def _is_on(s: Scene, host: str) -> bool:
    power = s.known.get("power", {}).get(host)
    return bool(power and power["on"])


def partitioned(s: Scene) -> Answer:
    """The primary lives, and its clients do not reach it."""
    primary = s.primary()
    if primary is None or not s.cannot_write():
        return "clients can write" if primary else "nobody knows who was primary"
    if s.silent(primary):
        if s.serving(primary) or _is_on(s, primary):
            return [*_unseen(s, primary), *_knocks(s, primary, "well", "silent"), *_clients(s)]
        return "%s gives no sign of life" % primary
    cut = _knocks(s, primary, "silent")
    if s.server(primary).get("role") != "primary" or len(cut) < 2:
        return "%s can be looked at, and %s" % (primary, "is reached" if len(cut) < 2 else "is no primary that answers")
    return [fact(primary, "is primary and answers itself"), *cut, *_clients(s)]


def host_gone(s: Scene) -> Answer:
    """The host of the primary is gone."""
    primary = s.primary()
    if primary is None or not s.silent(primary):
        return "the host of the primary answers" if primary else "nobody knows who was primary"
    if s.serving(primary):
        return "the server of %s answers %s" % (primary, ", ".join(s.serving(primary)))
    if not s.hurt():
        return "clients are served"
    lost = [fact(h, "streams from nobody any more") for h in s.in_role("standby") if not s.server(h).get("streaming")]
    return [*_unseen(s, primary), *_knocks(s, primary, "silent", "refused"), *lost, *_clients(s)]


def _where(s: Scene) -> "tuple[str, Mapping[str, Any]]":
    """The primary and what its host says; nameless when nobody knows it."""
    primary = s.primary()
    return (primary, s.server(primary)) if primary else ("", {})


def recovering(s: Scene) -> Answer:
    """The primary is starting: it recovers by itself."""
    primary, server = _where(s)
    starts = server.get("status") == "starting" or STARTING.search(str(server.get("problem") or ""))
    if not starts:
        return "no server says that it is starting"
    told = [fact(p, said) for p, said in s.complaints(STARTING).items() if not p.startswith(primary + ",")]
    return [
        fact(primary, "its server says that it is starting"),
        *told,
        *(_clients(s) or _knocks(s, primary, "refused", "well")),
    ]


def full(s: Scene) -> Answer:
    """The primary's disk has no room, and so it takes no writes."""
    primary, server = _where(s)
    least = s.limits["disk_free_bytes"]
    out = [d for d in server.get("disks") or [] if d["free_bytes"] < least]
    told = [fact(place, str(w["problem"])) for place, w in s.refused_writes().items() if w["state"] == NO_ROOM]
    told += [fact("%s, log" % primary, line) for line in server.get("says") or [] if "No space left" in line]
    if not s.hurt():
        return "clients are served"
    if not out and not [t for t in told if t["by"] != "%s, log" % primary]:
        return "no disk of the primary is full"
    rooms = [fact(primary, "%s has %d MB free" % (d["folder"], d["free_bytes"] >> 20)) for d in out]
    return [*rooms, *told, *_clients(s)]


def damaged(s: Scene) -> Answer:
    """What is stored is wrong."""
    told = s.complaints(DAMAGED)
    counts = s.known.get("checksum_failures", {})
    worse = [h for h in s.states() if int(s.server(h).get("checksum_failures") or 0) > int(counts.get(h, 0))]
    if not told and not worse:
        return "nobody says that what is stored is wrong"
    counted = [fact(h, "counts %s checksum failures" % s.server(h)["checksum_failures"]) for h in worse]
    return [*(fact(who, said) for who, said in told.items()), *counted]


def stopped(s: Scene) -> Answer:
    """The primary's server does not run; its host and its data are there."""
    primary, server = _where(s)
    if server.get("role") != "stopped":
        return "the primary's server %s" % ("runs" if server.get("role") else "cannot be looked at")
    if not s.hurt():
        return "clients are served"
    return [
        fact(primary, "its server does not run: %s" % server.get("problem")),
        *_knocks(s, primary, "refused"),
        *_clients(s),
    ]


def hung(s: Scene) -> Answer:
    """The primary's server runs and answers nobody."""
    primary, _server = _where(s)
    if not primary or not s.hangs(primary):
        return "the primary's server answers, or does not run"
    if not s.hurt():
        return "clients are served"
    return [fact(primary, "its server runs and does not answer"), *_knocks(s, primary, "silent"), *_clients(s)]


def no_connections(s: Scene) -> Answer:
    """Every connection is taken."""
    primary, server = _where(s)
    told = [
        fact(place, str(w["problem"]))
        for place, w in s.refused_writes().items()
        if w["state"] == TOO_MANY or _too_many(w)
    ]
    told += [fact(place, str(c["problem"])) for (place, _n), c in s.failed_calls().items() if _too_many(c)]
    settings = server.get("settings") or {}
    most = int(settings.get("max_connections") or 0) - int(settings.get("superuser_reserved_connections") or 0)
    taken = int(server.get("sessions") or 0)
    if not told:
        return "nobody is refused for want of connections"
    used = [fact(primary, "%d of %d connections are taken" % (taken, most))] if most and taken >= most else []
    return [*used, *told]


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
        fact(p, "the service's name leads to %s, which is a standby" % w["server"])
        for p, w in s.writers().items()
        if w["in_recovery"]
    ]
    if not led:
        return "the service's name leads nobody to a standby"
    running = s.in_role("primary")
    if len(running) != 1:
        return "the service's name leads to a standby, and no host is primary"
    return [*led, fact(running[0], "is primary and answers"), *_clients(s)]


def names_silent(s: Scene) -> Answer:
    """Nobody says where the service is."""
    gone = {
        p: look["name"]
        for p, look in s.looks.items()
        if (look.get("name") or {}).get("problem") or "unanswered_s" in (look.get("name") or {})
    }
    if len(gone) < 2:
        return "the service's name is answered"
    return [
        fact(p, "the service's name is not answered: %s" % (n.get("problem") or "no answer")) for p, n in gone.items()
    ] + _clients(s)


def misled(s: Scene) -> Answer:
    """The service's name leads to a host that is not its primary."""
    running = s.in_role("primary")
    if len(running) != 1:
        return "there is no one primary for the service's name to lead to"
    proxies = set(s.promise.get("proxies") or [])
    off = {p: led for p, led in s.led_to().items() if led and running[0] not in led and not proxies & set(led)}
    if not off:
        return "the service's name leads to the primary"
    if not s.hurt():
        return "the service's name leads elsewhere, and clients are served"
    return [fact(p, "the service's name leads to %s" % ", ".join(led)) for p, led in off.items()] + [
        fact(running[0], "is primary and answers"),
        *_clients(s),
    ]


def unconfirmed(s: Scene) -> Answer:
    """Commits wait for a standby that does not confirm them."""
    primary, server = _where(s)
    waiting = int(server.get("unconfirmed") or 0)
    if not waiting:
        return "no commit waits for a standby"
    wants = (server.get("settings") or {}).get("synchronous_standby_names")
    return [fact(primary, "%d commits wait to be confirmed by %s" % (waiting, wants)), *_clients(s)]


def table_gone(s: Scene) -> Answer:
    """A table that the application asks for is not there."""
    told = {
        who: said
        for who, said in s.complaints(NO_TABLE).items()
        if not who.endswith(", log") and not who.endswith("its write")
    }
    if not told:
        return "the application misses no table"
    if s.cannot_write():
        return "writes fail as well"
    return [fact(who, said) for who, said in told.items()]


def stale_content(s: Scene) -> Answer:
    """The application answers with old content."""
    aged = [
        fact(p, "%s: %s" % (n, c["problem"])) for (p, n), c in s.failed_calls().items() if c.get("age_s") is not None
    ]
    return aged or "what the application shows is fresh"


def application_only(s: Scene) -> Answer:
    """The database serves, and the application does not."""
    if not s.cannot_call():
        return "the application answers"
    if s.refused_writes():
        return "writes fail as well"
    if not s.writers():
        return "no place writes, which would tell the database from the application"
    primary, server = _where(s)
    blocked = [fact(primary, "%s sessions wait for locks" % server["blocked"])] if server.get("blocked") else []
    well = [fact(p, "writes through the service's name and reads it back") for p in s.writers()]
    return [*_clients(s), *well, *blocked]


def slow(s: Scene) -> Answer:
    """What clients ask takes far longer than it usually does."""
    usual = s.known.get("baseline", {})
    late = []
    for place, seen in s.writers().items():
        limit = max(s.limits["slow_s"], s.limits["slow_factor"] * float(usual.get(place, {}).get("write", 0.0)))
        if seen["ok"] and float(seen["took_s"]) > limit:
            late.append(fact(place, "a write takes %.1f s" % seen["took_s"]))
    for (place, name), seen in s.calls().items():
        limit = max(s.limits["slow_s"], s.limits["slow_factor"] * float(usual.get(place, {}).get(name, 0.0)))
        if seen.get("ok") and float(seen["took_s"]) > limit:
            late.append(fact(place, "%s takes %.1f s" % (name, seen["took_s"])))
    return late if late else "what clients ask takes no longer than usual"


def stale(s: Scene) -> Answer:
    """A standby is further behind than it may be."""
    primary, server = _where(s)
    behind = []
    if server.get("role") == "primary":
        for host in s.in_role("standby"):
            seen = s.server(host)
            lag = parse_lsn(server["lsn"]) - parse_lsn(seen["lsn"])
            on_purpose = int((seen.get("settings") or {}).get(DELAY) or 0)
            if lag > s.limits["lag_bytes"] and not on_purpose:
                behind += [
                    fact(
                        host,
                        "has replayed up to %s%s"
                        % (seen["lsn"], "" if seen.get("replay") in (None, "not paused") else "; replay is paused"),
                    ),
                    fact(primary, "is at %s, %d MB further" % (server["lsn"], lag >> 20)),
                ]
    return behind or "no standby is far behind"


def standby_lost(s: Scene) -> Answer:
    """A standby that was there follows no more."""
    primary, server = _where(s)
    found = []
    for host in s.known.get("standbys", []):
        seen = s.server(host)
        if seen.get("role") == "standby" and seen.get("streaming"):
            continue
        said = "does not answer" if s.silent(host) else "is %s" % (seen.get("role") or "not to be asked")
        found.append(
            fact(
                "controller" if s.silent(host) else host,
                "%s %s" % (host, said) if s.silent(host) else "%s, and streams from nobody" % said,
            )
        )
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
    share = s.limits["disk_free_share"]
    found = [
        fact(host, "%s has %d %% free" % (d["folder"], 100 * d["free_bytes"] / d["bytes"]))
        for host in s.states()
        for d in s.server(host).get("disks") or []
        if d["bytes"] and d["free_bytes"] < share * d["bytes"]
    ]
    return found or "every disk has room"


def unseen(s: Scene) -> Answer:
    """Clients are not served, and nothing that is seen says why."""
    return _clients(s) if s.hurt() else "clients are served"


RULES: "tuple[tuple[str, str, Callable[[Scene], Answer]], ...]" = (
    ("blind", PAGE, blind),
    ("two_primaries", PAGE, two_primaries),
    ("region_gone", PAGE, region_gone),
    ("everything_lost", PAGE, everything_lost),
    ("partitioned", PAGE, partitioned),
    ("host_gone", PAGE, host_gone),
    ("recovering", PAGE, recovering),
    ("full", PAGE, full),
    ("damaged", PAGE, damaged),
    ("stopped", PAGE, stopped),
    ("hung", PAGE, hung),
    ("no_connections", PAGE, no_connections),
    ("read_only", PAGE, read_only),
    ("wrong_role", PAGE, wrong_role),
    ("names_silent", PAGE, names_silent),
    ("misled", PAGE, misled),
    ("unconfirmed", PAGE, unconfirmed),
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
    """The situation: C(state), C(level), C(says), C(about), C(facts), C(refuted) [{state, why}] and C(doubts), what one place alone saw."""
    refuted, doubts = [], []
    for state, level, rule in RULES:
        answer = rule(s)
        if isinstance(answer, str):
            refuted.append({"state": state, "why": answer})
            continue
        if len({said["by"] for said in answer}) < 2 and state not in ALONE:
            refuted.append({"state": state, "why": "only one place says so: %s" % answer[0]["says"]})
            doubts += answer
            continue
        return {
            "state": state,
            "level": level,
            "says": SAYS[state],
            "about": s.primary(),
            "facts": _distinct(answer),
            "refuted": refuted,
            "doubts": doubts,
            "lost_regions": s.lost_regions(),
            "followed": any(s.server(host).get("streaming") for host in s.in_role("standby")),
        }
    well = [
        fact(place, "writes through the service's name and reads it back")
        for place, seen in s.writers().items()
        if seen["ok"]
    ]
    return {
        "state": "well", "level": NOTHING, "says": "Nothing is wrong.", "about": s.primary(),
        "facts": well, "refuted": refuted, "doubts": doubts + _clients(s), "lost_regions": s.lost_regions(), "followed": True,
    }  # fmt: skip


def _distinct(facts: "list[dict[str, str]]") -> "list[dict[str, str]]":
    """The facts, each once, in their order."""
    return list({(said["by"], said["says"]): said for said in facts}.values())
