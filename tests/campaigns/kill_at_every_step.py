"""Recover while the controller is killed with -9 at the beginning of its steps, until a run comes to its end.

usage: kill_at_every_step.py [SCENARIO] [--share 1] [--seed 1] [--report]     `make campaign` runs it with --report

A scenario is one of drills/*.yml; its repair puts the lab back afterwards.

Every attempt is the same command with the same run id. The first step of each phase is killed, and this share of the
others. What an attempt had started on a host may still be running when the next one begins.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import roles  # noqa: E402 - it lies where the tests are
from pgrescue.drill.scenario import raw  # noqa: E402 - as that

PHASES = {"detect", "decide", "prepare", "restore", "validate", "resume", "protect"}
IN_PLACE = {"detect", "decide", "restore", "validate"}  # of a partial loss, which stops nobody
DEADLINE_S = 7200  # a region failure asks the archiver, which tries the silent repository first, on every attempt
ONCE = ("prepare", "Mirror the record to every store")
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
}

Step = tuple[str, str]


class Killer:
    """Decides at which steps an attempt dies: each step at most once."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.dice = share, random.Random(seed)
        self.seen: set[Step] = set()
        self.killed: list[Step] = []

    def wants(self, step: Step) -> bool:
        """Whether this is where to kill."""
        if step in self.seen:
            return False
        first = step[0] not in {phase for phase, _name in self.seen}
        self.seen.add(step)
        return first or self.dice.random() < self.share


class Run:
    """One recovery of a scenario, in as many attempts as it takes."""

    def __init__(self, scenario: str) -> None:
        self.what = raw(scenario)
        self.procedure = self.what["procedure"]
        self.name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-shop-{self.procedure}"
        self.record = HOUSE / "runs" / self.name
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f%z}"
        self.variables = {**self.what.get("variables", {}), **dict.fromkeys(self.what.get("just_before", []), now)}

    def command(self, playbook: str, **variables: str) -> list[str]:
        """How one of its playbooks is run."""
        given = {"service": "shop", "run_id": self.name, **variables}
        return ["ansible-playbook", "-i", "inventories/lab", "-e", json.dumps(given), playbook]

    def break_it(self) -> None:
        """Inject the scenario's fault, where it has one."""
        if "fault" in self.what:
            subprocess.run(self.command(self.what["fault"]), cwd=HOUSE, env=ENVIRONMENT, check=True)

    def repair(self) -> None:
        """Put the lab back as it was."""
        for playbook in self.what["repair"]:
            subprocess.run(self.command(playbook), cwd=HOUSE, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)

    def lines(self) -> list[str]:
        """The timeline; none before it is begun."""
        path = self.record / "timeline.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    def steps_begun(self, after: int = 0) -> list[Step]:
        """Phase and name of each step that began in the lines after so many."""
        begun = [line for line in self.lines()[after:] if line.endswith("}") and '"event": "start"' in line]
        return [(e["phase"], e["step"]) for e in map(json.loads, begun) if e["step"]]

    def attempt(self, killer: Killer, until: float) -> bool:
        """Run until the killer wants it dead; whether the run came to its end."""
        before = len(self.lines())
        with subprocess.Popen(
            self.command(f"playbooks/{self.procedure}.yml", confirm="shop", **self.variables),
            cwd=HOUSE, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL,
        ) as recovery:  # fmt: skip
            while recovery.poll() is None:
                time.sleep(0.02)  # between two looks; without it half the machine looks
                late = time.monotonic() > until
                wanted = next((step for step in self.steps_begun(before) if killer.wants(step)), None)
                if late or wanted:
                    os.killpg(recovery.pid, signal.SIGKILL)
                    recovery.wait()
                if late:
                    sys.exit(f"not over after {DEADLINE_S} s; killed at {killer.killed}")
                if wanted:
                    killer.killed.append(wanted)
                    print(f"killed at {wanted[0]}: {wanted[1]}", flush=True)
                    return False
            if recovery.returncode:
                sys.exit(f"the run ended with {recovery.returncode}")
        return True

    def measured(self) -> dict[str, Any]:
        """What its record says it measured."""
        answer: dict[str, Any] = json.loads((self.record / "measurement.json").read_text())
        return answer


def page(run: Run, killer: Killer, arguments: argparse.Namespace) -> str:
    """The result as a page."""
    measured = run.measured()
    lost = measured.get("lost_acknowledged_before_recovery_point")
    lines = [
        f"# {run.procedure}, the controller killed with -9 at every step",
        "",
        f"One run of drill {arguments.scenario}, {len(killer.killed)} kills, seed {arguments.seed}, "
        f"{datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} shared {platform.machine()} cores; run `{run.name}`.",
        "",
        ""
        if lost is None
        else f"Acknowledged commits lost from before the recovery point: **{lost}** of {measured['acknowledged']}. ",
        f"Recovery time with all attempts together: {measured['rta_s']:.0f} s.",
        "",
        "| phase | killed as this step began |",
        "|---|---|",
        *(f"| {phase} | {step} |" for phase, step in killer.killed),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Break, kill until it is over, look at what is left; exit 1 when anything was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="complete_loss")
    parser.add_argument("--share", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/kills_in_SCENARIO.md")
    arguments = parser.parse_args()
    run = Run(arguments.scenario)
    run.break_it()
    killer = Killer(arguments.share, arguments.seed)
    end = time.monotonic() + DEADLINE_S
    while not run.attempt(killer, end):
        pass
    print(f"killed at {len(killer.killed)} steps")
    wanted = IN_PLACE if run.procedure == "partial_loss" else PHASES
    if missed := wanted - {phase for phase, _step in killer.killed}:
        sys.exit(f"not every phase was killed: {sorted(missed)} not")
    if run.steps_begun().count(ONCE) > len([phase for phase, _step in killer.killed if phase == "prepare"]) + 1:
        sys.exit("a finished phase was done again")
    if half := roles().get("stopped") if run.procedure == "complete_loss" else None:
        sys.exit(f"left half built: {half}")
    if run.measured().get("lost_acknowledged_before_recovery_point"):
        sys.exit("commits from before the recovery point were lost")
    if arguments.report:
        (HOUSE / f"docs/campaigns/kills_in_{arguments.scenario}.md").write_text(page(run, killer, arguments), "utf-8")
    run.repair()


if __name__ == "__main__":
    main()
