"""Write into a record that was closed: first it is held against its newest seal, and the timeline says who reopened it.

Otherwise whoever can write here could have anything signed that the next close finds. What a person asks of a closed
record is refused where it is not as it was sealed (`hold`). A recovery or a drill that goes on is never stopped by its
evidence: what was found is in the timeline, and such a record is not sealed any more (`may_seal`).

`python -m pgrescue.evidence.reopening RUN_DIR`; the journal does, before its first line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pgrescue import journal, who
from pgrescue.core.journal import Journal
from pgrescue.evidence import chain, envelope, seal
from pgrescue.evidence.envelope import PublicKey
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import unlike_sealed
from pgrescue.manifest import MANIFEST, verify_manifest
from pgrescue.models import Event

STEP, AS_SEALED, OTHERWISE = "reopened", "as sealed", "not as sealed"
_NAMED = 5  # differences in one sentence


def hold(directory: Path, settings: Settings, vouched: Sequence[PublicKey] = ()) -> None:
    """Raise EvidenceError unless a closed record is as it was sealed, by this machine's key or one that is vouched for.

    Sign-offs and timestamps that wait for the next seal may lie beside it.
    """
    if not (directory / MANIFEST).is_file():
        raise EvidenceError(
            f"{directory} holds no {MANIFEST}: the run is still open, or this is no record. Nothing was changed."
        )
    said = _differences(directory, [*_mine(settings), *vouched])
    if said:
        raise EvidenceError(
            f"The record is not as it was sealed ({said}). Nothing was changed, and nothing is sealed on top of that. "
            f"See all: pgrescue evidence verify {directory}, and bring back what it was from a copy. Where the run "
            "was rightly sealed with another key: pgrescue evidence seal RUN --key ITS_PUBLIC_KEY",
            4,
        )


def reopen(directory: Path, actor: str) -> str:
    """Let a record be written into again; what of it was not as sealed, in a sentence, empty where all was.

    The timeline says so either way. Does nothing to a record that is open already.
    """
    closed, noted = (directory / MANIFEST).is_file(), _noted(directory)
    if noted is None and (closed or seal.seals(directory)):
        said = _differences(directory, None) if closed else f"{MANIFEST}: missing"
        _note(directory, actor, said)
    (directory / MANIFEST).unlink(missing_ok=True)
    noted = _noted(directory)
    return noted.detail or "" if noted and noted.status == OTHERWISE else ""


def reopen_held(directory: Path, actor: str, settings: Settings) -> None:
    """The same for what a person asks; refused, as by `hold`, where the record is not as sealed."""
    hold(directory, settings)
    _note(directory, actor, "")
    (directory / MANIFEST).unlink()


def may_seal(directory: Path, settings: Settings) -> str:
    """Why a record that is closed now must not be sealed; empty where it may be.

    Raises EvidenceError for one that was sealed, and changed without having been reopened.
    """
    noted = _noted(directory)
    if noted and noted.status == OTHERWISE:
        return f"{noted.detail} {noted.actor} went on with it all the same, so nothing is sealed on top of that."
    if (directory / MANIFEST).is_file():
        hold(directory, settings)
    elif noted is None and seal.seals(directory):
        raise EvidenceError(
            f"{directory} was sealed, its {MANIFEST} is gone, and nobody reopened it. Nothing was changed. Bring it "
            f"back from a copy, or go on with the run: pgrescue resume {directory.name}",
            4,
        )
    return ""


def _noted(directory: Path) -> Event | None:
    """The last word, since the newest seal, that the record was reopened; of a record that was never sealed, any."""
    newest = seal.seals(directory)[-1:]
    opened = envelope.read(newest[0].read_bytes()).statement if newest else None
    head = opened.predicate.timeline if opened else None
    lines = journal.read(directory / chain.TIMELINE).lines[head.lines if head else 0 :]
    events = [line.event for line in lines if line.event and line.event.event == "decision"]
    return next((one for one in reversed(events) if one.step == STEP), None)


def _note(directory: Path, actor: str, said: str) -> None:
    newest = seal.seals(directory)[-1:]
    of = newest[0].name if newest else "the manifest"
    detail = f"Reopened, not as it was sealed: {said}." if said else f"Reopened; it was as {of} says."
    with Journal(str(directory / chain.TIMELINE), actor) as timeline:
        timeline.write("decision", step=STEP, status=OTHERWISE if said else AS_SEALED, detail=detail)


def _mine(settings: Settings) -> list[PublicKey]:
    try:
        return [PublicKey(envelope.private_key(settings.key_file).public_key())] if settings.key_file else []
    except EvidenceError:  # the close says so; it signs nothing then
        return []


def _differences(directory: Path, keys: Sequence[PublicKey] | None) -> str:
    """What is not as sealed; `keys`: one of which must have signed what is signed, None: whoever did."""
    sealed = seal.seals(directory)
    said = unlike_sealed(directory, keys) if sealed else list(map(str, verify_manifest(directory)))
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more


def main() -> None:
    """Reopen the record in the directory named on the command line; say what of it was not as sealed."""
    said = reopen(Path(sys.argv[1]), who.operator())
    if said:
        print(said)


if __name__ == "__main__":
    main()
