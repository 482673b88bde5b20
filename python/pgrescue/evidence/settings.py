"""What sealing is told from outside: the run's role sets it from the inventory, a person from a shell.

The role's words are kept in `scope.json`, so that a command that closes the record again, with no inventory at hand,
seals as the inventory has it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pgrescue.evidence.models import Scope

SCOPE = "scope.json"


class EvidenceError(Exception):
    """What was asked of a pack is refused; the message says why, what was changed and what to do next."""

    def __init__(self, sentence: str, code: int = 3) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Settings:
    """Each is None where nobody set it."""

    key_file: Path | None = None  # PGRESCUE_EVIDENCE_KEY: an Ed25519 private key in PEM
    secrets_file: Path | None = None  # PGRESCUE_EVIDENCE_SECRETS: values that must not be in a pack, one a line
    owner: str | None = None  # PGRESCUE_EVIDENCE_OWNER: of findings; the operator otherwise
    inventory: Path | None = None  # PGRESCUE_EVIDENCE_INVENTORY: what the service was described by

    @classmethod
    def from_environment(cls) -> Settings:
        """As the environment says; an empty variable is one that is not set."""

        def path(name: str) -> Path | None:
            told = os.environ.get(name)
            return Path(told) if told else None

        return cls(
            key_file=path("PGRESCUE_EVIDENCE_KEY"),
            secrets_file=path("PGRESCUE_EVIDENCE_SECRETS"),
            owner=os.environ.get("PGRESCUE_EVIDENCE_OWNER") or None,
            inventory=path("PGRESCUE_EVIDENCE_INVENTORY"),
        )

    @classmethod
    def of(cls, directory: Path) -> Settings:
        """As the environment says; else as the record was closed before, as far as its files are on this machine."""
        told, before = cls.from_environment(), earlier(directory)
        kept = before.sealing if before else None

        def here(name: str | None) -> Path | None:
            return Path(name) if name and os.access(name, os.R_OK) else None

        if kept is None:
            return told
        return cls(
            key_file=told.key_file or here(kept.key_file),
            secrets_file=told.secrets_file or here(kept.secrets_file),
            owner=told.owner or kept.owner,
            inventory=told.inventory,
        )

    def secrets(self) -> tuple[str, ...]:
        """The values that must not be in a pack. Raises EvidenceError when their file cannot be read."""
        if self.secrets_file is None:
            return ()
        try:
            lines = self.secrets_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EvidenceError(
                f"The secrets to look for cannot be read: {error}. The pack is not sealed; nothing else was changed. "
                "Put PGRESCUE_EVIDENCE_SECRETS right, then: pgrescue evidence seal RUN"
            ) from error
        return tuple(line for line in lines if line.strip())


def earlier(directory: Path) -> Scope | None:
    """The scope that an earlier close of a record wrote; None where there is none that can be read."""
    try:
        return Scope.model_validate_json((directory / SCOPE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
