"""The pages as a browser lays them out: nothing stands out at the side of a phone, and all can be read."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from drillings import drill
from pages import WIDTHS, looked_at, wrong
from pgrescue import close, record, report
from pgrescue.drill import ready, samples
from pgrescue.drill.checklist import item
from pgrescue.drill.samples import Sample, Samples
from pgrescue.ledger import index, monthly, pdf, render
from run_fixture import ZERO, Synthetic, Timeline, Witness, failed_restore
from year import MONTH, NOW, Year


@pytest.fixture(scope="module", autouse=True)
def a_browser():
    """Without one nothing here can be shown, and that is a failure, not something to pass over."""
    try:
        pdf.browser()
    except pdf.NoBrowserError:
        pytest.fail("These tests look at pages in Chromium: lab/bootstrap chromium fonts-dejavu-core installs it.")


def drilled(root):
    """A drill with its checklist and samples, and with a path in its plan that is wider than a phone."""
    before = [item(name, "before", text, (False, "nobody " * 9), "lena@ctl", ZERO, "it is acknowledged", True)
              for name, text in ready.BEFORE.items()]  # fmt: skip
    directory = Synthetic().write(root)
    plan = json.loads((directory / "plan.json").read_text())
    plan["changes"] = ["spare1: a new data directory " + "/var/lib/postgresql" * 5]
    (directory / "plan.json").write_text(json.dumps(plan))
    (directory / "drill.json").write_text(json.dumps(drill("corruption").dump()))
    (directory / "checklist.json").write_text(json.dumps([one.dump() for one in before]))
    seconds = [Sample(at=ZERO + timedelta(seconds=n), cpu_busy_percent=50.0, load_1=0.5) for n in range(30)]
    for host in ("db1", "client-of-a-long-name.example.org"):
        said = Samples(host=host, samples=seconds).dump()
        (directory / samples.name(host)).write_text(json.dumps(said))
    close.finish(directory)
    return record.load(directory)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    runs = Year().write(tmp_path_factory.mktemp("year"))
    folder = runs / "incidents/20261129T020000Z-shop"
    folder.mkdir()
    endless = "a_word_that_does_not_end_" * 12
    said = {"id": "x", "service": "shop", "state": "lost", "says": "x", "detected": "2026-11-29T02:00:00Z"}
    (folder / "incident.json").write_text(json.dumps({**said, "cause": endless}))
    (runs / "20261130T000000Z-shop-torn").mkdir()
    index.refresh(runs)
    other = Synthetic().write(tmp_path_factory.mktemp("passed"))
    index.refresh(other.parent)
    passed = record.load(other)
    parts = {"timeline": failed_restore(), "checks": None, "witness": Witness().outage(up=999), "reconciled": False}
    failed = record.load(Synthetic(**parts).write(tmp_path_factory.mktemp("failed")))
    proof = record.load(Synthetic(kind="proof", witness=None).write(tmp_path_factory.mktemp("proof")))
    return {
        "month": render.html(*monthly.report(runs, "shop", MONTH, NOW)),
        "month without records": render.html(*monthly.report(other.parent, "shop", "2026-10", NOW)),
        "run": report.html(passed),
        "run that failed": report.html(failed),
        "proof": report.html(proof),
        "drill": report.html(drilled(tmp_path_factory.mktemp("drill"))),
    }


@pytest.mark.parametrize("name", ["month", "month without records", "run", "run that failed", "proof", "drill"])
def test_a_page_can_be_read_on_a_phone_and_at_a_desk_by_day_and_by_night(pages, name):
    assert wrong(pages[name]) == []


def test_both_widths_and_both_schemes_are_really_looked_at(pages):
    for dark in (False, True):
        looks = looked_at(pages["month"], dark=dark)
        assert [(look["width"], look["dark"]) for look in looks] == [(width, dark) for width in WIDTHS]
        assert all(look["texts"] > 150 for look in looks)


PALE = "#8a93a0"  # 3.1 to 1 on white
PLANTED = {
    "a table that does not fit": ("</body>", "<p style='width:700px'>wide</p></body>", "360 px, light: overflow"),
    "a line that does not break": (
        "</body>",
        f"<pre>{'x ' * 90}</pre></body>",
        "360 px, light: overflow",
    ),
    "a pale text": ("--quiet: #5f6875", f"--quiet: {PALE}", "1280 px, light: contrast"),
    "a pale text by night": ("--quiet: #98a2af", "--quiet: #50565e", "360 px, dark: contrast"),
    "words on the bar of an outage": ("svg .within { fill: var(--ink) }", "", "360 px, light: contrast"),
    "white on a light bar": ("--bar: #4a6fa5", "--bar: #a9c0e0", "1280 px, light: contrast"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_seen(pages, name):
    old, new, said = PLANTED[name]
    page = pages["run"]
    assert old in page
    if "light bar" in name:  # a note is written upon a bar only where there is no room beside it
        bar = '<rect class="done" width="90" height="20"/><text class="note upon" x="9" y="14">7 s</text>'
        page = page.replace("</body>", f'<svg viewBox="0 0 90 20">{bar}</svg></body>')
    assert any(one.startswith(said) for one in wrong(page.replace(old, new))), wrong(page.replace(old, new))


def test_a_bad_day_of_the_month_can_be_told_without_its_colour(pages):
    days = re.findall(r'<rect class="bad-day".*?</text>.*?</text>', pages["month"])
    assert days and all("x" in re.sub(r"<[^>]*>", " ", day) for day in days)


def test_the_paper_is_a4_and_begins_with_the_title(pages):
    paper = pdf.printed(pages["month"])
    assert paper.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594.95996 841.91998]" in paper
    assert 2 <= len(re.findall(rb"/Type /Page\b", paper)) <= 5


LINES = """<script>document.body.dataset.lines = [...document.querySelectorAll("td.who")].map(cell => {
  const words = document.createRange(); words.selectNodeContents(cell);
  return words.getClientRects().length; })</script></body>"""


def test_a_name_is_not_broken_within_a_word(tmp_path):
    """A long remark beside it took all the room."""
    directory = Synthetic().write(tmp_path)
    told = Timeline()
    told.lines = (directory / "timeline.jsonl").read_bytes().splitlines()
    told.event(90, "note", detail="https://store.example.org/" + "evidence/" * 30)
    (directory / "timeline.jsonl").write_bytes(told.bytes)
    close.finish(directory)
    seen = pdf.run(report.html(record.load(directory)).replace("</body>", LINES), "--dump-dom").decode()
    lines = re.findall(r'data-lines="([\d,]+)"', seen)[0].split(",")
    assert set(lines) == {"1"}


def test_the_first_sheet_of_a_drill_is_not_left_empty(pages):
    """What is longer than the rest of a sheet is broken where it has rows, and not put off to the next."""
    assert len(re.findall(rb"/Type /Page\b", pdf.printed(pages["drill"]))) <= 6


def test_a_browser_that_fails_is_said(monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("false",))
    with pytest.raises(pdf.NoBrowserError, match="ended with 1"):
        pdf.printed("<p>x</p>")
