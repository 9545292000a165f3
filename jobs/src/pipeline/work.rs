//! A run's work folder: intermediate tables and the records of finished steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::prelude::{DataFrame, SessionContext, col};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use graph_recs_warehouse::{DataFile, Warehouse, write_intermediate, write_parquet};

/// The folder `_runs/<run>` of a warehouse.
#[derive(Clone)]
pub struct WorkFolder {
    warehouse: Arc<Warehouse>,
    run_id: String,
}

impl WorkFolder {
    /// The folder of a run.
    pub fn new(warehouse: Arc<Warehouse>, run_id: &str) -> Self {
        Self {
            warehouse,
            run_id: run_id.to_string(),
        }
    }

    /// The path of a file in the folder, relative to the warehouse.
    pub fn path(&self, name: &str) -> Result<Path> {
        Ok(Warehouse::work_path(&self.run_id, name)?)
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.warehouse.object_store()
    }

    /// Writes an intermediate table, in the order of the frame's rows.
    pub async fn write_table(&self, name: &str, frame: DataFrame) -> Result<DataFile> {
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let path = self.path(&format!("{name}.arrow"))?;
        let store = self.store();
        let written = tokio::spawn(async move {
            let rows = frame.execute_stream().await?;
            anyhow::Ok(write_intermediate(store, &path, &schema, rows).await?)
        });
        written.await?
    }

    /// As [`Self::write_table`], for executors: pieces are Parquet.
    pub async fn write_piece(&self, name: &str, frame: DataFrame) -> Result<DataFile> {
        self.write_parquet(name, frame.execute_stream().await?)
            .await
    }

    /// Writes rows at hand, for readers outside: as Parquet.
    pub async fn write_rows(&self, name: &str, rows: RecordBatch) -> Result<DataFile> {
        let schema = rows.schema();
        let rows = MemoryStream::try_new(vec![rows], schema, None)?;
        self.write_parquet(name, Box::pin(rows)).await
    }

    async fn write_parquet(&self, name: &str, rows: SendableRecordBatchStream) -> Result<DataFile> {
        let path = self.path(&format!("{name}.parquet"))?;
        Ok(write_parquet(self.store(), &path, rows.schema(), rows).await?)
    }

    /// The rows that [`Self::write_rows`] wrote under a name, if they are there.
    pub async fn read_rows(
        &self,
        context: &SessionContext,
        name: &str,
    ) -> Result<Option<RecordBatch>> {
        let path = self.path(&format!("{name}.parquet"))?;
        match self.store().head(&path).await {
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{path} cannot be read")),
        }
        let url = self.warehouse.url().join(path.as_ref())?;
        let frame = context
            .read_parquet(url.as_str(), Default::default())
            .await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok(Some(concat_batches(&schema, &frame.collect().await?)?))
    }

    /// Registers an intermediate table, whose rows are sorted by user, under its name.
    pub async fn register_table(&self, context: &SessionContext, name: &str) -> Result<()> {
        let url = self
            .warehouse
            .url()
            .join(self.path(&format!("{name}.arrow"))?.as_ref())?;
        let options = ListingOptions::new(Arc::new(ArrowFormat))
            .with_file_extension(".arrow")
            .with_file_sort_order(vec![vec![col("user_id").sort(true, false)]]);
        context
            .register_listing_table(name, url, options, None, None)
            .await?;
        Ok(())
    }

    /// Keeps a value as JSON.
    pub async fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let text = serde_json::to_vec_pretty(value)?;
        self.write_bytes(&format!("{name}.json"), text).await
    }

    /// Keeps a file.
    pub async fn write_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(name)?;
        self.store()
            .put(&path, PutPayload::from(bytes))
            .await
            .with_context(|| format!("{path} cannot be written"))?;
        Ok(())
    }

    /// A value kept as JSON, if there is one.
    pub async fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(&format!("{name}.json"))?;
        match self.store().get(&path).await {
            Ok(found) => {
                let bytes = found.bytes().await?;
                let value = serde_json::from_slice(&bytes).with_context(|| {
                    format!("{path} is not what this version writes; remove it to redo the step")
                })?;
                Ok(Some(value))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{path} cannot be read")),
        }
    }
}

/// The single row of a frame as integers by column name, null as 0.
pub async fn single_row(frame: DataFrame) -> Result<BTreeMap<String, i64>> {
    numbers(&frame.collect().await?)
}

/// The single row of a result as integers by column name, null as 0.
pub(crate) fn numbers(batches: &[RecordBatch]) -> Result<BTreeMap<String, i64>> {
    let batch = batches
        .iter()
        .find(|batch| batch.num_rows() == 1)
        .context("a query for one row gave none")?;
    let mut values = BTreeMap::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let numbers = cast(column, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        let value = if numbers.is_valid(0) {
            numbers.value(0)
        } else {
            0
        };
        values.insert(field.name().clone(), value);
    }
    Ok(values)
}
