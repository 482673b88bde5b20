"""The manifest of a record: the SHA-256 of every file, in the format of `sha256sum -c`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from pgrescue import journal
from pgrescue.core import controllers
from pgrescue.files import write_text

MANIFEST = "manifest.sha256"
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")
_BESIDE = re.compile(
    r"manifest\.sha256(\..*)?|seal-\d+\.(dsse\.json|tsr)|signoff-\d+\.json"
)  # they are about the manifest


@dataclass(frozen=True)
class Difference:
    """One file that is not what the manifest says."""

    path: str
    kind: Literal["differs", "missing", "extra", "unreadable"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}" + (f" ({self.detail})" if self.detail else "")


def write_manifest(directory: Path) -> Path:
    """Write `manifest.sha256` over every other file and return its path.

    Raises ValueError for a file name that `sha256sum -c` could not read back plainly.
    """
    listed = files(directory)
    for name in listed:
        if "\n" in name or "\\" in name:
            raise ValueError(f"{name!r} cannot stand in a manifest: rename it")
    lines = [f"{_digest(directory / name)}  {name}\n" for name in listed]
    write_text(directory / MANIFEST, "".join(lines))
    return directory / MANIFEST


def digests(directory: Path) -> dict[str, str]:
    """File: its SHA-256, as the manifest's readable lines say."""
    lines = (directory / MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines()
    found = (_LINE.fullmatch(line) for line in lines)
    return {line["name"]: line["digest"] for line in found if line and _inside(line["name"])}


def verify_manifest(directory: Path) -> list[Difference]:
    """Every file that differs, is missing, or is extra; an empty list proves the record unchanged.

    Raises FileNotFoundError when the record has no manifest.
    """
    differences, listed = [], set()
    content = (directory / MANIFEST).read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(content.splitlines(), 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or not _inside(name):  # noqa: PLR2004 - hex SHA-256
            differences.append(Difference(MANIFEST, "unreadable", f"line {number}"))
            continue
        listed.add(name)
        path = directory / name
        if path.is_symlink() or not path.is_file():
            differences.append(Difference(name, "missing"))
        elif _digest(path) != digest:
            differences.append(Difference(name, "differs", _where(path)))
    extra = [Difference(name, "extra") for name in files(directory) if name not in listed]
    return differences + extra


def _inside(name: str) -> bool:
    path = Path(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def files(directory: Path) -> list[str]:
    """Every file but the manifest, what is about it, and which process is at work here."""
    top = len(str(directory)) + 1
    # a month asks this of each of its runs, and pathlib takes five times as long
    paths = (f"{folder}/{name}" for folder, inside, names in os.walk(directory) for name in (*names, *inside))
    found = (path[top:] for path in paths if os.path.islink(path) or os.path.isfile(path))  # noqa: PTH113, PTH114
    return sorted(n for n in found if n != controllers.NOTE and not _BESIDE.fullmatch(n))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _where(path: Path) -> str:
    """For the journal, the line at which its chain breaks."""
    broken = journal.read(path).broken if path.name == "timeline.jsonl" else None
    return str(broken) if broken else ""
