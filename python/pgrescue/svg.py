"""The pieces that the drawings of reports are made of. Colours are CSS classes of the page."""

from __future__ import annotations

from markupsafe import Markup


def opened(width: int, height: int, label: str) -> Markup:
    """The begin of a drawing, `width` by `height` user units; it ends with `</svg>`."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, label)


def rule(kind: str, left: float, right: float, y: float) -> Markup:
    """A level line."""
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(kind, left, right, y=y)


def text(kind: str, x: float, y: float, words: str, anchor: str) -> Markup:
    """Words."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def curve(kind: str, points: list[tuple[float, float]]) -> Markup:
    """A line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)
