"""Find the PostgreSQL clusters of a host that nobody of ours has been to: no driver, no name of a cluster is taken for granted.

Only looks: files are read, and servers are asked in read-only transactions.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import re
import shutil
import socket
from typing import Any, Optional

from . import adoption, archiving, observation, postgres, scram

NEWEST = "/usr/lib/postgresql/*/bin"
PATIENCE = {
    "PGCONNECT_TIMEOUT": "5",
    "PGAPPNAME": "pgrescue",
    "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=20s",
}
SHOWN = (
    "archive_mode", "wal_level", "max_wal_senders", "max_replication_slots", "max_connections", "listen_addresses", "ssl",
    "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "config_file", "hba_file", "data_directory", "data_checksums", "shared_preload_libraries",
)  # fmt: skip
QUESTION = r"""
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'server_version', split_part(current_setting('server_version'), ' ', 1),
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'data_bytes', (SELECT sum(pg_database_size(oid))::bigint FROM pg_database),
  'databases', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'),
  'locales', (SELECT json_agg(DISTINCT name) FROM (
       SELECT datcollate::text FROM pg_database UNION SELECT datctype::text FROM pg_database
       UNION SELECT setting FROM pg_settings WHERE name IN ('lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time')) AS all_names (name)),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN (%(shown)s)),
  'archive', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN ('archive_command', 'archive_library')),
  'fixed', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings
             WHERE name IN (%(ours)s) AND (source = 'command line' OR sourcefile LIKE '%%/postgresql.auto.conf')),
  'pending_restart', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart),
  'senders', (SELECT coalesce(json_agg(json_build_object('name', application_name, 'address', host(client_addr), 'user', usename)
                ORDER BY client_addr, application_name), '[]') FROM pg_stat_replication),
  'upstream', json_build_object(
     'host', substring(current_setting('primary_conninfo') FROM '(?:^|\s)host\s*=\s*''?([^\s'']+)'),
     'user', substring(current_setting('primary_conninfo') FROM '(?:^|\s)user\s*=\s*''?([^\s'']+)')),
  'replicator', (SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = 'replicator'))
"""


class Finder:
    """Looks at one host; `module` has `root` (where Debian keeps configurations), `command`, `password` and `files`."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.psql = max(glob.glob(NEWEST + "/psql"), key=lambda path: int(path.split("/")[4]), default=None)

    def host(self) -> "dict[str, Any]":
        """All that was found."""
        clusters = [
            self.cluster(path) for path in sorted(glob.glob(os.path.join(self.module.params["root"], "*", "*")))
        ]
        there = [one for one in clusters if one]
        owner = there[0]["owner"] if there else None
        files = [path for path in self.module.params["files"] if path and not self._readable(path, owner)]
        locales = self._run(["locale", "-a"])
        return {
            "name": socket.getfqdn(),
            "system": _system(),
            "locales": sorted(locales.split()) if locales else [],
            "clusters": there,
            "pgbackrest": _stanzas(),
            "unreadable": files if there else [],
            "certified": self._certified(self.module.params["certificate"]),
        }

    def cluster(self, config: str) -> "Optional[dict[str, Any]]":
        """One cluster, by the folder of its configuration; None where that is none."""
        version, name = config.split(os.sep)[-2:]
        main = _text(os.path.join(config, "postgresql.conf"))
        if not version.isdigit() or main is None:
            return None
        later = "".join(_text(path) or "" for path in sorted(glob.glob(os.path.join(config, "conf.d", "*.conf"))))
        directory = observation.configured_data_directory(main + "\n" + later)
        found: "dict[str, Any]" = {
            "version": int(version),
            "name": name,
            "config": config,
            "data_directory": directory,
            "owner": _owner(directory),
            "ours": os.path.exists(os.path.join(config, "conf.d", "50-pgrescue.conf")),
            "includes_conf_d": bool(
                re.search(r"(?m)^\s*include_dir\s*=?\s*'?(?:%s/)?conf\.d/?'?" % re.escape(config), main)
            ),
            "managed_by": adoption.who_manages(_text(os.path.join(config, "pg_hba.conf")) or ""),
            "port": _last_number(main + "\n" + later, "port"),
            "running": False,
            "problem": None,
        }
        return {**found, **self._server(found)} if directory else found

    def _server(self, found: "dict[str, Any]") -> "dict[str, Any]":
        """What a server that runs says of itself; nothing where none does."""
        if not postgres.is_alive(found["data_directory"]):
            return {}
        pid = (_text(os.path.join(found["data_directory"], "postmaster.pid")) or "").splitlines()
        if len(pid) < 5 or not self.psql:
            return {"problem": "its server is starting, or there is no psql to ask it with"}
        query = QUESTION % {"shown": _listed(SHOWN), "ours": _listed(adoption.OURS)}
        where = ["--host=" + pid[4].strip(), "--port=" + pid[3].strip(), "--dbname=postgres"]
        plain = ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--no-password", "--command=" + query]
        code, out, err = self.module.run_command(
            [*_as(found["owner"]), self.psql, *where, *plain], environ_update=PATIENCE
        )
        if code:
            return {"problem": (err.strip().splitlines() or ["psql ended with %d" % code])[0], "port": int(pid[3])}
        said: "dict[str, Any]" = json.loads(out)
        archive, verifier = said.pop("archive"), said.pop("replicator")
        return {
            **said,
            "running": True,
            "role": "standby" if said["in_recovery"] else "primary",
            "port": int(pid[3]),
            "archived_by": archiving.other_tool(archive, self.module.params["command"]),
            "replicator": self._compared(verifier),
        }

    def _compared(self, verifier: Optional[str]) -> str:
        """Whether the account is `absent`, has the `same` password as was given, or an `other`."""
        if verifier is None:
            return "absent"
        password = self.module.params["password"]
        return "same" if password and scram.is_of(verifier, "replicator", password) else "other"

    def _certified(self, path: Optional[str]) -> "Optional[list[str]]":
        """The names and addresses in a certificate; None where there is none, or nothing to read it with."""
        if not path or not shutil.which("openssl"):
            return None
        asked = ["-noout", "-subject", "-nameopt", "RFC2253", "-ext", "subjectAltName", "-in", path]
        code, out, _err = self.module.run_command(["openssl", "x509", *asked])
        if code:
            return None
        # as libpq: the common name counts where there is no other one
        return re.findall(r"(?:DNS|IP Address):([^,\s]+)", out) or re.findall(r"\bCN=([^,\s]+)", out)

    def _readable(self, path: str, owner: Optional[str]) -> bool:
        code, _out, _err = self.module.run_command([*_as(owner), "test", "-r", path])
        return bool(code == 0)

    def _run(self, command: "list[str]") -> str:
        _code, out, _err = self.module.run_command(command)
        return str(out)


def _as(owner: Optional[str]) -> "list[str]":
    """As the owner of the cluster, whom its server believes by name: in a folder that every user may enter."""
    return ["runuser", "-u", owner, "--"] if owner and os.geteuid() == 0 else []


def _listed(names: "tuple[str, ...]") -> str:
    return ", ".join("'%s'" % name for name in names)


def _text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _owner(directory: Optional[str]) -> Optional[str]:
    return pwd.getpwuid(os.stat(directory).st_uid).pw_name if directory and os.path.isdir(directory) else None


def _last_number(text: str, name: str) -> Optional[int]:
    found = re.findall(r"(?m)^\s*%s\s*=?\s*'?(\d+)" % name, text)
    return int(found[-1]) if found else None


def _system() -> str:
    found = re.search(r'(?m)^PRETTY_NAME="?([^"\n]+)', _text("/etc/os-release") or "")
    return found.group(1) if found else "an unknown system"


def _stanzas() -> "list[str]":
    """Stanzas of pgBackRest that somebody else configured."""
    texts = [_text(path) or "" for path in ("/etc/pgbackrest.conf", "/etc/pgbackrest/pgbackrest.conf")]
    return sorted(
        {
            name
            for text in texts
            if "pgrescue" not in text.partition("\n")[0]
            for name in re.findall(r"(?m)^\[(?!global)([^\]:]+)", text)
        }
    )
