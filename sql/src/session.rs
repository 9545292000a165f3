//! The session: one builder, one function registry, for every binary.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, Session};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_datafusion_err};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryLimit, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, Expr, SessionConfig, SessionContext};
use graph_recs_udfs::model::LazyModel;
use graph_recs_udfs::scan::Source;
use tokio::sync::OnceCell;

use crate::cluster::Stores;
use crate::input::Input;
use crate::memory::Shares;
use crate::optimizer;
use crate::plans::{Plan, plan};

/// What a session is built from.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Partitions of a plan, and so the threads that work on it.
    pub threads: usize,
    /// Bytes that operators may hold before they spill; unlimited without one.
    pub memory_limit: Option<usize>,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Where operators spill to; the system's temporary folder without one.
    pub spill_folder: Option<PathBuf>,
}

impl Default for Engine {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads,
            memory_limit: None,
            batch_size: 8192,
            spill_folder: None,
        }
    }
}

/// Rows of a row group that COPY writes: few enough for two threads to have one each even of small tables.
const COPIED_ROW_GROUP_ROWS: usize = 64 * 1024;

impl Engine {
    /// A session with all functions, `reputation` scoring with `model`.
    pub fn session(&self, model: impl Into<LazyModel>) -> Result<SessionContext> {
        let mut runtime =
            RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(Stores::default()));
        if let Some(bytes) = self.memory_limit {
            let consumers_named = std::num::NonZeroUsize::MIN.saturating_add(4);
            let pool = TrackConsumersPool::new(Shares::new(bytes), consumers_named);
            runtime = runtime.with_memory_pool(Arc::new(pool));
        }
        if let Some(folder) = &self.spill_folder {
            let mode = DiskManagerMode::Directories(vec![folder.clone()]);
            runtime =
                runtime.with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode));
        }
        let state = SessionStateBuilder::new()
            .with_config(self.config())
            .with_runtime_env(runtime.build_arc()?)
            .with_default_features();
        let state = (optimizer::rules().into_iter())
            .fold(state, SessionStateBuilder::with_physical_optimizer_rule);
        let context = SessionContext::new_with_state(state.build());
        register_functions(&mut *context.state_ref().write(), model.into())?;
        Ok(context)
    }

    /// As [`Engine::session`], with plans that can be sent to other processes.
    pub fn travelling(&self, model: impl Into<LazyModel>) -> Result<SessionContext> {
        let context = reader(self.travelling_config())?;
        register_functions(&mut *context.state_ref().write(), model.into())?;
        Ok(context)
    }

    fn travelling_config(&self) -> SessionConfig {
        let mut config = self.config();
        fit_to_travel(&mut config);
        config
    }

    /// The settings of [`Engine::travelling`] sessions, to be sent along with plans.
    pub fn travelling_settings(&self) -> Vec<(String, String)> {
        let entries = self.travelling_config().options().entries().into_iter();
        entries
            .filter_map(|entry| Some((entry.key, entry.value?)))
            .collect()
    }

    /// All settings that the plans depend on.
    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.threads)
            .with_batch_size(self.batch_size)
            .with_information_schema(true);
        // COPY compresses as published files are compressed; two threads encode row groups side by side. Looking for values
        // that repeat costs more than it spares, texts above all.
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.compression = Some("zstd(1)".into());
        parquet.dictionary_enabled = Some(false);
        parquet.max_row_group_size = COPIED_ROW_GROUP_ROWS;
        parquet.maximum_parallel_row_group_writers = self.threads;
        let optimizer = &mut config.options_mut().optimizer;
        // What asks for three fields of a function's result would have the function computed three times.
        optimizer.enable_leaf_expression_pushdown = false;
        // The plans name the side to hold in memory first. It is held whole, and the other side streams past it in
        // its order: so each user's rows stay together, and are added up and dropped one user at a time.
        optimizer.subset_repartition_threshold = 1;
        optimizer.join_reordering = false;
        optimizer.hash_join_single_partition_threshold = usize::MAX;
        optimizer.hash_join_single_partition_threshold_rows = usize::MAX;
        config
    }
}

/// Settings by which plans can be sent to other processes.
pub fn fit_to_travel(config: &mut SessionConfig) {
    let optimizer = &mut config.options_mut().optimizer;
    // Both hand values from one operator to another in memory, which is lost on the way.
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // A Ballista scheduler would say at every job that it turns this off.
    optimizer.enable_round_robin_repartition = false;
}

/// A session without functions of ours that reads what lies in any store: for looking at published tables.
///
/// # Errors
/// Errors of DataFusion.
pub fn reader(config: SessionConfig) -> Result<SessionContext> {
    let stores = Arc::new(Stores::default());
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(stores);
    Ok(SessionContext::new_with_config_rt(
        config,
        runtime.build_arc()?,
    ))
}

/// Makes all functions known to a session, `reputation` scoring with `model`.
pub fn register_functions(registry: &mut dyn FunctionRegistry, model: LazyModel) -> Result<()> {
    for function in graph_recs_udfs::scalar_functions(model) {
        registry.register_udf(function)?;
    }
    for function in graph_recs_udfs::aggregate_functions() {
        registry.register_udaf(function)?;
    }
    Ok(())
}

/// Lets joins of two big tables divide both sides among the threads: for the checks, which join published tables.
pub fn join_in_partitions(context: &SessionContext) {
    let state = context.state_ref();
    let mut state = state.write();
    let optimizer = &mut state.config_mut().options_mut().optimizer;
    let default = datafusion::config::OptimizerOptions::default();
    optimizer.join_reordering = default.join_reordering;
    optimizer.hash_join_single_partition_threshold = default.hash_join_single_partition_threshold;
    optimizer.hash_join_single_partition_threshold_rows =
        default.hash_join_single_partition_threshold_rows;
}

/// A session with the same tables whose plans work in one partition, so that rows come in the order of the file that
/// they are read from: for plans that only reshape an intermediate table that is in order already.
pub fn in_file_order(context: &SessionContext) -> SessionContext {
    let config = context.copied_config().with_target_partitions(1);
    with_config(context, config)
}

/// A session with the same tables that reads every file as a whole: one that is in order can then be divided among the
/// threads by a key and stay in order.
pub fn whole_files(context: &SessionContext) -> SessionContext {
    let mut config = context.copied_config();
    config.options_mut().optimizer.repartition_file_scans = false;
    with_config(context, config)
}

fn with_config(context: &SessionContext, config: SessionConfig) -> SessionContext {
    let builder = SessionStateBuilder::new_from_existing(context.state());
    let config = config.with_create_default_catalog_and_schema(false);
    SessionContext::new_with_state(builder.with_config(config).build())
}

/// Registers the day's sources as tables of schema `raw`.
pub fn register_input(context: &SessionContext, input: &Input) -> Result<()> {
    let catalog = context
        .catalog("datafusion")
        .ok_or_else(|| DataFusionError::Internal("the session has no default catalog".into()))?;
    catalog.register_schema(
        "raw",
        Arc::new(datafusion::catalog::MemorySchemaProvider::new()),
    )?;
    for (source, refusal) in input.refused() {
        tracing::warn!("source {} is not there: {refusal}", source.name());
    }
    for source in Source::ALL {
        if let Some(table) = input.table(source) {
            context.register_table(format!("raw.{}", source.table_name()), Arc::new(table))?;
        }
    }
    Ok(())
}

/// A session with the same tables and batches of eight times as many rows, unless there is little memory to hold them:
/// for scoring, which reads its tables from memory once a batch.
pub fn in_large_batches(context: &SessionContext) -> SessionContext {
    const LITTLE: usize = 1 << 30;
    let times = match context.runtime_env().memory_pool.memory_limit() {
        MemoryLimit::Finite(bytes) if bytes < LITTLE => 1,
        _ => 8,
    };
    let config = context.copied_config();
    let rows = config.batch_size() * times;
    with_config(context, config.with_batch_size(rows))
}

/// The plan `name` with its parameters put in, ready to run.
pub async fn query(
    context: &SessionContext,
    name: &str,
    parameters: &HashMap<String, ScalarValue>,
) -> Result<DataFrame> {
    let plan = plan(name).ok_or_else(|| plan_datafusion_err!("there is no plan named {name}"))?;
    query_plan(context, plan, parameters).await
}

/// As [`query`], for a plan at hand.
pub async fn query_plan(
    context: &SessionContext,
    plan: &Plan,
    parameters: &HashMap<String, ScalarValue>,
) -> Result<DataFrame> {
    let in_file = |error: DataFusionError| error.context(format!("sql/{}", plan.path));
    let frame = context.sql(plan.sql).await.map_err(in_file)?;
    frame
        .with_param_values(parameters.clone().into_iter().collect::<Vec<_>>())
        .map_err(in_file)
}

/// Makes the plan `name` known as a view of that name, computed whenever it is used.
pub async fn define(
    context: &SessionContext,
    name: &str,
    parameters: &HashMap<String, ScalarValue>,
) -> Result<()> {
    let view = query(context, name, parameters).await?.into_view();
    context.register_table(name, view)?;
    Ok(())
}

/// Computes the plan `name` now and keeps its rows in memory as a table of that name: for small results that
/// several plans use.
pub async fn hold(
    context: &SessionContext,
    name: &str,
    parameters: &HashMap<String, ScalarValue>,
) -> Result<Arc<dyn TableProvider>> {
    let frame = query(context, name, parameters).await?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let partitions = frame.collect_partitioned().await?;
    let table: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(schema, partitions)?);
    context.register_table(name, Arc::clone(&table))?;
    Ok(table)
}

/// Makes the plan `name` known as a table that is computed at its first use and then kept in memory: for small results
/// that several statements of a long session may use.
pub async fn define_kept(
    context: &SessionContext,
    name: &str,
    parameters: &HashMap<String, ScalarValue>,
) -> Result<()> {
    let frame = query(context, name, parameters).await?;
    let kept = Kept {
        schema: Arc::new(frame.schema().as_arrow().clone()),
        frame,
        rows: OnceCell::new(),
    };
    context.register_table(name, Arc::new(kept))?;
    Ok(())
}

/// A plan's rows, once they were asked for.
#[derive(Debug)]
struct Kept {
    schema: SchemaRef,
    frame: DataFrame,
    rows: OnceCell<MemTable>,
}

#[async_trait]
impl TableProvider for Kept {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.rows.get_or_try_init(|| async {
            let partitions = self.frame.clone().collect_partitioned().await?;
            MemTable::try_new(Arc::clone(&self.schema), partitions)
        });
        rows.await?.scan(state, projection, filters, limit).await
    }
}
