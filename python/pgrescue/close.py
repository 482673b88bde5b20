"""Close the record of a run: measure, judge, report, seal. `python -m pgrescue.close RUN_DIR`; Playbooks do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from pgrescue import record, report, verdict
from pgrescue.evidence import pack, reopening
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import verify
from pgrescue.files import write_json, write_text
from pgrescue.metrics import textfile
from pgrescue.models import Result, Run


def finish(directory: Path, result: Result | None = None) -> Run:
    """Complete a record: measurement, result and exit code, reports, evidence, manifest and seal. Idempotent.

    Raises EvidenceError for one that was sealed and changed since without having been reopened. `result`
    may declare the run `void` or `aborted`; otherwise the records decide.
    """
    settings = Settings.of(directory)
    unfit = reopening.may_seal(directory, settings)
    found = record.load(directory)
    declared = result if result in ("void", "aborted") else found.run.result
    outcome = replace(found, run=found.run.model_copy(update={"result": declared})).outcome
    run = found.run.model_copy(update={"result": outcome.result, "exit_code": outcome.exit_code})
    write_json(directory / "run.json", run.dump())
    write_json(directory / "measurement.json", found.measurement.dump())
    finished = record.load(directory)
    write_text(directory / "report.html", report.html(finished))
    write_text(directory / "report.md", report.markdown(finished))
    pack.close(finished, settings, unfit)
    textfile.publish(directory.parent)
    return run


def main() -> None:
    """Finish the run in the directory named on the command line; say how it ended and what its evidence lacks."""
    directory = Path(sys.argv[1])
    try:
        finish(directory)
    except EvidenceError as error:
        print(error)
        sys.exit(error.code)
    print(verdict.verdict_line(record.load(directory)))
    for problem in verify(directory).problems:
        print(problem)


if __name__ == "__main__":
    main()
