"""One look at a service from one host: its own server where it has one, the service as a client sees it, the other hosts' ports.

Every part has the same patience, and all are asked side by side. A part that is not answered is said to be so, and is not asked a
second time while the first question is out: a hung server costs one thread, not one a second.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, Callable, Mapping

from . import look_client, look_server

Part = Callable[[], Any]
GIVEN_UP_S = 30.0


class Looker:
    """Asks the parts of a look, again and again. One that is out for longer than `GIVEN_UP_S` is given up and asked anew."""

    def __init__(self, parts: "Mapping[str, Part]", patience_s: float) -> None:
        self._parts, self._patience_s = parts, patience_s
        self._out: "dict[str, tuple[float, list[Any], threading.Thread]]" = {}

    def look(self) -> "dict[str, Any]":
        """What each part answered; one that did not says for how long it has been out (`unanswered_s`)."""
        for name, part in self._parts.items():
            if name not in self._out or time.monotonic() - self._out[name][0] > GIVEN_UP_S:
                answers: "list[Any]" = []
                thread = threading.Thread(target=self._ask, args=(part, answers), daemon=True)
                self._out[name] = (time.monotonic(), answers, thread)
                thread.start()
        end = time.monotonic() + self._patience_s
        found = {}
        for name, (asked, answers, thread) in list(self._out.items()):
            thread.join(max(end - time.monotonic(), 0.0))
            if thread.is_alive():
                found[name] = {"unanswered_s": round(time.monotonic() - asked, 3)}
            else:
                found[name] = answers[0]
                del self._out[name]
        return found

    @staticmethod
    def _ask(part: Part, answers: "list[Any]") -> None:
        try:
            answers.append(part())
        except (
            BaseException
        ) as error:  # a module ends by SystemExit; told, not swallowed: the look says which part could not be asked
            answers.append({"unasked": "%s: %s" % (type(error).__name__, error)})


def parts(module: Any, wanted: "Mapping[str, Any]") -> "dict[str, Part]":
    """The parts of a look as a place's configuration wants them.

    `wanted`: C(place), C(patience_s), and as far as the place has it C(server) with C(in_use) and C(log), C(endpoint), C(dsn),
    C(probes), C(hosts) with C(port). `module` has PostgreSQL's connection arguments where there is a C(server).
    """
    found: "dict[str, Part]" = {}
    patience_s = float(wanted["patience_s"])
    if wanted.get("server"):
        server = wanted["server"]
        found["server"] = lambda: look_server.look(module, server.get("in_use"), server.get("log"))
    if wanted.get("endpoint"):
        found["name"] = lambda: look_client.lookup(wanted["endpoint"])
    if wanted.get("dsn"):
        found["write"] = lambda: look_client.write(wanted["dsn"], wanted["place"], patience_s)
    for name, probe in (wanted.get("probes") or {}).items():
        found["http " + name] = functools.partial(look_client.call, probe, patience_s)
    if wanted.get("hosts"):
        found["ports"] = lambda: look_client.ports(wanted["hosts"], int(wanted["port"]), min(patience_s, 1.3))
    return found


def said(wanted: "Mapping[str, Any]", answers: "Mapping[str, Any]") -> "dict[str, Any]":
    """A look as it is passed on: who looked, when, and what was seen."""
    http = {name[5:]: answer for name, answer in answers.items() if name.startswith("http ")}
    others = {name: answer for name, answer in answers.items() if not name.startswith("http ")}
    return {"place": wanted["place"], "at": round(time.time(), 3), **others, **({"http": http} if http else {})}
