//! The dictionary of the published tables, from `models.yml`.

use serde::Deserialize;

/// A published table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableModel {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// The columns that no two rows share.
    pub key: Vec<String>,
    /// Its columns, in order.
    pub columns: Vec<ColumnModel>,
}

/// A column of a published table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnModel {
    /// Its name.
    pub name: String,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// What it holds.
    pub description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Models {
    tables: Vec<TableModel>,
    written_columns: Vec<ColumnModel>,
}

fn models() -> Result<Models, serde_norway::Error> {
    serde_norway::from_str(include_str!("../models.yml"))
}

/// All published tables.
///
/// # Errors
/// When `models.yml` is not of this form, which the tests rule out.
pub fn tables() -> Result<Vec<TableModel>, serde_norway::Error> {
    models().map(|models| models.tables)
}

/// The columns that each of the tables in PostgreSQL has besides.
///
/// # Errors
/// As [`tables`].
pub fn written_columns() -> Result<Vec<ColumnModel>, serde_norway::Error> {
    models().map(|models| models.written_columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_made_of_columns() {
        let tables = tables().unwrap();
        assert_eq!(tables.len(), 4);
        for table in tables {
            for key in &table.key {
                assert!(
                    table.columns.iter().any(|column| column.name == *key),
                    "{}.{key}",
                    table.name
                );
            }
        }
    }
}
