//! Batches of one sorted stream that were dealt to the threads are put together again without being copied.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, stream};

/// Where the partitions of a merge are batches of one sorted input in turns, [`MergeRunsExec`] merges them.
pub(super) fn better(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let merge = plan.downcast_ref::<SortPreservingMergeExec>();
    let merge = merge.filter(|merge| merge.fetch().is_none() && dealt(merge.input()));
    Ok(merge.map(|merge| -> Arc<dyn ExecutionPlan> {
        Arc::new(MergeRunsExec {
            input: Arc::clone(merge.input()),
            order: merge.expr().clone(),
            properties: Arc::clone(merge.properties()),
        })
    }))
}

/// Whether the plan's partitions are batches of one stream in turns, whatever is done to their rows.
fn dealt(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(division) = plan.downcast_ref::<RepartitionExec>() {
        let one = division.input().output_partitioning().partition_count() == 1;
        return one && matches!(division.partitioning(), Partitioning::RoundRobinBatch(_));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // The other side is held, and the rows of this one stream past it.
        return dealt(join.right());
    }
    match plan.children()[..] {
        [child] => dealt(child),
        _ => false,
    }
}

/// A merge of sorted partitions that hands on stretches of their batches as they are. What a merge row by row copies, it does
/// not; but where the partitions' rows alternate, every row is a batch.
#[derive(Debug)]
struct MergeRunsExec {
    input: Arc<dyn ExecutionPlan>,
    order: LexOrdering,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for MergeRunsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MergeRunsExec: [{}]", self.order)
    }
}

impl ExecutionPlan for MergeRunsExec {
    fn name(&self) -> &str {
        "MergeRunsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for sort in self.order.iter() {
            if let TreeNodeRecursion::Stop = f(&sort.expr)? {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .or_else(|children| internal_err!("{} inputs of a merge", children.len()))?;
        let merge = SortPreservingMergeExec::new(self.order.clone(), Arc::clone(&input));
        Ok(Arc::new(Self {
            input,
            order: self.order.clone(),
            properties: Arc::clone(merge.properties()),
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a merge has one partition, not {partition}");
        }
        let partitions = 0..self.input.output_partitioning().partition_count();
        let inputs = partitions
            .map(|at| {
                Ok(Input {
                    rows: spawn_buffered(self.input.execute(at, Arc::clone(&context))?, 1),
                    head: None,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let schema = self.input.schema();
        let merge = Merge {
            inputs,
            keys: Keys::new(&self.order, &schema)?,
        };
        let merged = stream::try_unfold(merge, |mut merge| async {
            let next = merge.next().await?;
            Ok(next.map(|batch| (batch, merge)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, merged)))
    }
}

/// What rows are compared by.
struct Keys {
    order: LexOrdering,
    converter: RowConverter,
}

impl Keys {
    fn new(order: &LexOrdering, schema: &Schema) -> Result<Self> {
        let field = |(expression, options): (&Arc<dyn PhysicalExpr>, _)| {
            Ok(SortField::new_with_options(
                expression.data_type(schema)?,
                options,
            ))
        };
        let fields = order.iter().map(|sort| field((&sort.expr, sort.options)));
        Ok(Self {
            order: order.clone(),
            converter: RowConverter::new(fields.collect::<Result<_>>()?)?,
        })
    }

    fn of(&self, batch: &RecordBatch) -> Result<Rows> {
        let column = |expression: &Arc<dyn PhysicalExpr>| {
            expression.evaluate(batch)?.into_array(batch.num_rows())
        };
        let columns = self.order.iter().map(|sort| column(&sort.expr));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// A partition.
struct Input {
    rows: SendableRecordBatchStream,
    head: Option<Head>,
}

/// The rows of a batch that were not handed on yet; at least one.
struct Head {
    batch: RecordBatch,
    keys: Rows,
    from: usize,
}

impl Head {
    fn first(&self) -> Row<'_> {
        self.keys.row(self.from)
    }

    /// The end of the rows up to `bound`.
    fn end(&self, bound: Option<Row<'_>>) -> usize {
        let (mut low, mut high) = (self.from, self.batch.num_rows());
        let Some(bound) = bound else { return high };
        while low < high {
            let middle = low.midpoint(high);
            match self.keys.row(middle) <= bound {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

struct Merge {
    inputs: Vec<Input>,
    keys: Keys,
}

impl Merge {
    /// The rows of one head that come before those of all others.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        for input in &mut self.inputs {
            while input.head.is_none() {
                let Some(batch) = input.rows.next().await.transpose()? else {
                    break;
                };
                if batch.num_rows() > 0 {
                    let keys = self.keys.of(&batch)?;
                    input.head = Some(Head {
                        batch,
                        keys,
                        from: 0,
                    });
                }
            }
        }
        let heads = || {
            let heads = self.inputs.iter().enumerate();
            heads.filter_map(|(at, input)| Some((at, input.head.as_ref()?)))
        };
        let Some((least, head)) = heads().min_by(|a, b| a.1.first().cmp(&b.1.first())) else {
            return Ok(None);
        };
        let others = heads().filter(|(at, _)| *at != least);
        let end = head.end(others.map(|(_, other)| other.first()).min());
        let stretch = head.batch.slice(head.from, end - head.from);
        let head = &mut self.inputs[least].head;
        *head = head
            .take()
            .filter(|head| end < head.batch.num_rows())
            .map(|head| Head { from: end, ..head });
        Ok(Some(stretch))
    }
}
