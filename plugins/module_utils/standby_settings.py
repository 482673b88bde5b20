"""The settings that make a cluster a standby, in postgresql.auto.conf. Pure."""

from __future__ import annotations

import re
from typing import Mapping

# What an earlier life left behind: a target ends the replay, another primary's slot is not there. pg_rewind brings the
# file of the new primary, with what that was as a standby.
STALE = re.compile(
    r"^(recovery_target\w*|recovery_end_command|recovery_min_apply_delay|promote_trigger_file|archive_cleanup_command|"
    r"primary_conninfo|primary_slot_name|restore_command)$"
)
NAME = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*(?:=|\s)")


def quoted(value: str) -> str:
    """A value as the file has it."""
    return "'%s'" % value.replace("'", "''")


def rewritten(text: str, settings: "Mapping[str, str]") -> str:
    """The file with these settings and without stale ones; what else is in it stays, in its order.

    A `restore_command` that is not set anew stays as well: the archive is what a standby without a primary lives from.
    """
    kept = []
    for line in text.rstrip("\n").split("\n"):  # a value may hold what else splitlines() splits at
        found = NAME.match(line)
        name = found.group(1).lower() if found else ""
        stale = STALE.match(name) and not (name == "restore_command" and name not in settings)
        if not stale and name not in settings:
            kept.append(line)
    added = ["%s = %s" % (name, quoted(str(settings[name]))) for name in sorted(settings)]
    return "".join(line + "\n" for line in [*kept, *added])
