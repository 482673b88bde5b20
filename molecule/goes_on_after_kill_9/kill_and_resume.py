"""Start a recovery, kill -9 its whole process group when the restore has begun, then go on with the same run."""

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
DEADLINE_S = 90

environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
subprocess.run([*PLAYBOOK, "lab/faults/destroy_hosts.yml"], cwd=ROOT, env=environment, check=True)
recovery = subprocess.Popen(
    [*PLAYBOOK, "playbooks/complete_loss.yml", "-e", "confirm=shop"], cwd=ROOT, env=environment, start_new_session=True
)
until = time.monotonic() + DEADLINE_S
while "Restore the newest backup that verifies" not in TIMELINE.read_text():
    if time.monotonic() > until or recovery.poll() is not None:
        sys.exit("the recovery never began to restore")
os.killpg(recovery.pid, signal.SIGKILL)
recovery.wait()
killed_at = len(TIMELINE.read_text().splitlines())
resumed = subprocess.run(["pgrescue", "resume", RUN], cwd=ROOT, env=environment, check=False)
if resumed.returncode:
    sys.exit(f"resume ended with {resumed.returncode}")
events = TIMELINE.read_text().splitlines()[killed_at:]
if any("Stop every instance of the application" in event for event in events):
    sys.exit("a finished phase was done twice")
