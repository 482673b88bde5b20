"""A host with a cluster that somebody else made: a real server, and its configuration where Debian has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from postgres import PostgresServer

ASKS = {"archive_mode": "on", "archive_command": "/bin/true"}


def laid_out(root: Path, server: PostgresServer, name: str = "main", more: str = "") -> Path:
    """The folder of the configuration of a server, as pg_createcluster would have left it; the server reads another."""
    folder = root / str(server.version) / name
    (folder / "conf.d").mkdir(parents=True)
    said = f"data_directory = '{server.data}'\nport = {server.port}\ninclude_dir = 'conf.d'\n{more}"
    (folder / "postgresql.conf").write_text(said)
    (folder / "pg_hba.conf").write_text((server.data / "pg_hba.conf").read_text())
    return folder


@contextmanager
def running(root: Path, name: str = "main", **more: Any) -> Iterator[PostgresServer]:
    """A server that runs with its configuration laid out below `root`."""
    with PostgresServer(**more) as server:
        laid_out(root, server, name)
        yield server


def fingerprint(root: Path, server: PostgresServer) -> dict[str, Any]:
    """All that somebody who only looks must leave as it is: files of the configuration, settings, accounts, objects."""
    names = [path for folder in (root, server.data) for path in [*folder.rglob("*.conf"), *folder.rglob("*.signal")]]
    return {
        "files": {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in names},
        "settings": server.psql("SELECT name, setting, source FROM pg_settings WHERE name <> 'application_name'"),
        "objects": server.psql("SELECT oid FROM pg_class UNION ALL SELECT oid FROM pg_authid"),
    }
