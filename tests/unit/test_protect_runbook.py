"""The runbook that protects a service, run as an operator runs it: where it must not change anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from modules import HOUSE, collection, module, refused
from postgres import PostgresServer, programs
from strangers import fingerprint, running

VERSION = int(programs().parent.name)
SOCKETS = "/var/run/postgresql"  # where Debian's servers have theirs
OURS = "pgbackrest --stanza=orders archive-push %p"
OTHER = "WALG_KEY=geheim /usr/local/bin/wal-g wal-push %p"
NOT_HERE = {"postgres_packages": ["postgresql-99", "pgbackrest"], "postgres_version": 99}


@pytest.fixture
def protect(tmp_path, monkeypatch):
    """Runs protect.yml for the example's service on hosts that are all this machine; exit code and output."""
    monkeypatch.setenv("PGUSER", "postgres")  # nobody becomes anybody here
    said = yaml.safe_load((HOUSE / "inventories/example/group_vars/orders.yml").read_text())
    vault = dict.fromkeys(re.findall(r"vault_\w+", str(said)), "x")
    here = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    hosts = {name: {"ansible_host": "127.0.0.1", "region": "paris"} for name in ("pg-a", "pg-b", "probe-a")}
    groups = {
        "orders": {"hosts": dict.fromkeys(hosts), "vars": {**said, **vault, **here}},
        "postgres": {"hosts": {"pg-a": None, "pg-b": None}},
        "witness": {"hosts": {"probe-a": None}},
    }
    local = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {**local, **hosts}, "children": groups}}))

    def run(variables, *more, playbook="playbooks/protect.yml"):
        extra = tmp_path / "variables.yml"
        extra.write_text(yaml.safe_dump({"service": "orders", "postgres_configurations": str(tmp_path), **variables}))
        command = [Path(sys.executable).parent / "ansible-playbook", playbook, "-i", inventory]
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(tmp_path / "runs")}
        asked = [*command, "-e", f"@{extra}", "-vvv", *more]
        done = subprocess.run(asked, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def counted(said, what):
    """The hosts' sum of changed or failed."""
    return sum(map(int, re.findall(rf"{what}=(\d+)", said)))


@pytest.fixture
def archiving():
    """A server where Debian's are, whose WAL another tool archives."""
    settings = {"unix_socket_directories": SOCKETS, "archive_mode": "on", "archive_command": OTHER}
    with PostgresServer(settings=settings) as server:
        yield server


def test_archiving_is_not_taken_over_from_another_tool_unless_that_is_meant(protect, archiving):
    here = {**NOT_HERE, "postgres_version": VERSION, "postgres_port": archiving.port}
    code, said = protect(here)
    assert code == 2, said
    assert "that of pg-a by the archive_command of wal-g, that of pg-b" in said
    assert '"exit_code": 3' in said
    assert (counted(said, "changed"), "Install PostgreSQL" in said) == (0, False)
    assert "geheim" not in said
    assert archiving.psql("SHOW archive_command") == [(OTHER,)]
    code, said = protect({**here, "postgres_replace_archive_command": True}, "--check")
    assert code == 0, said
    assert "Would install postgresql-99" in said


def test_check_mode_says_what_a_bare_host_would_get_and_ends_well(protect):
    for more in ({}, {"protect_create_on": "pg-a"}):
        code, said = protect({**NOT_HERE, **more}, "--check")
        assert code == 0, said
        assert said.count("Would install postgresql-99") == 2
        assert "Would install python3-psycopg and the witness" in said
        assert (counted(said, "failed"), counted(said, "unreachable")) == (0, 0)


SEEN = """
- name: What was found
  hosts: postgres
  gather_facts: false
  tasks:
    - name: Name each host
      ansible.builtin.group_by: {key: "{{ found[inventory_hostname] }}"}
    - name: Go no further
      ansible.builtin.import_role: {name: pgrescue.runbooks.postgres, tasks_from: end_check}
    - name: Look
      ansible.builtin.debug: {msg: "looked at {{ inventory_hostname }}"}
"""
PRIMARY = """
- name: The primary
  hosts: current_primary
  gather_facts: false
  tasks:
    - name: Go no further
      ansible.builtin.import_role: {name: pgrescue.runbooks.postgres, tasks_from: end_check}
    - name: Look
      ansible.builtin.debug: {msg: "primary {{ inventory_hostname }}"}
"""


def test_check_mode_ends_where_it_cannot_look_and_everywhere_without_a_primary(protect, tmp_path):
    (tmp_path / "seen.yml").write_text(SEEN + PRIMARY)
    primary, standby, unseen = "current_primary", "current_standby", "current_unseen"
    for found, looked in (
        ((primary, standby), ["looked at pg-a", "looked at pg-b", "primary pg-a"]),
        ((primary, unseen), ["looked at pg-a", "primary pg-a"]),
        ((standby, unseen), []),
        ((unseen, unseen), []),
    ):
        code, said = protect({"found": dict(zip(("pg-a", "pg-b"), found, strict=True))}, playbook=tmp_path / "seen.yml")
        assert (code, sorted(re.findall(r'"msg": "((?:looked|primary).*)"', said))) == (0, looked), said
    code, said = protect({"found": {"pg-a": standby, "pg-b": standby}}, playbook=tmp_path / "seen.yml")
    assert "Could not match supplied host pattern" in said  # as ever: no primary stops the runbook
    assert code != 0


def test_a_cluster_that_somebody_else_made_is_refused_before_anything_is_changed(protect, tmp_path):
    settings = {"unix_socket_directories": SOCKETS, "archive_mode": "off"}
    with running(tmp_path, settings=settings) as server:
        before = fingerprint(tmp_path / str(server.version), server)
        code, said = protect({"postgres_version": VERSION, "postgres_port": server.port})
        assert fingerprint(tmp_path / str(server.version), server) == before
    assert code == 2, said
    assert '"exit_code": 3' in said
    for words in ("must be restarted once", "orders-db.crt", "cannot be read by", "Nothing was changed on any host"):
        assert words in said
    assert (counted(said, "changed"), "Install PostgreSQL" in said) == (0, False)


def test_whose_archive_it_is(archiving, monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")

    def owner():
        at = {"version": VERSION, "port": archiving.port, "socket_directory": SOCKETS}
        return module("archive_owner")(**at, command=OURS)["other"]

    assert owner() == "the archive_command of wal-g"
    for command in ("", "/bin/true", OURS):
        archiving.psql(f"ALTER SYSTEM SET archive_command = '{command}'")
        archiving.psql("SELECT pg_reload_conf()")
        assert owner() is None
    other_tool = collection("plugins.module_utils.archiving").other_tool
    assert (
        other_tool({"archive_command": OURS, "archive_library": "basic_archive"}, OURS)
        == "the archive_library basic_archive"
    )
    assert other_tool({"archive_command": "A=b"}, OURS) == "the archive_command of another tool"
    archiving.stop()
    assert owner() is None
    assert module("archive_owner")(version=99, command=OURS)["other"] is None


def test_one_host_with_another_tool_is_enough_to_refuse():
    takeover, owners = module("archive_takeover"), {"db1": "the archive_command of wal-g", "db2": None}
    assert refused(
        takeover(owners=owners), 3, "db1", "wal-g", "Nothing was changed", "postgres_replace_archive_command"
    )
    assert takeover(owners=owners, replace=True)["replaced"] == {"db1": "the archive_command of wal-g"}
    assert takeover(owners={"db1": None, "db2": ""})["replaced"] == {}


def test_only_the_service_and_its_clients_are_let_in():
    let_in = collection("plugins.filter.hosts").let_in
    known = {"db1": {"postgres_address": "10.0.0.1"}, "app": {"ansible_host": "app.example.org"}, "fe80::1": {}}
    seen = let_in(["192.0.2.0/24", "samenet", "10.0.0.1"], known, known)
    assert seen == ["10.0.0.1/32", "app.example.org", "fe80::1/128", "192.0.2.0/24", "samenet"]
    for wrong in ("192.0.2.1/24", "10.0.0", "all trust", "", "10.0.0.300"):
        with pytest.raises(AnsibleFilterError, match="Nothing was changed"):
            let_in([wrong], {}, {})


CREATE = """
- name: Create
  hosts: postgres
  gather_facts: false
  tasks:
    - name: Create
      ansible.builtin.include_role: {name: pgrescue.runbooks.postgres, tasks_from: create}
      when: inventory_hostname == 'pg-a'
    - name: Look
      ansible.builtin.debug: {msg: "looked at {{ inventory_hostname }}"}
"""


def test_check_mode_ends_where_a_primary_would_be_created(protect, tmp_path):
    (tmp_path / "create.yml").write_text(CREATE + PRIMARY)
    given = {"postgres_version": VERSION, "postgres_root": str(tmp_path / "root")}
    code, said = protect(given, "--check", playbook=tmp_path / "create.yml")
    assert (code, re.findall(r'"msg": "((?:looked|primary).*)"', said)) == (0, ["looked at pg-b"]), said
    assert "=> {" in said[said.index("Create an empty cluster with data checksums") :]
    assert not (tmp_path / "root").exists()


OWN = "local all postgres peer\nhostssl all owner 198.51.100.7/32 cert\n"
BEFORE = """# BEGIN pgrescue
hostssl replication replicator all scram-sha-256
hostssl all all all scram-sha-256
# END pgrescue
"""
CONFIGURE = """
- name: Configure
  hosts: pg-a
  gather_facts: false
  tasks:
    - name: Configure
      ansible.builtin.import_role: {name: pgrescue.runbooks.postgres, tasks_from: configure}
"""


def test_the_block_in_pg_hba_names_addresses_and_leaves_the_owners_entries(protect, tmp_path):
    (tmp_path / "configure.yml").write_text(CONFIGURE)
    (tmp_path / "conf.d").mkdir()
    hba = tmp_path / "pg_hba.conf"
    hba.write_text(OWN + BEFORE)
    given = {"postgres_config": str(tmp_path), "postgres_state": {"role": "standby", "running": False}}
    code, said = protect(given, "--check", "--diff", playbook=tmp_path / "configure.yml")
    assert code == 0, said
    changed = said[said.index("TASK [pgrescue.runbooks.postgres : Let the service's hosts") :].partition("TASK [")[2]
    changed = changed.partition("TASK [")[0].splitlines()
    removed, added = ({line[1:] for line in changed if re.match(rf"[{sign}]hostssl", line)} for sign in "-+")
    assert removed == {line for line in BEFORE.splitlines() if "hostssl" in line}
    with PostgresServer() as server:
        (server.data / "pg_hba.conf").write_text(OWN + "\n".join(added) + "\n")
        rules = server.psql(
            "SELECT database, user_name, address, netmask FROM pg_hba_file_rules WHERE type = 'hostssl'"
        )
    assert sorted((*row[0], *row[1], *row[2:]) for row in rules) == [
        ("all", "all", "127.0.0.1", "255.255.255.255"),
        ("all", "all", "192.0.2.0", "255.255.255.0"),
        ("all", "owner", "198.51.100.7", "255.255.255.255"),
        ("replication", "replicator", "127.0.0.1", "255.255.255.255"),
        ("replication", "replicator", "192.0.2.0", "255.255.255.0"),
    ]
    assert hba.read_text() == OWN + BEFORE


def test_what_alter_system_set_for_the_other_tool_is_put_back_when_it_is_replaced(protect, tmp_path, archiving):
    (tmp_path / "configure.yml").write_text(CONFIGURE)
    (tmp_path / "conf.d").mkdir()
    given = {"postgres_config": str(tmp_path), "postgres_state": {"role": "primary", "running": False}}
    named = "Archive instead of the other tool, also where ALTER SYSTEM set it"
    for other, expected in (("the archive_command of wal-g", True), ("", False)):
        here = {**given, "postgres_port": archiving.port, "postgres_archived_by": other}
        code, said = protect(here, "--check", playbook=tmp_path / "configure.yml")
        assert code == 0, said
        task = said[said.index(named) :].partition("TASK [")[0] if named in said else ""
        assert ("changed: [pg-a] => (item=archive_command)" in task) is expected, said


PACKAGED = "[global]\nrepo1-path=/var/lib/pgbackrest\n#repo1-retention-full=2\n\n#[main]\n#pg1-path=/x\n"
OURS_BEFORE = "# Written by pgrescue; change the inventory instead.\n[global]\nrepo1-type=s3\n\n[{}]\npg1-path=/x\n"
REPOSITORIES = """
- name: Repositories
  hosts: pg-a
  gather_facts: false
  tasks:
    - name: Check
      ansible.builtin.import_role: {name: pgrescue.runbooks.pgbackrest, tasks_from: check_configuration}
    - name: Configure
      ansible.builtin.import_role: {name: pgrescue.runbooks.pgbackrest, tasks_from: configure}
"""


@pytest.mark.parametrize(
    ("there", "told", "goes_on"),
    [
        (None, False, True),
        (PACKAGED, False, True),
        (OURS_BEFORE.format("orders"), False, True),
        (OURS_BEFORE.format("shop"), False, False),  # another service on the same host
        ("[global]\nrepo1-path=/backups\n\n[main]\npg1-path=/x\n", False, False),
        ("[global]\nrepo1-type=s3\n", False, False),  # its stanzas are in conf.d
        ("[main]\npg1-path=/x\n", True, True),
    ],
)
def test_a_configuration_of_pgbackrest_that_is_somebody_elses_stays(
    protect, tmp_path, monkeypatch, there, told, goes_on
):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\nexit 1\n")  # this machine's services are not ours
    (tmp_path / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (tmp_path / "repositories.yml").write_text(REPOSITORIES)
    conf = tmp_path / "etc/pgbackrest.conf"
    conf.parent.mkdir()
    if there:
        conf.write_text(there)
    given = {"pgbackrest_configuration": str(conf), "pgbackrest_replace_configuration": told}
    given["postgres_state"] = {"data_directory": "/x"}
    secrets = {"key": "geheim-1", "secret": "geheim-2", "cipher_pass": "geheim-3"}
    where = {"endpoint": "s3", "region": "r", "bucket": "b", "ca_file": "/x", "retention_days": 1, "retention_full": 1}
    given["pgbackrest_repositories"] = [{**where, **secrets}]
    code, said = protect(given, "--diff", playbook=tmp_path / "repositories.yml")
    if goes_on:
        written = conf.read_text()
        assert "[orders]" in written, said
        assert f"\nprocess-max={len(os.sched_getaffinity(0))}\n" in written
        assert "geheim" in written
        assert "geheim" not in said
    else:
        assert (code, conf.read_text()) == (2, there), said
        assert "names a stanza or a repository" in said
        assert "Nothing was changed" in said
    kept = [path.read_text() for path in conf.parent.glob("pgbackrest.conf.*")]
    assert kept == ([there] if told else [])


def test_one_that_pgbackrest_would_read_instead_of_ours_is_refused(protect, tmp_path):
    (tmp_path / "repositories.yml").write_text(REPOSITORIES)
    conf = tmp_path / "etc/pgbackrest/pgbackrest.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[main]\npg1-path=/x\n")
    ours = tmp_path / "etc/pgbackrest.conf"
    given = {"pgbackrest_configuration": str(ours), "pgbackrest_replace_configuration": True}
    code, said = protect(given, playbook=tmp_path / "repositories.yml")
    assert (code, ours.exists()) == (2, False), said
    assert f"{conf} names a stanza" in said
