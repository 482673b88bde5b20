"""The exporter as the role lays it down, and what it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from pgrescue.core import series
from prometheus_client.parser import text_string_to_metric_families

HOUSE = Path(__file__).resolve().parents[1]
Told = dict[tuple[str, ...], float]


def parsed(text: str) -> dict[str, Told]:
    """Each series by name, its samples by the values of their labels in the order of the table."""
    found: dict[str, Told] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = tuple(one.labels[name] for name in series.BY_NAME[one.name].labels)
            found.setdefault(one.name.removeprefix("pgrescue_"), {})[labels] = one.value
    return found


def program(folder: Path) -> Path:
    """The exporter with the part of the core that the role lays down beside it, and nothing else."""
    core = folder / "pgrescue_core"
    if not core.exists():
        core.mkdir()
        tasks = yaml.safe_load((HOUSE / "roles/exporter/tasks/export.yml").read_text())
        for name in next(t["vars"]["exporter_core"] for t in tasks if "exporter_core" in t.get("vars", {})):
            shutil.copy(HOUSE / f"plugins/module_utils/{name}", core)
    return Path(shutil.copy(HOUSE / "roles/exporter/files/pgrescue_exporter.py", folder))


def measured_once(
    folder: Path, configuration: Path, environment: Mapping[str, str]
) -> tuple[int, dict[str, Told], str]:
    """One measurement: the exit code, the samples, and all that was printed."""
    command = [sys.executable, str(program(folder)), str(configuration), "--once"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stdout.splitlines() if "could not be measured" not in line]
    return done.returncode, parsed("\n".join(lines) + "\n"), done.stdout
