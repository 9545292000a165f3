//! A model for whoever may not need one.

use super::{Model, ModelError};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A model that was loaded, or the shipped one, which is loaded when it is first asked for: that takes more time and
/// memory than many a statement.
#[derive(Clone, Debug, Default)]
pub struct LazyModel(Option<Arc<Model>>);

impl LazyModel {
    /// The model that [`Model::open`] finds; the shipped one later.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub async fn open(location: Option<&str>) -> Result<Self, ModelError> {
        Ok(match location {
            Some(_) => Self(Some(Model::open(location).await?)),
            None => Self::default(),
        })
    }

    /// The model.
    ///
    /// # Errors
    /// As [`Model::shipped`].
    pub fn get(&self) -> Result<Arc<Model>, ModelError> {
        match &self.0 {
            Some(model) => Ok(Arc::clone(model)),
            None => Model::shipped(),
        }
    }

    /// What tells two loaded models apart.
    fn hash_of_loaded(&self) -> Option<&str> {
        self.0.as_ref().map(|model| model.hash())
    }
}

impl From<Arc<Model>> for LazyModel {
    fn from(model: Arc<Model>) -> Self {
        Self(Some(model))
    }
}

impl PartialEq for LazyModel {
    fn eq(&self, other: &Self) -> bool {
        self.hash_of_loaded() == other.hash_of_loaded()
    }
}

impl Eq for LazyModel {}

impl Hash for LazyModel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash_of_loaded().hash(state);
    }
}
