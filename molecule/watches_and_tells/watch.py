"""Break the lab's service while it is watched; what people are told, and what is done, must be right each time."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import STATES, Lab, inject, undo
from watching import Sink, Watch, state, until, watching

POLICY = {"restart": {"states": ["hung"], "at_most": 1, "within_s": 3600}}


def wanted(name: str) -> Any:
    """How a state is brought about."""
    return next(one for one in STATES if one.state == name)


def told(sink: Sink, since: float) -> list[str]:
    """The channels that something was told to, in order."""
    return [one["channel"] for one in sink.received(since) if one["answered"] == "ok"]


def is_paged_and_resolved(lab: Lab, sink: Sink, watch: Watch, runs: Path) -> None:
    """A table that is gone: the pager fails, so mail is sent; the team's thread, a proposal, and the end."""
    sink.answer("pagerduty", 500, 3)
    before, began = len(watch.lines), time.time()
    kept = inject(lab, wanted("table_gone"))
    until("mail, for the pager fails", lambda: "smtp" in told(sink, began), 60)
    until("the team hears", lambda: "slack" in told(sink, began), 30)
    until("what can be done is told", lambda: watch.says("[1] partial_loss", before), 60)
    undo(lab, wanted("table_gone"), kept)
    until("it is resolved", lambda: watch.says("resolved told to", before), 90)
    wrong = [one for one in sink.received(began) if one["conforms"] is not True]
    assert not wrong, wrong
    threads = {one["payload"].get("thread_ts") for one in sink.received(began) if one["channel"] == "slack"}
    assert len(threads - {None}) == 1, threads
    until("it is well", lambda: state(runs) == "well", 60)


def is_acted_upon(lab: Lab, sink: Sink, watch: Watch, runs: Path, mended: bool) -> None:
    """A server that hangs is started again without asking, or not, for a person must look."""
    before, began = len(watch.lines), time.time()
    kept = inject(lab, wanted("hung"))
    until("it is paged", lambda: sink.pages(began), 60)
    until("it was asked whether it may be done", lambda: watch.says("acted alone, exit code", before), 180)
    done = watch.says("acted alone, exit code 0", before) or watch.says("acted alone, exit code 7", before)
    assert done is mended and (done or watch.says("exit code 4: A restart of shop is not done alone", before)), (
        watch.lines[before:]
    )
    if not mended:
        undo(lab, wanted("hung"), kept)
    until("it is resolved", lambda: watch.says("resolved told to", before), 120)
    until("it is well", lambda: state(runs) == "well", 60)


def main() -> None:
    """One after the other."""
    os.environ["PGRESCUE_LAB_ALONE"] = json.dumps(POLICY)
    lab, sink = Lab(), Sink()
    lab.inside("client1", "rm", "-f", "/var/lib/pgrescue/alone/shop.json")
    with tempfile.TemporaryDirectory() as folder, watching(Path(folder)) as watch:
        until("it is well", lambda: state(Path(folder)) == "well", 60)
        is_paged_and_resolved(lab, sink, watch, Path(folder))
        is_acted_upon(lab, sink, watch, Path(folder), mended=True)
        is_acted_upon(lab, sink, watch, Path(folder), mended=False)
        ended = [json.loads(path.read_text()) for path in Path(folder).glob("2*/run.json")]  # and not latest
        assert [run["procedure"] for run in ended if run.get("result") == "passed"] == ["restart"], ended
    lab.inside("client1", "rm", "-f", "/var/lib/pgrescue/alone/shop.json")


if __name__ == "__main__":
    main()
