"""Build each kind of standby on the lab's spare hosts, and see that it is of its kind. Puts the lab back as it was."""

import json
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, POSTGRES, on, podman, roles, run
from postgres import until

SPARE = next(host for host in ("spare2", "db3") if host in roles()["spare"])  # in the west, which has two hosts
TWO = json.dumps({"service_standbys": {"east": 1, "west": 2}})


def play(playbook: str, *extra: str) -> str:
    """Run one of the project's playbooks on the lab; its output."""
    more = [word for value in extra for word in ("-e", value)]
    return run("ansible-playbook", playbook, "-i", INVENTORY, "-e", "service=shop", *more)


def ask(host: str, question: str) -> str:
    """What the server on a host answers."""
    return on(host, f'psql -XAtq -c "{question}"')


def replace(host: str) -> None:
    """Make a host blank again."""
    podman("rm", "--force", "--time", "0", f"pgrescue-{host}")
    play("lab/replace_hosts.yml")


def archive_fed_and_delayed() -> None:
    """The spare host becomes a standby without a connection to the primary, and stays behind on purpose."""
    play("playbooks/rebuild_standbys.yml", TWO, "standby_source=archive", "standby_delay=5s")
    assert ask(SPARE, "SHOW recovery_min_apply_delay") == "5s"
    assert ask(SPARE, "SELECT current_setting('primary_conninfo') || pg_is_in_recovery()") == "true"
    primary = roles()["primary"][0]
    lsn = ask(primary, "SELECT pg_current_wal_lsn()")
    on(primary, "pgbackrest --stanza=shop check")
    question = f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"
    until(lambda: ask(SPARE, question) == "t", 60, "what is archived reaches the standby")
    again = play("playbooks/rebuild_standbys.yml", TWO, "standby_source=archive", "standby_delay=5s")
    assert "changed=0" in next(line for line in again.splitlines() if line.startswith(SPARE))


def too_low() -> None:
    """A host whose settings are below the primary's is refused before anything is made there."""
    conf = f"/etc/postgresql/{POSTGRES}/main/conf.d/60-low.conf"
    on(SPARE, f"echo 'max_connections = 20' > {conf}")
    done = subprocess.run(
        ["ansible-playbook", "playbooks/rebuild_standbys.yml", "-i", INVENTORY, "-e", "service=shop", "-e", TWO],
        cwd=HOUSE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "max_connections is 20 and must be at least 60" in done.stdout, done.stdout[-2000:]
    assert SPARE in roles()["spare"]
    on(SPARE, f"rm {conf}")


def synchronous() -> None:
    """Commits wait for one standby, and do not once that is taken back."""
    primary = roles()["primary"][0]
    play("playbooks/protect.yml", "postgres_synchronous=1")
    states = "SELECT string_agg(DISTINCT sync_state, ',') FROM pg_stat_replication"
    until(lambda: ask(primary, states) == "quorum", 20, "commits wait for a standby")
    play("playbooks/protect.yml")
    until(lambda: ask(primary, states) == "async", 20, "commits do not wait any more")


if __name__ == "__main__":
    too_low()
    archive_fed_and_delayed()
    replace(SPARE)
    play("playbooks/protect.yml")
    synchronous()
    print(json.dumps(roles()))
