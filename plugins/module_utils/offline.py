"""Starting a program that can connect to nothing, and whatever it starts in its turn: no address, no socket of a neighbour.

It is done as systemd's RestrictAddressFamilies= does it, with a seccomp filter, which needs no right: the user that owns a cluster
may set one, in a container as well. A network namespace (PrivateNetwork=, unshare) needs CAP_SYS_ADMIN, which neither of them
has, and would leave open the sockets of other servers on the host, where that user is a superuser.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from .guards import PRECONDITION, Stop

# from seccomp.h
LIBRARY = "libseccomp.so.2"
ALLOW = 0x7FFF0000
REFUSE = 0x00050000  # with the number of the error that the caller gets
NOT_EQUAL = 1


class Comparison(ctypes.Structure):
    """An argument of a system call, compared with a value."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("_unused", ctypes.c_uint64),
    ]


FAMILY_IS_NOT_UNIX = Comparison(0, NOT_EQUAL, socket.AF_UNIX, 0)
# What is refused, with which error. It may listen on a socket of its own and answer there; io_uring would go round the filter.
REFUSED = (
    ("connect", errno.ENETUNREACH, None),
    ("socket", errno.EAFNOSUPPORT, FAMILY_IS_NOT_UNIX),
    ("io_uring_setup", errno.EPERM, None),
)


def call(start: "Callable[[], Any]") -> Any:
    """Call `start` so that what it starts is offline. It may not connect itself; whoever calls goes on as before."""

    def cut_off_then_start() -> Any:
        cut_off()
        return start()

    with ThreadPoolExecutor(max_workers=1) as thread:  # a filter belongs to a thread, and to what is started from it
        return thread.submit(cut_off_then_start).result()


def cut_off() -> None:
    """Cut off the thread that calls, for good."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        said = "The copy cannot be cut off: %s. Nothing was started. Install libseccomp2." % error
        raise Stop(said, PRECONDITION) from error
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    library.seccomp_init.restype = pointer
    library.seccomp_init.argtypes = [number]
    library.seccomp_rule_add_array.argtypes = [pointer, number, ctypes.c_int, ctypes.c_uint, pointer]
    library.seccomp_load.argtypes = library.seccomp_release.argtypes = [pointer]
    rules = library.seccomp_init(ALLOW)
    failed = 0
    for name, said_error, comparison in REFUSED:
        call_number = library.seccomp_syscall_resolve_name(name.encode())
        compared = (1, ctypes.byref(comparison)) if comparison else (0, None)
        failed = failed or library.seccomp_rule_add_array(rules, REFUSE | said_error, call_number, *compared)
    failed = failed or library.seccomp_load(rules)
    library.seccomp_release(rules)
    if failed:
        said = "The copy cannot be cut off: seccomp gave error %d. Nothing was started. The kernel needs CONFIG_SECCOMP_FILTER."
        raise Stop(said % -failed, PRECONDITION)
