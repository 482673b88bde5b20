"""Close the record of a run: measure, judge, report, seal. `python -m pgrescue.close RUN_DIR`; Playbooks do."""

from __future__ import annotations

import sys
from pathlib import Path

from pgrescue import record, verdict
from pgrescue.evidence.verify import verify


def main() -> None:
    """Finish the run in the directory named on the command line; say how it ended and what its evidence lacks."""
    directory = Path(sys.argv[1])
    record.finish(directory)
    print(verdict.verdict_line(record.load(directory)))
    for problem in verify(directory).problems:
        print(problem)


if __name__ == "__main__":
    main()
