//! Schema information_schema, with a column more than the standard has: `description`.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use graph_recs_sql::catalog::CatalogModel;

use super::rows::{Row, table};
use super::types::{of_arrow, type_name};
use crate::catalog::{DATABASE, Relation};

type Tables = Vec<(String, Arc<dyn TableProvider>)>;

/// The tables of information_schema that describe `seen`.
pub fn tables(
    seen: &[(i32, &Relation)],
    own: &BTreeSet<String>,
    model: &CatalogModel,
) -> Result<Tables> {
    let mut tables: Tables = Vec::new();
    let mut add = |name: &str, columns: &str, rows: Vec<Row>| -> Result<()> {
        tables.push((name.to_string(), table(columns, &rows)?));
        Ok(())
    };
    let kind = |relation: &Relation| if relation.view { "VIEW" } else { "BASE TABLE" };
    let described = model.schemas.iter().filter(|s| own.contains(&s.name));
    add(
        "schemata",
        "catalog_name name, schema_name name, schema_owner name, default_character_set_name name, description text",
        described
            .map(|schema| (schema.name.as_str(), schema.description.as_str()))
            .chain([("pg_catalog", ""), ("information_schema", "")])
            .map(|(name, description)| {
                vec![
                    ("catalog_name", DATABASE.into()),
                    ("schema_name", name.into()),
                    ("schema_owner", DATABASE.into()),
                    ("description", description.into()),
                ]
            })
            .collect(),
    )?;
    add(
        "tables",
        "table_catalog name, table_schema name, table_name name, table_type text, self_referencing_column_name name, \
         is_insertable_into text, is_typed text, commit_action text, description text",
        seen.iter()
            .map(|(_, relation)| {
                let mut row = name_of(relation);
                row.extend([
                    ("table_type", kind(relation).into()),
                    ("is_insertable_into", "NO".into()),
                    ("is_typed", "NO".into()),
                    ("description", relation.description.as_str().into()),
                ]);
                row
            })
            .collect(),
    )?;
    add(
        "views",
        "table_catalog name, table_schema name, table_name name, view_definition text, check_option text, \
         is_updatable text",
        seen.iter()
            .filter(|(_, relation)| relation.view)
            .map(|(_, relation)| {
                let mut row = name_of(relation);
                row.push(("is_updatable", "NO".into()));
                row
            })
            .collect(),
    )?;
    add(
        "columns",
        COLUMNS,
        seen.iter()
            .flat_map(|(_, relation)| columns(relation))
            .collect(),
    )?;
    add(
        "table_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog name, \
         table_schema name, table_name name, constraint_type text, is_deferrable text, initially_deferred text",
        keyed(seen)
            .map(|relation| {
                let mut row = name_of(relation);
                row.extend(constraint_of(relation));
                row.extend([
                    ("constraint_type", "PRIMARY KEY".into()),
                    ("is_deferrable", "NO".into()),
                    ("initially_deferred", "NO".into()),
                ]);
                row
            })
            .collect(),
    )?;
    add(
        "key_column_usage",
        "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog name, \
         table_schema name, table_name name, column_name name, ordinal_position int4, \
         position_in_unique_constraint int4",
        keyed(seen)
            .flat_map(|relation| {
                (1_i32..).zip(&relation.key).map(move |(place, column)| {
                    let mut row = name_of(relation);
                    row.extend(constraint_of(relation));
                    row.extend([
                        ("column_name", column.as_str().into()),
                        ("ordinal_position", place.into()),
                    ]);
                    row
                })
            })
            .collect(),
    )?;
    for (name, columns) in EMPTY {
        add(name, columns, Vec::new())?;
    }
    Ok(tables)
}

/// Tables without rows.
const EMPTY: [(&str, &str); 6] = [
    (
        "referential_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, unique_constraint_schema name, \
         unique_constraint_name name, update_rule text, delete_rule text",
    ),
    (
        "constraint_column_usage",
        "table_catalog name, table_schema name, table_name name, column_name name, constraint_catalog name, \
         constraint_schema name, constraint_name name",
    ),
    (
        "routines",
        "specific_name name, routine_catalog name, routine_schema name, routine_name name, routine_type text, \
         data_type text",
    ),
    (
        "routine_privileges",
        "grantor name, grantee name, specific_catalog name, specific_schema name, specific_name name, \
         routine_catalog name, routine_schema name, routine_name name, privilege_type text, is_grantable text",
    ),
    (
        "table_privileges",
        "grantor name, grantee name, table_catalog name, table_schema name, table_name name, privilege_type text, \
         is_grantable text",
    ),
    (
        "sequences",
        "sequence_catalog name, sequence_schema name, sequence_name name, data_type text",
    ),
];

fn name_of(relation: &Relation) -> Row {
    vec![
        ("table_catalog", DATABASE.into()),
        ("table_schema", relation.schema.as_str().into()),
        ("table_name", relation.name.as_str().into()),
    ]
}

fn constraint_of(relation: &Relation) -> Row {
    vec![
        ("constraint_catalog", DATABASE.into()),
        ("constraint_schema", relation.schema.as_str().into()),
        ("constraint_name", format!("{}_key", relation.name).into()),
    ]
}

fn keyed<'a>(seen: &'a [(i32, &'a Relation)]) -> impl Iterator<Item = &'a Relation> {
    let relations = seen.iter().map(|(_, relation)| *relation);
    relations.filter(|relation| !relation.key.is_empty())
}

const COLUMNS: &str = "table_catalog name, table_schema name, table_name name, column_name name, ordinal_position int4, \
    column_default text, is_nullable text, data_type text, character_maximum_length int4, character_octet_length int4, \
    numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, \
    interval_type text, character_set_name name, collation_name name, domain_name name, udt_catalog name, \
    udt_schema name, udt_name name, is_self_referencing text, is_identity text, is_generated text, \
    is_updatable text, description text";

fn columns(relation: &Relation) -> Vec<Row> {
    let columns = (1_i32..).zip(&relation.columns);
    columns
        .map(|(place, column)| {
            let pg = of_arrow(&column.data_type);
            let name = match type_name(pg.wire.oid().into(), -1) {
                Some(name) if name.ends_with("[]") => "ARRAY".to_string(),
                name => name.unwrap_or_default(),
            };
            let mut row = name_of(relation);
            row.extend([
                ("column_name", column.name.as_str().into()),
                ("ordinal_position", place.into()),
                (
                    "is_nullable",
                    if column.nullable { "YES" } else { "NO" }.into(),
                ),
                ("data_type", name.into()),
                ("udt_catalog", DATABASE.into()),
                ("udt_schema", "pg_catalog".into()),
                ("udt_name", pg.wire.name().into()),
                ("is_self_referencing", "NO".into()),
                ("is_identity", "NO".into()),
                ("is_generated", "NEVER".into()),
                ("is_updatable", "NO".into()),
                ("description", column.description.as_str().into()),
            ]);
            if let DataType::Decimal128(precision, scale) = column.data_type {
                row.push(("numeric_precision", i32::from(precision).into()));
                row.push(("numeric_precision_radix", 10.into()));
                row.push(("numeric_scale", i32::from(scale).into()));
            }
            row
        })
        .collect()
}
