"""Whose archive the WAL of a server goes to. Pure."""

from __future__ import annotations

from typing import Mapping, Optional

NOTHING = ("", "(disabled)", "/bin/true", "true", "/bin/false", "false")  # commands that archive nothing


def other_tool(settings: Mapping[str, Optional[str]], ours: str) -> Optional[str]:
    """What archives the server's WAL instead of the command that is ours; None when nothing does.

    Only the name of the program: what is set beside it may be a secret.
    """
    library = (settings.get("archive_library") or "").strip()
    if library:
        return "the archive_library %s" % library
    command = (settings.get("archive_command") or "").strip()
    if command in NOTHING + (ours,):
        return None
    words = [word for word in command.split() if "=" not in word]
    return "the archive_command of %s" % (words[0].rsplit("/", 1)[-1] if words else "another tool")
