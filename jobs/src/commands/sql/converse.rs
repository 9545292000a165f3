//! The prompt.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use datafusion::prelude::SessionContext;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::complete::Words;
use super::{answer, statements};
use crate::cli::Format;
use graph_recs_serve::catalog::texts;

const HELP: &str = "\
\\d            tables and views          \\d NAME        columns of one
\\df           functions                 \\timing        show how long statements take, or not
\\format NAME  table, csv or json         \\q             leave
Statements end with a semicolon; Ctrl-C stops one. Tab completes names. EXPLAIN ANALYZE shows where the time goes.";

/// Reads statements from a person until they leave.
pub async fn run(context: &SessionContext, format: Format) -> Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .build();
    let mut editor: Editor<Words, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Words::of(context).await));
    let history = history_file();
    if let Some(file) = &history {
        // No history yet is no error.
        let _ = editor.load_history(file);
    }
    say_line!("Statements end with a semicolon; \\d lists the tables, \\? more, \\q leaves.");
    let mut shell = Shell::new(context, format, true);
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() {
            "graph-recs> "
        } else {
            "        ... "
        };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                statement.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        let trimmed = line.trim();
        if statement.is_empty() && trimmed.is_empty() {
            continue;
        }
        if statement.is_empty() && matches!(trimmed, "exit" | "quit") {
            break;
        }
        if statement.is_empty() && trimmed.starts_with('\\') {
            editor.add_history_entry(trimmed)?;
            match shell.command(trimmed).await {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => break,
            }
        }
        statement.push_str(&line);
        statement.push('\n');
        if !statement.trim_end().ends_with(';') {
            continue;
        }
        let text = std::mem::take(&mut statement);
        editor.add_history_entry(text.trim())?;
        for statement in statements(&text) {
            shell.ask(&statement).await;
        }
    }
    if let Some(file) = &history {
        editor.save_history(file)?;
    }
    Ok(())
}

/// What answers, and how.
pub struct Shell<'a> {
    context: &'a SessionContext,
    pub format: Format,
    timing: bool,
}

impl<'a> Shell<'a> {
    /// Over the tables of `context`.
    pub fn new(context: &'a SessionContext, format: Format, timing: bool) -> Self {
        Self {
            context,
            format,
            timing,
        }
    }
}

impl Shell<'_> {
    /// Answers a statement, or says why not; Ctrl-C stops it.
    async fn ask(&self, statement: &str) {
        let started = Instant::now();
        let answered = tokio::select! {
            answered = answer(self.context, statement, self.format) => answered,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped")),
        };
        match answered {
            Ok(()) if self.timing => say_line!("{:.3} s", started.elapsed().as_secs_f64()),
            Ok(()) => {}
            Err(error) => say_line!("{error:#}"),
        }
    }

    /// Does what a line that begins with a backslash says; breaks off at `\q`.
    pub async fn command(&mut self, line: &str) -> ControlFlow<()> {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        let argument = argument.trim().trim_end_matches(';');
        match (command, argument) {
            ("\\q", _) => return ControlFlow::Break(()),
            ("\\d", "") => self.list(),
            ("\\d", name) => self.columns(name).await,
            ("\\df", _) => self.functions(),
            ("\\timing", _) => {
                self.timing = !self.timing;
                say_line!("timing is {}", if self.timing { "on" } else { "off" });
            }
            ("\\format", name) => match <Format as clap::ValueEnum>::from_str(name, true) {
                Ok(Format::Parquet) | Err(_) => say_line!("table, csv or json"),
                Ok(format) => self.format = format,
            },
            _ => say_line!("{HELP}"),
        }
        ControlFlow::Continue(())
    }

    fn list(&self) {
        let described = texts();
        for catalog in self.context.catalog_names() {
            let Some(provider) = self.context.catalog(&catalog) else {
                continue;
            };
            for name in provider.schema_names() {
                if name == "information_schema" {
                    continue;
                }
                let tables = provider.schema(&name).map(|schema| schema.table_names());
                let mut tables = tables.unwrap_or_default();
                tables.sort_unstable();
                for table in tables {
                    let schema = if name == "public" {
                        "graph_recs"
                    } else {
                        &name
                    };
                    let text = described.get(&(schema.to_string(), table.clone()));
                    let shown = match (catalog.as_str(), name.as_str()) {
                        ("runs", _) => format!("runs.\"{name}\".{table}"),
                        (_, "public") => table,
                        _ => format!("{name}.{table}"),
                    };
                    let text = text.map(|(text, _)| text.as_str()).unwrap_or_default();
                    say_line!("{shown:<44}{text}");
                }
            }
        }
    }

    async fn columns(&self, name: &str) {
        let table = match self.context.table_provider(name).await {
            Ok(table) => table,
            Err(error) => {
                say_line!("{}", graph_recs_serve::refusal::Refusal::from(error));
                return;
            }
        };
        let described = texts();
        let (schema, bare) = name.rsplit_once('.').unwrap_or(("graph_recs", name));
        let texts = described.get(&(schema.to_string(), bare.to_string()));
        if let Some((text, _)) = texts {
            say_line!("{text}");
        }
        for field in table.schema().fields() {
            let text = texts.and_then(|(_, columns)| columns.get(field.name()));
            let kind = format!(
                "{}{}",
                field.data_type(),
                if field.is_nullable() { "" } else { " not null" }
            );
            let text = text.map(String::as_str).unwrap_or_default();
            say_line!("{:<24}{kind:<32}{text}", field.name());
        }
    }

    fn functions(&self) {
        if let Ok(model) = graph_recs_sql::catalog::model() {
            for function in model.functions {
                let called = format!("{}({})", function.name, function.arguments);
                say_line!("{called:<32}{}", function.description);
            }
        }
        let state = self.context.state();
        let functions = state.scalar_functions().keys();
        let functions = functions.chain(state.aggregate_functions().keys());
        let mut names: Vec<&str> = functions
            .chain(state.window_functions().keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        say_line!("{}", names.join(" "));
    }
}

fn history_file() -> Option<std::path::PathBuf> {
    std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".graph-recs-history"))
}
