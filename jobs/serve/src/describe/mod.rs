//! The schemas pg_catalog and information_schema: the catalog as PostgreSQL's clients ask for it.
//!
//! Their tables are made once for each set of schemas that somebody may see. Oids are the places of schemas and
//! relations in the whole catalog, so they are the same for everybody, and stay.

mod functions;
mod information;
mod lists;
mod objects;
mod postgres;
mod rows;
mod texts;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use graph_recs_sql::catalog::CatalogModel;

use super::catalog::Relation;
use super::users::SCHEMAS;

pub use functions::{register, setting};
pub use postgres::{EMPTY, is_flag};
pub use types::{is_list, of_arrow, type_of};

/// Everything about the catalog that descriptions are made from.
#[derive(Debug)]
pub struct Described {
    relations: Arc<[Relation]>,
    model: Arc<CatalogModel>,
}

/// pg_catalog and information_schema by name.
pub type Schemas = Arc<BTreeMap<String, Arc<dyn SchemaProvider>>>;

impl Described {
    /// Of all relations of the catalog.
    pub fn new(relations: Arc<[Relation]>, model: Arc<CatalogModel>) -> Self {
        Self { relations, model }
    }

    /// The schemas for whoever sees `own`.
    ///
    /// # Errors
    /// Errors of DataFusion.
    pub fn schemas(&self, own: &BTreeSet<String>) -> Result<Schemas> {
        let seen: Vec<(i32, &Relation)> = (FIRST_RELATION..)
            .zip(self.relations.iter())
            .filter(|(_, relation)| own.contains(&relation.schema))
            .collect();
        let mut schemas: BTreeMap<String, Arc<dyn SchemaProvider>> = BTreeMap::new();
        for (name, tables) in [
            ("pg_catalog", postgres::tables(&seen, own, &self.model)?),
            (
                "information_schema",
                information::tables(&seen, own, &self.model)?,
            ),
        ] {
            let schema = MemorySchemaProvider::new();
            for (table, provider) in tables {
                schema.register_table(table, provider)?;
            }
            schemas.insert(name.to_string(), Arc::new(schema));
        }
        Ok(Arc::new(schemas))
    }

    /// Oid of a relation by its name, with or without its schema.
    pub fn relation_oid(&self, name: &str) -> Option<i32> {
        let bare = name.replace('"', "");
        let bare = bare.strip_prefix("pg_catalog.").unwrap_or(&bare);
        if let Some(oid) = postgres::system_oid(bare) {
            return Some(oid);
        }
        let (schema, table) = bare
            .rsplit_once('.')
            .unwrap_or((super::catalog::CURRENT, bare));
        (FIRST_RELATION..)
            .zip(self.relations.iter())
            .find(|(_, relation)| relation.schema == schema && relation.name == table)
            .map(|(oid, _)| oid)
    }
}

impl Described {
    /// Description of what has this oid, or of a relation's column.
    fn description(&self, oid: i64, part: i64) -> Option<String> {
        if let Some(relation) = self.numbered(oid) {
            let text = match usize::try_from(part).ok()?.checked_sub(1) {
                None => &relation.description,
                Some(column) => &relation.columns.get(column)?.description,
            };
            return (!text.is_empty()).then(|| text.clone());
        }
        let schemas = self.model.schemas.iter();
        let mut schemas = schemas.filter(|schema| i64::from(schema_oid(&schema.name)) == oid);
        schemas.next().map(|schema| schema.description.clone())
    }

    /// Oid of a schema.
    pub fn oid_of_schema(name: &str) -> Option<i32> {
        Some(schema_oid(name)).filter(|oid| *oid != 0)
    }

    /// Schema and name of the relation that has this oid.
    fn relation(&self, oid: i64) -> Option<(&str, &str)> {
        let relation = self.numbered(oid)?;
        Some((&relation.schema, &relation.name))
    }

    /// The schema that has this oid.
    fn schema(&self, oid: i64) -> Option<String> {
        let names = SCHEMAS
            .into_iter()
            .chain(["pg_catalog", "information_schema"]);
        let mut names = names.filter(|name| i64::from(schema_oid(name)) == oid);
        names.next().map(String::from)
    }

    fn numbered(&self, oid: i64) -> Option<&Relation> {
        let place = usize::try_from(oid - i64::from(FIRST_RELATION)).ok()?;
        self.relations.get(place)
    }
}

/// Oid of the first relation.
const FIRST_RELATION: i32 = 20_000;
/// Oid of the first schema.
const FIRST_SCHEMA: i32 = 16_400;
/// Oid of the only database.
const DATABASE_OID: i32 = 16_384;
/// Oid of the only owner.
const OWNER: i32 = 10;

/// Oid of a schema.
fn schema_oid(name: &str) -> i32 {
    match name {
        "pg_catalog" => 11,
        "information_schema" => 13_000,
        _ => (FIRST_SCHEMA..)
            .zip(SCHEMAS)
            .find(|(_, schema)| *schema == name)
            .map_or(0, |(oid, _)| oid),
    }
}
