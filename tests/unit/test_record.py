import json
import subprocess
from datetime import UTC, datetime

import pytest
from pgrescue import close, record, recovery, runner
from pgrescue.files import write_text
from pgrescue.models import Run
from pgrescue.verdict import verdict_line
from run_fixture import Synthetic, Timeline, Witness, complete_loss, failed_restore


def finished(tmp_path, **parts):
    directory = Synthetic(**parts).write(tmp_path)
    return directory, close.finish(directory)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_good_run_passes_with_every_file(tmp_path):
    directory, run = finished(tmp_path)
    assert (run.result, run.exit_code) == ("passed", 0)
    assert {"run.json", "measurement.json", "report.html", "report.md", "manifest.sha256"} <= set(contents(directory))
    assert json.loads((directory / "run.json").read_text())["exit_code"] == 0
    assert not list(directory.glob(".*"))


def test_the_verdict_line(tmp_path):
    directory, _ = finished(tmp_path)
    assert verdict_line(record.load(directory)) == (
        "RECOVERED AND VALIDATED - back in 00:00:28 of 01:00:00 - lost 14 acknowledged commits, 7 s of 24 h allowed"
    )


def test_finishing_twice_changes_nothing(tmp_path):
    directory, _ = finished(tmp_path)
    before = contents(directory)
    close.finish(directory)
    assert contents(directory) == before


def test_the_manifest_is_what_sha256sum_checks(tmp_path):
    directory, _ = finished(tmp_path)
    assert record.verify_manifest(directory) == []
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "manifest.sha256"], cwd=directory, check=True)


def test_which_process_is_at_work_here_is_no_part_of_the_record(tmp_path):
    directory, _ = finished(tmp_path)
    (directory / "controller.json").write_text("{}")
    assert record.verify_manifest(directory) == []


def test_verification_names_what_differs_is_missing_and_is_extra(tmp_path):
    directory, _ = finished(tmp_path)
    content = bytearray((directory / "timeline.jsonl").read_bytes())
    content[content.index(b"omar")] ^= 1
    (directory / "timeline.jsonl").write_bytes(content)
    (directory / "plan.json").unlink()
    (directory / "steps").mkdir()
    (directory / "steps" / "output").write_text("added later")
    found = {(difference.path, difference.kind) for difference in record.verify_manifest(directory)}
    assert found == {("timeline.jsonl", "differs"), ("plan.json", "missing"), ("steps/output", "extra")}
    assert any("line" in difference.detail for difference in record.verify_manifest(directory))


def test_every_single_flipped_byte_of_a_measurement_is_found(tmp_path):
    directory, _ = finished(tmp_path)
    path = directory / "measurement.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert [difference.path for difference in record.verify_manifest(directory)] == ["measurement.json"]


def test_a_manifest_cannot_name_files_outside_the_record(tmp_path):
    directory, _ = finished(tmp_path)
    with (directory / "manifest.sha256").open("a") as manifest:
        manifest.write("0" * 64 + "  ../../etc/passwd\n")
    assert [difference.kind for difference in record.verify_manifest(directory)] == ["unreadable"]


@pytest.mark.parametrize(
    ("parts", "result", "exit_code"),
    [
        ({"timeline": failed_restore()}, "failed", 5),
        ({"checks": None}, "failed", 6),
        ({"checks": [{"name": "rows", "tier": "must", "verdict": "failed"}]}, "failed", 6),
        ({"checks": [{"name": "rows", "tier": "must", "verdict": "truncated"}]}, "failed", 6),
        ({"objectives": {"rto_s": 20}}, "failed", 7),
        ({"objectives": {"rpo_s": 5}}, "failed", 7),
        ({"lost": 0, "holes": [30]}, "failed", 7),
        ({"objectives": {}}, "passed", 0),
        ({"witness": None}, "failed", 7),  # what nobody measured is not kept
    ],
)
def test_the_records_decide_the_result(tmp_path, parts, result, exit_code):
    _, run = finished(tmp_path, **parts)
    assert (run.result, run.exit_code) == (result, exit_code)


def test_the_exit_code_is_that_of_the_last_failed_step(tmp_path):
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "prepare")
    timeline.step("prepare", "Guard the target", 1, 2, "failed", exit_code=4, detail="wrong system identifier")
    timeline.event(3, "end", "prepare", status="failed")
    timeline.event(3, "end", status="failed")
    directory, run = finished(tmp_path, timeline=timeline, checks=None)
    assert (run.result, run.exit_code) == ("failed", 4)
    assert "REFUSED BY A GUARD" in verdict_line(record.load(directory))


@pytest.mark.parametrize("gone", ["validated", "resume"])
def test_a_run_that_does_not_show_its_end_has_not_passed(tmp_path, gone):
    whole, timeline = complete_loss(), Timeline()
    for raw in whole.lines:
        entry = json.loads(raw)
        if entry["step"] == gone or (entry["phase"] == gone and entry["event"] == "end" and not entry["step"]):
            continue
        seen = {key: entry.pop(key) for key in ("event", "phase", "step")}
        timeline.event(
            0, **seen, **{k: v for k, v in entry.items() if k not in ("seq", "wall", "monotonic_ns", "prev")}
        )
    assert finished(tmp_path, timeline=timeline)[1].result == "failed"


def test_a_broken_chain_voids_the_run(tmp_path):
    timeline = complete_loss()
    timeline.lines[3] = timeline.lines[3].replace(b"on a1", b"on a2")
    directory, run = finished(tmp_path, timeline=timeline)
    assert (run.result, run.exit_code) == ("void", 9)
    assert "line" in record.load(directory).problems[0]


def test_aborted_and_void_can_be_declared_and_stay(tmp_path):
    directory, _ = finished(tmp_path)
    assert close.finish(directory, "aborted").exit_code == 8
    assert close.finish(directory).result == "aborted"
    record.reopen(directory)
    assert close.finish(directory).result == "passed"


def test_reopening_leaves_no_result(tmp_path):
    directory, _ = finished(tmp_path)
    record.reopen(directory)
    values = json.loads((directory / "run.json").read_text())
    assert "result" not in values
    assert "exit_code" not in values
    assert not (directory / "manifest.sha256").exists()


def test_create_and_find(tmp_path):
    first = record.create(
        tmp_path, Run(id="20260101T000000Z-shop-drill", kind="drill", procedure="drill", service="shop")
    )
    second = record.create(
        tmp_path, Run(id="20260201T000000Z-shop-proof", kind="proof", procedure="proof", service="shop")
    )
    assert record.all_runs(tmp_path) == [first, second]
    assert (tmp_path / "latest").readlink().name == second.name
    assert record.find(tmp_path).name == second.name
    assert record.find(tmp_path, "drill") == first
    assert record.find(tmp_path, str(first)) == first
    with pytest.raises(record.RecordError, match="may mean 2 runs"):
        record.find(tmp_path, "shop")
    with pytest.raises(record.RecordError, match="No run"):
        record.find(tmp_path, "other")
    with pytest.raises(FileExistsError):
        record.create(tmp_path, Run(id=first.name, kind="drill", procedure="drill", service="shop"))


def test_ids_sort_by_time():
    assert record.run_id("shop", "complete_loss", datetime(2026, 11, 24, 1, 20, 50, tzinfo=UTC)) == (
        "20261124T012050Z-shop-complete_loss"
    )


def test_an_unreadable_part_is_named_and_does_not_stop_the_record(tmp_path):
    directory = Synthetic().write(tmp_path)
    (directory / "plan.json").write_text("{")
    (directory / "checks.json").write_text('[{"name": "rows"}]')
    assert [problem.split(":")[0] for problem in record.load(directory).problems] == [
        "checks.json",
        "plan.json",
    ]


def test_a_record_without_a_run_is_refused(tmp_path):
    with pytest.raises(record.RecordError, match="Nothing was changed"):
        record.load(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_run_never_recovered_says_so(tmp_path):
    directory, _ = finished(tmp_path, timeline=failed_restore(), witness=Witness().outage(up=999), checks=None)
    line = verdict_line(record.load(directory))
    assert line.startswith("FAILED IN RESTORE - clients not back")


def test_a_record_that_a_crash_tore_does_not_end_the_recovery_of_tonight(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    good = Synthetic().write(tmp_path)
    close.finish(good)
    torn = tmp_path / "20261125T012044Z-shop-complete_loss"
    torn.mkdir()
    for part in ("run.json", "measurement.json"):
        (torn / part).write_bytes((good / part).read_bytes()[:40])
    assert recovery.predicted("recover_complete_loss")["restore"] == pytest.approx(11.5)
    (torn / "run.json").write_bytes((good / "run.json").read_bytes())
    assert recovery.predicted("recover_complete_loss")["restore"] == pytest.approx(11.5)
