"""One operator's controller dies during the restore; another operator, who has no record of the run, takes it over."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
RUN = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-shop-complete_loss"
ELSEWHERE = ROOT / ".lab" / "elsewhere"  # what the other machine keeps its runs in
PLAYBOOK = ["ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", "-e", f"run_id={RUN}"]
DEADLINE_S = 90

alice = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PGRESCUE_OPERATOR": "alice@bastion"}
bob = {**os.environ, "PGRESCUE_OPERATOR": "bob@laptop", "PGRESCUE_RUNS": str(ELSEWHERE)}


def resume(*more: str) -> subprocess.CompletedProcess[str]:
    """What bob's machine answers."""
    return subprocess.run(
        ["pgrescue", "resume", RUN, *more], cwd=ROOT, env=bob, capture_output=True, text=True, check=False
    )


shutil.rmtree(ELSEWHERE, ignore_errors=True)
subprocess.run([*PLAYBOOK, "lab/faults/destroy_hosts.yml"], cwd=ROOT, env=alice, check=True)
recovery = subprocess.Popen(
    [*PLAYBOOK, "playbooks/complete_loss.yml", "-e", "confirm=shop"], cwd=ROOT, env=alice, start_new_session=True
)
until = time.monotonic() + DEADLINE_S
while "Restore the newest backup that verifies" not in (ROOT / "runs" / RUN / "timeline.jsonl").read_text():
    if time.monotonic() > until or recovery.poll() is not None:
        sys.exit("the recovery never began to restore")
os.killpg(recovery.pid, signal.SIGKILL)
recovery.wait()

refused = resume()
if refused.returncode != 4 or "alice@bastion" not in refused.stdout:
    sys.exit(f"without takeover it ended with {refused.returncode}: {refused.stdout}{refused.stderr}")
taken = resume("--takeover")
if taken.returncode:
    sys.exit(f"with takeover it ended with {taken.returncode}: {taken.stdout}{taken.stderr}")
record = ELSEWHERE / RUN
actors = {json.loads(line)["actor"] for line in (record / "timeline.jsonl").read_text().splitlines()}
if actors != {"alice@bastion", "bob@laptop"}:
    sys.exit(f"the record does not tell both operators apart: {sorted(actors)}")
shutil.rmtree(ROOT / "runs" / RUN)  # alice's own, unfinished copy: bob's is the whole one
shutil.copytree(record, ROOT / "runs" / RUN)
(ROOT / "runs" / "latest").unlink()
(ROOT / "runs" / "latest").symlink_to(RUN)
