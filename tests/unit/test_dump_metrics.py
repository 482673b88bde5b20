"""Dumps for Prometheus: what a real store holds of them, and what the records say of attempts."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dumping import fill, key_pair, url
from exporting import measured_once
from modules import collection, module
from object_store import ObjectStore
from pgrescue.core import attempts
from pgrescue.metrics import batch
from postgres import PostgresServer
from run_fixture import Synthetic

PRIVATE, PUBLIC = key_pair()
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def stores(tmp_path):
    with ObjectStore(tmp_path / "one") as one, ObjectStore(tmp_path / "two") as two:
        yield one, two


def told(folder: Path, *stores: ObjectStore, key: str = PUBLIC):
    """What the exporter of a host that takes dumps says of these stores."""
    (folder / "stores").write_text(json.dumps([store.place for store in stores]))
    wanted = {"every_s": 60, "public_keys": [key]}
    path = folder / "metrics.json"
    path.write_text(json.dumps({"cluster": "shop", "host": "dump1", "listen": {}, "collectors": {"dumps": wanted}}))
    return measured_once(folder, path, {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)})


def bucket(store: ObjectStore):
    return collection("plugins.module_utils.buckets").Bucket(store.place)


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_dumps_are_measured_in_each_store_by_when_they_began(stores, tmp_path):
    one, two = stores
    code, found, text = told(tmp_path, one, two)
    assert code == 0 and found["repository_reachable"] == {("shop", one.name): 1, ("shop", two.name): 1}, text
    assert not [name for name in found if name.startswith(("backup_last", "recovery"))], "there is no dump yet"
    with PostgresServer() as server:
        fill(server)
        wanted = {
            "url": url(server),
            "service": "shop",
            "signing_key": PRIVATE,
            "work_directory": str(tmp_path / "work"),
        }
        taken = module("take_dump")(stores=[store.place for store in stores], **wanted)
    listed = {"service": "shop", "public_keys": [PUBLIC], "stores": [store.place for store in stores]}
    (dump,) = module("dump_catalog")(**listed)["catalog"]["dumps"]
    code, found, text = told(tmp_path, one, two)
    assert code == 0 and dump["id"] == taken["id"], text
    point = found["recovery_point_timestamp_seconds"]
    assert point == {("shop", "dump", "dump"): pytest.approx(epoch(dump["started"]))}, "and not by when it ended"
    assert found["recovery_window_start_timestamp_seconds"] == {("shop", "dump"): pytest.approx(epoch(dump["started"]))}
    for store in stores:
        where = ("shop", "dump", store.name, "dump")
        assert found["backup_last_success_timestamp_seconds"][where] == pytest.approx(epoch(dump["finished"]))
        assert found["backup_last_size_bytes"][where] == dump["size_bytes"]
        assert found["backup_last_repo_size_bytes"][where] == dump["dump_bytes"]
        assert found["backup_unusable"]["shop", store.name] == 0
    assert "backup_proven_timestamp_seconds" not in found
    unknown = told(tmp_path, one, two, key=key_pair()[1])[1]
    assert unknown["backup_unusable"] == {("shop", one.name): 1, ("shop", two.name): 1}
    assert "recovery_point_timestamp_seconds" not in unknown, "whoever signed it is not known"

    first, second = (bucket(store) for store in stores)
    folder = f"dumps/shop/{dump['id']}"
    note = {"state": "validated", "at": "2026-11-28T03:00:00Z", "run": "x", "checks": 1}
    later = {**note, "at": "2026-11-28T04:00:00Z"}
    for there, said in ((first, note), (second, later)):
        there.put_bytes(f"{folder}/proof.json", json.dumps(said).encode())
    assert told(tmp_path, one, two)[1]["backup_proven_timestamp_seconds"] == {
        ("shop", "dump", one.name): epoch(note["at"]), ("shop", "dump", two.name): epoch(later["at"]),
    }  # fmt: skip

    # a copy with a hole does not count, nor one that was restored and did not pass
    second.delete([next(key for key in second.sizes(folder) if key.endswith("toc.dat"))])
    code, found, text = told(tmp_path, one, two)
    assert found["backup_unusable"] == {("shop", one.name): 0, ("shop", two.name): 1}, text
    assert {key[2] for key in found["backup_last_success_timestamp_seconds"]} == {one.name}
    first.put_bytes(f"{folder}/proof.json", json.dumps({**note, "state": "failed"}).encode())
    found = told(tmp_path, one, two)[1]
    assert found["backup_unusable"] == {("shop", one.name): 1, ("shop", two.name): 1}
    assert not [name for name in found if name.startswith(("backup_last", "recovery"))]


def test_stores_that_do_not_answer_are_told_and_none_at_all_is_no_measurement(stores, tmp_path):
    one, two = stores
    two.stop()
    code, found, text = told(tmp_path, one, two)
    assert code == 0 and found["repository_reachable"] == {("shop", one.name): 1, ("shop", two.name): 0}, text
    one.stop()
    code, found, text = told(tmp_path, one, two)
    assert code == 0 and found["repository_reachable"] == {("shop", one.name): 0, ("shop", two.name): 0}, text
    code, _found, text = measured_once(tmp_path, tmp_path / "metrics.json", os.environ)
    assert code == 1 and "handed over by systemd" in text
    code, found, text = told(tmp_path)
    assert code == 1 and found["collector_success"] == {("shop", "dump1", "dumps"): 0}, text


def test_an_account_that_may_only_list_and_read_measures(stores, tmp_path, monkeypatch):
    buckets = collection("plugins.module_utils.buckets")
    monkeypatch.setattr(buckets.Bucket, "uploads", lambda *_: pytest.fail("it may not"))
    offered = collection("plugins.module_utils.dump_store").offered
    assert offered([store.place for store in stores], "shop", [PUBLIC]) == ([], {})


def test_attempts_to_dump_are_told_by_the_records(tmp_path):
    runs = tmp_path / "runs"
    Synthetic().write(runs)
    began = [NOW - timedelta(days=days) for days in (3, 2, 1)]
    said = [attempts.passed(f"{at:%Y-%m-%dT%H:%M:%SZ}", store, "dump", 60) for at in began[:2] for store in ("a", "b")]
    said.append(attempts.failed("disk full", "b", "dump", at=f"{began[2]:%Y-%m-%dT%H:%M:%SZ}"))
    said.append(attempts.passed("2026-11-28T09:00:00Z", "1", "full", 9))  # a backup: its host exports that
    attempts.append(str(runs / "attempts/shop.jsonl"), said)

    def exported():
        found = {}
        for one in batch.samples(runs, NOW):
            found.setdefault(one.name.removeprefix("pgrescue_"), {})[one.labels] = one.value
        return found

    found = exported()
    assert found["backup_last_attempt_success"] == {("shop", "dump", "a"): 1, ("shop", "dump", "b"): 0}
    ended = found["backup_last_attempt_timestamp_seconds"]
    assert ended == {
        ("shop", "dump", "a"): pytest.approx(began[1].timestamp() + 60),
        ("shop", "dump", "b"): pytest.approx(began[2].timestamp()),
    }
    assert found["backup_attempts_total"]["shop", "dump", "b", "failed"] == 1
    assert found["backup_attempts_total"]["shop", "dump", "b", "passed"] == 2
    # it began before another one failed, and ended afterwards
    slow = attempts.passed("2026-11-27T11:00:00Z", "b", "dump", 7200)
    attempts.append(str(runs / "attempts/shop.jsonl"), [slow])
    assert exported()["backup_last_attempt_success"] == {("shop", "dump", "a"): 1, ("shop", "dump", "b"): 1}
    unsaid = attempts.passed("2026-11-27T12:30:00Z", "a", "dump", 0)
    del unsaid["duration_s"]
    attempts.append(str(runs / "attempts/shop.jsonl"), [unsaid])
    assert exported()["backup_last_attempt_timestamp_seconds"]["shop", "dump", "a"] == pytest.approx(
        epoch(unsaid["at"])
    )
    failed = attempts.failed("no server", None, "dump", at="2026-11-28T11:00:00Z")
    attempts.append(str(runs / "attempts/shop.jsonl"), [failed])
    assert exported()["backup_last_attempt_success"] == {("shop", "dump", "a"): 0, ("shop", "dump", "b"): 0}
