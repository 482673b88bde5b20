"""A client on a lab host that writes one row after the other, and notes when each was acknowledged or what it was told.

usage: writer.py DSN LOG SIDE [ADDRESS]

With an address it never asks for the name: a client that holds on to the server it knows is the worst one to have.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path

import psycopg

INSERT = "INSERT INTO writes (token, side) VALUES (%s, %s) ON CONFLICT DO NOTHING"


def main() -> None:
    """Write until stopped."""
    dsn, path, side, *address = sys.argv[1:]
    where = {"hostaddr": address[0]} if address else {}
    token = str(uuid.uuid4())
    with Path(path).open("w", buffering=1, encoding="ascii") as log:
        while True:
            try:
                limits = {"connect_timeout": 2, "options": "-c statement_timeout=5s", "tcp_user_timeout": 3000}
                with psycopg.connect(dsn, autocommit=True, **where, **limits) as connection:
                    while True:
                        connection.execute(INSERT, (token, side))
                        log.write(json.dumps({"token": token, "at": time.time()}) + "\n")
                        token = str(uuid.uuid4())
                        time.sleep(0.02)  # a rate
            except psycopg.Error as error:
                log.write(json.dumps({"error": str(error), "at": time.time()}) + "\n")
                time.sleep(0.05)  # the same token again: whether it was committed is not known


if __name__ == "__main__":
    main()
