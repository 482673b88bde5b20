"""PostgreSQL's own regression database, made by its own pg_regress: one of nearly everything that a server can hold.

The tests are those of exactly the package that is installed. Its source, and the headers that a test's library is
compiled with, come from where this machine's packages come from, to .cache/regression; nothing is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from postgres import PostgresServer

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "regression"
APT = Path("/etc/apt")
DATABASE = "regression"
SETTINGS: dict[str, str | int] = {  # what the tests expect of a server
    "max_prepared_transactions": 2,
    "max_connections": 40,
    "shared_buffers": "128MB",
}
PART = "src/test/regress/"
CONTRIB = ("autoinc.so", "refint.so")  # which the tests look for beside their own library


def said_by(*command: Any, cwd: Path | None = None) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout


def apt(folder: Path, *arguments: str) -> str:
    """Run apt-get with the machine's own sources, source packages too, and with lists of its own."""
    parts = folder / "sources.list.d"
    if not parts.exists():
        parts.mkdir()
        for path in APT.glob("sources.list.d/*.sources"):
            (parts / path.name).write_text(re.sub(r"(?m)^Types:.*", "Types: deb deb-src", path.read_text()))
        for path in [*APT.glob("sources.list"), *APT.glob("sources.list.d/*.list")]:
            text = path.read_text()
            (parts / f"{path.stem}.list").write_text(text + re.sub(r"(?m)^deb ", "deb-src ", text))
    for name in ("lists", "cache"):
        (folder / name).mkdir(exist_ok=True)
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": parts,
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # the folder is nobody else's
    }
    return said_by("apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items()), *arguments, cwd=folder)


def libraries(server: PostgresServer) -> Path:
    """Where the server's libraries are, and what its extensions are tested with."""
    return Path(server.run("pg_config", "--pkglibdir").strip())


def fetched(server: PostgresServer) -> Path:
    """The folder of the tests of a server's installed package; brought and compiled when it is not there."""
    version = server.version
    package = f"postgresql-{version}"
    exact = said_by("dpkg-query", "-W", "-f", "${source:Version}", package)
    home = CACHE / f"{package}_{exact}"
    if home.exists():
        return home
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        folder = Path(temporary)
        print(f"==> source and headers of {package} {exact} by apt-get, to {home}", flush=True)
        apt(folder, "update")
        apt(folder, "source", "--download-only", f"{package}={exact}")
        apt(folder, "download", f"postgresql-server-dev-{version}={exact}")
        said_by("dpkg-deb", "-x", next(folder.glob("*.deb")), folder / "headers")
        with tarfile.open(next(folder.glob("*.orig.tar.*"))) as source:
            wanted = [m for m in source if m.name.partition("/")[2].startswith(PART)]
            source.extractall(folder, wanted, filter="data")
        tests = next(folder.glob(f"*/{PART}"))
        include = folder / f"headers/usr/include/postgresql/{version}/server"
        compiler = ["cc", "-shared", "-fPIC", "-O2", "-w", "-I", include]
        said_by(*compiler, "-o", tests / "regress.so", tests / "regress.c")
        for name in CONTRIB:
            (tests / name).symlink_to(libraries(server) / name)
        tests.rename(home)
    return home


class Regression:
    """The regression database of a server, which was made with SETTINGS."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.tests = fetched(server)
        self.folder = server.folder / DATABASE
        self.folder.mkdir()
        shutil.chown(self.folder, server.user)
        schedule = (self.tests / "parallel_schedule").read_text()
        self.groups = [
            line for line in schedule.splitlines() if line.startswith("test:")
        ]  # later ones need earlier ones

    def run(self, groups: list[str], *, first: bool) -> int:
        """Run groups of tests, the first ones in a new database; how many tests gave what they should, which is all."""
        schedule = self.folder / "schedule"
        schedule.write_text("\n".join([*groups, ""]))
        said = self.server.run(
            str(libraries(self.server) / "pgxs" / PART / "pg_regress"),
            f"--inputdir={self.tests}",
            f"--outputdir={self.folder}",
            f"--dlpath={self.tests}",
            f"--bindir={self.server.programs}",
            f"--schedule={schedule}",
            f"--host={self.server.address}",
            f"--port={self.server.port}",
            "--user=postgres",
            f"--dbname={DATABASE}",
            "--max-concurrent-tests=20",
            "--no-locale",
            "--encoding=UTF8",
            *([] if first else ["--use-existing"]),
        )
        return int(re.findall(r"All (\d+) tests passed", said)[0])
