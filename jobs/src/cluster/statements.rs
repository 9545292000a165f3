//! Analysts' statements on a cluster: each is one task of one executor.
//!
//! A job of several stages would use more executors for one statement, but when one of them dies Ballista 55 hangs or
//! counts rows twice (docs/cluster.md). What one task gives is right or not there.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use graph_recs_serve::refusal::{Kind, Refusal};
use graph_recs_serve::{Remote, RemoteRows};
use graph_recs_sql::Engine;
use graph_recs_sql::cluster::{ModelRef, Needs, build};
use uuid::Uuid;

use super::ClusterOptions;
use super::pool::{NoRows, Pool};

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
    /// Reaches the cluster, and waits until an executor is there that has the program and the model of this process.
    ///
    /// # Errors
    /// When none is there for too long, or one is not fit.
    pub async fn open(options: ClusterOptions, model: ModelRef, min_scan: u64) -> Result<Self> {
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
        let name = Uuid::new_v4().simple().to_string();
        let name = format!("analysts-{}", name.get(..8).unwrap_or_default());
        let url = options.url.clone();
        let pool = Pool::open(options, needs, settings, &name).await?;
        Ok(Self {
            pool,
            url,
            min_scan,
        })
    }
}

#[async_trait]
impl Remote for Statements {
    fn min_scan(&self) -> u64 {
        self.min_scan
    }

    async fn rows(
        &self,
        statement: &str,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Option<RemoteRows>, Refusal> {
        match self.pool.rows(statement, plan).await {
            Ok(rows) => Ok(Some(rows.map_err(lost).boxed())),
            Err(NoRows::Untravelled) => Ok(None),
            Err(NoRows::Fault(why)) => Err(Refusal::new(Kind::Data, why)),
            Err(NoRows::Lost(why)) => Err(lost(why)),
        }
    }
}

fn lost(why: anyhow::Error) -> Refusal {
    let text = format!("the cluster did not answer: {why:#}; the same statement may be sent again");
    Refusal::new(Kind::Internal, text)
}
