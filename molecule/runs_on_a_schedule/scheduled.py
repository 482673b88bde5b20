"""What the timers of recurring jobs promise, by the systemd of one of the lab's hosts."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from lab_hosts import on, run
from postgres import until

HOST, TOLD, BUSY, BROKEN = "client1", "/run/pgrescue-told", "/run/pgrescue-busy", "/run/pgrescue-broken"
TIMER, SERVICE = "pgrescue-job.shop.verify.timer", "pgrescue-job.shop.verify.service"
STAMP = f"/var/lib/systemd/timers/stamp-{TIMER}"


def root(script: str) -> str:
    """Run a script as root; its output."""
    return on(HOST, script, "root")


def told() -> list[str]:
    """What the program in the place of the command was called with."""
    return root(f"cat {TOLD} 2>/dev/null || true").splitlines()


def install(*more: str) -> str:
    """Run the role; Ansible's recap."""
    book = str(Path(__file__).with_name("install.yml"))
    return run("ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", *more, book)


def twice_is_once() -> None:
    """The second time nothing is changed, and every timer waits for its time."""
    install()
    assert "changed=0 " in install()
    assert "verify" in root("systemctl list-timers --all --no-legend 'pgrescue-job*'")
    assert told() == [], "nothing is due yet"


def what_was_missed_is_caught_up_once() -> None:
    """The host was off for three weeks: the timer remembers when it last fired, and fires once."""
    # the jitter counts for what is caught up as well; without it nobody waits
    nobody_waits = f"/run/systemd/system/{TIMER}.d/now.conf"
    root(f"mkdir -p $(dirname {nobody_waits}); printf '[Timer]\\nRandomizedDelaySec=0\\n' > {nobody_waits}")
    root(f"systemctl stop {TIMER}; touch -d '22 days ago' {STAMP}; systemctl daemon-reload; systemctl start {TIMER}")
    until(lambda: "schedule run verify -s shop -i /srv" in told(), 60, "the missed run is caught up")
    root(f"systemctl stop {TIMER}; systemctl start {TIMER}")
    assert told().count("schedule run verify -s shop -i /srv") == 1, "a second boot has nothing to catch up"


def two_at_once_are_one() -> None:
    """What is started while it runs is not run again."""
    before = len(told())
    root(f"mkfifo {BUSY}; systemctl start --no-block {SERVICE}")
    until(lambda: len(told()) == before + 1, 20, "it runs")
    root(f"systemctl start --no-block {SERVICE}; mv {BUSY} {BUSY}.left; echo go > {BUSY}.left; rm {BUSY}.left")
    until(lambda: root(f"systemctl is-active {SERVICE} || true").strip() == "inactive", 20, "it ended")
    assert len(told()) == before + 1


def a_failure_is_told() -> None:
    """The unit fails, an error is in the journal, and people are told."""
    root(f"touch {BROKEN}; systemctl start {SERVICE} || true; rm {BROKEN}")
    until(lambda: "schedule failed verify -s shop -i /srv" in told(), 20, "people are told")
    assert "The job verify of shop failed" in root(
        "journalctl --quiet --identifier=pgrescue --since=-5min --output=cat"
    )


def what_is_taken_out_goes() -> None:
    """Where AWX starts the jobs, no timer is left, and a crontab never had any."""
    install("-e", "schedule_by=awx")
    assert root("ls /etc/systemd/system | grep pgrescue-job || true") == ""
    assert root("grep -rls pgrescue /etc/cron* /var/spool/cron || true") == ""
    root(f"rm -rf {TOLD} /run/systemd/system/{TIMER}.d /usr/local/bin/pgrescue-told {STAMP}")
    root("systemctl daemon-reload; systemctl reset-failed 'pgrescue-job*'")


if __name__ == "__main__":
    twice_is_once()
    what_was_missed_is_caught_up_once()
    two_at_once_are_one()
    a_failure_is_told()
    what_is_taken_out_goes()
