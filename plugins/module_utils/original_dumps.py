"""Backups that the original shell scripts left: which they are, whether they are whole, and what of them may run. All pure.

They are scripts that anybody who can write to the bucket can change, so nothing in or beside one is ever run unread.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from typing import Any, Iterable, Iterator, Mapping, Optional

from .guards import REFUSED, Stop
from .validation import check

FOLDER = "database-backups"
CHECKSUM = "the backup matches the checksum beside it"
READABLE = "the backup can be read to its end"
COMPLETE = "the backup ends as pg_dump ends one"
FLOOR = "the backup is not smaller than it may be"
HARMLESS = "the backup holds nothing but what pg_dump writes"

_NAME = re.compile(r"^backup_(?P<environment>[A-Za-z0-9-]+)_(?P<day>\d{8})_(?P<time>\d{6})\.sql(?P<gz>\.gz)?$")
_META = re.compile(r"^(?:export )?([A-Z][A-Z0-9_]*)=(.*)$")
_DIGEST = re.compile(r"^([0-9a-fA-F]{64})(?:\s|$)")
_DONE = b"-- PostgreSQL database dump complete"

# What psql's own lexer looks for outside of literals.
_TOKEN = re.compile(
    rb"""'|"|(?<![\w\x80-\xff$])\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$|--|/\*|\\|;|\(|\)|\b(?:begin|case|end)\b""",
    re.I,
)
_ESCAPED = re.compile(rb"(?:[^'\\]|\\.|'')*'(?!')", re.S)
_COMMENT = re.compile(rb"/\*|\*/")
_COPY = re.compile(rb"COPY .+ FROM STDIN(?: WITH \(.*\))?$")
_SETTINGS = (
    "statement_timeout lock_timeout idle_in_transaction_session_timeout transaction_timeout client_encoding "
    "standard_conforming_strings check_function_bodies xmloption client_min_messages row_security default_tablespace "
    "default_table_access_method default_with_oids escape_string_warning search_path"
)
_SET = re.compile(rb"SET (?:%s) (?:=|TO) .*$" % _SETTINGS.upper().replace(" ", "|").encode())
# Settings that change how the rest is read, or who runs it, are compared as they stand.
_EXACT = {
    b"SET STANDARD_CONFORMING_STRINGS": re.compile(rb"SET standard_conforming_strings = on"),
    b"SET CLIENT_ENCODING": re.compile(
        rb"SET client_encoding = '(?:UTF8|SQL_ASCII|LATIN\d+|WIN\d+|KOI8\w|ISO_8859_\d)'"
    ),
    b"SELECT PG_CATALOG.SET_CONFIG": re.compile(rb"SELECT pg_catalog\.set_config\('search_path', '[^']*', false\)"),
}
_CALL = re.compile(
    rb"SELECT (?:PG_CATALOG\.SET_CONFIG|(?:PG_CATALOG\.)?(?:SETVAL|LO_CREATE|LO_OPEN|LOWRITE|LO_CLOSE|LO_UNLINK))\([^()]*\)$"
)
_FORBIDDEN = (
    (re.compile(rb"(?:CREATE|ALTER|DROP|COMMENT ON) DATABASE\b|(?:GRANT|REVOKE) .* ON DATABASE\b"), "a statement about a whole database"),
    (re.compile(rb"COPY\b.*\bPROGRAM\b"), "COPY that runs a program"),
    (re.compile(rb"COPY\b"), "COPY of a file of the server"),
    (re.compile(rb"(?:CREATE|ALTER|DROP) (?:ROLE|GROUP|USER(?! MAPPING)|TABLESPACE|SUBSCRIPTION)\b|ALTER SYSTEM\b"), "a statement about the whole server"),
)  # fmt: skip
_USUAL = re.compile(
    rb"(?:CREATE|ALTER|DROP|COMMENT ON|GRANT|REVOKE|INSERT INTO|REFRESH MATERIALIZED VIEW|SECURITY LABEL)\b"
)
_TRANSACTION = (b"BEGIN", b"COMMIT")
_NAMED = rb'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
_PREAMBLE = (
    re.compile(rb"DROP DATABASE (?:IF EXISTS )?(?P<name>%s)" % _NAMED),
    re.compile(rb"CREATE DATABASE (?P<name>%s) WITH TEMPLATE = template0(?P<options>[^;]*)" % _NAMED),
    re.compile(rb"(?:ALTER|COMMENT ON) DATABASE (?P<name>%s) .*" % _NAMED, re.S),
    re.compile(rb"(?:GRANT|REVOKE) [A-Z, ]+ ON DATABASE (?P<name>%s) (?:TO|FROM) .*" % _NAMED, re.S),
)
_CONNECT = re.compile(rb"\\connect (?P<name>%s)$" % _NAMED)
_LOCALE = re.compile(rb"(ENCODING|LOCALE|LC_COLLATE|LC_CTYPE) = '((?:[^']|'')*)'")


def backups(sizes: "Mapping[str, int]", environment: str) -> "list[dict[str, Any]]":
    """The backups among the objects of an environment, newest first; what lies beside one is never taken for one."""
    found = []
    for key, size in sizes.items():
        named = _NAME.match(key.rpartition("/")[2])
        if named and named["environment"] == environment:
            beside = [end for end in (".meta", ".sha256") if key + end in sizes]
            taken = named["day"] + "_" + named["time"]
            found.append({"key": key, "taken": taken, "bytes": size, "compressed": bool(named["gz"]), "beside": beside})
    return sorted(found, key=lambda b: (b["taken"], b["key"]), reverse=True)


def meta(text: str) -> "dict[str, str]":
    """What a backup's `.meta` says: read, never run."""
    found = (_META.match(line.strip()) for line in text.splitlines())
    return {m.group(1): m.group(2).strip().strip("\"'") for m in found if m}


def checksum(text: str) -> Optional[str]:
    """The digest in a `.sha256`, if it holds one."""
    found = _DIGEST.match(text.strip())
    return found.group(1).lower() if found else None


class Source:
    """The bytes of a backup on their way, hashed and decompressed; `problem` says why they could not be read to their end."""

    def __init__(self, source: Any, compressed: bool) -> None:
        self.bytes = _Hashed(source)
        self.buffer = io.BufferedReader(self.bytes, 1 << 20)
        self.compressed, self.complete, self.problem = compressed, False, ""

    def lines(self) -> Iterator[bytes]:
        """The script, line by line."""
        stream: Any = gzip.GzipFile(fileobj=self.buffer) if self.compressed else self.buffer
        try:
            for line in stream:
                if line.startswith(_DONE):
                    self.complete = True
                elif self.complete and line.strip() and not line.startswith((b"--", b"\\unrestrict ")):
                    self.complete = False
                yield line
        except (OSError, EOFError, zlib.error) as error:
            if not self.compressed:
                raise  # of the disk or the store, not of the file
            self.problem = str(error)
        while self.buffer.read(1 << 20):
            pass  # all of it is hashed


class _Hashed(io.RawIOBase):
    """Something that is read once and hashed on the way."""

    def __init__(self, source: Any) -> None:
        self.source, self.size, self.hash = source, 0, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.source.read(len(buffer))
        buffer[: len(piece)] = piece
        self.size += len(piece)
        self.hash.update(piece)
        return len(piece)


class Script:
    """Reads a script as psql would, and passes on what pg_dump writes; anything else is a refusal that names its line.

    With `drop_preamble` the statements by which `pg_dump --create` drops, makes and enters its database are left out:
    they name one database, and would lead away from the one that is restored into.
    """

    def __init__(self, drop_preamble: bool = False) -> None:
        self.drop_preamble = drop_preamble
        self.number = 0
        self.raw, self.code = bytearray(), bytearray()  # of the statement that is read; `code` without literals
        self.inside = b""  # the token that ends the literal or comment we are in
        self.depth = self.nested = self.comments = 0
        self.copying = False
        self.verdicts: "set[bool]" = set()  # on the statements that end in the lines that wait
        self.options = b""  # of the CREATE DATABASE that was left out
        self.preamble_name: Optional[bytes] = None

    def passed(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines that may run."""
        waiting: "list[bytes]" = []
        for line in lines:
            self.number += 1
            if self.copying:
                self.copying = line.rstrip(b"\r\n") != b"\\."
                yield line
            elif line.startswith(b"\\") and not self._within():
                self._command(line.rstrip(b"\r\n"))
            else:
                waiting.append(line)
                self._read(line)
                if not self._within():
                    if len(self.verdicts) > 1:
                        raise self._refuse("a statement in one line with another that does not run")
                    if True in self.verdicts:
                        yield from waiting
                    waiting, self.verdicts = [], set()

    def _within(self) -> bool:
        return bool(self.inside or self.code.strip())

    def locale(self) -> "dict[str, str]":
        """What the dropped statements said of the database."""
        return {k.decode(): v.decode().replace("''", "'") for k, v in _LOCALE.findall(self.options)}

    def _command(self, line: bytes) -> None:
        if re.match(rb"\\(?:un)?restrict [A-Za-z0-9]+$", line):
            return  # of pg_dump's own; the one that is ours holds for the whole script
        found = _CONNECT.match(line)
        if found and self.drop_preamble and self._same(found["name"]):
            return
        raise self._refuse("psql's command %s" % line.split()[0].decode("ascii", "replace"))

    def _read(self, line: bytes) -> None:
        at = 0
        while at < len(line):
            if self.inside:
                at = self._literal(line, at)
                continue
            found = _TOKEN.search(line, at)
            if self.copying and line[at : found.end() if found else None].strip():
                raise self._refuse("something after COPY in its line")
            if not found:
                self._add(line[at:], line[at:])
                break
            self._add(line[at : found.start()], line[at : found.start()])
            token, at = found.group(), found.end()
            if token == b"--":
                self._add(b" ", b" ")
                break
            if token == b"\\":
                raise self._refuse("a command of psql within a statement")
            if token == b";" and not self.depth and not self.nested:
                self._statement()
            else:
                self._token(token)

    def _token(self, token: bytes) -> None:
        word = token.lower()
        if token == b"'":
            self.inside = b"E" if re.search(rb"(?:^|[^\w\x80-\xff$])[eE]$", self.code[-2:]) else b"'"
        elif token == b'"' or token.startswith(b"$") or token == b"/*":
            self.inside, self.comments = token, 1
        elif word in (b"begin", b"case", b"end") and re.match(
            rb"\s*CREATE\s.*\b(?:FUNCTION|PROCEDURE)\b", self.code[:200], re.I | re.S
        ):
            # a body of statements, as psql tells one
            self.nested += {b"begin": 1, b"case": 1 if self.nested else 0, b"end": -1 if self.nested else 0}[word]
        elif token in b"()":
            self.depth = max(0, self.depth + (1 if token == b"(" else -1))
        if token == b"/*":
            self._add(b" ", b" ")
        else:
            self._add(token, b"'" if token.startswith(b"$") else token)

    def _literal(self, line: bytes, at: int) -> int:
        """Go to the end of a literal, a quoted name or a comment; where that is in the line."""
        if self.inside == b"/*":
            found = _COMMENT.search(line, at)
            if not found:
                return len(line)
            self.comments += 1 if found.group() == b"/*" else -1
            self.inside = b"/*" if self.comments else b""
            return found.end()
        if self.inside == b"E":
            found = _ESCAPED.match(line, at)
            end = found.end() if found else -1
        else:
            place = line.find(self.inside, at)
            end = place + len(self.inside) if place >= 0 else -1
        text = line[at:end] if end >= 0 else line[at:]
        quoted = self.inside == b'"'
        self._add(text, text if quoted else (b"'" if end >= 0 else b""))
        if end < 0:
            return len(line)
        self.inside = b""
        return end

    def _add(self, raw: bytes, code: bytes) -> None:
        if len(self.raw) < 1 << 16:
            self.raw += raw
        self.code += code

    def _statement(self) -> None:
        """Judge the statement that has ended."""
        raw = b" ".join(bytes(self.raw).split())
        code = b" ".join(bytes(self.code).split()).upper()
        self.raw, self.code, self.depth, self.nested = bytearray(), bytearray(), 0, 0
        if code:
            self.verdicts.add(self._runs(raw, code))

    def _runs(self, raw: bytes, code: bytes) -> bool:
        """Whether a statement is passed on; or a refusal."""
        if code in _TRANSACTION or (self.drop_preamble and self._is_preamble(raw)):
            return False  # the whole script is one transaction
        if any(code.startswith(name) and not exactly.fullmatch(raw) for name, exactly in _EXACT.items()):
            raise self._refuse(_shown(raw))
        self.copying = bool(_COPY.match(code))
        for pattern, what in _FORBIDDEN:
            if pattern.match(code) and not self.copying:
                raise self._refuse("%s: %s" % (what, _shown(raw)))
        if self.copying or any(pattern.match(code) for pattern in (_USUAL, _SET, _CALL)):
            return True
        raise self._refuse(_shown(raw))

    def _is_preamble(self, raw: bytes) -> bool:
        for pattern in _PREAMBLE:
            found = pattern.match(raw)
            if found and self._same(found["name"]):
                self.options = self.options or found.groupdict().get("options", b"")
                return True
        return False

    def _same(self, name: bytes) -> bool:
        self.preamble_name = self.preamble_name or name
        return self.preamble_name == name

    def _refuse(self, what: str) -> Stop:
        return Stop("line %d: %s" % (self.number, what), REFUSED)


def _shown(raw: bytes) -> str:
    return raw[:80].decode("utf-8", "replace")


def judge(source: Source, refused: Optional[str], wanted: Optional[str], floor: int) -> "list[dict[str, Any]]":
    """Judge a backup that was read whole. `refused` is why reading it as a script stopped; `wanted` the checksum beside it."""
    found = source.bytes.hash.hexdigest()
    size = source.bytes.size
    checks = [check(CHECKSUM, wanted, found, found == wanted)] if wanted else []
    checks.append(check(READABLE, "to its end", source.problem or "to its end", not source.problem))
    checks.append(check(FLOOR, ">= %d bytes" % floor, "%d bytes" % size, size >= floor))
    if not source.problem:  # else what was read is not what was written, and says nothing of it
        said = "complete" if source.complete else "it breaks off"
        checks.append(check(COMPLETE, "complete", said, source.complete))
        checks.append(check(HARMLESS, "nothing else", refused or "nothing else", not refused))
    return checks
