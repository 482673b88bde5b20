"""Which server may be started again where it is."""

from __future__ import annotations

from typing import Any

import pytest
from pgrescue.core import guards, restart_plans
from scenes import HOSTS, server, spare, stopped


def request(**states: Any) -> dict[str, Any]:
    return {
        "service": "shop",
        "states": states,
        "hosts": HOSTS,
        "target": None,
        "postgres_version": 17,
        "manager": "",
        "application_scale": 0,
        "runs": [],
    }


def hung() -> dict[str, Any]:
    return stopped(role="unresponsive", alive=True, problem="connection timeout expired")


@pytest.mark.parametrize("down", [stopped, hung])
def test_the_server_that_is_down_is_started_where_it_is(down):
    plan = restart_plans.make(request(db1=down(), db2=server("standby"), spare1=spare()), "run")
    assert (plan["target_host"], plan["method"], plan["ways"][0]["loses_bytes"]) == ("db1", "restart", 0)
    assert plan["irreversible"] == [] and plan["data_directory"] == "/var/lib/postgresql/17/main"
    assert any("killed" in change for change in plan["changes"]) is (down is hung)


def test_a_server_that_an_aborted_run_fenced_is_started_where_everybody_says_that_nobody_took_over():
    everybody = {"db2": server("standby"), **{host: spare() for host in HOSTS if host not in ("db1", "db2")}}
    asked = {**request(db1=stopped(fenced=True), **everybody), "application_scale": 2}
    plan = restart_plans.make(asked, "run")
    assert (plan["unfence"], plan["application_scale"]) == (True, 2)
    assert "nobody was promoted in its place" in plan["changes"][0]
    assert "2 instance(s) started" in plan["changes"][-1]
    assert restart_plans.make(request(db1=stopped(), **everybody), "run")["unfence"] is False
    with pytest.raises(guards.Stop, match="db2 cannot be asked whether"):
        restart_plans.make(request(**{k: v for k, v in asked["states"].items() if k != "db2"}), "run")


def test_earlier_restarts_tell_how_long_it_takes():
    runs = [
        {"method": "restart", "rta_s": 6.0},
        {"method": "restart", "rta_s": 8.0},
        {"method": "promote", "rta_s": 99.0},
    ]
    way = restart_plans.make({**request(db1=stopped()), "runs": runs}, "run")["ways"][0]
    assert way["takes_s"] == 7.0 and way["takes_p95_s"] > 8.0


@pytest.mark.parametrize(
    ("states", "more", "code", "says"),
    [
        ({"db1": server("primary"), "db2": stopped()}, {}, guards.REFUSED, "db1 is primary and answers"),
        ({"db1": stopped(), "db2": server("standby", timeline=4)}, {}, guards.REFUSED, "somebody else took over"),
        ({"db1": stopped(), "db2": stopped()}, {}, guards.REFUSED, "restart_host=HOST"),
        ({"db1": stopped(was_standby=True)}, {}, guards.PRECONDITION, "No host holds a cluster"),
        ({"db1": {**hung(), "problem": "FATAL: starting up"}}, {}, guards.PRECONDITION, "server of db1 answers"),
        ({"db1": {**hung(), "problem": "too many clients"}}, {}, guards.PRECONDITION, "server of db1 answers"),
        ({"spare1": spare()}, {}, guards.PRECONDITION, "No host holds a cluster"),
        ({"db1": stopped()}, {"target": "db2"}, guards.PRECONDITION, "db2 is silent"),
        (
            {"db1": stopped(managed_by="Patroni")},
            {"manager": "Patroni"},
            guards.REFUSED,
            "Patroni starts the cluster's servers itself",
        ),
    ],
)
def test_what_may_not_be_started_is_refused_and_nothing_is_changed(states, more, code, says):
    with pytest.raises(guards.Stop) as refusal:
        restart_plans.make({**request(**states), **more}, "run")
    assert refusal.value.exit_code == code
    assert says in str(refusal.value) and "Nothing was changed" in str(refusal.value)


def test_of_two_that_are_down_the_named_one_is_started():
    plan = restart_plans.make({**request(db1=stopped(), db2=stopped()), "target": "db2"}, "run")
    assert plan["target_host"] == "db2"
