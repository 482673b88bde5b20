"""What is asked of WAL and of a copy, and what the answers say."""

from itertools import pairwise

import pytest
from pgrescue.core import guards, moment_view, moments, waldump

LINE = "rmgr: {:11} len (rec/tot):     54/    54, tx: {:10}, lsn: 0/{:08X}, prev 0/00000000, desc: {}"
INSERT = "INSERT off 3 flags 0x00, blkref #0: rel 1663/5/16384 blk 0"
MULTI = {
    14: "MULTI_INSERT+INIT 7 tuples flags 0x02, blkref #0: rel 1663/5/16384 blk 0",
    17: "MULTI_INSERT+INIT ntuples: 7, flags: 0x02, offsets: [1], blkref #0: rel 1663/5/16384 blk 0",
}
DELETE = "DELETE xmax: 750, off: 4, infobits: [KEYS_UPDATED], flags: 0x00, blkref #0: rel 1663/5/16384 blk 0"
UPDATE = "HOT_UPDATE off 1 xmax 735 flags 0x20 ; new off 3 xmax 0, blkref #0: rel 1663/5/16384 blk 0"
COMMITTED = "COMMIT 2026-11-26 10:50:40.021561 UTC"


def lines(*records):
    return [LINE.format(manager, xid, at, text) for manager, xid, at, text in records]


def test_wal_is_folded_into_the_transactions_that_committed():
    history = waldump.read(
        lines(
            ("Heap", 10, 0x100, INSERT),
            ("Heap2", 10, 0x140, MULTI[14]),
            ("Heap2", 11, 0x180, MULTI[17]),
            ("Heap", 12, 0x1C0, DELETE),  # a subtransaction of 10
            ("Heap", 13, 0x200, DELETE),  # and one that was rolled back
            ("Transaction", 13, 0x240, "ABORT 2026-11-26 10:50:40.000000 UTC"),
            ("XLOG", 0, 0x280, "RESTORE_POINT before the deployment"),
            ("XLOG", 0, 0x2A0, "RESTORE_POINT pgBackRest Archive Check"),
            ("Transaction", 10, 0x2C0, COMMITTED + "; subxacts: 12; inval msgs: catcache 7 relcache 16384"),
            ("Heap", 14, 0x300, UPDATE),
            ("Transaction", 0, 0x340, "COMMIT_PREPARED 14: 2026-11-26 10:50:41.000000 UTC"),
            ("Heap", 0, 0x350, "INPLACE off 4, blkref #0: rel 1664/0/1262 blk 0"),
            ("Heap", 15, 0x360, "DELETE off 4 flags 0x00 KEYS_UPDATED , blkref #0: rel 1664/0/1262 blk 0"),
            ("Database", 15, 0x380, "DROP dir 1663/16395"),
            (
                "Transaction",
                15,
                0x3C0,
                COMMITTED + "; rels: base/5/16384 pg_tblspc/16400/PG_15_202209061/5/16390; sync",
            ),
            ("Transaction", 11, 0x400, "ABORT 2026-11-26 10:50:42.000000 UTC"),
        )
    )
    first, prepared, dropping = history.transactions
    assert dropping.lsn == 0x350  # leaving its commit out does not bring the files back
    assert (first.lsn, first.xid, first.time) == (0x2C0, 10, "2026-11-26T10:50:40.021561Z")
    assert (first.changes, first.relations) == ({"5/16384": [8, 0, 1]}, [16384])
    assert (prepared.xid, prepared.changes) == (14, {"5/16384": [0, 1, 0]})
    assert (dropping.dropped, dropping.databases) == (["5/16384", "5/16390"], ["16395"])
    assert [point.name for point in history.points] == ["before the deployment"]
    assert waldump.History.of(history.as_dict()) == history


def test_before_15_pg_waldump_takes_no_list():
    assert waldump.arguments(14) == []
    assert "--rmgr=Heap" in waldump.arguments(15)


def transaction(xid, **more):
    return waldump.Transaction(xid * 0x100, xid, f"2026-11-26T10:00:{xid:02}.000000Z", **more)


def test_what_a_change_of_definition_makes_becomes_the_tables_own():
    table = moments.Table("5", {"5/10"}, {10})
    did = [
        transaction(1, changes={"5/10": [0, 0, 2], "5/99": [0, 0, 50]}),
        transaction(2, relations=[10], created=["5/20"], dropped=["5/10"]),  # TRUNCATE
        transaction(3, changes={"5/20": [0, 3, 0]}),
        transaction(4, databases=["5"]),
    ]
    weights = table.weights(did, "content", None)
    assert weights == [2, moments.DEFINITION, 3, moments.DEFINITION]
    assert moments.Table("5", {"5/10"}, {10}).weights(did, "rows", None)[2] == 0  # an update takes no row away
    assert moments.Table("5", {"5/10"}, {10}).weights(did, "rows", "id > 7")[2] == 3  # but out of a condition


def test_there_is_a_halt_at_every_transaction_when_there_are_few():
    assert moments.boundaries(3, 7, [0] * 9, 10, True) == [3, 4, 5, 6, 7]


def test_there_are_halts_around_what_did_most_and_evenly_over_the_rest():
    weights = [1] * 1000
    weights[777] = 50
    asked = moments.boundaries(0, 1000, weights, 100, True)
    assert {0, 1000, 777, 778} <= set(asked)
    assert len(asked) <= 102
    assert max(b - a for a, b in pairwise(asked)) <= 25
    assert len(moments.boundaries(0, 1000, weights, 100, False)) <= 52
    # of nothing that touches the table the halts are over all, so that each pass comes closer
    assert len(moments.boundaries(0, 1000, [0] * 1000, 100, True)) >= 50


@pytest.mark.parametrize(
    ("how", "answers", "between"),
    [
        ("truth", [(0, "true"), (1, "true"), (2, "false"), (3, "false")], (1, 2)),
        ("truth", [(0, "true"), (1, "false"), (2, "true"), (3, "gone")], (2, 3)),  # the last time
        ("truth", [(0, "true"), (1, None), (2, "false")], (0, 2)),
        ("truth", [(0, "true"), (1, "true")], None),
        ("content", [(0, "a"), (1, "b"), (2, "c"), (3, "c")], (1, 2)),
        ("content", [(0, "a"), (1, "a")], None),
        ("rows", [(0, "10"), (1, "9"), (2, "4"), (3, "3")], (1, 2)),
        ("rows", [(0, "10"), (1, "12"), (2, "gone")], (1, 2)),
        ("rows", [(0, "10"), (1, "12")], None),
    ],
)
def test_where_the_damage_was_done(how, answers, between):
    assert moments.damaged_between(how, answers, [moments.DEFINITION] * 9) == between


def test_many_small_losses_are_not_the_damage():
    answers = [(0, "500"), (90, "410"), (91, "390"), (100, "380")]
    assert moments.damaged_between("rows", answers, [1] * 90 + [20] + [1] * 9) == (90, 91)


def test_where_the_table_was_locked_by_one_who_changed_it_nothing_more_can_be_asked():
    assert moments.is_decided((3, 4), [(3, "true"), (4, "false")])
    assert moments.is_decided((3, 5), [(3, "true"), (4, None), (5, "false")])
    assert not moments.is_decided((3, 6), [(3, "true"), (4, None), (6, "false")])


def test_a_chain_of_segments_ends_before_a_gap_and_follows_timelines():
    names = [f"{t:08X}{0:08X}{n:08X}" for t, n in ((1, 3), (1, 4), (1, 5), (2, 5), (2, 6), (2, 8))]
    chain = moments.chain(names, names[0], 1 << 24)
    assert chain == [names[0], names[1], names[3], names[4]]
    assert moments.chain(names[1:], names[0], 1 << 24) == []
    stored = {name: 100 * n for n, name in enumerate(names)}
    assert moments.needed(chain, stored, moments.instant("1970-01-01T00:01:30Z", "x")) == chain[:2]
    assert moments.needed(chain, stored, None) == chain


def test_the_search_begins_where_the_backup_is_consistent_and_ends_in_time():
    did = [transaction(n) for n in range(1, 9)]
    assert moments.window(did, 0x300, None, None) == (2, 8)
    since, until = (moments.instant(f"2026-11-26T10:00:0{n}Z", "x") for n in (4, 6))
    assert moments.window(did, 0x300, since, until) == (3, 6)
    assert moments.window([], 0, None, None) == (0, 0)


@pytest.mark.parametrize("text", ["noon", "2026-11-24T22:00:00"])
def test_a_time_needs_its_zone(text):
    with pytest.raises(guards.Stop, match="no time with its zone"):
        moments.instant(text, "moment_since")


def test_a_backup_from_before_the_window_is_taken():
    backups = [{"stopped": f"2026-11-2{day}T00:00:00Z"} for day in (4, 3, 2)]
    since = moments.instant("2026-11-23T12:00:00Z", "x")
    assert moments.before(backups, since, None) == backups[1:]
    assert moments.before(backups, None, None) == backups
    with pytest.raises(guards.Stop, match=r"The oldest one was complete at 2026-11-22"):
        moments.before(backups, moments.instant("2026-11-01T00:00:00Z", "x"), None)


def test_wal_that_cannot_be_read_to_its_last_segment_is_refused():
    names = [f"{1:08X}{0:08X}{n:08X}" for n in (2, 3)]
    end = "pg_waldump: error: error in WAL record at 0/3000130: invalid record length at 0/3000168: wanted 24, got 0"
    moments.check_end(1, end, names, 1 << 24)
    moments.check_end(0, "", names, 1 << 24)
    for said in (end.replace("0/3", "0/2"), "pg_waldump: error: could not open file", ""):
        with pytest.raises(guards.Stop, match="cannot be read") as stopped:
            moments.check_end(1, said, names, 1 << 24)
        assert stopped.value.exit_code == guards.STEP_FAILED


def moment():
    did = [transaction(n, changes={"5/10": [1, 0, 0]}) for n in range(1, 6)]
    did[3] = transaction(4, changes={"5/10": [0, 0, 100], "5/1247": [1, 0, 0]}, dropped=["5/10"])
    history = waldump.History(did, [waldump.Point("p", 0x210), waldump.Point("p", 0x310), waldump.Point("late", 0x500)])
    found = moments.found(history, (1, 5), 3, moments.Table("5", {"5/10"}, {10}), {"5/10": "public.orders"})
    said = {
        "table": "public.orders",
        "service": "shop",
        "database": "shop",
        "damage": "rows_gone",
        "condition": "id > 7",
    }
    answers = moments.around([(1, "103"), (3, "105"), (4, "5"), (5, "6")], 3, did)
    more = {
        "judged_by": "rows",
        "answers": answers,
        "searched": moments.searched(did, (1, 5), {"after": "A", "until": "B"}),
    }
    for target in found["targets"]:
        target["commands"] = moment_view.commands(said, target["recovery_target"])
    return {**said, **more, **found}


def test_each_target_tells_what_it_keeps_and_loses():
    found = moment()
    assert (found["good"]["xid"], found["damaging"]["xid"]) == (3, 4)
    assert found["damaging"]["changes"] == {"public.orders": {"inserted": 0, "updated": 0, "deleted": 100}}
    just, named, end = found["targets"]
    assert just["recovery_target"] == {"type": "lsn", "value": "0/400", "inclusive": False}
    assert (just["kept"]["transactions"], just["lost"]["transactions"], just["lost"]["seconds"]) == (2, 2, 1.0)
    assert just["lost"]["emptied"] == ["public.orders"]
    # replay stops at the first of a name
    assert (named["recovery_target"]["value"], named["kept"]["transactions"], named["lost"]["transactions"]) == (
        "p",
        1,
        3,
    )
    assert (end["kept"]["transactions"], end["lost"]["transactions"]) == (4, 0)


def test_the_page_is_80_columns_wide_and_its_commands_can_be_typed():
    page = moment_view.page(moment())
    assert max(map(len, page)) <= 80
    text = "\n".join(page)
    for words in ("105 before, 5 after", "transaction 4, commit at 0/400", "WAL is missing after A", "100 deleted"):
        assert words in text
    typed = text.replace(" \\\n   ", "")
    assert "-e partial_tables=public.orders -e partial_to=0/400\n" in typed
    assert "-e recover_to=lsn:0/400 -e recover_exclusive=true" in typed
    assert "-e recover_to=name:p" in typed
    assert "partial_database" not in typed  # which is named as the service
    here = moment_view.commands(moment(), {"type": "lsn", "value": "0/5", "inclusive": False}, "inventories/my prod")
    assert all(" -i 'inventories/my prod' -e service=" in command for command in here)
    other = moment_view.commands({**moment(), "database": "Books"}, {"type": "name", "value": "p", "inclusive": True})
    assert "-e partial_tables=public.orders -e partial_database=Books -e partial_to=name:p" in other[0]
