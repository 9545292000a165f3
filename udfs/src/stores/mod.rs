//! Object stores by URL: the one place that knows their settings, retries and time limits.
//!
//! `s3://bucket/folder`, `gs://bucket/folder`, `az://container/folder` (also `abfss://…`), set up by the usual
//! environment variables of each; for S3 also by the profiles of `~/.aws`. A request that meets a fault of the network
//! or of the store (503, reset, no answer) is sent again with growing pauses; a read goes on where it was cut off.

mod beginning;
mod local;
mod profile;
mod settings;
mod sure;

pub use beginning::list_beginning;
pub use local::{absolute, is_pipe, is_remote, local_path};
pub use sure::settle;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use crate::text::shown;
use settings::{variable, variables};
use sure::Sure;

/// How long one request may take, its body included, unless `AWS_TIMEOUT` says otherwise. A read that takes longer
/// goes on in a new request.
const TIMEOUT: &str = "60 seconds";

/// A store cannot be set up; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A URL of no store that is known.
    #[error(
        "{url} is not the URL of a known store ({reason}); give a folder, or a URL like s3://bucket/folder"
    )]
    Url {
        /// As it was given.
        url: String,
        /// Why.
        reason: String,
    },
    /// A path that cannot be used.
    #[error("\"{}\" cannot be used as a path: {reason}", shown(location))]
    Path {
        /// As it was given.
        location: String,
        /// Why.
        reason: &'static str,
    },
    /// A place on the local disk that cannot be reached.
    #[error("{} cannot be reached", shown(path))]
    Local {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A setting that no request can be made with.
    #[error("{origin} {reason}")]
    Setting {
        /// Where it stands.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A profile of `~/.aws` cannot be used.
    #[error("AWS profile {profile}: {reason}")]
    Profile {
        /// The profile's name.
        profile: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Nothing says who asks.
    #[error(
        "there are no credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE \
         (AWS_EC2_METADATA_DISABLED keeps the machine's own role out, AWS_SKIP_SIGNATURE=true is for public buckets)"
    )]
    NoCredentials {
        /// The store.
        url: String,
    },
    /// The settings do not fit together.
    #[error("the store of {url} cannot be set up")]
    Settings {
        /// The store.
        url: String,
        /// Why.
        source: object_store::Error,
    },
}

/// The store that a URL lies in, from its root, and the URL's path in it. One store a process and bucket, so that
/// all share its connections.
///
/// # Errors
/// [`StoreError`].
pub fn open(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), StoreError> {
    static STORES: OnceLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> = OnceLock::new();
    check(url)?;
    let path = Path::from_url_path(url.path()).map_err(|error| refused(url, error))?;
    let root = format!("{}://{}", url.scheme(), url.authority());
    let known = STORES.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = known.get(&root) {
        return Ok((Arc::clone(store), path));
    }
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "s3" | "s3a" => {
            let store = s3(url)?;
            beginning::keep(&root, Arc::clone(&store) as _);
            store
        }
        "file" => Arc::new(LocalFileSystem::new()),
        _ => Arc::from(other(url)?),
    };
    let store: Arc<dyn ObjectStore> = if url.scheme() == "file" {
        store
    } else {
        Arc::new(Sure::new(store))
    };
    known.insert(root, Arc::clone(&store));
    Ok((store, path))
}

fn other(url: &Url) -> Result<Box<dyn ObjectStore>, StoreError> {
    if url.scheme() == "memory" {
        return Err(refused(url, "what is in memory ends with the process"));
    }
    let settings = variables(&["AWS_", "AZURE_", "AZURITE_", "GOOGLE_"])?.into_iter();
    let settings = settings.map(|(name, value)| (name.to_ascii_lowercase(), value));
    object_store::parse_url_opts(url, settings)
        .map(|(store, _)| store)
        .map_err(|error| refused(url, error))
}

fn refused(url: &Url, reason: impl ToString) -> StoreError {
    StoreError::Url {
        url: told(url),
        reason: reason.to_string(),
    }
}

/// A URL without the password that somebody may have put into it.
fn told(url: &Url) -> String {
    let mut told = url.clone();
    // Refused where there is none.
    let _ = told.set_password(None);
    told.to_string()
}

/// What a store's URL has beside its name and a path would be passed over without a word.
fn check(url: &Url) -> Result<(), StoreError> {
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused(
            url,
            "in a URL ? is written %3F and # is written %23",
        ));
    }
    if !matches!(url.scheme(), "s3" | "s3a") {
        return Ok(());
    }
    let bucket = url.host_str().unwrap_or_default();
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
    if bucket.is_empty() || !bucket.chars().all(is_sign) || url.authority() != bucket {
        let what =
            "after s3:// stands a bucket's name of letters, digits, '-' and '.', then a slash";
        return Err(refused(url, what));
    }
    Ok(())
}

fn s3(url: &Url) -> Result<Arc<AmazonS3>, StoreError> {
    let profile = profile::read()?;
    let mut builder = AmazonS3Builder::new()
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    let own_keys = variable("AWS_ACCESS_KEY_ID")?.is_some();
    for (key, value) in &profile {
        // Keys of the environment come with their own token, or none.
        let credential = !matches!(
            key,
            AmazonS3ConfigKey::Region
                | AmazonS3ConfigKey::Endpoint
                | AmazonS3ConfigKey::VirtualHostedStyleRequest
        );
        if !(credential && own_keys) {
            builder = builder.with_config(*key, value);
        }
    }
    // AWS_REGION wins over AWS_DEFAULT_REGION, in whatever order they come.
    if variable("AWS_REGION")?.is_none()
        && let Some(region) = variable("AWS_DEFAULT_REGION")?
    {
        builder = builder.with_region(region);
    }
    for (name, value) in variables(&["AWS_"])? {
        if name != "AWS_DEFAULT_REGION"
            && let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
        {
            builder = builder.with_config(key, value);
        }
    }
    let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint = endpoints.map(|key| builder.get_config_value(&key));
    if let Some(endpoint) = endpoint.into_iter().flatten().next() {
        // Whoever names an unencrypted endpoint wants it, as the AWS tools see it.
        builder = builder.with_allow_http(endpoint.starts_with("http://"));
    }
    let has_keys = [
        AmazonS3ConfigKey::AccessKeyId,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ]
    .iter()
    .any(|key| builder.get_config_value(key).is_some());
    let is_true = |name: &str| -> Result<bool, StoreError> {
        let value = variable(name)?;
        Ok(value.is_some_and(|value| value.eq_ignore_ascii_case("true")))
    };
    if !has_keys && is_true("AWS_EC2_METADATA_DISABLED")? && !is_true("AWS_SKIP_SIGNATURE")? {
        return Err(StoreError::NoCredentials {
            url: url.to_string(),
        });
    }
    let default = RetryConfig::default();
    let retry = RetryConfig {
        max_retries: attempts()?.map_or(default.max_retries, |attempts| attempts.saturating_sub(1)),
        // Signatures hold for five minutes.
        retry_timeout: Duration::from_secs(240),
        ..default
    };
    let store = builder
        .with_url(url.as_str())
        .with_retry(retry)
        .build()
        .map_err(|source| StoreError::Settings {
            url: url.to_string(),
            source,
        })?;
    Ok(Arc::new(store))
}

/// How often a request is tried at most, when it is said.
fn attempts() -> Result<Option<usize>, StoreError> {
    const NAME: &str = "AWS_MAX_ATTEMPTS";
    let Some(value) = variable(NAME)? else {
        return Ok(None);
    };
    let number = value.parse().map_err(|_| StoreError::Setting {
        origin: format!("the environment variable {NAME}"),
        reason: format!("is {value:?}: not a whole number"),
    })?;
    Ok(Some(number))
}
