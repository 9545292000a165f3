//! `sql`: the warehouse and a day's raw exports, asked in SQL.

use std::io::{IsTerminal, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use graph_recs_sql::{Input, Parameters, session};
use graph_recs_udfs::model::Model;
use graph_recs_udfs::scan::Source;

use crate::cli::{Format, SqlOptions};
use crate::warehouse::{Publication, Table, Warehouse};

/// The views over raw exports, each after those that it uses.
const RAW_VIEWS: [&str; 7] = [
    "suspended_users",
    "engagement_records",
    "engagements",
    "message_records",
    "duplicate_ids",
    "duplicate_messages",
    "weekly_messages",
];

/// Those that others use more than once.
const KEPT_VIEWS: [&str; 2] = ["duplicate_ids", "duplicate_messages"];

/// Answers the statements of the command line, a file, standard input, or a person.
pub async fn run(options: SqlOptions) -> Result<()> {
    let context = build_session(&options).await?;
    let text = match (&options.command, &options.file) {
        (Some(sql), _) => Some(sql.clone()),
        (None, Some(file)) => Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?,
        ),
        (None, None) if !std::io::stdin().is_terminal() => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Some(text)
        }
        (None, None) => None,
    };
    match text {
        Some(text) => {
            for statement in statements(&text) {
                answer(&context, &statement, options.format).await?;
            }
            Ok(())
        }
        None => converse(&context, options.format).await,
    }
}

async fn build_session(options: &SqlOptions) -> Result<SessionContext> {
    let model = Model::open(options.model.as_deref()).await?;
    let context = options.engine.engine().session(model)?;
    if let Some(location) = &options.warehouse {
        let warehouse = Arc::new(Warehouse::open(location)?);
        let publications = warehouse.publications().await?;
        if publications.is_empty() {
            tracing::warn!("nothing is published in {location} yet: its tables are not there");
        }
        if let Some(current) = publications.last() {
            for table in Table::ALL {
                let provider = warehouse
                    .table_provider(table, *current.versions.get(table))
                    .await?;
                context.register_table(table.name(), provider)?;
            }
        }
        context.register_catalog(
            "runs",
            Arc::new(PastRuns {
                warehouse,
                publications,
            }),
        );
    }
    if let Some(location) = &options.input {
        let as_of = super::job::moment(options.as_of, options.date)?;
        let input = Input::open(location, options.date).await?;
        session::register_input(&context, &input)?;
        let parameters = Parameters::new(as_of).values();
        for view in RAW_VIEWS {
            // A day need not have all sources to be looked at.
            let defined = match KEPT_VIEWS.contains(&view) {
                true => session::define_kept(&context, view, &parameters).await,
                false => session::define(&context, view, &parameters).await,
            };
            if let Err(error) = defined {
                tracing::debug!("{view} is not there: {error}");
            }
        }
        let quarantine: Vec<String> = Source::ALL
            .into_iter()
            .filter(|source| input.files(*source).is_some())
            .map(|source| {
                format!(
                    "SELECT '{}' AS source, file, line, reason, raw FROM raw.{} WHERE reason IS NOT NULL",
                    source.name(),
                    source.table_name()
                )
            })
            .collect();
        if !quarantine.is_empty() {
            let view = context
                .sql(&quarantine.join(" UNION ALL "))
                .await?
                .into_view();
            context.register_table("quarantine", view)?;
        }
    }
    Ok(context)
}

/// Catalog `runs`: a schema for every published run, named after it.
#[derive(Debug)]
struct PastRuns {
    warehouse: Arc<Warehouse>,
    publications: Vec<Publication>,
}

impl CatalogProvider for PastRuns {
    fn schema_names(&self) -> Vec<String> {
        self.publications
            .iter()
            .map(|publication| publication.run_id.clone())
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let publication = self
            .publications
            .iter()
            .rfind(|publication| publication.run_id == name)?;
        Some(Arc::new(PastRun {
            warehouse: Arc::clone(&self.warehouse),
            publication: publication.clone(),
        }))
    }
}

#[derive(Debug)]
struct PastRun {
    warehouse: Arc<Warehouse>,
    publication: Publication,
}

#[async_trait]
impl SchemaProvider for PastRun {
    fn table_names(&self) -> Vec<String> {
        Table::ALL
            .iter()
            .map(|table| table.name().to_string())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(table) = Table::ALL.into_iter().find(|table| table.name() == name) else {
            return Ok(None);
        };
        let version = *self.publication.versions.get(table);
        let provider = self.warehouse.table_provider(table, version).await;
        provider
            .map(Some)
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn table_exist(&self, name: &str) -> bool {
        Table::ALL.iter().any(|table| table.name() == name)
    }
}

/// Cuts a text into statements at semicolons outside of quotes and comments.
fn statements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut characters = text.chars().peekable();
    let mut quote: Option<char> = None;
    let mut comment = false;
    while let Some(character) = characters.next() {
        match (quote, character) {
            _ if comment => comment = character != '\n',
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '-') if characters.peek() == Some(&'-') => comment = true,
            (None, ';') => {
                found.push(String::new());
                continue;
            }
            (None, _) => {}
        }
        if let Some(statement) = found.last_mut() {
            statement.push(character);
        }
    }
    let blank = |statement: &String| {
        statement
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
    };
    found
        .into_iter()
        .filter(|statement| !blank(statement))
        .collect()
}

async fn answer(context: &SessionContext, sql: &str, format: Format) -> Result<()> {
    let frame = context.sql(sql).await?;
    write_rows(frame, format, &mut std::io::stdout()).await
}

/// Writes a result; all formats but the table stream it.
async fn write_rows(frame: DataFrame, format: Format, out: &mut (impl Write + Send)) -> Result<()> {
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
            writeln!(out, "{}", pretty_format_batches(&batches)?)?;
            writeln!(out, "{count} rows")?;
        }
        Format::Csv => {
            let mut writer = WriterBuilder::new().with_header(true).build(&mut *out);
            writer.write(&RecordBatch::new_empty(schema))?;
            while let Some(batch) = rows.next().await {
                writer.write(&batch?)?;
            }
        }
        Format::Json => {
            let mut writer = LineDelimitedWriter::new(&mut *out);
            while let Some(batch) = rows.next().await {
                writer.write(&batch?)?;
            }
            writer.finish()?;
        }
        Format::Parquet => {
            if std::io::stdout().is_terminal() {
                bail!("Parquet is not for a terminal: send it to a file or pipe");
            }
            let mut writer = ArrowWriter::try_new(&mut *out, schema, None)?;
            while let Some(batch) = rows.next().await {
                writer.write(&batch?)?;
            }
            writer.close()?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Reads statements from a person until they leave.
async fn converse(context: &SessionContext, format: Format) -> Result<()> {
    let mut editor = rustyline::DefaultEditor::new()?;
    let history = history_file();
    if let Some(file) = &history {
        // No history yet is no error.
        let _ = editor.load_history(file);
    }
    println!("Statements end with a semicolon; \\d lists the tables, \\q leaves.");
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() {
            "graph-recs> "
        } else {
            "        ... "
        };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(rustyline::error::ReadlineError::Interrupted) => {
                statement.clear();
                continue;
            }
            Err(rustyline::error::ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        match line.trim() {
            "" => continue,
            "\\q" | "exit" | "quit" => break,
            "\\d" => statement.push_str("SHOW TABLES;"),
            text => {
                if let Some(table) = text.strip_prefix("\\d ") {
                    statement = format!("DESCRIBE {};", table.trim());
                } else {
                    statement.push_str(&line);
                    statement.push('\n');
                }
            }
        }
        if !statement.trim_end().ends_with(';') {
            continue;
        }
        let text = std::mem::take(&mut statement);
        editor.add_history_entry(text.trim())?;
        for statement in statements(&text) {
            let started = Instant::now();
            match answer(context, &statement, format).await {
                Ok(()) => println!("{:.3} s", started.elapsed().as_secs_f64()),
                Err(error) => println!("{error:#}"),
            }
        }
    }
    if let Some(file) = &history {
        editor.save_history(file)?;
    }
    Ok(())
}

fn history_file() -> Option<std::path::PathBuf> {
    std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".graph-recs-history"))
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes() {
        assert_eq!(
            statements("SELECT ';' ; SELECT \"a;b\"; -- last; one\n"),
            ["SELECT ';' ", " SELECT \"a;b\""]
        );
        assert_eq!(statements("  \n-- nothing\n"), Vec::<String>::new());
    }
}
