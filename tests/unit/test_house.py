"""The rules of the house that no linter knows."""

import ast
import os
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import ansible
import pytest
import yaml
from modules import collection

HOUSE = Path(__file__).parents[2]
ROLES = sorted(p for p in (HOUSE / "roles").iterdir() if p.is_dir())
PLAYBOOKS = sorted(p for p in (HOUSE / "playbooks").glob("*.yml") if ".meta." not in p.name)
RUNBOOK_YAML = [*PLAYBOOKS, *(HOUSE / "roles").glob("*/tasks/**/*.yml"), *(HOUSE / "roles").glob("*/handlers/*.yml")]
HANDED_OVER = {  # by playbooks and other roles
    "endpoint_address", "application_scale", "standby_primary", "standby_slot", "recovery_plan", "run_procedure",
    "run_id", "proof_state", "dump_proof_state", "dump_proof_read", "pgbackrest_mark",
    "fence_host", "pgbouncer_target_address", "patroni_left", "patroni_planned",
    "patroni_primary",
    "run_attempts_file", "fault_relation", "fault_table", "fault_command", "fault_slow_probe", "schedule_job",
}  # fmt: skip


def load(path):
    return yaml.safe_load(path.read_text()) or {}


def specs(role):
    return load(role / "meta/argument_specs.yml")["argument_specs"]


def test_galaxy_and_pypi_bring_the_same_collections():
    installed = Path(ansible.__file__).parents[1] / "ansible_collections"
    for wanted in load(HOUSE / "requirements.yml")["collections"]:
        namespace, name = wanted["name"].split(".")
        manifest = yaml.safe_load((installed / namespace / name / "MANIFEST.json").read_text())
        assert manifest["collection_info"]["version"] == wanted["version"], wanted["name"]


def test_every_collection_the_runbooks_name_is_pinned():
    pinned = {wanted["name"] for wanted in load(HOUSE / "requirements.yml")["collections"]} | {"ansible.builtin"}
    text = "\n".join(path.read_text() for path in RUNBOOK_YAML)
    used = {found.rsplit(".", 1)[0] for found in re.findall(r"^\s+(\w+\.\w+\.\w+):", text, flags=re.MULTILINE)}
    assert used - {"pgrescue.runbooks"} <= pinned


@pytest.mark.parametrize("role", ROLES, ids=lambda p: p.name)
def test_every_entry_point_declares_its_arguments(role):
    assert set(specs(role)) == {path.stem for path in (role / "tasks").glob("*.yml")}


@pytest.mark.parametrize("role", ROLES, ids=lambda p: p.name)
def test_no_default_is_required_and_each_is_declared_somewhere(role):
    defaults = set(load(role / "defaults/main.yml"))
    options = {name: option for entry in specs(role).values() for name, option in (entry.get("options") or {}).items()}
    required = {name for name, option in options.items() if option.get("required")}
    assert not defaults & required
    text = "\n".join(path.read_text() for path in [*RUNBOOK_YAML, *(HOUSE / "roles").glob("*/templates/*")])
    text += "\n".join(line.partition(":")[2] for line in (role / "defaults/main.yml").read_text().splitlines())
    internal = {name for name in defaults - set(options) if re.search(rf"\b{name}\b", text)}
    assert not defaults - set(options) - internal, "nobody reads it"


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda p: p.name)
def test_every_playbook_declares_its_arguments_and_names_its_plays(playbook):
    assert load(playbook.with_suffix(".meta.yml"))["argument_specs"][playbook.stem]["options"]["service"]["required"]
    assert all("{{" not in play["name"] for play in load(playbook))
    assert len(playbook.read_text().splitlines()) <= 100


def test_what_must_not_be_in_a_runbook():
    for path in RUNBOOK_YAML:
        text = path.read_text()
        for word in ("ignore_errors", "set_fact", "ansible.builtin.pause", "ansible.builtin.shell", "vars_prompt"):
            assert word not in text, f"{path}: {word}"


def test_a_census_on_disk_is_for_its_owner_alone():
    kept = [task for task in load(HOUSE / "roles/proof/tasks/decide.yml") if "census.json" in str(task)]
    assert [task["ansible.builtin.copy"]["mode"] for task in kept] == ["0600"]


def tasks_of(path):
    """Every task of a file, those of blocks included."""
    waiting = list(load(path) or [])
    while waiting:
        task = waiting.pop(0)
        yield task
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            waiting += task.get(part) or []


SECRET = re.compile(r"\b\w*(?:password|passphrase|secret|cipher_pass|signing_key|key_secret)\w*|\brepo\.key\b")


def written(role, task):
    """What a task writes into a file: its content, and the template or file it is made from."""
    for kind in ("template", "copy", "blockinfile", "lineinfile"):
        what = task.get(f"ansible.builtin.{kind}")
        if what:
            name = re.sub(r"{{.*?}}", "*", str(what.get("src", "")))
            sources = [path for room in ("templates", "files") for path in (role / room).glob(name)] if name else []
            # what is not a template is written as it is: names in a program are no values
            made = [path.read_text() for path in sources if kind == "template"]
            yield from re.findall(r"{{.*?}}|{%.*?%}", "\n".join([*made, yaml.safe_dump(what, width=9999)]), re.DOTALL)
            yield yaml.safe_dump(task.get("vars") or {}, width=9999)


@pytest.mark.parametrize("role", ROLES, ids=lambda p: p.name)
def test_what_writes_a_secret_shows_no_difference(role):
    """`--check --diff` would print it."""
    for path in (role / "tasks").rglob("*.yml"):
        for task in tasks_of(path):
            told = SECRET.search("\n".join(written(role, task)))
            hidden = task.get("diff") is False or task.get("no_log") is True
            assert not told or hidden, f"{path}: {task['name']} writes {told[0]}"


@pytest.mark.parametrize("role", ROLES, ids=lambda p: p.name)
def test_what_asks_a_server_names_its_port(role):
    """One that leaves it out asks whatever listens on 5432."""
    for path in (role / "tasks").rglob("*.yml"):
        for task in tasks_of(path):
            for name, said in task.items():
                if name.startswith("community.postgresql."):
                    assert "login_port" in said, f"{path}: {task['name']}"
                if name.startswith("pgrescue.runbooks.") and "port" in taken(name.rpartition(".")[2]):
                    # the socket of a server of our own has a folder of its own
                    assert {"port", "socket_directory", "url"} & set(said), f"{path}: {task['name']}"


LOOKS = ("observe", "guard", "mark")


def acts(path):
    """What an injector does, in order: `guard`, or `fault` where something is broken; files it imports are read."""
    for task in tasks_of(path):
        role = task.get("ansible.builtin.import_role") or {}
        if role.get("name") == "pgrescue.runbooks.fault":
            yield from ["guard"] if role["tasks_from"] == "guard" else acts(FAULTS / f"{role['tasks_from']}.yml")
        imported = task.get("ansible.builtin.import_tasks")
        if imported:
            yield from ["guard"] if imported == "guard.yml" else acts(path.parent / imported)
        if (task.get("vars") or {}).get("fault"):
            yield "fault"


FAULTS = HOUSE / "roles/fault/tasks"
INJECTORS = [*sorted((HOUSE / "lab/faults").glob("*.yml")), *sorted(FAULTS.glob("*.yml"))]


@pytest.mark.parametrize("path", [p for p in INJECTORS if p.stem not in LOOKS], ids=lambda p: p.stem)
def test_every_injector_of_faults_asks_first_whether_the_host_is_a_drill_target(path):
    done = list(acts(path))
    assert done[0] == "guard"
    assert done.count("fault") == 1, "it breaks nothing, or the record would hold two instants"
    asks = [task for task in tasks_of(FAULTS / "guard.yml") if "pgrescue.runbooks.drill_target" in task]
    assert len(asks) == 1


@pytest.mark.parametrize("path", sorted((HOUSE / "lab/faults").glob("*.yml")), ids=lambda p: p.stem)
def test_a_fault_from_elsewhere_than_the_guarded_hosts_asks_for_the_word_of_the_guard(path):
    """A guard whose play matched no host let everything pass."""
    guarded = None
    for play in load(path):
        for task in play["tasks"]:
            role = task.get("ansible.builtin.import_role") or {}
            if role.get("tasks_from") == "guard" or "guarded.yml" in task.get("ansible.builtin.import_tasks", ""):
                guarded = play["hosts"]
            if (task.get("vars") or {}).get("fault"):
                assert play["hosts"] == guarded


def test_an_injector_that_asks_nobody_would_be_seen(tmp_path):
    (tmp_path / "rogue.yml").write_text(
        "- name: Drop\n  ansible.builtin.command: {argv: [true]}\n  vars: {fault: true}\n"
    )
    assert list(acts(tmp_path / "rogue.yml")) == ["fault"]


def test_the_example_inventory_says_all_that_a_service_must():
    said = {name for path in (HOUSE / "inventories/example/group_vars").rglob("*.yml") for name in load(path)}
    required = {
        name
        for role in ROLES
        for entry in specs(role).values()
        for name, option in (entry.get("options") or {}).items()
        if option.get("required")
    }
    assert required - HANDED_OVER <= said


def test_the_key_that_the_docs_make_is_the_one_that_the_example_reads():
    read = re.search(r"inventory_dir ~ '/([^']+)'", (HOUSE / "inventories/example/group_vars/orders.yml").read_text())
    assert f"-pubout -out inventories/prod/{read[1]}\n" in (HOUSE / "docs/protection.md").read_text()


@pytest.mark.parametrize(
    "script", [*HOUSE.glob("bench/*.py"), *HOUSE.glob("tests/campaigns/*.py")], ids=lambda p: p.name
)
def test_every_bench_and_campaign_is_behind_a_make_target(script):
    assert f"python {script.relative_to(HOUSE)}" in (HOUSE / "Makefile").read_text()


def test_the_files_that_comments_name_are_there():
    """A pointer to what was renamed sends its reader nowhere."""
    named = re.compile(r"\b(?:tests|docs|bench|playbooks)/[\w/]+\.(?:py|md|yml)\b")
    texts = [
        HOUSE / "requirements.yml",
        HOUSE / "Makefile",
        *HOUSE.glob("*.md"),
        *HOUSE.glob("docs/*.md"),
        *RUNBOOK_YAML,
    ]
    texts += HOUSE.glob("plugins/**/*.py")
    gone = {
        f"{p.relative_to(HOUSE)}: {n}" for p in texts for n in named.findall(p.read_text()) if not (HOUSE / n).exists()
    }
    assert gone == set()


def test_the_exit_codes_are_where_the_guards_say_they_are():
    codes = {
        v for k, v in vars(collection("plugins.module_utils.guards")).items() if k.isupper() and isinstance(v, int)
    }
    table = (HOUSE / "docs/contracts.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    assert codes <= {int(found) for found in re.findall(r"^\| (\d) \|", table, re.MULTILINE)}


def test_a_fence_without_a_host_stops_the_runbook(tmp_path):
    """An empty group that is skipped would promote without a fence."""
    runbook = tmp_path / "runbook.yml"
    promote = {"name": "Promote", "ansible.builtin.copy": {"dest": f"{tmp_path}/promoted", "content": "x"}}
    plays = [
        {"name": "Fence", "hosts": "current_primary", "gather_facts": False, "tasks": []},
        {"name": "Promote", "hosts": "localhost", "gather_facts": False, "tasks": [promote]},
    ]
    runbook.write_text(yaml.safe_dump(plays))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(runbook)]
    for setting, ended in (({}, 1), ({"ANSIBLE_HOST_PATTERN_MISMATCH": "ignore"}, 0)):
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), **setting}
        env["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
        done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, (tmp_path / "promoted").exists()) == (ended, not ended), done.stdout + done.stderr


class Declared(Exception):  # noqa: N818 - it carries an answer
    """The arguments a module declares, thrown where it would begin to work."""


def declared(name, monkeypatch):
    loaded = collection(f"plugins.modules.{name}")

    def stop(argument_spec, **_):
        raise Declared(argument_spec)

    monkeypatch.setattr(loaded, "AnsibleModule", stop)
    with pytest.raises(Declared) as caught:
        loaded.main()
    return yaml.safe_load(loaded.DOCUMENTATION), caught.value.args[0]


def documented(text):
    """The options a module documents, those of its fragments included."""
    options = dict(text.get("options") or {})
    for fragment in text.get("extends_documentation_fragment", []):
        shared = collection(f"plugins.doc_fragments.{fragment.rpartition('.')[2]}").ModuleDocFragment
        options |= yaml.safe_load(shared.DOCUMENTATION)["options"]
    return options


def taken(name):
    """The names of the arguments that a module takes; none for one that is another collection's, run in our way."""
    if not (HOUSE / f"plugins/modules/{name}.py").exists():
        return set()
    return set(documented(yaml.safe_load(collection(f"plugins.modules.{name}").DOCUMENTATION)))


def shape(option):
    """What must be the same in the documentation and in the code."""
    nested = option.get("suboptions") or option.get("options") or {}
    facts = {key: option.get(key) for key in ("type", "elements", "default")}
    facts["choices"] = sorted(option.get("choices") or [])
    return {**facts, "required": bool(option.get("required")), "options": {k: shape(v) for k, v in nested.items()}}


RESERVED = {"unreachable", "skipped", "failed_when_result", "rc", "ansible_facts"}  # mean something to Ansible


@pytest.mark.parametrize("name", [p.stem for p in sorted((HOUSE / "plugins/modules").glob("*.py"))])
def test_a_module_returns_nothing_that_ansible_takes_for_its_own(name):
    text = (HOUSE / f"plugins/modules/{name}.py").read_text()
    assert not set(yaml.safe_load(collection(f"plugins.modules.{name}").RETURN) or {}) & RESERVED
    assert not re.search(rf"exit_json\([^)]*\b({'|'.join(RESERVED)})=", text)


@pytest.mark.parametrize("name", [p.stem for p in sorted((HOUSE / "plugins/modules").glob("*.py"))])
def test_a_module_documents_the_arguments_it_takes(name, monkeypatch):
    text, spec = declared(name, monkeypatch)
    assert text["module"] == name
    assert {k: shape(v) for k, v in documented(text).items()} == {k: shape(v) for k, v in spec.items()}


def test_what_a_page_links_to_is_there():
    for page in [*HOUSE.glob("*.md"), *HOUSE.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def delegated(tasks, to=None):
    """The modules of the collection that tasks run on the controller."""
    for task in tasks:
        where = task.get("delegate_to", "localhost" if task.get("hosts") == "localhost" else to)
        where = "localhost" if where == "{{ fence_power_on_host }}" else where  # unless the inventory says otherwise
        parts = [part for key in ("tasks", "block", "rescue", "always") for part in task.get(key, [])]
        yield from delegated(parts, where)
        if where == "localhost":
            yield from (key.rpartition(".")[2] for key in task if key.startswith("pgrescue.runbooks."))


def test_modules_that_run_on_the_controller_are_run_in_its_own_process():
    routed = load(HOUSE / "meta/runtime.yml")["plugin_routing"]["modules"]
    used = {name for path in [*RUNBOOK_YAML, *(HOUSE / "lab").rglob("*.yml")] for name in delegated(load(path) or [])}
    assert set(routed) == used & {path.stem for path in (HOUSE / "plugins/modules").glob("*.py")}


def test_a_module_on_the_controller_answers_and_refuses_as_elsewhere(tmp_path):
    ask = {"pgrescue.runbooks.check_pause": {"run_dir": str(tmp_path)}, "delegate_to": "localhost", "become": False}
    write = {"ansible.builtin.copy": {"dest": f"{tmp_path}/pause.json", "content": '{"by": "ada", "reason": "lunch"}'}}
    play = [{"hosts": "localhost", "gather_facts": False, "environment": {}, "tasks": [ask, write, ask]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-vvv", "-i", "lab,", f"{tmp_path}/play.yml"]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "ok=2" in done.stdout
    assert "ada paused the run: lunch." in done.stdout
    assert "AnsiballZ_check_pause" not in done.stdout, "it was run in a process of its own"
    assert '"exit_code": 9' in done.stdout


def test_no_files_of_the_command_need_each_other_in_a_circle():
    TopologicalSorter(imports(HOUSE / "python")).prepare()


def test_a_circle_is_found_wherever_the_import_stands(tmp_path):
    (tmp_path / "one.py").write_text("import two")
    (tmp_path / "two.py").write_text("def late():\n    from one import anything")
    with pytest.raises(CycleError):
        TopologicalSorter(imports(tmp_path)).prepare()


def imports(root):
    """What each module under a folder imports of the others there."""
    modules = {".".join(path.relative_to(root).with_suffix("").parts): path for path in root.rglob("*.py")}
    return {name: {other for other in named(path) if other in modules} for name, path in modules.items()}


def named(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_no_two_verbs_of_the_command_have_one_name():
    from pgrescue.cli import app

    names = [(command.name or command.callback.__name__).replace("_", "-") for command in app.registered_commands]
    assert len(names) == len(set(names)), sorted(names)
