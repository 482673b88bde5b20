"""Recover while the controller is killed with -9 at the beginning of its steps, until a run comes to its end.

usage: kill_at_every_step.py [--share 1] [--seed 1] [--report]     `make campaign` runs it with --report

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

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import roles  # noqa: E402 - it lies where the tests are

RUN = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-shop-complete_loss"
PLAYBOOK = ["ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", "-e", f"run_id={RUN}"]
TIMELINE = HOUSE / "runs" / RUN / "timeline.jsonl"
PHASES = {"detect", "decide", "prepare", "restore", "validate", "resume", "protect"}
DEADLINE_S = 900
ONCE = ("prepare", "Tell every instance of the application to stop")
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


def steps_begun(after: int) -> list[Step]:
    """Phase and name of each step that began in the lines after so many."""
    lines = TIMELINE.read_text().splitlines()[after:]
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [(e["phase"], e["step"]) for e in events if e["event"] == "start" and e["step"]]


def attempt(killer: Killer, until: float) -> bool:
    """Run until the killer wants it dead; whether the run came to its end."""
    before = len(TIMELINE.read_text().splitlines())
    with subprocess.Popen(
        [*PLAYBOOK, "playbooks/complete_loss.yml", "-e", "confirm=shop"],
        cwd=HOUSE, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL,
    ) as recovery:  # fmt: skip
        while recovery.poll() is None:
            late = time.monotonic() > until
            wanted = next((step for step in steps_begun(before) if killer.wants(step)), None)
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


def page(killer: Killer, arguments: argparse.Namespace) -> str:
    """The result as a page."""
    measured = json.loads((TIMELINE.parent / "measurement.json").read_text())
    lines = [
        "# The controller killed with -9 at every step",
        "",
        f"One recovery of a complete loss, {len(killer.killed)} kills, seed {arguments.seed}, "
        f"{datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} shared {platform.machine()} cores; "
        f"{measured['data_bytes'] / 1e6:.0f} MB of data; run `{RUN}`.",
        "",
        f"Acknowledged commits lost from before the recovery point: "
        f"**{measured['lost_acknowledged_before_recovery_point']}** of {measured['acknowledged']}. "
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
    parser.add_argument("--share", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/kill_at_every_step.md")
    arguments = parser.parse_args()
    subprocess.run([*PLAYBOOK, "lab/faults/destroy_hosts.yml"], cwd=HOUSE, env=ENVIRONMENT, check=True)
    killer = Killer(arguments.share, arguments.seed)
    end = time.monotonic() + DEADLINE_S
    while not attempt(killer, end):
        pass
    print(f"killed at {len(killer.killed)} steps")
    if missed := PHASES - {phase for phase, _step in killer.killed}:
        sys.exit(f"not every phase was killed: {sorted(missed)} not")
    if steps_begun(0).count(ONCE) > len([phase for phase, _step in killer.killed if phase == "prepare"]) + 1:
        sys.exit("a finished phase was done again")
    if half := roles().get("stopped"):
        sys.exit(f"left half built: {half}")
    measured = json.loads((TIMELINE.parent / "measurement.json").read_text())
    if measured["lost_acknowledged_before_recovery_point"]:
        sys.exit("commits from before the recovery point were lost")
    if arguments.report:
        (HOUSE / "docs/campaigns/kill_at_every_step.md").write_text(page(killer, arguments), encoding="utf-8")


if __name__ == "__main__":
    main()
