# Copyright: the pgrescue authors. Apache-2.0
"""Write what a run does, as it happens, to the run's timeline."""

from __future__ import annotations

DOCUMENTATION = """
name: journal
type: notification
short_description: Write the timeline of a recovery run
description:
  - Appends one line per event to C(timeline.jsonl) in the run's directory, flushed to disk as it happens.
  - A play that carries C(vars.phase) belongs to that phase; a step is a task. Plays without a phase are not journalled.
  - What fails in a block with C(vars.tolerated), or on a host that is gone in a task with C(ignore_unreachable), does not fail the run.
  - The run is named by C(PGRESCUE_RUN_ID), the extra variable C(run_id), or made from the time, the service and the playbook.
  - Nothing is written in check mode, nor while another process is at work on the same run.
  - The run's directory is handed to tasks as the environment variable C(PGRESCUE_RUN_DIR).
options: {}
"""

import os
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from getpass import getuser
from socket import gethostname
from tempfile import gettempdir
from typing import Any, Iterable, Mapping, Optional

import yaml
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.utils.path import makedirs_safe
from ansible_collections.pgrescue.runbooks.plugins.module_utils.controllers import others_at_work
from ansible_collections.pgrescue.runbooks.plugins.module_utils.journal import Journal, boot_id

QUIET = ("validate_argument_spec", "include_role", "include_tasks")  # worth a line only when they fail

EXTRA = re.compile(r"(-[bCDJKkv]*e|--ex[a-z-]*)(=?)(.*)", re.DOTALL)  # flags may stand before a short option


def without_values(command: Iterable[str]) -> "list[str]":
    """A command line with the names of its extra variables and without their values: records are copied to where others read."""
    told, given = [], False
    for word in command:
        found = None if given else EXTRA.fullmatch(word)
        if given:
            told.append(names(word))
        elif found and found[3]:
            told.append(found[1] + found[2] + names(found[3]))
        else:
            told.append(word)
        given = bool(found and not found[2] and not found[3])
    return told


def names(extra: str) -> str:
    """The names of the variables in one argument of -e; a file stays, for a name is all it is."""
    if extra.startswith("@"):
        return extra
    try:
        if extra.lstrip().startswith(("{", "[")):
            said = yaml.safe_load(extra)
            return ",".join(map(str, said)) if isinstance(said, dict) else "..."
        return ",".join(part.partition("=")[0] for part in shlex.split(extra) if "=" in part)
    except (ValueError, yaml.YAMLError):
        return "..."


def operator(extra: Mapping[str, Any]) -> str:
    """Who runs this: whoever launched the job where AWX does, else the user and the host."""
    name = extra.get("awx_user_name")
    return "%s@awx" % name if name else "%s@%s" % (getuser(), gethostname())


def done_on(result: Any) -> str:
    """The host on which it was done. What the controller does for a host is noted as that host's."""
    delegated = (result.result.get("_ansible_delegated_vars") or {}).get("ansible_delegated_host")
    return delegated if delegated and delegated != "localhost" else result.host.get_name()


def tolerated(task: Any, status: str) -> bool:
    """Whether the run goes on all the same: its host may be gone, or what is done about a failure stands in its block."""
    return bool(task.ignore_unreachable) if status == "unreachable" else bool(task.get_vars().get("tolerated"))


class CallbackModule(CallbackBase):
    """One instance per playbook run; every method is called by Ansible."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "pgrescue.runbooks.journal"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.journal: Optional[Journal] = None
        self.procedure = ""
        self.phase: Optional[str] = None
        self.failed: Optional[int] = None
        self.opened = False
        self.began = False
        self.ended = False

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.procedure = os.path.splitext(os.path.basename(playbook._file_name))[0]

    def v2_playbook_on_play_start(self, play: Any) -> None:
        os.environ.setdefault("PGRESCUE_OPERATOR", operator(play.get_variable_manager().extra_vars))
        phase = play.get_vars().get("phase")
        if not self.opened and (phase or play.get_vars().get("injects_faults")):
            variables = play.get_variable_manager().get_vars(play=play)
            self._open(variables.get("run_id"), str(variables.get("service", "service")))
        if not phase:
            self._end_run()
            return
        if not self.began and self.journal is not None:
            self.began = True
            self.journal.write("start", status="ok", boot_id=boot_id(), detail=" ".join(without_values(sys.argv)))
        if phase != self.phase:
            self._end_phase("ok" if self.failed is None else "failed")
            self.phase = str(phase)
            self._write("start", step=None)

    def _open(self, run_id: Optional[str], service: str) -> None:
        self.opened = True
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        run = str(run_id or os.environ.get("PGRESCUE_RUN_ID") or "%s-%s-%s" % (stamp, service, self.procedure))
        checks = bool(context.CLIARGS.get("check"))
        runs = os.path.join(gettempdir(), "pgrescue-check") if checks else os.environ.get("PGRESCUE_RUNS", "runs")
        run_dir = os.path.abspath(os.path.join(runs, run))
        # Tasks find the run through the environment, in every way a playbook can be started.
        os.environ.update(PGRESCUE_RUN_ID=run, PGRESCUE_RUN_DIR=run_dir)
        os.environ["PGRESCUE_CONTROLLER_PID"] = str(os.getpid())
        if checks or others_at_work(run_dir, os.getpid()):
            return  # nothing happens, or begin_run refuses: the record belongs to what did happen
        makedirs_safe(run_dir)
        self._reopen(run_dir)
        self.journal = Journal(os.path.join(run_dir, "timeline.jsonl"), os.environ["PGRESCUE_OPERATOR"])

    def _reopen(self, run_dir: str) -> None:
        """Have a record that was closed held against its seal before anything is added to it. That is no part of the collection."""
        if not os.path.exists(os.path.join(run_dir, "manifest.sha256")):
            return
        command = [sys.executable, "-m", "pgrescue.evidence.reopening", run_dir]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or done.stdout:
            self._display.warning(done.stdout.strip() or done.stderr.strip())

    def _write(self, event: str, step: Optional[str], **more: Any) -> None:
        if self.journal is not None:
            self.journal.write(event, phase=self.phase, step=step, **more)

    def _end_phase(self, status: str) -> None:
        if self.phase is not None:
            self._write("end", step=None, status=status)
            self.phase = None

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if self.phase and not task.action.endswith(QUIET):
            self._write("start", step=task.name or task.action)
        if "fault" in task.vars:
            self._write("fault", step=task.name, boot_id=boot_id())

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def _end_step(self, result: Any, status: str) -> None:
        if not self.phase or (result.task.action.endswith(QUIET) and status in ("ok", "skipped")):
            return
        answer = result.result
        step = result.task.name or result.task.action
        host = done_on(result)
        for entry in answer.get("journal", []):
            self._write(
                entry["event"],
                entry.get("step", step),
                host=host,
                status=entry.get("status"),
                detail=entry.get("detail"),
            )
        milestone = result.task.vars.get("milestone")
        if milestone and status in ("ok", "changed"):
            self._write("milestone", str(milestone), host=host)
        more: "dict[str, Any]" = {}
        if status in ("failed", "unreachable"):
            more = {"detail": str(answer.get("msg", ""))[:2000], "exit_code": int(answer.get("exit_code", 5))}
            if not tolerated(result.task, status):
                self.failed = self.failed or more["exit_code"]  # the first one is the cause of the others
        self._write("end", step, host=host, status=status, **more)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end_step(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end_step(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end_step(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end_step(result, "skipped")

    def _end_run(self) -> None:
        """A play without a phase closes the run: what it does with the record must not change the record."""
        if self.journal is not None and self.began and not self.ended:
            status = "ok" if self.failed is None else "failed"
            self._end_phase(status)
            self.journal.write("end", status=status, exit_code=self.failed or 0)
            self.ended = True

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._end_run()
