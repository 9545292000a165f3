//! Writing results.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Result, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use graph_recs_sql::parquet::published;
use graph_recs_udfs::text::shown_lines;

use crate::cli::Format;
use crate::say::Out;

/// Writes a result to standard output; all formats but the table stream it.
pub async fn write_rows(frame: DataFrame, format: Format) -> Result<()> {
    let mut out = Out::new();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    if schema.fields().is_empty() {
        frame.collect().await?;
        return Ok(());
    }
    let mut rows = frame.execute_stream().await?;
    match format {
        Format::Table => {
            let mut batches: Vec<RecordBatch> = vec![RecordBatch::new_empty(schema)];
            while let Some(batch) = rows.next().await {
                batches.push(batch?);
            }
            let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let table = format!("{}\n{count} rows\n", pretty_format_batches(&batches)?);
            // For people, also where a file or another program comes between.
            out.write_all(shown_lines(&table).as_bytes())?;
        }
        Format::Csv => {
            let mut writer = WriterBuilder::new().with_header(true).build(&mut out);
            writer.write(&RecordBatch::new_empty(schema))?;
            while let Some(batch) = rows.next().await {
                writer.write(&batch?)?;
            }
        }
        Format::Json => {
            let mut writer = LineDelimitedWriter::new(&mut out);
            while let Some(batch) = rows.next().await {
                writer.write(&batch?)?;
            }
            writer.finish()?;
        }
        Format::Parquet => {
            if std::io::stdout().is_terminal() {
                bail!("Parquet is not for a terminal: send it to a file or pipe");
            }
            let properties = published(&schema)?;
            let mut writer = ArrowWriter::try_new(&mut out, schema, Some(properties))?;
            while let Some(batch) = rows.next().await {
                writer.write(&batch?)?;
            }
            writer.close()?;
        }
    }
    out.flush()?;
    Ok(())
}
