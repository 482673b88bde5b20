"""Run a playbook of this repository through ansible-runner, the way `ansible-playbook` would run it by hand."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner

WRONG_USE = 2
NO_GROUP = "Could not match supplied host pattern, ignoring:"  # what Ansible says of a group that is not there

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path(os.environ.get("PGRESCUE_RUNS", ROOT / "runs")).absolute()


@dataclass
class Play:
    """A playbook that is running, or has run."""

    thread: threading.Thread
    runner: Any
    folder: Path
    service: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def running(self) -> bool:
        """Whether it still runs."""
        return self.thread.is_alive()

    def wait(self, limit_s: float | None = None) -> int:
        """Wait for its end; the exit code of ansible-playbook. One that takes longer than the limit is cancelled."""
        self.thread.join(limit_s)
        if self.thread.is_alive():
            self.cancelled.set()
            self.thread.join()
        return int(self.runner.rc if self.runner.rc is not None else 254)

    def output(self) -> str:
        """What ansible-playbook printed."""
        return Path(self.runner.config.artifact_dir, "stdout").read_text(encoding="utf-8")

    def knows_service(self) -> bool:
        """Whether the inventory has the service: its group is the first that a playbook asks for."""
        return f"{NO_GROUP} {self.service}\n" not in re.sub(r"\x1b\[[0-9;]*m", "", self.output())

    def failures(self) -> list[str]:
        """What each failed task said, in order."""
        if not self.knows_service():
            return [f"The inventory has no service {self.service}. Nothing was changed."]
        kinds = ("runner_on_failed", "runner_on_unreachable")
        failed = [e["event_data"] for e in self.runner.events if e["event"] in kinds]
        said = [str(data["res"].get("msg", data.get("task"))) for data in failed if not data.get("ignore_errors")]
        return list(dict.fromkeys(said))

    def exit_code(self) -> int:
        """The exit code of the first task that failed, by the project's contract; 5 when it named none."""
        if not self.knows_service():
            return WRONG_USE
        failed = (e["event_data"]["res"] for e in self.runner.events if e["event"] == "runner_on_failed")
        return next((int(answer["exit_code"]) for answer in failed if "exit_code" in answer), 5)

    def answer(self, key: str) -> Any:
        """What the last task that returned this key returned; None when none did."""
        answers = (e["event_data"].get("res", {}) for e in self.runner.events if e["event"] == "runner_on_ok")
        return next((answer[key] for answer in reversed(list(answers)) if key in answer), None)

    def results(self) -> dict[str, Any]:
        """What the playbook handed over with set_stats."""
        stats = [e for e in self.runner.events if e["event"] == "playbook_on_stats"]
        found: dict[str, Any] = stats[-1]["event_data"].get("artifact_data", {}) if stats else {}
        return found

    def forget(self) -> None:
        """Remove ansible-runner's own files: they hold the whole environment."""
        shutil.rmtree(self.folder, ignore_errors=True)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What every playbook is started with: this Python's tools first, the repository's settings, host keys checked."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "CONTAINERS_CONF": str(ROOT / "lab" / "containers.conf"),
        "PGRESCUE_RUNS": str(RUNS),
        **more,
    }


def start(
    playbook: str,
    inventory: str,
    variables: Mapping[str, Any],
    more: Mapping[str, str] | None = None,
    *,
    quiet: bool = True,
    check: bool = False,
) -> Play:
    """Start a playbook, named by its path in the repository; secrets belong in the inventory, never in `variables`.

    With `check` nothing is changed.
    """
    folder = Path(tempfile.mkdtemp(prefix="pgrescue-"))
    cancelled = threading.Event()
    thread, runner = ansible_runner.run_async(
        private_data_dir=str(folder),
        project_dir=str(ROOT),
        playbook=playbook,
        inventory=str(Path(inventory).resolve()),
        extravars=dict(variables),
        envvars=environment(more or {}),
        quiet=quiet,
        cmdline="--check" if check else None,
        cancel_callback=cancelled.is_set,
    )
    return Play(thread, runner, folder, str(variables.get("service", "")), cancelled)
