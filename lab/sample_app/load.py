#!/usr/bin/python3
"""Steady load on the sample service: requests at a fixed rate, whatever becomes of them; a line a second says what did.

Six of ten requests read, four write. While the service is away requests fail or are left out, and none is made up for.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from urllib.parse import urlsplit

PATHS = ("/api/products", "/api/videos")
WRITES = 0.4  # share of the requests
PATIENCE_S = 3
IN_FLIGHT = 16


def served(host: str, port: int, method: str, path: str, name: str) -> bool:
    """Make one request; whether it was served."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        body = json.dumps({"name": name}) if method == "POST" else None
        connection.request(method, path, body, {"User-Agent": "shop-load", "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status < http.HTTPStatus.MULTIPLE_CHOICES
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Load:
    """Requests at a rate, at most so many in flight, and what became of them since the last line."""

    def __init__(self, url: str, rate: float, seed: int) -> None:
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._rate = rate
        self._dice = random.Random(seed)
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(IN_FLIGHT)
        self._pool = ThreadPoolExecutor(max_workers=IN_FLIGHT)

    def run(self) -> None:
        """Send until stopped."""
        due = line_due = time.monotonic()
        for number in range(1_000_000_000):
            due = max(due + 1 / self._rate, time.monotonic() - 1)  # after a stall, a second's worth at most
            time.sleep(max(0.0, due - time.monotonic()))  # the load is a rate
            self._send(number)
            if time.monotonic() >= line_due:
                line_due = time.monotonic() + 1
                self._tell()

    def _send(self, number: int) -> None:
        method = "POST" if self._dice.random() < WRITES else "GET"
        path = self._dice.choice(PATHS)
        if not self._room.acquire(blocking=False):
            self._count("left_out")
            return
        self._pool.submit(self._request, method, path, f"load {number}")

    def _request(self, method: str, path: str, name: str) -> None:
        try:
            self._count("ok" if served(self._host, self._port, method, path, name) else "failed")
        finally:
            self._room.release()

    def _count(self, what: str) -> None:
        with self._lock:
            self._seen[what] += 1

    def _tell(self) -> None:
        with self._lock:
            seen, self._seen = self._seen, Counter()
        counts = {what: seen[what] for what in ("ok", "failed", "left_out")}
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        print(json.dumps({"wall": now, **counts}), flush=True)


def main() -> None:
    """Send requests until stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://shop.lab.test:8080")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the requests")
    arguments = parser.parse_args()
    Load(arguments.url, arguments.rate, arguments.seed).run()


if __name__ == "__main__":
    main()
