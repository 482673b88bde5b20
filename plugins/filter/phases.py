# Copyright: the pgrescue authors. Apache-2.0
"""Questions a playbook asks the journal of its own run."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.pgrescue.runbooks.plugins.module_utils import journal, steering


def is_finished(phase: str) -> bool:
    """Whether this run has already ended `phase` well: a resumed run passes over it."""
    run_dir = os.environ.get("PGRESCUE_RUN_DIR", "")
    return str(phase) in journal.finished_phases(os.path.join(run_dir, "timeline.jsonl"))


def attempts(run_dir: str) -> "list[str]":
    """When each attempt at the run began, as its journal says, this one last."""
    return journal.attempts(os.path.join(run_dir, "timeline.jsonl"))


def has_begun(run_dir: str) -> bool:
    """Whether the run has changed something already: a phase was started that does more than look."""
    return journal.has_begun(os.path.join(run_dir, "timeline.jsonl"))


def is_paused(run_dir: str) -> bool:
    """Whether somebody wants the run to stop where it is safe."""
    return bool(steering.pause(run_dir))


def is_skipped(step: str) -> bool:
    """Whether somebody wants this step of the run left out."""
    return any(skip["step"] == step for skip in steering.skips(os.environ.get("PGRESCUE_RUN_DIR", "")))


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> "dict[str, Any]":
        return {
            "is_finished": is_finished,
            "attempts": attempts,
            "has_begun": has_begun,
            "is_paused": is_paused,
            "is_skipped": is_skipped,
        }
