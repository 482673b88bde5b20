"""Stub until the census lands."""

from __future__ import annotations

from typing import Any


def database(connection: Any) -> "dict[str, Any]":
    """Nothing yet."""
    return {}


def cluster(connection: Any) -> "dict[str, Any]":
    """Nothing yet."""
    return {}
