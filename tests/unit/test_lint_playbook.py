"""The playbook that lints, through ansible-playbook: hosts that are down are findings, not failures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aws import served
from greeters import greeting
from modules import HOUSE
from pgrescue import lint, runner
from postgres import free_port
from rich.console import Console

PROMISE = {"service_name": "shop", "objectives": {"rto_s": 3600, "rpo_s": 900, "phases": {}}}
DATABASE = {
    "postgres_version": 17,
    "service_standbys": {"east": 1},
    "endpoint_name": "shop-db.example.org",
    "endpoint_ttl": 5,
    "pgbackrest_repositories": [
        {
            "endpoint": "127.0.0.1:1",
            "region": "east",
            "bucket": "backups",
            "key": "k",
            "secret": "geheim",
            "retention_days": 30,
        }
    ],
}


def inventory(folder, group, port, **more):
    """A service of two hosts on loopback addresses."""
    ssh = {"ansible_port": port, "ansible_ssh_common_args": "-o ConnectTimeout=2 -o StrictHostKeyChecking=no"}
    hosts = {
        name: {"ansible_host": "127.0.0.1", "postgres_address": "127.0.0.1", "region": "east", **ssh, **PROMISE, **more}
        for name in ("db1", "db2")
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {name: {"hosts": dict.fromkeys(hosts)} for name in ("shop", group)}
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"hosts": {"localhost": local, **hosts}, "children": groups}})
    )
    return folder / "hosts.yml"


def played(path, *more):
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "playbooks/lint.yml",
        "-i",
        str(path),
        "-e",
        "service=shop",
    ]
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
        "ANSIBLE_SHOW_CUSTOM_STATS": "1",
        "PGRESCUE_RUNS": str(path.parent / "runs"),
    }
    done = subprocess.run([*command, *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    said = re.search(r"RUN: (\{.*)", done.stdout)
    return done, [one["id"] for one in json.loads(said[1])["findings"]] if said else []


@pytest.fixture
def half_dead():
    """A host that greets as SSH does and says no more."""
    with greeting() as port:
        yield port


def test_a_service_whose_hosts_are_all_down_is_linted(tmp_path):
    path = inventory(tmp_path, "postgres", free_port(), **DATABASE)
    done, found = played(path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found.count("host-silent") == 2
    assert {"no-primary", "repositories-unseen", "one-repository", "never-proven"} <= set(found)
    assert "geheim" not in done.stdout
    assert not (tmp_path / "runs").exists()
    done, _ = played(path, "-e", "protection_strict=true")
    assert done.returncode == 2
    assert "The service is not protected as it promises" in done.stdout


def test_a_host_that_answers_and_lets_nobody_in_is_a_finding(tmp_path, half_dead):
    done, found = played(inventory(tmp_path, "postgres", half_dead, **DATABASE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert found.count("host-unobserved") == 2
    assert "host-silent" not in found


def test_a_host_on_which_nothing_works_is_a_finding_with_its_reason(tmp_path, half_dead):
    """Ansible gets there, and the first task fails: there is no such way to become another user."""
    broken = {"ansible_connection": "local", "ansible_become_exe": "/nowhere/sudo"}
    done, found = played(inventory(tmp_path, "postgres", half_dead, **DATABASE, **broken))
    assert done.returncode == 0, done.stdout + done.stderr
    assert found.count("host-unobserved") == 2
    assert "The host answers and could not be looked at: " in done.stdout


def test_a_service_that_is_only_dumped_is_not_asked_for_standbys(tmp_path):
    done, found = played(inventory(tmp_path, "dump", free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(found) == ["dump-without-wal", "never-proven", "no-dump"]


def test_buckets_are_measured_from_where_they_are_reached(tmp_path):
    """Dumps from the dump host, records from here: an upload that was left, a limit, and a store that is down."""
    with served() as aws:
        dumps, records = aws.bucket("dumps"), aws.bucket("records")
        aws.s3.create_multipart_upload(Bucket="dumps", Key="dumps/shop/left")
        aws.s3.put_object(Bucket="records", Key="runs/one", Body=b"x" * 90)
        down = {**records, "url": f"http://127.0.0.1:{free_port()}"}
        said = {
            "dump_stores": [dumps],
            "dump_public_keys": [],
            "record_stores": [records, down],
            "protection_bucket_limits": {"records": 100, "dumps": 100},
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
        }
        path = inventory(tmp_path, "dump", free_port(), **said)
        done, found = played(path)
        assert done.returncode == 0, done.stdout + done.stderr
        bucket_findings = {"uploads-unfinished", "bucket-filling", "bucket-unmeasured", "versions-kept"}
        assert sorted(bucket_findings & set(found)) == ["bucket-filling", "bucket-unmeasured", "uploads-unfinished"]
        assert len([one for one in found if one in bucket_findings]) == 3
        assert dumps["secret"] not in done.stdout
        _, found = played(path, "-e", "{protection_measure_buckets: false}")
        assert not bucket_findings & set(found)


def test_the_buckets_of_repositories_are_asked_by_a_database_host(tmp_path, half_dead):
    local = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
    }
    seen = {"postgres_state": {"role": "stopped", "running": False, "data_directory": "/nowhere", "streaming": False}}
    done, found = played(inventory(tmp_path, "postgres", half_dead, **DATABASE, **local), "-e", json.dumps(seen))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bucket-unmeasured" in found
    assert re.search(
        r"could not be measured: Could not connect to the endpoint URL: \S+127.0.0.1:1/backups", done.stdout
    )
    assert "geheim" not in done.stdout


def test_the_command_shows_what_the_playbook_found(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    path, out = inventory(tmp_path, "dump", free_port()), tmp_path / "out"
    with out.open("w") as file:
        assert lint.run("shop", str(path), True, Console(file=file)) == 3
    assert {one["id"] for one in json.loads(out.read_text())["findings"]} == {
        "dump-without-wal",
        "never-proven",
        "no-dump",
    }


def test_a_service_that_is_not_there_is_said(tmp_path):
    path, out = inventory(tmp_path, "dump", free_port()), tmp_path / "out"
    with out.open("w") as file:
        assert lint.run("another", str(path), False, Console(file=file)) == 3
    assert "Nothing was changed" in out.read_text()
