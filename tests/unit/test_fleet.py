"""Many services at once: each is judged by its own hosts, sliced without a gap, and one summary says what is wrong."""

import json
import sys

import pytest
import yaml
from modules import collection
from pgrescue import cli, fleet
from postgres import PostgresServer, free_port
from typer.testing import CliRunner

WHOLE = collection("plugins.module_utils.wholeness")
REGIONS = {"a": "paris", "b": "milan", "c": "milan"}
PRIMARY, STANDBY = {"role": "primary", "settings": {"archive_mode": "on"}}, {"role": "standby", "streaming": True}


@pytest.mark.parametrize(
    ("states", "archiver", "state", "says"),
    [
        ({"a": PRIMARY, "b": STANDBY}, {}, "whole", []),
        ({"a": PRIMARY, "c": {"role": "spare"}}, {}, "degraded", ["0 of 1 standbys in milan"]),
        ({"a": PRIMARY, "b": STANDBY, "c": {}}, {}, "degraded", ["c could not be looked at"]),
        ({"a": PRIMARY, "b": {**STANDBY, "streaming": False}}, {}, "degraded", ["b streams from nobody"]),
        ({"a": PRIMARY, "b": PRIMARY, "c": STANDBY}, {}, "down", ["a and b both take writes"]),
        ({"b": STANDBY}, {}, "down", ["no primary is seen"]),
        (
            {"a": PRIMARY, "b": STANDBY},
            {"failing": True, "last_failed_wal": "01"},
            "degraded",
            ["WAL is not archived: 01"],
        ),
        ({"a": {**PRIMARY, "settings": {"archive_mode": "off"}}, "b": STANDBY}, {}, "degraded", ["a archives no WAL"]),
    ],
)
def test_a_service_is_whole_only_with_all_it_should_have(states, archiver, state, says):
    assert WHOLE.judge(states, REGIONS, {"milan": 1}, archiver) == {"state": state, "says": says}


@pytest.mark.parametrize("of", [1, 3, 7, 20])
def test_slices_have_every_service_once(of):
    names = [f"s{number}" for number in range(10)]
    slices = [fleet.sliced(names, f"{number}/{of}") for number in range(1, of + 1)]
    assert sorted(name for one in slices for name in one) == sorted(names)
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


@pytest.mark.parametrize("wrong", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_what_is_no_slice_is_refused(wrong):
    with pytest.raises(fleet.FleetError, match="is no slice"):
        fleet.sliced(["a"], wrong)


def inventory(folder, ports):
    here = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    hosts = {f"db-{name}": {**here, "postgres_port": port, "region": "here"} for name, port in ports.items()}
    services = {
        name: {
            "hosts": {f"db-{name}": None},
            "vars": {"service_name": name, "postgres_version": 15, "service_standbys": {"here": 0}},
        }
        for name in ports
    }
    groups = {**services, "postgres": {"hosts": dict.fromkeys(hosts)}}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": here, **hosts}, "children": groups}}))
    return str(path)


def test_one_command_says_which_of_many_services_is_not_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    settings = {"unix_socket_directories": "/var/run/postgresql", "archive_mode": "on", "archive_command": "/bin/true"}
    with PostgresServer(settings=settings) as server:
        path = inventory(tmp_path, {"well": server.port, "lost": free_port(), "third": server.port})
        done = CliRunner().invoke(cli.app, ["fleet", "-i", path])
        assert done.exit_code == 1, done.output
        lines = done.output.splitlines()
        assert lines[0].split()[:3] == ["!!", "lost", "down"], done.output
        assert "3 services" in lines[-1]
        assert "2 whole, 0 degraded, 1 down" in lines[-1]
        part = CliRunner().invoke(cli.app, ["fleet", "-i", path, "--slice", "2/3", "--json"])
        assert list(json.loads(part.output)) == ["third"]
        assert part.exit_code == 0
    assert CliRunner().invoke(cli.app, ["fleet", "-i", path, "--slice", "9"]).exit_code == 3
