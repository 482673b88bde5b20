"""Launch a playbook as AWX does: a private data directory for the job, the project copied into it, a clean environment.

What AWX's task manager writes for ansible-runner is written here: `project/`, `inventory/hosts` as a program that
prints the inventory, `env/` with variables, environment, settings and files of credentials. No container is started.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules import HOUSE

ROOMS = ("ansible.cfg", "awx", "collections", "drills", "galaxy.yml", "meta", "playbooks", "plugins", "python", "roles")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Credential:
    """What a credential type injects: files by name, environment and extra variables; `{name}` is a file's path."""

    files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    extra_vars: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One that has ended."""

    folder: Path
    ident: str

    @property
    def rc(self) -> int:
        return int((self.folder / "artifacts" / self.ident / "rc").read_text())

    @property
    def output(self) -> str:
        return (self.folder / "artifacts" / self.ident / "stdout").read_text()

    def events(self) -> list[dict[str, Any]]:
        found = [
            json.loads(p.read_text()) for p in (self.folder / "artifacts" / self.ident / "job_events").glob("*.json")
        ]
        return sorted(found, key=lambda event: event["counter"])

    def artifacts(self) -> dict[str, Any]:
        """What the playbook handed over with set_stats, also where it failed: AWX keeps it for the workflow."""
        stats = [one for one in self.events() if one["event"] == "playbook_on_stats"]
        return dict(stats[-1]["event_data"].get("artifact_data", {})) if stats else {}


def copy_project(into: Path) -> None:
    """The project as AWX's own copy of it, links kept."""
    into.mkdir(parents=True)
    for room in ROOMS:
        source = HOUSE / room
        if source.is_dir():
            kept = shutil.ignore_patterns("__pycache__", "*.pyc", "ansible")
            shutil.copytree(source, into / room, symlinks=True, ignore=kept if room == "collections" else None)
        else:
            shutil.copy(source, into / room)


def prepare(
    folder: Path,
    inventory: Mapping[str, Any],
    extra_vars: Mapping[str, Any],
    credentials: Sequence[Credential] = (),
    ident: str = "1",
    workflow: int | None = None,
    user: str = "alice",
) -> Path:
    """Write a job's private data directory, but for what the project has of its own; the directory."""
    copy_project(folder / "project")
    (folder / "env").mkdir()
    (folder / "inventory").mkdir()
    (folder / "home").mkdir()
    hosts = folder / "inventory/hosts"
    hosts.write_text(f"#!/usr/bin/env python3\nprint({json.dumps(json.dumps(inventory))})\n")
    hosts.chmod(0o700)
    env = {
        "ANSIBLE_FORCE_COLOR": "True",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "AWX_PRIVATE_DATA_DIR": str(folder),
        "JOB_ID": ident,
    }
    said: dict[str, Any] = {"awx_job_id": int(ident), "awx_user_name": user, "awx_job_launch_type": "manual"}
    if workflow is not None:
        said |= {"awx_workflow_job_id": workflow, "awx_job_launch_type": "workflow"}
    for number, credential in enumerate(credentials):
        paths = {name: str(folder / "env" / f"credential{number}_{name}") for name in credential.files}
        for name, text in credential.files.items():
            Path(paths[name]).write_text(text)
            Path(paths[name]).chmod(0o600)
        env |= {key: value.format(**paths) for key, value in credential.env.items()}
        said |= {key: value.format(**paths) for key, value in credential.extra_vars.items()}
    (folder / "env/envvars").write_text(json.dumps(env))
    (folder / "env/extravars").write_text(json.dumps({**said, **extra_vars}))
    # what is printed would come between the lines of a stream
    (folder / "env/settings").write_text(json.dumps({"job_timeout": 0, "suppress_ansible_output": True}))
    return folder


def environment(folder: Path) -> dict[str, str]:
    """What the execution environment has, and nothing of whoever runs the test."""
    return {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(folder / "project/python"),
    }


def launch(folder: Path, playbook: str, ident: str = "1", check: bool = False) -> Job:
    """Run a prepared job to its end."""
    command = [str(BIN / "ansible-runner"), "run", str(folder), "-p", playbook, "--ident", ident, "--quiet"]
    more = ["--cmdline", "--check"] if check else []
    subprocess.run([*command, *more], env=environment(folder), cwd=folder, capture_output=True, text=True, check=False)
    return Job(folder, ident)


def streamed(
    folder: Path, playbook: str, worker: Path, result: Path, ident: str = "1"
) -> subprocess.CompletedProcess[str]:
    """Run a prepared job over ansible-runner's stream, the way a receptor mesh does: transmit | worker | process."""
    runner = BIN / "ansible-runner"
    line = (
        f"{runner} transmit {folder} -p {playbook} --ident {ident}"
        f" | env -i PATH={BIN}:/usr/bin:/bin HOME={folder}/home LANG=C.UTF-8 PYTHONPATH={worker}/project/python"
        f" {runner} worker --private-data-dir {worker}"
        f" | {runner} process {result} --ident {ident}"
    )
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env={**environment(folder), "TMPDIR": os.environ.get("TMPDIR", "/tmp")},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
