"""What the ledger costs as the years pass: seconds and memory of a monthly report over ten times the runs.

Writes runs as a service leaves them, a tenth of them first; each figure is from a process of its own. The ratio is the
memory of the whole against that of the tenth: one whose memory grew with the years would show about ten.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

HOUSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOUSE / "tests"))

from year import Year  # noqa: E402 - it lies where the tests are

END = datetime(2026, 12, 1, tzinfo=UTC)
A_DAY = 27  # runs of one service, so that 100,000 are ten years
LONG_AGO_S = 1_700_000_000  # what was touched just now would be read twice
MEASURE = r"""
import json, re, sys, time
from datetime import UTC, datetime
from pathlib import Path
from pgrescue.ledger import index, monthly, render
runs, begun = Path(sys.argv[1]), time.monotonic()
done = index.refresh(runs)
refreshed = time.monotonic()
if sys.argv[2] == "report":
    render.html(*monthly.report(runs, "shop", "2026-11", datetime(2026, 12, 1, tzinfo=UTC)))
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]  # ru_maxrss begins with the parent's
print(json.dumps({"read": done.read, "refresh_s": refreshed - begun, "all_s": time.monotonic() - begun,
                  "cpu_s": time.process_time(), "peak_mb": int(peak) / 1024}))
"""


def measured(runs: Path, what: str) -> dict[str, float]:
    """Refresh, and report too where that is wanted, in a new process."""
    command = [sys.executable, "-c", MEASURE, str(runs), what]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def write(runs: Path, first: int, last: int) -> None:
    """Runs number first to last, counted back from the end; each tenth a drill, the others proofs."""
    year = Year(begin=END - timedelta(days=4000), per_day=1e7)
    with mock.patch("os.fsync", new=lambda _: None):  # what is thrown away again need not outlive a power cut
        for number in range(first, last):
            write_one(year, runs, number)


def write_one(year: Year, runs: Path, number: int) -> None:
    """One run, so many before the end."""
    at = END - timedelta(seconds=round((number + 1) * 86400 / A_DAY))
    drill = number % 10 == 0
    name = year.run(runs, at, "complete_loss" if drill else "prove", kind="drill" if drill else "proof", rta=drill)
    os.utime(runs / name, (LONG_AGO_S, LONG_AGO_S))


def main() -> None:
    """Write, measure, write the rest, measure again; the last line is the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    arguments = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory(prefix="pgrescue-ledger-") as folder:
        runs = Path(folder)
        written = 0
        for upto in (arguments.runs // 10, arguments.runs):
            write(runs, written, upto)
            written = upto
            built = measured(runs, "refresh")
            print(
                f"{upto:,} runs: {built['read']:.0f} read in {built['refresh_s']:.1f} s, peak {built['peak_mb']:.0f} MB"
            )
            write(runs, upto, upto + 1)
            written += 1
            found = measured(runs, "report")
            print(
                f"  one more, then the month: {found['all_s']:.2f} s, of which {found['refresh_s']:.2f} s to see what"
                f" is new; {found['cpu_s']:.2f} s of a processor",
                flush=True,
            )
            peaks.append((upto, found["peak_mb"]))
        size = (runs / "ledger.sqlite").stat().st_size / 1e6
        print(f"  the index has {size:.0f} MB")
    for upto, peak in reversed(peaks):
        print(f"peak memory of a monthly report over {upto:,} runs: {peak:.1f} MB")
    print(f"ratio: {peaks[1][1] / peaks[0][1]:.2f}")


if __name__ == "__main__":
    main()
