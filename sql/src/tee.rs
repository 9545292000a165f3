//! One computation with several readers, none of which waits for the others to end.
//!
//! A table that two statements read would be computed twice, or kept somewhere in between. Here it is computed once,
//! and each batch is handed to all readers as it comes; a reader that lags holds the others back, so that no more than
//! a few batches are in memory. All readers must run at the same time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt, stream};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Batches that wait for a reader, per partition.
const WAITING: usize = 2;

/// Makes the rows of `frame` known as the table `name`, which exactly `readers` scans read, all at the same time. They
/// see the same batches in the same order, in the frame's partitions. The computation begins with the first reader; it
/// ends early when nobody reads any more.
///
/// # Errors
/// A frame that can't be planned; a table of that name. What fails while rows come fails all readers.
pub async fn tee(
    context: &SessionContext,
    name: &str,
    frame: DataFrame,
    readers: usize,
) -> Result<()> {
    let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::new();
    for rows in frame.execute_stream_partitioned().await? {
        let (senders, receivers) = (0..readers).map(|_| channel(WAITING)).unzip();
        partitions.push(Arc::new(Partition {
            schema: Arc::clone(&schema),
            readers: Mutex::new(Readers {
                all: Some((rows, senders)),
                receivers,
            }),
        }));
    }
    let table = StreamingTable::try_new(schema, partitions)?;
    context.register_table(name, Arc::new(table))?;
    Ok(())
}

type Item = Result<RecordBatch>;

/// Hands on what comes until it ends or fails, or all readers are gone.
async fn pump(mut rows: SendableRecordBatchStream, mut senders: Vec<Sender<Item>>) {
    while let Some(item) = rows.next().await {
        let item = item.map_err(Arc::new);
        let failed = item.is_err();
        let mut listening = Vec::with_capacity(senders.len());
        for sender in senders {
            let copy = item.clone().map_err(DataFusionError::Shared);
            if sender.send(copy).await.is_ok() {
                listening.push(sender);
            }
        }
        senders = listening;
        if failed || senders.is_empty() {
            break;
        }
    }
}

/// A partition of the table, with what its readers will get.
struct Partition {
    schema: SchemaRef,
    readers: Mutex<Readers>,
}

struct Readers {
    /// The rows and where they go, until the first of the readers comes.
    all: Option<(SendableRecordBatchStream, Vec<Sender<Item>>)>,
    /// Of the readers that have not come yet.
    receivers: VecDeque<Receiver<Item>>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Partition of a shared computation")
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((rows, senders)) = readers.all.take() {
            tokio::spawn(pump(rows, senders));
        }
        let items = match readers.receivers.pop_front() {
            Some(receiver) => stream::unfold(receiver, |mut receiver| async {
                let item = receiver.recv().await?;
                Some((item, receiver))
            })
            .boxed(),
            None => {
                let error = exec_datafusion_err!("a shared computation was read once too often");
                stream::iter([Err(error)]).boxed()
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            items,
        ))
    }
}
