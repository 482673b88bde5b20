"""Find secrets in a pack, and mask them in what is derived from it. A secret is never repeated, only placed."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pgrescue.evidence.models import Leak

MASKED = "[masked]"

# What stands where a secret would: masks, templates, and words that name no value.
_NO_VALUE = (
    r"(?!\[masked\]|\*{3}|x{3,}\b|<|\{\{|\$\{|%\(|VALUE_SPECIFIED_IN_NO_LOG_PARAMETER|(?:null|none|true|false)\b)"
)
_NAMES = (
    r"password|passwd|passphrase|pgpassword|(?:become|ssh|sudo|cipher)[_-]pass|secret|secret[_-]key|secret[_-]access[_-]key"
    r"|api[_-]key|auth[_-]token"
)
_NAMED = rf"(?:\b|_)(?:{_NAMES})\b\\?[\"']?\s*(?:[:=]|=>)\s*"
_FIELD = r"(?:\\.|[^:\s\\\"'])+"

# Each pattern's group `secret` is what is masked.
PATTERNS: dict[str, re.Pattern[str]] = {
    "private key": re.compile(r"(?P<secret>-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]+-----)?)"),
    "AWS access key": re.compile(r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    "Slack token": re.compile(r"\b(?P<secret>(?:xox[a-z]|xapp)-[0-9A-Za-z-]{10,})"),
    "Slack or Discord webhook": re.compile(
        r"(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks)/(?P<secret>[\w/-]{20,})"
    ),
    "PagerDuty key": re.compile(
        r"\b(?:routing|integration|service)_key\b[\"']?\s*[:=]\s*[\"']?(?P<secret>[0-9a-z]{32})\b", re.I
    ),
    "PagerDuty token": re.compile(r"\bToken token=\\?\"?(?P<secret>[\w+-]{16,})", re.I),
    "URL with a password": re.compile(
        rf"\b[a-z][a-z0-9+.-]{{0,20}}://[^\s:/@\"'<>]*:(?P<secret>{_NO_VALUE}[^\s/@\"'<>]+)@", re.I
    ),
    "line of a password file": re.compile(
        rf"(?:(?<![^\s\"'])|(?<=\\n)){_FIELD}:(?:\*|\d{{4,5}}):{_FIELD}:{_FIELD}:"
        rf"(?P<secret>{_NO_VALUE}{_FIELD})(?=$|[\s\"'\\,])",
        re.M,
    ),
    "password": re.compile(rf"{_NAMED}\\?[\"']?(?P<secret>{_NO_VALUE}[^\s\"'\\,;}}&)]{{4,}})", re.I),
    "password of several words": re.compile(
        rf"{_NAMED}(?P<quote>\\?[\"'])"
        rf"(?P<secret>{_NO_VALUE}(?:(?!(?P=quote))\S)+[ \t](?:(?!(?P=quote))[^\n])+)(?P=quote)",
        re.I,
    ),
    "password in SQL": re.compile(rf"\bpassword\s+E?'(?P<secret>{_NO_VALUE}(?:[^'\n]|'')+)'", re.I),
    "header with a credential": re.compile(
        rf"\bauthorization\b\\?[\"']?\s*[:=]\s*\\?[\"']?(?:bearer|basic)\s+(?P<secret>{_NO_VALUE}[\w.~+/=-]{{8,}})",
        re.I,
    ),
    "JSON web token": re.compile(r"\b(?P<secret>eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"),
    "GitHub token": re.compile(r"\b(?P<secret>gh[opsru]_[0-9A-Za-z]{36,}|github_pat_\w{22,})"),
    "Vault token": re.compile(r"\b(?P<secret>hv[sbr]\.[\w-]{20,})"),
    "hash of a password": re.compile(r"(?P<secret>SCRAM-SHA-256\$\d+:[\w+/=$:]+|\bmd5[0-9a-f]{32}\b)"),
}


def _spellings(value: str) -> set[str]:
    """A value as the files of a pack may spell it."""
    inside = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return {value, *inside, *(html.escape(one) for one in (value, *inside)), quote(value, safe="")}


def find(text: str, exact: Iterable[str] = ()) -> list[tuple[int, int, str]]:
    """Where secrets begin and end in a text, in characters, and what kind each is."""
    found = [(*m.span("secret"), kind) for kind, pattern in PATTERNS.items() for m in pattern.finditer(text)]
    for value in filter(None, exact):
        for spelling in _spellings(value):
            found += [(m.start(), m.end(), "value that was named") for m in re.finditer(re.escape(spelling), text)]
    return sorted(found)


def mask(text: str, exact: Iterable[str] = ()) -> str:
    """The text with every secret replaced by `[masked]`; nothing is found in it any more."""
    exact = tuple(filter(None, exact))
    hidden = "" if any(value in MASKED for value in exact) else MASKED
    while found := find(text, exact):
        for start, end in reversed(_merged(found)):
            text = text[:start] + hidden + text[end:]
        hidden = ""  # what the mask itself helped to spell only shrinks, so this ends
    return text


def masked(value: Any, exact: Iterable[str] = ()) -> Any:
    """A JSON value with every text in it masked."""
    if isinstance(value, str):
        return mask(value, exact)
    if isinstance(value, list):
        return [masked(one, exact) for one in value]
    return {key: masked(one, exact) for key, one in value.items()} if isinstance(value, dict) else value


def _merged(found: Iterable[tuple[int, int, str]]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, end, _kind in found:
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def scan(directory: Path, names: Iterable[str], exact: Iterable[str] = ()) -> list[Leak]:
    """Every secret in these files, by file and line (counted from 1)."""
    exact, leaks = tuple(exact), []
    for name in names:
        text = (directory / name).read_bytes().decode("utf-8", errors="replace")
        for start, _end, kind in find(text, exact):
            leak = Leak(file=name, line=text.count("\n", 0, start) + 1, kind=kind)
            if leak not in leaks:
                leaks.append(leak)
    return leaks
