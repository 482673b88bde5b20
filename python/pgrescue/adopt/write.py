"""Write an inventory as people would, with what is open marked and said why. Nothing that is there is overwritten."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jinja2 import Environment, PackageLoader, StrictUndefined

from pgrescue.adopt.places import Cluster, Host
from pgrescue.adopt.questions import Answers, Question
from pgrescue.human import size

FILL = "FILL IN"
_SHARES = {"detect": 1 / 12, "decide": 1 / 12, "prepare": 1 / 12, "validate": 1 / 20, "resume": 1 / 30}  # of rto_s
_PRIVATE = 0o600


class ExistsError(Exception):
    """There is something where the inventory would go."""


def refuse_existing(folder: Path) -> None:
    """Raise ExistsError where something is there already."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ExistsError(f"REFUSED: {folder} is there already. Nothing was written. Name a folder that is not.")


def phases(rto_s: int) -> dict[str, int]:
    """What each phase may take, in seconds: the restore what the others leave."""
    others = {name: int(rto_s * share) for name, share in _SHARES.items()}
    order = ("detect", "decide", "prepare", "restore", "validate", "resume")
    return {name: others.get(name, rto_s - sum(others.values())) for name in order}


def physical(
    folder: Path,
    service: str,
    cluster: Cluster,
    others: Mapping[str, Mapping[str, Host]],
    said: Answers,
    questions: Mapping[str, Question],
    common: Mapping[str, Any],
) -> None:
    """The inventory of a cluster that is reached over SSH; `others` are the spare, the application and the witness."""
    first = cluster.hosts[cluster.primary].seen["clusters"]
    found = (
        f"Found: PostgreSQL {first[0].get('server_version')}, {size(cluster.data_bytes)}, primary {cluster.primary}."
    )
    facts = {
        **_shared(service, said, cluster.version, found, common),
        "physical": True,
        "port": cluster.port,
        "by_name": any(
            host.address == host.place.host and not host.address[0].isdigit() for host in cluster.hosts.values()
        ),
        "settings": dict(cluster.settings),
        "standbys": dict(cluster.standbys),
        "networks": [one.strip() for one in (said["client_networks"] or "").split(",") if one.strip()],
        "groups": _groups(cluster.hosts, others),
    }
    facts["names"] = {name: {} for _group, _says, hosts, _why in facts["groups"] for name in hosts}
    drawn = {"vault_replication_password": _drawn(), "vault_witness_password": _drawn()}
    asked = {"vault_endpoint_key_secret": said["endpoint_key_secret"]}
    ciphers = {f"vault_{store['name']}_cipher": _drawn() for store in facts["stores"]}
    _write(
        folder,
        service,
        "physical.yml.j2",
        facts,
        {**drawn, **asked, **ciphers, **_store_secrets(said, facts)},
        questions,
    )


def dumps(
    folder: Path,
    service: str,
    url: str,
    found: Mapping[str, Any],
    host: tuple[str, Mapping[str, Any]],
    said: Answers,
    questions: Mapping[str, Question],
    common: Mapping[str, Any],
) -> None:
    """The inventory of a server that is reached by its URL alone; `host` takes its dumps."""
    sentence = (
        f"Found: PostgreSQL {found['version']}, {size(found['data_bytes'])}, databases {', '.join(found['databases'])}."
    )
    facts = {
        **_shared(service, said, found["version"], sentence, common),
        "physical": False,
        "groups": [("dump", "the host that takes its dumps; it reaches the URL and the stores", dict([host]), "")],
        "names": {host[0]: {}},
    }
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kept = {"vault_dump_url": url, **_store_secrets(said, facts), "vault_dump_signing_key": pem.decode()}
    _write(folder, service, "dumps.yml.j2", facts, kept, questions, {"dumps.pub": public.decode()})


def open_lines(folder: Path) -> list[str]:
    """What is left to be filled in, as `file:line`."""
    return [
        f"{path}:{number}"
        for path in sorted(folder.rglob("*.yml"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if f"{FILL}:" in line or line.endswith(f"# {FILL}")
    ]


def _shared(service: str, said: Answers, version: int, found: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """What both kinds of service have."""
    stores = [
        {
            "name": name,
            **{key: said[f"{name}_{key}"] or "" for key in ("endpoint", "region", "bucket", "key", "ca_file")},
        }
        for name in ("store", "second")
        if said[f"{name}_endpoint"]
    ]
    return {
        **said,
        "service": service,
        "version": version,
        "found": found,
        "common": dict(common),
        "phases": phases(int(said["rto_s"] or 0)),
        "stores": stores,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "said": said,
    }


def _groups(cluster: Mapping[str, Host], others: Mapping[str, Mapping[str, Host]]) -> list[tuple[str, str, Any, str]]:
    """Each group: name, what it is for, its hosts with their variables, and what is missing without any."""

    def known(hosts: Mapping[str, Host], *, database: bool = False) -> dict[str, Any]:
        return {
            name: {
                **host.place.variables(),
                "region": host.place.region,
                **({"postgres_fqdn": host.fqdn} if database else {}),
            }
            for name, host in hosts.items()
        }

    return [
        ("postgres", "hosts that run, or can run, its database",
         known({**cluster, **others["spare"]}, database=True), ""),
        ("application", "hosts that run its application", known(others["application"]),
         "a recovery stops the application here, and starts it again"),
        ("witness", "a host outside the database's, where clients stand", known(others["witness"]),
         "it measures, holds the lock and the journal; nothing runs without it"),
    ]  # fmt: skip


def _store_secrets(said: Answers, facts: Mapping[str, Any]) -> dict[str, str | None]:
    return {f"vault_{store['name']}_secret": said[f"{store['name']}_secret"] for store in facts["stores"]}


def _drawn() -> str:
    return secrets.token_urlsafe(24)


def _write(
    folder: Path,
    service: str,
    template: str,
    facts: Mapping[str, Any],
    kept: Mapping[str, str | None],
    questions: Mapping[str, Question],
    more: Mapping[str, str] | None = None,
) -> None:
    """All files or none: they are written beside the folder, which is renamed into place."""
    refuse_existing(folder)
    variables = f"group_vars/{service}"
    files = {
        "hosts.yml": _rendered("hosts.yml.j2", facts, questions),
        "group_vars/all/schedules.yml": schedules(
            service, physical=facts["physical"], dumped=not facts["physical"], begins=str(facts["at"])[:10]
        ),
        f"{variables}/main.yml": _rendered(template, facts, questions),
        f"{variables}/vault.yml": _rendered(
            "vault.yml.j2", {"service": service, "secrets": kept, "path": folder / variables / "vault.yml"}, questions
        ),
        **(more or {}),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, text in files.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=_PRIVATE if name.endswith("vault.yml") else 0o644)
            path.write_text(text, encoding="utf-8")
        beside.chmod(0o755)
        beside.rename(folder)  # an empty folder gives way, one that holds anything does not
    except BaseException:
        shutil.rmtree(beside)
        raise


def schedules(service: str, *, physical: bool, dumped: bool, begins: str, drilled: tuple[str, ...] = ()) -> str:
    """Every job that recurs. No drill by itself: `drilled` are services whose hosts are marked for it."""
    return (
        _environment()
        .get_template("inventory/schedules.yml.j2")
        .render(service=service, physical=physical, dumped=dumped, begins=begins, drilled=_flow(list(drilled)))
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pgrescue"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        autoescape=False,  # noqa: S701 - YAML, and every value goes through a filter of ours
    )
    environment.filters |= {"flow": _flow, "scalar": _scalar}
    return environment


def _rendered(template: str, facts: Mapping[str, Any], questions: Mapping[str, Question]) -> str:
    def line(name: str, question: str | None = None) -> str:
        value = facts["said"][question or name]
        why = questions[question or name].why
        return f"{name}: {_scalar(value)}" if value else f"# {FILL}: {name}: {why}"

    return _environment().get_template(f"inventory/{template}").render(**facts, line=line)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=2**31, sort_keys=False, allow_unicode=True).strip()


def _scalar(value: Any) -> str:
    """As YAML has it, within braces too; what spans lines, or would be read as something else, in quotes."""
    text = str(value)
    if "{{" in text or "{%" in text:
        return f"!unsafe {json.dumps(text, ensure_ascii=False)}"  # a secret is no template
    plain = yaml.safe_dump(text, width=2**31, allow_unicode=True).removesuffix("\n").removesuffix("\n...")
    quoted = plain[0] in "'\"" or not set(text).isdisjoint("\n,[]{}")
    return json.dumps(text, ensure_ascii=False) if quoted else plain
