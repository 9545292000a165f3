//! What the steps on a cluster share with those in one process.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, Float64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use graph_recs_sql::cluster::{ModelRef, Written};
use graph_recs_udfs::model::LazyModel;
use graph_recs_udfs::scan::Source;

pub(crate) use super::accounts::{Accounts, from_summary, settle, settle_messages, settle_users};
pub(crate) use super::checks::{MEANS, name_and_rows};
pub(crate) use super::connections::{
    ENGAGEMENT_SOURCES, LAST_SUSPENDED, SUSPENDED, TALLY as CONNECTIONS_TALLY, suspended_schema,
};
pub(crate) use super::job::Job;
pub(crate) use super::recommend::{FATES, TALLY as CANDIDATES_TALLY};
pub(crate) use super::reputation::DUPLICATES;
pub(crate) use super::run::StepRecord;
pub(crate) use super::work::numbers;
pub(crate) use graph_recs_warehouse::report::Account;

use super::accounts::unreadable_share;
use crate::cluster::Cluster;
use graph_recs_warehouse::{DataFile, Table};

impl StepRecord {
    /// Adds a file of a published table.
    pub(crate) fn add_file(&mut self, table: Table, file: DataFile) {
        self.files
            .entry(table.name().to_string())
            .or_default()
            .push(file);
    }
}

impl Job {
    /// The day's exports.
    pub(crate) fn input(&self) -> &graph_recs_sql::Input {
        &self.input
    }

    /// The model.
    pub(crate) fn model(&self) -> &LazyModel {
        &self.model
    }

    /// The model, when the job scores with it, as executors find it.
    pub(crate) fn model_ref(&self) -> Result<Option<ModelRef>> {
        let Some(hash) = self.model_hash() else {
            return Ok(None);
        };
        let location = self.options.model.as_deref();
        let model = ModelRef::at(&hash, location).context("--model is no path")?;
        Ok(Some(model))
    }

    /// The parameters.
    pub(crate) fn parameters(&self) -> &graph_recs_sql::Parameters {
        &self.options.parameters
    }

    /// Threads and memory.
    pub(crate) fn engine(&self) -> &graph_recs_sql::Engine {
        &self.options.engine
    }

    /// Fails when a staged source has no record, or too many that can't be read; keeps what was counted.
    pub(crate) async fn require_readable(
        &self,
        cluster: &Cluster,
        accounts: &Accounts,
        pieces: &[&Written],
    ) -> Result<()> {
        let step = match accounts.contains_key(Source::Message.name()) {
            true => super::run::Step::ReputationScores,
            false => super::run::Step::ClosestConnections,
        };
        cluster
            .book_counted(&super::run::counted(step), accounts)
            .await?;
        for source in Source::ALL {
            let Some(account) = accounts.get(source.name()) else {
                continue;
            };
            if account.read == 0 {
                bail!(self.input.empty(source));
            }
            let first = pieces.iter().find_map(|piece| {
                let unreadable = piece.unreadable.as_ref()?;
                let mine = piece.path.rsplit('/').next()?.starts_with(source.name());
                mine.then(|| unreadable.first.clone())
            });
            let unreadable = account.left_out.values().sum();
            unreadable_share(
                source,
                unreadable,
                account.read,
                self.options.max_bad_share,
                || first.unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}

/// The single number of a result, unless it is null.
pub(crate) fn mean(batches: &[RecordBatch]) -> Option<f64> {
    let batch = batches.iter().find(|batch| batch.num_rows() == 1)?;
    let means = batch.column(0).as_primitive_opt::<Float64Type>()?;
    means.is_valid(0).then(|| means.value(0))
}

/// Means by name, as a table for the checks.
pub(crate) fn name_and_mean(means: &[(&str, f64)]) -> Result<RecordBatch> {
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("mean", DataType::Float64, false),
    ]);
    let names = StringArray::from_iter_values(means.iter().map(|(name, _)| name));
    let values = Float64Array::from_iter_values(means.iter().map(|(_, mean)| *mean));
    let columns: Vec<Arc<dyn Array>> = vec![Arc::new(names), Arc::new(values)];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
