"""Close the record of a run: measure, judge, write the report. `python -m pgrescue.close RUN_DIR`; Playbooks do."""

from __future__ import annotations

import sys
from pathlib import Path

from pgrescue import record, verdict


def main() -> None:
    """Finish the run in the directory named on the command line and say how it ended."""
    directory = Path(sys.argv[1])
    record.finish(directory)
    print(verdict.verdict_line(record.load(directory)))


if __name__ == "__main__":
    main()
