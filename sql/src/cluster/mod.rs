//! What driver, scheduler and executors of a cluster must agree on.
//!
//! A distributed run is many small Ballista jobs between kept files. Each job is one [`PieceExec`]: a leaf with one
//! partition, hence one task, that carries the physical plan of the embedded engine unopened through Ballista and
//! writes what the plan gives to a file under a name that no other attempt has. Its result is one row: which file,
//! how many rows, which sums. So there is no shuffle inside of a job whose parts could go missing, and nothing that
//! a scheduler could plan anew.

mod codec;
mod digest;
mod piece;
pub mod process;
mod stores;
mod table;
#[cfg(test)]
mod tests;
pub mod tls;
mod write;

pub use codec::Codec;
pub use digest::Digest;
pub use piece::{Allowance, Answer, Done, Failure, Form, PieceExec, PieceSpec, Target, rows_of};
pub use stores::Stores;
pub use table::{PieceFile, PieceTable};
pub use write::{Segment, Unreadable, Written};

use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;

/// Raised when a change of the program changes results, or what steps and pieces of a run hand to each other, so that
/// versions are told apart: a run is not gone on with by another, and executors of another are refused.
pub const RESULTS_VERSION: u32 = 5;

/// The path on an executor where a driver asks whether it is fit for a run.
pub const FIT_PATH: &str = "/graph-recs/fit";

/// What an executor needs for a run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Needs {
    /// The driver's [`build`].
    pub build: String,
    /// The model that scores, when one does.
    pub model: Option<ModelRef>,
}

/// A model by its hash, and where to load it from; the shipped one without a location.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ModelRef {
    /// The hash of its files.
    pub hash: String,
    /// Folder or object-store URL.
    pub location: Option<String>,
}

impl ModelRef {
    /// The model `hash`, from a folder as this process names it or an object-store URL.
    ///
    /// # Errors
    /// When the location is no path.
    pub fn at(hash: &str, location: Option<&str>) -> std::io::Result<Self> {
        let location = match location {
            Some(folder) if !folder.contains("://") => {
                Some(std::path::absolute(folder)?.display().to_string())
            }
            other => other.map(String::from),
        };
        Ok(Self {
            hash: hash.to_string(),
            location,
        })
    }
}

/// The version of program and results. Driver and executors of one run must have the same.
pub fn build() -> String {
    // For tests of the refusal: an executor that says to be another build.
    if let Ok(other) = std::env::var("GRAPH_RECS_TEST_BUILD") {
        return other;
    }
    format!("{}-results-{RESULTS_VERSION}", env!("CARGO_PKG_VERSION"))
}

/// The bucket of a user: all that is keyed by users is divided among buckets by this.
pub fn bucket_of(user: i32, buckets: u32) -> u32 {
    let mixed = (user as u32).wrapping_mul(0x9E37_79B1);
    ((u64::from(mixed) * u64::from(buckets)) >> 32) as u32
}

/// The settings that scheduler and executors start from.
pub fn process_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_physical_extension_codec(Arc::new(Codec::relay()))
}

/// What plans run in on an executor: it knows the object stores by URL; operators spill to `work_folder`.
///
/// # Errors
/// When the folder cannot be used.
pub fn executor_runtime(work_folder: Option<&str>) -> datafusion::common::Result<Arc<RuntimeEnv>> {
    let mut builder =
        RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(Stores::default()));
    if let Some(folder) = work_folder {
        builder = builder.with_temp_file_path(folder);
    }
    builder.build_arc()
}
