"""The recording of a drill's terminal: what was printed, when, and nothing that looks like a secret."""

import io
import json
from io import StringIO

import pytest
from pgrescue.drill import checklist, tape
from pgrescue.drill.tape import Tape
from pgrescue.evidence import leaks
from rich.console import Console
from run_fixture import Synthetic


class Terminal(StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def taped(*said, clock=None):
    times = iter([10.0, *(clock or (10.0 + 0.5 * n for n in range(1, 99)))])
    made = Tape(Terminal(), lambda: next(times))
    for one in said:
        made.write(one)
    return made


def lines(made):
    return [json.loads(line) for line in made.cast("20261124T012050Z-shop-failover", 80, 24).splitlines()]


def test_a_cast_has_a_header_and_what_was_printed_with_its_times():
    header, *events = lines(taped("Drill failover\n", "Drawn\n", clock=[10.5, 12.25]))
    assert {key: header[key] for key in ("version", "width", "height", "title")} == {
        "version": 2, "width": 80, "height": 24, "title": "20261124T012050Z-shop-failover",
    }  # fmt: skip
    assert header["timestamp"] > 1.7e9
    assert events == [[0.5, "o", "Drill failover\r\n"], [2.25, "o", "Drawn\r\n"]]


def test_what_is_taped_is_printed_all_the_same_and_is_a_terminal_where_one_is_there():
    through = Terminal()
    console = Console(file=Tape(through), width=100)
    assert console.is_terminal
    console.print("Waiting", "for people", highlight=False)
    assert "Waiting for people" in through.getvalue()
    assert not Console(file=Tape(io.TextIOWrapper(io.BytesIO(), "ascii"))).is_terminal
    assert Console(file=Tape(io.TextIOWrapper(io.BytesIO(), "ascii"))).encoding == "ascii"


@pytest.mark.parametrize(
    "said",
    ["password=hunter2hunter2", "postgres://app:hunter2hunter2@db1/shop", "password=\x1b[1mhunter2hunter2\x1b[0m"],
)
def test_a_secret_that_was_printed_is_masked_in_the_cast(said):
    text = taped(f"{said}\n").cast("x", 80, 24)
    assert "hunter2" not in text
    assert leaks.MASKED in text


def test_a_secret_in_a_cast_that_was_written_by_another_is_found(tmp_path):
    (tmp_path / tape.FILE).write_text(json.dumps([0.1, "o", "password=hunter2hunter2\r\n"]) + "\n")
    (found,) = leaks.scan(tmp_path, [tape.FILE])
    assert (found.file, found.line) == (tape.FILE, 1)
    assert leaks.scan(tmp_path, [tape.FILE], ["app-42"]) == [found]
    (tmp_path / tape.FILE).write_text(json.dumps([0.1, "o", "app-42\r\n"]) + "\n")
    assert [one.kind for one in leaks.scan(tmp_path, [tape.FILE], ["app-42"])] == ["value that was named"]


def test_the_checklist_says_whether_the_terminal_was_recorded(tmp_path):
    from pgrescue import record

    found = record.load(Synthetic().write(tmp_path))

    def item():
        kept = checklist.during(found.story, found.directory, [], "ada", found.story.started)
        return next((one.done, one.said) for one in kept if one.item == "recording")

    tape.keep(Console(file=StringIO()), found.directory)
    assert item() == (False, "nothing was")
    tape.keep(Console(file=Tape(Terminal())), found.directory)
    assert item() == (True, "terminal.cast")
