"""What a pack says beside the record: each sentence is derived from it, and what is not known is absent."""

import csv
import json
import subprocess
from datetime import date, timedelta

import jsonschema
import pytest
from drillings import drill, ended
from evidence_packs import approval, key_file, written
from pgrescue import close, record, schemas
from pgrescue.core import approvals
from pgrescue.drill import checklist, samples, scenario, tape
from pgrescue.evidence import deviations, findings, lessons, mapping, objectives, people, reopening, scope
from pgrescue.evidence.settings import Settings
from pgrescue.ledger import index
from run_fixture import CHECKS, DIGEST, Synthetic, Timeline, failed_restore

PARTS = {"scope.json", "people.json", "objectives.json", "findings.json", "deviations.md", "lessons.md", "mapping.csv"}


@pytest.fixture
def closed(tmp_path):
    directory = written(tmp_path)
    close.finish(directory)
    return directory


def loaded(directory, name):
    return json.loads((directory / name).read_text())


def titles(directory, **settings):
    return {one.id.partition("/")[2]: one for one in findings.of(record.load(directory), Settings(**settings))}


def test_a_closed_record_has_every_part_and_each_fits_its_schema(closed):
    assert PARTS | {"blocks.json", "seal-1.dsse.json"} <= {path.name for path in closed.iterdir()}
    for name in ("scope", "people", "objectives", "findings", "blocks"):
        jsonschema.validate(loaded(closed, f"{name}.json"), schemas.schema(name))
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "manifest.sha256"], cwd=closed, check=True)


def test_closing_again_changes_nothing(closed):
    before = {path.name: path.read_bytes() for path in closed.iterdir()}
    close.finish(closed)
    assert {path.name: path.read_bytes() for path in closed.iterdir()} == before


def test_the_scope_is_what_the_record_knows(closed):
    said = loaded(closed, "scope.json")
    assert said["system_identifier"] == "7437700000000004471"
    assert (said["timeline"], said["postgres_version"], said["plan_digest"]) == (1, "17.6", DIGEST)
    assert said["data_bytes"] == 1610612736
    assert {"a1", "x1", "dns1", "app1"} <= set(said["hosts"])
    assert said["tools"]["pgBackRest"] == "2.57.0"
    assert {"regions", "databases", "configuration_sha256"} & set(said) == set(), "nobody told"
    excluded = {one["what"]: one["why"] for one in said["excluded"]}
    assert excluded["backup 20261124-010002I of repository 2"] == "file base/16384/2619 does not match its checksum"
    assert excluded["step rebuild_standbys"] == "No host is free."


def test_the_scope_names_the_commit_and_whether_files_differ_from_it(closed, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", "init", "-q", clone], check=True)
    monkeypatch.setattr(scope, "_ROOT", clone)
    (closed / "scope.json").unlink()
    assert scope.of(record.load(closed), Settings()).runbooks is None, "there is no commit yet"
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=clone, check=True)
    found = scope.of(record.load(closed), Settings()).runbooks
    assert (len(found.commit), found.dirty) == (40, False)
    (clone / "changed").write_text("x")
    assert scope.of(record.load(closed), Settings()).runbooks.dirty
    monkeypatch.setattr(scope, "_ROOT", tmp_path / "nowhere")
    assert scope.of(record.load(closed), Settings()).runbooks is None


def test_the_scope_of_an_attempt_is_kept_when_the_record_is_closed_again_later(closed, monkeypatch):
    before = loaded(closed, "scope.json")
    monkeypatch.setattr(scope, "_runbooks", lambda: scope.Runbooks(commit="f" * 40, dirty=True))
    close.finish(closed)
    assert loaded(closed, "scope.json") == before
    reopening.reopen(closed, "lena@ctl")
    (closed / "scope.json").write_text(json.dumps({**before, "attempts": 1}))
    close.finish(closed)
    assert loaded(closed, "scope.json")["runbooks"]["commit"] == "f" * 40


def test_the_configuration_has_one_digest_that_any_changed_file_changes(closed, tmp_path):
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {}")
    (inventory / "group_vars" / "shop.yml").write_text("rto: 1")
    (closed / "scope.json").unlink()

    def digest():
        return scope.of(record.load(closed), Settings(inventory=inventory)).configuration_sha256

    first = digest()
    assert first == digest()
    (inventory / "group_vars" / "shop.yml").write_text("rto: 2")
    assert len({first, digest()}) == 2
    assert scope.of(record.load(closed), Settings(inventory=tmp_path / "none")).configuration_sha256 is None


def test_databases_come_from_a_census(closed):
    counted = {"databases": {"shop": {"skipped": ["public.damaged"]}, "audit": {}}}
    (closed / "census.json").write_text(json.dumps(counted))
    said = scope.of(record.load(closed), Settings())
    assert [one.name for one in said.databases] == ["audit", "shop"]
    assert "table public.damaged of shop" in {one.what for one in said.excluded}


def test_people_are_named_with_how_they_are_known(closed):
    said = loaded(closed, "people.json")
    assert said["operator"]["name"] == "lena@ctl"
    assert [(one["name"], one["reason"]) for one in said["approvers"]][1] == ("omar@laptop", "The client agreed.")
    assert "machine that reads the record's stores" in said["approvers"][1]["known"]
    assert said["second_person"] is True
    assert "observer" not in said


@pytest.mark.parametrize(
    ("by", "way", "verdict", "second"),
    [
        ("lena@elsewhere", "approval", "approved", False),  # the same person at another machine
        ("omar@laptop", "approval", "denied", False),
        ("omar@laptop", "policy", "approved", False),
        ("omar@laptop", "approval", "approved", True),
    ],
)
def test_a_second_person_is_another_one_who_said_yes(closed, by, way, verdict, second):
    for path in closed.glob("approval-*"):
        path.unlink()
    approvals.write(str(closed), approval(closed.name, by, way, "because", verdict))
    assert people.of(record.load(closed)).second_person is second


def test_an_approval_that_was_changed_is_nobodys(closed):
    for path in closed.glob("approval-*"):
        path.write_text(path.read_text().replace("omar@laptop", "noor@laptop"))
    assert "noor@laptop" not in {one.name for one in people.of(record.load(closed)).approvers}


def test_without_an_operator_nobody_is_guessed(closed):
    run = {key: value for key, value in loaded(closed, "run.json").items() if key != "operator"}
    (closed / "run.json").write_text(json.dumps(run))
    said = people.of(record.load(closed)).dump()
    assert {"operator", "second_person", "observer"} & set(said) == set()
    assert {one.owner for one in titles(closed).values()} == {findings.NOBODY}


def test_an_observer_is_who_the_run_names(closed):
    run = {**loaded(closed, "run.json"), "observer": "Noor Haddad"}
    (closed / "run.json").write_text(json.dumps(run))
    assert people.of(record.load(closed)).observer.name == "Noor Haddad"


def test_objectives_have_margins_where_something_was_measured(closed):
    said = {one["name"]: one for one in loaded(closed, "objectives.json")["objectives"]}
    assert said["rto"]["promised_s"] - said["rto"]["measured_s"] == pytest.approx(said["rto"]["margin_s"])
    assert said["rto"]["verdict"] == "met"
    assert set(said) == {"rto", "rpo", "detect", "decide", "prepare", "restore", "validate"}


def test_what_was_not_measured_has_no_figure(tmp_path):
    directory = Synthetic(witness=None).write(tmp_path)
    said = {one.name: one.dump() for one in objectives.of(record.load(directory)).objectives}
    assert said["rto"] == {"name": "rto", "promised_s": 3600.0}


def test_a_good_run_with_deviations_has_the_findings_of_those(closed):
    found = titles(closed)
    assert found["check-settings"].severity == "medium"
    assert found["glass-1"].title == "lena@ctl went on without a second person at gate plan: nobody answers"
    assert found["lost-after-recovery-point"].title.startswith("14 acknowledged commits after the recovery point")
    assert "rebuild_standbys" in found["skip-rebuild-standbys"].title
    assert found["override-a1-was-not-proven-to-be-fenced"].severity == "high"
    assert {one.owner for one in found.values()} == {"lena@ctl"}
    assert {one.owner for one in titles(closed, owner="dba@example.com").values()} == {"dba@example.com"}


def test_due_dates_follow_severity_from_the_runs_last_event(closed):
    last = record.load(closed).story.last.date()
    days = {one.severity: (date.fromisoformat(one.due) - last) for one in titles(closed).values()}
    assert days == {"high": timedelta(14), "medium": timedelta(30)}
    assert {one.state for one in titles(closed).values()} == {"open"}


@pytest.mark.parametrize(
    ("parts", "kind", "severity"),
    [
        ({"timeline": failed_restore(), "checks": None}, "step-restore-replay-the-archive-to-its-end-x1", "high"),
        ({"objectives": {"rto_s": 20}}, "rto", "high"),
        ({"objectives": {"rpo_s": 5}}, "rpo", "high"),
        ({"objectives": {"phases": {"restore": 1}}}, "phase-restore", "medium"),
        ({"witness": None}, "rto", "medium"),
        ({"lost": 0, "holes": [30]}, "lost-before-recovery-point", "high"),
        ({"checks": [{"name": "rows", "tier": "must", "verdict": "truncated"}]}, "check-rows", "high"),
    ],
)
def test_what_went_wrong_is_a_finding(tmp_path, parts, kind, severity):
    assert titles(Synthetic(**parts).write(tmp_path))[kind].severity == severity


def test_one_cause_is_one_finding_with_the_rest_as_its_evidence(tmp_path):
    missed = {"rto_s": 20, "phases": {"restore": 1, "detect": 300}}
    found = titles(Synthetic(objectives=missed, lost=0, checks=[{**CHECKS[0]}]).write(tmp_path))
    assert set(found) == {"rto"}
    assert (found["rto"].severity, found["rto"].evidence) == ("high", ["Phase restore took 11.5 s of 1 s"])


def test_a_drills_rules_are_evidence_of_what_they_show(tmp_path):
    rules = [{"rto_within": "promised"}, {"phase_within": "promised"}, "nothing_lost", {"detection_within": 1}]
    raw = {**scenario.raw("complete_loss"), "must": rules, "nice": []}
    said = drill().model_copy(update={"scenario": scenario.Scenario(name="complete_loss", **raw)})
    parts = {"objectives": {"rto_s": 20, "phases": {"restore": 1}}, "checks": [{**CHECKS[0]}]}
    directory = ended(tmp_path, said, **parts).directory
    found = {kind: one for kind, one in titles(directory).items() if not kind.startswith(("checklist", "note"))}
    assert set(found) == {"rto", "lost-after-recovery-point", "must-detection_within"}
    assert [line.partition(":")[0].partition(" took")[0] for line in found["rto"].evidence] == [
        "Phase restore", "The drill is failed", "Rule not kept", "Rule not kept",
    ]  # fmt: skip
    assert found["lost-after-recovery-point"].severity == "high", "as severe as the rule that shows it"
    index.refresh(directory.parent)
    with index.asking(directory.parent) as ledger:
        assert ledger.execute("SELECT count(*) FROM problems").fetchone()[0] == 0


def test_a_phase_over_its_budget_in_a_recovery_in_time_is_a_finding_of_its_own(tmp_path):
    found = titles(Synthetic(objectives={"rto_s": 3600, "phases": {"restore": 1}}, lost=0).write(tmp_path))
    assert found["phase-restore"].evidence is None


def refused(phase, code=4):
    told, words = Timeline(), {"detail": "db1 still runs. Nothing was changed.", "exit_code": code}
    told.lines = []
    told.start(0)
    told.phase("detect", 1, 2, [])
    for begun in dict.fromkeys(("decide", phase)):
        told.event(3, "start", begun)
    told.step(phase, "Bind the run to a plan", 4, 5, "failed", **words)
    told.step(phase, "Say why", 5, 6, "failed", **words)
    told.event(7, "end", phase, status="failed")
    return {"timeline": told, "witness": None, "checks": [], "kind": "incident"}


def test_a_refusal_is_no_severe_finding_and_none_before_anything_was_begun(tmp_path):
    """A guard that did what it is for, said twice by its rescue."""
    assert titles(Synthetic(**refused("decide")).write(tmp_path / "decide")) == {}
    low = {
        one.severity: one.title for one in titles(Synthetic(**refused("prepare")).write(tmp_path / "prepare")).values()
    }
    assert "'Bind the run to a plan' failed" in low["low"]
    failed = titles(Synthetic(**refused("decide", code=5)).write(tmp_path / "failed")).values()
    assert [one.title.partition(":")[0] for one in failed if one.severity == "high"] == [
        "'Bind the run to a plan' failed on x1"
    ]


def test_a_run_in_which_nothing_went_wrong_has_none(tmp_path):
    checks = [{"name": "rows", "tier": "must", "verdict": "passed"}]
    assert titles(Synthetic(checks=checks, lost=0).write(tmp_path)) == {}


def test_a_run_without_a_timeline_is_dated_by_its_id(tmp_path):
    directory = Synthetic(timeline=type(failed_restore())()).write(tmp_path)
    assert {one.due for one in titles(directory).values() if one.severity == "medium"} == {"2026-12-24"}


def test_deviations_name_skips_overrides_glass_and_takeovers(closed):
    page = deviations.page(record.load(closed))
    for said in (
        "| rebuild_standbys | lena@ctl | No host is free. |",
        "| a1 was not proven to be fenced | lena@ctl | The provider says that the machine is off. |",
        "| gate plan | lena@ctl | nobody answers |",
        "| the run | omar@laptop | lena@ctl had it before |",
    ):
        assert said in page
    assert "None." not in page


def test_a_run_without_deviations_says_none(tmp_path):
    page = deviations.page(record.load(Synthetic().write(tmp_path)))
    assert page.count("None.") == 4


def test_text_of_people_cannot_break_out_of_a_table(closed):
    run = loaded(closed, "run.json")
    run["broke_glass"][0]["reason"] = "a | b\n# <script>"
    (closed / "run.json").write_text(json.dumps(run))
    assert "a \\| b # &lt;script>" in deviations.page(record.load(closed))


def test_lessons_begin_with_where_the_time_went(closed):
    page = lessons.page(record.load(closed))
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows[0] == "| Restore the backup into a new data directory | restore | 6.4 s |"
    assert "- 2026-11-24 01:20:55.300 UTC: 2.6 s" in page
    assert "1 times." in page
    assert "Second cache node was slow to reconnect." in page


def test_the_mapping_is_of_the_items_that_are_there(closed):
    rows = list(csv.DictReader((closed / "mapping.csv").read_text().splitlines()))
    assert {row["item"] for row in rows} <= {path.name for path in closed.iterdir()}
    assert {"SOC 2", "ISO 22301:2019", "DORA", "RTS 2024/1774", "PCI DSS 4.0.1", "HIPAA", "NIST SP 800-53"} == {
        row["framework"] for row in rows
    }
    assert ("checks.json", "A1.3") in {(row["item"], row["control"]) for row in rows}
    assert mapping.table(["nothing.txt"]).splitlines() == ["item,shows,framework,control"]


CONTROLS = {  # each by its name in its framework
    "SOC 2": {  # trust services criteria of 2017, points of focus of 2022
        "A1.3": "recovery plan procedures are tested",
        "CC2.2": "internal communication",
        "CC4.2": "deficiencies are evaluated and communicated",
        "CC7.4": "response to incidents by a defined programme",
        "CC7.5": "recovery from incidents",
    },
    "ISO 22301:2019": {
        "7.5.3": "control of documented information",
        "8.4.2": "response structure",
        "8.4.4": "business continuity plans",
        "8.4.5": "recovery",
        "8.5": "exercise programme",
        "8.6": "evaluation of documentation and capabilities",
        "9.1": "monitoring, measurement, analysis and evaluation",
        "9.3": "management review",
        "10.1": "nonconformity and corrective action",
    },
    "DORA": {  # Regulation (EU) 2022/2554
        "Art. 11(6)": "plans are tested at least yearly",
        "Art. 11(8)": "records of activities before and during disruptions",
        "Art. 12(2)": "backup, restoration and recovery procedures are tested",
        "Art. 12(3)": "restoration on segregated systems",
        "Art. 12(6)": "recovery time and recovery point objectives",
        "Art. 12(7)": "checks and reconciliations when recovering",
        "Art. 13(2)": "reviews after incidents",
        "Art. 13(5)": "findings are reported to the management body",
        "Art. 17(3)": "incident management process",
        "Art. 24(5)": "issues that tests reveal are remedied",
        "Art. 25(1)": "kinds of tests, scenario-based ones among them",
    },
    "RTS 2024/1774": {
        "Art. 12": "logging",
        "Art. 25": "testing of the ICT business continuity plans",
        "Art. 26": "ICT response and recovery plans",
    },
    "PCI DSS 4.0.1": {
        "12.10.1": "an incident response plan, with recovery and backup procedures",
        "12.10.2": "it is reviewed and tested once in twelve months",
        "12.10.6": "it evolves by lessons learned",
    },
    "HIPAA": {
        "164.308(a)(7)(ii)(B)": "disaster recovery plan",
        "164.308(a)(7)(ii)(D)": "testing and revision procedures",
        "164.312(c)(1)": "integrity",
        "164.316(b)(1)": "documentation",
    },
    "NIST SP 800-53": {  # revision 5
        "AC-5": "separation of duties",
        "AU-3": "content of audit records",
        "AU-8": "time stamps",
        "AU-9": "protection of audit information",
        "AU-9(3)": "cryptographic protection",
        "CA-5": "plan of action and milestones",
        "CP-2": "contingency plan",
        "CP-4": "contingency plan testing",
        "CP-4(4)": "full recovery and reconstitution",
        "CP-9(1)": "testing for reliability and integrity",
        "CP-9(2)": "test restoration using sampling",
        "CP-10": "system recovery and reconstitution",
        "CP-10(2)": "transaction recovery",
        "CP-10(4)": "restore within time period",
        "IR-3": "incident response testing",
        "IR-4": "incident handling",
        "IR-5": "incident monitoring",
    },
}


def test_every_control_is_one_that_its_framework_has():
    used = {}
    for one in mapping.controls():
        for framework, ids in one["controls"].items():
            assert len(ids) == len(set(ids)), one["shows"]
            used.setdefault(framework, set()).update(ids)
    assert used == {framework: set(names) for framework, names in CONTROLS.items()}


def test_every_item_of_the_mapping_is_one_that_a_pack_can_hold(closed, tmp_path):
    from fnmatch import fnmatch

    drilled = ended(tmp_path / "drills").directory
    reopening.reopen(drilled, "lena@ctl")
    (drilled / checklist.FILE).write_text("[]")
    close.finish(drilled)
    rows = list(csv.DictReader((drilled / "mapping.csv").read_text().splitlines()))
    assert {"drill.json", "checklist.json"} <= {row["item"] for row in rows}
    of_a_drill = {samples.name("db1"), tape.FILE}
    names = {path.name for path in (*closed.iterdir(), *drilled.iterdir())} | of_a_drill
    unknown = [i for one in mapping.controls() for i in one["items"] if not any(fnmatch(name, i) for name in names)]
    assert unknown == []


def test_a_key_that_cannot_be_read_does_not_stop_the_close_and_is_a_finding(tmp_path, monkeypatch):
    directory = written(tmp_path)
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(tmp_path / "none.pem"))
    assert close.finish(directory).exit_code == 0
    assert not list(directory.glob("seal-*"))
    (found,) = [one for one in loaded(directory, "findings.json") if one["id"].endswith("/seal")]
    assert "none.pem" in found["title"]
    assert record.verify_manifest(directory) == []
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(key_file(tmp_path)))
    close.finish(directory)
    assert list(directory.glob("seal-*"))
