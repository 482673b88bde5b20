#!/usr/bin/python3
"""Steady load on the sample service: GET and POST requests at a fixed rate, whatever the service answers."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

PATHS = ("/api/products", "/api/videos")
WRITES = 0.4  # share of requests that write


def call(host: str, port: int, method: str, path: str, name: str) -> bool:
    """One request; whether it was served."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        body = json.dumps({"name": name}) if method == "POST" else None
        connection.request(method, path, body, {"User-Agent": "shop-load", "Content-Type": "application/json"})
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Send requests until stopped; once in ten seconds say how many were served."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://shop.lab.test:8080")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    target, dice = urlsplit(arguments.url), random.Random(arguments.seed)
    due, sent, served = time.monotonic(), 0, []
    with ThreadPoolExecutor(max_workers=16) as pool:
        while True:
            method = "POST" if dice.random() < WRITES else "GET"
            served.append(pool.submit(call, target.hostname, target.port, method, dice.choice(PATHS), "load %d" % sent))
            sent += 1
            due = max(due + 1 / arguments.rate, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            if sent % int(10 * arguments.rate) == 0:
                done = [f for f in served if f.done()]
                print("%d of %d requests served" % (sum(f.result() for f in done), len(done)), flush=True)
                served = [f for f in served if not f.done()]


if __name__ == "__main__":
    main()
