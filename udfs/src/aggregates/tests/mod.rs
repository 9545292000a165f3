//! The functions through SQL against plain reference implementations, on random rows, however these are cut into
//! batches and partitions.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{col, lit};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{ItemsOf, Mapped, SecondDegree, WithStanding, aggregate_functions};

mod duplicates;
mod id_lists;
mod id_map;
mod measure;
mod second_degree;
mod top_connections;
mod weekly_document;

/// SplitMix64 (Steele, Lea, Flood 2014): small and always the same.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// How a query is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub target_partitions: usize,
    pub batch_size: usize,
    /// The table's partitions; sorted tables have one.
    pub partitions: usize,
    /// Rows come in order of the group key, and the table says so.
    pub sorted: bool,
    /// Partial aggregation gives up at once and converts every row to a state.
    pub skip_partial: bool,
}

pub(super) fn setups() -> Vec<Setup> {
    let mut setups = Vec::new();
    for target_partitions in [1, 4] {
        for batch_size in [1, 3, 8192] {
            for (sorted, partitions, skip_partial) in [
                (false, 1, false),
                (false, 5, false),
                (false, 5, true),
                (true, 1, false),
            ] {
                setups.push(Setup {
                    target_partitions,
                    batch_size,
                    partitions,
                    sorted,
                    skip_partial,
                });
            }
        }
    }
    setups
}

pub(super) fn context(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionContext {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    let context = SessionContext::new_with_state(state);
    for function in aggregate_functions() {
        context.register_udaf(function.as_ref().clone());
    }
    context.register_udf(Mapped::default().into());
    context.register_udf(ItemsOf::default().into());
    context.register_udf(WithStanding::default().into());
    context.register_udf(SecondDegree::default().into());
    context
}

pub(super) fn runtime(memory: Option<usize>) -> Arc<RuntimeEnv> {
    let builder = RuntimeEnvBuilder::new();
    let builder = match memory {
        Some(bytes) => builder.with_memory_pool(Arc::new(FairSpillPool::new(bytes))),
        None => builder,
    };
    builder.build_arc().unwrap()
}

/// Small batches, in so many partitions.
pub(super) fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    context(config.with_batch_size(100), runtime(None))
}

/// What the statement gives.
pub(super) async fn asked(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let frame = context
        .sql(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    frame
        .collect()
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Each statement must fail, with an error that says so.
pub(super) async fn fail<S: AsRef<str>>(
    context: &SessionContext,
    statements: impl IntoIterator<Item = (S, &str)>,
) {
    for (sql, message) in statements {
        let sql = sql.as_ref();
        let error = match context.sql(sql).await {
            Ok(frame) => frame.collect().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(message), "{sql}: {error}");
    }
}

/// Cuts rows into batches of random lengths, dealt to partitions.
pub(super) fn cut<R>(
    rows: &[R],
    partitions: usize,
    random: &mut Random,
    batch: impl Fn(&[R]) -> RecordBatch,
) -> Vec<Vec<RecordBatch>> {
    let mut table = vec![Vec::new(); partitions];
    let mut rest = rows;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at((random.below(60) as usize).min(rest.len()));
        let partition = random.below(partitions as u64) as usize;
        // A slice of a larger batch now and then, since offsets then do not begin at 0.
        let made = match random.below(3) {
            0 => batch(&rows[..rows.len() - tail.len()]).slice(rows.len() - rest.len(), head.len()),
            _ => batch(head),
        };
        table[partition].push(made);
        rest = tail;
    }
    table
}

/// Runs `sql` over the table `rows`.
pub(super) async fn query<R: Clone>(
    sql: &str,
    rows: &[R],
    key: impl Fn(&R) -> i64,
    key_columns: &[&str],
    setup: Setup,
    batch: impl Fn(&[R]) -> RecordBatch,
) -> Vec<RecordBatch> {
    let mut random = Random(setup.batch_size as u64 * 31 + setup.partitions as u64);
    let mut rows = rows.to_vec();
    random.shuffle(&mut rows);
    if setup.sorted {
        rows.sort_by_key(key);
    }
    let mut config = SessionConfig::new()
        .with_target_partitions(setup.target_partitions)
        .with_batch_size(setup.batch_size)
        // Both would break up a sorted table.
        .with_round_robin_repartition(!setup.sorted)
        .with_repartition_file_scans(!setup.sorted);
    if setup.skip_partial {
        let execution = &mut config.options_mut().execution;
        execution.skip_partial_aggregation_probe_rows_threshold = 0;
        execution.skip_partial_aggregation_probe_ratio_threshold = 0.0;
    }
    let context = context(config, runtime(None));
    let table = MemTable::try_new(
        batch(&[]).schema(),
        cut(&rows, setup.partitions, &mut random, batch),
    )
    .unwrap();
    let table = match setup.sorted {
        true => table.with_sort_order(vec![
            key_columns
                .iter()
                .map(|c| datafusion::prelude::col(*c).sort(true, false))
                .collect(),
        ]),
        false => table,
    };
    context.register_table("rows", Arc::new(table)).unwrap();
    let plan = context
        .sql(sql)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert_eq!(
        shown.contains("ordering_mode=Sorted"),
        setup.sorted,
        "{shown}"
    );
    let batches = collect(plan.clone(), context.task_ctx()).await.unwrap();
    let rows_skipped = total(&plan, &|plan| {
        plan.metrics()
            .and_then(|m| m.sum_by_name("skipped_aggregation_rows"))
            .map_or(0, |m| m.as_usize())
    });
    assert_eq!(rows_skipped > 0, setup.skip_partial, "{setup:?}");
    batches
}

/// Runs `sql` over unsorted `batches` with that much memory and gives the rows and how often an aggregate spilled.
pub(super) async fn query_with_memory(
    sql: &str,
    table: Vec<Vec<RecordBatch>>,
    memory: usize,
) -> (Vec<RecordBatch>, usize) {
    let config = SessionConfig::new()
        .with_target_partitions(2)
        .with_batch_size(100);
    let context = context(config, runtime(Some(memory)));
    let table = MemTable::try_new(table[0][0].schema(), table).unwrap();
    context.register_table("rows", Arc::new(table)).unwrap();
    let plan = context
        .sql(sql)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let batches = collect(plan.clone(), context.task_ctx()).await.unwrap();
    let spills = total(&plan, &|plan| match plan.name() {
        "AggregateExec" => plan.metrics().and_then(|m| m.spill_count()).unwrap_or(0),
        _ => 0,
    });
    (batches, spills)
}

fn total(plan: &Arc<dyn ExecutionPlan>, of: &impl Fn(&dyn ExecutionPlan) -> usize) -> usize {
    of(plan.as_ref())
        + plan
            .children()
            .into_iter()
            .map(|child| total(child, of))
            .sum::<usize>()
}

/// An accumulator as a plan would make it; the arguments are all the columns of `batch`, then `constants`.
pub(super) fn accumulator(
    function: &str,
    batch: &RecordBatch,
    constants: &[i64],
) -> Box<dyn GroupsAccumulator> {
    let schema = batch.schema();
    let function = aggregate_functions()
        .into_iter()
        .find(|f| f.name() == function)
        .unwrap();
    let columns = schema
        .fields()
        .iter()
        .map(|field| col(field.name(), &schema).unwrap());
    let arguments = columns
        .chain(constants.iter().map(|&constant| lit(constant)))
        .collect();
    let expression = AggregateExprBuilder::new(function, arguments)
        .schema(schema)
        .alias("a")
        .build()
        .unwrap();
    assert!(expression.groups_accumulator_supported());
    expression.create_groups_accumulator().unwrap()
}

/// The argument columns of a row batch and its group indices; the first column is the group.
pub(super) fn grouped(batch: &RecordBatch) -> (Vec<ArrayRef>, Vec<usize>) {
    let groups = arrow::compute::cast(batch.column(0), &DataType::Int64).unwrap();
    let groups = groups
        .as_primitive::<Int64Type>()
        .values()
        .iter()
        .map(|&group| group as usize)
        .collect();
    (batch.columns()[1..].to_vec(), groups)
}

/// Emits in several ways what `update` puts into fresh accumulators of `groups` groups; all must give the same.
pub(super) fn check_emission(
    make: impl Fn() -> Box<dyn GroupsAccumulator>,
    batches: &[RecordBatch],
    groups: usize,
) {
    let update = |accumulator: &mut dyn GroupsAccumulator, batches: &[RecordBatch]| {
        for batch in batches {
            let (values, indices) = grouped(batch);
            accumulator
                .update_batch(&values, &indices, None, groups)
                .unwrap();
        }
    };
    let mut whole = make();
    update(whole.as_mut(), batches);
    let empty = make().size();
    assert!(whole.size() > empty);
    let expected = whole.evaluate(EmitTo::All).unwrap();
    assert_eq!(expected.len(), groups);
    assert!(
        whole.size() <= empty + (1 << 20),
        "all is released but some scratch memory"
    );

    let mut piecewise = make();
    update(piecewise.as_mut(), batches);
    let mut parts = Vec::new();
    for n in [1, groups / 3, 2] {
        parts.push(piecewise.evaluate(EmitTo::First(n)).unwrap());
        assert_eq!(parts.last().unwrap().len(), n);
    }
    parts.push(piecewise.evaluate(EmitTo::All).unwrap());
    let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(|part| part.as_ref()).collect();
    assert_eq!(&arrow::compute::concat(&parts).unwrap(), &expected);

    // States of two halves, emitted piecewise, merged back to front, the groups numbered downwards.
    let mut merged = make();
    for half in batches.chunks(batches.len().div_ceil(2)).rev() {
        let mut partial = make();
        update(partial.as_mut(), half);
        let mut next = 0;
        for emit_to in [EmitTo::First(groups / 2), EmitTo::All] {
            let state = partial.state(emit_to).unwrap();
            let indices: Vec<usize> = (0..state[0].len())
                .map(|at| groups - 1 - (next + at))
                .collect();
            next += indices.len();
            merged.merge_batch(&state, &indices, groups).unwrap();
        }
        assert_eq!(next, groups);
    }
    let reversed: arrow::array::UInt32Array = (0..groups as u32).rev().collect();
    let merged = merged.evaluate(EmitTo::All).unwrap();
    assert_eq!(
        &arrow::compute::take(&merged, &reversed, None).unwrap(),
        &expected
    );

    // Rows as states of their own, half of them through a filter and its opposite.
    let mut converted = make();
    for (at, batch) in batches.iter().enumerate() {
        let (values, indices) = grouped(batch);
        let odd: arrow::array::BooleanArray =
            (0..indices.len()).map(|row| Some(row % 2 == 1)).collect();
        let filters = match at % 2 {
            0 => vec![None],
            _ => vec![Some(arrow::compute::not(&odd).unwrap()), Some(odd)],
        };
        for filter in &filters {
            let state = converted
                .convert_to_state(&values, filter.as_ref())
                .unwrap();
            assert_eq!(state[0].len(), indices.len());
            converted.merge_batch(&state, &indices, groups).unwrap();
        }
    }
    assert_eq!(&converted.evaluate(EmitTo::All).unwrap(), &expected);
}
