"""The linter's rules: each is silent about a sound service, and says so when its fault is planted."""

import io
import json
import re

import pytest
from faults import FAULTS, caught
from lint_faults import (
    ALSO,
    DAY,
    GB,
    HOUR,
    LINT,
    MINUTE,
    NOW,
    PLANTED,
    PLANTED_IN_DUMPS,
    REPLICA,
    all_of,
    backup,
    dumped,
    planted,
    put,
    run,
    setting,
    sound,
)
from modules import module, refused
from pgrescue import lint as command
from pgrescue.core.lint import findings
from pgrescue.lint_view import render
from rich.console import Console

FAULTS.update(LINT)
ALL = {**PLANTED, **PLANTED_IN_DUMPS}


def ids(promise, facts):
    return sorted({found["id"] for found in findings(promise, facts)})


def test_nothing_is_found_where_everything_is_as_promised():
    assert findings(*sound()) == []
    assert findings(*dumped()) == []


@pytest.mark.parametrize("name", ALL)
def test_a_planted_fault_is_found_at_its_level(name):
    _words, _plant, expected, level = ALL[name]
    found = [one for one in findings(*planted(name)) if one["id"] not in ALSO.get(name, [])]
    caught(f"lint: {name}", [{"name": one, "verdict": "failed"} for one in dict.fromkeys(f["id"] for f in found)])
    assert {one["level"] for one in found if one["id"] == expected} == {level}
    assert all(one["says"] and one["change"] for one in found)


NOT_YET = {
    "archive timeout as long as the objective": setting("archive_timeout", 900),
    "a segment that waits for two minutes": put(119.0, "facts", "hosts", "db1", "capacity", "oldest_ready_s"),
    "a budget that leaves the margin": put(2220, "promise", "objectives", "phases", "restore"),
    "a time to live of half the budget": put(60, "promise", "endpoint", "ttl_s"),
    "a disk below four fifths": all_of(
        put(79 * GB, "facts", "hosts", "db1", "capacity", "filesystems", "data", "used_bytes"),
        put(21 * GB, "facts", "hosts", "db1", "capacity", "filesystems", "data", "free_bytes"),
        put(2, "facts", "hosts", "db1", "capacity", "filesystems", "data", "device"),
    ),
    "a spare with just enough room": put(
        14 * GB, "facts", "hosts", "spare1", "capacity", "filesystems", "restore", "free_bytes"
    ),
    "a standby with more than the primary": setting("max_connections", 200, "db2"),
    "a backup as old as the schedule allows": put([backup(1.04, 0x50)], "facts", "repositories", 0, "backups"),
    "a gap that may still be filled": put(
        [{"after": "1" * 24, "until": "2" * 24, "since_s": NOW - MINUTE}], "facts", "repositories", 0, "gaps"
    ),
    "a replica that is as young as is promised": put([REPLICA], "facts", "replicas"),
    "a hold of this night": put([{"run": "run-1", "since_s": NOW - 8 * 3600}], "facts", "repositories", 0, "holds"),
    "an upload of today": put(NOW - DAY, "facts", "buckets", 0, "unfinished", "oldest_s"),
    "versions of a store that tells no rules": put(None, "facts", "buckets", 0, "ends"),
    "a bucket below four fifths": put(126 * GB, "promise", "buckets", 0, "limit_bytes"),
    "a run that was refused": put([run(2), run(1, result="failed", exit_code=4)], "facts", "runs"),
    "five seconds with a standby that confirms": all_of(
        put(5, "promise", "objectives", "rpo_s"),
        put("quorum", "facts", "hosts", "db1", "server", "senders", 0, "sync_state"),
    ),
    "what a silent spare would have": put({}, "facts", "hosts", "spare1", "capacity"),
}


@pytest.mark.parametrize("name", NOT_YET)
def test_what_is_within_its_limit_is_not_found(name):
    promise, facts = sound()
    NOT_YET[name](promise, facts)
    assert ids(promise, facts) == []


def test_a_hold_of_this_night_on_all_dumps_is_not_found():
    promise, facts = dumped()
    facts["dumps"]["held"] = {"east": {"at": "2026-11-25T00:00:00Z"}}
    assert ids(promise, facts) == []


def test_without_wal_the_worst_case_is_told_in_figures():
    """A day, plus the p95 of how long backups took, plus the reaction; a day more after one that failed."""
    promise, facts = planted("archiving off")
    (found,) = findings(promise, facts)
    assert found["because"]["worst_loss_s"] == DAY + 600 + 3600
    assert found["because"]["worst_loss_after_one_failed_backup_s"] == 2 * DAY + 600 + 3600
    promise["objectives"]["rpo_s"] = DAY  # E2: a daily backup does not keep a day
    assert findings(promise, facts)[0]["level"] == "error"
    promise["objectives"]["rpo_s"] = 2 * DAY
    assert findings(promise, facts)[0]["level"] == "warning"


def test_daily_dumps_do_not_keep_a_day():
    """E2: the content of a dump is of the instant it began, so a day is lost and the dump's duration besides."""
    promise, facts = dumped()
    promise.update(dump_interval_s=DAY, reaction_s=0)
    promise["objectives"]["rpo_s"] = DAY
    (found,) = findings(promise, facts)
    assert (found["id"], found["level"]) == ("dump-without-wal", "error")
    assert found["because"]["worst_loss_s"] == DAY + 300
    assert found["because"]["worst_loss_after_one_failed_dump_s"] == 2 * DAY + 300
    both, facts = sound()
    both["engines"], facts["dumps"] = ["physical", "dump"], dumped()[1]["dumps"]
    both["objectives"]["rpo_s"] = HOUR
    assert ids(both, facts) == []


def test_a_lost_service_is_judged_by_what_is_left():
    promise, facts = sound()
    for host in facts["hosts"].values():
        host.update(answers=False, state={}, server={}, capacity={}, timers={})
    facts["repositories"] = []
    assert ids(promise, facts) == ["host-silent", "no-primary", "no-spare", "repositories-unseen", "standby-missing"]


def test_a_service_of_which_nothing_is_known_is_not_called_sound():
    assert {"objective-missing", "no-primary", "never-proven", "one-repository"} <= set(ids({}, {"now_s": NOW}))


def test_errors_come_first_and_loss_before_time():
    promise, facts = planted("other minor version")
    setting("archive_timeout", 0)(promise, facts)
    put(300, "promise", "endpoint", "ttl_s")(promise, facts)
    assert [found["id"] for found in findings(promise, facts)] == ["archive-timeout", "endpoint-ttl", "postgres-minor"]


def shown(found, width=80, **more):
    out = io.StringIO()
    console = Console(file=out, width=width, **more)
    console.print(render(found, "shop"), width=min(console.width, 80), highlight=False)
    return out.getvalue()


def test_findings_fit_eighty_columns_and_need_no_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    found = [one for name in PLANTED for one in findings(*planted(name))]
    text = shown(found, 200, force_terminal=True)
    assert "\x1b[3" not in text  # no colour; bold and dim may stay
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(len(line.rstrip()) for line in plain.splitlines()) <= 80
    assert "!! error   archive-off  recovery point" in plain
    assert "worst loss 25 h 10 min" in plain


def test_what_is_said_of_several_hosts_is_said_once():
    promise, facts = sound()
    for name in ("spare1", "spare2"):
        facts["hosts"][name]["capacity"]["clock"] = {"synchronized": False, "offset_s": None}
    text = shown(findings(promise, facts))
    assert text.count("Let chrony keep it") == 1
    assert "on spare1, spare2" in text
    assert "0 errors, 0 warnings, 2 advice" in text
    assert "nothing was found" in shown([])


@pytest.mark.parametrize(
    ("name", "code"), [(None, 0), ("clock nobody keeps", 0), ("no timer named", 0), ("no spare", 3)]
)
def test_the_exit_code_is_that_of_the_worst_finding(name, code, monkeypatch):
    found = findings(*planted(name)) if name else []
    monkeypatch.setattr(command, "look", lambda *_: found)
    out = io.StringIO()
    assert command.run("shop", "inventory", True, Console(file=out, width=20)) == code
    assert json.loads(out.getvalue()) == {"service": "shop", "findings": found}
    assert command.run("shop", "inventory", False, Console(file=io.StringIO())) == code


def test_the_module_fails_only_when_strict_and_only_with_errors():
    lint = module("lint_service")
    promise, facts = planted("no spare")
    assert lint(promise=promise, facts=facts)["findings"][0]["id"] == "no-spare"
    answer = lint(promise=promise, facts=facts, strict=True)
    assert refused(answer, 3, "No host is free for a restore", "Nothing was changed")
    assert answer["findings"]
    promise, facts = planted("no timer named")
    assert not lint(promise=promise, facts=facts, strict=True).get("failed")
    del facts["now_s"]
    assert not lint(promise=promise, facts=facts).get("failed")
