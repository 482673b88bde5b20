"""Find, in the access logs of the sample service, the last request served before an instant and the first one after.

usage: outage_of_access_log.py BEFORE AFTER   (RFC 3339 UTC; what the measurement says)
Prints the seconds by which the log differs from each.
"""

import json
import sys
from datetime import datetime
from pathlib import Path


def moment(text: str) -> datetime:
    """An instant from RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


before, after = (moment(text) for text in sys.argv[1:3])
middle = before + (after - before) / 2
served = sorted(
    moment(entry["wall"])
    for log in Path("/var/log/shop").glob("access.*.log")
    for entry in map(json.loads, log.read_text().splitlines())
    if entry["status"] < 300 and entry["path"] != "/favicon.ico"
)
last = max(when for when in served if when < middle)
first = min(when for when in served if when > middle and when >= last)
print(json.dumps({"before_s": abs((last - before).total_seconds()), "after_s": abs((first - after).total_seconds())}))
