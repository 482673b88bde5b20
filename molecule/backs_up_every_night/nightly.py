"""What the timer of the scheduled backup promises, on the lab's hosts."""

import json
import re
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from lab_hosts import on, roles
from postgres import until

TIMER, SERVICE = "pgrescue-backup@shop.timer", "pgrescue-backup@shop.service"
RESULT = "/var/lib/pgrescue/jobs/shop-backup.json"
ATTEMPTS = "/var/lib/pgrescue/jobs/shop-attempts.jsonl"
PRIMARY = roles()["primary"][0]


def root(script: str, host: str = PRIMARY) -> str:
    """Run a script as root; its output."""
    return on(host, script, "root")


def result() -> dict:
    """What the last scheduled backup noted of itself; empty when there is none."""
    return json.loads(root(f"cat {RESULT} 2>/dev/null || echo '{{}}'"))


def backups(repo: int = 1) -> list[str]:
    """Labels in one repository."""
    info = json.loads(on(PRIMARY, f"pgbackrest --stanza=shop --repo={repo} --output=json info"))
    return [b["label"] for b in info[0]["backup"]]


def once_a_night_whatever_the_local_time() -> None:
    """Thirty nights in a row, in a zone whose clocks are changed on the way."""
    calendar = re.search(r"OnCalendar=([^;]+?) ;", root(f"systemctl show --property=TimersCalendar {TIMER}")).group(1)
    said = root(f"TZ=Europe/Berlin systemd-analyze calendar --base-time='2026-10-10 UTC' --iterations=30 '{calendar}'")
    nights = [datetime.fromisoformat(t) for t in re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", said)]
    assert len(nights) == 30
    assert all(b - a == timedelta(days=1) for a, b in pairwise(nights)), nights
    assert {night.hour for night in nights} == {2}


def a_night_that_was_missed_is_caught_up() -> None:
    """The host was down at two o'clock: the timer remembers when it last fired."""
    before = len(backups())
    root(f"systemctl stop {TIMER}; rm -f {RESULT}; touch -d '2 days ago' /var/lib/systemd/timers/stamp-{TIMER}")
    root(f"systemctl start {TIMER}")
    until(lambda: result().get("state") == "passed", 60, "the missed backup is taken")
    assert len(backups()) == before + 1


def it_is_copied_from_a_standby_where_one_serves() -> None:
    """And from the primary where none does: a night without a backup would be worse."""
    standbys = roles()["standby"]
    root(f"systemctl start {SERVICE}")
    assert {r["copied_from"] for r in result()["repositories"].values()} <= set(standbys)
    for host in standbys:
        root("systemctl stop pgbackrest.service", host)
    try:
        root(f"systemctl start {SERVICE}")
        assert {r["copied_from"] for r in result()["repositories"].values()} == {None}
    finally:
        for host in standbys:
            root("systemctl start pgbackrest.service", host)


def two_at_once_are_one() -> None:
    """Who starts it while it runs waits for the one that does."""
    before = len(backups())
    root(f"systemctl start {SERVICE} & systemctl start {SERVICE}; wait")
    assert len(backups()) == before + 1


def one_repository_that_refuses_is_reported() -> None:
    """The other one gets its backup; the unit fails, and says so where monitoring looks."""
    conf, before = "/etc/pgbackrest.conf", len(backups(2))
    root(f"cp -p {conf} {conf}.kept; sed -i 's#^repo1-s3-key-secret=.*#repo1-s3-key-secret=another#' {conf}")
    try:
        assert root(f"systemctl start {SERVICE} || echo failed").endswith("failed")
    finally:
        root(f"mv {conf}.kept {conf}")
    assert (result()["state"], result()["repositories"]["2"]["state"]) == ("failed", "taken")
    assert len(backups(2)) == before + 1
    reported = "journalctl --quiet --identifier=pgrescue --priority=err --since=-5min --output=cat"
    until(lambda: "The scheduled backup of shop failed" in root(reported), 20, "the failure is in the journal")
    root(f"systemctl start {SERVICE}")
    assert result()["state"] == "passed"


def one_that_is_killed_is_reported() -> None:
    """kill -9 in the middle: what it noted does not stay 'running'."""
    root(f"systemctl start --no-block {SERVICE}")
    until(lambda: result().get("state") == "running", 20, "the backup runs")
    root(f"systemctl kill --signal=KILL {SERVICE}")
    until(lambda: result().get("state") == "failed", 20, "its end is noted")
    root(f"systemctl start {SERVICE}")
    assert result()["state"] == "passed"


def every_attempt_was_written_down() -> None:
    """Of each repository, the one that was refused and the one that was killed too; on a standby there is none."""
    there = [json.loads(line) for line in root(f"cat {ATTEMPTS}").splitlines()]
    assert {(one["repository"], one["result"]) for one in there} >= {("1", "passed"), ("2", "passed"), ("1", "failed")}
    assert sum(one.get("reason") == "it ended before it was done" for one in there) == 1
    assert root(f"cat {ATTEMPTS} 2>/dev/null || true", roles()["standby"][0]) == ""


def a_standby_does_nothing_and_crontab_neither() -> None:
    """The timer is on every host; only where the primary is, a backup is taken."""
    before = len(backups())
    for host in (roles()["standby"][0], roles()["spare"][0]):
        root(f"systemctl start {SERVICE}", host)
        assert root(f"systemctl is-enabled {TIMER}", host) == "enabled"
        assert root("grep -rls 'pgrescue\\|pgbackrest' /etc/cron* /var/spool/cron || true", host) == ""
    assert len(backups()) == before


if __name__ == "__main__":
    once_a_night_whatever_the_local_time()
    a_night_that_was_missed_is_caught_up()
    it_is_copied_from_a_standby_where_one_serves()
    two_at_once_are_one()
    one_repository_that_refuses_is_reported()
    one_that_is_killed_is_reported()
    every_attempt_was_written_down()
    a_standby_does_nothing_and_crontab_neither()
