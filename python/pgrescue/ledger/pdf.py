"""A report's page as PDF, printed by Chromium where it is installed.

The page has a style for paper, and its drawings are coloured by classes of the page: a browser is what
both are made for, and the one that the pages are tested with. It is optional: all else works without it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",  # root starts it in containers and in CI; it opens nothing but the page that was made here
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_S = 120


class NoBrowserError(Exception):
    """Nothing that prints is installed, or it did not print; the message says what to do."""


def browser() -> str:
    """The program that prints. Raises NoBrowserError when there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise NoBrowserError(
            "A PDF is printed by Chromium, which is not here: apt-get install chromium fonts-dejavu-core. "
            "Nothing was written; --format html can be printed by any browser."
        )
    return found


def run(page: str, *wanted: str) -> bytes:
    """Open a page in a browser of its own that keeps nothing; what it printed to standard output.

    Raises NoBrowserError when there is none, or it ends badly.
    """
    program = browser()
    with tempfile.TemporaryDirectory(prefix="pgrescue-page-") as folder:
        file = Path(folder, "page.html")
        file.write_text(page, encoding="utf-8")
        command = [program, *QUIET, f"--user-data-dir={folder}/profile", *wanted, file.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired as late:
            raise NoBrowserError(f"{program} did not end within {_PATIENCE_S} s. Nothing was written.") from late
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoBrowserError(f"{program} ended with {done.returncode}: {' '.join(said[-1:])}. Nothing was written.")
    return done.stdout


def printed(page: str) -> bytes:
    """The page on A4. Raises NoBrowserError."""
    browser()
    with tempfile.TemporaryDirectory(prefix="pgrescue-pdf-") as folder:
        paper = Path(folder, "page.pdf")
        run(page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
        if not paper.exists():
            raise NoBrowserError("The browser printed nothing. Nothing was written.")
        return paper.read_bytes()
