"""The playbooks hand over what the inventory says of the evidence, and mirror the pack whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from evidence_packs import PUBLIC, key_file, written
from modules import HOUSE, module
from object_store import ObjectStore
from pgrescue.evidence import envelope, pack
from pgrescue.evidence.settings import Settings
from pgrescue.evidence.verify import verify


@pytest.fixture
def site(tmp_path):
    with ObjectStore(tmp_path / "objects", bucket="evidence") as store:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        said = {
            "record_stores": [store.place],
            "evidence_key_file": str(key_file(tmp_path)),
            "evidence_owner": "dba@example.com",
        }
        (tmp_path / "inventory").mkdir()
        children = {"shop": {"hosts": {"here": local}, "vars": said}}
        children["witness"] = {"hosts": {"here": {}}}
        hosts = {"all": {"hosts": {"localhost": local}, "children": children}}
        (tmp_path / "inventory" / "hosts.yml").write_text(yaml.safe_dump(hosts))
        yield tmp_path, store


def play(root, playbook, run):
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", root / "inventory", playbook]
    env = {**os.environ, "PGRESCUE_RUNS": str(root / "runs"), "PYTHONPATH": str(HOUSE / "python")}
    env.pop("PGRESCUE_RUN_DIR", None)
    more = ["-e", "service=shop", "-e", f"run_id={run}"]
    done = subprocess.run([*command, *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_is_sealed_with_the_key_of_its_inventory_and_comes_back_whole_after_its_sign_off(site):
    root, store = site
    directory = written(root / "runs")
    closing = [{"ansible.builtin.import_role": {"name": "pgrescue.runbooks.run", "tasks_from": "close_proof"}}]
    (root / "close.yml").write_text(yaml.safe_dump([{"hosts": "shop", "gather_facts": False, "tasks": closing}]))
    play(root, root / "close.yml", directory.name)
    key = envelope.public_key(PUBLIC.encode())
    assert verify(directory, [key]).holds
    assert {one["owner"] for one in json.loads((directory / "findings.json").read_text())} == {"dba@example.com"}
    assert len(json.loads((directory / "scope.json").read_text())["configuration_sha256"]) == 64
    pack.sign_off(directory, "Noor Haddad", "Read.")
    pack.seal_again(directory, Settings(key_file=key_file(root)), None)
    play(root, HOUSE / "playbooks/mirror_run.yml", directory.name)
    module("fetch_record")(run=directory.name, runs_dir=str(root / "elsewhere"), stores=[store.place])
    brought = root / "elsewhere" / directory.name
    found = verify(brought, [key])
    assert (found.holds, len(found.seals), found.sign_offs[0].current) == (True, 2, True)
    assert {path.name for path in brought.iterdir()} == {path.name for path in directory.iterdir()}
