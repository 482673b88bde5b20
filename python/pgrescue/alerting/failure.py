"""The one way in which an attempt to deliver fails, and the words for it that hold no secret."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime

TOO_MANY = 429
_REQUEST_TIMEOUT = 408
_SERVER_ERROR = 500
_SUCCESS = range(200, 300)
_DAY_S = 86400.0


class DeliveryError(Exception):
    """A channel did not take a message: why, when to ask again if it said so, and whether to ask again at all."""

    def __init__(self, reason: str, retry_after_s: float | None = None, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.permanent = permanent


def refuse_status(status: int, headers: Mapping[str, str], detail: str = "") -> None:
    """Raise unless the status says that the message was taken. `detail` is a vendor's word for what was wrong."""
    if status in _SUCCESS:
        return
    again = status in (TOO_MANY, _REQUEST_TIMEOUT) or status >= _SERVER_ERROR
    reason = f"It answered {status}" + (f" ({detail})." if detail else ".")
    raise DeliveryError(reason, retry_after(headers) if again else None, permanent=not again)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The header Retry-After in seconds, a day at most; None when it is not there or says nothing that can be read."""
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if said.replace(".", "", 1).isdecimal():
        return min(float(said), _DAY_S)
    try:
        moment = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), _DAY_S)
