"""The pages of the runbooks are what the runbooks are, and say who reviewed which state of them."""

from datetime import date
from pathlib import Path

import pytest
from pgrescue import pages, procedures
from pgrescue.programme.reviews import Review

HOUSE = Path(__file__).parents[2]
PAGES = HOUSE / "docs/runbooks"
AGAIN = "python -m pgrescue.pages docs/runbooks writes them"


@pytest.fixture(scope="module")
def made():
    return pages.generate()


def test_the_committed_pages_are_those_that_are_generated(made):
    assert {path.name for path in PAGES.glob("*.md")} == set(made), AGAIN
    assert [name for name, text in made.items() if (PAGES / name).read_text(encoding="utf-8") != text] == [], AGAIN


def test_a_page_of_another_state_is_written_anew_and_one_of_a_runbook_that_is_gone_goes(tmp_path, monkeypatch, made):
    monkeypatch.setattr(pages, "generate", lambda: made)
    (tmp_path / "failover.md").write_text("other")
    (tmp_path / "gone.md").write_text("old")
    pages.export(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == made


@pytest.mark.parametrize("name", pages.names())
def test_every_runbook_has_a_page_with_its_purpose_plays_arguments_and_digest(name):
    text = pages.page(name, {})
    assert procedures.digest(name) in text
    assert all(play.name in text for play in pages.plays(name))
    assert "| `service` | str | required |" in text
    assert "| last review | none |" in text


def test_a_page_says_how_phases_are_taken_back_and_what_may_be_left_out():
    text = pages.page("failover", {})
    assert "All of it: [rollback](rollback.md)" in text
    assert "- prepare: start the application again" in text
    assert "- `full_backup`: the service has no full backup" in text
    assert "   - Stop the application, fence what could be written (`recovery prepare`)\n     - Stop here when" in text


def test_a_page_says_who_reviewed_it_and_that_it_changed_since():
    read = {"reviewed": date(2026, 11, 1), "by": "ada", "next": date(2027, 2, 1)}
    same = Review(sha256=procedures.digest("failover"), **read)
    text = pages.page("failover", {"failover": same})
    assert "| last review | 2026-11-01 by ada |" in text
    assert "| next review | 2027-02-01 |" in text
    other = Review(sha256="b" * 64, **read)
    assert "2026-11-01 by ada, **changed since** |" in pages.page("failover", {"failover": other})
