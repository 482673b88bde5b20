"""What `pgrescue lab up` makes of hosts it finds."""

import pytest
from pgrescue import lab

HERE = "/house"


def host(state="running", checkout=HERE, pid=100, tag="1"):
    return {"Id": "f00d", "Image": f"lab:{tag}", "Pid": pid, "State": state, "Labels": {"pgrescue.checkout": checkout}}


def dead(_host):
    return False


def alive(_host):
    return True


def test_a_lab_that_runs_or_was_stopped_is_gone_on_with():
    assert not lab.leftovers([], HERE, "1", dead)
    assert not lab.leftovers([host(), host()], HERE, "1", alive)
    assert not lab.leftovers([host("exited", pid=0)], HERE, "1", dead)


def test_hosts_whose_processes_are_gone_are_leftovers():
    assert lab.leftovers([host()], HERE, "1", dead)
    assert lab.leftovers([host("stopping")], HERE, "1", dead)


def test_hosts_of_an_older_image_are_leftovers():
    assert lab.leftovers([host(), host(tag="0")], HERE, "1", alive)


def test_another_checkouts_lab_is_left_alone_while_it_runs():
    with pytest.raises(lab.LabError, match="The lab of /other runs here"):
        lab.leftovers([host(checkout="/other")], HERE, "1", alive)
    assert lab.leftovers([host(checkout="/other")], HERE, "1", dead)


def test_a_process_that_took_over_the_number_is_not_the_host():
    assert not lab.is_alive({"Id": "f00d", "Pid": 1})
    assert not lab.is_alive({"Id": "f00d", "Pid": 0})
    assert not lab.is_alive({"Id": "f00d", "Pid": 2**22 + 1})
