"""Which backup is due and which may go; and the scheduled program itself, against a real repository."""

import json
import shutil
import socket
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from backups import failed_over, repositories_of
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Template
from modules import collection, module, refused
from pgrescue import schemas
from postgres import free_port, programs, until

HOUSE = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
ROOT = "20261101-020000F"  # the full one that the others here were built on
policy = collection("plugins.module_utils.backup_policy")


def backup(age_days, kind="full", timeline=1, **more):
    stopped = NOW - timedelta(days=age_days)
    label = f"{stopped:%Y%m%d-%H%M%S}F" if kind == "full" else f"{ROOT}_{stopped:%Y%m%d-%H%M%S}{kind[0].upper()}"
    stamp = f"{stopped:%Y-%m-%dT%H:%M:%SZ}"
    return {"label": label, "type": kind, "stopped": stamp, "timeline": timeline, "error": False, **more}


@pytest.mark.parametrize(
    ("backups", "timeline", "kind"),
    [
        ([], 1, "full"),
        ([backup(1)], 1, "incr"),
        ([backup(7)], 1, "full"),
        ([backup(6.99)], 1, "full"),  # a night that began a few minutes earlier than last week's
        ([backup(4)], 1, "diff"),
        ([backup(4), backup(1, "diff")], 1, "incr"),
        ([backup(1)], 2, "full"),  # after a promotion
        ([backup(1, error=True)], 1, "full"),
        ([backup(8), backup(1, "diff")], 1, "full"),
        ([backup(1, proof="failed")], 1, "full"),
        ([backup(3), backup(1, proof="failed")], 1, "full"),  # an engine builds on the newest full one, whatever it is
        ([backup(3), backup(1, error=True)], 1, "full"),
        ([{**backup(2), "label": ROOT}, backup(1, "incr", proof="failed")], 1, "full"),
        ([backup(2), backup(5, "incr", proof="failed")], 1, "incr"),  # nothing is built on that one any more
    ],
)
def test_what_is_due(backups, timeline, kind):
    assert policy.due(backups, timeline, NOW, 7, 3)[0] == kind


def test_days_and_copies_both_hold():
    weekly = [backup(day) for day in (1, 8, 15, 22, 29, 36)]
    assert policy.fulls_to_keep(weekly, NOW, days=14, copies=1, proven_copies=0) == 3  # the third covers the 14th day
    assert policy.fulls_to_keep(weekly, NOW, days=14, copies=5, proven_copies=0) == 5
    assert policy.fulls_to_keep(weekly, NOW, days=0, copies=0, proven_copies=0) == 1


def test_the_newest_proven_ones_stay_however_old():
    old = backup(36, proof="validated")
    assert policy.fulls_to_keep([backup(1), backup(8), old], NOW, 2, 1, 1) == 3
    failed = backup(36, proof="failed")
    assert policy.fulls_to_keep([backup(1), backup(8), failed], NOW, 2, 1, 1) == 2


def test_damaged_backups_push_no_good_one_out():
    nights = [backup(day, error=True) for day in range(9)]
    good = [backup(day) for day in (9, 16, 23)]
    assert policy.fulls_to_keep([*nights, *good], NOW, days=7, copies=2, proven_copies=0) == 11
    assert policy.fulls_to_keep(nights, NOW, days=7, copies=2, proven_copies=0) == 9


def test_disproven_backups_push_no_good_one_out():
    disproven = [backup(day, proof="failed") for day in (1, 8)]
    good = [backup(day) for day in (15, 22, 29)]
    assert policy.fulls_to_keep([*disproven, *good], NOW, days=7, copies=2, proven_copies=0) == 4
    assert policy.fulls_to_keep(disproven, NOW, days=0, copies=1, proven_copies=0) == 2


ages = st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True)


@given(ages, st.integers(0, 60), st.integers(0, 10))
def test_every_instant_of_the_window_can_be_recovered(days_old, days, copies):
    backups = [backup(age) for age in days_old]
    keep = policy.fulls_to_keep(backups, NOW, days, copies, 0)
    kept = sorted(days_old)[:keep]
    assert keep >= min(copies, len(backups))
    assert keep >= 1
    older = [age for age in days_old if age >= days]
    assert not older or max(kept) >= days  # something from before the window begins
    assert all(age in kept for age in days_old if age < days)


@pytest.fixture(scope="module")
def repositories():
    with repositories_of() as made:
        yield made


@pytest.fixture
def installed(repositories):
    return program_in(repositories)


def program_in(repositories):
    """The program with the part of the core that the role installs beside it, and nothing else."""
    tasks = yaml.safe_load((HOUSE / "roles/pgbackrest/tasks/schedule.yml").read_text())
    names = next(t["vars"]["pgbackrest_core"] for t in tasks if "vars" in t)
    core = repositories.folder / "lib/pgrescue_core"
    core.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(HOUSE / f"plugins/module_utils/{name}", core)
    return Path(shutil.copy(HOUSE / "roles/pgbackrest/files/pgrescue_backup.py", core.parent))


def run(made, program, *more, config=None, **changed):
    result, asked = made.folder / "result.json", made.folder / "policy.json"
    wanted = {
        "stanza": "test", "port": made.server.port, "socket_directory": str(made.server.folder),
        "data_directory": str(made.server.data), "processes": 1, "full_every_days": 7, "diff_every_days": 3,
        "keep_proven": 1, "standbys": {}, "result": str(result), "attempts": str(made.folder / "attempts.jsonl"),
        "repositories": [{"endpoint": "", "retention_days": 0, "retention_full": 2}] * 2, **changed,
    }  # fmt: skip
    asked.write_text(json.dumps(wanted))
    env = {"PATH": "/usr/sbin:/usr/bin:/bin", "PGBACKREST_CONFIG": str(config or made.config), "PGUSER": "postgres"}
    command = [*made.own(), "/usr/bin/python3", str(program), str(asked), *more]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done, json.loads(result.read_text()) if result.exists() else None


def attempted(made):
    """What the program wrote of its attempts since this was asked last."""
    path = made.folder / "attempts.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    for one in found:
        jsonschema.validate(one, schemas.schema("attempt"))
    return found


def test_the_program_takes_what_is_due_and_expires_by_policy(repositories, installed, monkeypatch):
    done, result = run(repositories, installed)
    assert (done.returncode, result["state"]) == (0, "passed"), done.stdout + done.stderr
    assert {r["type"] for r in result["repositories"].values()} == {"full"}
    assert {r["type"] for r in run(repositories, installed)[1]["repositories"].values()} == {"incr"}
    first = repositories.labels(1)[0]
    for _ in range(2):
        _, result = run(repositories, installed, full_every_days=0)
    assert first in result["repositories"]["1"]["expired"]
    assert first not in repositories.labels(1)
    monkeypatch.setenv("PGBACKREST_CONFIG", str(repositories.config))
    hold = {"stanza": "test", "endpoints": {"1": ""}}
    assert module("retention_hold")(**hold, run="run-1")["changed"]
    assert not module("retention_hold")(**hold, run="run-1")["changed"]
    _, result = run(repositories, installed, full_every_days=0)
    held, free = result["repositories"]["1"], result["repositories"]["2"]
    assert (held["held_by"], held["expired"], free["held_by"]) == (["run-1"], [], [])
    assert free["expired"]
    assert module("retention_hold")(**hold, run="run-2", state="absent")["holds"] == {"1": ["run-1"]}
    assert module("retention_hold")(**hold, run="run-1", state="absent", check=True)["changed"]
    assert module("retention_hold")(**hold, run="run-1", state="absent")["changed"]
    _, result = run(repositories, installed, full_every_days=0)
    assert result["repositories"]["1"]["expired"]


def test_the_program_writes_every_attempt_down(repositories, installed):
    run(repositories, installed)
    attempted(repositories)
    silent = {"endpoint": "127.0.0.1:1", "retention_days": 0, "retention_full": 2}
    there = {"endpoint": "", "retention_days": 0, "retention_full": 2}
    run(repositories, installed, repositories=[silent, there])
    wrong, good = attempted(repositories)
    assert (wrong["repository"], wrong["result"], wrong["reason"][:11]) == ("1", "failed", "127.0.0.1:1")
    info = json.loads(repositories.run("--repo=2", "--output=json", "info"))[0]["backup"][-1]
    stop = datetime.fromtimestamp(info["timestamp"]["stop"], UTC)
    assert good == {
        "at": f"{stop:%Y-%m-%dT%H:%M:%SZ}", "repository": "2", "kind": info["type"], "result": "passed",
        "duration_s": good["duration_s"], "size_bytes": info["info"]["size"],
        "stored_bytes": info["info"]["repository"]["delta"],
    }  # fmt: skip


def test_a_backup_counts_although_nothing_could_be_expired_after_it(repositories, installed):
    attempted(repositories)
    unsaid = {"endpoint": ""}  # how long backups stay there
    done, result = run(repositories, installed, repositories=[unsaid])
    assert (done.returncode, result["repositories"]["1"]["state"]) == (5, "failed"), done.stdout + done.stderr
    assert [one["result"] for one in attempted(repositories)] == ["passed"]


@pytest.mark.parametrize("how", [["--failed"], []], ids=["its service was killed", "its host went down"])
def test_an_attempt_that_was_cut_off_is_written_down_once(repositories, installed, how):
    attempted(repositories)
    began = "2026-11-24T02:00:00.000000Z"
    at_work = {"repository": "2", "started": began}
    said = {"stanza": "test", "state": "running", "started": began, "repositories": {}, "at_work": at_work}
    (repositories.folder / "result.json").write_text(json.dumps(said))
    run(repositories, installed, *how)
    cut, *others = attempted(repositories)
    assert (cut["repository"], cut["result"], cut["reason"]) == ("2", "failed", "it ended before it was done")
    assert (cut["at"] == began) == (how == [])
    assert [one["result"] for one in others] == ([] if how else ["passed", "passed"])
    run(repositories, installed, "--failed")
    assert attempted(repositories) == []


def test_one_that_was_cut_off_after_its_backup_is_none(repositories, installed):
    attempted(repositories)
    began = "2026-11-24T02:00:00.000000Z"
    there = {"at": "2026-11-24T02:00:09Z", "repository": "1", "kind": "full", "result": "passed"}
    (repositories.folder / "attempts.jsonl").write_text(json.dumps(there) + "\n")
    said = {"stanza": "test", "state": "running", "at_work": {"repository": "1", "started": began}}
    (repositories.folder / "result.json").write_text(json.dumps(said))
    run(repositories, installed, "--failed")
    assert attempted(repositories) == [there]


def test_the_program_builds_on_no_backup_whose_proof_failed(repositories, installed):
    for _ in range(2):
        run(repositories, installed, full_every_days=0)
    fulls = [label for label in repositories.labels(1) if "_" not in label]
    good, newest = fulls[-2:]
    repositories.run("--repo=1", f"--set={newest}", "--annotation=pgrescue-proof=failed", "annotate")
    _, result = run(repositories, installed)
    assert [r["type"] for r in result["repositories"].values()] == ["full", "incr"]
    assert good in repositories.labels(1)


def test_one_repository_that_fails_is_said_and_the_other_gets_its_backup(repositories, installed):
    silent = {"endpoint": "127.0.0.1:1", "retention_days": 0, "retention_full": 2}
    there = {"endpoint": "", "retention_days": 0, "retention_full": 2}
    done, result = run(repositories, installed, repositories=[silent, there])
    assert (done.returncode, result["state"]) == (5, "failed")
    assert [r["state"] for r in result["repositories"].values()] == ["failed", "taken"]
    before = result["attempts"]
    assert all("ended" in r for r in result["repositories"].values())
    _, result = run(repositories, installed, repositories=[silent, there])
    assert result["attempts"]["1"] == {**before["1"], "failed": before["1"]["failed"] + 1}
    assert result["attempts"]["2"] == {**before["2"], "passed": before["2"]["passed"] + 1}


def test_a_run_that_was_killed_counts_as_one_attempt_that_failed(repositories, installed):
    _, result = run(repositories, installed)
    killed = {**result, "state": "running", "repositories": {"1": result["repositories"]["1"]}}
    (repositories.folder / "result.json").write_text(json.dumps(killed))
    for _ in range(2):  # systemd may say so twice
        _, told = run(repositories, installed, "--failed")
        assert (told["state"], told["repositories"]["2"]["state"]) == ("failed", "failed")
        assert told["attempts"]["1"] == result["attempts"]["1"]
        assert told["attempts"]["2"]["failed"] == result["attempts"]["2"]["failed"] + 1


def test_an_old_primary_that_came_back_takes_no_backup(repositories, installed):
    archive = next((repositories.folder / "repo1/archive/test").glob("*-1"))
    later = archive / "0000000200000000"
    later.mkdir()
    (later / f"0000000200000000000000F0-{'0' * 40}.lz4").touch()
    before = repositories.labels(1)
    try:
        done, result = run(repositories, installed)
    finally:
        shutil.rmtree(later)
    assert (done.returncode, [r["state"] for r in result["repositories"].values()]) == (5, ["failed", "taken"])
    assert "old primary" in result["repositories"]["1"]["problem"]
    assert repositories.labels(1) == before


def test_the_backup_of_an_old_primary_pushes_no_good_one_out():
    with failed_over() as (made, new, good, bad):
        at = {"port": new.port, "socket_directory": str(new.folder), "data_directory": str(new.data)}
        where = [{"endpoint": "", "retention_days": 0, "retention_full": 2}]
        done, result = run(made, program_in(made), config=made.config_of(new), repositories=where, **at)
        assert (done.returncode, result["repositories"]["1"]["type"]) == (0, "full"), done.stdout + done.stderr
        assert made.labels(1)[:2] == [good, bad]  # two that stand for something: the new one and the good one


def test_a_standby_and_a_spare_host_do_nothing(repositories, installed, tmp_path):
    (repositories.folder / "result.json").unlink(missing_ok=True)
    done, result = run(repositories, installed, data_directory=str(tmp_path / "none"))
    assert (done.returncode, result) == (0, None)
    assert "nothing to do" in done.stdout


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_does_not_run_is_no_primary(repositories, installed, mode):
    """A fenced old primary has its data and its timer still: it must not fail every night."""
    (repositories.folder / "result.json").unlink(missing_ok=True)
    server = repositories.server
    server.stop(mode)
    if mode == "immediate":  # what kill -9 leaves behind
        left = server.folder / f".s.PGSQL.{server.port}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(left))
        left.chmod(0o777)
    try:
        done, result = run(repositories, installed)
    finally:
        (server.folder / f".s.PGSQL.{server.port}").unlink(missing_ok=True)
        server.start()
    assert (done.returncode, result) == (0, None), done.stderr
    assert "no server runs" in done.stdout


def test_a_server_that_is_there_and_does_not_answer_well_is_a_failure(repositories, installed):
    server = repositories.server
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("local all all reject\n" + before)
    server.psql("SELECT pg_reload_conf()")
    taken = {"state": "taken", "ended": "2026-11-24T02:00:09Z"}
    last = {"state": "passed", "repositories": {"1": taken, "2": taken}, "attempts": {"1": {"passed": 3, "failed": 1}}}
    (repositories.folder / "result.json").write_text(json.dumps(last))
    attempted(repositories)
    try:
        done, result = run(repositories, installed)
        assert run(repositories, installed, "--failed")[1] == result
    finally:
        hba.write_text(before)
        server.psql("SELECT pg_reload_conf()")
    assert done.returncode == 1
    # what metrics and CloudWatch read of it is no longer the last night's word
    assert [one["state"] for one in result["repositories"].values()] == ["failed", "failed"]
    assert result["attempts"] == {"1": {"passed": 3, "failed": 2}, "2": {"passed": 0, "failed": 1}}
    assert "pg_hba.conf rejects" in done.stderr
    (said,) = attempted(repositories)
    assert "pg_hba.conf rejects" in said["reason"] and "repository" not in said


def certificates(folder, user):
    """A CA and a certificate of localhost, by openssl."""
    ca, key, cert = (folder / name for name in ("ca.crt", "server.key", "server.crt"))
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *named, "-keyout", key, "-out", cert], check=True, capture_output=True)
    shutil.copy(cert, ca)
    for path in (ca, key, cert):
        path.chmod(0o600)
        shutil.chown(path, user, user)
    return {"ca": str(ca), "cert": str(cert), "key": str(key)}


@contextmanager
def serving(made, standby, tls, port):
    """pgBackRest's server, which lets others copy from the standby."""
    options = {"tls-server-address": "127.0.0.1", "tls-server-port": port, "tls-server-auth": "localhost=test"}
    options |= {f"tls-server-{name}-file": path for name, path in tls.items()}
    made.archive_of(standby)
    text = made.config_of(standby).read_text()
    said = "".join(f"{name}={value}\n" for name, value in options.items())
    made.config_of(standby).write_text(text.replace("[global]\n", "[global]\n" + said, 1))
    command = [*made.own(), "pgbackrest", f"--config={made.config_of(standby)}", "server"]
    with subprocess.Popen(command, cwd=made.folder) as process:
        try:
            reach = collection("plugins.module_utils.network")
            until(lambda: reach.tls_problem(f"localhost:{port}", 5) is None, 20, "it serves")
            yield
        finally:
            process.terminate()


def test_a_copy_from_a_standby_that_fails_is_taken_from_the_primary_and_said(repositories, installed):
    """Its data and its port are its own."""
    standby = repositories.server.standby_of()
    tls, port = certificates(repositories.folder, standby.user), free_port()
    there = {"host": "localhost", "port": port, **tls, "socket_directory": str(standby.folder)}
    there |= {"data_directory": str(standby.data), "postgres_port": standby.port}
    try:
        with serving(repositories, standby, tls, port):
            standby.start()
            name = repositories.server.psql("SELECT application_name FROM pg_stat_replication")[0][0]
            done, result = run(repositories, installed, standbys={name: there})
            said = [(r["state"], r["copied_from"]) for r in result["repositories"].values()]
            assert said == [("taken", name)] * 2, done.stdout + done.stderr
            wrong = {**there, "data_directory": str(standby.folder / "gone")}
            done, result = run(repositories, installed, standbys={name: wrong})
        for taken in result["repositories"].values():
            assert (taken["state"], taken["copied_from"], taken["not_copied_from"]) == ("taken", None, name), taken
            assert "standby" in taken["problem_there"]
        assert (done.returncode, result["state"]) == (0, "passed")
    finally:
        standby.remove()


def test_each_standby_is_reached_where_it_is():
    hosts = {
        "a": {"postgres_fqdn": "a.org", "postgres_state": {"data_directory": "/data/a"}, "postgres_port": 5433},
        "b": {"postgres_fqdn": "b.org"},
    }
    ask = collection("plugins.filter.hosts").copied_from
    found = ask(hosts, hosts, ["ca", "cert", "key", 8432], "/current", 5432)
    assert {h: (s["data_directory"], s["postgres_port"], s["port"]) for h, s in found.items()} == {
        "a": ("/data/a", 5433, 8432),
        "b": ("/current", 5432, 8432),
    }
    assert ask(hosts, hosts, [], "/current", 5432) == {}


def test_a_run_that_was_killed_is_noted_as_failed(repositories, installed):
    (repositories.folder / "result.json").write_text(json.dumps({"stanza": "test", "state": "running", "started": "x"}))
    _, result = run(repositories, installed, "--failed")
    assert (result["state"], result["started"]) == ("failed", "x")
    assert run(repositories, installed, "--failed")[1] == result


def test_a_restore_point_is_made_once(repositories, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", str(repositories.config))
    monkeypatch.setenv("PGUSER", "postgres")
    server = repositories.server
    at = {"version": int(programs().parent.name), "port": server.port, "socket_directory": str(server.folder)}
    mark = {"stanza": "test", "endpoints": {"1": "", "2": ""}, **at}
    assert module("restore_point")(name="before_x", check=True, **mark)["changed"]
    point = module("restore_point")(name="before_x", **mark)["point"]
    assert (point["repositories"], point["timeline"]) == (["1", "2"], 1)
    assert json.loads((repositories.folder / "repo2/mark/before_x").read_text())["lsn"] == point["lsn"]
    assert refused(module("restore_point")(name="before_x", **mark), 4, "already", "Nothing was changed")
    assert refused(module("restore_point")(name="../x", **mark), 3, "no name")
    assert refused(module("restore_point")(name="y", **{**mark, "endpoints": {"1": "127.0.0.1:1"}}), 3, "No repository")


def test_two_stanzas_of_one_host_are_backed_up_at_hours_of_their_own(tmp_path):
    """systemd finds nothing wrong with either timer, and enables each for itself."""
    role = HOUSE / "roles/pgbackrest"
    lays_down = next(t for t in yaml.safe_load((role / "tasks/schedule.yml").read_text()) if "vars" in t)
    (timer,) = [one for one in lays_down["vars"]["pgbackrest_units"] if one["path"].endswith(".timer")]
    (template,) = (role / "templates").glob("*.timer.j2")
    assert template.name in timer["text"]
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in (role / "files").glob("*.service"):
        shutil.copy(unit, units)
    hours = {"shop": "*-*-* 02:00:00 UTC", "ledger": "*-*-* 05:30:00 UTC"}
    for stanza, hour in hours.items():
        said = {"pgbackrest_stanza": stanza, "pgbackrest_schedule": hour}
        path = tmp_path / Template(timer["path"]).render(said).lstrip("/")
        path.write_text(Template(template.read_text()).render(said))
    timers = {stanza: f"pgrescue-backup@{stanza}.timer" for stanza in hours}
    for stanza, hour in hours.items():
        assert f"OnCalendar={hour}\n" in (units / timers[stanza]).read_text()
    env = {"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"}
    checked = subprocess.run(
        ["systemd-analyze", "verify", *timers.values()], env=env, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, "pgrescue" in checked.stderr) == (0, False), checked.stderr
    subprocess.run(["systemctl", f"--root={tmp_path}", "enable", *timers.values()], check=True, capture_output=True)
    wanted = units / "timers.target.wants"
    assert {path.name: path.readlink().name for path in wanted.iterdir()} == {t: t for t in timers.values()}
