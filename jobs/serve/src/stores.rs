//! The files that statements may read: those of the warehouse and of the day's exports, to read only, each byte
//! counted. A second wall behind [`super::guard`]: whatever a plan says, nothing else can be reached.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use url::Url;

use super::limits::Usage;
use super::refusal::{Kind, Refusal};

/// A folder of a store that may be read.
#[derive(Clone, Debug)]
pub struct Readable {
    /// Scheme and host of the store.
    pub base: Url,
    /// The store from its root.
    pub store: Arc<dyn ObjectStore>,
    /// The folder in it.
    pub folder: Path,
}

/// The stores of one statement.
#[derive(Debug)]
pub struct Stores {
    readable: Arc<[Readable]>,
    usage: Arc<Usage>,
    max_scan: u64,
}

impl Stores {
    /// These folders, for a statement that may read `max_scan` bytes.
    pub fn new(readable: Arc<[Readable]>, usage: Arc<Usage>, max_scan: u64) -> Self {
        Self {
            readable,
            usage,
            max_scan,
        }
    }
}

impl ObjectStoreRegistry for Stores {
    /// Statements register nothing.
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let here: Vec<Readable> = self
            .readable
            .iter()
            .filter(|readable| {
                readable.base.scheme() == url.scheme()
                    && readable.base.host_str().unwrap_or_default()
                        == url.host_str().unwrap_or_default()
            })
            .cloned()
            .collect();
        if here.is_empty() {
            let text = "files can't be named in statements: \\d lists the tables that there are";
            return Err(DataFusionError::from(Refusal::new(Kind::Permission, text)));
        }
        Ok(Arc::new(Metered {
            here,
            usage: Arc::clone(&self.usage),
            max_scan: self.max_scan,
        }))
    }
}

#[derive(Debug)]
struct Metered {
    here: Vec<Readable>,
    usage: Arc<Usage>,
    max_scan: u64,
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files of the warehouse and the exports")
    }
}

impl Metered {
    fn store(&self, path: &Path) -> object_store::Result<&Arc<dyn ObjectStore>> {
        self.here
            .iter()
            .find(|readable| path.prefix_matches(&readable.folder))
            .map(|readable| &readable.store)
            .ok_or_else(|| {
                refused(Refusal::new(
                    Kind::Permission,
                    "the file belongs to no table",
                ))
            })
    }

    fn count(&self, bytes: u64) -> object_store::Result<()> {
        let before = self.usage.scanned.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= self.max_scan {
            return Ok(());
        }
        let text = format!(
            "the statement reads more than {} MiB of files: select fewer columns, users or runs",
            self.max_scan >> 20
        );
        Err(refused(Refusal::new(Kind::Limit, text)))
    }
}

fn refused(refusal: Refusal) -> object_store::Error {
    object_store::Error::Generic {
        store: "statements",
        source: Box::new(refusal),
    }
}

fn read_only() -> object_store::Error {
    refused(Refusal::new(Kind::ReadOnly, "statements write nothing"))
}

#[async_trait]
impl ObjectStore for Metered {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let head = options.head;
        let result = self.store(path)?.get_opts(path, options).await?;
        if !head {
            self.count(result.range.end - result.range.start)?;
        }
        Ok(result)
    }

    async fn get_ranges(
        &self,
        path: &Path,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        let store = self.store(path)?;
        self.count(ranges.iter().map(|range| range.end - range.start).sum())?;
        store.get_ranges(path, ranges).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match prefix.map(|prefix| self.store(prefix)) {
            Some(Ok(store)) => store.list(prefix),
            Some(Err(error)) => stream::once(async { Err(error) }).boxed(),
            None => stream::once(async { Err(read_only()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        match prefix {
            Some(prefix) => self.store(prefix)?.list_with_delimiter(Some(prefix)).await,
            None => Err(read_only()),
        }
    }

    async fn put_opts(
        &self,
        _: &Path,
        _: PutPayload,
        _: PutOptions,
    ) -> object_store::Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(read_only())
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn only_what_is_readable_is_read_and_it_is_counted() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for name in ["warehouse/a", "other/a"] {
            store.put(&name.into(), vec![0; 100].into()).await.unwrap();
        }
        let base = Url::parse("memory:///").unwrap();
        let readable: Arc<[Readable]> = Arc::new([Readable {
            base: base.clone(),
            store,
            folder: "warehouse".into(),
        }]);
        let usage = Arc::new(Usage::default());
        let stores = Stores::new(readable, Arc::clone(&usage), 150);
        assert!(stores.get_store(&Url::parse("file:///").unwrap()).is_err());
        let store = stores.get_store(&base).unwrap();
        assert!(store.get(&"other/a".into()).await.is_err());
        assert!(store.get(&"warehouse2/a".into()).await.is_err());
        assert!(store.put(&"warehouse/b".into(), "x".into()).await.is_err());
        assert!(store.delete(&"warehouse/a".into()).await.is_err());
        assert!(store.get_range(&"warehouse/a".into(), 0..100).await.is_ok());
        let error = store.get(&"warehouse/a".into()).await.unwrap_err();
        assert!(error.to_string().contains("reads more than"), "{error}");
        assert_eq!(usage.scanned.load(Ordering::Relaxed), 200);
    }
}
