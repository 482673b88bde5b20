"""awx/ as code: what it names is there, what it asks is an argument, what it applies modules take, and no secret."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import awx_api
import pytest
import yaml
from modules import HOUSE
from pgrescue.core import awx, schedules

AWX = HOUSE / "awx"
BIN = Path(sys.executable).parent
COLLECTIONS = HOUSE / ".cache/collections"  # tests/fetch_awx
MODULES = COLLECTIONS / "ansible_collections/awx/awx/plugins/modules"


class Loader(yaml.SafeLoader):
    """Knows Ansible's own tags."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(path):
    return yaml.load(path.read_text(), Loader)


SITE, JOBS, FLOWS = (load(AWX / f"{name}.yml") for name in ("site", "jobs", "workflows"))
SCHEDULES = load(HOUSE / "inventories/example/group_vars/all/schedules.yml")
TEMPLATES = {job["playbook"]: job for job in JOBS["awx_jobs"]}
TASKS = {path.stem: load(path) for path in sorted((AWX / "tasks").glob("*.yml"))}


def meta(playbook):
    return load(HOUSE / f"playbooks/{playbook}.meta.yml")


def options(playbook):
    return meta(playbook)["argument_specs"][playbook]["options"]


@pytest.mark.parametrize("playbook", TEMPLATES)
def test_every_job_template_names_a_playbook_and_asks_for_its_arguments_alone(playbook):
    assert (HOUSE / f"playbooks/{playbook}.yml").exists()
    given = set(TEMPLATES[playbook].get("given", {}))
    assert given <= set(options(playbook)), "an answer to no question"
    asked = awx.survey(meta(playbook), playbook, given)["spec"]
    assert {one["variable"] for one in asked} <= set(options(playbook)) - given
    assert {k for k, said in options(playbook).items() if said.get("required")} <= {
        one["variable"] for one in asked if one["required"]
    } | given
    for one in asked:
        assert one["type"] in ("text", "integer", "float", "multiplechoice")
        assert bool(one.get("choices")) == (one["type"] == "multiplechoice")


def test_an_argument_that_is_renamed_is_asked_for_by_its_new_name():
    said = copy.deepcopy(meta("verify"))
    spec = said["argument_specs"]["verify"]["options"]
    spec["wanted"] = spec.pop("run_id")
    assert {one["variable"] for one in awx.survey(said, "verify")["spec"]} == {"service", "wanted"}


def test_continuations_are_there():
    for one in JOBS["awx_continuations"]:
        assert (HOUSE / one["playbook"]).exists()


def test_every_runbook_that_asks_people_is_behind_an_approval():
    gated = {name for name in TEMPLATES if "confirm" in options(name)}
    assert gated == set(FLOWS["awx_gated"])


def test_the_nodes_of_a_gated_workflow_join():
    nodes = awx.nodes(FLOWS["awx_gate_nodes"], "complete_loss", "Recovery")
    there = {one["identifier"]: one for one in nodes}
    known = set(TEMPLATES) | {one["name"] for one in JOBS["awx_continuations"]}
    for one in nodes:
        works = one["unified_job_template"]
        assert (works["name"] in known) == (one["identifier"] != "gate")
        assert {to["identifier"] for way in one["related"].values() for to in way} <= set(there)
    approval = there["gate"]
    made = next(task for task in TASKS["workflows"] if "awx.awx.workflow_job_template_node" in task)
    assert made["awx.awx.workflow_job_template_node"]["identifier"] == "gate"
    yes = approval["related"]["success_nodes"][0]["identifier"]
    assert there[yes]["related"] == {"success_nodes": [{"identifier": "go_on"}]}, "it goes on behind a yes alone"
    ways = {name: [to["identifier"] for way in one["related"].values() for to in way] for name, one in there.items()}
    assert [name for name, to in ways.items() if "go_on" in to] == [yes]
    assert load(HOUSE / "roles/run/defaults/main.yml")["run_awx_node"] == "gate"


def test_an_approval_node_waits_no_longer_than_a_plan_counts():
    policy = (HOUSE / "roles/run/defaults/main.yml").read_text()
    assert FLOWS["awx_approval_min"] * 60 <= int(re.search(r"'plan_expires_s': (\d+)", policy)[1])
    assert FLOWS["awx_approval_min"] * 60 <= int(re.search(r"'expires_s': (\d+)", policy)[1])


def rendered():
    return schedules.awx_schedules(
        SCHEDULES["schedule_jobs"], "orders", "UTC", SCHEDULES["schedule_begins"], SITE["awx_inventory"]
    )


def test_every_schedule_launches_a_template_with_arguments_it_has():
    for one in rendered():
        assert one["playbook"] in TEMPLATES, one["name"]
        assert set(one["variables"]) <= set(options(one["playbook"])), one["name"]
        assert awx_api.rule_problems(one["rrule"]) == []
    assert {one["variables"]["job"] for one in rendered() if one["playbook"] == "run_job"} <= {
        job["name"] for job in SCHEDULES["schedule_jobs"]
    }


def test_what_spares_blocked_days_is_launched_by_what_knows_them():
    job = next(one for one in SCHEDULES["schedule_jobs"] if one["name"] == "restore_test")
    for spares, launched in ((False, "prove"), (True, "run_job")):
        (one,) = schedules.awx_schedules(
            [{**job, "spares_blocked_days": spares}], "orders", "UTC", SCHEDULES["schedule_begins"], "inventories/prod"
        )
        assert one["playbook"] == launched
        assert ("job" in one["variables"]) == spares


@pytest.mark.parametrize(
    "rule",
    [
        "DTSTART:20261201T020000 RRULE:FREQ=DAILY;INTERVAL=1",
        "DTSTART:20261201T020000Z RRULE:FREQ=DAILY",
        "DTSTART:20261201T020000Z RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=1MO",
        "RRULE:FREQ=DAILY;INTERVAL=1",
        "DTSTART:20261201T020000Z RRULE:FREQ=DAILY;INTERVAL=1 EXDATE:20261224T020000Z",
    ],
)
def test_what_awx_refuses_of_a_rule_is_known(rule):
    assert awx_api.rule_problems(rule) != []


def strings(value, key=""):
    """Every string with the key it stands under."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)
    elif isinstance(value, str):
        yield key, value


SECRET = re.compile(r"password|secret$|token|private_key|key_data|passphrase", re.IGNORECASE)


def secrets(document):
    """What looks like a secret's value: under a name of one, and neither a template nor a place in a secret store."""
    for key, value in strings(document):
        if re.search("BEGIN .*PRIVATE", value) or value.startswith("$ANSIBLE_VAULT"):
            yield key, value
        if SECRET.search(key) and "{{" not in value:
            yield key, value


def test_no_secret_is_in_awx():
    for path in AWX.rglob("*.yml"):
        assert list(secrets(load(path))) == [], path.name
    kinds = {one["name"]: one for one in SITE["awx_credential_types"]}
    for one in SITE["awx_credentials"]:
        hidden = {
            f["id"]
            for f in kinds.get(one["credential_type"], {"inputs": {"fields": []}})["inputs"]["fields"]
            if f.get("secret")
        }
        assert not hidden & set(one["inputs"])
        assert hidden <= set(one["secrets"])
        for place in one["secrets"].values():
            assert set(place) == {"secret_path", "secret_key"}


def test_a_secret_would_be_found():
    site = copy.deepcopy(SITE)
    site["awx_credentials"][0]["inputs"]["password"] = "hunter2"
    site["awx_notifications"][0]["notification_configuration"]["headers"] = {"token": "abc"}
    site["awx_project"]["name"] = "-----BEGIN OPENSSH PRIVATE KEY-----"
    assert [key for key, _ in secrets(site)] == ["name", "password", "token"]


def documented(module):
    """The options that a module of awx.awx documents."""
    text = (MODULES / f"{module}.py").read_text()
    return yaml.safe_load(re.search(r"DOCUMENTATION = '''(.*?)'''", text, re.DOTALL)[1])["options"]


def unknown(said, known, where):
    """Keys that are no option, in options of options too, and required ones that are left out."""
    names = {name for key, option in known.items() for name in (key, *option.get("aliases", []))}
    found = [f"{where}.{key}" for key in said if key not in names]
    found += [
        f"{where}.{key} is left out" for key, option in known.items() if option.get("required") and key not in said
    ]
    for key, value in said.items():
        option = known.get(key, {})
        if option.get("choices") and isinstance(value, str) and "{{" not in value and value not in option["choices"]:
            found.append(f"{where}.{key}={value}")
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict) and option.get("suboptions"):
                found += unknown(inner, option["suboptions"], f"{where}.{key}")
    return found


def calls():
    for name, tasks in TASKS.items():
        for task in tasks:
            module = next(key for key in task if "." in key)
            yield pytest.param(module.rpartition(".")[2], task[module], id=f"{name}: {task['name']}")


@pytest.mark.parametrize(("module", "said"), list(calls()))
def test_the_modules_take_what_they_are_given(module, said):
    assert unknown(said, documented(module), module) == []


def test_the_nodes_are_such_as_the_module_takes():
    nodes = awx.nodes(FLOWS["awx_gate_nodes"], "failover", "Recovery")
    assert unknown({"name": "x", "workflow_nodes": nodes}, documented("workflow_job_template"), "workflow") == []
    nodes[0]["related"]["sucess_nodes"] = []
    del nodes[1]["identifier"]
    wrong = unknown({"name": "x", "workflow_nodes": nodes}, documented("workflow_job_template"), "workflow")
    assert wrong == ["workflow.workflow_nodes.related.sucess_nodes", "workflow.workflow_nodes.identifier is left out"]


def test_the_collection_is_the_one_that_is_pinned():
    wanted = load(AWX / "requirements.yml")["collections"]
    manifest = json.loads((MODULES.parents[1] / "MANIFEST.json").read_text())["collection_info"]
    assert wanted == [{"name": "awx.awx", "version": manifest["version"]}]


def apply(env, *more):
    command = [str(BIN / "ansible-playbook"), "awx/configure.yml", "-i", "inventories/example", *more]
    paths = f"{HOUSE / 'collections'}:{COLLECTIONS}"
    return subprocess.run(
        command, cwd=HOUSE, capture_output=True, text=True, check=False,
        env={**os.environ, **env, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": paths,
             "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "False"},
    )  # fmt: skip


def changed(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"changed=(\d+)", done.stdout)[1])


SOME = {  # one of each kind, for each object is a request or three
    "awx_jobs": [{**TEMPLATES[name], "credentials": []} for name in ("lint", "run_job", "failover", "approve_in_awx")],
    "awx_credentials": [one for one in SITE["awx_credentials"] if one["name"] == "pgrescue controller"],
    "awx_job_credentials": ["pgrescue controller"],
    "awx_gated": ["failover"],
    "schedule_jobs": [
        one for one in SCHEDULES["schedule_jobs"] if one["name"] in ("backup", "age_check", "findings_due")
    ],
}


def test_what_is_applied_twice_changes_nothing_the_second_time(tmp_path):
    """By awx.awx's own modules, against a stand-in for the API: the real one cannot be had as a package."""
    (tmp_path / "some.yml").write_text(yaml.safe_dump(SOME))
    some = ("-e", f"@{tmp_path}/some.yml")
    with awx_api.running() as (store, env):
        assert changed(apply(env, *some)) > 0
        names = {room: {one["name"] for one in store.all(room)} for room in ("job_templates", "workflow_job_templates")}
        assert names["job_templates"] == {"lint", "run_job", "failover", "approve_in_awx", "go on"}
        assert names["workflow_job_templates"] == {"failover with approval"}
        assert len(store.all("workflow_approval_templates")) == 1
        made = {one["name"]: one for one in store.all("schedules")}
        assert set(made) == {"pgrescue orders age_check", "pgrescue orders findings_due"}
        assert {one["enabled"] for one in made.values()} == {False}, "systemd starts them here"
        assert changed(apply(env, *some)) == 0

        store.make("schedules", {**made["pgrescue orders age_check"], "name": "pgrescue orders old"})
        others = ("somebody else's", "pgrescue billing age_check")  # the second is of another inventory
        for other in others:
            store.make("schedules", {**made["pgrescue orders age_check"], "name": other})
        assert changed(apply(env, *some, "-e", "schedule_by=awx")) == 2, "tasks: some are enabled, one is removed"
        there = {one["name"]: one["enabled"] for one in store.all("schedules")}
        assert there == {**dict.fromkeys(made, True), **dict.fromkeys(others, False)}


EE = load(AWX / "execution-environment.yml")
LOCK = dict(line.lower().split("==") for line in (HOUSE / "python/constraints.txt").read_text().split())
WANTED = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["dependencies"]
NOT_IN_IT = {"ansible", "ansible-runner"}  # its collections are requirements.yml's; the runner is named by itself


def locked(names):
    """The project's own dependencies as the lock has them."""
    for wanted in names:
        name = re.match(r"[\w-]+(\[\w+\])?", wanted)[0]
        plain = name.partition("[")[0].lower()
        if plain not in NOT_IN_IT:
            yield f"{name.lower()}=={LOCK[plain]}"


def test_the_execution_environment_holds_what_is_locked():
    parts = EE["dependencies"]
    assert parts["python"] == sorted(locked(WANTED))
    assert parts["ansible_core"]["package_pip"] == f"ansible-core=={LOCK['ansible-core']}"
    assert parts["ansible_runner"]["package_pip"] == f"ansible-runner=={LOCK['ansible-runner']}"
    assert (AWX / parts["galaxy"]).resolve() == HOUSE / "requirements.yml"
    assert any(one["src"] == "../python/constraints.txt" for one in EE["additional_build_files"])
    older = [*parts["python"][1:], "boto3==1.0"]
    assert older != sorted(locked(WANTED)), "another version would be seen"


def test_ansible_builder_makes_its_context(tmp_path):
    """The context alone: no image is built here."""
    program = shutil.which("ansible-builder", path=f"{BIN}:{os.environ['PATH']}")
    command = [program, "create", "-f", str(AWX / "execution-environment.yml"), "-c", str(tmp_path / "context")]
    subprocess.run(command, cwd=HOUSE, check=True, capture_output=True)
    build = tmp_path / "context/_build"
    assert yaml.safe_load((build / "requirements.yml").read_text()) == yaml.safe_load(
        (HOUSE / "requirements.yml").read_text()
    )
    assert (build / "requirements.txt").read_text().split() == sorted(locked(WANTED))
    assert (build / "lock/constraints.txt").read_bytes() == (HOUSE / "python/constraints.txt").read_bytes()
    steps = (tmp_path / "context/Containerfile").read_text()
    assert steps.index("ENV PIP_CONSTRAINT=/etc/pgrescue-constraints.txt") < steps.index("$PYCMD -m pip install")
    assert 'ANSIBLE_INSTALL_REFS="ansible-core==' in steps
