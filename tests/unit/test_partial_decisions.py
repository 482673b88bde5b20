"""What a partial recovery decides: moments, backups, hosts, the order of tables, and the steps that make one again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modules import collection

plans = collection("plugins.module_utils.partial_plans")
closure = collection("plugins.module_utils.table_closure")
script = collection("plugins.module_utils.table_script")
schema = collection("plugins.module_utils.partial_schema")
sequences = collection("plugins.module_utils.partial_sequences")
guards = collection("plugins.module_utils.guards")


@pytest.mark.parametrize(
    ("said", "kind", "value", "inclusive"),
    [
        ("2026-11-24 01:20:50+00", "time", "2026-11-24 01:20:50+00", False),
        ("2026-11-24T01:20:50.25Z", "time", "2026-11-24 01:20:50.25+00", False),
        ("2026-11-24 01:20:50-05:30", "time", "2026-11-24 01:20:50-05:30", False),
        ("1A/5000060", "lsn", "1A/5000060", False),
        ("name:before_migration_42", "name", "before_migration_42", True),
        ("xid:7711", "xid", "7711", False),
    ],
)
def test_a_moment_is_understood(said, kind, value, inclusive):
    assert plans.target(said) == {"type": kind, "value": value, "inclusive": inclusive}


@pytest.mark.parametrize(
    "said", ["", "yesterday", "2026-11-24 01:20:50", "2026-11-24 01:20:50 CET", "name:", "name:a b"]
)
def test_a_moment_that_means_nothing_or_two_things_is_refused(said):
    with pytest.raises(guards.Stop, match="Nothing was changed") as stop:
        plans.target(said)
    assert stop.value.exit_code == guards.PRECONDITION


BACKUPS = [
    {"label": "new", "repo": 1, "stopped": "2026-11-24T02:00:00Z", "lsn_stop": "0/7000000"},
    {"label": "old", "repo": 1, "stopped": "2026-11-23T02:00:00Z", "lsn_stop": "0/3000000"},
]


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("2026-11-24 03:00:00+00", "new"),
        ("2026-11-24 03:00:00+02", "old"),  # 01:00 UTC
        ("2026-11-24T02:00:00Z", "old"),
        ("0/7000000", "new"),
        ("0/6FFFFFF", "old"),
        ("name:x", "old"),
        ("xid:7", "old"),
    ],
)
def test_a_recovery_begins_with_a_backup_from_before_the_moment(said, first):
    assert plans.before(BACKUPS, plans.target(said))[0]["label"] == first


def test_no_backup_from_before_the_moment_is_a_refusal():
    with pytest.raises(guards.Stop, match="the oldest was at 2026-11-23T02:00:00Z"):
        plans.before(BACKUPS, plans.target("2026-11-22T00:00:00Z"))


def request(**changes):
    states = {"a": {"role": "primary", "system_identifier": "7"}, "b": {"role": "spare", "ready": True}}
    hosts = {host: {"region": "east", "address": host, "root": "/pg"} for host in states}
    catalog = {"candidates": BACKUPS, "system_identifier": "7", "timeline": 1, "passed_over": [], "unreachable": {}}
    asked = {"service": "shop", "database": "", "tables": ["public.a ", ""], "to": "name:x", "target": ""}
    more = {"states": states, "hosts": hosts, "catalog": {**catalog, "archive_end": None}, "postgres_version": 17}
    return {**asked, **more, **changes}


def test_the_plan_names_what_it_is_bound_to():
    plan = plans.make(request(), "run-1")
    bound = {key: plan[key] for key in ("target_host", "live_host", "database", "tables", "data_directory")}
    assert bound == {
        **{"target_host": "b", "live_host": "a", "database": "shop", "tables": ["public.a"]},
        "data_directory": "/pg/partial-shop",
    }


@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        ({"tables": [" "]}, "No table was named", 3),
        ({"states": {"b": {"role": "spare", "ready": True}}}, "there is none", 3),
        ({"states": {h: {"role": "primary", "system_identifier": "7"} for h in "ab"}}, "there are 2: a, b", 4),
        ({"states": {"a": {"role": "primary", "system_identifier": "8"}}}, "database system 8, the backups of 7", 4),
        ({"target": "a"}, "a is not a clean host", 4),
        ({"states": {"a": {"role": "primary", "system_identifier": "7"}}}, "No host of the service is clean", 3),
    ],
)
def test_what_must_not_be_begun_is_refused(changes, words, code):
    with pytest.raises(guards.Stop, match=words) as stop:
        plans.make(request(**changes), "run-1")
    assert stop.value.exit_code == code


TABLES = st.integers(0, 9)
EDGES = st.lists(st.tuples(TABLES, TABLES), max_size=25)


@given(EDGES, st.sets(TABLES, min_size=1))
def test_every_order_puts_parents_first_but_for_the_keys_that_close_a_cycle(edges, chosen):
    keys = [{"child_root": f"t{c}", "parent_root": f"t{p}", "name": f"{c}-{p}"} for c, p in edges]
    chosen = {f"t{n}" for n in chosen}
    needed = closure.required(chosen, keys)
    tables = chosen | set(needed)
    order, cyclic = closure.ordered(tables, keys)
    assert sorted(order) == sorted(tables)
    # the closure is closed: no chosen or needed table refers out of it
    assert {k["parent_root"] for k in keys if k["child_root"] in tables} <= tables

    def reaches(begin, end):
        found, waiting = set(), [begin]
        while waiting:
            for key in keys:
                if key["child_root"] == waiting[0] and key["parent_root"] not in found:
                    found.add(key["parent_root"])
                    waiting.append(key["parent_root"])
            waiting.pop(0)
        return end in found

    for key in keys:
        if {key["child_root"], key["parent_root"]} <= tables and key["child_root"] != key["parent_root"]:
            before = order.index(key["parent_root"]) < order.index(key["child_root"])
            assert before != (key in cyclic)
            assert before or reaches(key["parent_root"], key["child_root"]), "only a cycle may be out of order"


@given(
    st.integers(-99, 99),
    st.sampled_from([1, 2, 10, -1, -5]),
    st.none() | st.integers(-99, 99),
    st.none() | st.integers(-99, 99),
)
def test_a_sequence_never_goes_back(present, increment, copied, furthest):
    wanted = sequences.beyond(present, increment, copied, furthest)
    assert (wanted - present) * increment >= 0
    assert furthest is None or (wanted - furthest) * increment > 0
    assert copied is None or (wanted - copied) * increment >= 0


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=120))
def test_a_schema_needs_no_quotes_and_fits(run):
    name = schema.name(run)
    assert len(name) <= 63
    assert name.replace("_", "a").isalnum()
    assert name == name.lower()
    assert len(schema.loader(run)) <= 63


LISTING = """;
; Selected TOC Entries:
;
6; 2615 16384 SCHEMA - x postgres
845; 1247 16386 TYPE x st postgres
;	depends on: 6
222; 1255 16392 FUNCTION x f() postgres
;	depends on: 6
218; 1259 16400 TABLE x c postgres
;	depends on: 6
3385; 0 0 COMMENT x COLUMN c.d postgres
;	depends on: 218
217; 1259 16399 SEQUENCE x c_id_seq postgres
;	depends on: 6 218
3387; 0 0 SEQUENCE OWNED BY x c_id_seq postgres
;	depends on: 217
216; 1259 16394 TABLE x p postgres
;	depends on: 6 845
221; 1259 16424 VIEW x v postgres
;	depends on: 218 218 218 6
3225; 2606 16405 CONSTRAINT x c c_pkey postgres
;	depends on: 218
3222; 2606 16398 CONSTRAINT x p p_pkey postgres
;	depends on: 216
3232; 2620 16422 TRIGGER x c tr postgres
;	depends on: 222 218
3231; 2606 16406 FK CONSTRAINT x c c_p_fkey postgres
;	depends on: 216 3222 218
"""


def test_a_table_is_made_again_with_what_belongs_to_it_and_no_other_table():
    chosen = script.chosen(script.parse(LISTING), [16400])
    assert [(entry.kind, entry.id) for entry in chosen] == [
        ("SCHEMA", 6), ("FUNCTION", 222), ("TABLE", 218), ("COMMENT", 3385), ("SEQUENCE", 217),
        ("SEQUENCE OWNED BY", 3387), ("CONSTRAINT", 3225), ("TRIGGER", 3232), ("FK CONSTRAINT", 3231),
    ]  # fmt: skip
    assert [entry.id for entry in script.chosen(script.parse(LISTING), [16394])] == [6, 845, 216, 3222, 3231]


def test_no_command_to_psql_is_left_in_a_step():
    said = "\\restrict Abc123\nSELECT 1;\n\\unrestrict Abc123\n"
    assert script.obeyed(said) == "SELECT 1;\n"
