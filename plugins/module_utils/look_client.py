"""What a client sees of a service from where this host stands: a write that is read back, and its endpoints. Runs there."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any, Mapping, Optional
from urllib.parse import urlsplit

from . import network

NOTE = """INSERT INTO pgrescue.looks (place, at) VALUES (%s, clock_timestamp())
    ON CONFLICT (place) DO UPDATE SET at = excluded.at RETURNING at"""
READ_BACK = "SELECT at FROM pgrescue.looks WHERE place = %s"
# what a place that was never equipped says, or one after a restore to before it was: it tells nothing of the service
UNEQUIPPED = (
    "no password supplied",
    "pgrescue.looks",
    'schema "pgrescue" does not exist',
    "permission denied for table looks",
)
LARGEST = 1 << 20  # bytes of a body that are read


def lookup(name: str) -> "dict[str, Any]":
    """Where a name leads, as this host's resolver says."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return {"addresses": [], "problem": str(error)}
    return {"addresses": sorted({str(entry[4][0]) for entry in found}), "problem": None}


def write(dsn: str, place: str, patience_s: float) -> "dict[str, Any]":
    """Write through the service's own name over a new connection, and read it back in a transaction of its own.

    `in_recovery` and `server` tell who answered, also where the write failed; `state` is the SQLSTATE, `problem` the first line.
    """
    import psycopg

    began = time.monotonic()
    seen: "dict[str, Any]" = {"ok": False, "problem": None, "state": None, "server": None, "in_recovery": None}
    try:
        with psycopg.connect(
            dsn,
            connect_timeout=max(int(patience_s), 2),
            tcp_user_timeout=int(1000 * patience_s),
            keepalives_idle=1,
            keepalives_interval=1,
            keepalives_count=2,
            application_name="pgrescue-look",
            options="-c statement_timeout=%d" % int(1000 * patience_s),
            autocommit=True,
        ) as connection:
            seen["server"] = connection.info.hostaddr
            (seen["in_recovery"],) = connection.execute("SELECT pg_is_in_recovery()").fetchone() or (None,)
            noted = connection.execute(NOTE, [place]).fetchone()
            seen["ok"] = connection.execute(READ_BACK, [place]).fetchone() == noted
            seen["problem"] = None if seen["ok"] else "what was written is not what is read back"
    except psycopg.Error as error:
        seen["problem"] = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        seen["state"] = error.sqlstate
        seen["unequipped"] = any(word in str(error) for word in UNEQUIPPED)
    return {**seen, "took_s": round(time.monotonic() - began, 4)}


def call(probe: "Mapping[str, Any]", patience_s: float, now_s: "Optional[float]" = None) -> "dict[str, Any]":
    """Call an endpoint; well is the status that is wanted, a body that says what it should, and content that is fresh.

    `probe`: C(url), and if wanted C(status), C(contains), and C(newest) with C(max_age_s): the key of a JSON object that holds the
    time of the newest content.
    """
    began = time.monotonic()
    seen: "dict[str, Any]" = {"ok": False, "problem": None, "status": None, "age_s": None}
    try:
        request = urllib.request.Request(probe["url"], headers={"User-Agent": "pgrescue-look", "Connection": "close"})
        context = ssl.create_default_context() if urlsplit(probe["url"]).scheme == "https" else None
        with urllib.request.urlopen(request, timeout=patience_s, context=context) as answer:
            seen["status"], body = answer.status, answer.read(LARGEST)
    except urllib.error.HTTPError as error:
        seen["status"], body = error.code, error.read(LARGEST)
    except (OSError, ValueError) as error:
        seen["problem"] = str(getattr(error, "reason", error)) or type(error).__name__
        return {**seen, "took_s": round(time.monotonic() - began, 4)}
    seen["took_s"] = round(time.monotonic() - began, 4)
    return {**seen, **judged(probe, int(seen["status"] or 0), body, time.time() if now_s is None else now_s)}


def judged(probe: "Mapping[str, Any]", status: int, body: bytes, now_s: float) -> "dict[str, Any]":
    """What is wrong with an answer, if anything is. Pure."""
    text = body.decode(errors="replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    says = content.get("error") if isinstance(content, dict) else None
    wanted = int(probe.get("status", 200))
    if says or status != wanted:
        return {"problem": str(says or "HTTP %d" % status)[:300]}
    if probe.get("contains", "") not in text:
        return {"problem": "the answer does not hold %r" % probe["contains"]}
    if not probe.get("newest"):
        return {"ok": True}
    age_s = _age(content, str(probe["newest"]), now_s)
    if age_s is None:
        return {"problem": "the answer says nothing of how old it is (%s)" % probe["newest"]}
    fresh = age_s <= float(probe.get("max_age_s", 60))
    return {
        "ok": fresh,
        "age_s": round(age_s, 3),
        "problem": None if fresh else "its newest content is %d s old" % age_s,
    }


def _age(content: Any, key: str, now_s: float) -> Optional[float]:
    """How old the newest content is, by the time it names; None when it names none."""
    text = content.get(key) if isinstance(content, dict) else None
    try:
        moment = datetime.fromisoformat(_iso(str(text)))
    except ValueError:
        return None
    return max(now_s - moment.timestamp(), 0.0)


def _iso(text: str) -> str:
    """A time as PostgreSQL, JSON or a person writes it, as Python 3.9 reads it."""
    text = text.strip().replace(" ", "T", 1).replace("Z", "+00:00")
    return text + ":00" if len(text) > 3 and text[-3] in "+-" else text  # +00 without minutes


def ports(hosts: "Mapping[str, str]", port: int, patience_s: float) -> "dict[str, str]":
    """What the PostgreSQL port of each host does when it is greeted from here: `well`, `refused` or `silent`."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=len(hosts) or 1) as pool:
        return dict(zip(hosts, pool.map(lambda name: network.greet(hosts[name], port, patience_s), hosts)))
