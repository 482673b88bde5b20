"""Copies of a record in a real object store: the program the lab's stores run."""

import subprocess
import sys
from pathlib import Path

import pytest
from modules import module, refused
from postgres import free_port, until

LEFT = {"manifest.sha256": "x", "controller.json": "private"}
SECRET = "a-secret-of-realistic-length"


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "objects"
    for bucket in ("evidence", "records"):
        (root / bucket).mkdir(parents=True)
    port = free_port()
    program = Path(sys.executable).parent / "rclone"
    command = [program, "serve", "s3", root, "--addr", f"127.0.0.1:{port}", "--auth-key", f"lab,{SECRET}"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        until(lambda: "Starting s3 server" in (tmp_path / "log").read_text(), 10, "the store serves")
        place = {"url": f"http://127.0.0.1:{port}", "bucket": "evidence", "region": "east"}
        yield {**place, "key": "lab", "secret": SECRET}
        process.terminate()


@pytest.fixture
def run_dir(tmp_path):
    made = tmp_path / "run-1"
    made.mkdir()
    for name, text in {"run.json": "{}", "timeline.jsonl": "one line", **LEFT}.items():
        (made / name).write_text(text)
    return made


def fetch(tmp_path, *stores, run="run-1", check=False):
    """Fetch a record to another machine's runs."""
    return module("fetch_record")(run=run, runs_dir=str(tmp_path / "elsewhere"), stores=list(stores), check=check)


def test_a_record_is_copied_whole_and_comes_back(store, run_dir, tmp_path):
    assert module("mirror_record")(run_dir=str(run_dir), stores=[store], required=True)["changed"]
    back = Path(fetch(tmp_path, store)["run_dir"])
    assert {p.name: p.read_text() for p in back.iterdir()} == {
        "run.json": "{}",
        "timeline.jsonl": "one line",
        "manifest.sha256": "x",
    }
    assert {p.stat().st_mode & 0o777 for p in back.iterdir()} == {0o600}
    assert not fetch(tmp_path, store)["changed"]


def test_the_store_with_the_longest_timeline_is_asked_and_one_that_is_down_is_named(store, run_dir, tmp_path):
    other, down = {**store, "bucket": "records"}, {**store, "url": f"http://127.0.0.1:{free_port()}"}
    module("mirror_record")(run_dir=str(run_dir), stores=[store])
    (run_dir / "timeline.jsonl").write_text("one line and another")
    module("mirror_record")(run_dir=str(run_dir), stores=[other])
    assert fetch(tmp_path, down, store, other, check=True)["changed"]
    assert not (tmp_path / "elsewhere").exists()
    back = Path(fetch(tmp_path, down, store, other)["run_dir"])
    assert (back / "timeline.jsonl").read_text() == "one line and another"
    assert refused(fetch(tmp_path, down, store, run="run-2"), 3, "No object store holds run run-2", down["url"])


def test_a_store_that_is_down_is_noted_and_the_other_one_gets_its_copy(store, run_dir):
    down = {**store, "url": f"http://127.0.0.1:{free_port()}"}
    answer = module("mirror_record")(run_dir=str(run_dir), stores=[down, store])
    assert answer["held"] == [f"{store['url']}/evidence"]
    assert down["url"] in answer["journal"][0]["detail"]
    assert SECRET not in str(answer)


def test_no_copy_anywhere_fails_only_where_one_is_required(store, run_dir):
    down = {**store, "url": f"http://127.0.0.1:{free_port()}"}
    wrong = {**store, "secret": "another-secret-of-that-length"}
    for broken in (down, wrong):
        assert not module("mirror_record")(run_dir=str(run_dir), stores=[broken]).get("failed")
        answer = module("mirror_record")(run_dir=str(run_dir), stores=[broken], required=True)
        assert refused(answer, 5, "The record was not mirrored to")
