//! Analysts' statements on a cluster: each is one task of one executor.
//!
//! A job of several stages would use more executors for one statement, but when one of them dies Ballista 55 hangs or
//! counts rows twice (docs/cluster.md). What one task gives is right or not there.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use graph_recs_serve::refusal::{Kind, Refusal};
use graph_recs_serve::{Remote, RemoteRows, Sent};
use graph_recs_sql::Engine;
use graph_recs_sql::cluster::{Allowance, ModelRef, Needs, Target, build, rows_of};
use tracing::{debug, warn};
use uuid::Uuid;

use super::ClusterOptions;
use super::client::Client;
use super::pool::{Pool, Trouble, attempt_name};

/// Executors that work on statements.
pub struct Statements {
    pool: Pool,
    url: String,
    min_scan: u64,
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statements({})", self.url)
    }
}

impl Statements {
    /// Begins to watch the cluster. Executors need the program and the model of this process.
    ///
    /// # Errors
    /// When the scheduler's URL or the certificates are not fit.
    pub fn open(options: ClusterOptions, model: ModelRef, min_scan: u64) -> Result<Self> {
        let engine = Engine {
            threads: 1,
            ..Engine::default()
        };
        let needs = Needs {
            build: build(),
            model: Some(model),
        };
        let mut settings = engine.travelling_settings();
        settings.extend(options.settings.clone());
        // Each service has a name of its own: none stops the statements of another.
        let mut name = Uuid::new_v4().simple().to_string();
        name.truncate(8);
        let url = options.url.clone();
        let pool = Pool::new(options, needs, settings, &format!("analysts-{name}"))?;
        Ok(Self {
            pool,
            url,
            min_scan,
        })
    }
}

/// A result on an executor's disk, which is removed when nobody fetches it any more.
struct Leftover {
    client: Client,
    job: Option<String>,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let (client, Some(job)) = (self.client.clone(), self.job.take()) else {
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = client.clean(&job).await {
                debug!(job, "its result is left to the scheduler: {error:#}");
            }
        });
    }
}

#[async_trait]
impl Remote for Statements {
    fn min_scan(&self) -> u64 {
        self.min_scan
    }

    /// Not tried again: a statement may be what its executor was lost by.
    async fn rows(
        &self,
        statement: Sent<'_>,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Option<RemoteRows>, Refusal> {
        let pool = &self.pool;
        pool.watch.ready(pool.options.wait).await.map_err(lost)?;
        let allowance = Allowance {
            bytes: statement.max_bytes,
            seconds: statement.timeout.as_secs().max(1),
        };
        let user = statement.name.replace('/', "_");
        let name = format!("statement/{user}/{}", attempt_name());
        let place = pool.place(&name, plan, Target::Rows, Some(allowance));
        let place = match pool.attempt(place).await {
            Ok(place) => place,
            Err(Trouble::Untravelled(_)) => return Ok(None),
            Err(Trouble::Lasting(why)) => return Err(refused(&why)),
            Err(Trouble::Void(why) | Trouble::Passing(why)) => return Err(lost(anyhow!(why))),
            Err(Trouble::Cancelled) => {
                let text = "canceling statement: it was cancelled on the cluster";
                return Err(Refusal::new(Kind::Cancelled, text));
            }
        };
        let leftover = Leftover {
            client: pool.client.clone(),
            job: place.partition_id.as_ref().map(|part| part.job_id.clone()),
        };
        let batches = pool.client.fetch(place).await.map_err(lost)?;
        // The last part has no rows: without it some are missing.
        let start = (batches, false, leftover);
        let parts = stream::try_unfold(start, |(mut batches, ended, leftover)| async move {
            match batches.try_next().await.map_err(lost)? {
                Some(batch) => {
                    let rows = rows_of(&batch).map_err(|error| lost(error.into()))?;
                    let ended = rows.last().map_or(ended, |last| last.num_rows() == 0);
                    let rows = stream::iter(rows.into_iter().map(Ok));
                    Ok(Some((rows, (batches, ended, leftover))))
                }
                None if ended => Ok(None),
                None => Err(lost(anyhow!("its end is missing"))),
            }
        });
        Ok(Some(parts.try_flatten().boxed()))
    }

    async fn settle(&self) {
        self.pool.settle().await;
    }
}

/// The cluster's side is the operator's to know, not the analyst's.
fn lost(why: anyhow::Error) -> Refusal {
    warn!("a statement was lost on the cluster: {why:#}");
    Refusal::new(
        Kind::Internal,
        "the cluster's executors did not finish the statement: it may be sent again; the service's log says more",
    )
}

/// What would fail again.
fn refused(why: &str) -> Refusal {
    if why.contains("Resources exhausted") {
        let text =
            "the statement needs more memory than an executor has: select fewer columns or users";
        return Refusal::new(Kind::Memory, text);
    }
    if why.contains("statement timeout") {
        return Refusal::new(Kind::Timeout, why);
    }
    if why.contains("that one may have") {
        return Refusal::new(Kind::Limit, why);
    }
    if ["Object at location", "No such file", "object store"]
        .iter()
        .any(|sign| why.contains(sign))
    {
        warn!("a statement failed on an executor: {why}");
        let text = "a file of the warehouse or of the exports cannot be read: the service's log says which";
        return Refusal::new(Kind::Internal, text);
    }
    Refusal::new(Kind::Data, why)
}
