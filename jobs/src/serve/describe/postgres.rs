//! Schema pg_catalog.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use datafusion::catalog::TableProvider;
use graph_recs_sql::catalog::CatalogModel;

use super::rows::{Row, table};
use super::types::{TYPES, length, of_arrow};
use super::{DATABASE_OID, OWNER, schema_oid};
use crate::serve::catalog::{CURRENT, DATABASE, Relation};

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
const CLASS: i32 = 1259;
const PROC: i32 = 1255;
const NAMESPACE: i32 = 2615;
/// Oid of the first function.
const FIRST_FUNCTION: i32 = 30_000;

/// Oid of a system table.
pub fn system_oid(name: &str) -> Option<i32> {
    let found = SYSTEM_OIDS.iter().find(|(table, _)| *table == name);
    found.map(|(_, oid)| *oid)
}

/// Tables without rows: nothing here has indexes, triggers, policies, … A query over one of them has none either,
/// which [`crate::serve::dialect`] makes use of.
pub const EMPTY: [(&str, &str); 35] = [
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

fn row<const N: usize>(cells: [(&'static str, super::rows::Cell); N]) -> Row {
    cells.into()
}

const CLASS_COLUMNS: &str = "oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid, relfilenode oid, reltablespace oid, relpages int4, reltuples float4, relallvisible int4, reltoastrelid oid, relhasindex bool, relisshared bool, relpersistence char, relkind char, relnatts int2, relchecks int2, relhasrules bool, relhastriggers bool, relhassubclass bool, relrowsecurity bool, relforcerowsecurity bool, relispopulated bool, relreplident char, relispartition bool, relrewrite oid, relfrozenxid int8, relminmxid int8, relacl text[], reloptions text[], relpartbound text";

fn class((oid, relation): &(i32, &Relation)) -> Row {
    let no = || false.into();
    row([
        ("oid", (*oid).into()),
        ("relname", relation.name.as_str().into()),
        ("relnamespace", schema_oid(&relation.schema).into()),
        ("reltype", 0.into()),
        ("reloftype", 0.into()),
        ("relowner", OWNER.into()),
        ("relam", if relation.view { 0 } else { 2 }.into()),
        ("relfilenode", 0.into()),
        ("reltablespace", 0.into()),
        ("relpages", 0.into()),
        ("reltuples", (-1).into()),
        ("relallvisible", 0.into()),
        ("reltoastrelid", 0.into()),
        ("relhasindex", no()),
        ("relisshared", no()),
        ("relpersistence", "p".into()),
        ("relkind", if relation.view { "v" } else { "r" }.into()),
        ("relnatts", (relation.columns.len() as i32).into()),
        ("relchecks", 0.into()),
        ("relhasrules", no()),
        ("relhastriggers", no()),
        ("relhassubclass", no()),
        ("relrowsecurity", no()),
        ("relforcerowsecurity", no()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
        ("relispartition", no()),
        ("relrewrite", 0.into()),
    ])
}

const ATTRIBUTE_COLUMNS: &str = "attrelid oid, attname name, atttypid oid, attstattarget int4, attlen int2, attnum int2, attndims int4, attcacheoff int4, atttypmod int4, attbyval bool, attalign char, attstorage char, attcompression char, attnotnull bool, atthasdef bool, atthasmissing bool, attidentity char, attgenerated char, attisdropped bool, attislocal bool, attinhcount int4, attcollation oid, attacl text[], attoptions text[], attfdwoptions text[], attmissingval text";

fn attributes((oid, relation): &(i32, &Relation)) -> Vec<Row> {
    let columns = (1_i32..).zip(&relation.columns);
    columns
        .map(|(number, column)| {
            let pg = of_arrow(&column.data_type);
            let no = || false.into();
            row([
                ("attrelid", (*oid).into()),
                ("attname", column.name.as_str().into()),
                ("atttypid", (pg.wire.oid() as i32).into()),
                ("attstattarget", (-1).into()),
                ("attlen", i32::from(length(&pg.wire)).into()),
                ("attnum", number.into()),
                ("attndims", 0.into()),
                ("attcacheoff", (-1).into()),
                ("atttypmod", pg.modifier.into()),
                ("attbyval", no()),
                ("attalign", "i".into()),
                ("attstorage", "p".into()),
                ("attcompression", "".into()),
                ("attnotnull", (!column.nullable).into()),
                ("atthasdef", no()),
                ("atthasmissing", no()),
                ("attidentity", "".into()),
                ("attgenerated", "".into()),
                ("attisdropped", no()),
                ("attislocal", true.into()),
                ("attinhcount", 0.into()),
                ("attcollation", 0.into()),
            ])
        })
        .collect()
}

fn descriptions(
    seen: &[(i32, &Relation)],
    own: &BTreeSet<String>,
    model: &CatalogModel,
) -> Vec<Row> {
    let describe = |object: i32, class: i32, part: i32, text: &str| {
        row([
            ("objoid", object.into()),
            ("classoid", class.into()),
            ("objsubid", part.into()),
            ("description", text.into()),
        ])
    };
    let mut rows = Vec::new();
    for schema in model
        .schemas
        .iter()
        .filter(|schema| own.contains(&schema.name))
    {
        rows.push(describe(
            schema_oid(&schema.name),
            NAMESPACE,
            0,
            &schema.description,
        ));
    }
    for (number, function) in (FIRST_FUNCTION..).zip(&model.functions) {
        rows.push(describe(number, PROC, 0, &function.description));
    }
    for (oid, relation) in seen {
        rows.push(describe(*oid, CLASS, 0, &relation.description));
        for (number, column) in (1_i32..).zip(&relation.columns) {
            if !column.description.is_empty() {
                rows.push(describe(*oid, CLASS, number, &column.description));
            }
        }
    }
    rows
}

const TYPE_COLUMNS: &str = "oid oid, typname name, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype char, typcategory char, typispreferred bool, typisdefined bool, typdelim char, typrelid oid, typsubscript text, typelem oid, typarray oid, typinput text, typoutput text, typreceive text, typsend text, typmodin text, typmodout text, typalign char, typstorage char, typnotnull bool, typbasetype oid, typtypmod int4, typndims int4, typcollation oid, typdefault text, typacl text[]";

fn types() -> Vec<Row> {
    let mut rows = Vec::new();
    for (wire, array, _, length, category) in &TYPES {
        let one = |of: &pgwire::api::Type, length: i16, category: &str, item: u32, list: u32| {
            row([
                ("oid", (of.oid() as i32).into()),
                ("typname", of.name().into()),
                ("typnamespace", 11.into()),
                ("typowner", OWNER.into()),
                ("typlen", i32::from(length).into()),
                ("typbyval", (length > 0).into()),
                (
                    "typtype",
                    if *of == pgwire::api::Type::RECORD {
                        "p"
                    } else {
                        "b"
                    }
                    .into(),
                ),
                ("typcategory", category.into()),
                ("typispreferred", false.into()),
                ("typisdefined", true.into()),
                ("typdelim", ",".into()),
                ("typrelid", 0.into()),
                ("typelem", (item as i32).into()),
                ("typarray", (list as i32).into()),
                ("typinput", format!("{}in", of.name()).into()),
                ("typoutput", format!("{}out", of.name()).into()),
                ("typreceive", format!("{}recv", of.name()).into()),
                ("typsend", format!("{}send", of.name()).into()),
                ("typalign", "i".into()),
                ("typstorage", "p".into()),
                ("typnotnull", false.into()),
                ("typbasetype", 0.into()),
                ("typtypmod", (-1).into()),
                ("typndims", 0.into()),
                ("typcollation", 0.into()),
            ])
        };
        rows.push(one(wire, *length, category, 0, array.oid()));
        rows.push(one(array, -1, "A", wire.oid(), 0));
    }
    rows
}

const CONSTRAINT_COLUMNS: &str = "oid oid, conname name, connamespace oid, contype char, condeferrable bool, condeferred bool, convalidated bool, conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid, confupdtype char, confdeltype char, confmatchtype char, conislocal bool, coninhcount int4, connoinherit bool, conkey int2[], confkey int2[], conpfeqop oid[], conexclop oid[], conbin text";

fn key((oid, relation): &(i32, &Relation)) -> Option<Row> {
    let place = |name: &String| {
        relation
            .columns
            .iter()
            .position(|column| column.name == *name)
    };
    let columns: Option<Vec<i64>> = relation
        .key
        .iter()
        .map(|name| i64::try_from(place(name)? + 1).ok())
        .collect();
    let columns = columns.filter(|columns| !columns.is_empty())?;
    Some(row([
        ("oid", (oid + 20_000).into()),
        ("conname", format!("{}_key", relation.name).into()),
        ("connamespace", schema_oid(&relation.schema).into()),
        ("contype", "p".into()),
        ("condeferrable", false.into()),
        ("condeferred", false.into()),
        ("convalidated", true.into()),
        ("conrelid", (*oid).into()),
        ("contypid", 0.into()),
        ("conindid", 0.into()),
        ("conparentid", 0.into()),
        ("confrelid", 0.into()),
        ("conislocal", true.into()),
        ("coninhcount", 0.into()),
        ("connoinherit", true.into()),
        ("conkey", super::rows::Cell::Ints(columns)),
    ]))
}

const PROC_COLUMNS: &str = "oid oid, proname name, pronamespace oid, proowner oid, prolang oid, procost float4, prorows float4, provariadic oid, prosupport text, prokind char, prosecdef bool, proleakproof bool, proisstrict bool, proretset bool, provolatile char, proparallel char, pronargs int2, pronargdefaults int2, prorettype oid, proargtypes oid[], proallargtypes oid[], proargmodes text[], proargnames text[], proargdefaults text, protrftypes oid[], prosrc text, probin text, prosqlbody text, proconfig text[], proacl text[]";

fn functions(model: &CatalogModel) -> Vec<Row> {
    let functions = (FIRST_FUNCTION..).zip(&model.functions);
    functions
        .map(|(oid, function)| {
            row([
                ("oid", oid.into()),
                ("proname", function.name.as_str().into()),
                ("pronamespace", schema_oid(CURRENT).into()),
                ("proowner", OWNER.into()),
                ("prolang", 12.into()),
                ("prokind", "f".into()),
                ("prosecdef", false.into()),
                ("proleakproof", false.into()),
                ("proisstrict", false.into()),
                ("proretset", function.result.starts_with("TABLE").into()),
                ("provolatile", "s".into()),
                ("proparallel", "s".into()),
                ("prorettype", 2249.into()),
                ("prosrc", function.arguments.as_str().into()),
            ])
        })
        .collect()
}
