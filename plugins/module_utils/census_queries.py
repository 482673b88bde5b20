"""What a census asks of one database, and of the cluster: each query gives names and what stands there, nothing else.

All run with search_path set to pg_catalog, so that everything of a user is named with its schema. A column that only
some versions have is read through to_jsonb, which gives NULL where it is not. Objects of an extension are left out: they
stand and fall with the extension and its version. What initdb or an extension granted is left out for the same reason.
"""

from __future__ import annotations

from . import census_objects
from .census_objects import member

OF_SYSTEM = "(n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') OR n.nspname ~ '^pg_(toast_)?temp_')"


def _relations(kinds: str, members: bool = False) -> str:
    """A query's beginning: the relations of these kinds, with their full names."""
    extensions = "" if members else "AND NOT " + member("pg_class", "c.oid")
    return """
WITH relation AS (
  SELECT c.*, format('%%I.%%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN (%s) AND NOT %s %s)
""" % (", ".join("'%s'" % kind for kind in kinds), OF_SYSTEM, extensions)


# What decides how rows are counted. Rows that an extension names as its configuration are dumped as a user's.
COUNTABLE = (
    _relations("rmpf", members=True)
    + """
SELECT name, relkind::text, relpersistence = 'u' AS unlogged, relispopulated AS populated,
       has_table_privilege(oid, 'SELECT') AS readable, row_security_active(oid) AS filtered,
       %s AND NOT EXISTS (SELECT FROM pg_extension e WHERE relation.oid = ANY (e.extconfig)) AS of_extension
  FROM relation ORDER BY name COLLATE "C" """
    % member("pg_class", "relation.oid")
)

SEQUENCES = (
    _relations("S", members=True)
    + """
SELECT relation.name, relpersistence = 'u' AS unlogged,
       has_sequence_privilege(relation.oid, 'SELECT') AS readable,
       format('%s from %s, %s to %s by %s%s', format_type(seqtypid, NULL), seqstart, seqmin, seqmax, seqincrement,
              CASE WHEN seqcycle THEN ' cycle' END) AS definition,
       (SELECT format('%s.%I', pg_describe_object(d.refclassid, d.refobjid, 0), attname)
          FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE d.classid = 'pg_class'::regclass AND d.objid = relation.oid AND d.deptype IN ('a', 'i')) AS owned_by
  FROM relation JOIN pg_sequence ON seqrelid = relation.oid ORDER BY name COLLATE "C" """
)

# Columns that a sequence feeds, because they own it or it is their default: where its next value must be beyond.
FED = (
    _relations("rpf", members=True)
    + """
SELECT DISTINCT format('%I.%I', n.nspname, s.relname), relation.name, quote_ident(attname), seqincrement > 0, relation.relkind = 'p'
  FROM (SELECT objid AS sequence, refobjid AS relid, refobjsubid AS attnum FROM pg_depend
         WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND refobjsubid > 0
        UNION SELECT refobjid, adrelid, adnum FROM pg_depend JOIN pg_attrdef f ON f.oid = objid
         WHERE classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass) AS fed
  JOIN pg_sequence ON seqrelid = sequence AND NOT seqcycle JOIN pg_class s ON s.oid = sequence
  JOIN pg_namespace n ON n.oid = s.relnamespace JOIN relation ON relation.oid = relid AND relation.relkind IN ('r', 'p')
  JOIN pg_attribute a ON attrelid = relid AND a.attnum = fed.attnum
 WHERE atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
 ORDER BY 1, 2, 3"""
)

# Aspect of the census: names and values, as text or as JSON. Values of those in DIGESTED are replaced by a digest.
ASPECTS = {
    "relations": _relations("rpf")
    + """
SELECT name, concat_ws('; ', CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(oid)
                                           ELSE 'foreign table' END,
       CASE relpersistence WHEN 'u' THEN 'unlogged' END,
       (SELECT 'child of ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = oid),
       pg_get_expr(relpartbound, oid),
       CASE WHEN relreplident <> 'd' AND relkind IN ('r', 'p') THEN 'replica identity ' || relreplident::text END,
       (SELECT 'tablespace ' || spcname FROM pg_tablespace t WHERE t.oid = reltablespace),
       (SELECT 'access method ' || amname FROM pg_am a WHERE a.oid = relam AND amname <> 'heap'),
       (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(reloptions) AS o),
       (SELECT concat_ws(' ', 'server', srvname, array_to_string(ftoptions, ', '))
          FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver WHERE ftrelid = relation.oid)) FROM relation""",
    "columns": _relations("rpf")
    + """
SELECT format('%s.%I', name, attname), concat_ws(' ', format_type(atttypid, atttypmod),
       (SELECT 'collate ' || attcollation::regcollation FROM pg_type t
         WHERE t.oid = atttypid AND typcollation <> attcollation),
       CASE WHEN attnotnull THEN 'not null' END,
       CASE WHEN attidentity <> '' THEN 'identity ' || attidentity::text WHEN attgenerated <> '' THEN 'generated ' || attgenerated::text END,
       (SELECT 'default ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum),
       CASE WHEN attcompression <> '' THEN 'compression ' || attcompression::text END,
       CASE WHEN attstattarget >= 0 THEN 'statistics ' || attstattarget END,
       (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(attoptions || attfdwoptions) AS o
         WHERE o LIKE 'n_distinct%' OR o = ANY (attfdwoptions)))  -- some servers keep marks of their own among them
  FROM relation JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped""",
    "indexes": _relations("rmp")
    + """
SELECT format('%I.%I', n.nspname, i.relname), jsonb_build_object('definition', pg_get_indexdef(i.oid),
       'valid', indisvalid AND indisready AND indislive, 'clustered', indisclustered, 'replica_identity', indisreplident)
  FROM relation JOIN pg_index ON indrelid = relation.oid JOIN pg_class i ON i.oid = indexrelid
  JOIN pg_namespace n ON n.oid = i.relnamespace""",
    # What a foreign key makes on the referenced side of partitions is derived, and named by chance.
    "constraints": _relations("rpf")
    + """
SELECT coalesce(name, format_type(contypid, NULL)) || ' ' || quote_ident(conname),
       jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'validated',
                          convalidated OR coalesce(to_jsonb(c) ->> 'conenforced' = 'false', false), 'inherited', conparentid <> 0)
  FROM pg_constraint c LEFT JOIN relation ON relation.oid = conrelid
 WHERE contype <> 't' AND (name IS NOT NULL OR contypid <> 0 AND c.oid >= 16384 AND NOT %s)
   AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = c.conparentid AND p.conrelid = c.conrelid)"""
    % member("pg_type", "contypid"),
    "grants": census_objects.GRANTS,
    "owners": census_objects.OWNERS,
    "row_security": _relations("rp")
    + """
SELECT name, concat_ws(', ', CASE WHEN relrowsecurity THEN 'enabled' END, CASE WHEN relforcerowsecurity THEN 'forced' END)
  FROM relation WHERE relrowsecurity OR relforcerowsecurity""",
    "policies": _relations("rp")
    + """
SELECT format('%s %I', name, polname), concat_ws(' ', polcmd, CASE WHEN polpermissive THEN 'permissive' ELSE 'restrictive' END,
       'for ' || (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END, ', ' ORDER BY pg_get_userbyid(r))
                    FROM unnest(polroles) AS r),
       'using ' || pg_get_expr(polqual, polrelid), 'with check ' || pg_get_expr(polwithcheck, polrelid))
  FROM relation JOIN pg_policy ON polrelid = relation.oid""",
    "triggers": _relations("rpvf")
    + """
SELECT format('%s %I', name, tgname), concat_ws(' ', CASE tgenabled WHEN 'O' THEN NULL WHEN 'D' THEN 'disabled:'
       WHEN 'A' THEN 'always:' ELSE 'replica:' END, pg_get_triggerdef(t.oid))
  FROM relation JOIN pg_trigger t ON tgrelid = relation.oid WHERE NOT tgisinternal""",
    "functions": """
SELECT format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
       CASE WHEN prokind = 'a' THEN concat_ws(' ', pg_get_function_result(p.oid),
            (SELECT concat_ws(' ', aggkind, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
                    aggminvtransfn, aggmfinalfn, aggsortop::regoperator, aggtranstype::regtype, agginitval, aggminitval)
               FROM pg_aggregate WHERE aggfnoid = p.oid))
            ELSE pg_get_functiondef(p.oid) END
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE NOT %s AND NOT %s"""
    % (OF_SYSTEM, member("pg_proc", "p.oid")),
    "views": _relations("vm")
    + """
SELECT name, concat_ws('; ', CASE relkind WHEN 'm' THEN 'materialized' END, CASE WHEN relispopulated THEN 'populated' END,
       (SELECT spcname FROM pg_tablespace t WHERE t.oid = reltablespace),
       (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(reloptions) AS o), pg_get_viewdef(oid)) FROM relation""",
    "types": """
SELECT format_type(t.oid, NULL), CASE typtype
       WHEN 'e' THEN 'enum ' || (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum
                                  WHERE enumtypid = t.oid)
       WHEN 'd' THEN concat_ws(' ', 'domain over', format_type(typbasetype, typtypmod), CASE WHEN typnotnull THEN 'not null' END,
                               'default ' || typdefault)
       WHEN 'c' THEN 'composite ' || (SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', '
                                                        ORDER BY attnum)
                                        FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped)
       WHEN 'r' THEN (SELECT concat_ws(' ', 'range of', format_type(rngsubtype, NULL), nullif(rngsubdiff::oid, 0)::regproc)
                        FROM pg_range WHERE rngtypid = t.oid)
       WHEN 'b' THEN concat_ws(' ', 'base', typinput, typoutput, typlen, typalign, typstorage) ELSE 'shell' END
  FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
 WHERE NOT %s AND NOT %s AND typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
   AND (typrelid = 0 OR (SELECT relkind FROM pg_class c WHERE c.oid = typrelid) = 'c')"""
    % (OF_SYSTEM, member("pg_type", "t.oid")),
    "objects": census_objects.OBJECTS,
    "extensions": "SELECT extname::text, extversion FROM pg_extension",
    "event_triggers": """
SELECT evtname::text, concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, array_to_string(evttags, ',')) FROM pg_event_trigger
 WHERE NOT """
    + member("pg_event_trigger", "pg_event_trigger.oid"),
    "publications": """
SELECT pubname::text, concat_ws(' ', CASE WHEN puballtables THEN 'all tables' END, CASE WHEN pubinsert THEN 'insert' END,
       CASE WHEN pubupdate THEN 'update' END, CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END,
       CASE WHEN pubviaroot THEN 'via root' END,
       (SELECT 'of ' || string_agg(format('%I.%I', schemaname, tablename) || coalesce(' where ' || (to_jsonb(t) ->> 'rowfilter'), ''), ', ' ORDER BY schemaname, tablename)
          FROM pg_publication_tables t WHERE t.pubname = p.pubname AND NOT puballtables)) FROM pg_publication p""",
    "collations": """
SELECT pg_describe_object('pg_collation'::regclass, oid, 0), pg_collation_actual_version(oid) FROM pg_collation
 WHERE oid IN (SELECT attcollation FROM pg_attribute WHERE attrelid >= 16384 AND attcollation <> 100) OR oid >= 16384
    OR collcollate = (SELECT datcollate FROM pg_database WHERE datname = current_database()) AND collprovider = 'c'
       AND collencoding = (SELECT encoding FROM pg_database WHERE datname = current_database())""",
    "subscriptions": """
SELECT subname::text, '' FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    "settings": """
SELECT CASE setrole WHEN 0 THEN 'database' ELSE 'role ' || pg_get_userbyid(setrole) END,
       (SELECT string_agg(c, '; ' ORDER BY c COLLATE "C") FROM unnest(setconfig) AS c)
  FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    "counts": """
SELECT 'comments', (SELECT count(*) FROM pg_description x WHERE (objoid >= 16384 OR classoid = 'pg_largeobject'::regclass)
                     AND classoid <> 'pg_extension'::regclass AND NOT EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = x.classoid AND d.objid = x.objoid AND d.deptype = 'e')
                     AND (pg_identify_object(classoid, objoid, objsubid)).identity <> '')  -- some outlive what they were about
UNION ALL SELECT 'security labels', (SELECT count(*) FROM pg_seclabel)
UNION ALL SELECT 'large objects', (SELECT count(*) FROM pg_largeobject_metadata)""",
}
DIGESTED = ("functions", "views")

CLUSTER_ASPECTS = {
    "roles": """
SELECT rolname::text, concat_ws(' ', CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolinherit THEN 'inherit' END,
       CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END,
       CASE WHEN rolcanlogin THEN 'login' END, CASE WHEN rolreplication THEN 'replication' END,
       CASE WHEN rolbypassrls THEN 'bypassrls' END, CASE WHEN rolconnlimit >= 0 THEN 'connections ' || rolconnlimit END,
       'until ' || to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  FROM pg_roles WHERE rolname !~ '^pg_'""",
    # A grant may stand more than once since 16, by different grantors; those among predefined roles are the version's own.
    "memberships": """
SELECT m.rolname || ' in ' || r.rolname, string_agg(concat_ws(' ', CASE WHEN admin_option THEN 'admin' END,
       CASE WHEN to_jsonb(a) ->> 'inherit_option' = 'true' THEN 'inherit' END,
       CASE WHEN to_jsonb(a) ->> 'set_option' = 'true' THEN 'set' END, 'by ' || pg_get_userbyid(grantor)), ', '
       ORDER BY pg_get_userbyid(grantor))
  FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
 WHERE m.rolname !~ '^pg_' GROUP BY m.rolname, r.rolname""",
    "tablespaces": """
SELECT spcname::text, jsonb_build_object('owner', pg_get_userbyid(spcowner), 'location', pg_tablespace_location(oid),
       'options', array_to_string(spcoptions, ', ')) FROM pg_tablespace""",
    "databases": """
SELECT datname::text, jsonb_build_object('owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
       'collate', datcollate, 'ctype', datctype, 'locale_provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
       'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
       'collation_version', to_jsonb(d) ->> 'datcollversion', 'template', datistemplate, 'connectable', datallowconn,
       'connections', datconnlimit, 'tablespace', (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace),
       'size_bytes', CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                          THEN pg_database_size(oid) END)
  FROM pg_database d""",
    "settings": """
SELECT 'role ' || pg_get_userbyid(setrole), (SELECT string_agg(c, '; ' ORDER BY c COLLATE "C") FROM unnest(setconfig) AS c)
  FROM pg_db_role_setting WHERE setdatabase = 0""",
}
# What the operating system's libraries say now, which is not in the copied files: text is sorted by it. 14 knows none for a database.
COLLATIONS_OF_DATABASES = "SELECT datname::text, pg_database_collation_actual_version(oid) FROM pg_database"
