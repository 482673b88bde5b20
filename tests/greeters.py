"""Hosts that greet as SSH does and say no more, for those that knock."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def greeting() -> Iterator[int]:
    """The port of one."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"SSH-2.0-dying\r\n")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
