//! Object stores by URL, made when a plan first names one.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::Url;

/// A registry that makes a store of another machine from its URL and the usual environment variables (`AWS_…`), so
/// that every process of a cluster reaches the same files without being told of them, and no secret travels with
/// a plan.
#[derive(Debug, Default)]
pub struct Stores {
    known: DefaultObjectStoreRegistry,
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.known.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.known.get_store(url) {
            return Ok(store);
        }
        let (store, _) = graph_recs_udfs::stores::open(url)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.known.register_store(url, Arc::clone(&store));
        Ok(store)
    }
}
