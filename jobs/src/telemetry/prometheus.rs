//! The run's figures in Prometheus' text format: in a file for node_exporter's textfile collector, or asked for over
//! HTTP while the run works.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Board, seconds, snapshot};
use crate::pipeline::Cost;
use graph_recs_warehouse::report::{Report, Severity};

const LAST_SUCCESS: &str = "graph_recs_last_success_timestamp_seconds";

/// All figures.
pub fn render(board: &Board) -> String {
    let mut page = Page::default();
    if let Some(run_id) = &board.run_id {
        page.gauge(
            "graph_recs_run_info",
            "The run that the other figures are about",
        );
        page.value("graph_recs_run_info", &[("run_id", run_id)], 1.0);
    }
    let single = [
        (
            "graph_recs_run_as_of_timestamp_seconds",
            "The moment as of which the run knows its day",
            board.as_of.map(|as_of| as_of as f64),
        ),
        (
            "graph_recs_run_start_timestamp_seconds",
            "When the run began",
            board.began.map(seconds),
        ),
        (
            "graph_recs_run_end_timestamp_seconds",
            "When the run ended",
            board.ended.map(seconds),
        ),
        (
            "graph_recs_run_duration_seconds",
            "How long the run took",
            board.ended.zip(board.began).map(|(ended, began)| {
                ended
                    .duration_since(began)
                    .unwrap_or_default()
                    .as_secs_f64()
            }),
        ),
        (
            "graph_recs_run_exit_code",
            "The exit code that the run ended with: 0 is a success",
            board.exit_code.map(f64::from),
        ),
        (
            LAST_SUCCESS,
            "When a run last ended with exit code 0",
            board.last_success,
        ),
    ];
    for (name, help, value) in single {
        if let Some(value) = value {
            page.gauge(name, help);
            page.value(name, &[], value);
        }
    }
    // Steps that an earlier process did are in the report.
    let mut steps = board.steps.clone();
    for step in board.report.iter().flat_map(|report| &report.steps) {
        steps.entry(step.step.clone()).or_insert(Cost {
            seconds: step.seconds,
            peak_memory_bytes: step.peak_memory_bytes,
        });
    }
    page.gauge("graph_recs_step_seconds", "How long a step took");
    for (step, cost) in &steps {
        page.value("graph_recs_step_seconds", &[("step", step)], cost.seconds);
    }
    page.gauge(
        "graph_recs_step_peak_memory_bytes",
        "The most memory the driver held during a step",
    );
    for (step, cost) in &steps {
        let bytes = cost.peak_memory_bytes as f64;
        page.value(
            "graph_recs_step_peak_memory_bytes",
            &[("step", step)],
            bytes,
        );
    }
    if let Some(report) = &board.report {
        page.report(report);
    }
    page.text
}

/// Writes the figures to a file, whole at once; who last succeeded is taken over from the file that was there.
///
/// # Errors
/// When the file cannot be written.
pub fn write(board: &Board, path: &Path) -> Result<()> {
    let mut board = board.clone();
    if board.last_success.is_none() {
        board.last_success = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| last_success(&text));
    }
    let cannot = || format!("--metrics-file {} cannot be written", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Collectors only take files that end with .prom, so never this one.
    let half = path.with_file_name(format!(".{name}.{}", std::process::id()));
    std::fs::write(&half, render(&board)).with_context(cannot)?;
    std::fs::rename(&half, path).with_context(cannot)
}

fn last_success(text: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(LAST_SUCCESS)?.trim().parse().ok())
}

/// Answers every request on `address` with the figures, as long as the process works.
///
/// # Errors
/// When nothing can listen there.
pub async fn listen(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--metrics-listen {address} cannot be listened on"))?;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = connection.read(&mut request).await;
                if read.is_err() {
                    return;
                }
                let page = render(&snapshot());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{page}",
                    page.len()
                );
                // Whoever asked may be gone.
                let _ = connection.write_all(answer.as_bytes()).await;
                let _ = connection.shutdown().await;
            });
        }
    });
    Ok(())
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| {
                let value = value.replace('\\', r"\\").replace('"', "\\\"");
                format!("{label}=\"{}\"", value.replace('\n', r"\n"))
            })
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    fn report(&mut self, report: &Report) {
        self.gauge("graph_recs_records", "Records of a source, read and used");
        for source in &report.sources {
            let account = &source.account;
            for (fate, count) in [("read", account.read), ("used", account.used)] {
                let labels = [("source", source.source.as_str()), ("fate", fate)];
                self.value("graph_recs_records", &labels, count as f64);
            }
        }
        self.gauge(
            "graph_recs_records_left_out",
            "Records of a source that were left out",
        );
        for source in &report.sources {
            for (reason, count) in &source.account.left_out {
                let labels = [("source", source.source.as_str()), ("reason", reason)];
                self.value("graph_recs_records_left_out", &labels, *count as f64);
            }
        }
        self.gauge("graph_recs_rows", "Rows of a table");
        for (table, rows) in &report.rows {
            self.value("graph_recs_rows", &[("table", table)], *rows as f64);
        }
        self.gauge(
            "graph_recs_check_count",
            "How often what a quality check says does not hold",
        );
        for check in &report.checks {
            let severity = match check.severity {
                Severity::Error => "error",
                Severity::Warn => "warn",
            };
            let labels = [("check", check.name.as_str()), ("severity", severity)];
            self.value("graph_recs_check_count", &labels, check.count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_keeps_the_time_of_the_last_success() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("graph-recs.prom");
        let board = Board {
            exit_code: Some(0),
            last_success: Some(1_570_000_000.5),
            ..Board::default()
        };
        write(&board, &file).unwrap();
        let failed = Board {
            exit_code: Some(3),
            run_id: Some("a \"run\"".into()),
            ..Board::default()
        };
        write(&failed, &file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("graph_recs_last_success_timestamp_seconds 1570000000.5\n"));
        assert!(text.contains("graph_recs_run_exit_code 3\n"));
        assert!(text.contains("graph_recs_run_info{run_id=\"a \\\"run\\\"\"} 1\n"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
