//! What analysts find: descriptions from `catalog.yml`, and the views of `views/`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::plans::{Plan, plans};

/// The views that analysts want first, over the tables of one run; `drift` also over `previous.*`.
pub const VIEWS: &[Plan] = plans![
    "views" / "most_recommended",
    "views" / "reciprocal_pairs",
    "views" / "coverage",
    "views" / "drift",
];

/// The rows of the function `who_to_follow`, with the parameter `$user`.
pub const WHO_TO_FOLLOW: &Plan = &plans!["views" / "who_to_follow"][0];

/// The catalog's descriptions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogModel {
    /// Its schemas.
    pub schemas: Vec<SchemaModel>,
    /// Functions of this project that analysts use.
    pub functions: Vec<FunctionModel>,
}

/// A schema.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaModel {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// Its relations beside the published tables.
    pub relations: Vec<RelationModel>,
}

/// A relation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationModel {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// Descriptions of columns.
    pub columns: BTreeMap<String, String>,
}

/// A function.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionModel {
    /// Its name.
    pub name: String,
    /// Its arguments' types.
    pub arguments: String,
    /// Its result's type.
    pub result: String,
    /// What it gives.
    pub description: String,
}

/// Reads `catalog.yml`.
///
/// # Errors
/// When it is not of this form, which the tests rule out.
pub fn model() -> Result<CatalogModel, serde_norway::Error> {
    serde_norway::from_str(include_str!("../catalog.yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_is_described() {
        let model = model().unwrap();
        let current = &model.schemas[0].relations;
        for view in VIEWS {
            assert!(current.iter().any(|relation| relation.name == view.name));
        }
    }
}
