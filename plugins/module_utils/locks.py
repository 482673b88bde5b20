"""Locks that last as long as the processes that hold them, so that a kill leaves nothing behind; and where that of a service is."""

from __future__ import annotations

import contextlib
import fcntl
import os
from contextlib import contextmanager
from typing import Iterator

from . import postgres
from .guards import Stop

MOMENT_S = 5  # for the programs of a killed holder to end


def of_service(directory: str, service: str) -> "tuple[str, str]":
    """The file that says which run holds a service, and the note of the one that let it go last."""
    path = os.path.join(directory, service)
    return path + ".json", path + ".ended.json"


def holders(path: str) -> "list[int]":
    """Other processes of this user that have the file of a lock open."""
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            fds = "/proc/%d/fd" % pid
            if pid != os.getpid() and any(os.readlink(os.path.join(fds, fd)) == path for fd in os.listdir(fds)):
                found.append(pid)
    return found


@contextmanager
def held(path: str, patience_s: float, refusal: Stop) -> Iterator[int]:
    """Hold the lock, or refuse when another still has it; programs that are started inherit the descriptor and hold it too."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def locked() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    try:
        if not postgres.wait_until(locked, patience_s):
            raise refusal
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: str, what: str) -> Iterator[int]:
    """Hold the lock, or refuse at once but for a holder that was killed and whose programs are about to end."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with held(path, MOMENT_S, Stop("Another process makes %s on this host. Nothing was changed." % what)) as descriptor:
        yield descriptor
