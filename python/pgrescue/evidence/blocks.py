"""Digests of small blocks: they tell where a file was changed. That it was changed, its SHA-256 tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from pgrescue.evidence.models import Blocks, FileBlocks, Range

BLOCKS = "blocks.json"
BLOCK_BYTES = 256
_HEX = 16  # of each block's SHA-256; enough to tell blocks apart, which is all that is asked of them


def of(content: bytes) -> FileBlocks:
    """The blocks of a file's content."""
    starts = range(0, len(content), BLOCK_BYTES)
    digests = (sha256(content[start : start + BLOCK_BYTES]).hexdigest()[:_HEX] for start in starts)
    return FileBlocks(bytes=len(content), blocks="".join(digests))


def of_files(directory: Path, names: Iterable[str]) -> Blocks:
    """The blocks of these files of a pack."""
    return Blocks(block_bytes=BLOCK_BYTES, files={name: of((directory / name).read_bytes()) for name in names})


def changed(content: bytes, sealed: FileBlocks) -> list[Range]:
    """Every range that holds a changed byte of `content`, or in which bytes are gone; empty when all blocks agree."""
    found = of(content)
    whole = min(found.bytes, sealed.bytes) // BLOCK_BYTES
    ends = max(found.bytes, sealed.bytes)
    ranges: list[Range] = []
    for number in range(-(-ends // BLOCK_BYTES)):
        place = slice(number * _HEX, (number + 1) * _HEX)
        if found.blocks[place] == sealed.blocks[place] and (number < whole or found.bytes == sealed.bytes):
            continue
        first, last = number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, ends) - 1
        if ranges and ranges[-1].last == first - 1:
            ranges[-1] = Range(first=ranges[-1].first, last=last)
        else:
            ranges.append(Range(first=first, last=last))
    return ranges


def size_words(content: bytes, sealed: FileBlocks) -> str:
    """`it had 12,034 bytes and has 12,000`; empty when the size is the same."""
    if len(content) == sealed.bytes:
        return ""
    return f"it had {sealed.bytes:,} bytes and has {len(content):,}"


def whole(content: bytes) -> list[Range]:
    """All of a file, where nothing tells more."""
    return [Range(first=0, last=len(content) - 1)] if content else []


def located(content: bytes, name: str, known: Mapping[str, FileBlocks]) -> tuple[list[Range], str]:
    """Where a file was changed, and what its size says; all of it where its blocks are not known."""
    sealed = known.get(name)
    if sealed is None:
        return whole(content), ""
    return changed(content, sealed) or whole(content), size_words(content, sealed)
