"""What a server says of tables and of all that belongs to them. It only looks.

A table is named as PostgreSQL writes it where no schema is searched: `schema.table`, quoted where needed, so that a name is SQL as
it is. A partition stands for the table it is a part of.
"""

from __future__ import annotations

from typing import Any, Iterable, Optional

# Values are compared and digested as text: these settings decide how text looks.
SETTINGS = (
    "search_path = ''",
    "row_security = off",  # an error instead of rows that are left out
    "DateStyle = 'ISO, YMD'",
    "IntervalStyle = 'postgres'",
    "TimeZone = 'UTC'",
    "bytea_output = 'hex'",
    "extra_float_digits = 1",
    "xmloption = 'content'",
)

ROOT = """
SELECT format('%%I.%%I', n.nspname, r.relname)
FROM pg_class c JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid)::oid, c.oid) JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE c.oid = to_regclass(%s)
"""

TABLE = """
SELECT c.oid::int8 AS oid, c.relkind AS kind, c.relpersistence AS persistence, c.reltuples::int8 AS estimated_rows,
  EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)) AND c.relkind <> 'p' AS inherits,
  coalesce((SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
      'generated', a.attgenerated <> '', 'identity', a.attidentity) ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
  coalesce((SELECT json_agg(json_build_object('columns', (
        SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(attnum, n)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum),
      'primary', i.indisprimary, 'name', x.relname,
      'whole', (SELECT bool_and(a.attnotnull) FROM unnest(i.indkey[0:i.indnkeyatts - 1]) k(attnum)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)) ORDER BY i.indisprimary DESC, x.relname)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL),
    '[]') AS uniques,
  coalesce((SELECT json_agg(t.relid::regclass::text ORDER BY t.level, t.relid::regclass::text)
    FROM pg_partition_tree(c.oid) t WHERE t.level > 0), '[]') AS partitions,
  coalesce((SELECT json_agg(DISTINCT x.indexrelid::regclass::text) FROM pg_index x WHERE x.indrelid = c.oid), '[]') AS indexes,
  coalesce((SELECT json_agg(t.tgname ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), '[]')
    AS triggers,
  coalesce((SELECT json_agg(p.polname ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = c.oid), '[]') AS policies,
  c.relrowsecurity AS row_security,
  coalesce((SELECT json_agg(format('%%s: %%s', coalesce(r.rolname, 'PUBLIC'), g.said) ORDER BY r.rolname) FROM (
      SELECT a.grantee, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) AS said
      FROM aclexplode(c.relacl) a GROUP BY a.grantee) g LEFT JOIN pg_roles r ON r.oid = g.grantee), '[]') AS grants,
  coalesce((SELECT json_agg(DISTINCT format_type(t.oid, NULL)) FROM pg_attribute a JOIN pg_type u ON u.oid = a.atttypid
      JOIN pg_type t ON t.oid = CASE WHEN u.typelem <> 0 AND u.typlen = -1 THEN u.typelem ELSE u.oid END
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND t.typnamespace <> 'pg_catalog'::regnamespace), '[]') AS types
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""

# Sequences that fill a column: its identity's, its own, and one that its default asks.
SEQUENCES = """
SELECT DISTINCT s.oid::regclass::text AS name, a.attname AS column, q.seqincrement AS increment,
  a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AS whole_numbers
FROM pg_attribute a
JOIN pg_depend d ON (d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                     AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
  OR (d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.objid =
      (SELECT f.oid FROM pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum))
JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE d.refobjid END
JOIN pg_sequence q ON q.seqrelid = s.oid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1, 2
"""

FOREIGN_KEYS = """
SELECT k.conname AS name, k.conrelid::regclass::text AS child, k.confrelid::regclass::text AS parent,
  coalesce(pg_partition_root(k.conrelid), k.conrelid)::regclass::text AS child_root,
  coalesce(pg_partition_root(k.confrelid), k.confrelid)::regclass::text AS parent_root,
  k.condeferrable AS deferrable, k.condeferred AS deferred, k.confmatchtype = 'f' AS match_full,
  (SELECT json_agg(a.attname ORDER BY c.n) FROM unnest(k.conkey) WITH ORDINALITY c(attnum, n)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.attnum) AS columns,
  (SELECT json_agg(a.attname ORDER BY c.n) FROM unnest(k.confkey) WITH ORDINALITY c(attnum, n)
    JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.attnum) AS parent_columns
FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY child, k.conname
"""


def settle(connection: Any) -> None:
    """Make text look the same in every session."""
    for setting in SETTINGS:
        connection.execute("SET " + setting)


def root(connection: Any, wanted: str) -> Optional[str]:
    """The table that a name means; None when there is none, or it cannot be a name."""
    import psycopg

    try:
        with connection.transaction():
            found = connection.execute(ROOT, (wanted,)).fetchone()
    except (psycopg.ProgrammingError, psycopg.NotSupportedError):  # what newer versions answer nothing to
        return None
    return str(found[0]) if found else None


def table(connection: Any, name: str) -> "Optional[dict[str, Any]]":
    """All of one table; None when it is not there."""
    from psycopg.rows import dict_row

    ask = connection.cursor(row_factory=dict_row)
    found = ask.execute(TABLE, (name,)).fetchone()
    if not found:
        return None
    sequences = ask.execute(SEQUENCES, (name,)).fetchall()
    for sequence in sequences:
        last, called = connection.execute("SELECT last_value, is_called FROM " + sequence["name"]).fetchone()
        sequence.update(last_value=last, is_called=called)
    whole = [unique["columns"] for unique in found["uniques"] if unique["whole"]]
    return {**found, "key": whole[0] if whole else None, "sequences": sequences}


def tables(connection: Any, names: "Iterable[str]") -> "dict[str, Optional[dict[str, Any]]]":
    """All of each table."""
    return {name: table(connection, name) for name in names}


def foreign_keys(connection: Any) -> "list[dict[str, Any]]":
    """Every foreign key of the database, those of partitions once, with the table they belong to."""
    from psycopg.rows import dict_row

    return list(connection.cursor(row_factory=dict_row).execute(FOREIGN_KEYS).fetchall())
