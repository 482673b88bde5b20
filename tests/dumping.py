"""What tests of logical backups share: keys, a service's databases, modules in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from modules import collection
from object_store import ObjectStore
from postgres import PostgresServer, programs

PASSWORD = "a-password-nobody-may-see"
CLIENTS = Path(__file__).resolve().parents[1] / ".cache" / "clients"
CALL = "import json, sys; from modules import module; print(json.dumps(module(sys.argv[1])(**json.load(sys.stdin))))"

SCHEMA = """
CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, noise text);
INSERT INTO products (name, noise) SELECT 'product ' || i, md5(i::text) FROM generate_series(1, 5000) i;
CREATE TABLE videos (id serial PRIMARY KEY, product bigint REFERENCES products, title text);
INSERT INTO videos (product, title) SELECT i, 'it''s "' || i || '"' FROM generate_series(1, 1000) i;
CREATE INDEX videos_by_title ON videos (title);
CREATE VIEW shown AS SELECT count(*) FROM videos;
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS $$ SELECT i * 2; $$;
SELECT lo_from_bytea(0, 'a large object');
GRANT SELECT ON products TO "reader ""of"" shop";
ALTER TABLE videos ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON videos FOR SELECT USING (true);
"""


def key_pair() -> tuple[str, str]:
    """A private and a public key in PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def url(server: PostgresServer, database: str = "shop") -> str:
    """A connection URL, with a password that the server does not ask for."""
    return f"postgresql://postgres:{PASSWORD}@{server.address}:{server.port}/{database}"


def fill(server: PostgresServer) -> None:
    """Make the databases of the service, with roles, grants and settings."""
    for statement in (
        "CREATE ROLE app LOGIN PASSWORD 'x'",
        'CREATE ROLE "reader ""of"" shop" IN ROLE app',
        "COMMENT ON ROLE app IS 'it''s; the\napplication''s'",
        "CREATE DATABASE shop OWNER app TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        "ALTER DATABASE shop SET work_mem = '9MB'",
        "CREATE DATABASE stock",
    ):
        server.psql(statement)
    run(server, "shop", SCHEMA)
    run(server, "stock", "CREATE TABLE items AS SELECT i FROM generate_series(1, 100) i")


def run(server: PostgresServer, database: str, script: str) -> list[tuple[Any, ...]]:
    """Run statements in a database; the rows of the last."""
    with psycopg.connect(url(server, database), autocommit=True) as connection:
        cursor = connection.execute(script)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


def count(server: PostgresServer, database: str) -> dict[str, Any]:
    """The census of a database, but for what is written ahead of its sequences: a dump brings their values alone."""
    with psycopg.connect(url(server, database)) as connection:
        found: dict[str, Any] = collection("plugins.module_utils.census").database(connection)
    for seen in found["sequences"].values():
        del seen["log_cnt"]
    return found


def gate(folder: Path, real: Path | None = None) -> Path:
    """A folder of programs whose pg_dump tells its arguments in `begun` and waits until a file `go` is there."""
    home = folder / "programs"
    home.mkdir()
    real = real or programs()
    for name in ("pg_dumpall", "pg_restore", "psql"):
        (home / name).symlink_to(real / name)
    (home / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/pg_dump --version\n'
        f"tr '\\0' ' ' < /proc/$$/cmdline > {folder}/telling && mv {folder}/telling {folder}/begun\n"
        f'until [ -e {folder}/go ]; do sleep 0.02; done\nexec {real}/pg_dump "$@"\n'
    )
    (home / "pg_dump").chmod(0o755)
    return home


def spawn(name: str, **arguments: Any) -> subprocess.Popen[str]:
    """Start a module in a process of its own."""
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert process.stdin
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    return process


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a spawned module answered."""
    assert process.stdout
    said: dict[str, Any] = json.loads(process.stdout.read().splitlines()[-1])
    process.wait(30)
    process.stdout.close()
    return said


def objects(store: ObjectStore, dump: str, service: str = "shop") -> Path:
    """The folder of a dump in a store."""
    return store.path(f"dumps/{service}/{dump}")
