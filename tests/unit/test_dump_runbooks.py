"""The runbooks of logical backups, run as an operator runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from backups import flip
from dumping import PASSWORD, fill, key_pair, objects, url
from object_store import SECRET, ObjectStore
from postgres import PostgresServer

HOUSE = Path(__file__).parents[2]
PRIVATE, PUBLIC = key_pair()


@pytest.fixture
def runbook(tmp_path):
    """Runs a runbook for a service whose server and store are real; exit code and output."""
    with PostgresServer() as server, ObjectStore(tmp_path / "one") as store:
        fill(server)
        said = {
            "service_name": "shop",
            "dump_url": url(server),
            "dump_stores": [store.place],
            "dump_signing_key": PRIVATE,
            "dump_public_keys": [PUBLIC],
            "dump_retention": {"rungs": [{"every": "day", "days": 30}], "proven": 3},
            "dump_work_directory": str(tmp_path / "work"),
            "dump_proof_place": str(tmp_path / "proof"),
            "postgres_version": server.version,
            "objectives": {"rto_s": 14400, "rpo_s": 86400, "phases": {}},
            "record_stores": [store.place],
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
        }
        host = {"hosts": {"localhost": {}}}
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"children": {"shop": {**host, "vars": said}, "dump": host}}}))

        def run(name, *more):
            command = [
                Path(sys.executable).parent / "ansible-playbook",
                f"playbooks/{name}.yml",
                "-i",
                inventory,
                "-vvv",
            ]
            env = {
                **os.environ,
                "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
                "PGRESCUE_RUNS": str(tmp_path / "runs"),
            }
            done = subprocess.run(
                [*command, "-e", "service=shop", *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False
            )
            return done.returncode, done.stdout + done.stderr

        yield run, store


def test_a_dump_that_failed_is_an_attempt_too(runbook, tmp_path):
    run, _store = runbook
    code, _said = run("dump", "--start-at-task", "Take a dump into every store", "-e", "dump_databases=['none']")
    assert code != 0
    (wrong,) = [json.loads(line) for line in (tmp_path / "runs/attempts/shop.jsonl").read_text().splitlines()]
    assert (wrong["kind"], wrong["result"]) == ("dump", "failed") and "none" in wrong["reason"]


def test_a_service_is_dumped_verified_and_expired(runbook, tmp_path):
    run, store = runbook
    # without the first play, which installs packages
    code, said = run("dump", "--start-at-task", "Take a dump into every store")
    assert code == 0, said
    dump = next(iter(store.path("dumps/shop").iterdir())).name
    kept = tmp_path / "runs/attempts/shop.jsonl"
    (good,) = [json.loads(line) for line in kept.read_text().splitlines()]
    assert (good["repository"], good["kind"], good["result"]) == (store.name, "dump", "passed")
    assert good["at"][:19].replace("-", "").replace(":", "") == dump[:-1], "what it brings back is of when it was begun"
    assert good["size_bytes"] > good["stored_bytes"] > 0
    spoken = said
    code, said = run("expire_dumps", "--check")
    assert code == 0, said
    assert "changed=0" in said
    spoken += said
    flip(objects(store, dump) / "globals.sql")
    code, said = run("verify_dump", "-e", "dump_min_bytes=1000000000")
    assert (code, "the dump is not smaller than it may be" in said) == (2, True), said
    code, said = run("dump", "--start-at-task", "Read the dump from every store and compare it with its manifest")
    assert code != 0
    assert "every file is as it was written" in said
    for secret in (PASSWORD, SECRET, PRIVATE.splitlines()[1]):
        assert secret not in spoken + said


def test_a_proof_holds_its_dump_until_its_run_is_closed(runbook, tmp_path):
    run, store = runbook
    code, said = run("dump", "--start-at-task", "Take a dump into every store")
    assert code == 0, said
    dump = next(iter(store.path("dumps/shop").iterdir())).name
    proof = ("-e", "run_id=20261124T020000Z-shop-prove_dump")
    # without the first play, which installs packages
    proving = ("prove_dump", "--start-at-task", "Open the run's record", *proof)
    code, said = run(*proving, "-e", '{"dump_proof_settings": {"port": "none"}}')  # no such server starts
    assert code != 0
    note = objects(store, dump) / "hold/20261124T020000Z-shop-prove_dump.json"
    assert note.exists(), said
    timeline = (tmp_path / "runs/20261124T020000Z-shop-prove_dump/timeline.jsonl").read_text()
    assert ("-e dump_proof_settings" in timeline, '"none' in timeline.replace("\\", "")) == (True, False)
    code, said = run("close_proof", *proof)
    assert code == 0, said
    assert not note.exists()
    code, said = run("close_proof", *proof)  # again, and where there is nothing to let go
    assert code == 0, said
    note.parent.mkdir(exist_ok=True)
    note.write_text("{}")
    store.forget()
    code, said = run("expire_dumps", "-e", "let_go=20261124T020000Z-shop-prove_dump")
    assert code == 0, said
    assert not note.exists()


def test_a_host_that_only_dumps_gets_a_server_for_the_proof(runbook):
    run, _store = runbook
    code, said = run("dump", "--start-at-task", "Take a dump into every store")
    assert code == 0, said
    missing = '{"dump_proof_packages": ["postgresql-99"]}'
    code, said = run("prove_dump", "--check", "-e", missing)
    assert code == 0, said
    assert "Would install postgresql-99" in said
