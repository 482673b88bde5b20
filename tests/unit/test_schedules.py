"""Recurring jobs: one source, the same instants for systemd and AWX, each exactly once, and what is refused."""

import copy
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from dateutil.rrule import rrulestr
from dateutil.tz import datetime_exists, tzutc
from modules import HOUSE
from pgrescue import cli, runner, schedule
from pgrescue.alerting import delivery, policy
from pgrescue.core import schedules
from pgrescue.watch import setting
from rich.console import Console
from timers import fires, instants
from typer.testing import CliRunner

EXAMPLE = HOUSE / "inventories/example"
SAID = yaml.safe_load((EXAMPLE / schedule.FILE).read_text())
JOBS = {job["name"]: job for job in SAID["schedule_jobs"]}
BEGINS = SAID["schedule_begins"]
WHERE = {
    "program": "/bin/true",
    "inventory": "/srv/inventory",
    "user": "root",
    "directory": "/",
    "units": "/etc/systemd/system",
}
DAILY = {"name": "x", "says": "y", "every": "day", "at": "04:30", "command": "lint"}


def whole(**more):
    return schedules.whole({**DAILY, **more}, "UTC")


def awx_instants(rule, since, count):
    """When AWX launches, as its `Schedule.update_computed_fields` says: no time that no clock shows."""
    rules = rrulestr(rule, forceset=True, tzinfos={"UTC": tzutc(), "Z": tzutc()})
    at, found = since, []
    while len(found) < count:
        at = rules.after(at)
        if not datetime_exists(at):
            at = rules.after(at)
        found.append(at.astimezone(UTC))
    return found


def test_the_jobs_of_the_example_are_whole():
    known = schedule.load(str(EXAMPLE))
    assert {"backup", "verify", "age_check", "restore_test", "drill", "monthly_report"} <= {
        one.name for one in known.jobs
    }
    assert {"reviews_due", "findings_due", "alert_rehearsal"} <= {one.name for one in known.jobs}
    assert schedule.load(str(HOUSE / "inventories/lab")) == known


def test_model_and_core_know_the_same_keys():
    assert set(schedule.Job.model_fields) == schedules.KEYS
    defaults = {name: schedule.Job.model_fields[name].default for name in schedules.DEFAULTS}
    assert defaults == schedules.DEFAULTS


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"time_zone": "Europe/Berlin", "at": "02:30"}, "on 2027-03-28 the clocks of Europe/Berlin are changed"),
        ({"time_zone": "Europe/Berlin", "at": "01:30", "jitter_min": 45}, "02:00 does not exist"),
        ({"time_zone": "America/New_York", "at": "01:10"}, "comes twice"),
        ({"every": "week"}, "needs the key weekday"),
        ({"every": "quarter"}, "needs the key day"),
        ({"day": 3}, "the key day means nothing"),
        ({"misssed": "skip"}, "the key misssed means nothing"),
        ({"every": "hour", "time_zone": "Europe/Berlin", "timeout_min": 9}, "counted in UTC"),
        ({"at": "23:30", "jitter_min": 60}, "does not end within the day"),
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"runs_on": "hosts"}, "has no command or playbook"),
        ({"runs_on": "hosts", "command": "", "tell": "page"}, "tells nobody"),
        ({"runs_on": "hosts", "command": "", "tell": "nobody", "timeout_min": 1440}, "ends by itself"),
        ({"command": ""}, "neither a command nor a playbook"),
        ({"timeout_min": 1440}, "would run into the next"),
        ({"command": "report month {lastmonth}"}, "'lastmonth'.*there are service"),
        ({"command": "report 'month"}, "No closing quotation"),
    ],
)
def test_what_could_not_be_run_once_at_each_of_its_times_is_refused(wrong, says):
    with pytest.raises(schedules.Stop, match=says):
        schedules.check([{**DAILY, **wrong}], "UTC", BEGINS)


def test_two_jobs_of_one_name_are_refused():
    with pytest.raises(schedules.Stop, match="two jobs are called x"):
        schedules.check([DAILY, DAILY], "UTC", BEGINS)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
RHYTHMS = [
    {"every": "hour", "at": "00:17"},
    {"every": "day"},
    {"every": "week", "weekday": "sunday"},
    {"every": "month", "day": 28},
    {"every": "quarter", "day": 1},
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("rhythm", RHYTHMS, ids=lambda one: one["every"])
def test_systemd_and_awx_mean_the_same_instants(rhythm, zone):
    """Over more than a year of days, and both changes of the clock."""
    job = whole(**{"time_zone": "UTC" if rhythm["every"] == "hour" else zone, **rhythm})
    schedules.check([{**DAILY, **rhythm, "time_zone": job["time_zone"], "timeout_min": 30}], "UTC", BEGINS)
    since, count = datetime(2026, 12, 2, tzinfo=UTC), {"week": 60, "month": 14, "quarter": 5}.get(rhythm["every"], 400)
    assert instants(schedules.calendar(job), since, count) == awx_instants(schedules.rrule(job, BEGINS), since, count)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_of_the_example_is_due_at_the_same_instants_everywhere(name):
    """And AWX's later by no more than the jitter, always the same for one service."""
    job, since = schedules.whole(JOBS[name], "UTC"), datetime(2026, 12, 1, tzinfo=UTC)
    by_systemd = instants(schedules.calendar(job), since - timedelta(seconds=1), 30)
    later = timedelta(minutes=schedules.spread_min(job, "orders"))
    by_awx = awx_instants(
        schedules.rrule(job, BEGINS, schedules.spread_min(job, "orders")), since - timedelta(seconds=1), 30
    )
    assert by_systemd == [at - later for at in by_awx]
    assert timedelta(0) <= later <= timedelta(minutes=job["jitter_min"])
    known = schedule.load(str(EXAMPLE))
    assert list(itertools.islice(schedule.due(job, known.begins, since - timedelta(seconds=1)), 30)) == by_systemd


def test_the_jitter_spreads_a_thousand_services():
    waits = [schedules.spread_min(whole(jitter_min=59), f"service_{n}") for n in range(1000)]
    assert set(waits) == set(range(60))
    assert max(waits.count(minute) for minute in range(60)) < 40


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CHANGES = {"spring": day("2027-03-10"), "autumn": day("2027-10-15")}


@pytest.mark.parametrize("season", CHANGES)
def test_thirty_days_with_a_missed_boot_and_a_changed_clock_are_thirty_runs(season):
    """The machine is off over its hour on the eleventh day, and for three days later on."""
    since = CHANGES[season]
    until = since + timedelta(days=30)
    job = whole(time_zone="Europe/Berlin")
    down = [
        (since + timedelta(days=10), since + timedelta(days=10, hours=9)),
        (since + timedelta(days=16), since + timedelta(days=19)),
    ]
    healthy = list(fires(schedules.calendar(job), since, until, []))
    assert [at.date() for at in healthy] == [(since + timedelta(days=n)).date() for n in range(30)]
    changed = timedelta(hours=23 if season == "spring" else 25)
    assert {b - a for a, b in itertools.pairwise(healthy)} == {timedelta(hours=24), changed}

    missed = [at for at in healthy if any(off <= at < on for off, on in down)]
    assert len(missed) == 4
    done = list(fires(schedules.calendar(job), since, until, down))
    assert done == sorted({*healthy} - {*missed} | {on for _off, on in down}), "each boot catches up once"


def test_a_run_that_is_missed_and_not_caught_up_would_be_seen():
    since = CHANGES["spring"]
    down = [(since + timedelta(days=10), since + timedelta(days=10, hours=9))]
    done = list(fires(schedules.calendar(whole()), since, since + timedelta(days=30), down, persistent=False))
    assert len(done) == 29


def test_an_hour_that_is_refused_would_have_been_left_out():
    """Neither systemd nor AWX runs at half past two on the day on which there is none."""
    job, since = whole(time_zone="Europe/Berlin", at="02:30"), CHANGES["spring"]
    assert len(list(fires(schedules.calendar(job), since, since + timedelta(days=30), []))) == 29
    by_awx = awx_instants(schedules.rrule(job, BEGINS), since, 30)
    assert date(2027, 3, 28) not in {at.date() for at in by_awx}


def test_what_is_missed_is_caught_up_where_the_job_says_so():
    for name, persistent in (("verify", "true"), ("drill", "false")):
        made = {
            Path(one["path"]).name: one["text"] for one in schedules.units([JOBS[name]], "orders-staging", "UTC", WHERE)
        }
        assert f"\nPersistent={persistent}\n" in made[f"pgrescue-job.orders-staging.{name}.timer"]


def verified(folder, units):
    """What systemd says of unit files; nothing when they are well."""
    folder.mkdir()
    for one in units:
        (folder / Path(one["path"]).name).write_text(one["text"])
    named = [str(folder / Path(one["path"]).name) for one in units if "@" not in one["path"]]
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *named], env=env, capture_output=True, text=True, check=False
    )
    return "\n".join(line for line in done.stderr.splitlines() if str(folder) in line or "pgrescue" in line)


def test_systemd_finds_no_fault_with_the_units(tmp_path):
    units = schedules.units(SAID["schedule_jobs"], "orders", "UTC", WHERE)
    assert (
        len(units) == 2 * (len(JOBS) - 2) + 1
    )  # but the backup, which hosts run, and the drill, which is another service's
    assert verified(tmp_path / "well", units) == ""
    wrong = [{**one, "text": one["text"].replace("Persistent=", "Persistant=")} for one in units]
    assert "Persistant" in verified(tmp_path / "wrong", wrong)
    wrong = [{**one, "text": re.sub(r"OnCalendar=.*", "OnCalendar=never", one["text"])} for one in units]
    assert verified(tmp_path / "never", wrong) != ""


def test_a_failure_calls_the_unit_that_tells_people():
    made = {Path(one["path"]).name: one["text"] for one in schedules.units([JOBS["verify"]], "orders", "UTC", WHERE)}
    assert "\nOnFailure=pgrescue-job-failed.orders@verify.service\n" in made["pgrescue-job.orders.verify.service"]
    assert "schedule failed %i -s orders -i /srv/inventory\n" in made["pgrescue-job-failed.orders@.service"]
    quiet = schedules.units([{**JOBS["verify"], "tell": "nobody"}], "orders", "UTC", WHERE)
    assert not any("OnFailure" in one["text"] for one in quiet)


def test_only_units_of_jobs_that_are_gone_are_gone():
    wanted = schedules.units([JOBS["verify"]], "shop", "UTC", WHERE)
    there = [f"/etc/systemd/system/{name}" for name in (
        "pgrescue-job.shop.verify.timer", "pgrescue-job.shop.old.timer", "pgrescue-job.shop.old.service",
        "pgrescue-job.shop2.old.timer", "pgrescue-job-failed.shop@.service", "pgrescue-job-failed.shop2@.service",
        "pgrescue-backup@shop.timer",
    )]  # fmt: skip
    assert [Path(path).name for path in schedules.gone(there, wanted, "shop")] == [
        "pgrescue-job.shop.old.service",
        "pgrescue-job.shop.old.timer",
    ]
    assert len(schedules.gone(there, [], "shop")) == 4, "where AWX starts the jobs, all go"


INSTALL = {"name": "pgrescue.runbooks.schedule", "tasks_from": "install"}
SYSTEMCTL = """#!/bin/sh
# plays systemctl for Ansible's module: what is enabled and runs is a file of that name
state={state}; echo "$*" >> $state/calls
while [ "${{1#--}}" != "$1" ]; do shift; done
verb=$1; shift; while [ "${{1#--}}" != "$1" ]; do shift; done
case $verb in
  is-enabled) [ -e $state/enabled.$1 ] && echo enabled || {{ echo disabled; exit 1; }} ;;
  enable) touch $state/enabled.$1 ;;
  disable) rm -f $state/enabled.$1 ;;
  start|restart) touch $state/active.$1 ;;
  stop) rm -f $state/active.$1 ;;
  is-active) [ -e $state/active.$1 ] && echo active || {{ echo inactive; exit 3; }} ;;
  show) echo "LoadState=loaded"; echo "UnitFileState=x"
        [ -e $state/active.$1 ] && echo ActiveState=active || echo ActiveState=inactive ;;
esac
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A controller whose systemd is a stand-in: the lab has the real one (molecule/runs_on_a_schedule)."""
    (tmp_path / "state").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "units").mkdir()
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(SYSTEMCTL.format(state=tmp_path / "state"))
    systemctl.chmod(0o755)

    def install(jobs, by="systemd", check=False):
        said = {**SAID, "schedule_jobs": jobs, "schedule_by": by, "service": "orders", "schedule_inventory": "/srv"}
        said["schedule_units_directory"] = str(tmp_path / "units")
        (tmp_path / "said.yml").write_text(yaml.safe_dump(said))
        play = {
            "hosts": "localhost", "gather_facts": False,
            "environment": {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
            "tasks": [{"name": "Install", "ansible.builtin.import_role": INSTALL}],
        }  # fmt: skip
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
        command += [
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-e",
            f"@{tmp_path}/said.yml",
            str(tmp_path / "play.yml"),
        ]
        done = subprocess.run(
            [*command, *(["--check"] if check else [])], cwd=HOUSE, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return int(re.search(r"changed=(\d+)", done.stdout)[1])

    install.units = tmp_path / "units"
    install.state = tmp_path / "state"
    return install


def names(folder, pattern="*"):
    return sorted(path.name for path in folder.glob(pattern))


def test_timers_are_installed_once_and_those_of_jobs_that_are_gone_go(machine):
    two = [JOBS["verify"], JOBS["age_check"]]
    assert machine(two, check=True) > 0
    assert names(machine.units) == [], "check mode wrote"
    assert machine(two) > 0
    timers = ["pgrescue-job.orders.age_check.timer", "pgrescue-job.orders.verify.timer"]
    assert names(machine.units, "*.timer") == timers
    assert [n for n in names(machine.state) if n != "calls"] == [
        f"{k}.{t}" for k in ("active", "enabled") for t in timers
    ]
    assert machine(two) == 0, "the second time nothing is changed"

    assert machine([JOBS["verify"]]) > 0
    assert names(machine.units, "*.timer") == timers[1:]
    assert f"active.{timers[0]}" not in names(machine.state)
    assert machine([JOBS["verify"]]) == 0

    later = copy.deepcopy(JOBS["verify"]) | {"at": "07:00"}
    assert machine([later]) > 0
    assert f"restart {timers[1]}" in (machine.state / "calls").read_text()

    assert machine([later], by="awx") > 0
    assert names(machine.units) == []
    assert [n for n in names(machine.state) if n != "calls"] == []


def ran(tmp_path, monkeypatch, job, now, code=0):
    """What is run for a job, with the program exchanged for one that writes its arguments down."""
    said = {**SAID, "schedule_jobs": [{**DAILY, "name": "job", **job}]}
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / schedule.FILE).write_text(yaml.safe_dump(said))
    called = []

    def play(command, check):
        called.append(command)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(schedule.subprocess, "run", play)
    done = CliRunner().invoke(cli.app, ["schedule", "run", "job", "-s", "orders; rm", "-i", str(tmp_path)])
    return done, called


def test_a_job_ends_as_its_command_does_and_gets_its_facts(tmp_path, monkeypatch):
    job = {"command": "report month {last_month} -s {service} --out {runs}/reports"}
    done, called = ran(tmp_path, monkeypatch, job, None, code=7)
    assert done.exit_code == 7
    last = (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    assert called[0][1:] == [
        "-m",
        "pgrescue",
        "report",
        "month",
        last,
        "-s",
        "orders; rm",
        "--out",
        f"{runner.RUNS}/reports",
    ]


def test_no_drill_is_begun_on_a_blocked_day(tmp_path, monkeypatch):
    today = datetime.now(UTC).date()
    programme = type("Programme", (), {"why_blocked": lambda _self, on: "a sale" if on == today else None})
    monkeypatch.setattr(schedule.plans, "load", programme)
    done, called = ran(tmp_path, monkeypatch, {"spares_blocked_days": True}, None)
    assert (done.exit_code, called) == (0, [])
    assert "a sale" in done.stdout
    shutil.rmtree(tmp_path / "group_vars")
    assert len(ran(tmp_path, monkeypatch, {}, None)[1]) == 1, "another job is run all the same"


def test_a_day_and_its_month_are_those_of_the_jobs_own_zone(tmp_path, monkeypatch):
    """At half past midnight in Berlin the new year has begun, and UTC is a day behind."""
    new_year = datetime(2027, 1, 1).date()
    programme = type("Programme", (), {"why_blocked": lambda _self, on: "a holiday" if on == new_year else None})
    monkeypatch.setattr(schedule.plans, "load", programme)
    now = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    for job, ends in (({"command": "report month {last_month}"}, ["2026-12"]), ({"spares_blocked_days": True}, [])):
        said = {**DAILY, "name": "job", "at": "00:30", "time_zone": "Europe/Berlin", **job}
        known = schedule.Schedules(begins=BEGINS, time_zone="UTC", by="systemd", jobs=[said])
        monkeypatch.setattr(schedule, "load", lambda _inventory, known=known: known)
        called = []

        def play(command, check, called=called):
            called.append(command[-1])
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(schedule.subprocess, "run", play)
        assert schedule.run("job", "orders", str(tmp_path), now, Console()) == 0
        assert called == ends


def test_an_unknown_job_and_missing_schedules_are_refused(tmp_path):
    done = CliRunner().invoke(cli.app, ["schedule", "run", "nothing", "-s", "orders", "-i", str(EXAMPLE)])
    assert (done.exit_code, "orders has no job nothing" in done.stderr) == (2, True)
    done = CliRunner().invoke(cli.app, ["schedule", "run", "backup", "-s", "orders", "-i", str(EXAMPLE)])
    assert (done.exit_code, "by the hosts themselves" in done.stderr) == (2, True)
    done = CliRunner().invoke(cli.app, ["schedule", "list", "-i", str(tmp_path)])
    assert (done.exit_code, "There are no schedules" in done.stderr) == (3, True)
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / schedule.FILE).write_text(yaml.safe_dump({**SAID, "schedule_jobs": [{**DAILY, "misssed": "skip"}]}))
    done = CliRunner().invoke(cli.app, ["schedule", "list", "-i", str(tmp_path)])
    assert (done.exit_code, "misssed" in done.stderr) == (3, True)


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """What was told to whom; channels are a pager and a desk, unless `sent.alerts` is another policy."""
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    said = type("Sent", (list,), {"outcome": "delivered", "alerts": policy.read({
        "channels": {name: {"kind": "webhook", "url": "http://127.0.0.1:9/"} for name in ("pager", "desk")},
        "levels": [{"channels": ["pager"]}], "tickets": ["desk"],
    })})()  # fmt: skip

    def deliver(message, names, *_more, **_kept):
        said.append((message, list(names)))
        now = datetime.now(UTC)
        return delivery.Delivery(tuple(delivery.Attempt(n, now, now, said.outcome, "down") for n in names))

    monkeypatch.setattr(delivery, "deliver", deliver)
    monkeypatch.setattr(setting, "read", lambda *_: type("S", (), {"alerts": said.alerts})())
    return said


def tell(verb, name):
    return CliRunner().invoke(cli.app, ["schedule", verb, name, "-s", "orders", "-i", str(EXAMPLE)])


@pytest.mark.parametrize(
    ("name", "channels", "told"), [("verify", ["desk"], 0), ("age_check", ["pager"], 0), ("verify", [], 1)]
)
def test_who_hears_of_a_failure(name, channels, told, sent):
    """A page goes to the first level, a ticket to the tickets; nobody told is a failure too."""
    if not channels:
        sent.alerts = policy.read({})
    done = tell("failed", name)
    assert done.exit_code == told, done.output
    assert sent[0][1] == channels
    assert sent[0][0].severity == ("critical" if name == "age_check" else "warning")
    assert f"journalctl -u pgrescue-job.orders.{name}" in sent[0][0].commands


def test_a_failure_that_was_told_is_resolved_once_by_the_next_run_that_is_well(sent, monkeypatch):
    codes = iter((0, 1, 0, 0, 0))
    monkeypatch.setattr(schedule.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, next(codes)))
    assert (tell("run", "verify").exit_code, sent) == (0, []), "nothing was open"
    tell("failed", "verify")
    assert tell("run", "verify").exit_code == 1
    assert [message.kind for message, _to in sent] == ["opened"]
    sent.outcome = "failed"
    assert "Nobody was told that verify ran well again: desk: down" in " ".join(tell("run", "verify").output.split())
    sent.outcome = "delivered"
    assert tell("run", "verify").exit_code == 0
    assert tell("run", "verify").exit_code == 0
    assert [message.kind for message, _to in sent] == ["opened", "resolved", "resolved"]
    assert len({(message.key, tuple(to)) for message, to in sent}) == 1, "the same incident, the same people"


def test_the_command_lists_tells_and_renders_as_json():
    for arguments in (["list"], ["next", "-n", "3"], ["render"], ["render", "--for", "awx"]):
        done = CliRunner().invoke(cli.app, ["schedule", *arguments, "-s", "orders", "-i", str(EXAMPLE), "--json"])
        assert done.exit_code == 0, done.output
        assert len(json.loads(done.stdout)) >= len(JOBS) - 2


def test_nothing_of_the_project_is_in_a_crontab():
    for path in [*HOUSE.glob("roles/*/tasks/**/*.yml"), *HOUSE.glob("playbooks/*.yml"), *HOUSE.glob("awx/*.yml")]:
        assert not re.search(r"\bcron\b|/etc/cron|ansible.builtin.cron", path.read_text()), path
