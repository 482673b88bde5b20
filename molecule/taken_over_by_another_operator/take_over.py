"""One operator's controller dies during the restore; another operator, who has no record of the run, takes it over.

Before that, what the dead controller had proven must not count any more; after it, the dead one must not wake up.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
sys.path.insert(0, str(ROOT / "tests"))

from lab_hosts import on, roles

RUN = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-shop-complete_loss"
TIMELINE = ROOT / "runs" / RUN / "timeline.jsonl"
ELSEWHERE = ROOT / ".lab" / "elsewhere"  # what the other machine keeps its runs in
PLAYBOOK = ["ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", "-e", f"run_id={RUN}"]
RECOVER = [*PLAYBOOK, "playbooks/complete_loss.yml", "-e", "confirm=shop"]
DEADLINE_S = 90

alice = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PGRESCUE_OPERATOR": "alice@bastion"}
bob = {**os.environ, "PGRESCUE_OPERATOR": "bob@laptop", "PGRESCUE_RUNS": str(ELSEWHERE)}


def resume(*more: str) -> subprocess.CompletedProcess[str]:
    """What bob's machine answers."""
    return subprocess.run(
        ["pgrescue", "resume", RUN, *more], cwd=ROOT, env=bob, capture_output=True, text=True, check=False
    )


def again() -> str:
    """Alice's same command once more, which must fail; what it added to the timeline."""
    before = len(TIMELINE.read_text())
    done = subprocess.run(RECOVER, cwd=ROOT, env=alice, capture_output=True, text=True, check=False)
    added = TIMELINE.read_text()[before:]
    if not done.returncode:
        sys.exit(f"alice's command went through: {added}")
    return added


shutil.rmtree(ELSEWHERE, ignore_errors=True)
subprocess.run([*PLAYBOOK, "lab/faults/destroy_hosts.yml"], cwd=ROOT, env=alice, check=True)
recovery = subprocess.Popen(RECOVER, cwd=ROOT, env=alice, start_new_session=True)
until = time.monotonic() + DEADLINE_S
while '"step": "traffic_stopped"' not in TIMELINE.read_text():
    if time.monotonic() > until or recovery.poll() is not None:
        sys.exit("it was never proven that nobody writes")
os.killpg(recovery.pid, signal.SIGKILL)
recovery.wait()

target = json.loads((ROOT / "runs" / RUN / "plan.json").read_text())["target_host"]
impostor = next(host for host in roles()["spare"] if host != target)
on(impostor, "systemd-run --unit=impostor python3 -m http.server 5432", "root")
said = again()
on(impostor, "systemctl stop impostor", "root")
if f"{impostor} still accept(s) connections" not in said or "Wait until the replay is over" in said:
    sys.exit(f"an earlier proof was good enough: {said}")

refused = resume()
if refused.returncode != 4 or "alice@bastion" not in refused.stdout:
    sys.exit(f"without takeover it ended with {refused.returncode}: {refused.stdout}{refused.stderr}")
lock = on("client1", "cat /var/lib/pgrescue/locks/shop.json", "root")
if "alice@bastion" not in lock:
    sys.exit(f"who was refused let the service go: {lock}")
taken = resume("--takeover")
if taken.returncode:
    sys.exit(f"with takeover it ended with {taken.returncode}: {taken.stdout}{taken.stderr}")
record = ELSEWHERE / RUN
actors = {json.loads(line)["actor"] for line in (record / "timeline.jsonl").read_text().splitlines()}
if actors != {"alice@bastion", "bob@laptop"}:
    sys.exit(f"the record does not tell both operators apart: {sorted(actors)}")
said = again()
if "the record here is older" not in said or "Stop the application" in said:
    sys.exit(f"alice's older record was gone on with: {said}")
shutil.rmtree(ROOT / "runs" / RUN)  # alice's own, unfinished copy: bob's is the whole one
shutil.copytree(record, ROOT / "runs" / RUN)
(ROOT / "runs" / "latest").unlink()
(ROOT / "runs" / "latest").symlink_to(RUN)
