"""The verbs of `pgrescue evidence`: verify a pack, sign it off, have it timestamped, seal it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from cryptography.x509 import Certificate

from pgrescue import record, runner
from pgrescue.evidence import envelope, pack, timestamp
from pgrescue.evidence.models import SignOffState, Verification
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import verify as examine
from pgrescue.options import Json, refuse

app = typer.Typer(no_args_is_help=True, help="Verify, sign off, timestamp and seal the evidence a run left.")
Pack = Annotated[str, typer.Argument(help="A run's directory or id, or latest.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", envvar="PGRESCUE_EVIDENCE_KEY", help="The private key that signs, in PEM.")
]

Vouched = Annotated[
    list[Path] | None,
    typer.Option("--key", help="Another's public key, in PEM, that may have made the newest seal; may be repeated."),
]


def _directory(run: str) -> Path:
    return Path(run) if Path(run).is_dir() else record.find(runner.RUNS, run)


def _asked[T](question: Callable[[], T]) -> T:
    try:
        return question()
    except EvidenceError as error:
        refuse(str(error), error.code)


def given_key(path: Path) -> envelope.PublicKey:
    """The public key in a file that was named. Raises EvidenceError when there is none."""
    try:
        return envelope.public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"{path} holds no Ed25519 public key in PEM ({error}). Nothing was verified. "
            "`openssl pkey -in PRIVATE -pubout` prints that of a private key."
        ) from error


def _roots(paths: Sequence[Path]) -> list[Certificate]:
    return [one for path in paths for one in timestamp.authority(path)]


@app.command()
def verify(
    run: Pack,
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="A public key that must have sealed it, in PEM; may be repeated.")
    ] = None,
    authority: Annotated[
        list[Path] | None,
        typer.Option("--authority", help="A root certificate, in PEM, of who must have timestamped it; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which bytes of which file changed, where the timeline breaks and who sealed it; works offline.

    Exit 0 when all is as it was sealed, 1 when not, 3 when there is nothing to verify.
    """
    directory = _directory(run)
    found = _asked(lambda: examine(directory, [given_key(path) for path in key or []], _roots(authority or [])))
    typer.echo(json.dumps(found.dump(), indent=2) if as_json else _words(directory, found))
    raise typer.Exit(0 if found.holds else 1)


def _words(directory: Path, found: Verification) -> str:
    said = [str(one) for one in found.changed]
    if found.timeline:
        said.append(f"The timeline is not what was written, at line {found.timeline.line}: {found.timeline.says}.")
    said += [f"{one.name}: {one.says}" for one in found.seals]
    said += [str(one) for one in found.between]
    said += [_of_a_sign_off(one) for one in found.sign_offs]
    said += [f"{one.name}: {one.says}" for one in found.timestamps if one.holds]
    said += found.problems
    if found.holds:
        return "\n".join([*said, f"{directory}: every file is as the manifest says"])
    return "\n".join([*said, f"{directory}: NOT as it was sealed. Nothing was changed by looking."])


def _of_a_sign_off(one: SignOffState) -> str:
    typed = f", typed by {one.typed_by}" if one.typed_by else ""
    return f"{one.name}: {one.by}{typed}, for {'this very record' if one.current else 'an earlier state of the record'}"


@app.command("sign-off")
def sign_off(
    run: Pack,
    by: Annotated[str, typer.Option("--by", help="Who stands for the record.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept beside the record.")],
    key: Vouched = None,
) -> None:
    """Write down that somebody read a closed record and stands for it. No file that is sealed is touched."""
    directory = _directory(run)
    path = _asked(lambda: pack.sign_off(directory, by, reason, [given_key(path) for path in key or []]))
    typer.echo(
        f"{path.name} is written, for this very manifest. It is not sealed yet: pgrescue evidence seal {directory.name}"
    )


@app.command("timestamp")
def have_timestamped(
    run: Pack,
    url: Annotated[
        str,
        typer.Option("--url", envvar="PGRESCUE_EVIDENCE_TSA", help="An authority for timestamps, by RFC 3161."),
    ],
) -> None:
    """Have a third party say that the newest seal is there now. It learns the seal's SHA-512 and nothing else."""
    directory = _directory(run)
    path = _asked(lambda: timestamp.stamp(directory, url))
    said = next(one.says for one in _asked(lambda: examine(directory)).timestamps if one.name == path.name)
    typer.echo(f"{path.name} is written: {said}. It is not sealed yet: pgrescue evidence seal {directory.name}")


@app.command("seal")
def seal_again(
    run: Pack,
    key_file: KeyFile = None,
    unclean: Annotated[
        str | None, typer.Option("--unclean", help="Why it is sealed although a secret is in it; the seal says so.")
    ] = None,
    key: Vouched = None,
) -> None:
    """Seal what no seal covers yet, a sign-off for one; earlier seals stay as they are."""
    directory = _directory(run)
    settings = Settings.of(directory)
    settings = replace(settings, key_file=key_file or settings.key_file)
    path = _asked(lambda: pack.seal_again(directory, settings, unclean, [given_key(path) for path in key or []]))
    if path is None:
        typer.echo("The newest seal covers all that is there. Nothing was changed.")
        return
    signed = "signed" if settings.key_file else "unsigned, for no key was given (--key-file, PGRESCUE_EVIDENCE_KEY)"
    typer.echo(f"{path.name} is written, {signed}. Look at it: pgrescue evidence verify {directory.name}")
