"""How `pgrescue --help` groups its commands: by when somebody needs them."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

PANELS = {
    "In an incident": (
        "triage status plan recover approve resume pause skip note abort rollback commit report declare incident"
    ),
    "Planned": "mark watch observe fleet check schedule",
    "Protection": "backup verify prove lint",
    "Drills and evidence": "drill programme findings evidence ledger metrics",
    "Setting up": "init lab",
}
ORDER = [name for names in PANELS.values() for name in names.split()]


class Grouped(TyperGroup):
    """Commands in the order of the panels."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command; one that no panel names comes last."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def arrange(app: typer.Typer) -> None:
    """Put each command of the app into its panel."""
    of = {name: panel for panel, names in PANELS.items() for name in names.split()}
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        command.rich_help_panel = of.get(name)
    for group in app.registered_groups:
        group.rich_help_panel = of.get(group.name or "")
