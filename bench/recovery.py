"""What the orchestration costs: a recovery of about 3 GB against the bare engine commands for the same target.

Both fetch the same backup from the same object store to a clean host, replay the same archived WAL and are over when
the database can be written. The recovery is the whole runbook from the start of its run: it looks, decides, plans,
stops the application, proves that nobody writes. The bare engine is timed on the host itself, before and after, so
that drift of a shared machine shows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab_hosts import HOUSE, INVENTORY, on, roles, run

BARE = """
place=/var/lib/postgresql/17/bare
began=$(date +%s.%N)
mkdir -p -m 700 $place
pgbackrest --stanza=shop --repo={repo} --set={label} --pg1-path=$place --type=default --target-timeline={timeline} \
  --process-max=$(nproc) --recovery-option=archive_command= --log-level-console=warn restore
fetched=$(date +%s.%N)
/usr/lib/postgresql/17/bin/postgres -D $place -c config_file=/etc/postgresql/17/main/postgresql.conf \
  -c data_directory=$place -c external_pid_file= >/tmp/bare.log 2>&1 &
until [ "$(psql -Atc 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; do
  kill -0 $! || {{ cat /tmp/bare.log >&2; exit 1; }}
  sleep 0.05
done
writable=$(date +%s.%N)
/usr/lib/postgresql/17/bin/pg_ctl -D $place -m immediate -s stop
rm -r $place /tmp/bare.log
echo "$began $fetched $writable"
"""

WAL = """
start=$(psql -Atc "SELECT pg_current_wal_lsn()")
while [ "$(psql -Atc "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '$start') >= {segments} * 16777216.0")" = f ]; do
  pgbench -n -N -c 2 -T 5 bench >/dev/null 2>&1
done
pgbackrest --stanza=shop check
"""


class Target(NamedTuple):
    """What both restore."""

    label: str
    repo: int
    timeline: int


def fill(primary: str, scale: int) -> None:
    """Make about 15 MB of data a unit of scale, and back it up."""
    print(f"==> filling {primary} with pgbench at scale {scale} and backing it up", flush=True)
    on(primary, "dropdb --if-exists bench; createdb bench")
    on(primary, f"pgbench -i -q -I dtGvp -s {scale} bench 2>/dev/null; psql -qc CHECKPOINT")
    on(primary, "pgbackrest --stanza=shop --repo=1 --type=full backup")
    size = on(primary, 'psql -Atc "SELECT pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database"')
    print(f"    {size} of data", flush=True)


def write_wal(primary: str, segments: int) -> Target:
    """Write WAL after the newest backup until so many segments are archived; what is there to restore then."""
    print(f"==> writing {segments} segments of WAL on {primary}", flush=True)
    on(primary, WAL.format(segments=segments))
    info = json.loads(on(primary, "pgbackrest --stanza=shop --output=json info"))
    newest = max(info[0]["backup"], key=lambda b: (b["timestamp"]["stop"], -b["database"]["repo-key"]))
    timeline = int(on(primary, 'psql -Atc "SELECT timeline_id FROM pg_control_checkpoint()"'))
    return Target(newest["label"], newest["database"]["repo-key"], timeline)


def bare(host: str, target: Target) -> float:
    """Seconds the engine's own commands need until the database can be written."""
    began, fetched, writable = map(float, on(host, BARE.format(**target._asdict())).split())
    fetch, replay = fetched - began, writable - fetched
    print(f"bare engine on {host}: {writable - began:.1f} s (fetch {fetch:.1f}, replay {replay:.1f})", flush=True)
    return writable - began


def recover(run_id: str) -> tuple[float, float]:
    """Seconds from the start of the run until the database can be written, and until the client is served."""
    wanted = ["-e", "service=shop", "-e", "confirm=shop", "-e", f"run_id={run_id}"]
    run("ansible-playbook", "playbooks/complete_loss.yml", "-i", INVENTORY, *wanted)
    record = HOUSE / "runs" / run_id
    events = [json.loads(line) for line in (record / "timeline.jsonl").read_text().splitlines()]
    start = next(e for e in events if e["event"] == "start")["monotonic_ns"]
    reached = {e["step"]: (e["monotonic_ns"] - start) / 1e9 for e in events if e["event"] == "milestone"}
    writable, served = reached["writable"], reached["service_healthy"]
    measured = json.loads((record / "measurement.json").read_text())
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in measured["phases"].items())
    print(f"recovery: {writable:.1f} s until writable, {served:.1f} s until the client is served")
    print(f"    phases: {phases}")
    print(f"    as the client measured it, from its last success: {measured['rta_s']:.1f} s", flush=True)
    return writable, served


def one_round(segments: int) -> tuple[float, float, list[float]]:
    """Destroy the service once; the recovery until writable and until served, and the bare engine before and after."""
    hosts = roles()
    target = write_wal(hosts["primary"][0], segments)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-shop-complete_loss"
    print("==> destroying every host that runs the database", flush=True)
    of_run = ["-i", INVENTORY, "-e", "service=shop", "-e", f"run_id={run_id}"]
    run("ansible-playbook", "lab/faults/destroy_hosts.yml", *of_run)
    before = bare(hosts["spare"][0], target)
    writable, served = recover(run_id)
    run("pgrescue", "lab", "up")
    return writable, served, [before, bare(roles()["spare"][0], target)]


def main() -> None:
    """Fill once, then destroy and time; the last line is the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=200, help="of pgbench; 200 is about 3 GB")
    parser.add_argument("--segments", type=int, default=128, help="of WAL to replay after the backup, 16 MB each")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    fill(roles()["primary"][0], arguments.scale)
    rounds = [one_round(arguments.segments) for _ in range(arguments.rounds)]
    drop = "dropdb bench; for repo in 1 2; do pgbackrest --stanza=shop --repo=$repo --type=full backup; done"
    on(roles()["primary"][0], drop)
    writable, served = (statistics.median(r[i] for r in rounds) for i in (0, 1))
    engine = statistics.median(seconds for r in rounds for seconds in r[2])
    print(f"until the client is served: {served:.1f} s, {served / engine:.2f} times the bare engine until writable")
    print(f"recovery until writable: {writable:.1f} s (median of {len(rounds)})")
    print(f"bare engine until writable: {engine:.1f} s (median of {2 * len(rounds)})")
    print(f"ratio: {writable / engine:.2f}")


if __name__ == "__main__":
    main()
