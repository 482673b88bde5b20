"""`pgrescue init`: look at a cluster that is there, ask for what no look can tell, write an inventory."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pgrescue.adopt import detect, places, questions, write
from pgrescue.adopt.places import Host, Place
from pgrescue.adopt.questions import Question
from pgrescue.human import size
from pgrescue.options import refuse, variables

_HOST = "USER@HOST[:PORT][,region=NAME]"
Hosts = list[str]
_PRECONDITION, _REFUSED, _USAGE = 3, 4, 2


def init(
    directory: Annotated[Path, typer.Argument(help="Where the inventory goes; a folder that is not there yet.")],
    service: Annotated[str, typer.Option("--service", "-s", help="What to call the service: letters, digits, _.")],
    ssh: Annotated[Hosts | None, typer.Option(help=f"A host of its database, {_HOST}; for each of them.")] = None,
    spare: Annotated[Hosts | None, typer.Option(help="A Debian host without a cluster, for restores.")] = None,
    witness: Annotated[Hosts | None, typer.Option(help="A host outside the database's, where clients stand.")] = None,
    application: Annotated[Hosts | None, typer.Option(help="A host of its application.")] = None,
    url: Annotated[str | None, typer.Option(envvar="PGRESCUE_URL", help=(
        "A managed database, postgresql://...: dumps only. In PGRESCUE_URL no list of processes shows it."))] = None,
    dump_on: Annotated[str, typer.Option(help="The host that takes its dumps.")] = "localhost",
    answer: Annotated[Hosts | None, typer.Option("--answer", "-a", help="NAME=VALUE (docs/adopt.md).")] = None,
    answers: Annotated[Path | None, typer.Option(help="A YAML file of answers, for what is secret.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Ask nothing; leave open what is not known.")] = False,
    ssh_key: Annotated[Path | None, typer.Option(help="The private key to log in with.")] = None,
    ssh_args: Annotated[str, typer.Option(help="More arguments for ssh.")] = "",
) -> None:  # fmt: skip
    """Write an inventory for a cluster that is there already. Looks at its hosts, changes nothing there."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", service):
        refuse(f"{service} cannot be the name of a group: small letters, digits, _. Nothing was written.", _USAGE)
    if bool(ssh) == bool(url):
        refuse(
            "A cluster is named by its hosts, --ssh for each, or by --url, not by both. Nothing was written.", _USAGE
        )
    given = {**_from_file(answers), **variables(answer)}
    common: dict[str, Any] = {"ansible_ssh_private_key_file": str(ssh_key.absolute())} if ssh_key else {}
    common |= {"ansible_ssh_common_args": ssh_args} if ssh_args else {}
    ask = None if batch or not sys.stdin.isatty() else _asked
    try:
        write.refuse_existing(directory)
        if url:
            _managed(directory, service, url, dump_on, given, ask, common)
        else:
            other = {"spare": spare or [], "witness": witness or [], "application": application or []}
            _physical(directory, service, ssh or [], other, given, ask, common)
    except (places.PlaceError, detect.DetectError) as error:
        refuse(f"{error} Nothing was written.", _PRECONDITION)
    except questions.AnswerError as error:
        refuse(f"{error} Nothing was written.", _USAGE)
    except write.ExistsError as error:
        refuse(str(error), _REFUSED)


def _physical(
    directory: Path,
    service: str,
    ssh: Iterable[str],
    other: Mapping[str, Iterable[str]],
    given: Mapping[str, str],
    ask: Callable[[Question, str | None], str] | None,
    common: Mapping[str, Any],
) -> None:
    groups = {"postgres": list(ssh), **{name: list(those) for name, those in other.items()}}
    every: dict[str, Place] = {}  # a host may be in more than one group; it is looked at once
    members: dict[str, list[str]] = {}
    for group, texts in groups.items():
        for text in texts:
            place = places.parse(text)
            every.setdefault(f"{place.host}:{place.port or ''}", place)
            members.setdefault(group, []).append(f"{place.host}:{place.port or ''}")
    keys = {f"host{number}": key for number, key in enumerate(every)}
    seen = detect.by_ssh({name: every[key] for name, key in keys.items()}, service, common)
    hosts = places.named(every, {key: seen[name] for name, key in keys.items()})
    by_key = dict(zip(every, hosts.values(), strict=True))

    def of(group: str) -> dict[str, Host]:
        return {by_key[key].name: by_key[key] for key in members.get(group, [])}

    cluster = places.cluster({**of("postgres"), **of("spare")})
    for name, host in cluster.hosts.items():
        for one in [one for one in host.seen["clusters"] if one["running"]]:
            what = f"PostgreSQL {one['server_version']}, {one['role']}, {size(one['data_bytes'])}"
            typer.echo(f"{name}: {what}, {host.seen['system']}")
    said = questions.answers(questions.PHYSICAL, given, {**cluster.tls, **_guessed(given)}, ask)
    write.physical(
        directory, service, cluster, {name: of(name) for name in other}, said, _by_name(questions.PHYSICAL), common
    )
    _next(directory, service, cluster.notes, physical=True, spare=bool(of("spare")))


def _managed(
    directory: Path,
    service: str,
    url: str,
    dump_on: str,
    given: Mapping[str, str],
    ask: Callable[[Question, str | None], str] | None,
    common: Mapping[str, Any],
) -> None:
    found = detect.by_url(url)
    typer.echo(f"PostgreSQL {found['version']}, {size(found['data_bytes'])}: {', '.join(found['databases'])}")
    place = places.parse(dump_on)
    region = {"region": place.region}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    host = (
        ("localhost", {**local, **region})
        if place.host == "localhost"
        else (place.host, {**place.variables(), **region})
    )
    said = questions.answers(questions.DUMPS, given, {}, ask)
    notes = []
    if not found["reads_all"]:
        notes.append(
            f"{found['account']} may not read everything: GRANT pg_read_all_data TO {found['account']}; (as its owner)"
        )
    if found["sslmode"] != "verify-full":
        notes.append(
            f"The URL has sslmode {found['sslmode']}: whoever is between could read the dump. Use sslmode=verify-full."
        )
    write.dumps(directory, service, url, found, host, said, _by_name(questions.DUMPS), common)
    _next(directory, service, notes, physical=False, spare=True)


def _guessed(given: Mapping[str, str]) -> dict[str, str | None]:
    """The zone is most often what follows the first dot."""
    return {"endpoint_zone": given.get("endpoint_name", "").partition(".")[2] or None}


def _by_name(asked: Iterable[Question]) -> dict[str, Question]:
    return {one.name: one for one in asked}


def _asked(question: Question, usual: str | None) -> str:
    return str(
        typer.prompt(question.asks, default=usual or "", hide_input=question.secret, show_default=not question.secret)
    )


def _from_file(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        # every answer as it is written: to YAML the secret 0123 is a number
        read = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - it makes text alone
    except (OSError, yaml.YAMLError) as error:
        refuse(f"{path} cannot be read: {error}. Nothing was written.", _USAGE)
    if not isinstance(read, dict):
        refuse(f"{path} is no YAML mapping of answers. Nothing was written.", _USAGE)
    return {str(key): str(value) for key, value in read.items()}


def _next(directory: Path, service: str, notes: Iterable[str], *, physical: bool, spare: bool) -> None:
    """What was written, what is open, and what to type next."""
    vault = directory / "group_vars" / service / "vault.yml"
    typer.echo(f"\nWritten: {directory}/hosts.yml, group_vars/{service}/main.yml and vault.yml")
    left = write.open_lines(directory)
    if left:
        typer.echo(f"To be filled in ({write.FILL}):\n" + "\n".join(f"  {one}" for one in left))
    for note in notes:
        typer.echo(f"! {note}")
    if not spare:
        typer.echo("! No host is free for a restore: nothing can be proven or restored before one is named (--spare).")
    first = (
        [f"ansible-playbook playbooks/protect.yml -i {directory} -e service={service} --check --diff",
         f"ansible-playbook playbooks/protect.yml -i {directory} -e service={service}"]
        if physical else [f"pgrescue backup -s {service} -i {directory}"]
    )  # fmt: skip
    prove = [f"pgrescue prove -s {service} -i {directory}", f"pgrescue lint -s {service} -i {directory}"]
    typer.echo("Next:\n" + "\n".join(f"  {one}" for one in [f"ansible-vault encrypt {vault}", *first, *prove]))


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("init")(init)
