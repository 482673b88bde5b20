"""Faults that tests plant, and the check that must catch each; docs/faults.md is written from this table.

A test that plants one calls `caught`, which fails when the named check did not fail, or another one failed instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"


@dataclass(frozen=True)
class Fault:
    """What is planted, and the name of the check that must fail."""

    planted: str
    caught_by: str


FAULTS: dict[str, Fault] = {
    "byte flipped in a backed-up file": Fault(
        "one bit of a stored file of a backup", "every file of repository 1 matches its checksum"
    ),
    "byte flipped in archived WAL": Fault(
        "one bit of an archived segment", "every file of repository 1 matches its checksum"
    ),
    "byte flipped in a list of the engine": Fault(
        "one bit of backup.info, archive.info, a manifest, or the copy of one",
        "both copies of the engine's lists in repository 1 are the same",
    ),
    "missing WAL segment": Fault("a segment taken out of the archive", "WAL in repository 1 has no gap"),
    "first segment of a timeline missing": Fault(
        "the first segment after a promotion removed, where its old primary archived one of that number",
        "WAL in repository 1 has no gap",
    ),
    "backup of an old primary that came back": Fault(
        "a backup taken on the primary that a failover had left, after the promotion",
        "every backup in repository 1 is on the way to the newest timeline",
    ),
    "no backup": Fault("a repository whose last backup was expired", "repository 1 holds a backup"),
    "store that does not answer": Fault("an object store that is down", "repository 1 answers"),
    "wrong certificate authority": Fault("a repository's CA file replaced on a host", "repository 1 can be read"),
    "expired credential": Fault("a repository's secret changed on a host", "repository 1 can be read"),
    # told by two censuses
    "index dropped": Fault("DROP INDEX", "every index is there and valid"),
    "index invalid": Fault("pg_index.indisvalid set to false", "every index is there and valid"),
    "index of another definition": Fault("dropped and made on another column", "every index is there and valid"),
    "grant dropped": Fault("REVOKE SELECT ON a table", "every grant is there"),
    "column grant dropped": Fault("REVOKE SELECT (column) ON a table", "every grant is there"),
    "grant to everybody": Fault("GRANT SELECT ON a table TO PUBLIC", "every grant is there"),
    "revoked right given back": Fault("GRANT EXECUTE ON a function TO PUBLIC", "every grant is there"),
    "default privileges dropped": Fault("ALTER DEFAULT PRIVILEGES ... REVOKE", "every grant is there"),
    "grant on a database dropped": Fault("REVOKE CONNECT ON DATABASE", "every grant is there"),
    "extension dropped": Fault("DROP EXTENSION", "every extension is there"),
    "extension of another version": Fault("CREATE EXTENSION ... VERSION", "every extension is there"),
    "sequence set back": Fault("setval to an earlier value", "sequences stand where the census saw them"),
    "sequence not owned": Fault("ALTER SEQUENCE ... OWNED BY NONE", "sequences stand where the census saw them"),
    "row missing": Fault("DELETE of one row", "every table has the rows the census counted"),
    "partition emptied": Fault("TRUNCATE of one partition", "every table has the rows the census counted"),
    "row changed": Fault(
        "UPDATE of one row of a table that is summed", "tables that were summed hold the same content"
    ),
    "trigger dropped": Fault("DROP TRIGGER", "every trigger is there"),
    "trigger disabled": Fault("ALTER TABLE ... DISABLE TRIGGER", "every trigger is there"),
    "event trigger dropped": Fault("DROP EVENT TRIGGER", "every trigger is there"),
    "policy dropped": Fault("DROP POLICY", "row security and every policy are there"),
    "row security off": Fault("ALTER TABLE ... DISABLE ROW LEVEL SECURITY", "row security and every policy are there"),
    "constraint dropped": Fault("ALTER TABLE ... DROP CONSTRAINT", "every constraint is there and validated"),
    "constraint not validated": Fault("the same constraint, NOT VALID", "every constraint is there and validated"),
    "role membership missing": Fault("REVOKE role FROM role", "roles and their memberships are there"),
    "role attribute missing": Fault("ALTER ROLE ... NOLOGIN", "roles and their memberships are there"),
    "function dropped": Fault("DROP FUNCTION", "every function is there"),
    "function changed": Fault("CREATE OR REPLACE with another body", "every function is there"),
    "owner changed": Fault("ALTER TABLE ... OWNER TO", "every owner is the same"),
    "view dropped": Fault("DROP VIEW", "every view is there"),
    "view changed": Fault("CREATE OR REPLACE VIEW with another condition", "every view is there"),
    "type changed": Fault("ALTER TYPE ... ADD VALUE", "every type is there"),
    "column default dropped": Fault(
        "ALTER COLUMN ... DROP DEFAULT", "tables and their columns are as the census saw them"
    ),
    "rule dropped": Fault("DROP RULE", "every object of another kind is there"),
    "text search changed": Fault("ALTER TEXT SEARCH CONFIGURATION", "every object of another kind is there"),
    "publication dropped": Fault("DROP PUBLICATION", "publications and subscriptions are there"),
    "subscription added": Fault("CREATE SUBSCRIPTION", "publications and subscriptions are there"),
    "foreign server changed": Fault("ALTER SERVER ... OPTIONS", "every object of another kind is there"),
    "security of a view lost": Fault("ALTER VIEW ... RESET (security_barrier)", "every view is there"),
    "tablespace missing": Fault("a tablespace that only one census has", "every tablespace is there"),
    "database setting dropped": Fault("ALTER DATABASE ... RESET ALL", "settings of databases and roles are there"),
    "role setting dropped": Fault("ALTER ROLE ... RESET ALL", "settings of databases and roles are there"),
    "comment dropped": Fault("COMMENT ... IS NULL", "comments, labels and large objects are as many"),
    "large object missing": Fault("lo_unlink", "comments, labels and large objects are as many"),
    "database missing": Fault("a database that the other census does not have", "every database is there"),
    "other collation": Fault(
        "another version of a library in the other census", "text sorts by the same version of its collations"
    ),
    "table not readable": Fault("a census taken by a role without rights", "everything could be read"),
    # told by a copy alone
    "sequence behind its column": Fault("setval below the column's maximum", "no sequence is behind its column"),
    "sequence without a value": Fault("the page of a sequence filled with zeros", "no sequence is behind its column"),
    "relation file missing": Fault("the file of a table removed", "every relation has its file"),
    "heap page damaged, checksums on": Fault("a byte of a table's page flipped", "every page can be read"),
    "toast page damaged": Fault("a byte of a page of long values flipped", "every page can be read"),
    "index page damaged": Fault("a byte of an index's page flipped", "every page can be read"),
    "heap page damaged, checksums off": Fault("the header length of a row overwritten", "every table is sound"),
    "index lacks a row": Fault(
        "a row inserted while pg_index.indisready was false", "every index is sound and holds every row of its table"
    ),
    "unique index holds a value twice": Fault(
        "a row given the key of another one while the index was marked as not unique",
        "every index is sound and holds every row of its table",
    ),
    "GIN index out of order": Fault(
        "two entries of a page exchanged", "every index is sound and holds every row of its table"
    ),
    "foreign key violated": Fault("UPDATE with session_replication_role = replica", "every foreign key holds"),
    "CHECK violated": Fault("added NOT VALID, then marked as validated", "every CHECK constraint holds"),
    "domain violated": Fault("added NOT VALID to a domain, then marked as validated", "every CHECK constraint holds"),
    "row in a wrong partition": Fault("bounds of two partitions exchanged", "every row is in its partition"),
    "catalog row that leads nowhere": Fault(
        "a table in a schema that does not exist", "the catalog agrees with itself"
    ),
    "database does not answer": Fault("the folder of a database moved away", "every database answers"),
    "copy with a way out": Fault("a copy that was not cut off after its replay", "the copy can connect to nothing"),
    "business assertion false": Fault("a statement that gives another value", "every order has a customer"),
    "nothing to compare with": Fault("a copy proven without a census", "everything was compared with a census"),
    "no time for all checks": Fault("a deadline of 10 ms", "all checks were made within 0.01 s"),
    # told by the signed manifest of a dump
    "dump data flipped": Fault("one bit of a dump's data file", "every file is as it was written"),
    "dump contents flipped": Fault("one bit of a dump's toc.dat", "every file is as it was written"),
    "dump globals flipped": Fault("one bit of a dump's globals.sql", "every file is as it was written"),
    "dump manifest flipped": Fault("one bit of a dump's manifest", "the manifest is signed by a key we know"),
    "dump file shortened": Fault("a data file of a dump lacks its last byte", "every file is as it was written"),
    "dump file missing": Fault("a data file of a dump is gone", "every file of the dump is there"),
    "dump file added": Fault("a file that no manifest names", "nothing else is in the dump's folder"),
    "dump signed by a stranger": Fault("only another public key is known", "the manifest is signed by a key we know"),
    "dump in another's place": Fault(
        "an older dump in the folder of a newer one", "the manifest is signed by a key we know"
    ),
    "dump with two stories": Fault("one store's manifest signed again", "the manifest is signed by a key we know"),
    "dump too small": Fault("a floor above the dump's size", "the dump is not smaller than it may be"),
    "dump unlike the ones before": Fault("a table of noise since the last dump", "the dump is like the ones before it"),
    "archive gained a timeline": Fault(
        "a history file that appears in the archive meanwhile", "the archive gained nothing from the copy"
    ),
    "archive not known afterwards": Fault(
        "no repository answers after the proof", "the archive gained nothing from the copy"
    ),
    "one archive not known afterwards": Fault(
        "one of two repositories does not answer after the proof", "every archive could be compared"
    ),
    "original flipped": Fault("one bit of an original backup", "the backup matches the checksum beside it"),
    "original gzip flipped": Fault("one bit of a compressed one without checksum", "the backup can be read to its end"),
    "original cut off": Fault("an original backup without its end", "the backup ends as pg_dump ends one"),
    "original too small": Fault("a floor above its size", "the backup is not smaller than it may be"),
    "original hostile": Fault("a command of psql in it", "the backup holds nothing but what pg_dump writes"),
}


def caught(fault: str, checks: Iterable[Mapping[str, Any]]) -> None:
    """Fail unless the check named for this fault, and no other, says that it failed."""
    failed = {check["name"]: check.get("observed") for check in checks if check["verdict"] == "failed"}
    assert [*failed] == [FAULTS[fault].caught_by], f"{fault}: {failed}"


EFFECTS = {  # what a drill expects: how its fault must have shown
    "outage": "the witness sees a failure",
    "rows_lost": "the fault's own check finds the rows gone",
    "damage": "the fault's own check finds the damage",
    "nothing": "nothing",
}


def drills() -> list[str]:
    """What drills and injectors break, from the drills and the role themselves."""
    from pgrescue.drill import scenario

    house = PAGE.parents[1]
    said = [scenario.load(name) for name in scenario.names()]
    broken = [one for one in said if one.fault]
    specs = yaml.safe_load((house / "roles/fault/meta/argument_specs.yml").read_text())["argument_specs"]
    meta = yaml.safe_load((house / "playbooks/inject_fault.meta.yml").read_text())["argument_specs"]["inject_fault"]
    injectors = meta["options"]["fault_injector"]["choices"]
    return [
        f"## Drills: {len(broken)}, and {len(injectors)} injectors",
        "",
        "These are broken for real, on hosts that are marked for it. A drill whose fault did not show as said here is",
        "void; an injector that sees no effect fails. The rest of the drills break nothing.",
        "",
        "| drill | what is broken | by | what must be seen |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.says} | `{one.fault}` | {EFFECTS[one.expects]} |" for one in broken),
        "",
        "| injector | what it does |",
        "|---|---|",
        *(f"| {name} | {specs[name]['short_description']} |" for name in sorted(injectors)),
        "",
    ]


def page() -> str:
    """The table as it stands in the docs."""
    from lint_faults import ALSO, LINT

    checked = {name: fault for name, fault in FAULTS.items() if name not in LINT}  # its own test adds them

    def table(faults: Mapping[str, Fault], caught_by: str) -> list[str]:
        rows = [f"| {name} | {fault.planted} | {fault.caught_by} |" for name, fault in sorted(faults.items())]
        return ["", f"| fault | how it is planted | {caught_by} |", "|---|---|---|", *rows]

    lines = [
        "# Planted faults",
        "",
        "Each is planted by a test and must be caught by the check named here and by no other, but for what is said of",
        "the linter and of drills below. Written by `python tests/faults.py` from the tables the tests use.",
        "",
        f"## Verification and proof: {len(checked)}",
        *table(checked, "check that fails"),
        "",
        f"## The linter: {len(LINT)}",
        "",
        "These take another finding with them: "
        + "; ".join(f"{name} ({', '.join(more)})" for name, more in sorted(ALSO.items()))
        + ".",
        *table({name.removeprefix("lint: "): fault for name, fault in LINT.items()}, "finding"),
        "",
        *drills(),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
