"""A switchover in three jobs as AWX launches them, and a job over ansible-runner's stream whose worker is another host.

Each job has a directory of its own and is removed with it; what the next one needs it gets from the object stores.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from awx_jobs import BIN, Credential, Job, environment, launch, prepare
from lab_hosts import on, run, ssh

WORKER = "client1"
KEYS = ROOT / ".lab/ssh"
LAB = {  # the inventory says these by where it is, and AWX's own copy is elsewhere
    "lab_state": str(ROOT / ".lab"),
    "lab_podman": {"CONTAINERS_CONF": str(ROOT / "lab/containers.conf")},
}
SSH = Credential(
    files={"key": (KEYS / "operator").read_text(), "known_hosts": (KEYS / "known_hosts").read_text()},
    extra_vars={
        "ansible_ssh_private_key_file": "{key}",
        "ansible_ssh_common_args": "-o UserKnownHostsFile={known_hosts}",
    },
)
INVENTORY = json.loads(run("ansible-inventory", "-i", "inventories/lab", "--list"))


def job(playbook: str, number: int, **more: object) -> Job:
    """One job of the workflow, launched by alice."""
    folder = Path(tempfile.mkdtemp(prefix="pgrescue-awx-"))
    said = {"service": "shop", **LAB, **more}
    prepare(folder, INVENTORY, said, [SSH], ident=str(number), workflow=17)
    return launch(folder, playbook, str(number))


def in_three_jobs() -> None:
    """It stops at its gate; somebody else approves; another job goes on with the run that was approved."""
    plan = job("playbooks/switchover.yml", 1)
    assert plan.rc == 2, plan.output
    assert "nobody confirmed it" in plan.output, plan.output
    run_id = plan.artifacts()["run_id"]
    shutil.rmtree(plan.folder)
    approval = job("playbooks/approve.yml", 2, run_id=run_id, reason="the window is open", approver="bob@awx")
    assert approval.rc == 0, approval.output
    shutil.rmtree(approval.folder)
    done = job("awx/go_on.yml", 3, run_id=run_id)
    assert done.rc == 0, done.output
    shutil.copytree(done.folder / "project/runs" / run_id, ROOT / "runs" / run_id)
    latest = ROOT / "runs/latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(run_id)
    shutil.rmtree(done.folder)


def equip_worker() -> None:
    """Bring ansible-runner to the host that works; its wheels come from here, for it may reach no index."""
    lock = dict(line.split("==") for line in (ROOT / "python/constraints.txt").read_text().split())
    wanted = [f"{name}=={lock[name]}" for name in ("ansible-core", "ansible-runner")]
    version = on(WORKER, "python3 -c 'import sys; print(\"%d%d\" % sys.version_info[:2])'", "root")
    with tempfile.TemporaryDirectory() as wheels:
        fetch = [sys.executable, "-m", "pip", "download", "-q", "-d", wheels, "--only-binary=:all:"]
        subprocess.run([*fetch, "--python-version", version, *wanted], check=True)
        packed = subprocess.run(["tar", "-C", wheels, "-c", "."], capture_output=True, check=True).stdout
    unpack = "mkdir -p /tmp/wheels && tar -C /tmp/wheels -x"
    subprocess.run([*ssh(WORKER), unpack], input=packed, check=True)
    install = "/opt/runner/bin/pip install -q --no-index --find-links /tmp/wheels"
    on(WORKER, f"python3 -m venv /opt/runner; {install} {' '.join(wanted)}", "root")


def over_a_stream() -> None:
    """transmit here, worker there, process here: what it looked at is what a job here would have seen."""
    folder, result = (Path(tempfile.mkdtemp(prefix="pgrescue-awx-")) for _ in range(2))
    prepare(folder, INVENTORY, {"service": "shop", **LAB}, [SSH])
    work = f"PATH=/opt/runner/bin:$PATH ansible-runner worker --private-data-dir {folder}"
    there = f"rm -rf {folder}; mkdir -p {folder}; {work}"
    runner = str(BIN / "ansible-runner")
    transmit = subprocess.Popen(
        [runner, "transmit", str(folder), "-p", "playbooks/observe.yml", "--ident", "1"],
        env=environment(folder), stdout=subprocess.PIPE,
    )  # fmt: skip
    worker = subprocess.Popen([*ssh(WORKER), there], stdin=transmit.stdout, stdout=subprocess.PIPE)
    subprocess.run(
        [runner, "process", str(result), "--ident", "1"], stdin=worker.stdout, check=True, capture_output=True
    )
    assert (transmit.wait(), worker.wait()) == (0, 0)
    done = Job(result, "1")
    assert done.rc == 0, done.output
    on(WORKER, f"rm -rf {folder} /tmp/wheels /opt/runner", "root")
    for left in (folder, result):
        shutil.rmtree(left)


if __name__ == "__main__":
    in_three_jobs()
    equip_worker()
    over_a_stream()
