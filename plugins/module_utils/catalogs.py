"""What pgBackRest's repositories offer to restore, asked and folded in one call. Runs where their configuration is."""

from __future__ import annotations

from . import guards, network, pgbackrest, repository


class NoBackup(guards.Stop):
    """Every repository was looked at, and none has one."""


def observe(
    engine: pgbackrest.Repositories, wanted: "str | None", unreachable: "dict[str, str]"
) -> "dict[str, object]":
    """Ask the repositories and fold their answers; those that do not answer are added to `unreachable`."""
    endpoints = engine.module.params["endpoints"]
    unreachable.update(network.tls_problems(endpoints, engine.module.params["knock_s"]))
    answering = ["--repo=%s" % repo for repo in endpoints if str(repo) not in unreachable] if unreachable else [None]
    info = [stanza for repo in answering for stanza in engine.ask(*filter(None, [repo]), "info")]
    known = [repo for stanza in info for repo in stanza.get("repo", [])]
    # 0 ok, 1 no such stanza, 2 no valid backups
    unseen = bool(unreachable) or any(repo["status"]["code"] not in (0, 1, 2) for repo in known)
    unreachable.update(
        {str(repo["key"]): repo["status"]["message"] for repo in known if repo["status"]["code"] not in (0, 2)}
    )
    backups = repository.candidates(info, [int(repo) for repo in unreachable])
    if not backups:
        said = "; ".join("repository %s: %s" % item for item in sorted(unreachable.items())) or "they hold no backup"
        raise (guards.Stop if unseen else NoBackup)(
            "No repository offers a backup of %s (%s)." % (engine.module.params["stanza"], said), guards.PRECONDITION
        )
    system = repository.single_system(backups, wanted or repository.present_system(info))
    archives = repository.archives(info, system, unreachable)
    stored, line = engine.archived(archives, repository.segment_bytes(backups, system))
    usable, passed_over = repository.judge(backups, system, stored, line)
    oldest = min(usable, key=lambda b: str(b["stopped"]), default=None)
    return {
        "candidates": usable,
        "passed_over": passed_over,
        "system_identifier": system,
        "timeline": line.newest if stored else None,
        "archive_end": repository.archive_end(stored, usable[0]) if usable else None,
        "unreachable": unreachable,
        "missing_segments": repository.missing_segments(stored, oldest) if oldest else 0,
    }
