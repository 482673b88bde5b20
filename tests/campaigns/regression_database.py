"""PostgreSQL's own regression database survives a physical and a logical proof with nothing different.

    python tests/campaigns/regression_database.py

All of its tests are run against a primary that archives and has a standby, a backup taken when a third of them are over.
Writes docs/campaigns/regression_database.md, and exits with 1 when a check fails.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from backups import Repositories
from dumping import key_pair
from modules import as_user, module
from object_store import ObjectStore
from postgres import PostgresServer, until
from regression_database import DATABASE, SETTINGS, Regression

PAGE = Path(__file__).parents[2] / "docs/campaigns/regression_database.md"
RUN = "campaign"
SCRATCH = {"max_prepared_transactions": "2"}
# Differences that are not ours, each with why; a check of such a name may say this and nothing else.
PRIVATE, PUBLIC = key_pair()


@dataclass
class Clock:
    """How long each step took."""

    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        print(f"==> {step}", flush=True)
        began = time.monotonic()
        yield
        self.steps[step] = time.monotonic() - began


def done(answer: dict[str, Any]) -> dict[str, Any]:
    """What a module answered; the campaign ends when it failed."""
    if answer.get("failed"):
        raise RuntimeError(answer["msg"])
    return answer


def ask(name: str, **arguments: Any) -> dict[str, Any]:
    """Call a module."""
    return done(module(name)(**arguments))


@dataclass
class Campaign:
    """One regression database, and what its copies are asked."""

    primary: PostgresServer
    made: Repositories
    clock: Clock

    def place(self, name: str, place: str, **arguments: Any) -> dict[str, Any]:
        """Call a module that works on the place of a copy, as the user that PostgreSQL runs as."""
        call = partial(module(name), place=place, run=RUN, version=self.primary.version, **arguments)
        return done(as_user(self.primary.user, call) if os.geteuid() == 0 else call())

    @contextmanager
    def copy(self, name: str, state: str) -> Iterator[dict[str, Any]]:
        """How to reach the server of a place, once it can be written; it is removed afterwards."""
        place = str(self.primary.folder / name)
        try:
            server = self.place("scratch_server", place, state=state, settings=SCRATCH)
            at = {"socket_directory": server["socket_directory"], "port": server["port"]}
            version = self.primary.version
            ask("await_server", until="writable", place=place, deadline_s=300, version=version, **at)
            yield at
        finally:
            self.place("scratch_server", place, state="absent")

    def build(self, standby: PostgresServer) -> int:
        """Run every test, with a backup on the way; how many there are."""
        regression = Regression(self.primary)
        third = len(regression.groups) // 3
        with self.clock("the first third of the tests"):
            tests = regression.run(regression.groups[:third], first=True)
        with self.clock("a full backup"):
            self.made.backup(1)
        with self.clock("the other tests"):
            tests += regression.run(regression.groups[third:], first=False)
        ((written,),) = self.primary.psql("SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
        until(lambda: standby.psql(replayed)[0][0], 60, "the standby has replayed everything")
        return tests

    def physical(self, standby: PostgresServer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What the standby held, and the checks of a copy that was restored to just there."""
        at_standby = {"port": standby.port, "socket_directory": str(standby.folder), "version": standby.version}
        with self.clock("the census of the standby, its replay held still"):
            census: dict[str, Any] = ask("census", pause_replay=True, **at_standby)["census"]
        with self.clock("its WAL reaches the repository"):
            self.made.archive()
        offered = ask("backup_catalog", stanza="test")["catalog"]
        with self.clock("the backup is restored and replayed to the census"):
            self.place(
                "restore_backup",
                str(self.primary.folder / "physical"),
                stanza="test",
                system_identifier=offered["system_identifier"],
                candidates=offered["candidates"],
                type="lsn",
                target=census["lsn"],
                inclusive=False,
                archive=False,
                apart=True,
            )
        with self.copy("physical", "started") as at, self.clock("the physical proof"):
            return census, ask("prove_copy", kind="physical", expected=census, **at)["checks"]

    def logical(self, store: ObjectStore) -> tuple[int, list[dict[str, Any]]]:
        """The size of a dump, and the checks of what was restored from it into an empty server."""
        host = f"{self.primary.address}:{self.primary.port}"
        given = {"service": "regression", "stores": [store.place]}
        with self.clock("a dump into an object store"):
            taken = ask(
                "take_dump",
                url=f"postgresql://postgres@{host}/postgres",
                signing_key=PRIVATE,
                work_directory=str(self.primary.folder / "dumps"),
                **given,
            )
        with self.copy("logical", "created") as at:
            with self.clock("the dump is restored"):
                restored = ask(
                    "restore_dump",
                    dumps=[taken["id"]],
                    public_keys=[PUBLIC],
                    work_directory=str(self.primary.folder / "restores"),
                    **given,
                    **at,
                )
            manifest = restored["manifest"]
            expected = {
                "cluster": manifest["cluster_census"],
                "databases": {entry["name"]: entry["census"] for entry in manifest["databases"]},
            }
            names = [*expected["databases"]]
            with self.clock("the logical proof"):
                proven = ask("prove_copy", kind="logical", expected=expected, databases=names, **at)
        return taken["dump_bytes"], proven["checks"]


def main() -> None:
    primary = PostgresServer(settings=SETTINGS)
    standby = None
    try:
        made = Repositories(primary)
        os.environ.update(PGBACKREST_CONFIG=str(made.config), PGUSER="postgres")
        standby = primary.standby_of().start()
        campaign = Campaign(primary, made, Clock())
        tests = campaign.build(standby)
        census, physical = campaign.physical(standby)
        with ObjectStore(primary.folder / "store") as store:
            dump_bytes, logical = campaign.logical(store)
        ((size,),) = primary.psql(f"SELECT pg_database_size('{DATABASE}')")
        import json
        json.dump([census, physical, logical], open("/tmp/wt/regr.json", "w"))
        for kind, checks in (("physical", physical), ("logical", logical)):
            for c in checks:
                print(kind, c["verdict"], c["name"], c["duration_s"], c["observed"][:1000])
        print(tests, size, dump_bytes, campaign.clock.steps)
    finally:
        if standby:
            standby.remove()
        primary.remove()


if __name__ == "__main__":
    main()
