"""`pgrescue init`: what is found becomes an inventory that validates; what is there is never overwritten."""

import os
import re
import stat
import subprocess
import sys

import guide
import pytest
import yaml
from modules import HOUSE, collection
from pgrescue import cli, cli_adopt, schedule
from pgrescue.adopt import detect, places, questions, write
from pgrescue.adopt.places import Place
from postgres import PostgresServer, until
from strangers import ASKS, laid_out
from test_house import HANDED_OVER
from typer.testing import CliRunner

RUN = CliRunner()
HERE = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
GIVEN = {
    "endpoint_name": "orders-db.example.org",
    "endpoint_zone": "example.org",
    "endpoint_server": "192.0.2.53",
    "endpoint_key_secret": "dHNpZw==",
    "tls_ca": "/etc/orders/ca.crt",
    "tls_cert": "/etc/orders/db.crt",
    "tls_key": "/etc/orders/db.key",
    "client_networks": "192.0.2.0/24, 198.51.100.0/24",
    "health_url": "http://orders.example.org/health",
    "application_unit": "orders@",
    "store_endpoint": "s3.example.org",
    "store_region": "paris",
    "store_bucket": "orders-backups",
    "store_records": "orders-evidence",
    "store_key": "AKIA: 1",  # what YAML would read as a mapping
    "store_secret": "geheim #1 {{ x",
    "second_endpoint": "s3.example.net",
    "second_bucket": "orders-backups",
    "second_key": "k2",
    "second_secret": "geheim-2",
}


@pytest.fixture
def pair(tmp_path):
    """A primary and its standby, each as on a host of its own; what discover.yml is told of each."""
    settings = {**ASKS, "max_wal_senders": 20}
    with PostgresServer(settings=settings) as primary, primary.standby_of(settings=settings) as standby:
        primary.psql("CREATE DATABASE shop")
        until(lambda: primary.psql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), 30, "it streams")
        more = {}
        for name, server in (("10.0.0.11", primary), ("10.0.0.12", standby), ("10.0.0.13", None)):
            root = tmp_path / name
            root.mkdir()
            if server:
                laid_out(root, server)
            more[name] = {"postgres_configurations": str(root)}
        yield primary, more


def on_this_machine(monkeypatch, more):
    """Have init look at this machine in the place of the hosts it is told."""
    by_ssh = detect.by_ssh

    def look(asked, service, common):
        return by_ssh(asked, service, {**common, **HERE}, {k: more.get(p.host, {}) for k, p in asked.items()})

    monkeypatch.setattr(detect, "by_ssh", look)
    monkeypatch.setattr(places.socket, "getaddrinfo", lambda *_, **__: pytest.fail("an address is no name"))


def init(folder, *more, given=GIVEN, code=0):
    words = [word for key, value in given.items() for word in ("-a", f"{key}={value}")]
    done = RUN.invoke(cli.app, ["init", str(folder), "-s", "orders", *more, "--batch", *words])
    assert done.exit_code == code, done.output
    return done.output


HOSTS = [
    "--ssh", "ops@10.0.0.11", "--ssh", "ops@10.0.0.12:2222,region=milan", "--spare", "ops@10.0.0.13",
    "--witness", "ops@10.0.0.14", "--application", "ops@10.0.0.15",
]  # fmt: skip


OTHERS = {"bucket_replication", "cloudwatch", "fault", "pgbouncer", "schedule"}  # options that an inventory may have
OF_DUMPS = {"dump", "dump_proof"}
PHYSICAL = {path.name for path in (HOUSE / "roles").iterdir()} - OTHERS - OF_DUMPS


def validated(folder, roles):
    """What Ansible says of the arguments of every entry point that the inventory must serve; it needs no host."""
    tasks = []
    for role in sorted((HOUSE / "roles").iterdir()):
        if role.name not in roles:
            continue
        for name, entry in yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"].items():
            options = {
                k: v for k, v in (entry.get("options") or {}).items() if k not in HANDED_OVER | {"run_procedure"}
            }
            needed = any(option.get("required") for option in options.values())
            if needed and (roles == OF_DUMPS or not {"dump_stores", "dump_public_keys"} & set(options)):
                check = {"argument_spec": options, "provided_arguments": {}}
                tasks.append({"name": f"{role.name} {name}", "ansible.builtin.validate_argument_spec": check})
    play = {"name": "All", "hosts": "orders", "gather_facts": False, "tasks": tasks}
    playbook = folder.parent / "validate.yml"
    playbook.write_text(yaml.safe_dump([play]))
    command = [os.fspath(HOUSE / ".venv/bin/ansible-playbook"), playbook, "-i", folder]
    env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(folder.parent / "runs")}
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    return len(tasks), done.returncode, done.stdout + done.stderr


def test_what_is_found_becomes_an_inventory_that_validates(pair, tmp_path, monkeypatch):
    primary, more = pair
    on_this_machine(monkeypatch, more)
    folder = tmp_path / "orders"
    said = init(folder, *HOSTS)
    assert "10.0.0.11: PostgreSQL" in said
    assert f"{primary.version}" in said
    main = yaml.safe_load((folder / "group_vars/orders/main.yml").read_text())
    vault = yaml.safe_load((folder / "group_vars/orders/vault.yml").read_text().replace("!unsafe ", ""))
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    assert (main["postgres_version"], main["service_standbys"]) == (primary.version, {"home": 0, "milan": 1})
    assert main["postgres_settings"] == {"max_wal_senders": "20"}
    assert main["postgres_client_networks"] == ["192.0.2.0/24", "198.51.100.0/24"]
    assert [store["key"] for store in main["pgbackrest_repositories"]] == ["AKIA: 1", "k2"]
    assert vault["vault_store_secret"] == GIVEN["store_secret"]
    assert len({value for name, value in vault.items() if name.endswith(("cipher", "password"))}) == 4
    assert "geheim" not in (folder / "group_vars/orders/main.yml").read_text() + said
    assert hosts["postgres"]["hosts"]["10.0.0.12"]["ansible_port"] == 2222
    assert sorted(hosts["postgres"]["hosts"]) == ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    assert stat.S_IMODE((folder / "group_vars/orders/vault.yml").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert sum(main["objectives"]["phases"].values()) <= main["objectives"]["rto_s"]
    count, code, told = validated(folder, PHYSICAL)
    assert (count > 80, code) == (True, 0), told


def test_what_nobody_knows_is_left_open_and_said_why(pair, tmp_path, monkeypatch):
    _primary, more = pair
    on_this_machine(monkeypatch, more)
    folder = tmp_path / "orders"
    said = init(folder, *HOSTS[:4], given={})
    text = (folder / "group_vars/orders/main.yml").read_text()
    assert "# FILL IN: endpoint_name: a recovery moves it" in text
    assert "# FILL IN: the name" not in text
    for missing in ("pgbackrest_repositories", "witness_endpoints", "application_unit", "postgres_tls_ca"):
        assert re.search(rf"^# FILL IN: {missing}", text, re.MULTILINE), missing
        assert missing not in yaml.safe_load(text)
    assert "No host is free for a restore" in said
    assert f"{folder}/hosts.yml:" in said
    _count, code, told = validated(folder, PHYSICAL)
    assert code != 0
    assert "missing required arguments" in told


def test_what_is_there_is_never_overwritten(tmp_path, monkeypatch):
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "hosts.yml").write_text("mine")
    monkeypatch.setattr(detect, "by_ssh", lambda *_: pytest.fail("it looked before it refused"))
    assert "REFUSED" in init(folder, *HOSTS, code=4)
    assert [path.name for path in folder.iterdir()] == ["hosts.yml"]
    assert (folder / "hosts.yml").read_text() == "mine"


def test_nothing_is_left_behind_where_it_cannot_be_written(pair, tmp_path, monkeypatch):
    _primary, more = pair
    on_this_machine(monkeypatch, more)
    monkeypatch.setattr(write, "_scalar", lambda _: 1 / 0)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = RUN.invoke(cli.app, ["init", str(tmp_path / "orders"), "-s", "orders", *HOSTS, "--batch"])
    assert isinstance(done.exception, ZeroDivisionError)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_hosts_that_are_no_cluster_are_refused(pair, tmp_path, monkeypatch):
    _primary, more = pair
    on_this_machine(monkeypatch, more)
    folder = tmp_path / "orders"
    with PostgresServer() as other:
        laid_out(tmp_path / "10.0.0.13", other)
        assert "both take writes" in init(folder, *HOSTS, code=3)
        laid_out(tmp_path / "10.0.0.11", other, name="second")
        assert "serves one service" in init(folder, *HOSTS, code=3)
    assert "no host has a primary" in init(folder, "--ssh", "10.0.0.12", code=3).lower()
    assert not folder.exists()


def test_a_host_that_cannot_be_reached_is_named(tmp_path):
    said = init(tmp_path / "orders", "--ssh", "ops@127.0.0.1:1", "--ssh-args=-o StrictHostKeyChecking=no", code=3)
    assert "Connection refused" in said
    assert "Nothing was written" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ssh", "a", "-a", "colour=red"], "Nobody asks for colour"),
        (["--ssh", "a", "-a", "rto_s=an hour"], "rto_s is a number"),
        (["--ssh", "a@b@c"], "names no host"),
        ([], "--ssh for each, or by --url"),
        (["--ssh", "a", "--url", "postgresql://b"], "not by both"),
    ],
)
def test_wrong_use_is_said_in_a_sentence(words, says, tmp_path, monkeypatch):
    seen = {"name": "a", "system": "", "locales": [], "clusters": [], "pgbackrest": [], "unreadable": []}
    cluster = places.Cluster(17, 5432, "a", {}, {}, {}, {}, 1, [])
    monkeypatch.setattr(detect, "by_ssh", lambda asked, *_: dict.fromkeys(asked, seen))
    monkeypatch.setattr(places, "cluster", lambda _: cluster)
    done = RUN.invoke(cli.app, ["init", str(tmp_path / "x"), "-s", "orders", "--batch", *words])
    assert says in done.output
    assert done.exit_code in (2, 3)
    assert not (tmp_path / "x").exists()


def test_a_managed_database_is_found_by_its_url(tmp_path):
    stores = {name: value for name, value in GIVEN.items() if name.startswith(("store", "second"))}
    folder = tmp_path / "orders"
    with PostgresServer() as server:
        server.psql("CREATE DATABASE books")
        server.psql("CREATE ROLE clerk LOGIN")
        url = f"postgresql://clerk@127.0.0.1:{server.port}/books"
        said = init(folder, "--url", url, given=stores)
    assert "clerk may not read everything" in said
    assert "sslmode prefer" in said
    main = yaml.safe_load((folder / "group_vars/orders/main.yml").read_text())
    vault = yaml.safe_load((folder / "group_vars/orders/vault.yml").read_text().replace("!unsafe ", ""))
    assert (main["postgres_version"], len(main["dump_stores"])) == (server.version, 2)
    assert vault["vault_dump_url"] == url
    assert vault["vault_dump_signing_key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    assert (folder / "dumps.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
    assert url not in (folder / "group_vars/orders/main.yml").read_text()
    count, code, told = validated(folder, OF_DUMPS)
    assert (count > 5, code) == (True, 0), told
    assert "cannot be asked" in init(tmp_path / "other", "--url", url, given={}, code=3)


def test_the_jobs_that_recur_are_those_of_the_example(tmp_path):
    example = (HOUSE / "inventories/example/group_vars/all/schedules.yml").read_text()
    both = write.schedules("orders", physical=True, dumped=True, begins="2026-12-01", drilled=("orders-staging",))
    assert both == example


@pytest.mark.parametrize(
    ("physical", "among", "not_among"), [(True, "restore_test", "dump"), (False, "dump", "backup")]
)
def test_each_kind_of_service_has_its_own_jobs_and_no_drill_by_itself(tmp_path, physical, among, not_among):
    text = write.schedules("orders", physical=physical, dumped=not physical, begins="2026-12-01")
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "group_vars/all/schedules.yml").write_text(text)
    names = [job["name"] for job in schedule.load(str(tmp_path)).of("orders")]
    assert among in names
    assert not_among not in names
    assert "drill" not in names


def test_a_question_is_asked_only_when_it_matters_and_with_what_was_found():
    asked = []

    def ask(question, usual):
        asked.append((question.name, usual))
        return {"endpoint_name": ""}.get(question.name, usual or "x")

    said = questions.answers(questions.PHYSICAL, {"rto_s": "60"}, {"tls_ca": "/own/ca.crt"}, ask)
    names = [name for name, _usual in asked]
    assert "rto_s" not in names
    assert ("tls_ca", "/own/ca.crt") in asked
    assert not [name for name in names if name.startswith("endpoint_") and name != "endpoint_name"]
    assert said["endpoint_server"] is None


def test_an_answer_stays_as_it_was_written(tmp_path):
    """A secret of digits is no number, and one with a comma is one value also where braces are around it."""
    (tmp_path / "answers.yml").write_text("store_secret: 0123456\nstore_key: yes\nrto_s: 3600\n")
    assert cli_adopt._from_file(tmp_path / "answers.yml") == {
        "store_secret": "0123456", "store_key": "yes", "rto_s": "3600",
    }  # fmt: skip
    for text in ("a,b", "a]b", "{a}", "a: b", "#a", "~", "0123", "yes"):
        assert yaml.safe_load(f"{{key: {write._scalar(text)}, more: 1}}") == {"key": text, "more": 1}


@pytest.mark.parametrize("url", ["postgres//clerk:s3cret@db/x", "postgresql://clerk:s3cret%zz@db/x"])
def test_a_url_that_cannot_be_read_is_not_repeated(url, tmp_path):
    said = init(tmp_path / "x", "--url", url, given={}, code=3)
    assert "cannot be read" in said
    assert "s3cret" not in said


def test_hosts_are_read_as_people_write_them():
    assert places.parse("ops@db1.example.org:2222,region=paris") == Place("db1.example.org", "ops", 2222, "paris")
    assert places.parse("[2001:db8::1]") == Place("2001:db8::1")
    for wrong in ("", "a:b", "a,region=", "a b@c@d"):
        with pytest.raises(places.PlaceError, match="names no host"):
            places.parse(wrong)


def test_the_commands_of_the_guide_are_those_that_are_there(tmp_path, monkeypatch, pair):
    _primary, more = pair
    page = guide.blocks()
    answers = next(block.text for block in page if block.where == ("answers.yml",))
    (tmp_path / "answers.yml").write_text(answers)
    on_this_machine(monkeypatch, {f"192.0.2.1{number}": more[f"10.0.0.1{number}"] for number in (1, 2, 3)})
    lines = [line for block in page if block.kind == "sh" for line in block.text.splitlines()]
    command = next(line for line in lines if line.startswith("pgrescue init"))
    folder = tmp_path / "orders"
    words = [
        {"inventories/orders": str(folder), "answers.yml": str(tmp_path / "answers.yml")}.get(w, w)
        for w in command.split()
    ]
    done = RUN.invoke(cli.app, words[1:])
    assert done.exit_code == 0, done.output
    count, code, told = validated(folder, PHYSICAL)
    assert (count > 80, code) == (True, 0), told
    assert "FILL IN: fence_power_off" in (folder / "group_vars/orders/main.yml").read_text()
    verbs = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    verbs |= {group.name for group in cli.app.registered_groups}
    for line in lines:
        first = line.split()
        if first[0] == "pgrescue":
            assert first[1] in verbs, line
        for playbook in re.findall(r"playbooks/\w+\.yml", line):
            assert (HOUSE / playbook).exists(), line
    assert (HOUSE / "drills/hand_over.yml").exists()


def test_the_guide_says_the_restart_as_protect_does():
    core = collection("plugins.module_utils.adoption")
    one = {"version": 17, "config": "/etc/postgresql/17/main"}
    settings = {"data_directory": "/var/lib/postgresql/17/main", "archive_mode": "off"}
    said = [
        *core._before_a_restart(one, settings, "/var/lib/postgresql/17/current"),
        "sudo systemctl restart postgresql@17-main",
    ]
    assert [block.text.splitlines() for block in guide.blocks() if block.where == ("pg-b", "pg-a")] == [said]


def test_a_scenario_that_replaces_what_the_page_no_longer_has_stops():
    assert "10.81.0.71" in "".join(block.text for block in guide.blocks({"192.0.2.11": "10.81.0.71"}))
    with pytest.raises(LookupError, match="not there any more"):
        guide.blocks({"not there any more": "x"})
