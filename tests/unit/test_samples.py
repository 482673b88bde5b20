"""What hosts did during a drill: sampled by sysstat for real, converted, kept, shown; and what is missing is said."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from drillings import drill, ended, sar
from pgrescue import close, record, report
from pgrescue.drill import checklist, samples, samples_view, sampling
from pgrescue.drill.checklist import Item
from pgrescue.drill.play import Played
from pgrescue.drill.samples import Sample, Samples
from pgrescue.evidence import findings
from pgrescue.evidence.settings import Settings
from pgrescue.evidence.verify import verify
from pgrescue.recovery import Request
from rich.console import Console
from run_fixture import ZERO, Synthetic

AT = datetime(2026, 11, 24, 1, 20, 50, tzinfo=UTC)
TABLES = {
    "CPU": [{"CPU": "all", "%user": "20.00", "%system": "5.00", "%idle": "75.00"}],
    "tps": [{"tps": "2.00", "bread/s": "4.00", "bwrtn/s": "10.00"}],
    "kbmemfree": [{"kbmemfree": "1", "%memused": "41.50"}],
    "runq-sz": [{"runq-sz": "0", "ldavg-1": "0.75"}],
    "IFACE": [
        {"IFACE": "lo", "rxkB/s": "900.00", "txkB/s": "900.00"},
        {"IFACE": "eth0", "rxkB/s": "2.00", "txkB/s": "1.00"},
        {"IFACE": "eth1", "rxkB/s": "1.00", "txkB/s": "0.50"},
    ],
}
# sysstat 12.7.5 of Debian 13, over midnight; sadf 12.6.1 of Debian 12 found nothing in what its sadc had recorded
MIDNIGHT = """Linux 6.18.44 (db1) \t2026-11-27 \t_x86_64_\t(2 CPU)

23:59:58        CPU     %user     %nice   %system   %iowait    %steal     %idle
23:59:59        all      0.00      0.00      1.01      0.00      0.00     98.99

23:59:58        IFACE   rxpck/s   txpck/s    rxkB/s    txkB/s   rxcmp/s   txcmp/s  rxmcst/s   %ifutil
23:59:59           lo      0.00      0.00      8.00      8.00      0.00      0.00      0.00      0.00
23:59:59         eth0      0.00      0.00      1.00      2.00      0.00      0.00      0.00      0.00

23:59:59        CPU     %user     %nice   %system   %iowait    %steal     %idle
00:00:00        all      0.00      0.00      0.50      0.00      0.00     99.50

Average:        CPU     %user     %nice   %system   %iowait    %steal     %idle
Average:        all      0.00      0.00      0.75      0.00      0.00     99.25
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Three seconds of this machine, as a host streams them."""
    path = tmp_path_factory.mktemp("sar") / "db1.sar"
    with path.open("wb") as out:
        subprocess.run(["sh", "-c", sar(3)], stdout=out, check=True)
    return path


def test_one_second_of_sysstat_is_one_sample_in_plain_units():
    assert samples.sample(AT, TABLES).dump() == {
        "at": "2026-11-24T01:20:50.000000Z",
        "cpu_busy_percent": 25.0,
        "memory_used_percent": 41.5,
        "load_1": 0.75,
        "disk_read_bytes_s": 2048.0,
        "disk_written_bytes_s": 5120.0,
        "network_received_bytes_s": 3072.0,
        "network_sent_bytes_s": 1536.0,
    }


@pytest.mark.parametrize("table", TABLES)
def test_what_a_host_did_not_measure_is_absent(table):
    found = samples.sample(AT, {key: value for key, value in TABLES.items() if key != table}).dump()
    assert set(samples.sample(AT, TABLES).dump()) > set(found) > {"at"}


def test_what_sysstat_streams_is_read_second_by_second(recorded):
    found = samples.convert(recorded)
    assert len(found) == 3
    assert {(after.at - before.at).total_seconds() for before, after in pairwise(found)} <= {
        1.0,
        2.0,
    }
    assert abs(found[-1].at - datetime.now(UTC)) < timedelta(hours=1)
    assert all(set(one.dump()) == set(samples.sample(AT, TABLES).dump()) for one in found)
    assert all(0 <= one.cpu_busy_percent <= 100 for one in found)


def test_a_night_is_sampled_past_its_end(tmp_path):
    (tmp_path / "x.sar").write_text(MIDNIGHT)
    assert [one.dump() for one in samples.convert(tmp_path / "x.sar")] == [
        {
            "at": "2026-11-27T23:59:59.000000Z",
            "cpu_busy_percent": 1.01,
            "network_received_bytes_s": 1024.0,
            "network_sent_bytes_s": 2048.0,
        },
        {"at": "2026-11-28T00:00:00.000000Z", "cpu_busy_percent": 0.5},
    ]


def test_a_stream_that_ends_in_the_middle_of_a_line_gives_all_that_is_whole(recorded, tmp_path):
    (tmp_path / "cut.sar").write_text(MIDNIGHT[: MIDNIGHT.index("99.50") + 2])
    assert len(samples.convert(tmp_path / "cut.sar")) == 1


@pytest.mark.parametrize("content", ["", "not what sar writes\n" * 50, MIDNIGHT.replace("%idle", "idle"),
                                     MIDNIGHT.replace("98.99", "98.99 7")])  # fmt: skip
def test_what_sysstat_did_not_write_is_refused(content, tmp_path):
    (tmp_path / "x.sar").write_text(content)
    with pytest.raises(samples.SamplesError):
        samples.convert(tmp_path / "x.sar")


def sampled(tmp_path, commands):
    made = sampling.Sampling(commands, tmp_path)
    made.begin()
    return made


def until(true):
    ends, pause = datetime.now(UTC) + timedelta(seconds=20), threading.Event()
    while not true() and datetime.now(UTC) < ends:
        pause.wait(0.05)


def test_hosts_are_sampled_until_they_die_and_the_others_until_the_end(tmp_path):
    there, kept = tmp_path / "there", tmp_path / "run"
    there.mkdir(), kept.mkdir()
    dying = ["sh", "-c", f"{sar(2)}; echo Connection to db1 closed. >&2; exit 255".removeprefix("exec ")]
    made = sampled(there, {"db1": dying, "db2": ["sh", "-c", sar(60)]})
    until(lambda: made._streams["db1"].poll() is not None and (there / "db2.sar").read_text().count("IFACE") > 2)
    made.keep(kept)
    gone, well = samples.read(kept)
    assert (gone.host, gone.ended, len(gone.samples)) == ("db1", "Connection to db1 closed.", 2)
    assert (well.host, well.ended, well.problem, bool(well.samples)) == ("db2", None, None, True)
    assert made._streams["db2"].poll() is not None, "nobody listens any more"


def test_of_a_long_wait_only_what_is_asked_for_is_kept(tmp_path, recorded):
    made = sampled(tmp_path, {"db1": ["cat", str(recorded)]})
    made._streams["db1"].wait()
    last = samples.convert(recorded)[-1]
    made.keep(tmp_path, last.at)
    assert samples.read(tmp_path)[0].samples == [last]


def test_a_host_that_falls_silent_without_an_end_is_told_from_one_that_is_sampled(tmp_path, recorded):
    made = sampled(tmp_path, {"db1": ["sh", "-c", f"cat {recorded}; exec sleep 60"]})
    until(lambda: (tmp_path / "db1.sar").stat().st_size == recorded.stat().st_size)
    os.utime(tmp_path / "db1.sar", (0, 0))
    made.keep(tmp_path)
    assert samples.read(tmp_path)[0].ended.startswith("nothing came for ")


def test_what_cannot_be_converted_is_a_problem_of_its_host_alone(tmp_path, recorded):
    made = sampled(tmp_path, {"db1": ["echo", "hello"], "db2": ["cat", str(recorded)]})
    made.keep(tmp_path)
    wrong, right = samples.read(tmp_path)
    assert wrong.problem and not wrong.samples
    assert right.samples


ASKED = Request("failover", "shop", "inventories/lab", {})


def entered(monkeypatch, commands, done=True, code=0):
    """What the drill is given, and what it says."""
    played = []

    def playbook(path, request, run_id, console, more=None):
        played.append((path, more))
        return Played(code, "", {"samples": commands})

    monkeypatch.setattr(sampling, "playbook", playbook)
    out = Console(record=True, width=200)
    item = Item(item="sampling", phase="before", text="", done=done, said="", by="ada", at=ZERO)
    with sampling.sampling([item], ASKED, 7200.0, out) as made:
        return made, out.export_text(), played


@pytest.mark.parametrize(
    ("commands", "code", "words"),
    [
        ({"db1": ["sh", "-c", "echo sar: not found >&2; exit 127"]}, 0, "db1 is not sampled: sar: not found"),
        ({"db1": ["true"]}, 0, "db1 is not sampled: nothing came"),
        ({}, 5, "The hosts cannot be sampled"),
    ],
)
def test_a_host_that_cannot_be_sampled_stops_the_drill_before_its_fault(monkeypatch, commands, code, words):
    made, said, _ = entered(monkeypatch, commands, code=code)
    assert made is None
    assert words in said
    assert "Nothing was broken. Go on without: --without sampling=REASON" in said


def test_a_playbook_that_hands_nothing_over_is_no_sampling(monkeypatch):
    made, said, _ = entered(monkeypatch, {})
    assert made is None
    assert "The hosts cannot be sampled" in said


def test_who_goes_on_without_samples_nothing(monkeypatch):
    made, said, played = entered(monkeypatch, {"db1": ["false"]}, done=False)
    assert made is not None
    assert (said, played) == ("", [])


def test_a_host_stops_by_itself_when_nobody_tells_it_to(monkeypatch):
    _, _, played = entered(monkeypatch, {"db1": ["sh", "-c", sar(60)]})
    assert played == [("playbooks/sample_hosts.yml", {"samples_limit_s": 7200 + 6 * 3600})]


def host(name, seconds, **more):
    at = [ZERO + timedelta(seconds=n) for n in seconds]
    return Samples(host=name, samples=[Sample(at=one, cpu_busy_percent=50.0, load_1=0.5) for one in at], **more)


def with_samples(root, *hosts, torn=()):
    directory = Synthetic().write(root)
    (directory / "drill.json").write_text(json.dumps(drill().dump()))
    for one in hosts:
        (directory / samples.name(one.host)).write_text(json.dumps(one.dump()))
    for name in torn:
        (directory / samples.name(name)).write_text("{}")
    close.finish(directory)
    return record.load(directory)


def test_a_report_shows_what_each_host_did_and_where_its_samples_end(tmp_path):
    one, other = host("db1", range(10), ended="Timeout."), host("db2", [*range(10), *range(30, 40)])
    found = with_samples(tmp_path, one, other)
    gone, well = samples_view.rows(samples.read(found.directory), found.story.fault)
    assert gone.said == f"10 samples, ends at {ZERO + timedelta(seconds=9):%H:%M:%S}: Timeout."
    assert well.said == "20 samples"
    assert {cell.name: cell.most for cell in gone.cells} == {
        "CPU": "50 %", "Memory": "no data", "Load": "0.50", "Disk": "no data", "Network": "no data",
    }  # fmt: skip
    assert gone.cells[0].picture.count("<polyline") == 1
    assert well.cells[0].picture.count("<polyline") == 2, "no line joins what was not sampled"
    assert ("l6 6" in gone.cells[0].picture, "l6 6" in well.cells[0].picture) == (True, False)
    assert "10 samples, ends at" in report.markdown(found)
    assert "What the hosts did" in report.html(found)
    assert report.html(found).count('<polyline class="sample"') == 6
    assert verify(found.directory).holds


def test_samples_that_cannot_be_read_are_said_and_stop_no_report(tmp_path):
    found = with_samples(tmp_path, torn=["db1"])
    assert "Samples of the hosts: cannot be read: samples-db1.json" in (found.directory / "report.md").read_text()


def kept(found):
    items = checklist.during(found.story, found.directory, [], "ada", ZERO)
    return next((one.done, one.said) for one in items if one.item == "samples")


@pytest.mark.parametrize(
    ("hosts", "done", "words"),
    [
        ([], False, "nothing was sampled"),
        ([host("db1", [0, 1]), host("db2", [0, 1, 2])], True, "2 hosts"),
        ([host("db1", [0, 1], ended="Timeout.")], True, "1 host; db1 ends at "),
        ([host("db1", [0]), host("db2", [], ended="Timeout.")], False, "2 hosts; db2: Timeout."),
        ([host("db1", [], problem="no sar")], False, "1 host; db1: no sar"),
    ],
)
def test_the_checklist_says_what_was_sampled(tmp_path, hosts, done, words):
    found = with_samples(tmp_path, *hosts)
    assert kept(found)[0] is done
    assert kept(found)[1].startswith(words)


def test_what_was_not_sampled_nor_recorded_is_a_finding_unless_somebody_gave_a_reason(tmp_path):
    found = ended(tmp_path)
    items = checklist.during(found.story, found.directory, [], "ada", ZERO)
    (found.directory / "checklist.json").write_text(json.dumps([one.dump() for one in items]))
    titles = [one.title for one in findings.of(record.load(found.directory), Settings())]
    assert "Not done during: every host is sampled each second: nothing was sampled" in titles
    assert "Not done during: the terminal is recorded: nothing was" in titles


def test_the_playbook_hands_over_how_each_host_is_sampled(tmp_path, monkeypatch):
    from pgrescue import runner

    monkeypatch.setenv("ANSIBLE_SSH_COMMON_ARGS", "-o UserKnownHostsFile=/k")  # what Ansible itself would go by
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"db1": {**here, "ansible_host": "10.0.0.11", "ansible_user": "ops"}, "db2": here, "other": here}
    shop = {"hosts": {"db1": {}, "db2": {}}, "vars": {"service_name": "shop"}}
    inventory = {"all": {"hosts": hosts, "children": {"shop": shop}}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    play = runner.start(sampling.PLAYBOOK, str(tmp_path / "hosts.yml"), {"service": "shop", "samples_limit_s": 1})
    assert play.wait() == 0, play.output()
    handed = play.results()["samples"]
    play.forget()
    assert set(handed) == {"db1", "db2"}
    assert handed["db1"][0] == "ssh"
    assert handed["db1"][-2] == "ops@10.0.0.11"
    assert "UserKnownHostsFile=/k" in handed["db1"]
    # what the host's shell is told: sar, for as long as was said
    done = subprocess.run(["sh", "-c", handed["db1"][-1]], capture_output=True, timeout=60, check=True)
    assert done.stdout


def test_what_is_kept_of_a_host_fits_its_schema(tmp_path, recorded):
    import jsonschema
    from pgrescue import schemas

    sampled(tmp_path, {"db1": ["cat", str(recorded)]}).keep(tmp_path)
    jsonschema.validate(json.loads((tmp_path / samples.name("db1")).read_text()), schemas.schema("samples"))
