"""Recover without object stores at first, then with one that hangs while the backup is fetched from it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
sys.path.insert(0, str(ROOT / "tests"))

from lab_hosts import on, podman, run

STORES = ("store-east", "store-west")
SLOW = "tc qdisc replace dev eth0 root tbf rate 4mbit burst 64kb latency 400ms"
DEADLINE_S = 120
SOON_S = 30  # how long it may take to say that no store answers


def fetched() -> int:
    """Bytes of the restore that have arrived so far."""
    plan = ROOT / "runs/latest/plan.json"
    if not plan.exists():
        return 0
    told = json.loads(plan.read_text())
    return int(on(told["target_host"], f"du -sb {told['data_directory']} 2>/dev/null | cut -f1 || true") or 0)


stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
run("ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", "-e", f"run_id={stamp}-shop-complete_loss",
    "lab/faults/destroy_hosts.yml")  # fmt: skip
for store in STORES:
    on(store, "systemctl stop rclone-s3", "root")
asked = time.monotonic()
begun = subprocess.run(["pgrescue", "recover", "complete_loss", "--confirm", "shop"], cwd=ROOT, capture_output=True,
                       text=True, check=False)  # fmt: skip
timeline = (ROOT / "runs/latest/timeline.jsonl").read_text()
if begun.returncode != 3 or "No repository offers a backup" not in begun.stdout:
    sys.exit(f"without a store it ended with {begun.returncode}: {begun.stdout}")
if time.monotonic() - asked > SOON_S:
    sys.exit(f"it took {time.monotonic() - asked:.0f} s to say so")
if "Tell every instance of the application to stop" in timeline:
    sys.exit("the application was stopped although there was nothing to restore")

for store in STORES:
    on(store, "systemctl start rclone-s3", "root")
# Looking tells what would be done, needs no name typed and leaves the run's record alone.
RUN = (ROOT / "runs/latest").resolve().name
look = run("ansible-playbook", "-i", "inventories/lab", "playbooks/complete_loss.yml", "--check", "-e", "service=shop",
           "-e", f"run_id={RUN}")  # fmt: skip
if "a new data directory" not in look or (ROOT / "runs/latest/timeline.jsonl").read_text() != timeline:
    sys.exit(f"check mode did not only look: {look}")

for store in STORES:
    on(store, SLOW, "root")
going_on = subprocess.Popen(["pgrescue", "resume", "latest", "--confirm", "shop"], cwd=ROOT)
until = time.monotonic() + DEADLINE_S
while fetched() < 1_000_000:  # some files have arrived, and not all
    if time.monotonic() > until or going_on.poll() is not None:
        sys.exit("the restore was over before the store could hang")
chosen = STORES[json.loads((ROOT / "runs/latest/plan.json").read_text())["candidates"][0]["repo"] - 1]
podman("pause", f"pgrescue-{chosen}")
try:
    code = going_on.wait()
finally:
    podman("unpause", f"pgrescue-{chosen}")
    for store in STORES:
        on(store, "tc qdisc del dev eth0 root", "root")
if code:
    sys.exit(f"with one store that hangs it ended with {code}")
