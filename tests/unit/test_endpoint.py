"""The service's name: moved, verified and put back, by a real name server and by Route 53 as moto plays it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from aws import KEY as AWS_KEY
from aws import SECRET, served
from modules import HOUSE, collection, module, refused
from name_servers import ADDRESS, KEY, ZONE, authoritative, caching

NAME = f"orders-db.{ZONE}"
OLD, NEW, OTHER = "192.0.2.11", "192.0.2.13", "192.0.2.66"
endpoints = collection("plugins.module_utils.endpoints")


@pytest.fixture
def run_dir(tmp_path):
    """The directory of a run that has validated its target."""
    folder = tmp_path / "runs" / "20261124T012050Z-orders-complete_loss"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"target_address": NEW}))
    (folder / "checks.json").write_text(json.dumps([{"name": "it is alive", "tier": "must", "verdict": "passed"}]))
    return folder


@pytest.fixture
def role(tmp_path, run_dir):
    """Runs an entry point of the role as a playbook does; exit code and output."""

    def run(entry, *more, **variables):
        hosts = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        task = {
            "name": entry,
            "ansible.builtin.import_role": {"name": "pgrescue.runbooks.endpoint", "tasks_from": entry},
        }
        play = {"name": "Endpoint", "hosts": "localhost", "gather_facts": False, "vars": {"phase": "resume"}}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": [task]}]))
        known = {"service": "orders", "endpoint_name": NAME, "endpoint_address": NEW, "run_dir": str(run_dir)}
        known["endpoint_undone_dir"] = str(run_dir)
        (tmp_path / "vars.yml").write_text(yaml.safe_dump({**known, **variables}))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "hosts.yml")]
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(tmp_path / "runs")}
        env |= {"PGRESCUE_RUN_ID": run_dir.name}
        asked = [*command, "-e", f"@{tmp_path}/vars.yml", *more, str(tmp_path / "play.yml")]
        done = subprocess.run(asked, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def knot():
    with authoritative(f"orders-db 2 A {OLD}") as server:
        yield server


def by_updates(server, **more):
    key = {f"endpoint_key_{name}": value for name, value in KEY.items()}
    return {"endpoint_zone": ZONE, "endpoint_server": ADDRESS, "endpoint_port": server.port, **key, **more}


def milestones(run_dir):
    lines = [json.loads(line) for line in (run_dir / "timeline.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["event"] == "milestone"]


def test_the_name_is_moved_verified_and_put_back_to_the_letter(role, run_dir, knot):
    with caching(knot) as resolver:
        assert resolver.ask(NAME) == [(2, [OLD])]  # kept from now on
        how = by_updates(knot, endpoint_resolvers=[knot.place, resolver.place])
        code, said = role("switch", **how)
        assert (code, knot.ask(NAME)) == (0, [(5, [NEW])]), said
        assert json.loads((run_dir / "endpoint.json").read_text()) == {
            "name": NAME, "provider": "rfc2136", "type": "A", "ttl": 2, "values": [OLD],
            "published": {"ttl": 5, "values": [NEW]},
        }  # fmt: skip
        code, said = role("verify", **how)
        assert (code, resolver.ask(NAME)[0][1]) == (0, [NEW]), said
        assert "may keep the old answer for 2 s" in (run_dir / "timeline.jsonl").read_text()
        # gone on with after a kill: what was there before is still known
        code, said = role("switch", **how)
        assert (code, re.search(r"changed=(\d+)", said)[1]) == (0, "0"), said
        assert json.loads((run_dir / "endpoint.json").read_text())["values"] == [OLD]
        code, said = role("restore", **how)
        assert (code, knot.ask(NAME)) == (0, [(2, [OLD])]), said
        assert milestones(run_dir) == ["endpoint_switched"] * 3


def test_what_has_not_been_validated_is_not_published_and_nothing_is_kept(role, run_dir, knot):
    code, said = role("switch", **by_updates(knot, endpoint_address=OTHER))
    assert (code, knot.ask(NAME)) == (2, [(2, [OLD])])
    assert f"not {OTHER}. The endpoint was not changed." in said
    assert not (run_dir / "endpoint.json").exists()


def test_check_mode_moves_and_keeps_nothing(role, run_dir, knot):
    code, said = role("switch", "--check", **by_updates(knot))
    assert (code, knot.ask(NAME), (run_dir / "endpoint.json").exists()) == (0, [(2, [OLD])], False), said
    assert re.search(r"changed=2", said), said


def test_a_name_that_was_not_there_is_removed_again(role, knot):
    how = by_updates(knot, endpoint_name=f"fresh.{ZONE}")
    assert role("switch", **how)[0] == 0
    assert knot.ask(f"fresh.{ZONE}") == [(5, [NEW])]
    code, said = role("restore", **how)
    assert (code, knot.ask(f"fresh.{ZONE}")) == (0, []), said


def test_what_somebody_else_has_published_is_left_alone(role, run_dir, knot):
    assert role("switch", **by_updates(knot))[0] == 0
    assert role("publish", **by_updates(knot, endpoint_address=OTHER))[0] == 0
    code, said = role("restore", **by_updates(knot))
    assert (code, knot.ask(NAME)) == (2, [(5, [OTHER])])
    assert f"points at {OTHER}: neither at {NEW}" in said
    assert '"exit_code": 9' in said or "exit_code: 9" in said


def test_a_run_that_kept_nothing_puts_nothing_back(role, knot):
    code, said = role("restore", **by_updates(knot))
    assert (code, knot.ask(NAME)) == (2, [(2, [OLD])])
    assert "has kept nothing of the endpoint" in said


def test_a_name_server_that_is_down_stops_the_switch_before_anything_is_kept(role, run_dir, knot):
    with authoritative() as gone:
        pass
    code, said = role("switch", **by_updates(gone))
    assert code == 2
    assert "does not say what orders-db.example.org is" in said
    assert not (run_dir / "endpoint.json").exists()


def verify(*servers, **more):
    return module("endpoint_answers")(name=NAME, servers=list(servers), expect=[NEW], **more)


def test_the_resolver_that_still_gives_the_old_address_is_named():
    with authoritative(f"orders-db A {NEW}") as new, authoritative(f"orders-db 60 A {OLD}") as old:
        answer = verify(new.place, old.place, patience_s=1)
        assert refused(answer, 5, f"{old.place} ({OLD}) still give(s) another answer")
        assert new.place not in answer["msg"]
        assert f"still given by {old.place} ({OLD}, 60 s more)" in answer["journal"][0]["detail"]
        assert verify(new.place)["record"]["values"] == [NEW]
        # in check mode nothing was switched, so nothing is expected
        assert verify(old.place, check=True)["record"] == {"type": "A", "ttl": 60, "values": [OLD]}


def test_a_silent_resolver_is_named_and_serves_nobody_the_old_address():
    with authoritative(f"orders-db A {NEW}") as new, authoritative() as gone:
        dead = gone.place
    with authoritative(f"orders-db A {NEW}") as new:
        answer = verify(new.place, dead, patience_s=1)
        assert not answer.get("failed")
        assert f"{dead} could not be asked" in answer["journal"][1]["detail"]
    assert refused(verify(dead, patience_s=1), 3, "Nobody could be asked", dead)


def test_a_server_that_refuses_is_no_answer():
    with authoritative() as server:
        answer = module("endpoint_answers")(name="elsewhere.test", servers=[server.place], recursive=False)
        assert refused(answer, 3, "REFUSED")


def test_a_run_is_bound_to_one_switch(run_dir):
    arguments = {"run_dir": str(run_dir), "name": NAME, "provider": "rfc2136", "ttl": 5}
    now = {"type": "A", "ttl": 2, "values": [OLD]}
    assert module("save_endpoint")(**arguments, now=now, address=NEW)["changed"]
    assert not module("save_endpoint")(**arguments, now={}, address=NEW)["changed"]
    assert refused(module("save_endpoint")(**arguments, now=now, address=OTHER), 4, "Begin a new run")
    other = module("endpoint_inverse")(run_dir=str(run_dir), name="x.example.org", now=now)
    assert refused(other, 4, "not x.example.org")
    assert module("endpoint_inverse")(run_dir=str(run_dir), name=NAME, now=now)["inverse"] == now


def test_values_are_the_same_in_any_order_and_with_or_without_the_last_dot():
    assert endpoints.same(["b.example.", "A.example"], ["a.example.", "B.example"])
    assert not endpoints.same([OLD], [OLD, NEW])


@pytest.fixture
def route53():
    """A hosted zone with the name in it, and what the role must be told to reach it."""
    with served() as aws:
        client = boto3.client(
            "route53",
            endpoint_url=aws.url,
            region_name="us-east-1",
            aws_access_key_id=AWS_KEY,
            aws_secret_access_key=SECRET,
        )
        zone = client.create_hosted_zone(Name=ZONE, CallerReference="1")["HostedZone"]["Id"].rpartition("/")[2]
        records = {"Name": NAME, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": OLD}, {"Value": "192.0.2.12"}]}
        changes = [{"Action": "CREATE", "ResourceRecordSet": records}]
        client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
        how = {"endpoint_provider": "route53", "endpoint_hosted_zone": zone, "endpoint_aws_url": aws.url}
        yield client, zone, {**how, "endpoint_aws_key": AWS_KEY, "endpoint_aws_secret": SECRET}


def published(client, zone, name=NAME):
    sets = client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return [(s["TTL"], sorted(r["Value"] for r in s["ResourceRecords"])) for s in sets if s["Name"] == name + "."]


def test_route53_keeps_the_same_contract(role, run_dir, route53, caplog):
    client, zone, how = route53
    before = published(client, zone)
    code, said = role("switch", "--check", **how)
    assert (code, published(client, zone)) == (0, before), said
    code, said = role("switch", **how)
    assert (code, published(client, zone)) == (0, [(5, [NEW])]), said
    assert "GET /2013-04-01/change/" in caplog.text  # asked whether the change is INSYNC
    kept = json.loads((run_dir / "endpoint.json").read_text())
    assert (kept["provider"], kept["ttl"], kept["values"]) == ("route53", 60, [OLD, "192.0.2.12"])
    code, said = role("restore", **how)
    assert (code, published(client, zone)) == (0, before), said
    assert milestones(run_dir) == ["endpoint_switched"] * 2
    role("publish", **{**how, "endpoint_address": OTHER})
    code, said = role("restore", **how)
    assert (code, published(client, zone)) == (2, [(5, [OTHER])]), said


def test_an_alias_of_route53_is_refused(role, run_dir, route53):
    client, zone, how = route53
    target = {"HostedZoneId": zone, "DNSName": NAME, "EvaluateTargetHealth": False}
    alias = {"Name": f"alias.{ZONE}", "Type": "A", "AliasTarget": target}
    changes = [{"Action": "CREATE", "ResourceRecordSet": alias}]
    client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    code, said = role("switch", **how, endpoint_name=f"alias.{ZONE}")
    assert code == 2
    assert "is an alias of Route 53" in said
    assert not (run_dir / "endpoint.json").exists()
