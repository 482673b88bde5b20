"""Reaching a server that is known by a connection URL only: connections, and PostgreSQL's own programs.

The password of a URL reaches a program through its environment, never through its arguments.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from .guards import PRECONDITION, Stop

INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def _options(url: str) -> "list[Any]":
    """What the URL says, as libpq reads it."""
    import psycopg

    try:
        return [o for o in psycopg.pq.Conninfo.parse(url.encode()) if o.val is not None]
    except psycopg.Error as error:
        raise Stop(
            "The connection URL cannot be used: %s. Parameters that only an application's driver knows do not belong in it. "
            "Nothing was changed." % str(error).strip(),
            PRECONDITION,
        ) from error


def secret(url: str) -> Optional[str]:
    """The password in a URL, which no output may show."""
    return next((o.val.decode() for o in _options(url) if o.keyword == b"password"), None)


def default_database(url: str) -> Optional[str]:
    """The database a URL names."""
    return next((o.val.decode() for o in _options(url) if o.keyword == b"dbname"), None)


def environment(url: str) -> "dict[str, str]":
    """The environment in which libpq's programs reach the server of a URL, its database left out."""
    return {
        **{o.envvar.decode(): o.val.decode() for o in _options(url) if o.envvar and o.keyword != b"dbname"},
        "PGAPPNAME": "pgrescue",
        "LC_ALL": "C.UTF-8",
    }


def target(url: str, database: str) -> str:
    """What to give a program as its database: the name, and the options of the URL that have no environment variable."""
    from psycopg.conninfo import make_conninfo

    more = {o.keyword.decode(): o.val.decode() for o in _options(url) if not o.envvar}
    if more.get("sslpassword"):
        raise Stop("A passphrase for the client key cannot be handed on safely: use a key without one.", PRECONDITION)
    return str(make_conninfo(dbname=database, **more))


@contextmanager
def connect(url: str, database: "Optional[str]" = None, **more: Any) -> Iterator[Any]:
    """A connection to a database of the server, in autocommit; one that cannot be made is a refusal."""
    import psycopg

    _options(url)
    place = {"dbname": database} if database else {}
    try:
        connection = psycopg.connect(
            url, **{"connect_timeout": 10, "application_name": "pgrescue", "autocommit": True, **place, **more}
        )
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        raise Stop("The server cannot be reached: %s. Nothing was changed." % said, PRECONDITION) from error
    try:
        yield connection
    finally:
        connection.close()


def program(name: str, directory: Optional[str], major: int) -> str:
    """Where a program of PostgreSQL is: of this major version, else of the next newer one, else the newest there is.

    An exact match comes first, for what a newer pg_dump writes an older server may not understand.
    """
    if directory:
        return os.path.join(directory, name)
    found = {
        int(re.findall(r"\d+", path)[0]): path
        for place in INSTALLED
        for path in glob.glob(os.path.join(place, name))
        if re.search(r"\d", path)
    }
    newer = [version for version in found if version >= major]
    if newer:
        return found[min(newer)]
    return found[max(found)] if found else shutil.which(name) or name


def program_version(module: Any, path: str) -> str:
    """The version a program says it has."""
    if not os.access(path, os.X_OK):
        raise Stop(
            "%s is not there. Install PostgreSQL's client programs, or say where they are (program_directory). "
            "Nothing was changed." % path,
            PRECONDITION,
        )
    _code, out, _err = module.run_command([path, "--version"], check_rc=True)
    return str(re.findall(r"\d+(?:\.\d+|beta\d+|rc\d+|devel)", out)[0])


def major(version: str) -> int:
    """The major version in a version."""
    return int(re.findall(r"^\d+", version)[0])


def run(module: Any, arguments: "list[str]", url: str, **more: Any) -> "tuple[int, str, str]":
    """Run a program that ends, its whole family with it, when this process is killed."""
    command = ["setpriv", "--pdeathsig=TERM", *arguments]
    extra: Mapping[str, str] = more.pop("environ_update", {})
    code, out, err = module.run_command(command, environ_update={**environment(url), **extra}, **more)
    return int(code), str(out), str(err)


def hide(module: Any, url: str) -> None:
    """See to it that no output of the module shows the password of a URL."""
    password = secret(url)
    if password:
        module.no_log_values.add(password)
