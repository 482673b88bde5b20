"""The checklist finds out by itself what can be found out, and each item can fail."""

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from drillings import ended
from pgrescue import close, procedures, record, runner, steering
from pgrescue.drill import checklist, conduct
from pgrescue.drill.ready import BEFORE, Context, before, missing
from pgrescue.evidence import findings, lessons, reopening
from pgrescue.evidence.settings import Settings
from pgrescue.manifest import verify_manifest
from pgrescue.programme import plan as plans
from pgrescue.programme import reviews
from rich.console import Console
from run_fixture import Synthetic, Timeline

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PRODUCTION = {"postgresql": "17", "data_bytes": 2_000_000_000_000, "extensions": ["pg_trgm"]}
SERVICE = {
    "owner": "lena",
    "participants": ["ada", "omar"],
    "credentials": [{"name": "token of the registrar", "expires": "2026-12-31"}],
    "production": PRODUCTION,
}


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """A drill of which every item is done, as a function of what is planted."""
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    made = Synthetic().write(tmp_path)
    run = json.loads((made / "run.json").read_text())
    (made / "run.json").write_text(json.dumps({**run, "versions": {"postgresql": "17"}}))
    (made / "census.json").write_text(json.dumps({"databases": {"shop": {"extensions": {"pg_trgm": "1.6"}}}}))
    close.finish(made)
    (tmp_path / "rehearsals").mkdir()
    rehearse(tmp_path, NOW - timedelta(days=3))
    read = {"reviewed": date(2026, 11, 1), "by": "ada", "sha256": procedures.digest("failover")}
    monkeypatch.setattr(reviews, "load", lambda: {"failover": reviews.Review.model_validate(read)})

    def items(acknowledged=("ada", "omar"), reasons=None, service=SERVICE, inventory=tmp_path, **more):
        said = {"begun": "2026-01-01", "obligations": [], "tools": ["sh"], "services": {"shop": service}, **more}
        context = Context(
            programme=plans.Programme.model_validate(said), service="shop", procedures=("failover",), runs=tmp_path,
            inventory=inventory, who="lena", now=NOW, acknowledged=acknowledged,
        )  # fmt: skip
        return {one.item: one for one in before(context, reasons or {})}

    return items


def rehearse(root, at, passed=True, service="shop"):
    said = {"service": service, "at": at.isoformat(), "passed": passed, "channels": {"pager": 0.3}}
    (root / f"rehearsals/{at:%Y%m%dT%H%M%SZ}-{service}-rehearsal.json").write_text(json.dumps(said))


def test_a_drill_that_is_ready_has_every_item_done(ready):
    items = ready()
    assert [one.item for one in items.values() if not one.done] == []
    assert "1.6 GB here, 2.0 TB in production (0.08%)" in items["parity"].said


PLANTED = {
    "date_free": ({"blocked": [{"from": "2026-11-24", "to": "2026-11-24", "why": "sale"}]}, "blocked: sale"),
    "participants": ({"acknowledged": ("ada",)}, "not acknowledged by omar"),
    "parity": ({"service": {**SERVICE, "production": None}}, "says nothing of production"),
    "tools": ({"tools": ["sh", "no-such-tool"]}, "not found: no-such-tool"),
    "credentials": (
        {"service": {**SERVICE, "credentials": [{"name": "token of the registrar", "expires": "2026-11-23"}]}},
        "expired: token of the registrar since 2026-11-23",
    ),
    "no credentials": ({"service": {**SERVICE, "credentials": []}}, "lists none with a date"),
    "page_proven": ({"page_days": 2}, "longer ago than 2 days"),
    "runbook_reviewed": ({"review_days": 20}, "was good until 2026-11-21"),
}


def test_there_is_a_planted_failure_for_every_item():
    assert {*PLANTED, "sampling"} - {"no credentials"} == set(BEFORE), "that one is among the tests of samples"


@pytest.mark.parametrize("item", PLANTED)
def test_each_item_can_fail_by_itself_and_says_why(item, ready):
    planted, words = PLANTED[item]
    items = ready(**planted)
    item = item.removeprefix("no ")
    assert [name for name, one in items.items() if not one.done] == [item]
    assert words in items[item].said


def test_a_rehearsal_that_did_not_pass_or_was_never_made_proves_no_page(ready, tmp_path):
    rehearse(tmp_path, NOW - timedelta(days=1), passed=False)
    assert "did not pass" in ready()["page_proven"].said
    for path in (tmp_path / "rehearsals").iterdir():
        path.unlink()
    assert "nobody rehearsed it" in ready()["page_proven"].said


def test_the_rehearsal_of_another_service_proves_no_page(ready, tmp_path):
    for path in (tmp_path / "rehearsals").iterdir():
        path.unlink()
    rehearse(tmp_path, NOW - timedelta(days=1), service="web-shop")
    assert "nobody rehearsed it" in ready()["page_proven"].said
    rehearse(tmp_path, NOW - timedelta(days=2))
    assert ready()["page_proven"].said.startswith("proven on 2026-11-22")


def test_an_inventory_that_is_not_there_is_no_way_to_the_hosts(ready, tmp_path):
    assert not ready(inventory=tmp_path / "gone")["credentials"].done


MISSING = {
    "version": ("no run says which version", lambda runs: rewrite(runs / "run.json", versions={})),
    "census": ("no census says which extensions", lambda runs: (runs / "census.json").unlink()),
    "size": ("no run measured how much", lambda runs: (runs / "measurement.json").write_text("{}")),
}


def rewrite(path, **more):
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


@pytest.mark.parametrize("absent", MISSING)
def test_what_no_run_says_of_this_environment_was_not_held_against_production(absent, ready, tmp_path):
    words, remove = MISSING[absent]
    remove(record.all_runs(tmp_path)[0])
    item = ready()["parity"]
    assert (item.done, words in item.said) == (False, True)


def test_an_extension_that_production_has_and_the_drill_has_not_is_named(ready):
    more = {**SERVICE, "production": {**PRODUCTION, "extensions": ["pg_trgm", "postgis"]}}
    assert "extensions missing here: postgis" in ready(service=more)["parity"].said


def test_an_item_that_is_not_done_is_missing_unless_there_is_a_reason(ready):
    without = {"acknowledged": ()}
    assert [one.item for one in missing(list(ready(**without).values()))] == ["participants"]
    given = ready(**without, reasons={"participants": "a rehearsal among two"})
    assert missing(list(given.values())) == []
    standing = ready(**without, service={**SERVICE, "going_without": {"participants": "nobody is told"}})
    assert standing["participants"].reason == "nobody is told"
    assert ready(reasons={"participants": "for nothing"})["participants"].reason is None


def test_whoever_sits_there_is_asked_who_acknowledged_and_for_each_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    answers = iter(["ada, omar", "because", "because", "because", "", "never asked"])
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(console, "input", lambda *_: next(answers))
    programme = plans.Programme.model_validate(
        {"begun": "2026-01-01", "obligations": [], "services": {"shop": SERVICE}, "blocked": [], "tools": ["no-such"]}
    )
    items = conduct.prepared(["failover"], "A drill.", conduct.Wish("shop", str(tmp_path)), programme, console)
    assert items is None, "the fourth reason was not given"
    assert next(answers) == "never asked"


def test_what_was_kept_during_a_drill_is_counted(tmp_path):
    found = record.load(Synthetic().write(tmp_path))
    items = {one.item: one for one in checklist.during(found.story, found.directory, [], "lena", NOW)}
    assert [one.item for one in items.values() if not one.done] == ["recording", "samples"]
    assert items["notes"].said == "1 note"
    after = {one.item: one for one in checklist.after(found, 2, "", "lena", NOW)}
    assert (after["measured"].done, after["next"].done, after["findings"].said) == (True, False, "2 findings")


def kept(found, **more):
    return {one.item: one for one in checklist.during(found.story, found.directory, [], "lena", NOW, **more)}


def left(found):
    return {one.item: one for one in checklist.after(found, 0, "", "lena", NOW)}


def test_what_the_machine_noted_and_what_nobody_did_is_not_done(tmp_path):
    """Nobody looked, and a page that is only begun was filled in by nobody."""
    quiet = Timeline()
    quiet.start(0)
    quiet.event(1, "note", "restore", "Restore the backup", detail="The store was slow.")
    found = record.load(Synthetic(timeline=quiet).write(tmp_path))
    assert (kept(found)["notes"].done, kept(found)["notes"].said) == (False, "nobody noted anything")
    assert kept(found, unseen="unattended")["notes"].standing
    assert "Nothing." in lessons.page(found)
    assert (left(found)["lessons"].done, "to be filled in" in left(found)["lessons"].said) == (False, True)


def test_who_says_that_the_lessons_are_written_down_is_in_the_checklist(tmp_path):
    found = ended(tmp_path)
    reopening.reopen(found.directory, "lena@ctl")
    (found.directory / "checklist.json").write_text(json.dumps([one.dump() for one in left(found).values()]))
    close.finish(found.directory)
    steering.note(found.directory, "Lessons: on page 12 of the wiki")
    now = {one.item: one for one in checklist.read(found.directory)}
    assert (now["lessons"].done, now["lessons"].said) == (True, "Lessons: on page 12 of the wiki")
    assert left(record.load(found.directory))["lessons"].done, "a note that came before the end counts as well"
    assert verify_manifest(found.directory) == []
    titles = [one.title for one in findings.of(record.load(found.directory), Settings())]
    assert not any("wiki" in title for title in titles)


def test_results_are_measured_when_every_promised_figure_is(tmp_path):
    found = record.load(Synthetic(witness=None).write(tmp_path / "none"))
    assert not left(found)["measured"].done
    assert left(ended(tmp_path / "both"))["measured"].done
    half = ended(tmp_path / "half")
    half = replace(half, measurement=half.measurement.model_copy(update={"rpa_s": None}))
    assert not left(half)["measured"].done
