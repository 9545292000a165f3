//! Rows of pg_catalog about relations, types and functions.

use std::collections::BTreeSet;

use graph_recs_sql::catalog::CatalogModel;

use super::postgres::{CLASS, NAMESPACE, PROC};
use super::rows::{Cell, Row};
use super::types::{TYPES, length, of_arrow};
use super::{OWNER, schema_oid};
use crate::catalog::{CURRENT, Relation};

/// Oid of the first function.
const FIRST_FUNCTION: i32 = 30_000;
/// Oid of the first function that receives values of a type.
const FIRST_RECEIVER: i32 = 31_000;

/// A row of these cells.
pub fn row<const N: usize>(cells: [(&'static str, Cell); N]) -> Row {
    cells.into()
}

/// Columns of pg_class.
pub const CLASS_COLUMNS: &str = "oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid, relfilenode oid, reltablespace oid, relpages int4, reltuples float4, relallvisible int4, reltoastrelid oid, relhasindex bool, relisshared bool, relpersistence char, relkind char, relnatts int2, relchecks int2, relhasrules bool, relhastriggers bool, relhassubclass bool, relrowsecurity bool, relforcerowsecurity bool, relispopulated bool, relreplident char, relispartition bool, relrewrite oid, relfrozenxid int8, relminmxid int8, relacl text[], reloptions text[], relpartbound text";

/// A relation's row in pg_class.
pub fn class((oid, relation): &(i32, &Relation)) -> Row {
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

/// Columns of pg_attribute.
pub const ATTRIBUTE_COLUMNS: &str = "attrelid oid, attname name, atttypid oid, attstattarget int4, attlen int2, attnum int2, attndims int4, attcacheoff int4, atttypmod int4, attbyval bool, attalign char, attstorage char, attcompression char, attnotnull bool, atthasdef bool, atthasmissing bool, attidentity char, attgenerated char, attisdropped bool, attislocal bool, attinhcount int4, attcollation oid, attacl text[], attoptions text[], attfdwoptions text[], attmissingval text";

/// A relation's rows in pg_attribute.
pub fn attributes((oid, relation): &(i32, &Relation)) -> Vec<Row> {
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

/// The rows of pg_description.
pub fn descriptions(
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

/// Columns of pg_type.
pub const TYPE_COLUMNS: &str = "oid oid, typname name, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype char, typcategory char, typispreferred bool, typisdefined bool, typdelim char, typrelid oid, typsubscript text, typelem oid, typarray oid, typinput text, typoutput text, typreceive text, typsend text, typmodin text, typmodout text, typalign char, typstorage char, typnotnull bool, typbasetype oid, typtypmod int4, typndims int4, typcollation oid, typdefault text, typacl text[]";

/// The rows of pg_type.
pub fn types() -> Vec<Row> {
    let mut rows = Vec::new();
    // As PostgreSQL names the functions of a type, which some clients know types by.
    const LATER: [&str; 9] = [
        "json",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
        "numeric",
        "uuid",
        "record",
    ];
    let function = |of: &str, category: &str, end: &str| match category {
        "A" => format!("array_{end}"),
        _ if LATER.contains(&of) => format!("{of}_{end}"),
        _ => format!("{of}{end}"),
    };
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
                ("typinput", function(of.name(), category, "in").into()),
                ("typoutput", function(of.name(), category, "out").into()),
                ("typreceive", function(of.name(), category, "recv").into()),
                ("typsend", function(of.name(), category, "send").into()),
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

/// Columns of pg_constraint.
pub const CONSTRAINT_COLUMNS: &str = "oid oid, conname name, connamespace oid, contype char, condeferrable bool, condeferred bool, convalidated bool, conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid, confupdtype char, confdeltype char, confmatchtype char, conislocal bool, coninhcount int4, connoinherit bool, conkey int2[], confkey int2[], conpfeqop oid[], conexclop oid[], conbin text";

/// A relation's row in pg_constraint, if it has a key.
pub fn key((oid, relation): &(i32, &Relation)) -> Option<Row> {
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
        ("conkey", Cell::Ints(columns)),
    ]))
}

/// Columns of pg_proc.
pub const PROC_COLUMNS: &str = "oid oid, proname name, pronamespace oid, proowner oid, prolang oid, procost float4, prorows float4, provariadic oid, prosupport text, prokind char, prosecdef bool, proleakproof bool, proisstrict bool, proretset bool, provolatile char, proparallel char, pronargs int2, pronargdefaults int2, prorettype oid, proargtypes oid[], proallargtypes oid[], proargmodes text[], proargnames text[], proargdefaults text, protrftypes oid[], prosrc text, probin text, prosqlbody text, proconfig text[], proacl text[]";

/// The rows of pg_proc: the functions that are described, and those by which clients know types.
pub fn functions(model: &CatalogModel) -> Vec<Row> {
    let receivers = types().into_iter().flatten().filter_map(|cell| match cell {
        ("typreceive", Cell::Text(name)) => Some(name),
        _ => None,
    });
    let receivers = receivers.collect::<BTreeSet<String>>().into_iter();
    let receivers = (FIRST_RECEIVER..).zip(receivers).map(|(oid, name)| {
        row([
            ("oid", oid.into()),
            ("proname", name.into()),
            ("pronamespace", schema_oid("pg_catalog").into()),
            ("proowner", OWNER.into()),
            ("prolang", 12.into()),
            ("prokind", "f".into()),
            ("proretset", false.into()),
            ("provolatile", "i".into()),
            ("prorettype", 2249.into()),
        ])
    });
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
        .chain(receivers)
        .collect()
}
