"""When a server counts as failed: silence twice, refusal for long; not a lost packet, not a restart."""

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modules import collection, module, refused
from postgres import PostgresServer

failure_watch = collection("plugins.module_utils.failure_watch")
network = collection("plugins.module_utils.network")


def since(looks, failures=2, refused_s=10):
    """Since when the server has failed after these looks, one each second; the last answer."""
    watch = failure_watch.Watch(failures, refused_s)
    return [watch.look(seen, float(at)) for at, seen in enumerate(looks)][-1]


@pytest.mark.parametrize(
    ("looks", "failed_since"),
    [
        (["well"], None),
        (["silent"], None),  # a lost packet
        (["silent", "well", "silent"], None),
        (["well", "silent", "silent"], 1.0),
        (["refused"] * 10, None),  # a restart
        (["refused"] * 11, 0.0),
        (["refused", "silent", "silent"], 0.0),
        (["silent", "refused", "silent"], None),
        (["refused"] * 10 + ["well", "refused"], None),
    ],
)
def test_what_counts_as_failed(looks, failed_since):
    assert since(looks) == failed_since


@given(st.lists(st.sampled_from(["well", "refused", "silent"]), min_size=1))
def test_one_that_was_well_just_now_has_not_failed(looks):
    assert since([*looks, "well"]) is None
    assert since([*looks, "well", "silent"]) is None


@pytest.fixture
def server():
    with PostgresServer() as one:
        yield one


def wait(server, **more):
    quick = {"interval_s": 0.05, "timeout_s": 0.3, "refused_s": 0.5, "watch_s": 0.3}
    return module("await_failure")(
        host="db1", address=server.address, port=server.port, version=17, **{**quick, **more}
    )


def test_a_server_that_is_well_is_watched_for_as_long_as_it_should_be(server):
    assert network.greet(server.address, server.port) == "well"
    assert refused(wait(server), 3, "Nothing happened to db1")


def test_a_server_that_hangs_is_silent_and_one_that_is_stopped_refuses(server):
    with server.frozen():
        answer = wait(server, watch_s=30)
        assert answer["ports"] == {"db1": "silent"}
        start, end = answer["span"]
        assert start < end <= time.time() + 0.001  # it is rounded
        assert end - start < 5
    server.stop()
    assert wait(server, watch_s=30)["ports"] == {"db1": "refused"}


def test_a_restart_is_no_failure(server):
    restart = threading.Thread(target=lambda: (server.stop(), server.start()))
    restart.start()
    answer = wait(server, refused_s=60, watch_s=3)
    restart.join()
    assert refused(answer, 3, "Nothing happened")


def test_who_greets_like_somebody_else_is_not_postgresql():
    def speak(other):
        with other.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 400")

    with socket.create_server(("127.0.0.1", 0)) as other:
        speaker = threading.Thread(target=speak, args=(other,))
        speaker.start()
        assert network.greet("127.0.0.1", other.getsockname()[1], 1) == "silent"
        speaker.join()


def test_places_agree_when_one_instant_lies_in_what_each_saw():
    at_once = collection("plugins.filter.hosts").seen_at_once
    seen = {
        "app1": {"span": [10.0, 11.6]},
        "client1": {"span": [11.5, 13.2]},
        "app2": {},
        "late": {"span": [11.7, 13.0]},
    }
    assert at_once(["app1", "client1", "app2"], seen, "span")
    assert not at_once(["app1", "client1", "late"], seen, "span")
    assert not at_once(["app2"], seen, "span")


def test_who_can_still_be_asked_after_the_watch():
    hosts = collection("plugins.filter.hosts")
    seen = {
        "db1": {},
        "spare1": {},
        "app1": {"recovery_failed_ports": {"db1": "silent"}},
        "app2": {"recovery_failed_ports": {}},
    }
    assert hosts.gone_since(seen, seen, "db1") == ["db1", "app2"]
    assert hosts.answering_since(seen, seen, "db1") == ["spare1", "app1"]
    seen["app1"] = {"recovery_failed_ports": {"db1": "refused"}}
    assert hosts.answering_since(seen, seen, "db1") == ["db1", "spare1", "app1"]


def test_a_standby_says_what_it_is_when_its_primary_has_failed(server):
    server.stop()
    answer = wait(server, observe=True, watch_s=30)
    assert answer["ports"] == {"db1": "refused"}
    assert answer["state"]["role"] in ("spare", "stopped")  # this machine's own cluster, if any


def test_a_silence_that_is_over_counts_for_nothing():
    """The first two are lost, as in a short blip; the third is answered before they are given up."""
    taken = []

    def answer(listener):
        while len(taken) < 3:
            taken.append(listener.accept()[0])
        taken[2].sendall(b"N")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        taking = threading.Thread(target=answer, args=(listener,))
        taking.start()
        # the next greeting comes after the test
        looks = network.greetings("127.0.0.1", listener.getsockname()[1], 0.3, 1.0)
        assert next(looks)[1] == "well"
        taking.join()
    for connection in taken:
        connection.close()
