"""What the checks of a restored copy ask. Those of the catalog write the queries that are then run for each thing they name."""

from __future__ import annotations

# Every relation with a file of its own: name, kind, access method, oid, what it belongs to (a toast table and its index
# to their table, an index to its table), and whether that table can be read without it.
RELATIONS = """
WITH named AS (
  SELECT c.oid, c.relkind, c.relam, c.relfilenode, format('%I.%I', nspname, relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relpersistence <> 't'),
stored AS (
  SELECT r.oid, r.relkind::text AS kind, coalesce(a.amname, '')::text AS method, r.name AS own, i.indrelid,
         coalesce(i.indisvalid AND i.indisready AND i.indislive, true) AS valid, coalesce(t.oid, o.oid) AS toasted
    FROM named r LEFT JOIN pg_am a ON a.oid = r.relam LEFT JOIN pg_index i ON indexrelid = r.oid
    LEFT JOIN pg_class t ON t.reltoastrelid = r.oid LEFT JOIN pg_class o ON o.reltoastrelid = i.indrelid
   WHERE r.relkind IN ('r', 'm', 't', 'i', 'S') AND pg_relation_filenode(r.oid) IS NOT NULL)
SELECT s.oid, s.kind, s.method, s.valid, coalesce(t.name || ' (toast)' || CASE s.kind WHEN 'i' THEN ' (index)' ELSE '' END, s.own),
       coalesce(t.name, i.name, s.own), s.kind = 'i' AND s.toasted IS NULL
  FROM stored s LEFT JOIN named t ON t.oid = s.toasted LEFT JOIN named i ON i.oid = s.indrelid
 ORDER BY 5
"""
FILE = "SELECT 'its file is missing: ' || pg_relation_filepath(%d) WHERE pg_stat_file(pg_relation_filepath(%d), true) IS NULL"
READ = "SELECT %s.pg_prewarm(%d, 'buffer')"
HEAP = "SELECT blkno, offnum, msg FROM %s.verify_heapam(%d::regclass)"
BTREE = "SELECT %s.bt_index_parent_check(%d::regclass, true, false)"
BTREE_SINCE_17 = "SELECT %s.bt_index_parent_check(%d::regclass, true, false, true)"
GIN = "SELECT %s.gin_index_check(%d::regclass)"
# The same where clients are at work: the check across levels takes a lock that keeps them from writing.
LIVE_BTREE = "SELECT %s.bt_index_check(%d::regclass, true)"
LIVE_BTREE_SINCE_17 = "SELECT %s.bt_index_check(%d::regclass, true, true)"
EXTENSION = (
    "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = '%s'"
)
# What a server in recovery has no content of: unlogged relations.
NOT_HERE = """
SELECT c.oid FROM pg_class c LEFT JOIN pg_index i ON indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = indrelid
 WHERE pg_is_in_recovery() AND 'u' IN (c.relpersistence, t.relpersistence)
"""
# Reads every page of a table. A materialized view without content cannot be asked, and has no page.
SCANS = """
SELECT oid, 'SELECT count(*) FROM ONLY ' || oid::regclass FROM pg_class WHERE relkind IN ('r', 'm', 't') AND relispopulated
"""
# The file of each index of a table, and its name.
PATHS = """
SELECT format('%I.%I', nspname, relname), pg_relation_filepath(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'i' AND pg_relation_filenode(c.oid) IS NOT NULL
"""
# Every reference between system catalogs, and how many of its rows lead nowhere.
CATALOG_KEYS = """
SELECT fktable::text, array_to_string(fkcols, ', '),
       format('SELECT count(*) FROM %s AS f WHERE %s NOT EXISTS (SELECT FROM %s AS p WHERE %s)', fktable,
              CASE WHEN is_opt THEN format('f.%I <> 0 AND', fkcols[cardinality(fkcols)]) ELSE '' END, pktable,
              (SELECT string_agg(format('p.%I = f.%I', pk, fk), ' AND ') FROM unnest(pkcols, fkcols) AS u (pk, fk)))
  FROM pg_get_catalog_foreign_keys() WHERE NOT is_array ORDER BY 1, 2
"""

# Each of these gives: name, the tables that are read, the query, which gives a row for what is wrong.
FOREIGN_KEYS = """
WITH key AS (
  SELECT c.*, format('%I.%I', fn.nspname, f.relname) AS child, format('%I.%I', pn.nspname, p.relname) AS parent,
         CASE f.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS child_only, CASE p.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS parent_only,
         coalesce(to_jsonb(c) ->> 'conperiod', 'false') = 'true' AS period
    FROM pg_constraint c JOIN pg_class f ON f.oid = conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
    JOIN pg_class p ON p.oid = confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
   WHERE contype = 'f' AND conparentid = 0 AND convalidated AND f.relpersistence <> 't'),
part AS (
  SELECT key.oid, string_agg(format('f.%I IS NOT NULL', fa.attname), CASE confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END) AS given,
         string_agg(format('p.%I OPERATOR(%I.%s) f.%I%s', pa.attname, n.nspname, o.oprname, fa.attname,
                           CASE WHEN pa.attcollation <> 0 THEN format(' COLLATE %I.%I', cn.nspname, l.collname) END), ' AND ')
           FILTER (WHERE NOT (period AND i = cardinality(conkey))) AS matches,
         max(format('(SELECT range_agg(p.%I)', pa.attname)) FILTER (WHERE i = cardinality(conkey)) AS covering,
         max(format('@> f.%I', fa.attname)) FILTER (WHERE i = cardinality(conkey)) AS covered
    FROM key CROSS JOIN generate_subscripts(conkey, 1) AS i
    JOIN pg_attribute fa ON fa.attrelid = conrelid AND fa.attnum = conkey[i]
    JOIN pg_attribute pa ON pa.attrelid = confrelid AND pa.attnum = confkey[i]
    JOIN pg_operator o ON o.oid = conpfeqop[i] JOIN pg_namespace n ON n.oid = o.oprnamespace
    LEFT JOIN pg_collation l ON l.oid = pa.attcollation LEFT JOIN pg_namespace cn ON cn.oid = l.collnamespace
   GROUP BY key.oid, confmatchtype)
SELECT format('%s %I', child, conname),
       ARRAY(SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
              WHERE c.oid IN (conrelid, confrelid) OR c.oid IN (SELECT relid FROM pg_partition_tree(conrelid))
                 OR c.oid IN (SELECT relid FROM pg_partition_tree(confrelid))),
       format('SELECT count(*) || '' rows have no match in '' || %L FROM %s%s AS f WHERE (%s) AND NOT ', parent, child_only, child, given)
       || CASE WHEN period THEN format('coalesce(%s FROM %s%s AS p WHERE %s) %s, false)', covering, parent_only, parent,
                                       coalesce(matches, 'true'), covered)
               ELSE format('EXISTS (SELECT FROM %s%s AS p WHERE %s)', parent_only, parent, matches) END
       || ' HAVING count(*) > 0'
  FROM key JOIN part USING (oid) ORDER BY 1
"""
CHECKS = """
SELECT format('%I.%I %I', nspname, relname, conname), ARRAY[format('%I.%I', nspname, relname)],
       format('SELECT count(*) || '' rows violate it'' FROM ONLY %I.%I WHERE NOT (%s) HAVING count(*) > 0', nspname, relname,
              pg_get_expr(conbin, conrelid))
  FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE contype = 'c' AND convalidated AND relkind = 'r' AND relpersistence <> 't'
UNION ALL
SELECT format('%I.%I.%I of domain %s', nspname, relname, attname, format_type(t.oid, NULL)), ARRAY[format('%I.%I', nspname, relname)],
       format('SELECT '''' FROM ONLY %I.%I HAVING count((%I::%s)::%s) < 0', nspname, relname, attname,
              format_type(typbasetype, typtypmod), format_type(t.oid, NULL))
  FROM pg_type t JOIN pg_attribute a ON atttypid = t.oid AND attnum > 0 AND NOT attisdropped JOIN pg_class c ON c.oid = attrelid
  JOIN pg_namespace n ON n.oid = relnamespace
 WHERE typtype = 'd' AND relkind IN ('r', 'm') AND relispopulated AND relpersistence <> 't' AND t.oid >= 16384
   AND EXISTS (SELECT FROM pg_constraint WHERE contypid = t.oid)
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE contypid = t.oid AND NOT convalidated)
 ORDER BY 1
"""
PARTITIONS = """
SELECT format('%I.%I', nspname, relname), ARRAY[format('%I.%I', nspname, relname)],
       format('SELECT count(*) || '' rows belong elsewhere'' FROM ONLY %I.%I WHERE NOT (%s) HAVING count(*) > 0', nspname, relname,
              pg_get_partition_constraintdef(c.oid))
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relispartition AND relkind = 'r' AND relpersistence <> 't' AND pg_get_partition_constraintdef(c.oid) IS NOT NULL ORDER BY 1
"""


def index_checks(major: int, live: bool) -> "dict[str, str]":
    """The query that checks an index, by its access method; what is not named can only be read."""
    if live:
        methods = {"btree": LIVE_BTREE_SINCE_17 if major >= 17 else LIVE_BTREE}
    else:
        methods = {"btree": BTREE_SINCE_17 if major >= 17 else BTREE}
    if major >= 18:
        methods["gin"] = GIN  # takes the weakest lock
    return methods
