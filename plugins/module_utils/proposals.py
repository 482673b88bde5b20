"""What can be done about a situation, the first proposal first: what each way takes, loses and changes, and why others are not offered. Pure.

A way that gives up commits or leaves a cluster is proposed first only for a situation that needs it.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .ways import LOGICAL, PROMOTE, RESTORE, WARM, took, ways

RUNBOOKS = {  # runbook: the ways that it may take, and whether it needs a lost region
    "failover": [PROMOTE],
    "region_failure": [PROMOTE, RESTORE],
    "complete_loss": [RESTORE],
}
DESTRUCTIVE = frozenset(["failover", "region_failure", "complete_loss", "corruption"])
NEEDS_IT = frozenset(["region_gone", "everything_lost", "partitioned", "host_gone", "data_gone", "damaged"])

# What is done without a runbook that loses anything: what it is, and the command, with the service's name and inventory left open.
OTHERS: "dict[str, tuple[str, str]]" = {
    "wait": ("It comes back by itself; look again.", "pgrescue triage -s {service} -i {inventory}"),
    "restart": (
        "Start the primary's server again, where its data is.",
        "pgrescue recover restart -s {service} -i {inventory}",
    ),
    "power_on": (
        "Start the host of the primary again, where it is run; then look anew.",
        "pgrescue triage -s {service} -i {inventory}",
    ),
    "free_disk": ("Make room on the disk; delete nothing below pg_wal.", "pgrescue lint -s {service} -i {inventory}"),
    "end_sessions": (
        "End the sessions that are idle, and find who leaves them open.",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid()",
    ),
    "allow_writes": (
        "Let the primary take writes again, when nobody forbids them on purpose.",
        "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()",
    ),
    "point_name": (
        "Point the service's name at its primary.",
        "ansible-playbook playbooks/protect.yml -i {inventory} -e service={service}",
    ),
    "mend_names": (
        "Bring the name servers back; the database is well. Then look anew.",
        "pgrescue triage -s {service} -i {inventory}",
    ),
    "mend_path": (
        "Mend the network between the clients and the primary.",
        "pgrescue triage -s {service} -i {inventory}",
    ),
    "mend_application": (
        "Start the application again; the database is well.",
        "pgrescue triage -s {service} -i {inventory}",
    ),
    "let_commit": (
        "Bring the standby back, or let commits go on without it, which makes them depend on one host.",
        "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()",
    ),
    "close": (
        "Keep every client out of the primaries, then find which of them clients were told the truth by.",
        "ansible-playbook playbooks/close_service.yml -i {inventory} -e service={service} -e confirm={service}",
    ),
    "find_moment": (
        "Find the transaction that did it, and bring the rows or tables back beside the clients.",
        "ansible-playbook playbooks/last_good_moment.yml -i {inventory} -e service={service} -e moment_table=TABLE -e moment_damage=table_dropped",
    ),
    "partial_loss": (
        "Bring the missing rows or tables back; nobody is disconnected.",
        "pgrescue recover partial_loss -s {service} -i {inventory} -e partial_tables=TABLE",
    ),
    "corruption": (
        "Repair what is corrupt the cheapest safe way.",
        "pgrescue recover corruption -s {service} -i {inventory}",
    ),
    "rebuild_standbys": (
        "Build the standby again.",
        "ansible-playbook playbooks/rebuild_standbys.yml -i {inventory} -e service={service}",
    ),
    "switchover": (
        "Leave the primary for a standby; nothing is lost.",
        "pgrescue recover switchover -s {service} -i {inventory}",
    ),
    "lint": ("See what keeps WAL from being archived.", "pgrescue lint -s {service} -i {inventory}"),
    "look": (
        "Look at what is slow, or cannot be seen, before anything is changed.",
        "pgrescue triage -s {service} -i {inventory}",
    ),
}

ORDER: "dict[str, list[str]]" = {
    "blind": ["look"],
    "two_primaries": ["close"],
    "region_gone": ["region_failure", "wait"],
    "everything_lost": ["complete_loss", "power_on"],
    "partitioned": ["failover", "mend_path", "wait"],
    "host_gone": ["failover", "complete_loss", "power_on"],
    "data_gone": ["failover", "complete_loss"],
    "recovering": ["wait", "failover"],
    "full": ["free_disk", "failover"],
    "damaged": ["corruption"],
    "stopped": ["restart", "failover", "complete_loss"],
    "hung": ["restart", "failover"],
    "no_connections": ["end_sessions", "restart"],
    "read_only": ["allow_writes", "switchover"],
    "wrong_role": ["point_name"],
    "names_silent": ["mend_names"],
    "misled": ["point_name"],
    "unconfirmed": ["let_commit", "rebuild_standbys"],
    "table_gone": ["partial_loss", "find_moment"],
    "stale_content": ["mend_application", "look"],
    "application_only": ["mend_application", "wait"],
    "unseen": ["look", "wait"],
    "slow": ["look", "wait", "switchover"],
    "stale": ["wait", "rebuild_standbys"],
    "standby_lost": ["rebuild_standbys"],
    "unarchived": ["lint"],
    "filling": ["free_disk"],
    "well": [],
}


def propose(situation: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "dict[str, Any]":
    """`proposed`, ranked, and `not_offered`, each with the reason.

    `situation`: the answer of C(situations.judge). `request`: C(service), C(inventory), and what M(plan_recovery) is told: C(states),
    C(hosts), C(catalog), C(dumps), C(runs), C(prefer_region), C(manager), C(last_acknowledged_s).
    """
    proposed, not_offered = [], []
    for what in _order(situation):
        if what in RUNBOOKS:
            found = _runbook(what, situation, request)
        else:
            says, command = OTHERS[what]
            found = {
                "do": what,
                "says": says,
                "command": _command(command, request),
                **took(request["runs"], "procedure", what),
            }
        if "why" not in found and what in DESTRUCTIVE and situation["state"] not in NEEDS_IT:
            found["why"] = "it gives up what another way keeps; only when that does not help: %s" % found["command"]
        if "why" in found:
            not_offered.append(found)
        else:
            proposed.append({**found, "destructive": what in DESTRUCTIVE})
    listed = {entry["do"] for entry in (*proposed, *not_offered)}
    not_offered += [
        {"do": what, "why": _needless(what, situation)}
        for what in ("failover", "complete_loss", "region_failure")
        if what not in listed
    ]
    return {"proposed": proposed, "not_offered": not_offered}


def _needless(what: str, situation: "Mapping[str, Any]") -> str:
    """Why a runbook that gives something up is not even looked at."""
    if situation["state"] == "region_gone":
        return "region_failure does the same, and moves the application too"
    return "the situation does not need it: %s" % situation["says"].rstrip(".").lower()


def _order(situation: "Mapping[str, Any]") -> "list[str]":
    """What is looked at for a state; a primary whose standbys still follow is cut from its clients alone, and the path is mended first."""
    order = ORDER[situation["state"]]
    if situation["state"] == "partitioned" and situation.get("reached"):
        return ["mend_path", "switchover", "wait"]
    return order


def _command(text: str, request: "Mapping[str, Any]") -> str:
    return text.format(service=request["service"], inventory=request["inventory"])


def supposed(
    situation: "Mapping[str, Any]",
    request: "Mapping[str, Any]",
    methods: "Sequence[str]",
    procedure: str,
    despite_copies: bool = False,
) -> "dict[str, Any]":
    """What C(ways) is asked, supposing that the primary is lost: a server that hangs or starts is fenced first, and closes no way."""
    return {
        "procedure": procedure,
        "method": "",
        "target": None,
        "only_in": None,
        "system_identifier": None,
        "despite_copies": despite_copies,
        "despite_primary": True,
        "undoes": {},
        "dump": None,
        "planned": False,
        **request,
        "states": {host: seen for host, seen in request["states"].items() if host != situation["about"]},
        "lost_regions": situation["lost_regions"],
        "methods": methods,
    }


def _runbook(what: str, situation: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "dict[str, Any]":
    """The best open way of a runbook with its figures, or why none is open."""
    asked = supposed(situation, request, RUNBOOKS[what], what, despite_copies=what == "complete_loss")
    states = asked["states"]
    if what == "complete_loss" and any(seen["role"] == "standby" for seen in states.values()):
        standbys = [host for host, seen in states.items() if seen["role"] == "standby"]
        return {"do": what, "why": "%s has a copy that loses less" % ", ".join(standbys)}
    if what == "region_failure" and not situation["lost_regions"]:
        return {"do": what, "why": "no region is lost"}
    found = ways(asked)
    way = next((way for way in found if "closed" not in way), None)
    if way is None:
        reasons = ["%s %s: %s" % (w["method"], w.get("host") or w.get("backup"), w["closed"]) for w in found]
        problem = (request["catalog"] or {}).get("problem")
        unlisted = ["what can be restored could not be listed: %s" % problem] if problem else []
        return {"do": what, "why": "; ".join(reasons + unlisted) or "no standby and no backup was seen"}
    method = way["method"]
    says = {
        PROMOTE: "Promote %s; the primary that is left is fenced first." % way.get("host"),
        RESTORE: "Restore backup %s on a clean host." % way.get("backup"),
        WARM: "Restore backup %s over what %s was left with, which stays." % (way.get("backup"), way.get("host")),
        LOGICAL: "Restore dump %s into a new cluster." % way.get("backup"),
    }[method]
    figures = ("host", "backup", "repository", "loses_bytes", "loses_s", "takes_s", "takes_p95_s")
    kept: "dict[str, Any]" = {key: way[key] for key in figures if key in way}
    command = _command("pgrescue recover %s -s {service} -i {inventory}" % what, request)
    return {"do": what, "says": says, "method": method, "command": command, **kept}
