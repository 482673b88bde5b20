"""Runbooks launched as AWX does it, on this machine: each job has nothing of another but the object store."""

import json
from contextlib import contextmanager

import awx_jobs
import pytest
import yaml
from modules import HOUSE
from object_store import ObjectStore
from pgrescue import journal
from pgrescue.core import approvals, awx, guards
from serving import Answers, served

PLAN = {"procedure": "gated", "service": "shop", "changes": ["a file is made"]}
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
ROLE = "pgrescue.runbooks.run"
APPROVAL = json.loads((HOUSE / "tests/golden/awx_workflow_approval.json").read_text())
NODES = json.loads((HOUSE / "tests/golden/awx_workflow_nodes.json").read_text())


def role(name, tasks_from):
    return {"name": name, "ansible.builtin.import_role": {"name": ROLE, "tasks_from": tasks_from}}


def gated(marker):
    """A runbook with a gate that changes one file, in the phases of a recovery."""
    run = "{{ lookup('ansible.builtin.env', 'PGRESCUE_RUN_DIR') }}"
    plan = {
        "name": "Plan", "when": "not (run_dir ~ '/plan.json') is ansible.builtin.exists",
        "ansible.builtin.copy": {
            "dest": f"{run}/plan.json", "mode": "0644",
            "content": "{{ shop_plan | combine({'run': run_name, 'made': made}) | to_json }}",
        },
        "vars": {
            "run_name": "{{ run_dir | basename }}", "run_dir": run, "shop_plan": PLAN,
            "made": "{{ now(utc=true).strftime('%Y-%m-%dT%H:%M:%SZ') }}",
        },
    }  # fmt: skip
    change = {"name": "Change", "ansible.builtin.copy": {"dest": str(marker), "content": "x", "mode": "0600"}}
    return [
        {
            "name": "1/2 Decide", "hosts": "shop", "gather_facts": False,
            "vars": {"phase": "decide", "run_procedure": "gated"},
            "tasks": [role("Begin", "begin"), plan, role("The gate", "require_approval")],
        },
        {
            "name": "2/2 Prepare", "hosts": "shop", "gather_facts": False, "vars": {"phase": "prepare"},
            "tasks": [role("Still held", "check_pause"), change],
        },
    ]  # fmt: skip


def inventory(store):
    """As AWX prints it: everything the groups say is said of the hosts already."""
    said = {
        "service_name": "shop",
        "service_gates": {"second_person": True},
        "record_stores": [store],
        "objectives": {"rto_s": 60, "rpo_s": 60, "phases": {}},
        "postgres_version": 17,
    }
    return {
        **{group: {"hosts": ["here"]} for group in ("shop", "witness", "postgres")},
        "all": {"hosts": ["localhost"]},
        "_meta": {"hostvars": {"here": {**LOCAL, **said}, "localhost": LOCAL}},
    }


@contextmanager
def awx_api(status="successful", name="bob", token="s3cr3t"):
    """What AWX says of workflow 17 and its approval, to who knows the token."""

    class Api(Answers):
        def do_GET(self):
            summary = {
                **APPROVAL["summary_fields"],
                "approved_or_denied_by": {"id": 3, "username": name} if name else {},
            }
            said = {
                "/api/v2/workflow_jobs/17/workflow_nodes/?page_size=200": NODES,
                "/api/v2/workflow_approvals/42/": {**APPROVAL, "status": status, "summary_fields": summary},
            }.get(self.path)
            known = self.headers["Authorization"] == f"Bearer {token}"
            self.send_response(401 if not known else 200 if said else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said if known else {"detail": "no"}).encode())

    with served(Api) as url:
        yield awx_jobs.Credential(env={"CONTROLLER_HOST": url, "CONTROLLER_OAUTH_TOKEN": token})


class Workflow:
    """The nodes of a gated workflow, each a job with its own directory, joined by artifacts and the store alone."""

    def __init__(self, folder, store):
        self.folder, self.store, self.count, self.artifacts = folder, store, 0, {}
        self.marker = folder / "changed"

    def job(self, playbook, *credentials, **more):
        self.count += 1
        folder = awx_jobs.prepare(
            self.folder / f"job{self.count}",
            inventory(self.store),
            {"service": "shop", **self.artifacts, **more},
            credentials,
            ident=str(self.count),
            workflow=17,
        )
        runbook = folder / "project/playbooks/gated.yml"
        runbook.write_text(yaml.safe_dump(gated(self.marker), sort_keys=False))
        done = awx_jobs.launch(folder, playbook, str(self.count))
        self.artifacts |= {key: done.artifacts()[key] for key in ("run_id",) if key in done.artifacts()}
        return done


@pytest.fixture
def workflow(tmp_path):
    with ObjectStore(tmp_path / "objects", bucket="evidence") as store:
        yield Workflow(tmp_path, store.place)


def test_an_approval_in_awx_opens_the_gate_of_the_very_run(workflow):
    plan = workflow.job("playbooks/gated.yml", confirm="shop")
    assert plan.rc == 2, "it ends at its gate"
    assert "wants a second person" in plan.output
    assert workflow.artifacts["run_id"].endswith("-shop-gated")
    with awx_api() as credential:
        recorded = workflow.job("playbooks/approve_in_awx.yml", credential)
    assert recorded.rc == 0, recorded.output
    assert "s3cr3t" not in recorded.output
    went_on = workflow.job("awx/go_on.yml", confirm="shop")
    assert went_on.rc == 0, went_on.output
    assert workflow.marker.exists()

    run = went_on.folder / "project/runs" / workflow.artifacts["run_id"]
    found, wrong = approvals.read(str(run))
    assert wrong == []
    assert {(one["by"], one["way"], one["verdict"]) for one in found} >= {("bob@awx", "approval", "approved")}
    assert "approval 42 of workflow job 17 in AWX" in {one["reason"] for one in found}
    events = journal.read(run / "timeline.jsonl").events
    assert {one.actor for one in events} == {"alice@awx"}, "whoever launched the workflow"


def test_a_no_in_awx_keeps_the_gate_shut(workflow):
    workflow.job("playbooks/gated.yml", confirm="shop")
    with awx_api(status="failed") as credential:
        assert workflow.job("playbooks/approve_in_awx.yml", credential).rc == 0
    refused = workflow.job("awx/go_on.yml", confirm="shop")
    assert refused.rc == 2
    assert "bob@awx said no" in refused.output
    assert not workflow.marker.exists()


def test_who_launched_the_workflow_is_no_second_person(workflow):
    workflow.job("playbooks/gated.yml", confirm="shop")
    with awx_api(name="alice") as credential:
        workflow.job("playbooks/approve_in_awx.yml", credential)
    refused = workflow.job("awx/go_on.yml", confirm="shop")
    assert (refused.rc, workflow.marker.exists()) == (2, False)
    assert "wants a second person" in refused.output


@pytest.mark.parametrize("said", [{"status": "pending"}, {"name": None}, {"status": "canceled"}])
def test_what_nobody_decided_becomes_no_record(said):
    approval = {**APPROVAL, "status": said.get("status", "successful")}
    if "name" not in said:
        approval["summary_fields"] = {**APPROVAL["summary_fields"], "approved_or_denied_by": {"username": "bob"}}
    with pytest.raises(guards.Stop, match="Nobody decided"):
        awx.verdict(approval, 17)


def test_an_approval_that_timed_out_is_nobodys_no():
    """AWX calls it failed, as one that was denied."""
    late = {
        **APPROVAL,
        "status": "failed",
        "timed_out": True,
        "summary_fields": {"approved_or_denied_by": {"username": "bob"}},
    }
    with pytest.raises(guards.Stop, match="Nobody decided"):
        awx.verdict(late, 17)
    with pytest.raises(guards.Stop, match="no approval at its node gate"):
        awx.approval_of([{"identifier": "plan", "summary_fields": {"job": {"type": "job", "id": 1}}}], "gate")


def harmless(tmp_path, said="print"):
    """A job of the house that changes nothing outside: a command that only looks, run on the controller."""
    credential = awx_jobs.Credential(
        files={"vault": "hunter2"}, env={"PGRESCUE_VAULT_PASSWORD_FILE": "{vault}"}, extra_vars={"told": "{vault}"}
    )
    hosts = {"all": {"hosts": ["localhost"]}, "_meta": {"hostvars": {"localhost": LOCAL}}}
    folder = awx_jobs.prepare(
        tmp_path / "job", hosts, {"service": "shop", "job": "findings_due", "schedule_inventory": "site"}, [credential]
    )
    jobs = folder / "project/site/group_vars/all"
    jobs.mkdir(parents=True)
    job = {
        "name": "findings_due",
        "says": "x",
        "every": "week",
        "weekday": "monday",
        "at": "08:00",
        "command": "findings list",
    }
    plan = {"schedule_begins": "2026-12-01", "schedule_time_zone": "UTC", "schedule_by": "awx", "schedule_jobs": [job]}
    (jobs / "schedules.yml").write_text(yaml.safe_dump(plan))
    return folder


def test_a_job_of_the_schedule_runs_as_awx_launches_it(tmp_path):
    done = awx_jobs.launch(harmless(tmp_path), "playbooks/run_job.yml")
    assert done.rc == 0, done.output
    tasks = [one["event_data"] for one in done.events() if one["event"] == "runner_on_ok"]
    assert [one["res"]["stdout"] for one in tasks if one["task"] == "Run the job"] == ["No finding is open."]
    assert "hunter2" not in done.output


def test_a_job_that_fails_is_seen_to_fail(tmp_path):
    folder = harmless(tmp_path)
    path = folder / "project/site/group_vars/all/schedules.yml"
    path.write_text(path.read_text().replace("findings list", "findings nonsense"))
    assert awx_jobs.launch(folder, "playbooks/run_job.yml").rc == 2


def test_a_job_goes_over_a_stream_to_another_directory(tmp_path):
    """transmit | worker | process, the mesh's own interface: the worker has nothing but what the stream brings."""
    folder = harmless(tmp_path)
    (tmp_path / "worker").mkdir()
    (tmp_path / "result").mkdir()
    done = awx_jobs.streamed(folder, "playbooks/run_job.yml", tmp_path / "worker", tmp_path / "result")
    assert done.returncode == 0, done.stderr
    job = awx_jobs.Job(tmp_path / "result", "1")
    assert job.rc == 0, job.output
    assert [one["event"] for one in job.events()][-1] == "playbook_on_stats"
    link = tmp_path / "worker/project/collections/ansible_collections/pgrescue/runbooks/roles"
    assert link.is_symlink() and (link / "run").is_dir(), "the collection's links came over"


def test_a_stream_whose_job_fails_says_so(tmp_path):
    folder = harmless(tmp_path)
    (folder / "env/extravars").write_text(
        json.dumps({"service": "shop", "job": "nothing", "schedule_inventory": "site"})
    )
    (tmp_path / "worker").mkdir()
    (tmp_path / "result").mkdir()
    awx_jobs.streamed(folder, "playbooks/run_job.yml", tmp_path / "worker", tmp_path / "result")
    assert awx_jobs.Job(tmp_path / "result", "1").rc == 2
