//! Listing by the beginning of keys. A bucket holds what anybody put there, and one key that is no path (two slashes in a
//! row, `..`, a line break) makes listing its folder fail as a whole.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object_store::ListResult;
use object_store::list::{PaginatedListOptions, PaginatedListStore};

type Stores = Mutex<HashMap<String, Arc<dyn PaginatedListStore>>>;

fn stores() -> &'static Stores {
    static STORES: OnceLock<Stores> = OnceLock::new();
    STORES.get_or_init(Mutex::default)
}

/// Keeps a store that lists by the beginning of keys under its root, `s3://bucket`.
pub(super) fn keep(root: &str, store: Arc<dyn PaginatedListStore>) {
    let mut stores = stores().lock().unwrap_or_else(PoisonError::into_inner);
    stores.insert(root.to_owned(), store);
}

/// The objects and folders of the store at `root` whose keys begin with `beginning` and have no slash behind it; `None`
/// where the store cannot list so.
///
/// # Errors
/// Errors of the store; [`object_store::Error::InvalidPath`] when one of these keys is no path.
pub async fn list_beginning(
    root: &str,
    beginning: &str,
) -> Option<Result<ListResult, object_store::Error>> {
    let store = {
        let stores = stores().lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stores.get(root)?)
    };
    Some(all_pages(&*store, beginning).await)
}

async fn all_pages(
    store: &dyn PaginatedListStore,
    beginning: &str,
) -> Result<ListResult, object_store::Error> {
    let mut found = ListResult {
        common_prefixes: Vec::new(),
        objects: Vec::new(),
    };
    let mut page_token = None;
    loop {
        let options = PaginatedListOptions {
            delimiter: Some(Cow::Borrowed("/")),
            page_token,
            ..PaginatedListOptions::default()
        };
        let page = store.list_paginated(Some(beginning), options).await?;
        found.common_prefixes.extend(page.result.common_prefixes);
        found.objects.extend(page.result.objects);
        page_token = page.page_token;
        if page_token.is_none() {
            return Ok(found);
        }
    }
}
