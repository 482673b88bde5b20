"""Who is at work."""

from __future__ import annotations

import os
import socket
from getpass import getuser


def operator() -> str:
    """Who is at work, and where."""
    return os.environ.get("PGRESCUE_OPERATOR") or f"{getuser()}@{socket.gethostname()}"
