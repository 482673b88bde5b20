"""What stands in the way of protecting a cluster that somebody else made. Pure: from what M(found_clusters) saw."""

from __future__ import annotations

import re
from typing import Any, Iterable, Iterator, Mapping, Optional

from . import network

NAME = "main"  # what Debian calls a cluster, and the runbooks with it
SNAKEOIL = "ssl-cert-snakeoil"  # the certificate that Debian makes for whoever has none
# of these what ALTER SYSTEM or the command line says wins over what protect.yml writes
OURS = (
    "archive_mode",
    "archive_command",
    "archive_library",
    "wal_level",
    "ssl",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "hot_standby",
)
MANAGERS = (
    r"(?im)^\s*[#;].*?(?:\b(?:managed|maintained|generated) by ([\w-]+)|\b(ansible|puppet|chef|saltstack|cfengine)\b)"
)
BLOCK = "# BEGIN pgrescue"
ANYWHERE = ("c", "posix", "c.utf8", "ucs_basic", "")  # locales that every system has


def who_manages(hba: str) -> Optional[str]:
    """The configuration management that pg_hba.conf says writes it; None where nothing says so, or our lines are in it already."""
    found = re.search(MANAGERS, hba)
    return (found.group(1) or found.group(2)) if found and BLOCK not in hba else None


def plain_locale(name: str) -> str:
    """`de_DE.UTF-8` and `de_DE.utf8` are one."""
    return name.lower().replace("-", "")


def missing_locales(wanted: Iterable[str], there: Iterable[str]) -> "list[str]":
    """Locales that a cluster needs and a system has not, as the cluster calls them."""
    known = {plain_locale(name) for name in there}.union(ANYWHERE)
    return sorted({name for name in wanted if plain_locale(name) not in known})


def cluster_of(found: Mapping[str, Any], version: int) -> "Optional[Mapping[str, Any]]":
    """The cluster of a host that a service of this major version would be: the one called main, else one that runs."""
    same = [one for one in found["clusters"] if one["version"] == version]
    named = [one for one in same if one["name"] == NAME]
    return next(iter(named or [one for one in same if one["running"]]), None)


def is_ours(found: Mapping[str, Any]) -> bool:
    """Whether protect.yml has been to the host before."""
    return any(one["ours"] for one in found["clusters"])


def obstacles(
    found: "Mapping[str, Mapping[str, Any]]", wanted: "Mapping[str, Mapping[str, Any]]"
) -> "dict[str, list[str]]":
    """Of each host, in sentences that say what to do, what protect.yml would break there; hosts without any are left out.

    `wanted` is what the inventory says of a host: C(version), C(port), C(current) (the link to the place in use) and, where known,
    C(cert) and C(ca). What protect.yml configured itself is not asked again.
    """
    needed = {
        name for host in found for one in found[host]["clusters"] for name in one.get("locales") or [] if one["running"]
    }
    said = {}
    for host, seen in found.items():
        sentences = [] if is_ours(seen) else list(_of_host(seen, wanted[host]))
        absent = missing_locales(needed, seen["locales"])
        if absent:
            sentences.append(
                "it has no locale %s, without which a copy of the database does not start there. Add it to /etc/locale.gen and "
                "run: sudo locale-gen" % ", ".join(absent)
            )
        if sentences:
            said[host] = sentences
    return said


def refusal(said: "Mapping[str, list[str]]") -> str:
    """All of it in one message."""
    lines = ["%s: %s" % (host, sentence) for host in sorted(said) for sentence in said[host]]
    return "These clusters cannot be protected as they are. Nothing was changed on any host.\n- " + "\n- ".join(lines)


def _of_host(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> "Iterator[str]":
    version = int(wanted["version"])
    one = cluster_of(seen, version)
    if one is None:
        others = sorted({"%(version)s/%(name)s" % other for other in seen["clusters"] if other["running"]})
        if others:
            yield (
                "it runs %s, and the inventory says PostgreSQL %d. If that is the service's, set postgres_version; if not, take the "
                "host out of the service" % (" and ".join(others), version)
            )
        return
    if one["name"] != NAME:
        yield (
            "its cluster is called %s, and the runbooks know one called main. Rename it, which restarts it: sudo pg_renamecluster "
            "%d %s main" % (one["name"], version, one["name"])
        )
        return
    yield from _settings(one, wanted)
    yield from _names(seen, wanted)
    yield from _files(seen, one, wanted)


def _settings(one: Mapping[str, Any], wanted: Mapping[str, Any]) -> "Iterator[str]":
    if one["port"] and int(one["port"]) != int(wanted["port"]):
        yield "its server listens on port %s, and the inventory says %s. Set postgres_port: %s" % (
            one["port"],
            wanted["port"],
            one["port"],
        )
    if not one["running"]:
        return
    settings = one["settings"]
    for name, expected in (("config_file", "postgresql.conf"), ("hba_file", "pg_hba.conf")):
        path = "%s/%s" % (one["config"], expected)
        if settings.get(name) != path:
            yield "its %s is %s, and the runbooks write %s. Move it there, as Debian has it, and restart" % (
                name,
                settings.get(name),
                path,
            )
    if one["fixed"]:
        yield (
            "%s is set by ALTER SYSTEM or on the command line, which wins over conf.d/50-pgrescue.conf. Move it to postgresql.conf, "
            "then: ALTER SYSTEM RESET %s" % (", ".join(one["fixed"]), one["fixed"][0])
        )
    commands = list(_before_a_restart(one, settings, wanted["current"]))
    if commands:
        yield (
            "its server must be restarted once, which protect.yml leaves to you, standbys first: %s && sudo systemctl restart "
            "postgresql@%d-main" % (" && ".join(commands), one["version"])
        )
    elif one["pending_restart"]:
        yield "it waits for a restart to take up %s. Restart it first" % ", ".join(one["pending_restart"])
    if one["replicator"] == "other":
        yield (
            "its account replicator is there already, with another password than postgres_replication_password: standbys that use it "
            "would be locked out. Put that password into the inventory"
        )
    yield from _certificates(settings, wanted)


def _before_a_restart(one: Mapping[str, Any], settings: Mapping[str, Any], current: str) -> "Iterator[str]":
    """What only a restart takes up: the link that a restore moves elsewhere, that others are let in, and that WAL is archived at all."""
    place = settings.get("data_directory")
    if place != current:
        yield "sudo ln -sfn %s %s" % (place, current)
        yield "sudo pg_conftool %d main set data_directory %s" % (one["version"], current)
    unarchived = settings.get("archive_mode") == "off" or settings.get("wal_level") == "minimal"
    if unarchived or network.listens_alone(settings.get("listen_addresses")):
        lines = ("listen_addresses = '*'", "archive_mode = on", "archive_command = '/bin/true'", "wal_level = replica")
        yield 'printf "%s\\n" | sudo tee %s/conf.d/10-restart.conf' % ("\\n".join(lines), one["config"])


def _names(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> "Iterator[str]":
    """Standbys and the witness verify whom they connect to; one that is turned away is known when it is too late."""
    if seen.get("certified") is None:
        return
    lacking = [name for name in wanted.get("names") or [] if not any(_covers(one, name) for one in seen["certified"])]
    if lacking:
        yield (
            "its certificate %s names %s and not %s, and who verifies it would turn away. Have one made that does, or give "
            "the host the name it has: postgres_fqdn"
            % (wanted["cert"], ", ".join(seen["certified"]) or "nobody", " and ".join(lacking))
        )


def _covers(certified: str, name: str) -> bool:
    """Whether a name of a certificate, which may begin with C(*.), stands for this one; libpq compares the same way."""
    if certified.startswith("*."):
        return name.lower().partition(".")[2] == certified[2:].lower()
    return name.lower() == certified.lower()


def _certificates(settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> "Iterator[str]":
    """What clients verify must stay what it is."""
    if settings.get("ssl") != "on":
        return
    now, then = settings.get("ssl_cert_file") or "", wanted.get("cert")
    if then and SNAKEOIL not in now and now != then:
        yield (
            "it shows the certificate %s, and would show %s: clients that verify it may turn away. Set postgres_tls_cert and _key"
            % (now, then)
        )
    now, then = settings.get("ssl_ca_file") or "", wanted.get("ca")
    if then and now and now != then:
        yield "it accepts clients' certificates of %s, and would accept those of %s. Set postgres_tls_ca" % (now, then)


def _files(seen: Mapping[str, Any], one: Mapping[str, Any], wanted: Mapping[str, Any]) -> "Iterator[str]":
    if seen["unreadable"]:
        yield (
            "%s cannot be read by %s there: the server would not start again. Put it there first (docs/adopt.md)"
            % (" and ".join(seen["unreadable"]), one["owner"])
        )
    if not one["includes_conf_d"]:
        yield "its postgresql.conf does not read conf.d. Add the line include_dir = 'conf.d' at its end"
    if one["managed_by"]:
        yield (
            "its pg_hba.conf says that it is written by %s, which would take our lines out again. Have that write them, between "
            "# BEGIN pgrescue and # END pgrescue (docs/adopt.md)" % one["managed_by"]
        )
