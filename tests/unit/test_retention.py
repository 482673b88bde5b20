"""Physical backups: what may go."""

from datetime import UTC, datetime, timedelta

from modules import collection

retention = collection("plugins.module_utils.retention")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def backup(days, kind="F", on=None, repo=1):
    """A backup of so many days ago, with pgBackRest's label."""
    at = NOW - timedelta(days=days)
    own = at.strftime("%Y%m%d-%H%M%S") + kind
    return {"label": f"{on['label']}_{own}" if on else own, "repo": repo, "stopped": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def going(backups, days=7, copies=2, proven=()):
    return [b["label"] for b in retention.copies_and_days(backups, days, copies, proven, NOW)]


def test_full_backups_go_with_what_builds_on_them_oldest_first():
    fulls = [backup(days) for days in (40, 30, 20, 3, 1)]
    late = backup(29, "I", fulls[1])
    assert going([*fulls, late]) == [fulls[0]["label"], fulls[1]["label"], late["label"]]


def test_a_young_one_keeps_the_old_full_backup_it_builds_on():
    old, new = backup(40), [backup(3), backup(2), backup(1)]
    assert going([old, *new, backup(5, "D", old)]) == []


def test_recovery_to_the_beginning_of_the_days_stays_possible():
    fulls = [backup(days) for days in (30, 20, 3, 2)]
    assert going(fulls) == [fulls[0]["label"]]  # of 20 days ago one recovers to 7 days ago


def test_so_many_copies_stay_however_old_they_are_in_each_repository():
    fulls = [backup(days, repo=repo) for repo in (1, 2) for days in (400, 300, 200)]
    assert going(fulls) == [fulls[0]["label"], fulls[3]["label"]]
    assert going(fulls, copies=3) == []


def test_what_is_proven_stays():
    fulls = [backup(days) for days in (400, 300, 20, 2, 1)]
    assert going(fulls, proven=[fulls[0]["label"]]) == [fulls[1]["label"]]
    late = backup(399, "I", fulls[0])
    assert going([*fulls, late], proven=[late["label"]]) == [fulls[1]["label"]]


def test_what_has_lost_its_full_backup_counts_for_nothing():
    lost = backup(8, "D", backup(30))
    fulls = [backup(days) for days in (20, 15, 2)]
    assert going([*fulls, lost], copies=2) == [fulls[0]["label"], lost["label"]]
    assert "older than 7 days" in retention.copies_and_days([*fulls, lost], 7, 2, [], NOW)[0]["reason"]
