//! Lists are unnested without copying their elements.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{NullHandling, Result, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, collect,
    replace_children_if_necessary,
};
use futures::{StreamExt, stream};

/// [`UnnestInPlaceExec`] unnests lists that have one level.
pub(super) fn better(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let unnest = plan.downcast_ref::<UnnestExec>();
    let in_place = unnest.and_then(UnnestInPlaceExec::new);
    Ok(in_place.map(|in_place| -> Arc<dyn ExecutionPlan> { Arc::new(in_place) }))
}

/// An [`UnnestExec`] whose lists stay where they are: of a batch without null lists, whose lists have the same lengths in
/// each row, the elements lie one after the other already. Other batches are unnested by it.
///
/// Batches end at multiples of the batch size of all rows, so that whoever wants them of that size need not copy either.
#[derive(Debug, Clone)]
struct UnnestInPlaceExec {
    unnest: UnnestExec,
    /// The lists' columns.
    lists: BTreeSet<usize>,
}

impl UnnestInPlaceExec {
    /// Nothing where more is to be done than to unnest one level of some lists.
    fn new(unnest: &UnnestExec) -> Option<Self> {
        let lists = unnest.list_column_indices();
        let schema = unnest.input().schema();
        let one_level = lists.iter().all(|list| {
            let data_type = schema.field(list.index_in_input_schema).data_type();
            list.depth == 1 && matches!(data_type, DataType::List(_))
        });
        let indices: BTreeSet<_> = lists
            .iter()
            .map(|list| list.index_in_input_schema)
            .collect();
        let only = !lists.is_empty()
            && indices.len() == lists.len()
            && unnest.struct_column_indices().is_empty()
            && unnest.options().null_handling != NullHandling::PreserveAndExpandEmpty;
        (one_level && only).then(|| Self {
            unnest: unnest.clone(),
            lists: indices,
        })
    }

    /// The batch's elements, if its lists are as they are nearly always.
    fn spread(&self, batch: &RecordBatch) -> Option<Spread> {
        let mut lengths: Option<&ListArray> = None;
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (at, column) in batch.columns().iter().enumerate() {
            if !self.lists.contains(&at) {
                columns.push(Column::Repeated(Arc::clone(column)));
                continue;
            }
            let lists = column.as_list_opt::<i32>()?;
            let other = lengths.get_or_insert(lists);
            if lists.null_count() > 0 || !lists.offsets().lengths().eq(other.offsets().lengths()) {
                return None;
            }
            let (first, last) = (lists.offsets().first()?, lists.offsets().last()?);
            let (first, count) = (*first as usize, (last - first) as usize);
            columns.push(Column::Elements(lists.values().slice(first, count)));
        }
        let lengths = lengths?.offsets().lengths();
        let mut total = 0;
        let ends = lengths.map(|length| {
            total += length;
            total
        });
        Some(Spread {
            ends: ends.collect(),
            columns,
            row: 0,
            done: 0,
        })
    }

    /// What [`UnnestExec`] makes of the batch.
    async fn copied(
        &self,
        batch: RecordBatch,
        context: Arc<TaskContext>,
    ) -> Result<Vec<RecordBatch>> {
        let schema = batch.schema();
        let batch = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?;
        let unnest = replace_children_if_necessary(Arc::new(self.unnest.clone()), vec![batch])?;
        collect(unnest, context).await
    }
}

impl DisplayAs for UnnestInPlaceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnnestInPlaceExec")
    }
}

impl ExecutionPlan for UnnestInPlaceExec {
    fn name(&self) -> &str {
        "UnnestInPlaceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.unnest.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.unnest.children()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let unnest = replace_children_if_necessary(Arc::new(self.unnest.clone()), children)?;
        match unnest.downcast_ref::<UnnestExec>() {
            Some(unnest) => Ok(Arc::new(Self {
                unnest: unnest.clone(),
                lists: self.lists.clone(),
            })),
            None => internal_err!("an UnnestExec with other children is none"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.unnest.schema();
        let unnesting = Unnesting {
            input: self
                .unnest
                .input()
                .execute(partition, Arc::clone(&context))?,
            size: context.session_config().batch_size(),
            given: 0,
            spread: None,
            copied: VecDeque::new(),
            operator: self.clone(),
            context,
        };
        let batches = stream::try_unfold(unnesting, |mut unnesting| async {
            let next = unnesting.next().await?;
            Ok(next.map(|batch| (batch, unnesting)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

struct Unnesting {
    input: SendableRecordBatchStream,
    /// Rows of a batch.
    size: usize,
    /// Rows that were given.
    given: usize,
    spread: Option<Spread>,
    copied: VecDeque<RecordBatch>,
    operator: UnnestInPlaceExec,
    context: Arc<TaskContext>,
}

impl Unnesting {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(spread) = &mut self.spread {
                let most = self.size - self.given % self.size;
                if let Some(batch) = spread.next(most, &self.operator.unnest.schema())? {
                    self.given += batch.num_rows();
                    return Ok(Some(batch));
                }
                self.spread = None;
            }
            if let Some(batch) = self.copied.pop_front() {
                self.given += batch.num_rows();
                return Ok(Some(batch));
            }
            let Some(batch) = self.input.next().await.transpose()? else {
                return Ok(None);
            };
            self.spread = self.operator.spread(&batch);
            if self.spread.is_none() {
                let copied = self.operator.copied(batch, Arc::clone(&self.context));
                self.copied.extend(copied.await?);
            }
        }
    }
}

/// A column of an unnested batch.
enum Column {
    /// The elements of its lists.
    Elements(ArrayRef),
    /// A row's value is that of all its elements.
    Repeated(ArrayRef),
}

/// A batch whose elements are given a stretch at a time.
struct Spread {
    /// Where the elements of each row end.
    ends: Vec<usize>,
    columns: Vec<Column>,
    /// The row whose elements come next, or one before it.
    row: usize,
    /// Elements that were given.
    done: usize,
}

impl Spread {
    /// The next elements, `most` of them if there are as many; nothing when all were given.
    fn next(&mut self, most: usize, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let total = self.ends.last().copied().unwrap_or_default();
        let count = most.min(total - self.done);
        if count == 0 {
            return Ok(None);
        }
        let (from, to) = (self.done, self.done + count);
        let mut rows: Vec<u32> = Vec::with_capacity(count);
        while rows.len() < count {
            let end = self.ends[self.row].min(to) - from;
            rows.resize(end.max(rows.len()), self.row as u32);
            if rows.len() < count {
                self.row += 1;
            }
        }
        let rows = UInt32Array::from(rows);
        self.done = to;
        let columns = self.columns.iter().map(|column| {
            Ok(match column {
                Column::Elements(elements) => elements.slice(from, count),
                Column::Repeated(values) => take(values, &rows, None)?,
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?))
    }
}
