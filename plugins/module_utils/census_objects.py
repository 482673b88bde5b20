"""What a census asks of objects of any kind: what was granted on them, who owns them, and those that need no aspect of their own.

They are named as PostgreSQL itself identifies them, by kind and full name.
"""

from __future__ import annotations


def member(catalog: str, oid: str) -> str:
    """Whether an extension made it."""
    return "EXISTS (SELECT FROM pg_depend d WHERE d.classid = '%s'::regclass AND d.objid = %s AND d.deptype = 'e')" % (
        catalog,
        oid,
    )


# Some versions say "on language" of a transform, others "language".
_NAMED = (
    "(SELECT type || ' ' || replace(identity, ' on language ', ' language ')"
    " FROM pg_identify_object(classid, objid, objsubid))"
)

_ACLS = """
  SELECT 'pg_class'::regclass::oid AS classid, oid AS objid, 0 AS objsubid, relowner AS owner, relacl AS acl,
         CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS kind FROM pg_class
   WHERE relpersistence <> 't' AND relnamespace <> 'information_schema'::regnamespace
  UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, relowner, attacl, 'c'
              FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relpersistence <> 't'
  UNION ALL SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl, 'f' FROM pg_proc
  UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspowner, nspacl, 'n' FROM pg_namespace WHERE nspname <> 'information_schema'
  UNION ALL SELECT 'pg_type'::regclass, oid, 0, typowner, typacl, 'T' FROM pg_type
  UNION ALL SELECT 'pg_language'::regclass, oid, 0, lanowner, lanacl, 'l' FROM pg_language
  UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, 'F' FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, 'S' FROM pg_foreign_server
  UNION ALL SELECT 'pg_largeobject'::regclass, oid, 0, lomowner, lomacl, 'L' FROM pg_largeobject_metadata
  UNION ALL SELECT 'pg_default_acl'::regclass, oid, 0, defaclrole, defaclacl, CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype::text END
              FROM pg_default_acl WHERE defaclnamespace = 0"""

# What was granted beyond, and taken away from, what an object has without anybody's doing: an ACL that is NULL is that default.
_SAID = """
entry AS (
  SELECT classid, objid, objsubid, owner, 'to' AS direction, x.* FROM explained, aclexplode(nullif(acl, '{}')) AS x
  EXCEPT SELECT classid, objid, objsubid, owner, 'to', x.* FROM explained, aclexplode(nullif(initial, '{}')) AS x
  UNION ALL (
  SELECT classid, objid, objsubid, owner, 'from', x.* FROM explained, aclexplode(nullif(initial, '{}')) AS x
  EXCEPT SELECT classid, objid, objsubid, owner, 'from', x.* FROM explained, aclexplode(nullif(acl, '{}')) AS x)),
said AS (
  SELECT classid, objid, objsubid, direction, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END AS role,
         string_agg(privilege_type || CASE WHEN is_grantable THEN ' with grant option' ELSE '' END
                    || CASE WHEN grantor <> owner THEN ' by ' || pg_get_userbyid(grantor) ELSE '' END, ', '
                    ORDER BY privilege_type COLLATE "C", is_grantable) AS privileges
    FROM entry GROUP BY classid, objid, objsubid, direction, grantee)
"""

GRANTS = """
WITH object AS (%s
  UNION ALL SELECT 'pg_default_acl'::regclass, oid, 0, defaclrole, defaclacl, '-' FROM pg_default_acl WHERE defaclnamespace <> 0),
explained AS (
  SELECT classid, objid, object.objsubid, owner, acl,
         coalesce(i.initprivs, CASE WHEN kind <> '-' THEN acldefault(kind::"char", owner) END, '{}') AS initial
    FROM object LEFT JOIN pg_init_privs i ON i.classoid = classid AND i.objoid = objid AND i.objsubid = object.objsubid
         AND NOT (classid = 'pg_namespace'::regclass AND objid IN (SELECT oid FROM pg_namespace WHERE nspname = 'public'))
   WHERE acl IS NOT NULL), %s
SELECT %s || ' ' || direction || ' ' || role, privileges FROM said WHERE classid <> 'pg_largeobject'::regclass
UNION ALL
SELECT 'large objects ' || direction || ' ' || role || ': ' || privileges, count(*)::text
  FROM said WHERE classid = 'pg_largeobject'::regclass GROUP BY direction, role, privileges
""" % (_ACLS, _SAID, _NAMED)

# Of what all databases share; PARAMETERS is empty before 15.
CLUSTER_GRANTS = (
    """
WITH object AS (
  SELECT 'pg_database'::regclass::oid AS classid, oid AS objid, 'database ' || datname AS name, datdba AS owner, datacl AS acl,
         'd' AS kind FROM pg_database
  UNION ALL SELECT 'pg_tablespace'::regclass, oid, 'tablespace ' || spcname, spcowner, spcacl, 't' FROM pg_tablespace
  PARAMETERS),
explained AS (
  SELECT classid, objid, 0 AS objsubid, owner, acl, acldefault(kind::"char", owner) AS initial FROM object WHERE acl IS NOT NULL),
"""
    + _SAID
    + "SELECT name || ' ' || direction || ' ' || role, privileges FROM said JOIN object USING (classid, objid)"
)
PARAMETERS = (
    "UNION ALL SELECT 'pg_parameter_acl'::regclass, oid, 'parameter ' || parname, 10, paracl, 'p' FROM pg_parameter_acl"
)

_OWNED = {
    "pg_class": ("relowner", "relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'"),
    "pg_type": (
        "typowner",
        "typelem = 0 AND typtype <> 'm' AND (typrelid = 0 OR (SELECT relkind FROM pg_class c WHERE c.oid = typrelid) = 'c')"
        " AND typnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')",
    ),
    "pg_proc": ("proowner", "pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')"),
    "pg_namespace": ("nspowner", "nspname !~ '^pg_(toast_)?temp_'"),
    "pg_operator": ("oprowner", "true"),
    "pg_opclass": ("opcowner", "true"),
    "pg_opfamily": ("opfowner", "true"),
    "pg_collation": ("collowner", "true"),
    "pg_conversion": ("conowner", "true"),
    "pg_language": ("lanowner", "true"),
    "pg_ts_config": ("cfgowner", "true"),
    "pg_ts_dict": ("dictowner", "true"),
    "pg_statistic_ext": ("stxowner", "true"),
    "pg_foreign_data_wrapper": ("fdwowner", "true"),
    "pg_foreign_server": ("srvowner", "true"),
    "pg_event_trigger": ("evtowner", "true"),
    "pg_publication": ("pubowner", "true"),
    "pg_extension": ("extowner", "true"),
}

OWNERS = (
    "WITH object AS ("
    + " UNION ALL ".join(
        "SELECT '%s'::regclass::oid AS classid, o.oid AS objid, 0 AS objsubid, %s AS owner FROM %s o WHERE (%s) AND NOT %s"
        % (catalog, owner, catalog, where, member(catalog, "o.oid"))
        for catalog, (owner, where) in _OWNED.items()
    )
    + ") SELECT "
    + _NAMED
    + """, pg_get_userbyid(owner)::text FROM object
 WHERE objid >= 16384 OR classid = 'pg_namespace'::regclass AND objid IN (SELECT oid FROM pg_namespace WHERE nspname = 'public')
UNION ALL SELECT 'large objects of ' || pg_get_userbyid(lomowner), count(*)::text FROM pg_largeobject_metadata GROUP BY lomowner
"""
)

_UNOWNED = {  # catalog: what it says beyond the name, and which rows
    "pg_namespace": ("''", "nspname !~ '^pg_(toast_)?temp_'"),
    "pg_language": ("lanplcallfoid::regproc", "true"),
    "pg_opfamily": ("''", "true"),
    "pg_am": ("amhandler::text", "true"),
    "pg_cast": ("concat_ws(' ', castfunc::regprocedure, castcontext, castmethod)", "true"),
    "pg_rewrite": ("concat_ws(' ', ev_enabled, pg_get_ruledef(o.oid))", "rulename <> '_RETURN'"),
    "pg_statistic_ext": ("pg_get_statisticsobjdef(o.oid)", "true"),
    "pg_transform": ("concat_ws(' ', trffromsql, trftosql)", "true"),
    "pg_ts_parser": ("prsstart::text", "true"),
    "pg_ts_template": ("tmpllexize::text", "true"),
    "pg_ts_dict": ("coalesce(dictinitoption, '')", "true"),
    "pg_ts_config": (
        "(SELECT string_agg(maptokentype || ' ' || mapdict::regdictionary, ', ' ORDER BY maptokentype, mapseqno)"
        " FROM pg_ts_config_map WHERE mapcfg = o.oid)",
        "true",
    ),
    "pg_collation": ("to_jsonb(o) - '{oid,collnamespace,collowner,collversion}'::text[] #>> '{}'", "true"),
    "pg_operator": ("concat_ws(' ', oprcode, oprrest, oprjoin)", "oprcode <> 0"),  # a shell is of no use
    "pg_opclass": ("concat_ws(' ', opckeytype::regtype, opcdefault)", "true"),
    "pg_conversion": ("concat_ws(' ', conproc, condefault)", "true"),
    "pg_foreign_data_wrapper": ("concat_ws(' ', fdwhandler::regproc, fdwvalidator::regproc)", "true"),
    # as a digest, for what some wrapper takes for an option may be a secret
    "pg_foreign_server": (
        "concat_ws(' ', srvtype, srvversion, left(encode(sha256(convert_to(srvoptions::text, 'UTF8')), 'hex'), 16))",
        "true",
    ),
}

OBJECTS = (
    "WITH object AS ("
    + " UNION ALL ".join(
        "SELECT '%s'::regclass::oid AS classid, o.oid AS objid, 0 AS objsubid, (%s)::text AS said FROM %s o"
        " WHERE (%s) AND o.oid >= 16384 AND NOT %s" % (catalog, said, catalog, where, member(catalog, "o.oid"))
        for catalog, (said, where) in _UNOWNED.items()
    )
    + ") SELECT "
    + _NAMED
    + """, coalesce(said, '') FROM object
UNION ALL SELECT format('user mapping of %I for %I', srvname, usename), '' FROM pg_user_mappings"""
)
