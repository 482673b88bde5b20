"""Room: how full a place is, how fast it fills, and what a restore beside the live cluster needs. Pure arithmetic."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from .trend import slope

DAY_S = 86400.0
WARN_SHARE = 0.8  # of the bytes or the inodes of a filesystem
PAGE_DAYS = 2.0  # until it is full
SPARE_MARGIN = 0.2  # on top of the data and the WAL that a restore writes
STAGING_BYTES = 8 * 16 * 1024 * 1024  # segments that pgBackRest fetches ahead of the replay (archive-get-queue-max)
SPREAD_S = DAY_S  # sizes seen within less than a day say nothing about growth
NEWEST = 120  # samples: older growth says little about tomorrow


def growth_per_day(samples: "Iterable[tuple[float, float]]") -> Optional[float]:
    """Bytes a day, from (epoch seconds, bytes); None when the samples span less than a day.

    A median of slopes: one bulk load or one deleted table does not bend it.
    """
    points = sorted(dict(samples).items())[-NEWEST:]
    if len(points) < 2 or points[-1][0] - points[0][0] < SPREAD_S:
        return None
    steep = slope(points)
    return None if steep is None else steep * DAY_S


def days_until(now_bytes: float, limit_bytes: float, per_day: Optional[float]) -> Optional[float]:
    """Days until what grows by `per_day` reaches the limit; 0 when it has, None when it does not grow or nobody knows."""
    if now_bytes >= limit_bytes:
        return 0.0
    return (limit_bytes - now_bytes) / per_day if per_day and per_day > 0 else None


def used_share(filesystem: Mapping[str, Any], unit: str = "bytes") -> float:
    """The share in use, as df counts it: of what an ordinary user may fill. `unit` is bytes or inodes.

    A filesystem that counts no inodes (btrfs) answers 0 of 0, and never runs out of them.
    """
    used, free = filesystem["used_" + unit], filesystem["free_" + unit]
    return float(used) / (used + free) if used + free else 0.0


def filesystems(capacity: Mapping[str, Any]) -> "list[tuple[str, Mapping[str, Any]]]":
    """Each filesystem of a host once, with what it is for: `data and wal`."""
    uses: "dict[Any, list[str]]" = {}
    seen: "dict[Any, Mapping[str, Any]]" = {}
    for use, filesystem in capacity["filesystems"].items():
        uses.setdefault(filesystem["device"], []).append(use)
        seen[filesystem["device"]] = filesystem
    return [(" and ".join(sorted(uses[device])), seen[device]) for device in seen]


def restore_need(data_bytes: float, wal_bytes: float) -> int:
    """The room a restore beside what is there needs: the data, the WAL to replay, what is fetched ahead, and a margin."""
    return int((data_bytes + wal_bytes + STAGING_BYTES) * (1 + SPARE_MARGIN))


def sizes(backups: Iterable[Mapping[str, Any]]) -> "list[tuple[float, float]]":
    """What the history of backups says about the size of the cluster: when each was taken, and how big it was then."""
    return [(float(backup["stopped_s"]), float(backup["size_bytes"])) for backup in backups if not backup.get("error")]
