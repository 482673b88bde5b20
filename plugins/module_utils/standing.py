"""How recoverable a service is at this moment: to when, how proven, how long each way would take if its primary were lost now. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from .proposals import RUNBOOKS, supposed
from .ways import ways


def standing(situation: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "dict[str, Any]":
    """C(listed), whether it is known what can be restored; C(recoverable_to), C(proven), C(repositories), C(estimates) [a way each],
    C(degraded) [sentences].

    `request` is what C(proposals.propose) takes.
    """
    catalog = request["catalog"] or {}
    candidates = catalog.get("candidates", [])
    proven = max((str(one["proven"]) for one in candidates if one.get("proven")), default=None)
    end = (catalog.get("archive_end") or {}).get("time")
    return {
        "listed": not catalog.get("problem"),
        "recoverable_to": end,
        "proven": proven,
        "repositories": _repositories(catalog),
        "estimates": _estimates(situation, request),
        "degraded": _degraded(situation, catalog, proven) + _silent(situation, request),
    }


def _repositories(catalog: "Mapping[str, Any]") -> "list[dict[str, Any]]":
    """Each repository with its newest backup, or with what it said instead of an answer."""
    found: "dict[str, dict[str, Any]]" = {}
    for one in catalog.get("candidates", []):
        number = str(one["repo"])
        if number not in found or str(one.get("stopped")) > str(found[number]["stopped"]):
            found[number] = {
                "repository": number,
                "backup": one["label"],
                "stopped": one.get("stopped"),
                "problem": None,
            }
    for number, said in (catalog.get("unreachable") or {}).items():
        found[str(number)] = {"repository": str(number), "backup": None, "stopped": None, "problem": said}
    return [found[number] for number in sorted(found)]


def _estimates(situation: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "list[dict[str, Any]]":
    """What each way would take and lose if the primary were lost now; the closed ones with the reason."""
    runbooks = ("failover", "complete_loss")
    return [way for what in runbooks for way in ways(supposed(situation, request, RUNBOOKS[what], what))]


def _degraded(situation: "Mapping[str, Any]", catalog: "Mapping[str, Any]", proven: "Optional[str]") -> "list[str]":
    """What is not as it should be, though clients may be served."""
    found = [situation["says"]] if situation["level"] != "none" else []
    found += ["repository %s: %s" % (number, said) for number, said in (catalog.get("unreachable") or {}).items()]
    found += ["backup %(label)s is passed over: %(reason)s" % over for over in catalog.get("passed_over", [])]
    if catalog.get("problem"):
        found.append("what can be restored could not be listed: %s" % catalog["problem"])
    elif not catalog.get("candidates"):
        found.append("there is no backup that could be restored")
    elif proven is None:
        found.append("no backup was ever proven: pgrescue prove")
    return found


def _silent(situation: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "list[str]":
    """Database hosts of which nothing was heard; those that the situation is about are told there."""
    told = {situation["about"], *(said["by"] for said in situation["facts"])} if situation["level"] != "none" else set()
    silent = sorted(set(request["hosts"]) - set(request["states"]) - told)
    return ["%s does not say what it is: its host or its server does not answer" % host for host in silent]
