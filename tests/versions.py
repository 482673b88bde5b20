"""Servers of one major version or another with all their programs, and modules that find these programs."""

from __future__ import annotations

from typing import Any

import postgres
import pytest
from dumping import CLIENTS
from modules import collection
from postgres import PostgresServer, until

INSTALLED = int(postgres.programs().parent.name)


class Version:
    """A major version whose servers a test makes."""

    def __init__(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = number
        self.fetched = number != INSTALLED
        if self.fetched:
            monkeypatch.setattr(postgres, "FETCHED", CLIENTS)
            monkeypatch.setattr(collection("plugins.module_utils.postgres"), "BIN", str(CLIENTS / "%s" / "bin"))
            # its receiver of WAL would take the libpq that is installed, and not understand it
            monkeypatch.setenv("LD_LIBRARY_PATH", str(CLIENTS / str(number) / "lib"))
        monkeypatch.setenv("PGUSER", "postgres")

    def server(self, **more: Any) -> PostgresServer:
        """A server, not started yet."""
        return PostgresServer(version=self.number if self.fetched else None, **more)

    def standby(self, source: PostgresServer, **more: Any) -> PostgresServer:
        """A streaming standby of a running server, started and level with it."""
        standby = self.server(source=source, **more).start()
        sent = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"
        until(lambda: standby.psql(sent)[0][0], 20, "it streams")
        catch_up(standby, source)
        return standby

    def at(self, server: PostgresServer, **more: Any) -> dict[str, Any]:
        """A module's arguments that say which server."""
        return {"version": self.number, "port": server.port, "socket_directory": str(server.folder), **more}


def catch_up(standby: PostgresServer, source: PostgresServer) -> None:
    """Wait until the standby has replayed all that its source has written."""
    end = source.psql("SELECT pg_current_wal_lsn()::text")[0][0]
    until(lambda: standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{end}'")[0][0], 20, f"it has replayed to {end}")
