//! How the SQL functions behave, in `slt/*.slt`, and that `clean_text` is the reference's.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use graph_recs_sql::Engine;
use graph_recs_udfs::model::Model;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::support::golden;

fn session() -> SessionContext {
    Engine::default()
        .session(Model::shipped().unwrap())
        .unwrap()
}

/// A session as the runner sees it. Text is shown between quotes where white space would be lost.
struct Session(SessionContext);

#[async_trait]
impl AsyncDB for Session {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, DataFusionError> {
        let frame = self.0.sql(sql).await?;
        let fields = frame.schema().fields().clone();
        let batches = frame.collect().await?;
        if fields.is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let types = fields
            .iter()
            .map(|field| column_type(field.data_type()))
            .collect();
        let mut rows = Vec::new();
        let options = FormatOptions::default().with_null("NULL");
        for batch in &batches {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
                .collect();
            for row in 0..batch.num_rows() {
                let fields = columns.iter().map(|column| column.value(row).to_string());
                rows.push(fields.map(quoted).collect());
            }
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}
}

/// A value, in quotes where its white space would not be seen.
fn quoted(value: String) -> String {
    let seen = value.split(' ').all(|word| !word.is_empty());
    if seen && !value.contains(['\n', '\t']) {
        value
    } else {
        format!("{value:?}")
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_numeric() => DefaultColumnType::FloatingPoint,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
        _ => DefaultColumnType::Any,
    }
}

fn exactly(_: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    actual
        .iter()
        .map(|row| row.join(" "))
        .eq(expected.iter().cloned())
}

#[test]
fn functions_do_what_their_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/slt");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Session(session())) });
        runner.with_validator(exactly);
        runner.with_column_validator(sqllogictest::strict_column_validator);
        let result = runtime.block_on(runner.run_file_async(&file));
        assert!(result.is_ok(), "{}", result.unwrap_err().display(false));
    }
}

#[test]
fn clean_text_gives_what_the_reference_gives() {
    let text = fs::read_to_string(golden("clean_text.jsonl")).unwrap();
    let (mut given, mut expected) = (Vec::new(), Vec::new());
    for line in text.lines() {
        // Half a surrogate pair is no character, and no string of this program.
        let Ok(case) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        given.push(case["in"].as_str().unwrap().to_string());
        expected.push(case["out"].as_str().unwrap().to_string());
    }
    assert!(given.len() > 1000, "{}", given.len());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(async {
        let context = session();
        let texts: ArrayRef = Arc::new(StringArray::from(given.clone()));
        let batch = RecordBatch::try_from_iter([("given", texts)]).unwrap();
        context.register_batch("texts", batch).unwrap();
        let cleaned = "SELECT arrow_cast(clean_text(given), 'Utf8') FROM texts";
        context.sql(cleaned).await.unwrap().collect().await.unwrap()
    });
    let found = found
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter());
    for ((given, expected), found) in given.iter().zip(&expected).zip(found) {
        assert_eq!(found, Some(expected.as_str()), "{given:?}");
    }
}
