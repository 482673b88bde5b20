#!/usr/bin/python3
"""Look at a service from this host, again and again; each look is a line of JSON.

    pgrescue_look.py /etc/pgrescue/look-shop.json               look once
    pgrescue_look.py /etc/pgrescue/look-shop.json --every 2     every two seconds, until nobody reads any more

Only looks, but for one row of its own that it writes through the service's name. Whoever started it over SSH and is gone closes its
standard input, which ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time

from pgrescue_core import look
from pgrescue_core.host_program import Host


def gone(seconds: float) -> bool:
    """Wait so long; whether whoever reads has gone meanwhile."""
    ready, _writable, _odd = select.select([sys.stdin], [], [], max(seconds, 0.0))
    return bool(ready) and not os.read(sys.stdin.fileno(), 4096)


def main() -> int:
    """Look until nobody reads any more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configuration", help="JSON with connection and look, as the role watch writes it")
    parser.add_argument(
        "--every", type=float, default=0, help="seconds from one look to the next; one look when left out"
    )
    arguments = parser.parse_args()
    with open(arguments.configuration, encoding="utf-8") as source:
        wanted = json.load(source)
    module = Host({**wanted["connection"], "in_use": (wanted["look"].get("server") or {}).get("in_use")})
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")  # a lookup has no deadline but the resolver's
    looker = look.Looker(look.parts(module, wanted["look"]), float(wanted["look"]["patience_s"]))
    due = time.monotonic()
    while True:
        print(json.dumps(look.said(wanted["look"], looker.look()), separators=(",", ":"), default=str), flush=True)
        due = max(due + arguments.every, time.monotonic())
        if not arguments.every or gone(due - time.monotonic()):
            return 0


if __name__ == "__main__":
    try:
        code = main()
    except BrokenPipeError:
        code = 0
    sys.stderr.flush()
    os._exit(code)  # a question that is still out must not keep it
