"""Writing the files of a run so that a kill at any instant leaves the old or the new one, never half."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import Any


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: what digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """SHA-256, in hex, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def write_json(path: str, value: Any) -> bool:
    """Write `value` to `path` durably; False when the file already says the same."""
    if os.path.exists(path) and read_json(path) == value:
        return False
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
    return True


def write_bytes(path: str, content: bytes) -> None:
    """Write `content` to `path` durably."""
    partial = path + ".partial"
    with open(partial, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, path)


def write_text(path: str, text: str) -> None:
    """Write `text` to `path` durably."""
    write_bytes(path, text.encode())


def copy_file(source: str, path: str) -> None:
    """Copy a file durably."""
    partial = path + ".partial"
    shutil.copyfile(source, partial)
    with open(partial, "rb") as out:
        os.fsync(out.fileno())
    os.replace(partial, path)


def read_json(path: str) -> Any:
    """The value a JSON file holds."""
    with open(path, encoding="utf-8") as source:
        return json.load(source)


def keep_plan(run_dir: str, plan: Any) -> None:
    """Write the plan of a run, and into its record which plan and database system it is bound to."""
    write_json(os.path.join(run_dir, "plan.json"), plan)
    run = os.path.join(run_dir, "run.json")
    system = {"system_identifier": plan["system_identifier"]} if plan["system_identifier"] else {}
    write_json(run, {**read_json(run), "plan_digest": digest(plan), **system})


def link_latest(run_dir: str) -> None:
    """Point `latest`, beside the run's directory, at it, in one step."""
    runs, name = os.path.split(os.path.abspath(run_dir))
    partial = os.path.join(runs, ".latest.%d" % os.getpid())
    os.symlink(name, partial)
    os.replace(partial, os.path.join(runs, "latest"))
