"""`pgrescue lab`: boot the lab and protect its service, take it down, say how it is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pgrescue import record, recovery, runner

app = typer.Typer(no_args_is_help=True, help="The lab: real hosts as containers, in two regions.")


class LabError(Exception):
    """The lab cannot be booted; the message says what to do."""


INVENTORY = str(runner.ROOT / "inventories" / "lab")


def play(path: str, sentence: str, console: Console, **variables: Any) -> None:
    """Run one of the lab's playbooks, with a line that says so and one that says how long it took."""
    with console.status(sentence) if console.is_terminal else _said(sentence, console):
        running = runner.start(path, INVENTORY, {"service": "shop", **variables})
        failed = running.wait()
    if failed:
        console.print(running.output(), markup=False, highlight=False)
        console.print(f"{path} failed: {sentence}. Run the same command again when the cause is gone.", soft_wrap=True)
        raise typer.Exit(5)
    running.forget()


class _said:  # noqa: N801 - a context manager that reads as a phrase
    def __init__(self, sentence: str, console: Console) -> None:
        console.print(f"==> {sentence}", highlight=False, soft_wrap=True)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def fresh() -> bool:
    """Whether no host of the lab has ever had a database: only then may a first primary be made."""
    stores = runner.ROOT / ".lab" / "store"
    return not any(stores.glob("*/shop-backups/*"))


def recipe() -> str:
    """The tag of the image that hosts are made from now, as lab/build_image gives it."""
    debian = os.environ.get("PGRESCUE_LAB_DEBIAN") or "trixie"
    return hashlib.sha256((runner.ROOT / "lab" / "build_image").read_bytes()).hexdigest()[:12] + f"-{debian}"


def leftovers(
    hosts: Sequence[Mapping[str, Any]], here: str, tag: str, alive: Callable[[Mapping[str, Any]], bool]
) -> bool:
    """Whether hosts are here that cannot be used: dead ones, another checkout's, or of an old image.

    `hosts` is the answer of `podman ps --format json`. Raises LabError when another checkout's lab runs.
    """
    foreign = [host for host in hosts if (host.get("Labels") or {}).get("pgrescue.checkout") != here]
    running = [host for host in foreign if alive(host)]
    if running:
        where = (running[0].get("Labels") or {}).get("pgrescue.checkout", "another checkout")
        raise LabError(f"The lab of {where} runs here. Nothing was changed. Stop it first: make -C {where} clean")
    old = [host for host in hosts if not str(host["Image"]).endswith(f":{tag}")]
    died = [host for host in hosts if host["State"] in ("running", "stopping", "paused") and not alive(host)]
    return bool(foreign or died or old)


def is_alive(host: Mapping[str, Any]) -> bool:
    """Whether the host's first process is there: podman does not notice when all of a host is killed at once."""
    cgroup = Path(f"/proc/{host['Pid']}/cgroup")
    return bool(host["Pid"]) and cgroup.exists() and host["Id"] in cgroup.read_text(encoding="ascii")


def clear_leftovers(console: Console) -> None:
    """Remove what another checkout, or a machine that went down, left of a lab."""
    listed = subprocess.run(
        ["podman", "ps", "--all", "--filter", "name=^pgrescue-", "--format", "json"],
        check=True, capture_output=True, text=True, env={**os.environ, **runner.environment({})},
    )  # fmt: skip
    if leftovers(json.loads(listed.stdout), str(runner.ROOT), recipe(), is_alive):
        play("lab/down.yml", "Removing what is left of a lab that died, is older, or was another checkout's", console)


def bring_back(console: Console) -> None:
    """Recover first where a drill was interrupted: a service without a primary cannot be protected."""
    latest = (runner.RUNS / "latest").resolve()
    if (latest / "run.json").exists() and record.load(latest).run.result is None:
        console.print(f"==> Going on with run {latest.name}, which was interrupted", highlight=False)
        code = recovery.resume(latest, INVENTORY, {"confirm": "shop"}, console)
    elif "primary" not in facts().get("hosts", {}).values():
        console.print("==> The lab's database is lost: recovering it", highlight=False)
        request = recovery.Request("complete_loss", "shop", INVENTORY, {"confirm": "shop"})
        code = recovery.execute(request, recovery.new_id(request), console)
    else:
        return
    if code not in (0, 7):  # recovered, in time or not
        raise typer.Exit(code)


@app.command()
def up() -> None:
    """Boot the lab, protect its service, put it under load. Does only what is missing."""
    console = Console()
    try:
        clear_leftovers(console)
    except LabError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error
    play(
        "lab/up.yml",
        "Booting what is missing of fifteen hosts in two regions (the first time about 2 minutes)",
        console,
    )
    play("lab/managed.yml", "Running the database that somebody else manages", console)
    first = {"protect_create_on": "db1"} if fresh() else {}
    if not first:
        bring_back(console)
    play(
        "playbooks/protect.yml",
        "Protecting the service: archive, backups, standbys, endpoint, witness",
        console,
        **first,
    )
    play("lab/service.yml", "Running the sample shop and load on it", console)
    play("lab/alert_sink.yml", "Playing the vendors that alerts are sent to", console)
    console.print("The lab is up: pgrescue lab status", highlight=False)


@app.command()
def down(
    keep: Annotated[bool, typer.Option(help="Keep the object stores' data, keys and secrets.")] = False,
) -> None:
    """Stop and remove every host and network of the lab, and what the lab wrote."""
    console = Console()
    play("lab/down.yml", "Removing the lab", console, lab_keep=keep)


def facts() -> dict[str, Any]:
    """What the lab says of itself: `hosts` by what they are, and where the `endpoint` points; empty when it is down."""
    running = runner.start("lab/status.yml", INVENTORY, {"service": "shop"})
    running.wait()
    found = running.results()
    running.forget()
    return found


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Say which hosts run, who is primary and where the service's name points."""
    seen = facts()
    if as_json:
        typer.echo(json.dumps(seen, indent=2))
    elif not seen:
        typer.echo("The lab is down. Boot it: pgrescue lab up")
    else:
        for host, role in sorted(seen["hosts"].items()):
            typer.echo(f"{host:<10} {role}")
        typer.echo(f"{seen['endpoint']} -> {seen['address']}")
    raise typer.Exit(0 if seen else 3)
