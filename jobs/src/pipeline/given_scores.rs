//! Reputation scores from a file, given instead of those of the model.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{CsvReadOptions, SessionContext};
use futures::TryStreamExt;
use graph_recs_udfs::stores;
use object_store::{ObjectMeta, ObjectStoreExt};
use sha2::{Digest, Sha256};
use url::Url;

use super::identity::hex;
use super::work::single_row;

const HEADER: &str = "user_id,pred";
const UNFIT: &str = "SELECT count(*) AS unfit FROM given_scores \
     WHERE user_id IS NULL OR user_id NOT BETWEEN 1 AND 2147483647 OR pred IS NULL OR NOT (pred >= 0 AND pred <= 1)";
const TWICE: &str = "SELECT count(*) AS twice FROM \
     (SELECT user_id FROM given_scores GROUP BY user_id HAVING count(*) > 1)";

/// A CSV file with the header `user_id,pred` and a row a user, on disk or in an object store.
#[derive(Debug)]
pub(super) struct GivenScores {
    location: String,
    url: Url,
    first_line: String,
    hash: String,
    /// Size, time of change and version of what was read.
    seen: (u64, DateTime<Utc>, Option<String>),
}

fn seen(meta: &ObjectMeta) -> (u64, DateTime<Utc>, Option<String>) {
    (meta.size, meta.last_modified, meta.e_tag.clone())
}

impl GivenScores {
    /// Reads the file once, for its hash.
    pub(super) async fn open(location: &str) -> Result<Self> {
        let unread = || format!("--reputation-scores {location} cannot be read");
        let url = if stores::is_remote(location) {
            Url::parse(location).with_context(unread)?
        } else {
            let path = std::fs::canonicalize(location).with_context(unread)?;
            let Ok(url) = Url::from_file_path(&path) else {
                bail!("{}: its path is not UTF-8", unread());
            };
            url
        };
        let (store, path) = stores::open(&url).with_context(unread)?;
        let found = store.get(&path).await.with_context(unread)?;
        let seen = seen(&found.meta);
        let mut bytes = found.into_stream();
        let (mut hash, mut first_line) = (Sha256::new(), Vec::new());
        while let Some(chunk) = bytes.try_next().await.with_context(unread)? {
            hash.update(&chunk);
            if first_line.len() <= HEADER.len() {
                first_line.extend(chunk.iter().take(64));
            }
        }
        let first_line = String::from_utf8_lossy(&first_line);
        let first_line = first_line.lines().next().unwrap_or_default();
        Ok(Self {
            location: location.to_string(),
            url,
            first_line: first_line.trim_start_matches('\u{feff}').to_string(),
            hash: hex(&hash.finalize()),
            seen,
        })
    }

    /// Of the file's bytes.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Makes them table `given_scores`: user_id, pred; one row a user.
    pub(super) async fn register(&self, context: &SessionContext) -> Result<()> {
        let unreadable = || {
            format!(
                "--reputation-scores {}: it needs the header {HEADER} and a row a user",
                self.location
            )
        };
        if self.first_line != HEADER {
            bail!(
                "{}, but its first line is {:?}",
                unreadable(),
                self.first_line
            );
        }
        let schema = Schema::new(vec![
            Field::new("user_id", DataType::Int64, true),
            Field::new("pred", DataType::Float64, true),
        ]);
        let options = CsvReadOptions::new()
            .schema(&schema)
            .has_header(true)
            .file_extension("");
        let (store, path) = stores::open(&self.url)?;
        let now = store.head(&path).await.with_context(unreadable)?;
        if seen(&now) != self.seen {
            bail!(
                "--reputation-scores {}: it was changed while it was read; start again when its writer is done",
                self.location
            );
        }
        context.register_object_store(&self.url, store);
        context
            .register_csv("given_scores", self.url.as_str(), options)
            .await
            .with_context(unreadable)?;
        let unfit = single_row(context.sql(UNFIT).await?)
            .await
            .with_context(unreadable)?;
        let unfit: i64 = unfit.values().sum();
        if unfit > 0 {
            bail!(
                "--reputation-scores {}: {unfit} rows have no user id from 1 to 2147483647 or no pred from 0 to 1",
                self.location
            );
        }
        let twice = single_row(context.sql(TWICE).await?).await?;
        let twice: i64 = twice.values().sum();
        if twice > 0 {
            bail!(
                "--reputation-scores {}: {twice} users have more than one row",
                self.location
            );
        }
        Ok(())
    }
}
