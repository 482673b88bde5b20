"""Whether a host may be broken on purpose: it says so itself, for which service and database, and until when. Pure."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Mapping, Optional

WANTED = ("service", "system_identifier", "expires")


def refusal(marker: Any, service: str, system_identifier: str, now: datetime) -> Optional[str]:
    """Why a host with this marker is no drill target for the service and database system; None when it is one.

    `marker` is what its file holds, None when there is none. An empty `system_identifier` is a host without a cluster.
    """
    if marker is None:
        return "it is not marked as a drill target"
    expires = _expiry(marker)
    if expires is None:
        return "its mark as a drill target cannot be read"
    if marker["service"] != service:
        return "it is marked as a drill target of %s, not of %s" % (marker["service"], service)
    if system_identifier and marker["system_identifier"] != system_identifier:
        said = "its mark as a drill target is for database system %s, and %s is there"
        return said % (marker["system_identifier"], system_identifier)
    if expires <= now.astimezone(timezone.utc):
        return "its mark as a drill target expired at %s" % marker["expires"]
    return None


def _expiry(marker: Any) -> Optional[datetime]:
    """When a whole mark expires; None of what is none."""
    if not isinstance(marker, Mapping) or any(not isinstance(marker.get(key), str) for key in WANTED):
        return None
    try:
        expires = datetime.fromisoformat(marker["expires"].replace("Z", "+00:00"))
    except ValueError:
        return None
    return expires if expires.tzinfo else None
