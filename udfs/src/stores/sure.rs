//! What a store of another machine lacks: leaving no half uploads behind, and knowing whether a file that may only be
//! made once was made.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};

/// Uploads that are being removed.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
/// Uploads that have begun; those that have ended are dropped from time to time.
static BEGUN: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());
/// How often a file that may only be made once is tried.
const TRIES: u32 = 5;

/// An upload, gone once it is completed or aborted.
type Slot = Mutex<Option<Box<dyn MultipartUpload>>>;

/// Removes all uploads that have not ended from their stores, also those of work that goes on in the background, and
/// waits `at_most` that long until they are gone: for the end of a process.
pub async fn settle(at_most: Duration) {
    let begun = Instant::now();
    for slot in std::mem::take(&mut *lock(&BEGUN)) {
        if let Some(upload) = slot.upgrade().and_then(|slot| lock(&slot).take()) {
            remove(upload);
        }
    }
    while UNDER_WAY.load(Ordering::SeqCst) > 0 && begun.elapsed() < at_most {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Aborts an upload in the background.
fn remove(mut upload: Box<dyn MultipartUpload>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    runtime.spawn(async move {
        // A part that is on its way may arrive after the first try; what cannot be removed now is left to the
        // bucket's rule for incomplete uploads.
        for _ in 0..2 {
            let _ = upload.abort().await;
        }
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store whose uploads are removed when they are given up, in whatever way.
#[derive(Debug)]
pub(super) struct Sure {
    inner: Arc<dyn ObjectStore>,
}

impl Sure {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }

    /// Makes a file unless it is there. An answer that went astray leaves open whether it was made: then what is
    /// there tells.
    async fn create(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let mut pause = Duration::from_millis(100);
        let mut tries = 1;
        loop {
            let error = match self
                .inner
                .put_opts(location, payload.clone(), options.clone())
                .await
            {
                Ok(result) => return Ok(result),
                Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => error,
                Err(error @ Error::Generic { .. }) if tries < TRIES => error,
                Err(error) => return Err(error),
            };
            match self.inner.get(location).await {
                Ok(found) => {
                    let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
                    if found.bytes().await? == Bytes::from(payload.clone()) {
                        return Ok(PutResult { e_tag, version });
                    }
                    return Err(Error::AlreadyExists {
                        path: location.to_string(),
                        source: Box::new(error),
                    });
                }
                Err(Error::NotFound { .. }) if tries < TRIES => {}
                Err(_) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            tries += 1;
        }
    }
}

impl fmt::Display for Sure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Sure {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match options.mode {
            PutMode::Create => self.create(location, payload, options).await,
            PutMode::Overwrite | PutMode::Update(_) => {
                self.inner.put_opts(location, payload, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let before = match self.inner.head(location).await {
            Ok(found) => found.e_tag,
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let inner = self.inner.put_multipart_opts(location, options).await?;
        let slot = Arc::new(Mutex::new(Some(inner)));
        let mut begun = lock(&BEGUN);
        begun.retain(|slot| slot.strong_count() > 0);
        begun.push(Arc::downgrade(&slot));
        Ok(Box::new(Upload {
            slot,
            store: Arc::clone(&self.inner),
            location: location.clone(),
            before,
            bytes: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// An upload that is aborted unless it is completed.
#[derive(Debug)]
struct Upload {
    slot: Arc<Slot>,
    store: Arc<dyn ObjectStore>,
    location: Path,
    /// What was there before, as the store names its content.
    before: Option<String>,
    /// Given to parts so far.
    bytes: u64,
}

impl Upload {
    /// The upload, to be ended; `None` when it has ended.
    fn take(&self) -> Option<Box<dyn MultipartUpload>> {
        lock(&self.slot).take()
    }

    /// The file, if it was completed after all: an answer that went astray leaves that open, and not every store
    /// answers the same when it is asked again.
    async fn completed(&self) -> Option<PutResult> {
        let found = self.store.head(&self.location).await.ok()?;
        let is_new = found.e_tag.is_some() && found.e_tag != self.before;
        (is_new && found.size == self.bytes).then_some(PutResult {
            e_tag: found.e_tag,
            version: found.version,
        })
    }
}

fn ended() -> Error {
    Error::Generic {
        store: "graph-recs",
        source: "an upload that has ended is used again".into(),
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.bytes += data.content_length() as u64;
        match lock(&self.slot).as_mut() {
            Some(upload) => upload.put_part(data),
            None => Box::pin(async { Err(ended()) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut upload = self.take().ok_or_else(ended)?;
        let error = match upload.complete().await {
            Ok(completed) => return Ok(completed),
            Err(error) => error,
        };
        if let Some(completed) = self.completed().await {
            return Ok(completed);
        }
        remove(upload);
        Err(error)
    }

    async fn abort(&mut self) -> Result<()> {
        match self.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(upload) = self.take() {
            remove(upload);
        }
    }
}
