"""What those who poll are told: the same facts as `pgrescue status`, in a line that Nagios reads."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pgrescue import check, cli, status, triage
from typer.testing import CliRunner

AT = "2026-11-27T03:00:00+00:00"


def said(**more: Any) -> dict[str, Any]:
    well = {"level": "none", "state": "well", "says": "Clients are served.", "about": "db1", "facts": []}
    return {
        "service": "shop", "at": AT, "situation": well, "listed": True, "recoverable_to": "2026-11-27T02:59:30Z",
        "proven": "2026-11-26T03:00:00Z", "degraded": [], "objectives": {"rto_s": 3600, "rpo_s": 86400},
        "repositories": [{"repository": "1", "backup": "F", "stopped": "2026-11-27T02:00:00Z", "problem": None}],
        "estimates": [], "last_drill": None, "incident": None, **more,
    }  # fmt: skip


def situation(level: str) -> dict[str, Any]:
    return {
        "level": level,
        "state": "stopped",
        "says": "The primary is | down.\nSince then.",
        "about": "db1",
        "facts": [],
    }


SILENT = [{"repository": "1", "backup": None, "stopped": None, "problem": "it is silent"}]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({}, check.OK),
        ({"degraded": ["no backup was ever proven: pgrescue prove"], "proven": None}, check.WARNING),
        ({"situation": situation("ticket"), "degraded": ["x"]}, check.WARNING),
        ({"situation": situation("page"), "degraded": ["x"]}, check.CRITICAL),
        ({"recoverable_to": "2026-11-26T09:20:00Z"}, check.WARNING),  # more than three quarters of 23.5 h
        ({"recoverable_to": "2026-11-26T09:20:00Z", "objectives": {"rto_s": 3600}}, check.OK),  # nothing was promised
        ({"recoverable_to": "2026-11-26T03:29:00Z"}, check.CRITICAL),  # half an hour before the promise is broken
        ({"recoverable_to": "2026-11-26T03:31:00Z"}, check.WARNING),
        ({"recoverable_to": None, "repositories": [], "proven": None}, check.CRITICAL),
        ({"recoverable_to": None, "listed": False, "repositories": SILENT, "degraded": ["x"]}, check.UNKNOWN),
        ({"recoverable_to": None, "listed": False, "situation": situation("page"), "degraded": ["x"]}, check.CRITICAL),
    ],
)
def test_each_state_of_a_service_has_its_code(facts, code):
    verdict = check.judge(said(**facts))
    assert verdict.code == code, verdict.line
    assert verdict.line.startswith(f"{check.WORDS[code]} shop: ")


def test_nothing_is_said_to_be_well_beside_what_is_degraded():
    well = {**said()["situation"], "says": "Nothing is wrong."}
    assert "Nothing is wrong" in check.judge(said(situation=well)).line
    line = check.judge(said(situation=well, degraded=["no backup was ever proven: pgrescue prove"])).line
    assert line.startswith("WARNING shop: clients are served; no backup was ever proven: pgrescue prove |")


def test_the_line_has_one_bar_and_measurements_that_can_be_drawn():
    for facts in ({}, {"situation": situation("page"), "degraded": ["x", "a | b"]}, {"repositories": SILENT}):
        line = check.judge(said(**facts)).line
        text, _bar, measured = line.partition(" | ")
        assert "|" not in text + measured and "\n" not in line
        for one in measured.split():
            assert re.fullmatch(r"[a-z_]+=\d+(s)?(;\d*){0,4}", one), one
    assert (
        "loss=30s;63450;84600;0 backup_age=3600s;;;0 proven_age=86400s;;;0 repositories=1;;;0;1"
        in check.judge(said()).line
    )


def test_the_command_says_what_status_knows_and_unknown_where_nobody_can_look(monkeypatch):
    monkeypatch.setattr(status, "facts", lambda *_: said(situation=situation("page"), degraded=["x"]))
    told = CliRunner().invoke(cli.app, ["check", "-s", "shop"])
    assert (told.exit_code, told.output.split()[0]) == (2, "CRITICAL")

    def blind(*_: Any) -> dict[str, Any]:
        raise triage.TriageError("No host of shop answers.\nNothing was changed.", 3)

    monkeypatch.setattr(status, "facts", blind)
    told = CliRunner().invoke(cli.app, ["check", "-s", "shop"])
    assert (told.exit_code, told.output) == (3, "UNKNOWN shop: No host of shop answers. Nothing was changed.\n")
    told = CliRunner().invoke(cli.app, ["check", "-s", "shop", "-i", "inventories/none"])
    assert told.exit_code == 3 and "UNKNOWN shop: there is no inventory" in told.output
