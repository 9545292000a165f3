//! What the catalog's relations are made of, for those who describe them to clients.

use std::collections::BTreeMap;

use anyhow::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::datasource::TableType;
use graph_recs_sql::catalog::CatalogModel;
use graph_recs_sql::models;

use super::{CURRENT, Snapshot, history};

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it holds; empty when nobody said.
    pub description: String,
}

/// A table or view.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is computed when it is asked for.
    pub view: bool,
    /// What it holds.
    pub description: String,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// The columns that no two rows share.
    pub key: Vec<String>,
}

/// Description of a relation, and of its columns by name.
pub type Texts = (String, BTreeMap<String, String>);

/// Descriptions of relations by schema and name.
pub fn texts() -> BTreeMap<(String, String), Texts> {
    let mut texts = BTreeMap::new();
    for table in models::tables().unwrap_or_default() {
        let columns = table.columns.into_iter();
        let columns: BTreeMap<String, String> = columns
            .map(|column| (column.name, column.description))
            .collect();
        let of_table = (table.description, columns);
        for schema in [CURRENT, history::SCHEMA] {
            texts.insert((schema.to_string(), table.name.clone()), of_table.clone());
        }
    }
    let schemas = graph_recs_sql::catalog::model().map(|model| model.schemas);
    for schema in schemas.unwrap_or_default() {
        for relation in schema.relations {
            let name = (schema.name.clone(), relation.name);
            texts.insert(name, (relation.description, relation.columns));
        }
    }
    texts
}

/// All relations of a snapshot that are described, published tables first.
pub async fn describe(snapshot: &Snapshot, model: &CatalogModel) -> Result<Vec<Relation>> {
    let mut relations = Vec::new();
    for schema in [CURRENT, history::SCHEMA] {
        for table in models::tables()? {
            let past = schema == history::SCHEMA;
            let mut described: Vec<(String, String)> = Vec::new();
            let mut key = table.key.clone();
            if past {
                let own = history::COLUMNS.iter();
                described.extend(own.map(|(name, text)| (name.to_string(), text.to_string())));
                key.insert(0, "run_id".to_string());
            }
            let columns = table.columns.into_iter();
            described.extend(columns.map(|column| (column.name, column.description)));
            let description = match past {
                true => format!("{}, of every published run", table.description),
                false => table.description,
            };
            let describe = |name: &str| {
                let found = described.iter().find(|(column, _)| column == name);
                found.map(|(_, text)| text.clone()).unwrap_or_default()
            };
            let relation = relation(snapshot, schema, &table.name, &describe).await?;
            relations.extend(relation.map(|relation| Relation {
                description,
                key,
                view: past,
                ..relation
            }));
        }
    }
    for schema in &model.schemas {
        for described in &schema.relations {
            let describe = |name: &str| described.columns.get(name).cloned().unwrap_or_default();
            let relation = relation(snapshot, &schema.name, &described.name, &describe).await?;
            relations.extend(relation.map(|relation| Relation {
                description: described.description.clone(),
                ..relation
            }));
        }
    }
    Ok(relations)
}

async fn relation(
    snapshot: &Snapshot,
    schema: &str,
    name: &str,
    describe: &(dyn Fn(&str) -> String + Sync),
) -> Result<Option<Relation>> {
    let Some(table) = snapshot.table(schema, name).await? else {
        return Ok(None);
    };
    let fields = table.schema();
    let columns = fields.fields().iter().map(|field| Column {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        nullable: field.is_nullable(),
        description: describe(field.name()),
    });
    Ok(Some(Relation {
        schema: schema.to_string(),
        name: name.to_string(),
        view: table.table_type() == TableType::View,
        description: String::new(),
        columns: columns.collect(),
        key: Vec::new(),
    }))
}
