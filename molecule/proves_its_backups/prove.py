"""Back up, verify and prove both services of the lab, catch planted faults, and see that --check changes nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from backups import flipped
from faults import caught
from lab_hosts import INVENTORY, on, podman, roles, run

DATABASES = ("db1", "db2", "db3", "spare1", "spare2")

STORE = HOUSE / ".lab/store/east"
UPKEEP = {
    "shop": ["back_up", "mark", "prove", "verify", "protect", "rebuild_standbys", "lint"],
    "ledger": ["dump", "prove_dump", "verify_dump", "expire_dumps", "lint"],
}


def record() -> dict:
    """The newest run's own words."""
    latest = HOUSE / "runs/latest"
    read = {name: json.loads((latest / f"{name}.json").read_text()) for name in ("run", "checks")}
    return {**read["run"], "checks": read["checks"]}


def command(*words: str, code: int = 0) -> str:
    """Run the command; its output, when it ended as it should."""
    done = subprocess.run(["pgrescue", *words], cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == code, (
        f"pgrescue {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout


def fingerprint() -> str:
    """Everything of the lab that an upkeep runbook could change: stores, configuration, timers, clusters."""
    stores = sorted(
        (str(p), p.stat().st_mtime_ns) for p in STORE.parent.rglob("*") if p.is_file() and "/archive/" not in str(p)
    )
    script = """
        set +o pipefail  # what is not there is no change
        find /etc/postgresql /etc/pgbackrest.conf /etc/pgrescue /usr/local/lib/pgrescue /etc/systemd/system \\
            /var/lib/pgrescue/jobs -type f -printf '%p %T@\\n' 2>/dev/null | sort
        find /var/lib/postgresql -mindepth 2 -maxdepth 2 -printf '%p\\n' 2>/dev/null | sort
    """
    hosts = {host: on(host, script, "root") for host in (*DATABASES, "dump1")}
    return json.dumps([stores, hosts, roles()])


def check_mode_changes_nothing() -> None:
    """Every runbook of the upkeep, asked what it would do."""
    before = fingerprint()
    for service, playbooks in UPKEEP.items():
        for playbook in playbooks:
            more = ["-e", "mark_name=never_made"] if playbook == "mark" else []
            run(
                "ansible-playbook",
                f"playbooks/{playbook}.yml",
                "-i",
                INVENTORY,
                "-e",
                f"service={service}",
                "--check",
                *more,
            )
    assert fingerprint() == before


def second_runs_change_nothing() -> None:
    """What describes a state finds it reached."""
    for service, playbook in (("shop", "rebuild_standbys"), ("ledger", "expire_dumps"), ("shop", "lint")):
        said = run("ansible-playbook", f"playbooks/{playbook}.yml", "-i", INVENTORY, "-e", f"service={service}")
        assert set(re.findall(r"changed=(\d+)", said)) == {"0"}, said


def green() -> None:
    """Both services, every way."""
    command("backup", "-s", "ledger")
    for service in ("shop", "ledger"):
        command("verify", "-s", service)
        assert record()["result"] == "passed"
        command("prove", "-s", service)
        assert record()["result"] == "passed"
    command("prove", "-s", "shop", "--random", "--seed", "7")
    info = json.loads(on(roles()["primary"][0], "pgbackrest --stanza=shop --output=json info"))
    assert "validated" in [b.get("annotation", {}).get("pgrescue-proof") for b in info[0]["backup"]]


def wrong_byte_in_the_store() -> None:
    """One bit of a stored segment: verify says which repository."""
    path = max((STORE / "shop-backups/shop/archive").rglob("*-*.lz4"), key=lambda p: p.name)
    with flipped(path):
        command("verify", "-s", "shop", code=6)
        caught("byte flipped in archived WAL", record()["checks"])


def wrong_byte_in_a_dump() -> None:
    """One bit of the largest file of the newest dump: verify names the store, and a proof passes the copy over."""
    newest = max((STORE / "ledger-dumps/dumps/ledger").iterdir())
    path = max((newest / "db").rglob("*.dat*"), key=lambda p: p.stat().st_size)
    with flipped(path):
        command("verify", "-s", "ledger", code=6)
        caught("dump data flipped", record()["checks"])


def repository_that_refuses() -> None:
    """The host that reads trusts another CA, or its credential has expired."""
    conf, kept = "/etc/pgbackrest.conf", "/etc/pgbackrest.conf.kept"
    ca = "/etc/ssl/certs/ca-certificates.crt"
    planted = {
        "wrong certificate authority": f"s#^repo1-storage-ca-file=.*#repo1-storage-ca-file={ca}#",
        "expired credential": "s#^repo1-s3-key-secret=.*#repo1-s3-key-secret=the-one-of-last-quarter#",
    }
    for fault, change in planted.items():
        for host in DATABASES:  # who reads is chosen by what each is at the moment
            on(host, f"cp -p {conf} {kept}; sed -i '{change}' {conf}", "root")
        try:
            command("verify", "-s", "shop", code=6)
            caught(fault, record()["checks"])
        finally:
            for host in DATABASES:
                on(host, f"mv {kept} {conf}", "root")


def store_that_is_down() -> None:
    """The east store is stopped: verify says so, and proves nothing less of the other."""
    podman("pause", "pgrescue-store-east")
    try:
        command("verify", "-s", "shop", code=6)
        caught("store that does not answer", record()["checks"])
    finally:
        podman("unpause", "pgrescue-store-east")


if __name__ == "__main__":
    green()
    check_mode_changes_nothing()
    second_runs_change_nothing()
    wrong_byte_in_the_store()
    wrong_byte_in_a_dump()
    repository_that_refuses()
    store_that_is_down()
