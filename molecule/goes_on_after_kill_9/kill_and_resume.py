"""Recover while the controller is killed with -9 at the beginning of every step, each once, until none is left.

Every attempt is the same command with the same run id. What an attempt had started on a host may still be running when
the next one begins.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
RUN = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-shop-complete_loss"
PLAYBOOK = ["ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", "-e", f"run_id={RUN}"]
TIMELINE = ROOT / "runs" / RUN / "timeline.jsonl"
DEADLINE_S = 900
ONCE = "Tell every instance of the application to stop"

environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def steps_begun(after: int) -> list[tuple[str, str]]:
    """Phase and name of each step that began in the lines after so many."""
    lines = TIMELINE.read_text().splitlines()[after:]
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [(e["phase"], e["step"]) for e in events if e["event"] == "start" and e["step"]]


def attempt(killed_at: set[tuple[str, str]], until: float) -> bool:
    """Run until a step begins at which nothing was killed before, and kill; whether the run came to its end."""
    before = len(TIMELINE.read_text().splitlines())
    with subprocess.Popen(
        [*PLAYBOOK, "playbooks/complete_loss.yml", "-e", "confirm=shop"],
        cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL,
    ) as recovery:  # fmt: skip
        while recovery.poll() is None:
            if time.monotonic() > until:
                os.killpg(recovery.pid, signal.SIGKILL)
                sys.exit(f"not over after {DEADLINE_S} s; killed at {sorted(killed_at)}")
            new = [step for step in steps_begun(before) if step not in killed_at]
            if new:
                os.killpg(recovery.pid, signal.SIGKILL)
                recovery.wait()
                killed_at.add(new[0])
                print(f"killed at {new[0][0]}: {new[0][1]}", flush=True)
                return False
        if recovery.returncode:
            sys.exit(f"the run ended with {recovery.returncode}")
    return True


subprocess.run([*PLAYBOOK, "lab/faults/destroy_hosts.yml"], cwd=ROOT, env=environment, check=True)
killed: set[tuple[str, str]] = set()
end = time.monotonic() + DEADLINE_S
while not attempt(killed, end):
    pass
print(f"killed at {len(killed)} steps")
phases = {phase for phase, _step in killed}
if phases != {"detect", "decide", "prepare", "restore", "validate", "resume", "protect"}:
    sys.exit(f"not every phase was killed: {sorted(phases)}")
if steps_begun(0).count(("prepare", ONCE)) > len([p for p, _ in killed if p == "prepare"]) + 1:
    sys.exit("a finished phase was done again")
