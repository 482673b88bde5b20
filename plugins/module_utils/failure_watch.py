"""When a server counts as failed, from what one place saw of it, look after look. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

WELL, REFUSED, SILENT = "well", "refused", "silent"


@dataclass
class Watch:
    """What a place has seen so far. A server that refuses may be restarting, so it is given longer than one that is silent."""

    failures: int
    refused_s: float
    _since: "Optional[float]" = field(default=None, init=False)
    _silent: int = field(default=0, init=False)

    def look(self, seen: str, at: float) -> Optional[float]:
        """Take a look at `at` (seconds) into account; since when the server has failed, or None when it counts as well."""
        if seen == WELL:
            self._since, self._silent = None, 0
            return None
        if self._since is None:
            self._since = at
        self._silent = self._silent + 1 if seen == SILENT else 0
        failed = self._silent >= self.failures or at - self._since >= self.refused_s
        return self._since if failed else None
