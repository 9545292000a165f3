//! Schema pg_catalog.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use datafusion::catalog::TableProvider;
use graph_recs_sql::catalog::CatalogModel;

use super::objects::{
    ATTRIBUTE_COLUMNS, CLASS_COLUMNS, CONSTRAINT_COLUMNS, PROC_COLUMNS, TYPE_COLUMNS, attributes,
    class, descriptions, functions, key, row, types,
};
use super::rows::{Row, table};
use super::{DATABASE_OID, OWNER, schema_oid};
use crate::catalog::{DATABASE, Relation};

/// The version that clients are told.
pub const VERSION: &str = "15.0";
/// Oids of the tables that descriptions name by `::regclass`.
const SYSTEM_OIDS: [(&str, i32); 8] = [
    ("pg_class", CLASS),
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", PROC),
    ("pg_database", 1262),
    ("pg_namespace", NAMESPACE),
    ("pg_constraint", 2606),
    ("pg_description", 2609),
];
/// Oid of pg_class.
pub const CLASS: i32 = 1259;
/// Oid of pg_proc.
pub const PROC: i32 = 1255;
/// Oid of pg_namespace.
pub const NAMESPACE: i32 = 2615;

/// Oid of a system table.
pub fn system_oid(name: &str) -> Option<i32> {
    let found = SYSTEM_OIDS.iter().find(|(table, _)| *table == name);
    found.map(|(_, oid)| *oid)
}

/// Tables without rows: nothing here has indexes, triggers, policies, … A query over one of them has none either,
/// which [`crate::dialect`] makes use of.
pub const EMPTY: [(&str, &str); 38] = [
    (
        "pg_aggregate",
        "aggfnoid oid, aggkind char, aggnumdirectargs int2",
    ),
    ("pg_attrdef", "oid oid, adrelid oid, adnum int2, adbin text"),
    (
        "pg_auth_members",
        "roleid oid, member oid, grantor oid, admin_option bool",
    ),
    (
        "pg_cast",
        "oid oid, castsource oid, casttarget oid, castfunc oid, castcontext char, castmethod char",
    ),
    (
        "pg_collation",
        "oid oid, collname name, collnamespace oid, collowner oid, collprovider char, collisdeterministic bool, collencoding int4, collcollate text, collctype text, colliculocale text, collversion text",
    ),
    (
        "pg_conversion",
        "oid oid, conname name, connamespace oid, conowner oid",
    ),
    (
        "pg_db_role_setting",
        "setdatabase oid, setrole oid, setconfig text[]",
    ),
    (
        "pg_default_acl",
        "oid oid, defaclrole oid, defaclnamespace oid, defaclobjtype char, defaclacl text[]",
    ),
    (
        "pg_depend",
        "classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, deptype char",
    ),
    (
        "pg_enum",
        "oid oid, enumtypid oid, enumsortorder float4, enumlabel name",
    ),
    (
        "pg_event_trigger",
        "oid oid, evtname name, evtevent name, evtowner oid, evtfoid oid, evtenabled char, evttags text[]",
    ),
    (
        "pg_extension",
        "oid oid, extname name, extowner oid, extnamespace oid, extrelocatable bool, extversion text",
    ),
    (
        "pg_foreign_data_wrapper",
        "oid oid, fdwname name, fdwowner oid, fdwhandler oid, fdwvalidator oid, fdwacl text[], fdwoptions text[]",
    ),
    (
        "pg_foreign_server",
        "oid oid, srvname name, srvowner oid, srvfdw oid, srvtype text, srvversion text, srvacl text[], srvoptions text[]",
    ),
    (
        "pg_foreign_table",
        "ftrelid oid, ftserver oid, ftoptions text[]",
    ),
    (
        "pg_inherits",
        "inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool",
    ),
    (
        "pg_index",
        "indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool, indnullsnotdistinct bool, indisprimary bool, indisexclusion bool, indimmediate bool, indisclustered bool, indisvalid bool, indcheckxmin bool, indisready bool, indislive bool, indisreplident bool, indkey int2[], indcollation oid[], indclass oid[], indoption int2[], indexprs text, indpred text",
    ),
    (
        "pg_largeobject_metadata",
        "oid oid, lomowner oid, lomacl text[]",
    ),
    (
        "pg_locks",
        "locktype text, database oid, relation oid, pid int4, mode text, granted bool, transactionid text",
    ),
    (
        "pg_matviews",
        "schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes bool, ispopulated bool, definition text",
    ),
    (
        "pg_opclass",
        "oid oid, opcmethod oid, opcname name, opcnamespace oid, opcowner oid, opcfamily oid, opcintype oid, opcdefault bool, opckeytype oid",
    ),
    (
        "pg_opfamily",
        "oid oid, opfmethod oid, opfname name, opfnamespace oid, opfowner oid",
    ),
    (
        "pg_available_extensions",
        "name name, default_version text, installed_version text, comment text",
    ),
    (
        "pg_operator",
        "oid oid, oprname name, oprnamespace oid, oprowner oid, oprleft oid, oprright oid, oprresult oid",
    ),
    (
        "pg_partitioned_table",
        "partrelid oid, partstrat char, partnatts int2, partdefid oid, partattrs int2[]",
    ),
    (
        "pg_policy",
        "oid oid, polname name, polrelid oid, polcmd char, polpermissive bool, polroles oid[], polqual text, polwithcheck text",
    ),
    (
        "pg_policies",
        "schemaname name, tablename name, policyname name",
    ),
    (
        "pg_publication",
        "oid oid, pubname name, pubowner oid, puballtables bool",
    ),
    (
        "pg_publication_namespace",
        "oid oid, pnpubid oid, pnnspid oid",
    ),
    (
        "pg_publication_rel",
        "oid oid, prpubid oid, prrelid oid, prqual text, prattrs int2[]",
    ),
    (
        "pg_range",
        "rngtypid oid, rngsubtype oid, rngmultitypid oid",
    ),
    (
        "pg_rewrite",
        "oid oid, rulename name, ev_class oid, ev_type char, ev_enabled char, is_instead bool, ev_qual text, ev_action text",
    ),
    (
        "pg_sequence",
        "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, seqcache int8, seqcycle bool",
    ),
    (
        "pg_sequences",
        "schemaname name, sequencename name, sequenceowner name",
    ),
    (
        "pg_statistic_ext",
        "oid oid, stxrelid oid, stxname name, stxnamespace oid, stxowner oid, stxstattarget int4, stxkeys int2[], stxkind text[]",
    ),
    (
        "pg_trigger",
        "oid oid, tgrelid oid, tgparentid oid, tgname name, tgfoid oid, tgtype int2, tgenabled char, tgisinternal bool, tgconstrrelid oid, tgconstrindid oid, tgconstraint oid, tgdeferrable bool, tginitdeferred bool, tgnargs int2, tgqual text, tgoldtable name, tgnewtable name",
    ),
    (
        "pg_shdescription",
        "objoid oid, classoid oid, description text",
    ),
    ("pg_get_keywords", "word text, catcode char, catdesc text"),
];

/// Whether a column of the catalog's tables holds truth values.
pub fn is_flag(column: &str) -> bool {
    let described = [
        ATTRIBUTE_COLUMNS,
        CLASS_COLUMNS,
        CONSTRAINT_COLUMNS,
        PROC_COLUMNS,
        TYPE_COLUMNS,
    ];
    let columns = EMPTY.iter().map(|(_, columns)| *columns).chain(described);
    columns
        .flat_map(|columns| columns.split(", "))
        .filter_map(|field| field.split_once(' '))
        .any(|(name, data_type)| name == column && data_type == "bool")
}

type Tables = Vec<(String, Arc<dyn TableProvider>)>;

/// The tables of pg_catalog that describe `seen`, relations with their oids.
pub fn tables(
    seen: &[(i32, &Relation)],
    own: &BTreeSet<String>,
    model: &CatalogModel,
) -> Result<Tables> {
    let mut tables: Tables = Vec::new();
    for (name, columns) in EMPTY {
        tables.push((name.to_string(), table(columns, &[])?));
    }
    let mut add = |name: &str, columns: &str, rows: Vec<Row>| -> Result<()> {
        tables.push((name.to_string(), table(columns, &rows)?));
        Ok(())
    };
    let schemas = || {
        let described = ["pg_catalog", "information_schema"].into_iter();
        described.chain(own.iter().map(String::as_str))
    };
    add(
        "pg_namespace",
        "oid oid, nspname name, nspowner oid, nspacl text[]",
        schemas()
            .map(|name| {
                row([
                    ("oid", schema_oid(name).into()),
                    ("nspname", name.into()),
                    ("nspowner", OWNER.into()),
                ])
            })
            .collect(),
    )?;
    add("pg_class", CLASS_COLUMNS, seen.iter().map(class).collect())?;
    add(
        "pg_attribute",
        ATTRIBUTE_COLUMNS,
        seen.iter().flat_map(attributes).collect(),
    )?;
    add(
        "pg_description",
        "objoid oid, classoid oid, objsubid int4, description text",
        descriptions(seen, own, model),
    )?;
    add("pg_type", TYPE_COLUMNS, types())?;
    add(
        "pg_constraint",
        CONSTRAINT_COLUMNS,
        seen.iter().filter_map(key).collect(),
    )?;
    add("pg_proc", PROC_COLUMNS, functions(model))?;
    add(
        "pg_tables",
        "schemaname name, tablename name, tableowner name, tablespace name, hasindexes bool, hasrules bool, hastriggers bool, rowsecurity bool",
        seen.iter()
            .filter(|(_, relation)| !relation.view)
            .map(|(_, relation)| {
                row([
                    ("schemaname", relation.schema.as_str().into()),
                    ("tablename", relation.name.as_str().into()),
                    ("tableowner", DATABASE.into()),
                    ("hasindexes", false.into()),
                    ("hasrules", false.into()),
                    ("hastriggers", false.into()),
                    ("rowsecurity", false.into()),
                ])
            })
            .collect(),
    )?;
    add(
        "pg_views",
        "schemaname name, viewname name, viewowner name, definition text",
        seen.iter()
            .filter(|(_, relation)| relation.view)
            .map(|(_, relation)| {
                row([
                    ("schemaname", relation.schema.as_str().into()),
                    ("viewname", relation.name.as_str().into()),
                    ("viewowner", DATABASE.into()),
                    ("definition", "".into()),
                ])
            })
            .collect(),
    )?;
    add(
        "pg_stat_user_tables",
        "relid oid, schemaname name, relname name, seq_scan int8, idx_scan int8, n_live_tup int8, n_dead_tup int8",
        seen.iter()
            .filter(|(_, relation)| !relation.view)
            .map(|(oid, relation)| {
                row([
                    ("relid", (*oid).into()),
                    ("schemaname", relation.schema.as_str().into()),
                    ("relname", relation.name.as_str().into()),
                ])
            })
            .collect(),
    )?;
    add(
        "pg_database",
        "oid oid, datname name, datdba oid, encoding int4, datlocprovider char, datistemplate bool, datallowconn bool, datconnlimit int4, datfrozenxid int8, datminmxid int8, dattablespace oid, datcollate text, datctype text, daticulocale text, datcollversion text, datacl text[]",
        vec![row([
            ("oid", DATABASE_OID.into()),
            ("datname", DATABASE.into()),
            ("datdba", OWNER.into()),
            ("encoding", 6.into()),
            ("datlocprovider", "c".into()),
            ("datistemplate", false.into()),
            ("datallowconn", true.into()),
            ("datconnlimit", (-1).into()),
            ("dattablespace", 1663.into()),
            ("datcollate", "C.UTF-8".into()),
            ("datctype", "C.UTF-8".into()),
        ])],
    )?;
    let role = |password: &'static str| {
        row([
            ("oid", OWNER.into()),
            ("rolname", DATABASE.into()),
            ("rolsuper", false.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", false.into()),
            ("rolcreatedb", false.into()),
            ("rolcanlogin", true.into()),
            ("rolreplication", false.into()),
            ("rolconnlimit", (-1).into()),
            ("rolbypassrls", false.into()),
            ("rolpassword", password.into()),
        ])
    };
    const ROLES: &str = "oid oid, rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, rolreplication bool, rolconnlimit int4, rolpassword text, rolvaliduntil text, rolbypassrls bool, rolconfig text[]";
    add("pg_roles", ROLES, vec![role("********")])?;
    add("pg_authid", ROLES, vec![role("********")])?;
    add(
        "pg_user",
        "usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool, passwd text, valuntil text, useconfig text[]",
        vec![row([
            ("usename", DATABASE.into()),
            ("usesysid", OWNER.into()),
            ("usecreatedb", false.into()),
            ("usesuper", false.into()),
        ])],
    )?;
    add(
        "pg_am",
        "oid oid, amname name, amhandler text, amtype char",
        vec![row([
            ("oid", 2.into()),
            ("amname", "heap".into()),
            ("amtype", "t".into()),
        ])],
    )?;
    add(
        "pg_language",
        "oid oid, lanname name, lanowner oid, lanispl bool, lanpltrusted bool",
        vec![row([
            ("oid", 12.into()),
            ("lanname", "internal".into()),
            ("lanispl", false.into()),
            ("lanpltrusted", true.into()),
        ])],
    )?;
    add(
        "pg_tablespace",
        "oid oid, spcname name, spcowner oid, spcacl text[], spcoptions text[]",
        vec![row([
            ("oid", 1663.into()),
            ("spcname", "pg_default".into()),
            ("spcowner", OWNER.into()),
        ])],
    )?;
    add(
        "pg_settings",
        "name text, setting text, unit text, category text, short_desc text, extra_desc text, context text, vartype text, source text, min_val text, max_val text, enumvals text[], boot_val text, reset_val text, sourcefile text, sourceline int4, pending_restart bool",
        super::functions::SETTINGS
            .iter()
            .map(|(name, value)| {
                row([
                    ("name", (*name).into()),
                    ("setting", (*value).into()),
                    ("category", "graph-recs".into()),
                    ("short_desc", "".into()),
                    ("context", "internal".into()),
                    ("vartype", "string".into()),
                    ("source", "default".into()),
                    ("boot_val", (*value).into()),
                    ("reset_val", (*value).into()),
                    ("pending_restart", false.into()),
                ])
            })
            .collect(),
    )?;
    add(
        "pg_stat_activity",
        "datid oid, datname name, pid int4, usesysid oid, usename name, application_name text, client_addr text, state text, query text, backend_type text",
        Vec::new(),
    )?;
    Ok(tables)
}
