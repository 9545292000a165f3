//! The daily job on a Ballista cluster.
//!
//! The driver, this process, runs the same plans as the embedded job, each over one *piece*: a share of an export's
//! bytes, or a bucket of users. A piece is one small Ballista job with one task ([`graph_recs_sql::cluster`]); what
//! it wrote is verified against what went into it, and only then kept in the run's book ([`book::Book`]). Whatever
//! happens to a job, its piece is done again under another name. So a result is made of verified pieces alone.

mod book;
mod checks;
mod client;
mod connections;
mod pool;
mod progress;
mod ranking;
mod reputation;
mod session;
mod statements;
mod watch;

use std::time::Duration;

use graph_recs_sql::cluster::tls::TlsOptions;

pub use client::{Client, Executor, JobLine, JobState, state_of};
pub use pool::{Cancelled, JobFailed, job_prefix};
pub use progress::{Phase, Snapshot, StageProgress};
pub use session::Cluster;
pub use statements::Statements;

/// How to use a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The scheduler, `df://host:port`.
    pub url: String,
    /// Certificates, when connections are to be by TLS.
    pub tls: TlsOptions,
    /// How long a job waits for executors.
    pub wait: Duration,
    /// How long one piece may take on an executor.
    pub piece_deadline: Duration,
    /// How long one step may take.
    pub step_deadline: Duration,
    /// How often a piece that fails is tried.
    pub tries: u32,
    /// Buckets that users are divided among; by the size of the exports without one.
    pub buckets: Option<u32>,
    /// Bytes of an export that one piece reads.
    pub piece_bytes: u64,
    /// Further settings of Ballista, `name=value`.
    pub settings: Vec<(String, String)>,
    /// Turns true when the run is to end.
    pub stop: tokio::sync::watch::Receiver<bool>,
}
