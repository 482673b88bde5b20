"""Call a module of the collection in this process, as Ansible would."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.testing import patch_module_args
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

HOUSE = Path(__file__).resolve().parents[1]


def collection(part: str) -> Any:
    """A Python module of the collection, such as `plugins.module_utils.postgres`, loaded the way Ansible loads it."""
    with contextlib.suppress(ValueError):  # it is installed already
        _AnsibleCollectionFinder(paths=[str(HOUSE / "collections")])._install()
    return importlib.import_module(f"ansible_collections.pgrescue.runbooks.{part}")


def module(name: str) -> Callable[..., dict[str, Any]]:
    """The module as a function: arguments in, its answer out. `check=True` asks in check mode."""
    loaded = collection(f"plugins.modules.{name}")

    def call(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        out = io.StringIO()
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp"}),
            contextlib.redirect_stdout(out),
            contextlib.suppress(SystemExit),
        ):
            loaded.main()
        answer: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
        return answer

    return call


def as_user(user: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of a call made in a child process as another user: PostgreSQL's programs refuse root."""
    import psycopg
    import psycopg.rows  # noqa: F401

    for lazy in ("encodings.ascii", "concurrent.futures.thread", "secrets"):
        importlib.import_module(lazy)  # here, for that user may not be able to read the files of our Python

    account = pwd.getpwnam(user)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os.environ["HOME"] = account.pw_dir
            answer = call()
        except BaseException as error:
            answer = {"failed": True, "msg": repr(error), "exit_code": -1}
        with os.fdopen(write, "w") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as source:
        answered: dict[str, Any] = json.load(source)
    os.waitpid(child, 0)
    return answered


def refused(answer: dict[str, Any], code: int, *words: str) -> bool:
    """Whether a module failed with this exit code and said these words."""
    assert answer.get("failed"), answer
    assert answer["exit_code"] == code, answer
    assert all(word in answer["msg"] for word in words), answer["msg"]
    return True
