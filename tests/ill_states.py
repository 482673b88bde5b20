"""States of the lab's service, each brought about for real, its effect checked, and undone.

What a fault needs of the lab is done from outside (podman) or as an operator would (SSH), so that it works while the
service is ill.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from lab_hosts import INVENTORY, POSTGRES, on, podman, run, variables

UNIT = f"postgresql@{POSTGRES}-main.service"
PLACES = ("app1", "app2", "client1")
PATIENCE_S = 90


class Lab:
    """The lab while something is wrong with it; who was primary is asked once, while all is well."""

    def __init__(self) -> None:
        hosts = json.loads(run("pgrescue", "lab", "status", "--json"))["hosts"]
        self.primary = next(host for host, role in hosts.items() if role == "primary")
        self.standbys = sorted(host for host, role in hosts.items() if role == "standby")
        self.address = {host: variables(host)["ansible_host"] for host in (*hosts, "ns1", "client1", "app1", "app2")}
        self.home = next(
            host
            for host in self.standbys
            if self.address[host].split(".")[1] == self.address[self.primary].split(".")[1]
        )

    def inside(self, host: str, *command: str) -> str:
        """Run a command on a host, past SSH."""
        return podman("exec", f"pgrescue-{host}", *command)

    def sql(self, statement: str, host: str | None = None, database: str = "postgres") -> str:
        """Let the superuser of a host's server say something."""
        return on(host or self.primary, f"psql -XAtqd {database} <<'SQL'\n{statement}\nSQL")

    def play(self, path: str, **more: Any) -> None:
        """Run a playbook of the lab."""
        run("ansible-playbook", "-i", INVENTORY, "-e", json.dumps({"service": "shop", **more}), path)

    def point(self, name: str, address: str) -> None:
        """Let a name of the lab's zone lead to an address."""
        steps = ("begin lab.test", f"unset lab.test {name} A", f"set lab.test {name} 2 A {address}", "commit lab.test")
        self.inside("ns1", "sh", "-ec", "; ".join(f"knotc -b zone-{step}" for step in steps))

    def password(self, name: str) -> str:
        """A secret of the lab."""
        from lab_hosts import HOUSE

        return (HOUSE / ".lab/secrets" / name).read_text().strip()


def until(what: str, question: Callable[[], Any], limit_s: float = PATIENCE_S) -> Any:
    """The first true answer, or the end with what was not seen."""
    end = time.monotonic() + limit_s
    while not (answer := question()):
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not so after {limit_s} s")
        time.sleep(0.1)  # between two looks
    return answer


@dataclass
class State:
    """How it is brought about and undone, what is to be concluded, and what is to be proposed first."""

    name: str
    state: str
    first: str
    inject: Callable[[Lab], Any]
    undo: Callable[[Lab, Any], Any]  # of what the injection answered
    destructive: bool = False


def _kill_hosts(lab: Lab, *hosts: str) -> None:
    for host in hosts:
        podman("kill", "--signal=KILL", f"pgrescue-{host}")


def _kill_primary(lab: Lab) -> None:
    _kill_hosts(lab, lab.primary)


def _cut_primary(lab: Lab) -> None:
    lab.play("lab/faults/partition_primary.yml")


def _cut_region(lab: Lab) -> None:
    lab.play("lab/faults/cut_region.yml")


def _heal(lab: Lab, _kept: object) -> None:
    lab.play("lab/heal.yml")


def _stop(lab: Lab) -> None:
    lab.inside(lab.primary, "systemctl", "kill", "--signal=KILL", UNIT)
    until("the server is gone", lambda: _active(lab) != "active")


def _active(lab: Lab) -> str:
    return podman("exec", f"pgrescue-{lab.primary}", "sh", "-c", f"systemctl is-active {UNIT} || true").strip()


def _start(lab: Lab, _kept: object) -> None:
    lab.inside(lab.primary, "systemctl", "reset-failed", UNIT)
    lab.inside(lab.primary, "systemctl", "start", UNIT)


def _hang(lab: Lab) -> None:
    lab.inside(lab.primary, "systemctl", "kill", "--signal=STOP", UNIT)


def _go_on(lab: Lab, _kept: object) -> None:
    lab.inside(lab.primary, "systemctl", "kill", "--signal=CONT", UNIT)


def _read_only(lab: Lab) -> None:
    lab.sql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")


def _allow_writes(lab: Lab, _kept: object) -> None:
    lab.sql(
        "SET default_transaction_read_only = off; "
        "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()"
    )


def _lead_to_standby(lab: Lab) -> None:
    lab.point("shop-db", lab.address[lab.home])


def _lead_home(lab: Lab, _kept: object) -> None:
    lab.point("shop-db", lab.address[lab.primary])


def _lead_astray(lab: Lab) -> None:
    lab.point("shop-db", lab.address["ns1"])


def _fill(lab: Lab) -> None:
    """Put WAL on a small disk of its own, and fill that."""
    place = lab.sql("SELECT current_setting('data_directory')")
    lab.inside(lab.primary, "systemctl", "stop", UNIT)
    small = "/var/lib/postgresql/small"
    pid = podman("inspect", "--format", "{{.State.Pid}}", f"pgrescue-{lab.primary}").strip()
    lab.inside(lab.primary, "mkdir", "-p", small)
    run("nsenter", "-t", pid, "-m", "mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", small)
    real = lab.inside(lab.primary, "readlink", "-f", place).strip()
    lab.inside(
        lab.primary,
        "sh",
        "-ec",
        f"cp -a {real}/pg_wal {small}/; mv {real}/pg_wal {real}/pg_wal.before; ln -s {small}/pg_wal {real}/pg_wal; "
        f"chown -h postgres: {real}/pg_wal; chown postgres: {small}",
    )
    lab.inside(lab.primary, "systemctl", "start", UNIT)
    with suppress(SystemExit):  # it fills the disk, and says that it could not
        lab.inside(lab.primary, "dd", "if=/dev/zero", f"of={small}/filled", "bs=1M")
    until("writes fail", lambda: _has_no_room(lab))


def _has_no_room(lab: Lab) -> bool:
    """Ask for more WAL than there is room for; whether the server has felt it."""
    with suppress(SystemExit):  # it ends the server
        lab.sql("SELECT count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) FROM generate_series(1, 200)")
    return not _writes(lab)


def _make_room(lab: Lab, _kept: object) -> None:
    place = lab.inside(lab.primary, "sh", "-c", f"readlink -f /var/lib/postgresql/{POSTGRES}/current").strip()
    small = "/var/lib/postgresql/small"
    lab.inside(lab.primary, "rm", "-f", f"{small}/filled")
    lab.inside(lab.primary, "sh", "-c", f"systemctl stop {UNIT}; systemctl reset-failed {UNIT} || true")
    lab.inside(
        lab.primary,
        "sh",
        "-ec",
        f"rm {place}/pg_wal; cp -a {small}/pg_wal {place}/pg_wal; rm -rf {place}/pg_wal.before",
    )
    lab.inside(lab.primary, "systemctl", "start", UNIT)
    pid = podman("inspect", "--format", "{{.State.Pid}}", f"pgrescue-{lab.primary}").strip()
    run("nsenter", "-t", pid, "-m", "umount", small)


def _writes(lab: Lab) -> bool:
    """Whether the application's health is well, from the outside."""
    said = podman(
        "exec",
        "pgrescue-client1",
        "sh",
        "-c",
        "curl -s -m 3 -o /dev/null -w '%{http_code}' http://shop.lab.test:8080/health || true",
    )
    return said.strip() == "200"


def _take_connections(lab: Lab) -> list[psycopg.Connection[Any]]:
    """Hold as many as the server gives to anybody who is no superuser; the application's connections go first."""
    held: list[psycopg.Connection[Any]] = []
    end = time.monotonic() + 30
    refused = 0
    while time.monotonic() < end and refused < 20:
        try:
            account = {"dbname": "shop", "user": "shop", "password": lab.password("app"), "sslmode": "require"}
            held.append(psycopg.connect(host=lab.address[lab.primary], connect_timeout=3, autocommit=True, **account))
            refused = 0
        except psycopg.OperationalError:
            refused += 1
            lab.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name IN ('shop', 'pgrescue-witness')"
            )
    return held


def _slow(lab: Lab) -> None:
    lab.sql(
        "CREATE FUNCTION pgrescue.linger() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(0.6); RETURN new; END $$;"
        "CREATE TRIGGER linger BEFORE INSERT OR UPDATE ON pgrescue.looks "
        "FOR EACH ROW EXECUTE FUNCTION pgrescue.linger()"
    )


def _quick(lab: Lab, _kept: object) -> None:
    lab.sql("DROP TRIGGER linger ON pgrescue.looks; DROP FUNCTION pgrescue.linger()")


def _stay_behind(lab: Lab) -> None:
    lab.sql("SELECT pg_wal_replay_pause()", lab.home)
    lab.sql("SELECT count(pg_logical_emit_message(false, 'lag', repeat('x', 1000000))) FROM generate_series(1, 100)")


def _catch_up(lab: Lab, _kept: object) -> None:
    lab.sql("SELECT pg_wal_replay_resume()", lab.home)


def _stop_application(lab: Lab) -> None:
    for host in ("app1", "app2"):
        lab.inside(host, "sh", "-c", "systemctl stop 'shop@*'")


def _start_application(lab: Lab, _kept: object) -> None:
    lab.inside("app1", "systemctl", "start", "shop@1", "shop@2")


def _lose_table(lab: Lab) -> None:
    lab.sql("ALTER TABLE products RENAME TO products_as_they_were", database="shop")


def _find_table(lab: Lab, _kept: object) -> None:
    lab.sql("ALTER TABLE products_as_they_were RENAME TO products", database="shop")


def _names_fall_silent(lab: Lab) -> None:
    for host in ("ns1", "ns-east", "ns-west"):
        lab.inside(host, "systemctl", "kill", "--signal=STOP", "knot.service")


def _names_answer(lab: Lab, _kept: object) -> None:
    for host in ("ns1", "ns-east", "ns-west"):
        lab.inside(host, "systemctl", "kill", "--signal=CONT", "knot.service")


def _want_nobody(lab: Lab) -> None:
    lab.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()")


def _want_none(lab: Lab, _kept: object) -> None:
    lab.sql("SET synchronous_commit = off; ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")


def _damage(lab: Lab) -> dict[str, str]:
    """Overwrite bytes of a table's first page on the disk; the page is kept beside it."""
    path = lab.sql("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('videos')", database="shop")
    lab.inside(lab.primary, "systemctl", "stop", UNIT)
    lab.inside(
        lab.primary,
        "sh",
        "-ec",
        f"dd if={path} of=/tmp/page bs=8192 count=1; dd if=/dev/urandom of={path} bs=1 seek=4000 count=64 conv=notrunc",
    )
    lab.inside(lab.primary, "systemctl", "start", UNIT)
    return {"path": path}


def _mend_page(lab: Lab, kept: dict[str, str]) -> None:
    lab.inside(lab.primary, "systemctl", "stop", UNIT)
    lab.inside(lab.primary, "sh", "-ec", f"dd if=/tmp/page of={kept['path']} bs=8192 count=1 conv=notrunc")
    lab.inside(lab.primary, "systemctl", "start", UNIT)


def _lose_standby(lab: Lab) -> None:
    lab.inside(lab.home, "systemctl", "stop", UNIT)


def _find_standby(lab: Lab, _kept: object) -> None:
    lab.inside(lab.home, "systemctl", "start", UNIT)


def _close_connections(_lab: Lab, held: list[psycopg.Connection[Any]]) -> None:
    for one in held:
        one.close()


STATES = [
    State("the server is killed", "stopped", "restart", _stop, _start),
    State("the server hangs", "hung", "restart", _hang, _go_on),
    State("the primary is read only", "read_only", "allow_writes", _read_only, _allow_writes),
    State("the name leads to a standby", "wrong_role", "point_name", _lead_to_standby, _lead_home),
    State("the name leads to a host without a database", "misled", "point_name", _lead_astray, _lead_home),
    State("every connection is taken", "no_connections", "end_sessions", _take_connections, _close_connections),
    State("every write lingers", "slow", "look", _slow, _quick),
    State("a standby is paused and 100 MB behind", "stale", "wait", _stay_behind, _catch_up),
    State("the application is stopped", "application_only", "mend_application", _stop_application, _start_application),
    State("a table is gone", "table_gone", "partial_loss", _lose_table, _find_table),
    State("the name servers hang", "names_silent", "mend_names", _names_fall_silent, _names_answer),
    State("commits wait for a standby that is not there", "unconfirmed", "let_commit", _want_nobody, _want_none),
    State("the disk of the WAL is full", "full", "free_disk", _fill, _make_room),
    State("a page of a table is overwritten", "damaged", "corruption", _damage, _mend_page, destructive=True),
    State("the primary is cut off from everybody", "partitioned", "failover", _cut_primary, _heal, True),
    State("the primary's host loses its power", "host_gone", "failover", _kill_primary, _heal, True),
    State("the primary's region is cut off", "region_gone", "region_failure", _cut_region, _heal, True),
    State(
        "every database host loses its power",
        "everything_lost",
        "complete_loss",
        lambda lab: _kill_hosts(lab, lab.primary, *lab.standbys),
        _heal,
        True,
    ),
]


def inject(lab: Lab, state: State) -> Any:
    """Bring it about; what the undoing needs."""
    return state.inject(lab)


def undo(lab: Lab, state: State, kept: Any) -> None:
    """Take it back, and wait until the application is well again."""
    state.undo(lab, kept)
    until(f"the service is well after '{state.name}'", lambda: _writes(lab))
