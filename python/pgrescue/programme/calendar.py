"""The programme as an iCalendar, for the calendars of those who take part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import quote

from icalendar import Calendar
from icalendar import Event as Entry

from pgrescue.programme.due import Duty, first_free
from pgrescue.programme.plan import Programme


def ical(programme: Programme, duties: Sequence[Duty], today: date) -> bytes:
    """An all-day entry on the last day each obligation may still be kept, and one for each stretch of blocked days.

    The same programme gives the same entries, by their UIDs: a calendar that reads it again doubles nothing.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//pgrescue//programme//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "Recovery programme")
    for duty in duties:
        if duty.state == "done":
            continue
        what = f"{duty.service}: {duty.name}" + (f" ({duty.scenario})" if duty.scenario else "")
        day = first_free(programme, max(duty.by, today))
        note = f"{duty.says}. Period {duty.period}." + (
            f" Not kept in {', '.join(duty.missed)}." if duty.missed else ""
        )
        summary = f"{'OVERDUE ' if duty.state == 'overdue' else ''}{what}"
        calendar.add_component(_entry((duty.period, duty.service, duty.name), summary, note, day, day, today))
    for block in programme.blocked:
        summary = f"No drills: {block.why}"
        calendar.add_component(
            _entry(("blocked", block.first, block.last, block.why), summary, "", block.first, block.last, today)
        )
    written: bytes = calendar.to_ical()
    return written


def _entry(about: tuple[object, ...], summary: str, note: str, first: date, last: date, today: date) -> Entry:
    entry = Entry()
    # parts that may hold what joins them would make one name of two
    entry.add("uid", f"{'/'.join(quote(str(part), safe='') for part in about)}@pgrescue")
    entry.add("summary", summary)
    if note:
        entry.add("description", note)
    entry.add("dtstart", first)
    entry.add("dtend", last + timedelta(days=1))  # the day after, as the format wants it
    entry.add("dtstamp", datetime.combine(today, time(), UTC))
    entry.add("transp", "TRANSPARENT")
    return entry
