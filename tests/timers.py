"""What systemd's timers do, as far as it can be seen where systemd does not run: its own parser, and `Persistent=`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

Downtime = tuple[datetime, datetime]


def instants(calendar: str, since: datetime, count: int) -> list[datetime]:
    """The next instants of a calendar, by systemd itself."""
    command = [
        "systemd-analyze",
        "calendar",
        f"--base-time={since:%Y-%m-%d %H:%M:%S} UTC",
        f"--iterations={count}",
        calendar,
    ]
    done = subprocess.run(command, env={**os.environ, "TZ": "UTC"}, capture_output=True, text=True, check=True)
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
    return [datetime.fromisoformat(at).replace(tzinfo=UTC) for at in found]


def fires(
    calendar: str, since: datetime, until: datetime, down: list[Downtime], persistent: bool = True
) -> Iterator[datetime]:
    """When a timer of a machine that is down for a while starts its service.

    After a boot a persistent timer counts from the stamp of its last start: what is in the past elapses at once, and
    once; one that is not persistent counts from the boot (systemd.timer(5)).
    """
    stamp = since
    while True:
        at = instants(calendar, stamp, 1)[0]
        off = next((one for one in down if one[0] <= at < one[1]), None)
        if off and not persistent:
            stamp = off[1]
            continue
        stamp = off[1] if off else at
        if stamp >= until:
            return
        yield stamp
